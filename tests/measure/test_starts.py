"""Further starts of a server: each gets the probes and nothing else, and none loses the matrix."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from bench import bench_contract, inside, make_bench
from contracts import raw_several

from stages.contract import parse_contract
from stages.documents.matrix import Matrix, folder_of, read_matrix
from stages.documents.probes import read_probes
from stages.measure.command import measure
from stages.measure.servers.launched import Server
from stages.plan.plan import make_plan

REQUESTS = 4 + 3 * 8
"""Repetitions, and every layout around the targets."""

AT = folder_of("jax", "portable")
REQUEST = ["workload", "kind", "layout", "run", "item", "place", "items"]


class Measured:
    """A measurement that has ended, with what it wrote and said."""

    def __init__(self, folder: Path, said: str) -> None:
        self.matrix: Matrix = read_matrix(folder / AT / "matrix.parquet")
        self.probes = read_probes(folder / AT / "probes.parquet").frame
        self.log = (folder / AT / "server.log").read_text()
        self.said = said

    def of(self, start: int) -> pl.DataFrame:
        """The probes of one start."""
        return self.probes.filter(pl.col("start") == start)


@pytest.fixture
def measured(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Callable[..., Measured]:
    """Measures with so many further starts, and a scoring server with these arguments."""

    def run(starts: int, *arguments: str, **changes: Any) -> Measured:
        counted = ("--starts", str(tmp_path / "starts"))
        raw = bench_contract(*counted, *arguments, passes__probe_starts=starts, **changes)
        make_bench(tmp_path / "bench", raw)
        with inside(tmp_path / "bench"):
            measure(make_plan(parse_contract(raw), "jax", "portable"), AT)
            assert not (AT / "journal").exists()
        return Measured(tmp_path / "bench", capsys.readouterr().out)

    return run


def test_every_start_gets_the_same_probes_and_nothing_else(measured) -> None:
    found = measured(2, "--paths")
    assert set(found.probes["start"]) == {0, 1, 2}
    assert set(found.probes["status"]) == {"ok"}
    for start in (1, 2):
        assert (
            found.of(start)
            .select(*REQUEST, "scores")
            .equals(found.of(0).select(*REQUEST, "scores"))
        )
    said = [line for line in found.said.splitlines() if "extra start" in line]
    assert said == [
        "jax-portable: extra start 1 of 2: probes only",
        "jax-portable: extra start 2 of 2: probes only",
    ]
    # Each request is told in two forms; each server is asked once whether it is healthy.
    sent = found.log.count("ScorePathMetrics ") // 2
    covers = 4
    assert sent == found.matrix.calls.height + covers + 3 * (1 + REQUESTS)
    # The figures of the run are those of the measured start.
    run = found.matrix.provenance.run
    assert (run.sessions, run.restarts) == (1, 0)
    assert set(found.matrix.calls["session"]) == {0}


def test_without_further_starts_there_is_one(measured) -> None:
    found = measured(0)
    assert set(found.probes["start"]) == {0}
    assert "extra start" not in found.said


def test_a_start_that_is_wrong_is_recorded_as_it_answered(measured) -> None:
    found = measured(2, "--lie", "batched", "--only-starts", "2")
    first, second = (found.of(n)["scores"].to_list() for n in (1, 2))
    right = found.of(0)["scores"].to_list()
    assert first == right
    alone = [n == 1 for n in found.of(2)["items"]]
    assert [one == other for one, other in zip(second, right, strict=True)] == alone


def test_a_start_that_fails_is_recorded_and_the_next_one_is_probed(measured) -> None:
    found = measured(2, "--ends", "--only-starts", "1")
    assert set(found.matrix.calls["status"]) == {"ok"}
    assert set(found.of(1)["status"]) == {"server_died"}
    assert set(found.of(1)["detail"]) == {"ended with exit code 1 while starting"}
    assert found.of(1).select(REQUEST).equals(found.of(0).select(REQUEST))
    assert set(found.of(2)["status"]) == {"ok"}
    assert found.matrix.provenance.run.restarts == 0
    told = "jax-portable: extra start 1 of 2 failed: the server did not start: ended with exit"
    assert told in found.said


def test_a_start_that_dies_while_it_is_probed_costs_its_own_answers_alone(measured) -> None:
    # One request is the health check.
    found = measured(2, "--crash-at", "7", "--only-starts", "1")
    assert set(found.matrix.calls["status"]) == {"ok"}
    assert found.of(1)["status"].n_unique() == 2
    isolated = found.of(1).filter(pl.col("kind") == "isolation")["status"].to_list()
    assert (isolated[0], "ok" in isolated[1:]) == ("ok", False)
    assert set(found.of(2)["status"]) == {"ok"}


def test_a_start_that_cannot_be_ended_keeps_its_answers(measured, monkeypatch) -> None:
    measured_start = iter([True])
    monkeypatch.setattr(Server, "_is_free_within", lambda *_: next(measured_start, False))
    found = measured(2)
    for start in (1, 2):
        assert (
            found.of(start)
            .select(*REQUEST, "scores")
            .equals(found.of(0).select(*REQUEST, "scores"))
        )
        assert set(found.of(start)["status"]) == {"ok"}
        told = f"jax-portable: extra start {start} of 2 could not be ended: port "
        assert told in found.said


def test_a_start_gets_no_request_that_ends_the_server(measured) -> None:
    found = measured(1, "--crash-items", "4")
    assert set(found.of(1)["status"]) == {"ok", "server_died"}
    seen = [found.of(n).select(*REQUEST, "status", "scores") for n in (0, 1)]
    assert seen[1].equals(seen[0])


def test_where_the_measured_server_answered_no_probe_none_is_started_again(measured) -> None:
    found = measured(2, "--crash-at", "2")
    assert set(found.probes["start"]) <= {0}
    assert "jax-portable: no extra start: the measured server answered no probe" in found.said


def test_all_workloads_are_probed_in_one_start(tmp_path: Path) -> None:
    several = raw_several({"one": {"items": 2}, "two": {"items": 3}})["workloads"]
    counted = tmp_path / "starts"
    arguments = ("--starts", str(counted), "--only-starts", "0")
    raw = bench_contract(*arguments, workloads=several, passes__probe_starts=1)
    make_bench(tmp_path / "bench", raw)
    with inside(tmp_path / "bench"):
        measure(make_plan(parse_contract(raw), "jax", "portable"), AT)
        probes = read_probes(AT / "probes.parquet").frame
    assert len(counted.read_bytes()) == 2
    by_start = {start: set(probes.filter(start=start)["workload"]) for start in (0, 1)}
    assert by_start == {0: {"one", "two"}, 1: {"one", "two"}}
