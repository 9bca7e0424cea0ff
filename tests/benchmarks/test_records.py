"""The figures that the benchmarks keep, and what a run is compared with."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.client import CALLS_A_TURN, ITEMS, checked_scores, plan_turn, ratio
from benchmarks.record import Record, keep, last_on, ratios
from stages.machine.host import this_host
from stages.measure.http.decode import decode_scores
from stages.measure.http.instant import canned_answer

ROOT = Path(__file__).parents[2]
HERE = this_host()
ELSEWHERE = HERE.model_copy(update={"processor": "another one"})


def record(at: str, host=HERE, **figures: float) -> Record:
    return Record(at=at, host=host, commit="c" * 40, changed=False, figures=figures)


def test_a_run_is_compared_with_the_newest_one_of_its_machine(tmp_path) -> None:
    path = tmp_path / "cache" / "benchmarks.jsonl"
    assert last_on(HERE, path) is None
    keep(record("first", one=1.0), path)
    keep(record("second", one=2.0), path)
    keep(record("third", ELSEWHERE, one=3.0), path)
    assert last_on(HERE, path) == record("second", one=2.0)
    assert last_on(ELSEWHERE, path) == record("third", ELSEWHERE, one=3.0)


@pytest.mark.parametrize("line", ["", "{", "[]", "null", '{"at": "x"}', "\0", '{"figures": 1}'])
def test_a_line_that_is_no_record_is_skipped(line, tmp_path) -> None:
    path = tmp_path / "benchmarks.jsonl"
    keep(record("first", one=1.0), path)
    with path.open("a") as file:
        file.write(line + "\n")
    assert last_on(HERE, path) == record("first", one=1.0)


def test_bytes_that_are_no_text_are_skipped(tmp_path) -> None:
    path = tmp_path / "benchmarks.jsonl"
    path.write_bytes(b"\xff\xfe\n")
    keep(record("first"), path)
    assert last_on(HERE, path) == record("first")


def test_only_figures_that_both_runs_have_are_compared() -> None:
    now = record("now", one=3.0, new=1.0, zero=1.0)
    assert ratios(now, record("last", one=2.0, old=1.0, zero=0.0)) == {"one": 1.5}


def test_a_slow_round_changes_no_ratio() -> None:
    found = ratio([1.0, 20.0, 3.0], [0.5, 10.0, 1.5])
    assert (found.fastest, found.low, found.median, found.high) == (2.0, 2.0, 2.0, 2.0)


def test_a_slow_turn_changes_no_ratio_of_the_fastest() -> None:
    found = ratio([1.0, 2.0, 3.0, 4.0, 5.0], [1.0, 0.5, 1.0, 1.0, 1.0])
    assert found.fastest == 2.0
    assert (found.low, found.median, found.high) == (3.0, 4.0, 4.0)
    assert ratio([3.0], [2.0]).median == 1.5


@pytest.mark.parametrize("chunk_size", [1, 64, 500])
def test_every_client_sends_the_same_calls(chunk_size) -> None:
    planned = plan_turn(chunk_size)
    counts = [request.item_count for request in planned.encoded.requests]
    assert counts == [len(payload["items"]) for payload in planned.payloads]
    assert len(counts) == CALLS_A_TURN
    assert max(counts) == chunk_size <= ITEMS


def test_the_rival_gets_the_scores_that_our_client_gets() -> None:
    for item_count in (1, 64):
        body = canned_answer(item_count, 2).partition(b"\r\n\r\n")[2]
        ours = decode_scores(200, body, item_count, 2, True).scores
        assert checked_scores(body, item_count) == ours


@pytest.mark.parametrize(
    "rows", ["[]", "[[0.5]]", "[[0.5,0.4]]", "[[1.5,-0.5]]", "[[NaN,1.0]]", "[[0.5,0.5],[0,1]]"]
)
def test_the_rival_checks_them_too(rows) -> None:
    with pytest.raises(ValueError):  # noqa: PT011  all of them are
        checked_scores(f'{{"scores":{rows}}}'.encode(), 1)


def test_one_command_runs_all_keeps_the_figures_and_compares_them(tmp_path) -> None:
    command = [sys.executable, "-m", "benchmarks", "--rounds", "1", "--seconds", "0.1"]
    command += ["--draws", "50"]
    environ = {**os.environ, "SCOREPARITY_CACHE": str(tmp_path)}
    first, second = (
        subprocess.run(command, cwd=ROOT, env=environ, capture_output=True, text=True, check=True)
        for _ in range(2)
    )
    path = tmp_path / "benchmarks.jsonl"
    assert f"The first run on this machine; its figures are in {path}." in first.stdout
    assert "now/last" not in first.stdout
    assert "now/last" in second.stdout
    kept = [Record.model_validate_json(line) for line in path.read_text("utf-8").splitlines()]
    assert [one.host for one in kept] == [HERE, HERE]
    assert kept[0].figures.keys() == kept[1].figures.keys()
    assert {"ours/socket, 1 items", "us ours, 500 items"} <= kept[0].figures.keys()
    assert {"requests/s ours, 8 in flight", "ms late at 500 requests/s, p99"} <= kept[
        0
    ].figures.keys()
    # The draws are seeded, so only what is timed changes.
    for name, value in kept[0].figures.items():
        if name.startswith("coverage"):
            assert kept[1].figures[name] == value
            assert f"{value:.3f}" in second.stdout
