"""An environment is its requirements, and the commit of a repository where one is named."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from bench import inside
from click.testing import CliRunner
from contracts import ROOT
from project import somebody_elses
from targets import COMMIT, bare_folder, raw_target

from stages.backends.registry import commit_trees, environment_names, requirements_file
from stages.common.errors import ContractError, UserError
from stages.contract import VIEWS, parse_contract
from stages.environments.build import (
    checkout_of,
    ensure_environment,
    environment_folder,
    environment_sha256,
    environment_sha256s,
    installed_version,
    needed,
    pinned_file,
    python_of,
    requirements_sha256,
)
from stages.environments.checkout import CommitSource, find_source
from stages.environments.command import main
from tools.doctor.backend_checks import judge_environment
from tools.doctor.finding import Finding
from tools.doctor.installed import find_environment
from tools.lock import lock_commit

NAME = "sglang_jax"
VARIABLE = "SCOREPARITY_SGLANG_JAX_SOURCE"
KEY = "backends.jax.launch.source.commit"

PROJECT = """\
[build-system]
requires = ["setuptools>=80"]
build-backend = "setuptools.build_meta"

[project]
name = "sglang-jax"
version = "0.9.1"
dependencies = []

[project.optional-dependencies]
cpu = ["wheel"]
tpu = ["wheel", "iniconfig"]

[tool.setuptools]
packages = ["sgl_jax"]
"""


def git(folder: Path, *arguments: str) -> str:
    identity = ("-c", "user.name=n", "-c", "user.email=e@example.org")
    command = ["git", *identity, "-C", str(folder), *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


def commit_all(folder: Path, message: str = "c") -> str:
    git(folder, "add", "-A")
    git(folder, "commit", "--quiet", "-m", message)
    return git(folder, "rev-parse", "HEAD")


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A small package laid out like sglang-jax, in a git repository at some commit."""
    folder = tmp_path / "checkout"
    package = folder / "python" / "sgl_jax"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text("FOUND = True\n")
    (folder / "pyproject.toml").write_text("[tool.black]\n")
    (folder / "large.bin").write_text("outside python/\n")
    (folder / "python" / "pyproject.toml").write_text(PROJECT)
    git(folder, "init", "--quiet", "--initial-branch", "main")
    git(folder, "config", "uploadpack.allowFilter", "true")
    commit_all(folder)
    return folder


@pytest.fixture
def head(checkout: Path) -> str:
    return git(checkout, "rev-parse", "HEAD")


@pytest.fixture
def root(tmp_path: Path) -> Iterator[Path]:
    """A root of the project without locks, which becomes the working directory."""
    folder = tmp_path / "root"
    jax = folder / "backends" / "jax"
    jax.mkdir(parents=True)
    (folder / "backends" / "pytorch").symlink_to(ROOT / "backends/pytorch")
    for name in ("backend.py", "requirements.txt", "excludes.txt"):
        (jax / name).symlink_to(ROOT / "backends/jax" / name)
    with inside(folder):
        yield folder


def packages(*names: str) -> str:
    """Pinned, hashed packages out of a real lock."""
    lock = (
        (ROOT / "backends/jax/locks/jax-0.10.2-cpu.txt").read_text()
        + "\n"
        + (ROOT / "requirements.txt").read_text()
    )
    found = []
    for name in names:
        match = re.search(rf"^{name}==.*\n(?: .*\n)*", lock, re.MULTILINE)
        assert match is not None, name
        found.append(match[0])
    return "".join(found)


def add_lock(root: Path, name: str, wanted: list[str], *pinned: str) -> Path:
    folder = root / "backends" / "jax" / "locks"
    folder.mkdir(exist_ok=True)
    (folder / f"{name}.in").write_text("".join(f"{one}\n" for one in wanted))
    path = folder / f"{name}.txt"
    path.write_text(packages(*pinned))
    return path


def add_fitting_lock(root: Path) -> Path:
    pinned = ("setuptools", "wheel", "packaging")
    return add_lock(root, "g-cpu", ["setuptools>=80", "wheel"], *pinned)


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SCOREPARITY_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv(VARIABLE, raising=False)


