"""The tests are found whichever of their folders are asked for, in whatever order."""

from __future__ import annotations

import subprocess
import sys
from itertools import permutations
from pathlib import Path

import pytest
from contracts import ROOT

# Each has a conftest.py of its own.
FOLDERS = ("tests/adversarial", "tests/pipeline")


@pytest.mark.parametrize("folders", list(permutations(FOLDERS)), ids=" ".join)
def test_folders_are_collected_together(folders: tuple[str, ...], tmp_path: Path) -> None:
    own_cache = ("-o", f"cache_dir={tmp_path}")
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "--collect-only", "--quiet", *own_cache, *folders],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr
