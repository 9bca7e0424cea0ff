"""The cover: a server meets the shapes that a timed pass may need before one is timed."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from bench import bench_contract, inside, make_bench, workload_of
from contracts import WORKLOAD

from stages.contract import Backend, View, load_contract, parse_contract
from stages.documents.matrix import (
    MATRIX_FILE,
    SERVER_LOG_FILE,
    CoverFailure,
    Matrix,
    read_matrix,
)
from stages.measure.command import measure
from stages.measure.faults import FaultCounts, Faults
from stages.plan.plan import make_plan
from tools.plan.counts import probe_requests

CHUNKS: dict[str, Any] = {"chunk_sizes": [1, 8], "workload__items": 8}
HEALTH = [2]
WARM_UP = [*([1] * 8), 8]
# This server takes up to 8 prompts at once, and one of no known number is sent powers of two.
COVER = [1, 2, 3, 4, 5, 6, 7, 8]
POWERS = [1, 2, 4, 8]
FROM_CACHE = dict.fromkeys(
    [
        "multi-item-enable-prefill-extend",
        "enable-scoring-cache",
        "multi-item-enable-score-from-cache-v2",
    ],
    True,
)


class Bench:
    """A measurement of a scoring server at chunk sizes 1 and 8."""

    def __init__(
        self, folder: Path, *arguments: str, flags: dict[str, bool] | None = None, **changes: Any
    ) -> None:
        self.folder = folder
        raw = bench_contract("--paths", *arguments, **CHUNKS, **changes)
        raw["backends"]["jax"]["best_native"]["flags"] |= flags or {}
        made = parse_contract(raw)
        self.workload = workload_of(made)
        make_bench(folder, raw)

    def measure(self, view: View = "portable", backend: Backend = "jax") -> Matrix:
        with inside(self.folder):
            plan = make_plan(load_contract(), backend, view)
            measure(plan, self.folder / "out")
            self.probes = probe_requests(plan, WORKLOAD)
        return read_matrix(self.folder / "out" / MATRIX_FILE)

    def sent(self) -> list[int]:
        """The number of items of every request, by the server's log."""
        log = (self.folder / "out" / SERVER_LOG_FILE).read_text()
        return [
            int(items)
            for items in re.findall(r"^\[.*ScorePathMetrics .*=(\d+)$", log, re.MULTILINE)
        ]

    def cover(self, found: Matrix) -> list[int]:
        """What was sent between warm-up and timed passes; no other request is left over."""
        warm = found.calls["phase"] == "warmup"
        warm_up, timed = (found.calls.filter(w)["item_count"].to_list() for w in (warm, ~warm))
        sent, before = self.sent(), [*HEALTH, *warm_up]
        after = len(sent) - self.probes - len(timed)
        assert sent[: len(before)] == before
        assert sent[after : after + len(timed)] == timed
        return sent[len(before) : after]


def split(folder: Path, *arguments: str) -> Bench:
    """A server that takes up the largest requests of the sweep, and of no other pass, in halves."""
    salts = folder / "salts.json"
    bench = Bench(folder, "--compiles", "--split-salts", str(salts), *arguments)
    salts.write_text(json.dumps([bench.workload.salt("sweep", 8, run) for run in range(3)]))
    return bench


def compiled(found: Matrix) -> set[str]:
    """The phases of the passes in which the server compiled."""
    return set(found.calls.filter(pl.col("compiles") > 0)["phase"])


# A server with a prefix cache has one more shape of that size: where the query is cached.
SERVERS: list[tuple[View, list[str]]] = [("portable", []), ("best_native", ["--tells", "log"])]


@pytest.mark.parametrize(("view", "arguments"), SERVERS)
def test_no_timed_pass_compiles_for_a_batch_that_no_warm_up_pass_formed(
    tmp_path: Path, view: View, arguments: list[str]
) -> None:
    found = split(tmp_path, *arguments).measure(view)
    assert compiled(found) == {"warmup"}
    assert set(found.calls["status"]) == {"ok"}


