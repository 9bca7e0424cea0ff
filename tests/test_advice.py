"""What the commands that this project prints do to the contract in force, by running them."""

from __future__ import annotations

import re
import shlex
import shutil
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import comparisons
import pytest
import yaml
from bench import inside
from contracts import BACKENDS
from project import Project, make_project
from targets import COMMIT

from stages.contract import VIEWS, Backend
from stages.report.render import render_all
from tools.compose import composed
from tools.doctor.devices import find_tpu
from tools.doctor.facts import Tpu

# Only what the reader's own shell and machine would do: `make` never touches the environment that
# these tests run in, and nothing is measured or built.
MAKE = """
make() {
  case $1 in
    repro) command make --dry-run --silent HARNESS= RUN= "$@" ;;
    *) command make --silent HARNESS= RUN= "$@" ;;
  esac
}
"""


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Project:
    return make_project(tmp_path_factory.mktemp("advice") / "scoreparity")


def copied(made: Project, beside: Path) -> Project:
    shutil.copytree(made.folder, beside / "scoreparity", symlinks=True)
    shutil.copy(made.folder.parent / "gitconfig", beside / "gitconfig")
    return Project(beside / "scoreparity")


@pytest.fixture
def project(made: Project, tmp_path: Path) -> Project:
    """A copy of the project that a test may spoil."""
    return copied(made, tmp_path)


def typed(project: Project, line: str, check: bool = True) -> str:
    """What a reader sees who types this command line."""
    return project.run("bash", "-c", MAKE + line, check=check)


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    """Where somebody accepts connections, as a server does that was started elsewhere."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield f"http://127.0.0.1:{server.getsockname()[1]}"


OTHER_KEYS = "chunk_sizes=[1,4] passes.sweep=3 prices_usd_per_hour.jax=2.5"
ACCELERATORS = f"backends.jax.launch.source.commit={COMMIT} prices_usd_per_hour.pytorch=3.5"


def put_in_force(project: Project, name: str, url: str) -> None:
    """Put a contract in force that is not the default one, with servers that can be reached."""
    elsewhere = " ".join(f"backends.{b}.{v}.base_url={url}" for b in BACKENDS for v in VIEWS)
    typed(
        project,
        {
            "other keys": f"make params SET='{OTHER_KEYS} {elsewhere}'",
            "another contract": f"make params CONTRACT=seed_shape SET='{elsewhere}'",
            "another target": "make params TARGET=tpu_vs_gpu CONTRACT=quick"
            f" SET='{ACCELERATORS} {elsewhere}'",
        }[name],
    )


@pytest.fixture(scope="module")
def written(made: Project, url: str, tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """Each of these contracts, as `make params` wrote it."""
    spoilt = copied(made, tmp_path_factory.mktemp("contracts"))
    found = {}
    for name in IN_FORCE:
        put_in_force(spoilt, name, url)
        found[name] = (spoilt.folder / "params.yaml").read_bytes()
    return found


def in_force(project: Project, contract: bytes) -> dict[str, Any]:
    """Put a contract in force."""
    (project.folder / "params.yaml").write_bytes(contract)
    return project.params()


IN_FORCE = ("other keys", "another contract", "another target")


def with_reason(contract: dict[str, Any], backend: Backend, reason: str | None) -> dict[str, Any]:
    """The same contract, but for one backend's availability."""
    section = {**contract["backends"][backend], "unavailable": reason}
    return {**contract, "backends": {**contract["backends"], backend: section}}


def partial_report(backend: Backend, reason: str) -> str:
    whole = comparisons.comparison(
        *(comparisons.speeds(view, {1: 40.0}, {1: 50.0}) for view in VIEWS)
    )
    return render_all(comparisons.without(whole, {backend: reason}))["report.md"]


@pytest.mark.parametrize(
    ("backend", "reason"), [("jax", "doctor: no TPU found"), ("pytorch", "a quota of 0 GPUs")]
)
@pytest.mark.parametrize("name", IN_FORCE)
def test_what_completes_a_partial_report_changes_nothing_else_of_the_contract(
    project: Project, written: dict[str, bytes], name: str, backend: Backend, reason: str
) -> None:
    before = in_force(project, written[name])
    project.set_param(f"backends.{backend}.unavailable", reason)
    (advice,) = re.findall(
        r"two commands complete the report: (.+?), then (.+?) \(", partial_report(backend, reason)
    )
    said = [typed(project, command, check=False) for command in advice]
    assert project.params() == before
    assert f"backends.{backend}.unavailable is null" in said[0]
    assert "dvc repro" in said[1], "and this measures under it"


