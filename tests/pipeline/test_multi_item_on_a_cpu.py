"""A commit of sglang-jax scores many items from its cache on a CPU, through the pipeline."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from dvc.utils.hydra import compose_and_dump
from patience import wait_for
from pipelines import Pipeline, copy_work_tree

from stages.compare.oracle import against_oracle
from stages.compare.passes import passes_of
from stages.compare.probes import change_limit, isolation, noise_floor
from stages.contract import Gate
from stages.documents.matrix import Matrix, read_matrix
from stages.documents.oracle import read_oracle
from stages.documents.probes import read_probes

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
    "~workloads.few",
    "workloads.many.query_tokens=24",
    "workloads.many.items=10",
    "workloads.many.item_tokens=4",
    # One item, and two steps of the cache of which one is not full.
    "chunk_sizes=[1,10]",
    "passes.sweep=1",
    "passes.confirm=1",
    "probes.targets=1",
    "probes.repeats=2",
    "oracle.samples_per_chunk=3",
]


STAGE = "measure@jax-best_native"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The view that scores from the cache, measured, and the oracle's scores."""
    made = tmp_path_factory.mktemp("multi-item") / "scoreparity"
    made.mkdir()
    copy_work_tree(made)
    compose_and_dump(made / "params.yaml", str(made / "conf"), None, "config", None, REDUCED)
    pipeline = Pipeline(made)
    pipeline.run("git", "init", "--quiet", "--initial-branch", "main")
    for key, value in (("user.name", "test"), ("user.email", "test@localhost")):
        pipeline.run("git", "config", key, value)
    pipeline.commit("the target, small")
    assert STAGE in pipeline.ran("dvc", "repro", STAGE, "oracle")
    yield made
    wait_for(lambda: not pipeline.processes(), "a process was left behind", every_s=0.5)


@pytest.fixture(scope="module")
def matrix(folder: Path) -> Matrix:
    return read_matrix(folder / "data/measure/jax-best_native/matrix.parquet")


def test_every_request_was_scored_from_the_cache(matrix: Matrix) -> None:
    calls = matrix.calls.to_dicts()
    assert {call["status"] for call in calls} == {"ok"}
    assert {call["mode"] for call in calls} == {"score_from_cache"}, "by the server's log"
    assert {call["fallbacks"] for call in calls} == {0}
    asked = matrix.provenance.workloads["many"].scoring
    assert asked is not None
    assert asked.mode == "score_from_cache"


def test_its_scores_are_the_oracles_and_no_item_leaks(folder: Path, matrix: Matrix) -> None:
    gate = Gate(max_abs_diff=0.02, mean_abs_diff=0.01)
    sample = read_oracle(folder / "data/oracle/oracle.parquet")
    found = against_oracle(passes_of(matrix.calls), sample.frame, 2, gate)
    assert (found.verdict, found.missing) == ("agrees", 0)
    probes = read_probes(folder / "data/measure/jax-best_native/probes.parquet")
    noise = noise_floor(probes.frame)
    limit = change_limit(noise, gate, "float32")
    targets = probes.provenance.targets["many"]
    assert isolation(probes.frame, targets, 10, limit).verdict == "isolated"


def test_warm_up_ends_with_the_compilations(matrix: Matrix) -> None:
    calls = matrix.calls.to_dicts()
    warm_up = [call["compiles"] for call in calls if call["phase"] == "warmup"]
    timed = [call["compiles"] for call in calls if call["phase"] != "warmup"]
    assert any(warm_up), "compilations are seen at all"
    assert set(timed) == {0}


def test_the_commit_runs_as_it_is(matrix: Matrix) -> None:
    run = matrix.provenance.run
    assert run.backend_version == "0.0.2+93499579c9d4"
    assert run.repaired is False
