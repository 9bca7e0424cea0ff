"""Programs that tests drive and Python's packages do not bring along."""

from __future__ import annotations

import os
import shutil

import pytest


def find_program(*names: str, package: str = "") -> str:
    """The path of the first of ``names`` there is.

    Without any of them the test is skipped by name, or fails where ``CI`` is set.

    Args:
        names: what the program may be called.
        package: Debian's package of it; named like the program unless given.
    """
    for name in names:
        if found := shutil.which(name):
            return found
    missing = f"{names[0]} not found: apt-get install {package or names[0]}"
    if os.environ.get("CI"):
        pytest.fail(missing)
    pytest.skip(missing)
