"""A copy of the work tree with a tiny contract, run by the real dvc on the real servers."""

from __future__ import annotations

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
from contracts import ROOT
from patience import wait_for

from stages.environment import cache_root

# Tests import from here, and `conftest` is whichever folder's was loaded last.
sys.modules["pipeline_conftest"] = sys.modules[__name__]

CACHES = ROOT / ".venv" / ".cache"

TINY: dict[str, Any] = {
    "workload": {"query_tokens": 24, "items": 4, "item_tokens": 4},
    "chunk_sizes": [2, 4],
    "passes": {"warmup_limit": 3, "sweep": 2, "confirm": 2},
    "selection": {"resamples": 200},
}
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
    """Shrink the default contract and compose ``params.yaml`` from it."""
    path = folder / "conf" / "contract" / "quick.yaml"
    raw = yaml.safe_load(path.read_text())
    for key, value in TINY.items():
        raw[key] = {**raw[key], **value} if isinstance(value, dict) else value
    path.write_text("# @package _global_\n" + yaml.safe_dump(raw, sort_keys=False))


@pytest.fixture(scope="session")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Pipeline:
    """The repository before anything ran."""
    folder = tmp_path_factory.mktemp("pipeline") / "scoreparity"
    folder.mkdir()
    copy_work_tree(folder)
    tiny_contract(folder)
    made = Pipeline(folder)
    made.run("git", "init", "--quiet", "--initial-branch", "main")
    for key, value in (("user.name", "test"), ("user.email", "test@localhost")):
        made.run("git", "config", key, value)
    made.run(sys.executable, "-m", "stages.compose")
    made.commit("a tiny contract")
    return made


@pytest.fixture(scope="session")
def pipeline(tree: Pipeline) -> Iterator[Pipeline]:
    """The repository after an experiment with other chunk sizes ran everything, from nothing.

    The change is committed by itself, so that ``HEAD~1`` knows the contract and no result.
    """
    change = f"chunk_sizes={OTHER_CHUNKS}"
    ran = tree.ran("dvc", "exp", "run", "--name", "other-chunks", "-S", change)
    assert ran == ["workload", "checkpoint", "nonce", "oracle", *MEASURE, "compare", "report"]
    tree.run("git", "commit", "--quiet", "-m", "other chunk sizes", "params.yaml")
    tree.commit("the first result")
    yield tree
    wait_for(lambda: not tree.processes(), "a process was left behind", every_s=0.5)


@pytest.fixture
def title(request: pytest.FixtureRequest) -> str:
    """Which matrix is measured; indirectly parametrized where it is another."""
    return getattr(request, "param", "jax-portable")


@pytest.fixture
def cache() -> Iterator[Path]:
    """A cache folder with the real environments and what belongs to them, but its own journals.

    Python keeps byte code by the path it read a module at: in a new folder for every test it would
    compile a whole server anew each time, and leave that in the user's cache.
    """
    folder = CACHES / "measuring" / os.environ.get("PYTEST_XDIST_WORKER", "alone")
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    for name, real in (
        ("environments", cache_root() / "environments"),
        ("compiled", cache_root() / "compiled"),
        ("flags", cache_root() / "flags"),
        ("bytecode", CACHES / "bytecode"),
    ):
        real.mkdir(parents=True, exist_ok=True)
        (folder / name).symlink_to(real)
    yield folder
    shutil.rmtree(folder)


@pytest.fixture
def measuring(tree: Pipeline, cache: Path, title: str) -> Iterator[Any]:
    """Measurements in the repository; what they write is undone afterwards."""
    from measuring import Measuring

    tree.set_param("chunk_sizes", TINY["chunk_sizes"])
    tree.run("dvc", "repro", "workload", "checkpoint", "nonce")
    yield Measuring(tree, cache, title)
    tree.run("git", "checkout", "--quiet", ".")
    tree.run("dvc", "checkout", "--quiet", "--force", check=False)
