"""The commit that a result records, and the messages where git cannot tell it."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from bench import inside
from project import Project, make_project, somebody_elses

from stages.common.git import NoRepositoryError, code_version
from stages.contract import load_contract
from stages.documents.matrix import Provenance, read_matrix
from stages.measure.command import record_unavailable
from stages.plan.plan import make_plan

MATRIX = Path("data/measure/jax-portable/matrix.parquet")
UNAVAILABLE = 'backends.jax.unavailable="a quota of 0 TPUs"'


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """The project after everything before a measurement has run, which costs the most."""
    project = make_project(tmp_path_factory.mktemp("git") / "scoreparity")
    project.set_param("backends.jax.unavailable", "a quota of 0 TPUs")
    project.run("dvc", "repro", "measure@jax-portable")
    project.run("git", "add", "--all")
    project.run("git", "commit", "--quiet", "-m", "what it wrote, and the contract")
    return project


@pytest.fixture
def project(made: Project, tmp_path: Path) -> Project:
    """A copy of it that a test may spoil."""
    shutil.copytree(made.folder, tmp_path / "scoreparity", symlinks=True)
    shutil.copy(made.folder.parent / "gitconfig", tmp_path / "gitconfig")
    return Project(tmp_path / "scoreparity")


def measured(project: Project) -> Provenance:
    """What a measurement in the project records; its backend is unavailable, so it is quick."""
    project.module("stages.measure", "jax", "portable")
    return read_matrix(project.folder / MATRIX).provenance


def test_what_a_run_writes_itself_is_no_uncommitted_change(project: Project) -> None:
    project.set_param("backends.jax.unavailable", "another reason")
    project.set_param("workloads.few.seed", 7)
    project.run("dvc", "repro", "measure@jax-portable")
    assert "M dvc.lock" in project.run("git", "status", "--porcelain")
    found = read_matrix(project.folder / MATRIX).provenance
    assert (found.run.git_commit, found.run.git_dirty) == (project.head(), False)
    written = json.loads((project.folder / "data/workload/provenance.json").read_bytes())
    assert (written["git_commit"], written["git_dirty"]) == (project.head(), False)


def append(name: str) -> Callable[[Project], object]:
    def change(project: Project) -> None:
        path = project.folder / name
        path.parent.mkdir(exist_ok=True)
        with path.open("a") as file:
            file.write("# changed\n")

    return change


def staged(project: Project) -> None:
    append("stages/measure/passes.py")(project)
    project.run("git", "add", "--all")


CODE_CHANGES: dict[str, Callable[[Project], object]] = {
    "edited": append("stages/measure/passes.py"),
    "edited and staged": staged,
    "deleted": lambda project: (project.folder / "stages/common/student.py").unlink(),
    "a new module": append("stages/measure/extra.py"),
    "a new module of a backend": append("backends/jax/extra.py"),
    "a new module that hides an installed one": append("polars.py"),
    "a new package that hides an installed one": append("polars/__init__.py"),
    "other pins": append("backends/jax/requirements.txt"),
    "the harness's pins": append("requirements.txt"),
    "the stages' commands": append("dvc.yaml"),
}


@pytest.mark.parametrize("change", CODE_CHANGES.values(), ids=CODE_CHANGES)
def test_changed_code_is_not_the_commits(
    project: Project, change: Callable[[Project], object]
) -> None:
    change(project)
    found = code_version(project.folder)
    assert (found.commit, found.changed) == (project.head(), True)


@pytest.mark.parametrize(
    "name",
    [
        *("README.md", "docs/new.md", "tests/new.py", "conf/contract/mine.yaml", "params.yaml"),
        *("dvc.lock", "data/compare/metrics.json", "data/new", "data/.gitignore"),
    ],
)
def test_what_does_not_measure_is_no_change_of_code(project: Project, name: str) -> None:
    append(name)(project)
    assert name.split("/")[0] in project.run("git", "status", "--porcelain")
    assert code_version(project.folder).changed is False


def test_a_measurement_with_changed_code_says_so(project: Project) -> None:
    append("stages/measure/passes.py")(project)
    found = measured(project)
    assert (found.run.git_commit, found.run.git_dirty) == (project.head(), True)


def test_the_code_counts_that_was_read_when_the_measurement_began(project: Project) -> None:
    """Hours may lie between: what somebody edits or commits meanwhile did not measure."""
    began = project.head()
    with inside(project.folder):
        plan = make_plan(load_contract(), "jax", "portable")
        append("stages/measure/passes.py")(project)
        project.commit("the next idea")
        record_unavailable(plan, MATRIX.parent)
    found = read_matrix(project.folder / MATRIX).provenance
    assert (found.run.git_commit, found.run.git_dirty) == (began, False)


@pytest.mark.parametrize("edited", [False, True])
def test_an_experiment_in_a_copy_names_the_commit_and_the_edits_it_took_along(
    project: Project, edited: bool
) -> None:
    if edited:
        append("stages/measure/passes.py")(project)
    base = project.head()
    name = f"copy-{edited}"
    project.run(
        *("dvc", "exp", "run", "--temp", "--name", name, "measure@jax-portable"),
        *("-S", UNAVAILABLE, "-S", "passes.sweep=9"),
    )
    project.run("git", "checkout", "--quiet", ".")
    # It tells of the outputs that nobody measured, and checks out the others all the same.
    project.run("dvc", "exp", "apply", name, check=False)
    found = read_matrix(project.folder / MATRIX).provenance
    assert found.contract.passes.sweep == 9
    assert (found.run.git_commit, found.run.git_dirty) == (base, edited)


def test_a_copy_without_a_repository_names_no_commit(project: Project) -> None:
    shutil.rmtree(project.folder / ".git")
    found = measured(project)
    assert (found.run.git_commit, found.run.git_dirty) == (None, None)
    assert isinstance(code_version(project.folder).unknown, NoRepositoryError)


def test_a_copy_within_another_repository_does_not_name_that_ones_commit(project: Project) -> None:
    shutil.rmtree(project.folder / ".git")
    around = Project(project.folder.parent)
    (around.folder / "README").write_text("somebody's home\n")
    environ = project.environ
    for command in (["init", "-q"], ["add", "README"], ["commit", "-qm", "home"]):
        subprocess.run(["git", *command], cwd=around.folder, env=environ, check=True)
    found = measured(project)
    assert (found.run.git_commit, found.run.git_dirty) == (None, None)


def test_without_git_the_measurement_is_kept_and_the_reason_printed(project: Project) -> None:
    binaries = project.folder.parent / "bin"
    binaries.mkdir()
    bare = replace(project, variables={"PATH": str(binaries)})
    for name, *arguments in (["stages.workload"], ["stages.measure", "jax", "portable"]):
        said = bare.module(name, *arguments)
        assert "no commit is recorded: git: No such file or directory" in said
        assert "install git" in said
    found = read_matrix(project.folder / MATRIX).provenance
    assert (found.run.git_commit, found.run.git_dirty) == (None, None)
    assert bare.refused("tools.diff", "HEAD").startswith("git: No such file or directory")
    assert bare.refused("tools.combine", "HEAD").startswith("git: No such file or directory")


def test_before_the_first_commit_there_is_none_to_name(project: Project) -> None:
    shutil.rmtree(project.folder / ".git")
    project.run("git", "init", "--quiet")
    said = project.module("stages.measure", "jax", "portable")
    assert "no commit is recorded: this repository has no commit yet" in said
    found = read_matrix(project.folder / MATRIX).provenance
    assert (found.run.git_commit, found.run.git_dirty) == (None, None)
    assert "this repository has no commit yet" in project.refused("tools.diff", "HEAD")
    assert "this repository has no commit yet" in project.refused("tools.combine", "HEAD")
    assert "names no commit: this repository has no commit yet" in doctors_line(project)


def test_a_work_tree_of_a_repository_elsewhere_names_its_own_commit(project: Project) -> None:
    project.run("git", "worktree", "add", "--quiet", "-b", "other", "../other")
    other = Project(project.folder.parent / "other")
    other.run("git", "commit", "--quiet", "--allow-empty", "-m", "only there")
    assert other.head() != project.head()
    assert code_version(other.folder).commit == other.head()
    assert code_version(other.folder).changed is False
    append("stages/measure/passes.py")(project)
    assert code_version(other.folder).changed is False


def test_a_shallow_clone_names_its_commit_and_what_it_lacks(project: Project) -> None:
    project.commit("one more")
    source = project.folder.as_uri()
    project.run("git", "clone", "--quiet", "--depth", "1", source, "../shallow")
    shallow = Project(project.folder.parent / "shallow")
    found = code_version(shallow.folder)
    assert (found.commit, found.changed) == (project.head(), False)
    for line in (
        shallow.refused("tools.diff", "HEAD~1"),
        shallow.refused("tools.combine", "HEAD~1"),
    ):
        assert "only a part of the history: git fetch --unshallow" in line
    # And that mends it: the revision is known then.
    shallow.shell("git fetch --quiet --unshallow")
    assert "history" not in shallow.refused("tools.diff", "HEAD~1")


def test_the_variables_of_a_git_hook_do_not_lead_to_another_repository(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = Project(project.folder.parent / "other")
    other.folder.mkdir()
    other.run("git", "init", "--quiet")
    other.commit("of another project")
    hook = {
        "GIT_DIR": str(other.folder / ".git"),
        "GIT_WORK_TREE": str(other.folder),
        "GIT_INDEX_FILE": str(other.folder / ".git" / "index"),
        "GIT_PREFIX": "",
    }
    hooked = replace(project, variables=hook)
    found = measured(hooked)
    assert (found.run.git_commit, found.run.git_dirty) == (project.head(), False)
    hooked.module("tools.combine", check=False)
    assert other.run("git", "worktree", "list").count("\n") == 1
    assert "data/compare/comparison.json is not in this revision" in hooked.refused(
        "tools.diff", project.head()
    )
    for name, value in hook.items():
        monkeypatch.setenv(name, value)
    assert code_version(project.folder).commit == project.head()


# A repository that belongs to another user, as a checkout mounted into a container does.


@pytest.fixture
def foreign(project: Project) -> Project:
    """The project as it is for a user who does not own it."""
    return replace(project, variables=somebody_elses(project.folder))


def doctors_line(project: Project) -> str:
    """What the doctor says of git."""
    said = project.module("tools.doctor", "--json", check=False)
    told, _ = json.JSONDecoder().raw_decode(said)
    (finding,) = [f for f in told["machine"] if f["check"] == "git and dvc"]
    assert finding["level"] == "warning", "dvc repro itself runs all the same"
    return f"{finding['found']}; {finding['fix']}"


COMMANDS: dict[str, Callable[[Project], str]] = {
    "workload": lambda project: project.module("stages.workload"),
    "measure": lambda project: project.module("stages.measure", "jax", "portable"),
    "diff": lambda project: project.refused("tools.diff", "HEAD"),
    "doctor": doctors_line,
    "combine": lambda project: project.refused("tools.combine", "HEAD"),
}


@pytest.mark.parametrize("command", COMMANDS.values(), ids=COMMANDS)
def test_another_users_repository_is_one_line_with_the_remedy(
    foreign: Project, command: Callable[[Project], str]
) -> None:
    told = command(foreign)
    (line,) = [line for line in told.splitlines() if "dubious ownership" in line]
    assert f"git: detected dubious ownership in repository at '{foreign.folder}'" in line
    (remedy,) = re.findall(r"git config --global --add safe\.directory \S+", line)
    foreign.shell(remedy)
    assert "dubious" not in foreign.module("stages.measure", "jax", "portable")
    found = read_matrix(foreign.folder / MATRIX).provenance
    assert (found.run.git_commit, found.run.git_dirty) == (foreign.head(), False)
