"""Where the lying backends are measured."""

from __future__ import annotations

import pytest
from lying_backends import Bench, make_honest_bench


@pytest.fixture(scope="session")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Bench:
    """The folder, with everything in it but the matrices."""
    return make_honest_bench(tmp_path_factory.mktemp("bench"))
