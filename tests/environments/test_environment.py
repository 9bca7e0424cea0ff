"""An environment is its requirements, and the commit of its checkout where it has one."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest
import yaml
from bench import inside
from click.testing import CliRunner
from contracts import ROOT
from project import somebody_elses
from targets import COMMIT, bare_folder, raw_target

from stages.backends.registry import environment_names, requirements_file
from stages.common.errors import UserError
from stages.contract import VIEWS, parse_contract
from stages.environments.build import (
    ensure_environment,
    environment_folder,
    environment_sha256,
    installed_version,
    needed,
    pinned_version,
    python_of,
    requirements_sha256,
    source_of,
)
from stages.environments.checkout import CommitSource
from stages.environments.command import main
from tools.doctor.backend_checks import judge_environment
from tools.doctor.finding import Finding
from tools.doctor.installed import find_environment

NAME = "sglang_jax_tpu"
VARIABLE = "SCOREPARITY_SGLANG_JAX_SOURCE"


def git(folder: Path, *arguments: str) -> str:
    identity = ("-c", "user.name=n", "-c", "user.email=e@example.org")
    command = ["git", *identity, "-C", str(folder), *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A small package laid out like sglang-jax, in a git repository at some commit."""
    folder = tmp_path / "checkout"
    package = folder / "python" / "sgl_jax"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text("FOUND = True\n")
    (folder / "pyproject.toml").write_text("[tool.black]\n")
    (folder / "python" / "pyproject.toml").write_text(
        '[build-system]\nrequires = ["setuptools"]\nbuild-backend = "setuptools.build_meta"\n'
        '[project]\nname = "sglang-jax"\nversion = "0.9.1"\n'
        '[tool.setuptools]\npackages = ["sgl_jax"]\n'
    )
    git(folder, "init", "--quiet")
    git(folder, "add", "-A")
    git(folder, "commit", "--quiet", "-m", "c")
    return folder


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SCOREPARITY_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv(VARIABLE, raising=False)


def refusal(commit: str | None) -> str:
    with inside(ROOT), pytest.raises(UserError) as caught:
        ensure_environment(NAME, commit)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def nothing_was_built(tmp_path: Path) -> bool:
    return not (tmp_path / "cache").exists()


def test_without_a_commit_the_line_says_what_to_set(tmp_path: Path) -> None:
    assert refusal(None).endswith("set it in params.yaml: backends.jax.launch.source.commit")
    assert nothing_was_built(tmp_path)


def test_without_a_checkout_the_line_names_the_variable(tmp_path: Path) -> None:
    said = refusal(COMMIT)
    assert said.startswith(f"{VARIABLE} is not set")
    assert COMMIT in said
    assert nothing_was_built(tmp_path)


@pytest.mark.parametrize("there", [True, False])
def test_a_folder_that_is_no_checkout_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, there: bool
) -> None:
    folder = tmp_path / "plain"
    if there:
        folder.mkdir()
    monkeypatch.setenv(VARIABLE, str(folder))
    assert refusal(COMMIT).startswith(f"{folder}: `git rev-parse` failed: ")
    assert nothing_was_built(tmp_path)


