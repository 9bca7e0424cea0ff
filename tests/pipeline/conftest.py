"""The pipeline in a repository of its own, before and after everything ran."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from measuring import Measuring
from patience import wait_for
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
def pipeline(tree: Pipeline) -> Iterator[Pipeline]:
    """The repository after an experiment with other chunk sizes ran everything, from nothing.

    The change is committed by itself, so that ``HEAD~1`` knows the contract and no result.
    """
    change = f"chunk_sizes={OTHER_CHUNKS}"
    ran = tree.ran("dvc", "exp", "run", "--name", "other-chunks", "-S", change)
    prepared = ["workload", "checkpoint", "nonce", "delimiters", "oracle"]
    assert ran == [*prepared, *MEASURE, "compare", "report"]
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
    tree.set_param("chunk_sizes", TINY["chunk_sizes"])
    tree.run("dvc", "repro", "workload", "checkpoint", "nonce")
    yield Measuring(tree, cache, title)
    tree.run("git", "checkout", "--quiet", ".")
    tree.run("dvc", "checkout", "--quiet", "--force", check=False)