def test_what_completes_a_view_changes_nothing_else_of_the_contract(project: Project) -> None:
    before = project.params()
    project.set_param("backends.jax.portable.unavailable", "refuses a flag")
    whole = comparisons.comparison(
        *(comparisons.speeds(view, {1: 40.0}, {1: 50.0}) for view in VIEWS)
    )
    report = render_all(comparisons.without(whole, {"jax": "refuses a flag"}, ["portable"]))
    (advice,) = re.findall(
        r"two commands complete the report: (.+?), then (.+?) \(", report["report.md"]
    )
    said = [typed(project, command, check=False) for command in advice]
    assert project.params() == before
    assert "backends.jax.portable.unavailable is null" in said[0]
    assert "dvc repro" in said[1]


@pytest.fixture
def no_tpu() -> None:
    if find_tpu({}) != Tpu():
        pytest.skip("this machine has a TPU")


def test_what_goes_on_without_a_backend_changes_nothing_else_of_the_contract(
    project: Project, no_tpu: None
) -> None:
    choices = ["target=tpu_vs_gpu", "contract=quick", *ACCELERATORS.split()]
    typed(project, f"make params TARGET=tpu_vs_gpu CONTRACT=quick SET='{ACCELERATORS}'")
    before = project.params()
    said = typed(project, "make doctor", check=False)
    pattern = r"^To go on without JAX .*: (make .+), then (make .+)$"
    (advice,) = re.findall(pattern, said, re.MULTILINE)
    recorded = typed(project, advice[0])
    reason = project.params()["backends"]["jax"]["unavailable"]
    assert reason.startswith("doctor: no TPU found")
    assert project.params() == with_reason(before, "jax", reason)
    assert "dvc repro" in typed(project, advice[1])
    # What an experiment has to be given besides its own choices does the same there.
    for text in (said, recorded):
        (argument,) = re.findall(r"experiment without JAX add: -S (.*jax.*)$", text, re.MULTILINE)
        with inside(project.folder):
            anew = yaml.safe_load(composed([*choices, *shlex.split(argument)]))
        assert anew == project.params()
    # As long as the reason holds, it is not cleared.
    assert "Not cleared" in typed(project, "make doctor CLEAR=1 BACKEND=jax")
    assert project.params() == with_reason(before, "jax", reason)


@pytest.mark.parametrize("name", IN_FORCE)
def test_what_takes_a_reason_back_changes_nothing_else_of_the_contract(
    project: Project, written: dict[str, bytes], name: str
) -> None:
    before = in_force(project, written[name])
    for backend in BACKENDS:
        project.set_param(f"backends.{backend}.unavailable", "doctor: no device found")
    said = typed(project, "make doctor", check=False)
    advice = re.findall(r"to measure it again: (make .+), then make repro$", said, re.MULTILINE)
    assert len(advice) == 2
    typed(project, advice[0], check=False)
    assert project.params() == with_reason(before, "pytorch", "doctor: no device found")
    typed(project, advice[1], check=False)
    assert project.params() == before


def test_a_machine_that_is_ready_for_one_half_is_told_to_measure_that_half(
    project: Project, written: dict[str, bytes]
) -> None:
    in_force(project, written["another target"])
    said = typed(project, "make doctor BACKEND=jax", check=False)
    (command,) = re.findall(r"^Ready: (.+) measures JAX here\.$", said, re.MULTILINE)
    runs = typed(project, f"command make --dry-run --silent HARNESS= RUN= {command[5:]}")
    assert runs.strip() == "python -m tools.combine.half 'jax'"


def test_a_comparison_of_another_version_is_made_anew_only_where_that_is_possible(
    project: Project,
) -> None:
    path = project.folder / "data" / "compare" / "comparison.json"
    path.parent.mkdir(parents=True)
    path.write_text('{"version": 1}')
    project.commit("an old result")
    line = project.refused("stages.report")
    (stage,) = re.findall(r"`dvc repro (\w+)` makes it anew", line)
    outs = yaml.safe_load((project.folder / "dvc.yaml").read_text())["stages"][stage]["outs"]
    assert {"data/compare/comparison.json": {"cache": False}} in outs
    # What a revision holds stays what it is.
    assert "dvc" not in project.refused("tools.diff", "HEAD")


def test_a_target_without_a_commit_is_told_which_key_to_set_in_the_contract_in_force(
    project: Project,
) -> None:
    typed(project, "make params TARGET=tpu_vs_gpu SET='prices_usd_per_hour.jax=2.5'")
    before = project.params()
    line = project.refused("stages.environments")
    (key,) = re.findall(r"set it in params\.yaml: (\S+)$", line)
    project.set_param(key, COMMIT)
    assert "no commit is set" not in project.refused("stages.environments")
    before["backends"]["jax"]["launch"]["source"]["commit"] = COMMIT
    assert project.params() == before
