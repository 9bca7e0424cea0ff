"""The whole pipeline on a tiny contract: real dvc, real sglang, real sglang-jax."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import polars as pl
import pytest
import yaml
from contracts import ROOT, WORKLOAD
from pipelines import MEASURE, OTHER_CHUNKS, Pipeline
from targets import raw_target

from stages.contract import load_contract, parse_contract
from stages.documents.matrix import read_matrix

pytestmark = pytest.mark.servers


def compared(pipeline: Pipeline) -> dict[str, Any]:
    """The result of its one workload."""
    (found,) = pipeline.json("data/compare/comparison.json")["workloads"]
    assert found["scope"]["workload"] == WORKLOAD
    return found


def cells(pipeline: Pipeline) -> list[dict]:
    comparison = compared(pipeline)
    return comparison["portable"]["cells"] + comparison["best_native"]["cells"]


@pytest.fixture
def restored(pipeline: Pipeline):
    """The pipeline; whatever the test changes is undone afterwards."""
    yield pipeline
    pipeline.run("git", "checkout", "--quiet", ".")
    pipeline.run("dvc", "checkout", "--quiet", "--force")


def test_an_experiment_of_the_queue_is_measured_in_a_copy_and_compared(
    pipeline: Pipeline,
) -> None:
    assert re.search(r"\bother-chunks\b.*\bSuccess\b", pipeline.run("dvc", "queue", "status"))
    assert {c["chunk_size"] for c in cells(pipeline)} == set(OTHER_CHUNKS)
    assert "other-chunks" in pipeline.run("dvc", "exp", "show", "--csv", "--rev", "HEAD~2")
    difference = pipeline.run("dvc", "metrics", "diff", "HEAD~2", "HEAD")
    assert f"{WORKLOAD}.portable.jax.items_per_s" in difference
    assert f"{WORKLOAD}.best_native.pytorch.p95_ms" in difference
    assert "over_all_workloads.portable.candidate_over_reference" in difference
    page = pipeline.folder.parent / "plots"
    pipeline.run("dvc", "plots", "show", "--out", str(page))
    html = (page / "index.html").read_text()
    for series in (
        "candidate_items_per_s",
        "reference_items_per_s",
        "candidate_p95_ms",
        "reference_p95_ms",
    ):
        assert series in html


def test_both_real_servers_are_measured_in_both_views(pipeline: Pipeline) -> None:
    found = cells(pipeline)
    assert len(found) == 2 * 2 * 2
    for cell in found:
        assert cell["success_rate"] == 1.0, cell
        assert cell["items_per_s"] > 0
        assert 0 < cell["client_share"] < 1


def test_both_backends_agree_within_1e_4_in_every_cell(pipeline: Pipeline) -> None:
    gates = [c["gate"] for c in cells(pipeline) if c["backend"] == "jax"]
    assert len(gates) == 4
    for gate in gates:
        assert gate["verdict"] == "pass"
        assert gate["compared_passes"] >= 2
        assert gate["max_abs_diff"] < 1e-4


def test_the_scores_stand_every_check_in_both_views(pipeline: Pipeline) -> None:
    comparison = compared(pipeline)
    for name in ("portable", "best_native"):
        view = comparison[name]
        for cell in view["cells"]:
            controls = (cell["gate"] or {}).get("controls", [])
            assert len(controls) == (3 if cell["backend"] == "jax" else 0)
            assert all(control["caught"] for control in controls)
        for backend in ("jax", "pytorch"):
            found = view["isolation"][backend]
            assert found["verdict"] == "isolated"
            assert found["failed_probes"] == 0
            assert found["largest_change"] < 1e-4
            assert view["noise"][backend]["repeats"] == 5
            assert view["noise"][backend]["max_abs_diff"] < 1e-4
            assert view["oracle"][backend]["compared"] == 2 * 8
            assert view["oracle"][backend]["max_abs_diff"] < 1e-4
        assert view["oracle_sides_with"] == "both"


def test_both_real_servers_tell_what_came_from_their_prefix_cache_and_it_is_allowed(
    pipeline: Pipeline,
) -> None:
    comparison = compared(pipeline)
    for name, kept in (("portable", False), ("best_native", True)):
        for backend, found in comparison[name]["prefix_cache"].items():
            assert found["kept"] is kept, backend
            assert found["told_passes"] == found["timed_passes"] > 0, backend
            assert found["excess_passes"] == 0, backend
            # At chunk size 1 every prompt but the first finds the query in the cache.
            assert found["allowed_tokens"] - found["most_tokens"] == (8 if kept else 0), backend
        assert not any(cell["excess_passes"] for cell in comparison[name]["cells"])


def test_the_matrices_hold_every_planned_pass_and_real_scores(pipeline: Pipeline) -> None:
    for backend in ("jax", "pytorch"):
        for view in ("portable", "best_native"):
            path = pipeline.folder / f"data/measure/{backend}-{view}/matrix.parquet"
            matrix = read_matrix(path)
            timed = matrix.calls.filter(pl.col("phase") == "sweep")
            passes = timed.group_by("chunk_size", "run").agg(pl.col("item_count").sum())
            assert passes.height == 2 * 2
            assert set(passes["item_count"]) == {4}
            scores = timed["scores"].list.explode()
            assert scores.n_unique() > 16, "the scores of different items and passes differ"
            assert scores.min() >= 0
            assert scores.max() <= 1
            assert (path.parent / "server.log").stat().st_size > 0
            assert str(Path.home()) not in " ".join(matrix.provenance.run.argv)
            assert (
                matrix.provenance.run.backend_version
                == {"jax": "0.0.2", "pytorch": "0.5.23"}[backend]
            )
            assert matrix.provenance.run.repaired == (backend == "jax")
            compiles = b"Finished XLA compilation of " in (path.parent / "server.log").read_bytes()
            assert compiles == (backend == "jax")
            assert ("JAX_LOG_COMPILES" in matrix.provenance.run.environ) == (backend == "jax")


def test_the_report_is_complete_and_says_what_it_is(pipeline: Pipeline) -> None:
    report = (pipeline.folder / "data/report/report.md").read_text()
    assert "TBD" not in report
    head = "\n".join(report.splitlines()[:8])
    assert "untrained" in head
    assert "not a deployment decision" in head
    for figure in (pipeline.folder / "data/report/figures").glob("*.svg"):
        assert f"figures/{figure.name}" in report
    assert (pipeline.folder / "data/report/figures/throughput-portable.svg").exists()


def test_nothing_but_tracked_outputs_and_the_lock_changes(pipeline: Pipeline) -> None:
    changed = pipeline.run("git", "show", "--name-only", "--format=", "HEAD").split()
    assert changed
    assert all(name == "dvc.lock" or name.startswith("data/") for name in changed), changed
    assert pipeline.run("git", "status", "--porcelain") == ""
    assert "up to date" in pipeline.run("dvc", "status")


def test_to_reproduce_it_runs_nothing(pipeline: Pipeline) -> None:
    assert pipeline.ran("dvc", "repro") == []


CHANGES: list[tuple[str, object, list[str]]] = [
    (
        "backends.jax.portable.flags.page-size",
        2,
        ["delimiters", "measure@jax-portable", "compare"],
    ),
    (
        "backends.pytorch.best_native.flags.mem-fraction-static",
        0.4,
        ["delimiters", *MEASURE[3:], "compare"],
    ),
    # By which flags a server packs depends on the commit that its launch names.
    ("backends.jax.launch.dtype", "bfloat16", ["delimiters", *MEASURE[:2], "compare"]),
    ("chunk_sizes", [2, 4], ["nonce", "oracle", *MEASURE, "compare"]),
    ("passes.sweep", 3, ["nonce", "oracle", *MEASURE, "compare"]),
    ("passes.confirm", 3, [*MEASURE, "compare"]),
    ("oracle.seed", 1, ["oracle", "compare"]),
    ("probes.targets", 1, [*MEASURE, "compare"]),
    ("model.seed", 1, ["checkpoint"]),
    (f"workloads.{WORKLOAD}.seed", 1, ["workload", "compare"]),
    ("mix", {"all": {WORKLOAD: 1.0}}, ["compare"]),
    ("vocabulary.size", 16385, ["checkpoint", "workload"]),
    ("selection.guardrail", 1.5, ["compare"]),
    ("gate.max_abs_diff", 0.03, ["compare"]),
    ("prices_usd_per_hour.jax", 1.5, ["compare"]),
    ("identity.target", "other", ["compare"]),
]
"""Key, another value, and the stages that it makes stale."""


@pytest.fixture(scope="module")
def modified(pipeline: Pipeline) -> dict[str, set[str]]:
    """The parameters that are not what they were for a stage, after all changes at once.

    What dvc compares is named by `dvc.yaml`: a key, or a section as a whole. So a key alone makes
    stale whichever stage has it, or its section, among these.
    """
    for key, value, _ in CHANGES:
        pipeline.set_param(key, value)
    found = pipeline.modified()
    pipeline.run("git", "checkout", "--quiet", "params.yaml")
    return found


@pytest.mark.parametrize(("key", "stale"), [(key, stale) for key, _, stale in CHANGES])
def test_a_change_makes_stale_what_reads_it_and_nothing_else(
    modified: dict[str, set[str]], key: str, stale: list[str]
) -> None:
    # What follows a stale stage reruns when its inputs really change: dvc sees to that.
    found = {
        stage
        for stage, names in modified.items()
        if any(f"{key}.".startswith(f"{name}.") for name in names)
    }
    assert found == set(stale)


def changes(*made: str) -> list[str]:
    """Arguments of an experiment that differs from the first one in these alone."""
    # Every experiment is composed anew from conf/.
    return [word for one in (f"chunk_sizes={OTHER_CHUNKS}", *made) for word in ("-S", one)]


def test_an_experiment_in_a_temporary_copy_reruns_only_compare_and_report_for_a_limit_and_a_price(
    pipeline: Pipeline,
) -> None:
    before = pipeline.run("git", "status", "--porcelain")
    made = changes("gate.max_abs_diff=0.03", "prices_usd_per_hour.jax=1.5")
    ran = pipeline.ran("dvc", "exp", "run", "--temp", "--name", "in-temp", *made)
    assert ran == ["compare", "report"]
    assert pipeline.run("git", "status", "--porcelain") == before
    shown = pipeline.run("dvc", "metrics", "diff", "HEAD", "in-temp")
    assert f"{WORKLOAD}.portable.gate.max_abs_diff_pct_of_limit" in shown
    assert "items_per_s" not in shown, "every measurement is the one in HEAD"


def test_a_flag_that_changes_no_delimiter_leaves_the_oracles_scores(restored: Pipeline) -> None:
    restored.set_param("backends.jax.portable.flags.mem-fraction-static", 0.25)
    assert restored.ran("dvc", "repro", "oracle") == ["delimiters"]


def test_the_seed_contract_composes_and_writes_its_workload(restored: Pipeline) -> None:
    ran = restored.ran(
        "dvc", "exp", "run", "-S", "contract=seed", "-S", "chunk_sizes=[64,500]", "workload"
    )
    assert ran == ["workload"]
    made = parse_contract(yaml.safe_load((restored.folder / "params.yaml").read_text()))
    assert made.chunk_sizes == [64, 500]
    assert made.identity.contract == "seed"
    (workload,) = restored.json("data/workload/canonical_workload.json")["workloads"]
    assert workload["name"] == "seed"
    assert (len(workload["query"]), len(workload["items"])) == (2000, 500)
    assert {len(item) for item in workload["items"]} == {20}


def test_the_committed_parameters_are_the_composition_of_the_defaults(tmp_path: Path) -> None:
    target = tmp_path / "tree"
    target.mkdir()
    for name in ("conf", "stages", "tools"):
        (target / name).symlink_to(ROOT / name)
    compose = [sys.executable, "-m", "tools.compose"]
    subprocess.run([*compose, "target=tpu_vs_gpu", "chunk_sizes=[7]"], cwd=target, check=True)
    made = load_contract(target / "params.yaml")
    assert (made.identity.contract, made.chunk_sizes) == ("seed", [7])
    subprocess.run(compose, cwd=target, check=True)
    assert (target / "params.yaml").read_text() == (ROOT / "params.yaml").read_text()


CONTRACTS = sorted(p.stem for p in (ROOT / "conf/contract").glob("*.yaml"))
# Every pair can be measured. Which contract a target is for stands beside it: the one it brings.
TARGETS = {
    "cpu": "quick",
    "cpu_multi_item": "quick",
    "cpu_multi_item_packed": "quick",
    "smollm2_cpu": "smollm2",
    "tpu_vs_gpu": "seed",
}


def test_every_target_says_which_contract_it_is_for() -> None:
    assert sorted(TARGETS) == sorted(p.stem for p in (ROOT / "conf/target").glob("*.yaml"))
    assert set(TARGETS.values()) <= set(CONTRACTS)
    for target, contract in TARGETS.items():
        assert _identity(f"target={target}") == (target, contract)


@pytest.mark.parametrize("target", TARGETS)
def test_every_file_in_conf_composes_into_a_valid_contract(target: str) -> None:
    for contract in CONTRACTS:
        found = (target, contract)
        assert _identity(f"target={target}", f"contract={contract}") == found
        assert _identity(f"contract={contract}", f"target={target}") == found


def _identity(*choices: str) -> tuple[str, str]:
    made = parse_contract(raw_target(*choices))
    return made.identity.target, made.identity.contract
