"""A repository with this project's metrics and plots, and two versions of a result."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import yaml
from contracts import ROOT

from stages.compare.command import write_comparison
from stages.documents.comparison import ComparisonSet


def two_versions(folder: Path, old: ComparisonSet, new: ComparisonSet) -> None:
    """Make ``folder`` a repository of git and dvc: ``old`` is committed, ``new`` is not."""
    sections = yaml.safe_load((ROOT / "dvc.yaml").read_text())
    kept = {name: sections[name] for name in ("metrics", "plots")}
    (folder / "dvc.yaml").write_text(yaml.safe_dump(kept, sort_keys=False))
    run(folder, "git", "init", "-q")
    run(folder, "dvc", "init", "-q")
    shutil.copytree(ROOT / ".dvc" / "plots", folder / ".dvc" / "plots")
    write_comparison(old, folder / "data" / "compare")
    run(folder, "git", "add", ".")
    run(folder, "git", "-c", "user.name=a", "-c", "user.email=a@b", "commit", "-qm", "old")
    write_comparison(new, folder / "data" / "compare")


def run(folder: Path, *command: str) -> str:
    """Run git or dvc there; its output."""
    binaries = str(Path(sys.executable).parent)
    environ = {
        **os.environ,
        "PATH": binaries + os.pathsep + os.environ["PATH"],
        "DVC_SITE_CACHE_DIR": str(folder.parent / "dvc-site-cache"),
        "DVC_NO_ANALYTICS": "1",
    }
    done = subprocess.run(command, cwd=folder, env=environ, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout
