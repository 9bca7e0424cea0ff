"""`make lock` renews the locks that it is asked for, and no other."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from bench import inside
from click.testing import CliRunner, Result
from contracts import ROOT

from tools.lock import main, named

OLD = "# as it was\n"


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A copy of the project's lists of requirements, all of them small, with old locks."""
    for path in (*ROOT.glob("backends/*/backend.py"), *ROOT.glob("backends/*/excludes.txt")):
        there = tmp_path / path.relative_to(ROOT)
        there.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, there)
    (tmp_path / "pyproject.toml").write_text(
        '[project]\nname = "a"\nversion = "1"\ndependencies = ["iniconfig"]\n'
        '[project.optional-dependencies]\ndev = ["wheel"]\n'
    )
    (tmp_path / "requirements.txt").write_text(OLD)
    for path in (*ROOT.glob("backends/*/*.in"), *ROOT.glob("backends/*/locks/*.in")):
        put(tmp_path / path.relative_to(ROOT))
    put(tmp_path / "deploy" / "remotes.in")
    return tmp_path


def put(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("iniconfig\n")
    path.with_suffix(".txt").write_text(OLD)


def renewed(tree: Path) -> set[str]:
    locks = (path for path in tree.rglob("*.txt") if path.name != "excludes.txt")
    return {str(path.relative_to(tree)) for path in locks if path.read_text() != OLD}


def locked(tree: Path, *arguments: str) -> Result:
    with inside(tree):
        return CliRunner().invoke(main, arguments, catch_exceptions=False)


@pytest.mark.parametrize(
    "name", ["backends/jax/requirements.in", "backends/pytorch/requirements-gpu.in"]
)
def test_one_lock_is_renewed_and_no_other_is_touched(tree: Path, name: str) -> None:
    assert locked(tree, name).exit_code == 0
    assert renewed(tree) == {name.replace(".in", ".txt")}
    text = (tree / name).with_suffix(".txt").read_text()
    assert text.startswith("iniconfig==")
    assert "--hash=sha256:" in text
    assert "://" not in text


def test_without_a_name_the_frozen_and_those_of_commits_stay_as_they_are(tree: Path) -> None:
    with inside(tree):
        assert [str(one.source) for one in named([])] == [
            "pyproject.toml",
            "deploy/remotes.in",
            "backends/jax/requirements.in",
        ]


def test_a_lock_that_nobody_has_is_one_line(tree: Path) -> None:
    done = locked(tree, "backends/jax/requirement.in")
    assert done.exit_code == 1
    assert done.stderr.startswith("error: ONLY: found backends/jax/requirement.in; allowed: ")
    assert len(done.stderr.splitlines()) == 1


def test_what_does_not_resolve_leaves_the_lock_as_it_was(tree: Path) -> None:
    (tree / "backends/jax/requirements.in").write_text("iniconfig==0.0.0.1\n")
    done = locked(tree, "backends/jax/requirements.in")
    assert done.exit_code == 1
    assert done.stderr.startswith("error: requirements.in: does not resolve: ")
    assert len(done.stderr.splitlines()) == 1
    assert renewed(tree) == set()


@pytest.mark.parametrize("commit", ["", "main", "ABC"])
def test_a_commit_to_lock_is_a_whole_one(tree: Path, commit: str) -> None:
    done = locked(tree, "--commit", commit)
    assert done.exit_code == 1
    assert done.stderr.endswith("allowed: 40 hex digits\n")
