"""The pipeline in a repository of its own, before and after everything ran."""

from __future__ import annotations

import os
import shutil
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from measuring import Measuring
from patience import PATIENCE_S, wait_for
from pipelines import CACHES, MEASURE, OTHER_CHUNKS, TINY, Pipeline, copy_work_tree, tiny_contract

from stages.environments.build import cache_root


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
    made.run(sys.executable, "-m", "tools.compose")
    made.commit("a tiny contract")
    return made


@pytest.fixture(scope="session")
def queued(tree: Pipeline) -> Pipeline:
    """The repository after an experiment of the queue ran everything, from nothing, in a copy.

    It is named ``other-chunks``, for what it changes.
    """
    change = f"chunk_sizes={OTHER_CHUNKS}"
    tree.run("dvc", "exp", "run", "--queue", "--name", "other-chunks", "-S", change)
    tree.run("dvc", "queue", "start")
    # It starts four servers, and those of the other groups start beside it.
    deadline = time.monotonic() + 6 * PATIENCE_S
    while (status := tree.queue()["other-chunks"]) != "Success":
        assert status != "Failed", tree.run("dvc", "queue", "logs", "other-chunks")
        assert time.monotonic() < deadline, status
        time.sleep(1)
    return tree


@pytest.fixture(scope="session")
def pipeline(queued: Pipeline) -> Iterator[Pipeline]:
    """The repository in which that experiment was applied and committed.

    The change is committed by itself, so that ``HEAD~1`` knows the contract and no result.
    """
    assert queued.run("git", "status", "--porcelain") == "", "the work tree is as it was"
    ran = queued.ran("dvc", "queue", "logs", "other-chunks")
    prepared = ["workload", "checkpoint", "nonce", "delimiters", "oracle"]
    assert ran == [*prepared, *MEASURE, "compare", "report"]
    queued.run("dvc", "exp", "apply", "other-chunks")
    queued.run("git", "commit", "--quiet", "-m", "other chunk sizes", "params.yaml")
    queued.commit("the first result")
    yield queued
    queued.run("dvc", "queue", "stop", check=False)
    wait_for(lambda: not queued.processes(), "a process was left behind", every_s=0.5)


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


@pytest.fixture(scope="session")
def prepared(tree: Pipeline) -> Pipeline:
    """A copy of the repository with everything that a measurement reads, committed."""
    made = Pipeline(tree.folder.parent.with_name("prepared") / tree.folder.name)
    shutil.copytree(tree.folder, made.folder, symlinks=True)
    made.set_param("chunk_sizes", TINY["chunk_sizes"])
    made.run("dvc", "repro", "workload", "checkpoint", "nonce")
    made.commit("what is measured")
    shutil.copytree(made.folder / "data", made.folder.parent / "data")
    return made


@pytest.fixture
def measuring(prepared: Pipeline, cache: Path, title: str) -> Iterator[Any]:
    """Measurements in the repository; what they write is undone afterwards."""
    yield Measuring(prepared, cache, title)
    prepared.run("git", "checkout", "--quiet", ".")
    shutil.rmtree(prepared.folder / "data")
    shutil.copytree(prepared.folder.parent / "data", prepared.folder / "data")
