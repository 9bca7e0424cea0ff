"""A commit of sglang-jax scores many items from its cache on a CPU, through the pipeline."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

import pytest
from dvc.utils.hydra import compose_and_dump
from patience import wait_for
from pipelines import MEASURE, Pipeline, copy_work_tree

from stages.documents.matrix import read_matrix

SOURCE = "SCOREPARITY_SGLANG_JAX_SOURCE"

pytestmark = [
    pytest.mark.servers,
    pytest.mark.skipif(
        not os.environ.get(SOURCE),
        reason=f"{SOURCE} names no repository that holds the commit of target cpu_multi_item",
    ),
]

REDUCED = [
    "target=cpu_multi_item",
    "workload.query_tokens=24",
    "workload.items=10",
    "workload.item_tokens=4",
    # One item, a whole step of the cache, and a step that is not full.
    "chunk_sizes=[1,8,10]",
    "passes.sweep=1",
    "passes.confirm=1",
    "probes.targets=1",
    "probes.repeats=2",
    "oracle.samples_per_chunk=3",
    "selection.resamples=200",
]


@pytest.fixture(scope="module")
def measured(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pipeline]:
    """The target, measured and compared."""
    folder = tmp_path_factory.mktemp("multi-item") / "scoreparity"
    folder.mkdir()
    copy_work_tree(folder)
    composed = (str(folder / "conf"), None, "config", None, list(REDUCED))
    compose_and_dump(folder / "params.yaml", *composed)
    made = Pipeline(folder)
    made.run("git", "init", "--quiet", "--initial-branch", "main")
    for key, value in (("user.name", "test"), ("user.email", "test@localhost")):
        made.run("git", "config", key, value)
    made.commit("the target, small")
    ran = made.ran("dvc", "repro")
    assert [stage for stage in ran if stage.startswith("measure@")] == MEASURE
    yield made
    wait_for(lambda: not made.processes(), "a process was left behind", every_s=0.5)


@pytest.fixture(scope="module")
def comparison(measured: Pipeline) -> Any:
    return measured.json("data/compare/comparison.json")


def test_the_report_names_how_the_items_were_scored(measured: Pipeline, comparison: Any) -> None:
    portable, native = (comparison[view]["scoring"] for view in ("portable", "best_native"))
    assert [portable[backend]["mode"] for backend in ("jax", "pytorch")] == ["separate"] * 2
    assert (native["jax"]["mode"], native["pytorch"]["mode"]) == ("score_from_cache", "cached")
    assert not native["jax"]["fallbacks"], "no chunk size was scored in another way"
    report = (measured.folder / "data/report/report.md").read_text()
    assert "JAX score_from_cache" in report
    assert "Neither server did multi-item scoring" not in report
    assert "PyTorch did no multi-item scoring in this run" in report


@pytest.mark.parametrize("view", ["portable", "best_native"])
def test_every_check_of_the_scores_is_green(comparison: Any, view: str) -> None:
    found = comparison[view]
    judged = [cell["gate"]["verdict"] for cell in found["cells"] if cell["gate"]]
    assert judged
    assert set(judged) == {"pass"}
    for backend in ("jax", "pytorch"):
        assert found["isolation"][backend]["verdict"] == "isolated"
        assert found["noise"][backend]["max_abs_diff"] < comparison["gate"]["max_abs_diff"]
        assert found["oracle"][backend]["agrees"]
    assert found["oracle_sides_with"] == "both"


def test_warm_up_ends_with_the_compilations(measured: Pipeline) -> None:
    # In the portable view the server splits a request into batches as its prompts arrive, so a
    # batch of a new size may come up in any pass. Such a pass is counted and flagged.
    path = measured.folder / "data/measure/jax-best_native/matrix.parquet"
    calls = read_matrix(path).calls.to_dicts()
    assert {call["status"] for call in calls} == {"ok"}
    compiled = {p: [c["compiles"] for c in calls if c["phase"] == p] for p in ("warmup", "sweep")}
    assert all(count is not None for counts in compiled.values() for count in counts)
    assert any(compiled["warmup"]), "compilations are seen at all"
    assert not [c for c in calls if c["phase"] != "warmup" and c["compiles"]]
    assert {c["mode"] for c in calls} == {"score_from_cache"}, "by the server's log"
    assert {c["fallbacks"] for c in calls} == {0}


def test_the_commit_runs_as_it_is(comparison: Any) -> None:
    ours = [source for source in comparison["sources"] if source["backend"] == "jax"]
    assert len(ours) == 2
    for source in ours:
        assert source["backend_commit"] == "93499579c9d462024dba1b7c20f69819ffc1a04c"
        assert source["run"]["repaired"] is False