@pytest.mark.parametrize(("view", "arguments"), SERVERS)
def test_without_the_cover_one_does(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, view: View, arguments: list[str]
) -> None:
    monkeypatch.setattr("stages.measure.session.send_cover", lambda *_, **__: None)
    assert compiled(split(tmp_path, *arguments).measure(view)) == {"warmup", "sweep"}


def test_with_a_prefix_cache_a_request_that_is_sent_once_does_not_cover(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("stages.plan.plan.cover_times", lambda *_: 1)
    view, arguments = SERVERS[1]
    assert compiled(split(tmp_path, *arguments).measure(view)) == {"warmup", "sweep"}


def test_it_comes_after_the_warm_up_and_before_the_first_timed_pass(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    found = bench.measure()
    assert found.calls.filter(pl.col("phase") == "warmup")["item_count"].to_list() == WARM_UP
    assert bench.cover(found) == COVER
    seconds = found.provenance.run.seconds
    assert seconds.warmup > sum(seconds_of(found, "warmup")), "its time counts as warm-up"


def seconds_of(found: Matrix, phase: str) -> list[float]:
    calls = found.calls.filter(pl.col("phase") == phase)
    return ((calls["end_ns"] - calls["start_ns"]) / 1e9).to_list()


def test_where_a_prefix_cache_is_allowed_each_request_is_sent_twice(tmp_path: Path) -> None:
    bench = Bench(tmp_path, "--tells", "log")
    found = bench.measure("best_native")
    assert bench.cover(found) == sorted(2 * COVER)
    # No pass finds a token of it: the query is computed once in each.
    assert set(found.calls["cached_tokens"]) == {7 * 16}


def test_rounds_go_on_until_one_compiles_nothing(tmp_path: Path) -> None:
    bench = Bench(tmp_path, "--compiles")
    assert bench.cover(bench.measure()) == 2 * COVER


def test_there_are_no_more_rounds_than_warm_up_passes(tmp_path: Path) -> None:
    bench = Bench(tmp_path, "--compiles", passes__warmup_limit=1)
    assert bench.cover(bench.measure()) == COVER


def test_a_server_whose_compilations_are_not_seen_gets_one_round(tmp_path: Path) -> None:
    bench = Bench(tmp_path, "--compiles")
    assert bench.cover(bench.measure(backend="pytorch")) == POWERS


def test_every_round_has_a_salt_of_its_own_for_every_size(tmp_path: Path) -> None:
    bench = Bench(tmp_path, "--compiles", "--tells", "log")
    found = bench.measure("best_native")
    assert bench.cover(found) == 2 * sorted(2 * COVER)
    log = (tmp_path / "out" / SERVER_LOG_FILE).read_text()
    cached = [int(tokens) for tokens in re.findall(r"#cached-token: (\d+)", log)]
    before = len(HEALTH) + found.calls.filter(pl.col("phase") == "warmup").height
    # Sent first, prompts share the query. Sent again, only each one's last token is computed.
    prompt = bench.workload.prompt_tokens
    a_round = [tokens for size in COVER for tokens in (16 * (size - 1), size * (prompt - 1))]
    assert cached[before : before + 32] == 2 * a_round


def test_where_items_are_no_separate_prompts_there_is_none(tmp_path: Path) -> None:
    bench = Bench(tmp_path, "--compiles", flags=FROM_CACHE)
    assert bench.cover(bench.measure("best_native")) == []


def test_a_request_that_fails_is_told_in_a_line_and_ends_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    third = len(HEALTH) + len(WARM_UP) + 3
    bench = Bench(tmp_path, "--fail-at", str(third))
    found = bench.measure()
    assert bench.cover(found) == COVER[:3]
    assert set(found.calls["status"]) == {"ok"}
    assert found.provenance.run.restarts == 0
    begun, line = (line for line in capsys.readouterr().out.splitlines() if "cover" in line)
    assert begun == "jax-portable: cover of many: untimed requests of 1 to 8 items"
    assert line.startswith("jax-portable: http_5xx: ")
    assert line.endswith(" (cover of many, 3 items)")
    assert [(one.size, one.status) for one in uncovered(found)] == [(3, "http_5xx")]


def test_a_request_that_ends_the_server_is_not_sent_to_the_next_one(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bench = Bench(tmp_path, "--crash-items", "4")
    found = bench.measure()
    session = [*HEALTH, *WARM_UP, 1, 2, 3]
    assert bench.sent()[: 2 * len(session)] == session * 2
    assert set(found.calls["status"]) == {"ok"}
    assert found.provenance.run.restarts == 1
    said = capsys.readouterr().out
    assert "server_died: server killed by signal 9 (cover of many, 4 items)" in said
    assert [(one.size, one.status) for one in uncovered(found)] == [(4, "server_died")]


def test_a_new_server_is_sent_it_again(tmp_path: Path) -> None:
    # Dies once, in the first call of the sweep.
    at = len(HEALTH + WARM_UP + COVER) + 1
    bench = Bench(tmp_path, "--crash-at", str(at), "--mark", str(tmp_path / "mark"))
    found = bench.measure()
    before = [*HEALTH, *WARM_UP, *COVER]
    assert bench.sent()[: 2 * len(before)] == before * 2
    assert found.provenance.run.restarts == 1


def test_sizes_that_a_server_did_not_survive_in_passes_are_left_out(tmp_path: Path) -> None:
    bench = Bench(tmp_path, "--crash-items", "8")
    found = bench.measure()
    assert set(found.calls.filter(pl.col("chunk_size") == 1)["status"]) == {"ok"}
    # Three servers, of which two died in a pass of 8. Larger requests than 1 may end the third.
    assert {n: bench.sent().count(n) for n in (2, 4, 8)} == {2: 3 * len(HEALTH), 4: 0, 8: 0}


def uncovered(found: Matrix) -> list[CoverFailure]:
    return found.provenance.workloads[WORKLOAD].uncovered


# What a cover does to a server costs nothing but the cover.


def test_a_server_that_a_cover_ended_costs_no_restart_of_the_limits(tmp_path: Path) -> None:
    bench = Bench(tmp_path, "--crash-items", "4", limits__restarts=0)
    found = bench.measure()
    assert set(found.calls["status"]) == {"ok"}
    assert found.provenance.run.restarts == 1, "it is told all the same"


def test_a_death_just_after_an_answer_with_an_error_is_the_covers(tmp_path: Path) -> None:
    # Its answer comes first, and the pass after it must not be blamed.
    fourth, mark = len(HEALTH) + len(WARM_UP) + 4, tmp_path / "died"
    bench = Bench(
        *(tmp_path, "--fail-at", str(fourth), "--then-die", "--mark", str(mark)),
        limits__restarts=0,
    )
    found = bench.measure()
    assert set(found.calls["status"]) == {"ok"}
    assert found.provenance.run.restarts == 1
    assert [(one.size, one.status) for one in uncovered(found)] == [(4, "server_died")]


def test_where_requests_of_one_item_were_given_up_nothing_is_covered(tmp_path: Path) -> None:
    bench = Bench(tmp_path, "--crash-items", "1")
    found = bench.measure()
    assert set(found.calls.filter(pl.col("chunk_size") == 1)["status"]) == {"server_died"}
    assert set(found.calls.filter(pl.col("chunk_size") == 8)["status"]) == {"ok"}
    assert not uncovered(found)
    assert set(bench.sent()) <= {2, 8}, "no size of a cover but those of passes and the start"


def test_what_failed_in_a_cover_is_remembered_by_the_process_that_goes_on(tmp_path: Path) -> None:
    failed = CoverFailure(workload=WORKLOAD, size=4, status="server_died", detail="gone")
    limits = parse_contract(bench_contract()).limits
    before = Faults(limits)
    before.note_uncovered(failed, ended=True)
    after = Faults(limits, FaultCounts.model_validate_json(before.counts.model_dump_json()))
    assert after.cover_limit(WORKLOAD, [1, 8]) == 3
    assert after.cover_limit("other", [1, 8]) is None
