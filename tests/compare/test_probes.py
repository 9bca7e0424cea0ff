"""Noise floor and isolation from hand-built probes with a known answer."""

from __future__ import annotations

from dataclasses import asdict

import polars as pl
import pyarrow as pa

from stages.compare.probes import isolation, noise_floor
from stages.contract import Gate
from stages.probe_table import PROBE_SCHEMA, Layout, ProbeRecord

GATE = Gate(max_abs_diff=0.02, mean_abs_diff=0.01)


def table(*records: ProbeRecord) -> pl.DataFrame:
    made = pl.from_arrow(pa.Table.from_pylist([asdict(r) for r in records], schema=PROBE_SCHEMA))
    assert isinstance(made, pl.DataFrame)
    return made


def repeat(run: int, item: int, score: float | None) -> ProbeRecord:
    scores = None if score is None else [score, 1 - score]
    status = "timeout" if score is None else "ok"
    return ProbeRecord("repeat", "original", run, item, item, 2, status, "", scores)


def probe(item: int, layout: Layout, score: float | None) -> ProbeRecord:
    scores = None if score is None else [score, 1 - score]
    status = "http_5xx" if score is None else "ok"
    return ProbeRecord("isolation", layout, 0, item, 0, 4, status, "", scores)


def test_the_noise_floor_is_the_largest_spread_of_any_score() -> None:
    rows = [repeat(0, 0, 0.5), repeat(0, 1, 0.2), repeat(1, 0, 0.5001), repeat(1, 1, 0.2)]
    floor = noise_floor(table(*rows, repeat(2, 0, 0.4999), repeat(2, 1, 0.2)))
    assert floor.repeats == 3
    assert floor.max_abs_diff is not None
    assert abs(floor.max_abs_diff - 0.0002) < 1e-12


def test_identical_answers_have_no_noise_and_one_answer_has_no_floor() -> None:
    same = table(repeat(0, 0, 0.5), repeat(1, 0, 0.5))
    assert noise_floor(same).max_abs_diff == 0
    assert noise_floor(table(repeat(0, 0, 0.5))).max_abs_diff is None
    assert noise_floor(table(repeat(0, 0, 0.5), repeat(1, 0, None))).max_abs_diff is None
    assert noise_floor(table()).max_abs_diff is None


def test_a_score_that_keeps_still_among_changing_neighbours_is_isolated() -> None:
    rows = [probe(3, layout, 0.25) for layout in ("alone", "reversed", "replaced", "before_all")]
    found = isolation(table(*rows), [3], GATE)
    assert (found.verdict, found.largest_change, found.leaking_targets) == ("isolated", 0.0, [])
    assert set(found.changes) == {"reversed", "replaced", "before_all"}


def test_a_leak_is_found_in_any_one_layout_and_target() -> None:
    for leaking in ("original", "reversed", "replaced", "before_1", "before_20", "before_all"):
        rows = [
            probe(target, layout, 0.25 + (0.05 if (target, layout) == (7, leaking) else 0))
            for target in (3, 7)
            for layout in ("alone", "original", "reversed", "replaced", "before_1", "before_20")
        ]
        if leaking == "before_all":
            rows.append(probe(7, "before_all", 0.30))
        found = isolation(table(*rows), [3, 7], GATE)
        assert found.verdict == "leaks"
        assert found.leaking_targets == [7]
        assert (found.worst_target, found.worst_layout) == (7, leaking)
        assert found.largest_change is not None
        assert abs(found.largest_change - 0.05) < 1e-12


def test_a_change_within_the_gate_is_no_leak_and_is_still_shown() -> None:
    found = isolation(table(probe(3, "alone", 0.25), probe(3, "reversed", 0.265)), [3], GATE)
    assert found.verdict == "isolated"
    assert found.largest_change is not None
    assert abs(found.largest_change - 0.015) < 1e-12


def test_probes_that_show_nothing_are_not_taken_for_isolation() -> None:
    assert isolation(table(), [3], GATE).verdict == "not_probed"
    assert isolation(table(), [], GATE).verdict == "not_probed"
    alone_only = table(probe(3, "alone", 0.5), probe(3, "reversed", None))
    found = isolation(alone_only, [3], GATE)
    assert (found.verdict, found.failed_probes) == ("not_probed", 1)
    one_target_missing = table(probe(3, "alone", 0.5), probe(3, "reversed", 0.5))
    assert isolation(one_target_missing, [3, 4], GATE).verdict == "not_probed"


def test_a_leak_outweighs_a_probe_that_failed() -> None:
    rows = [probe(3, "alone", 0.5), probe(3, "reversed", 0.9), probe(4, "alone", None)]
    assert isolation(table(*rows), [3, 4], GATE).verdict == "leaks"


def test_nan_is_a_leak() -> None:
    rows = [probe(3, "alone", 0.5), probe(3, "reversed", float("nan"))]
    assert isolation(table(*rows), [3], GATE).verdict == "leaks"
