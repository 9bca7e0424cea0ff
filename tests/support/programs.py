"""Programs that tests drive and Python's packages do not bring along."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

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


# What git starts (ssh, a credential helper) hangs with it and holds its output open.
_HANGING = """#!/bin/sh
sleep 86400 &
echo $! > "{folder}/helper"
wait
"""


def hang_git(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the first git on the PATH hang, and let it be waited for only as long as it starts.

    The process that it starts is written to the file ``helper`` in ``folder``.
    """
    program = folder / "git"
    program.write_text(_HANGING.format(folder=folder))
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setattr("stages.common.git.ASK_LIMIT_S", 5.0)
    monkeypatch.setattr("stages.common.git.WORK_LIMIT_S", 5.0)