def test_a_checkout_at_another_commit_is_refused_with_both(
    checkout: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv(VARIABLE, str(checkout))
    head = git(checkout, "rev-parse", "HEAD")
    assert refusal(COMMIT) == (
        f"{checkout}: refused: it is at {head}, but backends.jax.launch.source.commit is {COMMIT}"
    )
    assert nothing_was_built(tmp_path)


def test_a_checkout_that_is_somebody_elses_is_refused_with_what_mends_it(
    checkout: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    head = git(checkout, "rev-parse", "HEAD")
    # Longer than what is usually told of a complaint, and with a blank that a shell would split.
    folder = tmp_path / f"another {'user' * 40}"
    checkout.rename(folder)
    monkeypatch.setenv(VARIABLE, str(folder))
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", str(tmp_path / "gitconfig"))
    for name, value in somebody_elses(folder).items():
        monkeypatch.setenv(name, value)
    said = refusal(head)
    assert said.startswith(f"git: detected dubious ownership in repository at '{folder}'")
    assert nothing_was_built(tmp_path)
    complaint = find_environment(NAME, head).checkout_complaint
    assert complaint == said, "the doctor says the same"
    _, remedy = said.split("; to mend it: ")
    subprocess.run(remedy, shell=True, check=True)
    assert source_of(NAME, head) == CommitSource(str(folder), head)


def test_the_variables_of_a_git_hook_do_not_stand_in_for_the_checkout(
    checkout: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    head = git(checkout, "rev-parse", "HEAD")
    other = tmp_path / "other"
    git(tmp_path, "init", "--quiet", str(other))
    git(other, "commit", "--quiet", "--allow-empty", "-m", "of another project")
    monkeypatch.setenv(VARIABLE, str(checkout))
    monkeypatch.setenv("GIT_DIR", str(other / ".git"))
    assert source_of(NAME, head) == CommitSource(str(checkout), head)


def test_without_git_the_line_says_what_to_install(
    checkout: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    head = git(checkout, "rev-parse", "HEAD")
    monkeypatch.setenv(VARIABLE, str(checkout))
    monkeypatch.setenv("PATH", str(tmp_path / "nothing"))
    assert refusal(head) == "git: No such file or directory; to mend it: install git"


@pytest.mark.parametrize("change", ["edited", "added", "staged"])
def test_a_checkout_with_changed_files_is_refused_by_their_names(
    checkout: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, change: str
) -> None:
    monkeypatch.setenv(VARIABLE, str(checkout))
    name = "python/sgl_jax/new.py" if change == "added" else "python/sgl_jax/__init__.py"
    (checkout / name).write_text("FOUND = False\n")
    if change == "staged":
        git(checkout, "add", "-A")
    said = refusal(git(checkout, "rev-parse", "HEAD"))
    assert said == f"{checkout}: refused: changed: {name}"
    assert nothing_was_built(tmp_path)


def test_a_checkout_is_installed_as_it_is_and_left_as_it_was(
    checkout: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv(VARIABLE, str(checkout))
    commit = git(checkout, "rev-parse", "HEAD")
    folder = tmp_path / "root"
    requirements = folder / "backends" / "jax" / "requirements-tpu.txt"
    requirements.parent.mkdir(parents=True)
    (requirements.parent / "backend.py").symlink_to(ROOT / "backends/jax/backend.py")
    # What builds the checkout, from the real lock; the gigabytes a TPU needs are left out.
    lock = (ROOT / requirements_file(NAME)).read_text()
    builder = re.search(r"^setuptools==.*?(?=^\w)", lock, re.MULTILINE | re.DOTALL)
    assert builder is not None
    requirements.write_text(builder[0])
    with inside(folder):
        python = ensure_environment(NAME, commit)
        assert python == python_of(NAME, commit)
        assert installed_version(NAME, "sglang-jax", commit) == f"0.9.1+{commit[:12]}"
        monkeypatch.delenv(VARIABLE)
        assert ensure_environment(NAME, commit) == python, "built once, it needs no checkout"
    asked = [str(python), "-P", "-c", "import sgl_jax; print(sgl_jax.FOUND, sgl_jax.__file__)"]
    found = subprocess.run(asked, check=True, capture_output=True, text=True).stdout
    assert found.startswith("True ")
    assert str(checkout) not in found
    assert git(checkout, "status", "--porcelain", "--ignored") == ""


def test_a_url_gives_the_commit_whatever_came_after_it(
    checkout: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    commit = git(checkout, "rev-parse", "HEAD")
    (checkout / "python" / "sgl_jax" / "__init__.py").write_text("FOUND = False\n")
    git(checkout, "commit", "--quiet", "-a", "-m", "later")
    monkeypatch.setenv(VARIABLE, f"file://{checkout}")
    package = source(commit).clone_to(tmp_path / "clone")
    assert (package / "sgl_jax" / "__init__.py").read_text() == "FOUND = True\n"


def test_a_url_that_holds_no_such_commit_is_refused_without_its_password(
    checkout: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv(VARIABLE, f"file://{checkout}")
    with pytest.raises(UserError, match="`git checkout` failed"):
        source(COMMIT).clone_to(tmp_path / "clone")
    monkeypatch.setenv(VARIABLE, "https://me:hunter2@localhost:1/sglang-jax.git")
    with pytest.raises(UserError) as caught:
        source(COMMIT).clone_to(tmp_path / "other")
    assert "`git clone` failed" in str(caught.value)
    assert "hunter2" not in str(caught.value)


def source(commit: str) -> CommitSource:
    found = source_of(NAME, commit)
    assert found is not None
    return found


def test_the_doctor_names_what_the_checkout_lacks(
    checkout: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(ROOT)
    assert "no commit is set" in judged(None).found
    assert judged(COMMIT).found.startswith(f"{VARIABLE} is not set")
    monkeypatch.setenv(VARIABLE, str(checkout))
    assert "refused: it is at" in judged(COMMIT).found
    assert judged(COMMIT).level == "blocked"
    assert judged(git(checkout, "rev-parse", "HEAD")).level == "ok"
    # What the lock of the CPU leaves out, that of the TPU does not.
    assert find_environment(NAME, COMMIT).excluded == frozenset()
    assert "libtpu" in find_environment("sglang_jax").excluded


def judged(commit: str | None) -> Finding:
    return judge_environment("environment", find_environment(NAME, commit))


def test_the_commit_is_part_of_what_an_environment_is() -> None:
    with inside(ROOT):
        release = requirements_sha256("sglang_jax")
        assert environment_sha256("sglang_jax") == release
        assert environment_folder("sglang_jax").name == f"sglang_jax-{release[:16]}"
        tpu = {environment_sha256(NAME, commit) for commit in (COMMIT, COMMIT[::-1], None)}
        folders = {environment_folder(NAME, commit) for commit in (COMMIT, COMMIT[::-1], None)}
    assert (len(tpu), len(folders)) == (3, 3)


@pytest.mark.parametrize("name", environment_names())
def test_every_lock_pins_everything_by_hash_and_names_no_index(name: str) -> None:
    lock = (ROOT / requirements_file(name)).read_text()
    packages = re.findall(r"^[\w.-]+==\S+.*\n", lock, re.MULTILINE)
    assert len(packages) > 50
    assert all(line.endswith("\\\n") for line in packages), "a hash follows"
    assert "://" not in lock


def test_the_accelerators_locks_hold_what_the_cpus_leave_out() -> None:
    with inside(ROOT):
        assert pinned_version("sglang_pytorch", "sglang") is not None
        assert pinned_version("sglang_pytorch_gpu", "sglang") == pinned_version(
            "sglang_pytorch", "sglang"
        )
        assert pinned_version("sglang_pytorch", "flashinfer-python") is None
        assert pinned_version("sglang_pytorch_gpu", "flashinfer-python") is not None
        assert pinned_version("sglang_jax", "libtpu") is None
        assert pinned_version(NAME, "libtpu") is not None
        assert pinned_version(NAME, "sglang-jax") is None


def test_only_the_environments_of_the_contract_in_force_are_built(tmp_path: Path) -> None:
    choices = ("target=tpu_vs_gpu", f"backends.jax.launch.source.commit='{COMMIT}'")
    made = parse_contract(raw_target(*choices))
    assert needed(made) == {NAME: COMMIT, "sglang_pytorch_gpu": None}
    alone = parse_contract(raw_target(*choices, "backends.pytorch.unavailable='no quota'"))
    assert needed(alone) == {NAME: COMMIT}
    elsewhere = [f"backends.pytorch.{view}.base_url='http://h:1'" for view in VIEWS]
    assert needed(parse_contract(raw_target(*choices, *elsewhere))) == {NAME: COMMIT}
    half = parse_contract(raw_target(*choices, elsewhere[0]))
    assert sorted(needed(half)) == [NAME, "sglang_pytorch_gpu"]


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
