"""Another backend is one folder and one target file.

Nothing else is changed: it is measured as the candidate, compared with the reference, and named
in the report. Scoring servers stand for both, in environments that hold nothing but a Python.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
from bench import SCORING_SERVER, inside
from lying_backends import write_oracle
from project import Project, make_project

from stages.backends.registry import declared
from stages.contract import VIEWS, load_contract
from stages.documents.matrix import MODEL_FILE, WORKLOAD_FILE
from stages.documents.model import read_model
from stages.documents.nonce import NONCE_FILE, read_nonce
from stages.documents.workload import read_workloads
from stages.environments.build import environment_folder

DECLARATION = '''\
"""A backend that is as plain as can be."""

from stages.backends.declared import DeclaredBackend, DeclaredEnvironment, Packing


class Toy(DeclaredBackend):
    """It scores prompt by prompt."""

    key = "toy"
    title = "Toy"
    package = "toy-server"
    environments = (DeclaredEnvironment("toy", "requirements.txt"),)

    def derived_flags(self, shapes, device):
        return {"context-length": max(shape.context_tokens for shape in shapes)}

    def packing(self, delimiter, pinned):
        return Packing({}, delimiter)

    def scoring(self, settings, *, item_first, softmax):
        return "separate", None


BACKEND = Toy()
'''

TARGET = f"""\
# @package _global_
defaults:
  - cpu
  - _self_

identity:
  target: toy

pair:
  candidate: toy

prices_usd_per_hour:
  toy: null

backends:
  toy:
    unavailable: null
    launch:
      environment: toy
      entry: [{SCORING_SERVER}]
      environ: {{}}
      device: cpu
      dtype: float32
    portable:
      base_url: null
      flags: {{disable-radix-cache: true, chunked-prefill-size: -1}}
    best_native:
      base_url: null
      flags: {{chunked-prefill-size: -1}}
  pytorch:
    launch:
      entry: [{SCORING_SERVER}]