def refusal(commit: str | None, device: str = "cpu") -> str:
    with pytest.raises(UserError) as caught:
        ensure_environment(NAME, commit, device)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def nothing_was_built(tmp_path: Path) -> bool:
    folder = tmp_path / "cache" / "environments"
    return not folder.exists() or not [p for p in folder.iterdir() if p.is_dir()]


def source(commit: str) -> CommitSource:
    declared = checkout_of(NAME)
    assert declared is not None
    return find_source(declared, commit)


def exported(commit: str, tmp_path: Path) -> Path:
    return source(commit).export_to(tmp_path / "export")


def files_of(folder: Path) -> set[str]:
    found = (path.relative_to(folder) for path in folder.rglob("*") if path.is_file())
    return {str(path) for path in found if path.parts[0] != ".git"}


PYTHON_FILES = {"pyproject.toml", "sgl_jax/__init__.py"}


def test_on_a_device_of_no_release_the_line_says_which_key_to_set(
    tmp_path: Path, root: Path
) -> None:
    said = refusal(None, "tpu")
    assert "no release of sglang-jax works on device tpu" in said
    assert said.endswith(f"set it in params.yaml: {KEY}")
    assert nothing_was_built(tmp_path)
    assert pinned_file(NAME, None, "cpu") == requirements_file(NAME)


def test_a_device_that_no_extra_is_declared_for_is_named_with_those_there_are(root: Path) -> None:
    assert refusal(COMMIT, "abacus").endswith("for device abacus: cpu, cuda, gpu, tpu")


def test_without_a_repository_the_line_names_the_variable(tmp_path: Path, root: Path) -> None:
    said = refusal(COMMIT)
    assert said.startswith(f"{VARIABLE} is not set")
    assert COMMIT in said
    assert nothing_was_built(tmp_path)


@pytest.mark.parametrize("there", [True, False])
def test_a_folder_that_is_no_repository_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, root: Path, there: bool
) -> None:
    folder = tmp_path / "plain"
    if there:
        folder.mkdir()
    monkeypatch.setenv(VARIABLE, str(folder))
    assert refusal(COMMIT).startswith(f"{folder}: `git rev-parse` failed: ")
    assert nothing_was_built(tmp_path)


def test_a_commit_that_is_not_there_is_refused_with_the_branches_that_are(
    checkout: Path, head: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, root: Path
) -> None:
    git(checkout, "branch", "other")
    monkeypatch.setenv(VARIABLE, str(checkout))
    assert refusal(COMMIT) == (
        f"{checkout}: it has no commit {COMMIT}, which {KEY} names; its branches:"
        f" main at {head} (c); other at {head} (c)"
    )
    assert nothing_was_built(tmp_path)


def test_a_repository_that_is_somebody_elses_is_refused_with_what_mends_it(
    checkout: Path, head: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, root: Path
) -> None:
    add_fitting_lock(root)
    # Longer than what is usually told of a complaint, and with a blank that a shell would split.
    folder = tmp_path / f"another {'user' * 40}"
    checkout.rename(folder)
    monkeypatch.setenv(VARIABLE, str(folder))
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", str(tmp_path / "gitconfig"))
    with monkeypatch.context() as theirs:
        for name, value in somebody_elses(folder).items():
            theirs.setenv(name, value)
        said = refusal(head)
        assert said.startswith(f"git: detected dubious ownership in repository at '{folder}'")
        assert nothing_was_built(tmp_path)
        complaint = find_environment(NAME, head).checkout_complaint
        assert complaint == said, "the doctor says the same"
        _, remedy = said.split("; to mend it: ")
        subprocess.run(remedy, shell=True, check=True)
        trusted = git_says(folder, "rev-parse", "HEAD")
        assert trusted == head


