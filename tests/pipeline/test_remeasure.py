"""`make remeasure` draws a nonce of its own, and goes on with it: real make, dvc and nonces.

The other stages write the nonce they were run under, where they would measure.
"""

from __future__ import annotations

import json
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml
from contracts import BACKENDS
from project import Project, make_project

from stages.contract import VIEWS
from stages.documents.nonce import NONCE_FILE, read_nonce

MATRICES = [f"measure@{backend}-{view}" for backend in BACKENDS for view in VIEWS]

# A stage's name and outputs; it tells what it ran under, or fails where it is asked to.
QUICK = """\
set -eu
stage=$1
shift
if [ "$stage" = "${FAIL_AT:-}" ]; then exit 1; fi
nonce=$(cat data/nonce/nonce.json 2>/dev/null || echo null)
for out; do
  case $out in
    *.*) mkdir -p "$(dirname "$out")"; echo "$nonce" > "$out" ;;
    *) mkdir -p "$out"; echo "$nonce" > "$out/canonical_workload.json" ;;
  esac
done
printf '{"stage": "%s", "under": %s, "fresh": "%s"}\\n' \
  "$stage" "$nonce" "${SCOREPARITY_FRESH:-}" >> ../ran
"""


@dataclass(frozen=True)
class Ran:
    """A stage that was run: under which nonce, and whether it was to begin anew."""

    stage: str
    nonce: str | None
    fresh: str


def quickly(name: str, stage: dict) -> dict:
    """The stage as it is, but for what it does."""
    if name == "nonce":
        return stage
    outs = [next(iter(out)) if isinstance(out, dict) else out for out in stage["outs"]]
    told = f"{name}@${{item.backend}}-${{item.view}}" if "matrix" in stage else name
    return {**stage, "cmd": f"bash ../quick.sh {told} {' '.join(outs)}"}


@dataclass(frozen=True)
class Measured:
    """The project after `dvc repro`, and what that ran."""

    project: Project
    ran: list[Ran]


@pytest.fixture(scope="module")
def measured(tmp_path_factory: pytest.TempPathFactory) -> Measured:
    beside = tmp_path_factory.mktemp("remeasure")
    made = make_project(beside / "scoreparity")
    (beside / "quick.sh").write_text(QUICK)
    path = made.folder / "dvc.yaml"
    raw = yaml.safe_load(path.read_text())
    raw["stages"] = {name: quickly(name, stage) for name, stage in raw["stages"].items()}
    path.write_text(yaml.safe_dump(raw, sort_keys=False))
    return Measured(made, ran(made, "dvc", "repro"))


def copied(project: Project, beside: Path) -> Project:
    """A copy of the project that a test may spoil."""
    shutil.copytree(project.folder, beside / "scoreparity", symlinks=True)
    for name in ("quick.sh", "gitconfig"):
        shutil.copy(project.folder.parent / name, beside)
    return Project(beside / "scoreparity")


@pytest.fixture
def project(measured: Measured, tmp_path: Path) -> Project:
    return copied(measured.project, tmp_path)


def ran(project: Project, *command: str, fails: bool = False, **variables: str) -> list[Ran]:
    """What a command ran."""
    told = project.folder.parent / "ran"
    told.write_text("")
    done = subprocess.run(
        command,
        cwd=project.folder,
        env=project.environ | variables,
        capture_output=True,
        text=True,
    )
    assert (done.returncode != 0) == fails, done.stdout + done.stderr
    found = [json.loads(line) for line in told.read_text().splitlines()]
    return [Ran(r["stage"], (r["under"] or {}).get("nonce"), r["fresh"]) for r in found]


def make(*arguments: str) -> tuple[str, ...]:
    """A make target; the environments, which nothing here runs in, are as they should be."""
    return ("make", "--silent", "--old-file=setup", "HARNESS=", "RUN=", *arguments)


def nonce(project: Project) -> str:
    return read_nonce(project.folder / NONCE_FILE)


def test_it_measures_everything_under_a_new_nonce(measured: Measured, project: Project) -> None:
    before = nonce(project)
    assert {r.nonce for r in measured.ran if r.stage in MATRICES} == {before}
    again = ran(project, *make("remeasure"))
    assert nonce(project) != before
    assert again == [
        Ran("oracle", nonce(project), ""),
        *(Ran(stage, nonce(project), "1") for stage in [*MATRICES, "compare", "report"]),
    ]
    assert ran(project, "dvc", "repro") == [], "nothing is left to do"


def test_after_an_interruption_it_goes_on_under_the_nonce_that_is_there(project: Project) -> None:
    before = nonce(project)
    broken = ran(project, *make("remeasure"), fails=True, FAIL_AT=MATRICES[2])
    drawn = nonce(project)
    assert drawn != before
    assert [r.stage for r in broken] == ["oracle", *MATRICES[:2]]
    # Both ways of going on, from the same state.
    (project.folder.parent / "copy").mkdir()
    copy = copied(project, project.folder.parent / "copy")

    rest = ran(copy, "dvc", "repro")
    assert rest == [Ran(stage, drawn, "") for stage in [*MATRICES[2:], "compare", "report"]]
    goes_on = ran(project, *make("remeasure", "FRESH=0"))
    assert nonce(project) == drawn
    assert goes_on == rest, "what is measured already is not sent to a server again"


def test_stopped_before_it_drew_a_nonce_it_measures_nothing_again_under_the_earlier_one(
    project: Project,
) -> None:
    (project.folder / NONCE_FILE).unlink()  # As dvc leaves a stage that it was stopped in.
    assert ran(project, *make("remeasure", "FRESH=0")) == []


def test_another_word_than_0_or_1_measures_nothing(project: Project) -> None:
    drawn = nonce(project)
    assert ran(project, *make("remeasure", "FRESH=no"), fails=True) == []
    assert nonce(project) == drawn