"""

NEW = {"backends/toy/backend.py", "backends/toy/requirements.txt", "conf/target/toy.yaml"}

SMALL = (
    *("workloads.few.items=2", "workloads.few.query_tokens=16", "workloads.many.items=4"),
    *("workloads.many.query_tokens=16", "chunk_sizes=[1,4]", "passes.sweep=2"),
    *("passes.confirm=2", "selection.resamples=200", "probes.targets=1", "probes.repeats=2"),
)


def stand_in(package: str, folder: Path) -> None:
    """An environment that holds nothing but this Python, and says that ``package`` is there."""
    (folder / "bin").mkdir(parents=True)
    (folder / "bin" / "python").symlink_to(sys.executable)
    site = folder / "lib" / f"python3.{sys.version_info.minor}" / "site-packages"
    about = site / f"{package.replace('-', '_')}-1.0.dist-info"
    about.mkdir(parents=True)
    (about / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {package}\nVersion: 1.0\n")
    (folder / ".complete").touch()


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """This project with the toy, composed for it."""
    made = make_project(tmp_path_factory.mktemp("toy") / "scoreparity")
    folder = made.folder / "backends" / "toy"
    folder.mkdir()
    (folder / "backend.py").write_text(DECLARATION)
    (folder / "requirements.txt").write_text("toy-server==1.0 \\\n    --hash=sha256:00\n")
    (made.folder / "conf" / "target" / "toy.yaml").write_text(TARGET)
    made.module("tools.compose", "target=toy", *SMALL)
    return made


@pytest.fixture(scope="module")
def compared(project: Project) -> Project:
    """The same, measured and compared, with its report."""
    with inside(project.folder), pytest.MonkeyPatch.context() as patch:
        patch.setenv("SCOREPARITY_CACHE", project.environ["SCOREPARITY_CACHE"])
        contract = load_contract()
        for backend in contract.pair.both:
            launch = contract.backends[backend].launch
            stand_in(declared(backend).package, environment_folder(launch.environment))
    for stage in ("workload", "checkpoint", "nonce"):
        project.module(f"stages.{stage}")
    with inside(project.folder):
        nonce, model = read_nonce(NONCE_FILE), read_model(MODEL_FILE)
        workloads = read_workloads(WORKLOAD_FILE).in_run(nonce)
        write_oracle(workloads, contract, model.sha256, nonce)
    for backend in contract.pair.both:
        for view in VIEWS:
            project.module("stages.measure", backend, view)
    project.module("stages.compare")
    project.module("stages.report")
    return project


def test_no_other_file_is_changed(project: Project) -> None:
    changed = project.run("git", "status", "--porcelain", "--untracked-files=all").splitlines()
    assert {line[3:] for line in changed} - {"params.yaml"} == NEW


def test_dvc_measures_the_toy_as_the_candidate_and_depends_on_its_folder(project: Project) -> None:
    stages = project.run("dvc", "stage", "list", "--name-only").split()
    matrices = [f"measure@{backend}-{view}" for backend in ("toy", "pytorch") for view in VIEWS]
    assert [stage for stage in stages if stage.startswith("measure@")] == matrices
    status = json.loads(project.run("dvc", "status", "--json", "measure@toy-portable", "compare"))
    assert '"backends/toy"' in json.dumps(status["measure@toy-portable"])
    assert "data/measure/toy-portable" in json.dumps(status["compare"])


def test_a_dry_run_and_the_doctor_speak_of_the_toy(project: Project) -> None:
    assert "toy-portable" in project.module("tools.plan")
    assert "Toy" in project.module("tools.doctor", "--backend", "toy", check=False)


def test_who_is_not_of_the_pair_is_not_measured(project: Project) -> None:
    line = project.refused("stages.measure", "jax", "portable")
    assert line == "backend 'jax': toy and pytorch are compared here"


def test_the_comparison_names_the_pair_and_gates_the_toy(compared: Project) -> None:
    found = json.loads((compared.folder / "data/compare/comparison.json").read_text())
    assert [one["scope"]["workload"] for one in found["workloads"]] == ["few", "many"]
    for one in found["workloads"]:
        assert one["pair"]["candidate"]["title"] == "Toy"
        assert one["pair"]["reference"]["title"] == "PyTorch"
    cells = [cell for one in found["workloads"] for view in VIEWS for cell in one[view]["cells"]]
    assert {cell["backend"] for cell in cells} == {"toy", "pytorch"}
    # Both servers give the right scores, so the gate passes wherever the toy is judged.
    verdicts = {cell["backend"]: cell["gate"] and cell["gate"]["verdict"] for cell in cells}
    assert verdicts == {"toy": "pass", "pytorch": None}
    metrics = json.loads((compared.folder / "data/compare/metrics.json").read_text())
    for workload in ("few", "many"):
        assert metrics[workload]["portable"]["toy"]["items_per_s"] > 0


def test_the_report_names_the_toy_and_nobody_else_in_its_place(compared: Project) -> None:
    folder = compared.folder / "data/report"
    report = (folder / "report.md").read_text()
    assert report.startswith("# Report: Toy vs PyTorch multi-item comparison")
    assert "How well does toy-server multi-item scoring perform next to a frozen PyTorch" in report
    for page in ("report.md", "comparison.md", "report.html"):
        assert "JAX" not in (folder / page).read_text(), page
    for workload in ("few", "many"):
        page = folder / workload / "report.md"
        assert_names_the_toy(page.read_text())
    figures = list(folder.rglob("*.svg"))
    for figure in figures:
        assert "JAX" not in figure.read_text(), figure.name
    correct = [figure for figure in figures if figure.name == "correctness-portable.svg"]
    assert len(correct) == 2
    assert all("Toy against PyTorch" in figure.read_text() for figure in correct)


def assert_names_the_toy(report: str) -> None:
    """Check the page of one workload."""
    assert "| Chunk | Toy p95 (ms) | Toy items/s | PyTorch p95 (ms) | PyTorch items/s |" in report
    (sentence,) = [line for line in report.splitlines() if line.startswith("- **Portable view**")]
    assert "Toy at chunk" in sentence
    assert "PyTorch at chunk" in sentence
    assert "Known TPU limitation" not in report
    assert "JAX" not in report
