"""What the tests of the dry run share."""

from __future__ import annotations

from pathlib import Path

import pytest
from targets import bare_folder


@pytest.fixture
def bare(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A clone in which nothing has run, and an empty cache: what is built would show there."""
    monkeypatch.setenv("SCOREPARITY_CACHE", str(tmp_path / "cache"))
    folder = tmp_path / "clone"
    folder.mkdir()
    return bare_folder(folder)