def git_says(folder: Path, *arguments: str) -> str:
    command = ["git", "-C", str(folder), *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


def test_the_variables_of_a_git_hook_do_not_stand_in_for_the_repository(
    checkout: Path, head: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, root: Path
) -> None:
    other = tmp_path / "other"
    git(tmp_path, "init", "--quiet", str(other))
    git(other, "commit", "--quiet", "--allow-empty", "-m", "of another project")
    monkeypatch.setenv(VARIABLE, str(checkout))
    monkeypatch.setenv("GIT_DIR", str(other / ".git"))
    monkeypatch.setenv("GIT_INDEX_FILE", str(other / ".git" / "index"))
    assert files_of(exported(head, tmp_path)) == PYTHON_FILES


def test_without_git_the_line_says_what_to_install(
    checkout: Path, head: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, root: Path
) -> None:
    monkeypatch.setenv(VARIABLE, str(checkout))
    monkeypatch.setenv("PATH", str(tmp_path / "nothing"))
    assert refusal(head) == "git: No such file or directory; to mend it: install git"


def test_only_the_commit_counts_not_what_is_checked_out_or_changed(
    checkout: Path, head: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, root: Path
) -> None:
    (checkout / "python" / "sgl_jax" / "__init__.py").write_text("FOUND = False\n")
    commit_all(checkout, "later")
    (checkout / "python" / "sgl_jax" / "new.py").write_text("not committed\n")
    monkeypatch.setenv(VARIABLE, str(checkout))
    package = exported(head, tmp_path)
    assert files_of(package) == PYTHON_FILES
    assert (package / "sgl_jax" / "__init__.py").read_text() == "FOUND = True\n"
    assert git(checkout, "status", "--porcelain", "--ignored") == "?? python/sgl_jax/new.py"


def test_an_object_that_the_repository_replaces_is_read_as_it_was_committed(
    checkout: Path, head: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, root: Path
) -> None:
    (checkout / "python" / "sgl_jax" / "__init__.py").write_text("FOUND = False\n")
    git(checkout, "replace", head, commit_all(checkout, "in its place"))
    monkeypatch.setenv(VARIABLE, str(checkout))
    package = exported(head, tmp_path)
    assert (package / "sgl_jax" / "__init__.py").read_text() == "FOUND = True\n"


def without_what_lies_outside(checkout: Path) -> Path:
    """The same repository without the objects outside python/."""
    blob = git(checkout, "rev-parse", "HEAD:large.bin")
    (checkout / ".git" / "objects" / blob[:2] / blob[2:]).unlink()
    return checkout


def cloned(checkout: Path, *options: str) -> Path:
    """A clone whose origin is gone afterwards: nothing can be fetched from it."""
    folder = checkout.with_name("clone")
    git(checkout.parent, "clone", "--quiet", *options, f"file://{checkout}", str(folder))
    checkout.rename(checkout.with_name("gone"))
    return folder


KINDS = {
    "bare": lambda checkout: cloned(checkout, "--bare"),
    "shallow": lambda checkout: cloned(checkout, "--depth", "1"),
    "partial, checked out": lambda checkout: cloned(checkout, "--filter=blob:none"),
    "of missing blobs": without_what_lies_outside,
    "sub-folder": lambda checkout: checkout / "python",
}


@pytest.mark.parametrize("kind", KINDS)
def test_a_commit_is_read_from_every_kind_of_repository(
    checkout: Path,
    head: str,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    root: Path,
    kind: str,
) -> None:
    lock = add_fitting_lock(root)
    monkeypatch.setenv(VARIABLE, str(KINDS[kind](checkout)))
    assert pinned_file(NAME, head) == lock.relative_to(root)
    assert files_of(exported(head, tmp_path)) == PYTHON_FILES


def test_a_linked_work_tree_is_a_repository_too(
    checkout: Path, head: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, root: Path
) -> None:
    git(checkout, "worktree", "add", "--quiet", "--detach", str(tmp_path / "linked"))
    monkeypatch.setenv(VARIABLE, str(tmp_path / "linked"))
    assert files_of(exported(head, tmp_path)) == PYTHON_FILES


def test_a_partial_clone_that_lacks_the_package_is_named_with_what_completes_it(
    checkout: Path, head: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, root: Path
) -> None:
    folder = tmp_path / "partial"
    git(tmp_path, "clone", "-q", "--bare", "--filter=blob:none", f"file://{checkout}", str(folder))
    monkeypatch.setenv(VARIABLE, str(folder))
    add_fitting_lock(root)
    said = refusal(head)
    assert said.startswith(f"{folder}: a partial clone that lacks 2 objects of commit {head}, such")
    assert nothing_was_built(tmp_path)
    _, remedy = said.split("; to mend it: ")
    subprocess.run(remedy, shell=True, check=True)
    assert files_of(exported(head, tmp_path)) == PYTHON_FILES


def test_a_shallow_clone_without_the_commit_says_how_to_complete_it(
    checkout: Path, head: str, monkeypatch: pytest.MonkeyPatch, root: Path
) -> None:
    (checkout / "later").touch()
    commit_all(checkout, "later")
    monkeypatch.setenv(VARIABLE, str(cloned(checkout, "--depth", "1")))
    said = refusal(head)
    assert f"it has no commit {head}" in said
    assert said.endswith("this clone has only a part of the history: git fetch --unshallow")


def test_a_repository_without_the_package_is_one_line(
    checkout: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, root: Path
) -> None:
    shutil.rmtree(checkout / "python")
    gone = commit_all(checkout, "gone")
    monkeypatch.setenv(VARIABLE, str(checkout))
    assert refusal(gone) == f"sglang-jax: commit {gone}, of {KEY}, has no folder python/"
    assert nothing_was_built(tmp_path)


@pytest.mark.parametrize(
    ("project", "said"),
    [
        (None, "not there"),
        ("[project", "no TOML: "),
        (PROJECT.replace("cpu =", "other ="), "it has no extra 'cpu'; it has: other, tpu"),
        (PROJECT.replace('["wheel"]', '["???"]'), "'???' is no requirement"),
        (PROJECT.replace('["wheel"]', '"wheel"'), "cpu: no list of requirements"),
        (
            PROJECT.replace("dependencies = []", 'dynamic = ["dependencies"]'),
            "its dependencies are dynamic",
        ),
        (
            PROJECT.replace("dependencies = []", 'requires-python = ">=3.90"'),
            "it requires Python >=3.90, and this is 3.",
        ),
        ("project = 5", "project: no table"),
    ],
)
def test_a_commit_that_does_not_tell_what_it_needs_is_one_line(
    checkout: Path,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    root: Path,
    project: str | None,
    said: str,
) -> None:
    path = checkout / "python" / "pyproject.toml"
    path.unlink() if project is None else path.write_text(project)
    commit = commit_all(checkout, "another")
    monkeypatch.setenv(VARIABLE, str(checkout))
    where = f"{checkout}: python/pyproject.toml of commit {commit}: "
    assert refusal(commit).startswith(where + said)
    assert nothing_was_built(tmp_path)


def test_a_commit_that_fits_no_lock_is_told_the_difference_and_the_command(
    checkout: Path, head: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, root: Path
) -> None:
    monkeypatch.setenv(VARIABLE, str(checkout))
    command = f"; to mend it: make lock-commit COMMIT={head} DEVICE=cpu"
    assert refusal(head).endswith(f"for device cpu: there is none{command}")
    add_lock(root, "far-cpu", ["a", "b"], "wheel")
    add_lock(root, "near-cpu", ["setuptools>=80", "wheel==0.1", "six"], "wheel")
    assert refusal(head).endswith(
        f"next to near-cpu it asks for wheel and not for six and wheel==0.1{command}"
    )
    add_lock(root, "more-cpu", ["setuptools>=80", "wheel", "six"], "wheel")
    assert refusal(head).endswith(f"next to more-cpu it does not ask for six{command}")
    add_lock(root, "tpu-tpu", ["setuptools>=80", "wheel"], "wheel")
    assert "fits no lock" in refusal(head), "a lock of another device does not count"
    assert nothing_was_built(tmp_path)


def test_a_lock_fits_however_its_requirements_are_spelled(
    checkout: Path, head: str, monkeypatch: pytest.MonkeyPatch, root: Path
) -> None:
    monkeypatch.setenv(VARIABLE, str(checkout))
    lock = add_lock(root, "g-cpu", ["# why", "Wheel", "", "SetupTools >= 80  # more"], "wheel")
    assert pinned_file(NAME, head) == lock.relative_to(root)


def test_a_commit_is_installed_as_it_is_and_the_repository_left_as_it_was(
    checkout: Path, head: str, monkeypatch: pytest.MonkeyPatch, root: Path
) -> None:
    monkeypatch.setenv(VARIABLE, str(checkout))
    add_fitting_lock(root)
    python = ensure_environment(NAME, head)
    assert python == python_of(NAME, head)
    assert installed_version(NAME, "sglang-jax", head) == f"0.9.1+{head[:12]}"
    monkeypatch.delenv(VARIABLE)
    assert ensure_environment(NAME, head) == python, "built once, it needs no repository"
    assert judged(head).found.startswith(f"{NAME}: built, Python 3.")
    assert found_in(python).startswith("True ")
    assert str(checkout) not in found_in(python)
    assert git(checkout, "status", "--porcelain", "--ignored") == ""


def found_in(python: Path) -> str:
    asked = [str(python), "-P", "-c", "import sgl_jax; print(sgl_jax.FOUND, sgl_jax.__file__)"]
    return subprocess.run(asked, check=True, capture_output=True, text=True).stdout


def test_two_commits_are_installed_side_by_side(
    checkout: Path, head: str, monkeypatch: pytest.MonkeyPatch, root: Path
) -> None:
    (checkout / "python" / "sgl_jax" / "__init__.py").write_text("FOUND = False\n")
    later = commit_all(checkout, "later")
    monkeypatch.setenv(VARIABLE, str(checkout))
    add_fitting_lock(root)
    pythons = [ensure_environment(NAME, commit) for commit in (head, later)]
    assert [found_in(python).split()[0] for python in pythons] == ["True", "False"]


def test_a_version_from_tags_needs_no_tags(
    checkout: Path, monkeypatch: pytest.MonkeyPatch, root: Path
) -> None:
    project = PROJECT.replace('"setuptools>=80"', '"setuptools>=80", "setuptools-scm>=9.2"')
    project = project.replace('version = "0.9.1"', 'dynamic = ["version"]')
    path = checkout / "python" / "pyproject.toml"
    path.write_text(project + '[tool.setuptools_scm]\nroot = ".."\n')
    commit = commit_all(checkout, "a version from tags")
    git(checkout, "tag", "v7.7.7")
    monkeypatch.setenv(VARIABLE, str(checkout))
    wanted = ["setuptools-scm>=9.2", "setuptools>=80", "wheel"]
    pinned = ("setuptools", "setuptools-scm", "vcs-versioning", "packaging", "wheel")
    add_lock(root, "g-cpu", wanted, *pinned)
    ensure_environment(NAME, commit)
    assert installed_version(NAME, "sglang-jax", commit) == f"0.0.0+{commit[:12]}"


def test_packages_that_do_not_fit_together_are_refused_and_nothing_is_left(
    checkout: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, root: Path
) -> None:
    path = checkout / "python" / "pyproject.toml"
    path.write_text(PROJECT.replace("dependencies = []", 'dependencies = ["iniconfig<1"]'))
    commit = commit_all(checkout, "an old iniconfig")
    monkeypatch.setenv(VARIABLE, str(checkout))
    wanted = ["iniconfig<1", "setuptools>=80", "wheel"]
    add_lock(root, "g-cpu", wanted, "setuptools", "wheel", "packaging", "iniconfig")
    said = refusal(commit)
    assert f"the packages of commit {commit} do not fit together, so nothing was installed" in said
    assert "requires `iniconfig<1`" in said
    assert nothing_was_built(tmp_path)


def test_a_package_that_cannot_be_built_leaves_nothing(
    checkout: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, root: Path
) -> None:
    path = checkout / "python" / "pyproject.toml"
    path.write_text(PROJECT.replace('packages = ["sgl_jax"]', 'packages = ["nowhere"]'))
    commit = commit_all(checkout, "broken")
    monkeypatch.setenv(VARIABLE, str(checkout))
    add_fitting_lock(root)
    assert refusal(commit).endswith("`uv pip install` failed; see its message above")
    assert nothing_was_built(tmp_path)


def test_a_url_gives_the_commit_whatever_came_after_it(
    checkout: Path, head: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, root: Path
) -> None:
    (checkout / "python" / "sgl_jax" / "__init__.py").write_text("FOUND = False\n")
    commit_all(checkout, "later")
    monkeypatch.setenv(VARIABLE, f"file://{checkout}")
    add_fitting_lock(root)
    package = exported(head, tmp_path)
    assert (package / "sgl_jax" / "__init__.py").read_text() == "FOUND = True\n"
    checkout.rename(tmp_path / "gone")
    assert pinned_file(NAME, head).name == "g-cpu.txt", "it is fetched once"


def test_a_url_that_holds_no_such_commit_is_refused_with_its_branches(
    checkout: Path, head: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, root: Path
) -> None:
    monkeypatch.setenv(VARIABLE, f"file://{checkout}")
    said = refusal(COMMIT)
    assert said.startswith(f"file://{checkout}: it has no commit {COMMIT}, which {KEY} names; its")
    assert f"main at {head} (c)" in said
    assert nothing_was_built(tmp_path)


def test_a_url_is_told_without_its_password(monkeypatch: pytest.MonkeyPatch, root: Path) -> None:
    monkeypatch.setenv(VARIABLE, "https://me:hunter2@localhost:1/sglang-jax.git")
    said = refusal(COMMIT)
    assert said.startswith("https://localhost:1/sglang-jax.git: `git fetch` failed")
    assert "hunter2" not in said


@pytest.mark.parametrize("how", ["{}", "file://{}"])
def test_a_known_commit_is_found_by_its_tree_where_its_history_is_not(
    checkout: Path, head: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, root: Path, how: str
) -> None:
    monkeypatch.setenv(VARIABLE, how.format(checkout))
    add_fitting_lock(root)
    commits = root / "backends" / "jax" / "commits.txt"
    commits.write_text(f"# why\n{COMMIT} {git(checkout, 'rev-parse', 'HEAD:python')}  # more\n")
    assert pinned_file(NAME, COMMIT).name == "g-cpu.txt"
    assert files_of(exported(COMMIT, tmp_path)) == PYTHON_FILES
    commits.write_text(f"{COMMIT} {COMMIT}\n")
    assert f"it has no commit {COMMIT}" in refusal(COMMIT)
    commits.write_text(f"{COMMIT} main\n")
    assert refusal(COMMIT) == (
        "backends/jax/commits.txt: line 1: a commit and a tree are allowed, in hex"
    )


def test_the_doctor_blocks_a_commit_that_cannot_be_installed(
    checkout: Path, head: str, monkeypatch: pytest.MonkeyPatch, root: Path
) -> None:
    assert "no commit is set" in judged(None, "tpu").found
    assert judged(COMMIT).found.startswith(f"{VARIABLE} is not set")
    monkeypatch.setenv(VARIABLE, str(checkout))
    assert "it has no commit" in judged(COMMIT).found
    fits_none = judged(head)
    assert fits_none.level == "blocked"
    assert f"make lock-commit COMMIT={head} DEVICE=cpu" in fits_none.found
    add_fitting_lock(root)
    assert judged(head).level == "ok"
    # What the lock of the release leaves out, that of a commit does not.
    assert find_environment(NAME, head).excluded == frozenset()
    assert "libtpu" in find_environment(NAME).excluded


def judged(commit: str | None, device: str = "cpu") -> Finding:
    return judge_environment("environment", find_environment(NAME, commit, device))


def test_the_commit_is_part_of_what_an_environment_is(
    checkout: Path, head: str, monkeypatch: pytest.MonkeyPatch, root: Path
) -> None:
    release = requirements_sha256(NAME)
    assert environment_sha256(NAME) == release
    assert environment_folder(NAME).name == f"{NAME}-{release[:16]}"
    monkeypatch.setenv(VARIABLE, str(checkout))
    add_fitting_lock(root)
    other = commit_all_empty(checkout)
    assert len({environment_sha256(NAME, one) for one in (None, head, other)}) == 3
    assert len({environment_folder(NAME, one) for one in (None, head, other)}) == 3


def commit_all_empty(folder: Path) -> str:
    git(folder, "commit", "--quiet", "--allow-empty", "-m", "empty")
    return git(folder, "rev-parse", "HEAD")


def test_what_an_environment_can_be_is_known_without_a_repository(
    checkout: Path, head: str, monkeypatch: pytest.MonkeyPatch, root: Path
) -> None:
    monkeypatch.setenv(VARIABLE, str(checkout))
    add_fitting_lock(root)
    add_lock(root, "other-cpu", ["six"], "wheel")
    add_lock(root, "other-tpu", ["six"], "setuptools")
    found = environment_sha256(NAME, head)
    monkeypatch.delenv(VARIABLE)
    known = environment_sha256s(NAME, head, "cpu")
    assert found in known
    assert len(known) == 2
    assert not known & environment_sha256s(NAME, head, "tpu")
    assert not known & environment_sha256s(NAME, COMMIT, "cpu")
    assert environment_sha256s(NAME) == {requirements_sha256(NAME)}
    assert environment_sha256s(NAME, None, "tpu") == frozenset()


def test_a_lock_is_made_for_a_commit_and_no_other_is_touched(
    checkout: Path, head: str, monkeypatch: pytest.MonkeyPatch, root: Path
) -> None:
    monkeypatch.setenv(VARIABLE, str(checkout))
    other = add_lock(root, "other-cpu", ["six"], "wheel")
    before = other.read_bytes()
    made = lock_commit(head, "tpu", NAME)
    assert made is not None
    assert made.name.endswith("-tpu.in")
    assert made.read_text() == "iniconfig\nsetuptools>=80\nwheel\n"
    pinned = made.with_suffix(".txt").read_text()
    assert re.findall(r"^([a-z]+)==", pinned, re.MULTILINE) == [
        "iniconfig",
        "packaging",
        "setuptools",
        "wheel",
    ]
    assert "--hash=sha256:" in pinned
    assert "://" not in pinned
    assert pinned_file(NAME, head, "tpu") == made.with_suffix(".txt")
    assert lock_commit(head, "tpu", NAME) is None, "it fits already"
    assert other.read_bytes() == before
    assert len(list(made.parent.iterdir())) == 4


def test_what_does_not_resolve_is_one_line_and_no_lock(
    checkout: Path, monkeypatch: pytest.MonkeyPatch, root: Path
) -> None:
    path = checkout / "python" / "pyproject.toml"
    path.write_text(PROJECT.replace('["wheel"]', '["wheel==0.0.0.1"]'))
    commit = commit_all(checkout, "impossible")
    monkeypatch.setenv(VARIABLE, str(checkout))
    with pytest.raises(UserError, match=r"does not resolve: .*wheel") as caught:
        lock_commit(commit, "cpu", NAME)
    assert "\n" not in str(caught.value)
    assert not (root / "backends" / "jax" / "locks").exists()


LOCKS = sorted((ROOT / "backends").glob("*/locks/*.in"))


@pytest.mark.parametrize(
    "path",
    [requirements_file(n) for n in environment_names()] + [p.with_suffix(".txt") for p in LOCKS],
    ids=str,
)
def test_every_lock_pins_everything_by_hash_and_names_no_index(path: Path) -> None:
    lock = (ROOT / path).read_text()
    pinned = re.findall(r"^[\w.-]+==\S+.*\n", lock, re.MULTILINE)
    assert len(pinned) > 50
    assert all(line.endswith("\\\n") for line in pinned), "a hash follows"
    assert "://" not in lock


def test_every_device_has_the_locks_of_every_generation() -> None:
    names = {path.stem.rpartition("-")[::2] for path in LOCKS}
    generations = {generation for generation, _ in names}
    assert names == {(one, extra) for one in generations for extra in ("cpu", "tpu", "gpu")}


def test_the_accelerators_locks_hold_what_the_cpus_do_not() -> None:
    locks = ROOT / "backends/jax/locks"
    for generation in ("jax-0.8.1", "jax-0.10.2"):
        texts = {x: (locks / f"{generation}-{x}.txt").read_text() for x in ("cpu", "tpu", "gpu")}
        assert ["\nlibtpu==" in texts[x] for x in texts] == [False, True, False]
        assert ["\njax-cuda12-plugin==" in texts[x] for x in texts] == [False, False, True]
        assert not any("\nsglang-jax==" in text for text in texts.values())


TARGETS = [path.stem for path in sorted((ROOT / "conf/target").glob("*.yaml"))]
REAL = os.environ.get(VARIABLE)


@pytest.mark.skipif(not REAL, reason=f"{VARIABLE} names no repository")
@pytest.mark.parametrize("commit", commit_trees(NAME) if Path("backends").exists() else [])
def test_every_known_commit_has_its_lock_on_every_device(
    commit: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(VARIABLE, str(REAL))
    with inside(ROOT):
        for device, extra in (("cpu", "cpu"), ("tpu", "tpu"), ("cuda:0", "gpu"), ("gpu", "gpu")):
            assert pinned_file(NAME, commit, device).stem.endswith(f"-{extra}")


def test_only_the_environments_of_the_contract_in_force_are_built(tmp_path: Path) -> None:
    choices = ("target=tpu_vs_gpu", f"backends.jax.launch.source.commit='{COMMIT}'")
    made = parse_contract(raw_target(*choices))
    found = needed(made)
    assert {name: (one.commit, one.device) for name, one in found.items()} == {
        NAME: (COMMIT, "tpu"),
        "sglang_pytorch_gpu": (None, "cuda"),
    }
    alone = parse_contract(raw_target(*choices, "backends.pytorch.unavailable='no quota'"))
    assert list(needed(alone)) == [NAME]
    elsewhere = [f"backends.pytorch.{view}.base_url='http://h:1'" for view in VIEWS]
    assert list(needed(parse_contract(raw_target(*choices, *elsewhere)))) == [NAME]
    half = parse_contract(raw_target(*choices, elsewhere[0]))
    assert sorted(needed(half)) == [NAME, "sglang_pytorch_gpu"]
    # The other view is launched here only if it can run.
    native_out = "backends.pytorch.best_native.unavailable='refuses a flag'"
    assert sorted(needed(parse_contract(raw_target(*choices, native_out)))) == sorted(found)
    assert list(needed(parse_contract(raw_target(*choices, elsewhere[0], native_out)))) == [NAME]


@pytest.mark.parametrize(
    ("target", "device"),
    [
        # The flags of this target are refused on a CPU by name: see the next test.
        *((target, "cpu") for target in TARGETS if target != "tpu_vs_gpu"),
        *((target, "cuda") for target in TARGETS),
        ("tpu_vs_gpu", "tpu"),
    ],
)
def test_a_commit_is_named_in_every_target_for_every_device_by_plain_overrides(
    target: str, device: str
) -> None:
    choices = (f"target={target}", f"{KEY}={'a' * 40}", f"backends.jax.launch.device={device}")
    launch = parse_contract(raw_target(*choices)).backends["jax"].launch
    assert (launch.environment, launch.commit) == (NAME, "a" * 40)
    assert launch.program == ["-m", "sgl_jax.launch_server"]


def test_what_an_accelerator_target_asks_for_is_refused_on_a_cpu_by_name() -> None:
    choices = ("target=tpu_vs_gpu", f"{KEY}={'a' * 40}", "backends.jax.launch.device=cpu")
    with pytest.raises(ContractError, match="attention native ignores the mask on cpu"):
        parse_contract(raw_target(*choices))


def test_no_environment_is_named_after_a_device_that_another_one_serves() -> None:
    assert not [name for name in environment_names() if "tpu" in name]


def test_the_release_is_repaired_on_a_cpu_alone_and_an_entry_may_be_written() -> None:
    launch = parse_contract(raw_target("target=cpu")).backends["jax"].launch
    assert launch.program == ["backends/jax/launch_cpu.py"]
    written = raw_target("target=cpu", "backends.jax.launch.entry=[-m,mine]")
    assert parse_contract(written).backends["jax"].launch.program == ["-m", "mine"]


def test_the_command_builds_nothing_where_the_commit_is_missing(tmp_path: Path) -> None:
    folder = tmp_path / "root"
    folder.mkdir()
    bare_folder(folder)
    (folder / "params.yaml").write_text(yaml.safe_dump(raw_target("target=tpu_vs_gpu")))
    with inside(folder):
        result = CliRunner().invoke(main, [])
    assert result.exit_code == 1
    assert "no commit is set" in result.stderr
    assert nothing_was_built(tmp_path)
