"""A copy of the work tree with a tiny contract, run by the real dvc on the real servers."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import pytest
import yaml
from bench import inside
from contracts import ROOT, WORKLOAD
from dvc.repo import Repo

CACHES = ROOT / ".venv" / ".cache"

TINY: dict[str, Any] = {
    "chunk_sizes": [2, 4],
    "passes": {"warmup_limit": 3, "sweep": 2, "confirm": 2},
    "selection": {"resamples": 200},
}
TINY_WORKLOAD: dict[str, Any] = {"query_tokens": 24, "items": 4, "item_tokens": 4}
OTHER_CHUNKS = [1, 4]

MEASURE = [
    f"measure@{backend}-{view}"
    for backend in ("jax", "pytorch")
    for view in ("portable", "best_native")
]


@dataclass(frozen=True)
class Pipeline:
    """A git and dvc repository of its own, so that no test touches the work tree."""

    folder: Path

    @property
    def environ(self) -> dict[str, str]:
        """The environment of its commands."""
        binaries = str(Path(sys.executable).parent)
        return {
            **os.environ,
            "PATH": binaries + os.pathsep + os.environ["PATH"],
            "DVC_SITE_CACHE_DIR": str(self.folder.parent / "dvc-site-cache"),
            "DVC_NO_ANALYTICS": "1",
            # Whoever measures on this machine meanwhile is no concern of these tests.
            "TMPDIR": str(self.folder.parent),
        }

    def run(self, *command: str, check: bool = True) -> str:
        """Run a command in the repository; its output, with errors where it fails."""
        done = subprocess.run(
            command, cwd=self.folder, env=self.environ, capture_output=True, text=True
        )
        assert not check or done.returncode == 0, f"{command}:\n{done.stdout}\n{done.stderr}"
        return done.stdout + done.stderr

    def ran(self, *command: str) -> list[str]:
        """The stages a dvc command ran (or, with ``--dry``, would run), in order."""
        return re.findall(r"Running stage '([^']+)'", self.run(*command))

    def set_param(self, key: str, value: Any) -> None:
        """Change one key of ``params.yaml``, as a user's editor would."""
        path = self.folder / "params.yaml"
        raw = yaml.safe_load(path.read_text())
        *parts, last = key.split(".")
        section = raw
        for part in parts:
            section = section[part]
        section[last] = value
        path.write_text(yaml.safe_dump(raw, sort_keys=False))

    def commit(self, message: str) -> None:
        """Commit everything git does not ignore."""
        self.run("git", "add", "--all")
        self.run("git", "commit", "--quiet", "--allow-empty", "-m", message)

    def json(self, path: str) -> Any:
        """A JSON output of the pipeline."""
        return json.loads((self.folder / path).read_bytes())

    @contextlib.contextmanager
    def opened(self) -> Iterator[Repo]:
        """The repository as dvc sees it, in this process, because dvc takes seconds to start."""
        with inside(self.folder), pytest.MonkeyPatch.context() as patch:
            for name, value in self.environ.items():
                patch.setenv(name, value)
            with Repo() as repo:
                yield repo

    def modified(self) -> dict[str, set[str]]:
        """The parameters that `dvc status` calls modified, of each stage that it names.

        Nothing else of these stages may differ.
        """
        with self.opened() as repo:
            found: dict[str, list[dict[str, Any]]] = repo.status()
        told = {}
        for stage, (changed,) in found.items():
            assert changed.keys() == {"changed deps"}, changed
            assert changed["changed deps"].keys() == {"params.yaml"}, changed
            told[stage] = set(changed["changed deps"]["params.yaml"])
        return told

    def queue(self) -> dict[str, str]:
        """How every experiment stands that `dvc queue status` names."""
        with self.opened() as repo:
            tasks = repo.experiments.celery_queue.status()
        return {task["name"]: task["status"] for task in tasks}

    def processes(self) -> list[str]:
        """Command lines of the processes that work in this repository."""
        found = []
        for process in psutil.process_iter():
            try:
                if Path(process.cwd()).is_relative_to(self.folder):
                    found.append(" ".join(process.cmdline()))
            except (psutil.Error, OSError):
                continue
        return found


def copy_work_tree(target: Path) -> None:
    """Copy what git knows or would know; caches and environments stay behind."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        check=True,
        text=True,
    ).stdout
    for name in filter(None, listed.split("\0")):
        if (ROOT / name).is_file():
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, target / name)


def tiny_contract(folder: Path) -> None:
    """Shrink the default contract to one small workload."""
    path = folder / "conf" / "contract" / "quick.yaml"
    raw = yaml.safe_load(path.read_text())
    raw["workloads"] = {WORKLOAD: {**raw["workloads"][WORKLOAD], **TINY_WORKLOAD}}
    for key, value in TINY.items():
        raw[key] = {**raw.get(key, {}), **value} if isinstance(value, dict) else value
    path.write_text("# @package _global_\n" + yaml.safe_dump(raw, sort_keys=False))
