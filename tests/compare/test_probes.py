"""Noise floor and isolation from hand-built probes with a known answer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, replace

import polars as pl
import pyarrow as pa
import pytest

from stages.compare.probes import change_limit, isolation, noise_floor
from stages.contract import Gate
from stages.documents.comparison import FailedAlone, Isolation, NoiseFloor
from stages.documents.probes import PROBE_SCHEMA, Layout, ProbeRecord

GATE = Gate(max_abs_diff=0.02, mean_abs_diff=0.01)


def table(*records: ProbeRecord) -> pl.DataFrame:
    made = pl.from_arrow(pa.Table.from_pylist([asdict(r) for r in records], schema=PROBE_SCHEMA))
    assert isinstance(made, pl.DataFrame)
    return made


def repeat(run: int, item: int, score: float | None) -> ProbeRecord:
    scores = None if score is None else [score, 1 - score]
    status = "timeout" if score is None else "ok"
    return ProbeRecord("w", 0, "repeat", "original", run, item, item, 2, status, "", scores)


def probe(item: int, layout: Layout, score: float | None) -> ProbeRecord:
    scores = None if score is None else [score, 1 - score]
    status = "http_5xx" if score is None else "ok"
    return ProbeRecord("w", 0, "isolation", layout, 0, item, 0, 4, status, "", scores)


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


ITEMS = 4
LIMIT = 0.001
EVERY: tuple[Layout, ...] = (
    "original",
    "reversed",
    "replaced",
    "before_1",
    "before_20",
    "before_all",
    "shorter",
    "longer",
)


def around(item: int, score: float, **changed: float | None) -> list[ProbeRecord]:
    """A target with this score in every layout, but for those ``changed``."""
    return [probe(item, layout, changed.get(layout, score)) for layout in ("alone", *EVERY)]


def found(*rows: ProbeRecord, targets: Sequence[int] = (3,), items: int = ITEMS) -> Isolation:
    return isolation(table(*rows), list(targets), items, LIMIT)


def test_a_score_that_keeps_still_among_changing_neighbours_is_isolated() -> None:
    still = found(*around(3, 0.25))
    assert (still.verdict, still.largest_change, still.leaking_targets) == ("isolated", 0.0, [])
    assert set(still.changes) == set(EVERY)
    assert (still.failed_layouts, still.left_out) == ([], [])


@pytest.mark.parametrize("layout", EVERY)
def test_a_leak_is_found_in_any_one_layout_and_target(layout: Layout) -> None:
    leak = found(*around(3, 0.25), *around(7, 0.25, **{layout: 0.30}), targets=[3, 7])
    assert leak.verdict == "leaks"
    assert leak.leaking_targets == [7]
    assert (leak.worst_target, leak.worst_layout) == (7, layout)
    assert leak.largest_change is not None
    assert abs(leak.largest_change - 0.05) < 1e-12


def test_a_change_within_the_limit_is_no_leak_and_is_still_shown() -> None:
    moved = found(*around(3, 0.25, reversed=0.2509))
    assert (moved.verdict, moved.limit) == ("isolated", LIMIT)
    assert moved.largest_change is not None
    assert abs(moved.largest_change - 0.0009) < 1e-12


def test_probes_that_show_nothing_are_not_taken_for_isolation() -> None:
    assert found().verdict == "not_probed"
    assert found(targets=[]).verdict == "not_probed"
    alone_only = found(probe(3, "alone", 0.5), probe(3, "reversed", None))
    assert (alone_only.verdict, alone_only.failed_probes) == ("not_probed", 1)
    assert found(*around(3, 0.5), targets=[3, 4]).verdict == "not_probed"


def test_a_failed_request_of_an_item_alone_is_named() -> None:
    rows = [*around(3, 0.25), *around(7, 0.25)]
    rows = [
        replace(r, status="http_5xx", detail="HTTP 500", scores=None)
        if (r.item, r.layout) == (7, "alone")
        else r
        for r in rows
    ]
    broken = found(*rows, targets=[3, 7])
    assert broken.verdict == "not_probed"
    assert broken.alone == FailedAlone(item=7, status="http_5xx", detail="HTTP 500")
    assert (broken.failed_probes, broken.failed_layouts) == (1, ["alone"])
    assert found(*around(3, 0.25, longer=None)).alone is None


def test_a_server_that_refused_every_request_with_other_lengths_is_not_called_isolated() -> None:
    too_small = found(*around(3, 0.25, shorter=None, longer=None))
    assert too_small.verdict == "lengths_not_probed"
    assert (too_small.failed_probes, too_small.failed_layouts) == (2, ["shorter", "longer"])
    # One target of two is not enough either, and where nobody asked, nothing is shown.
    rows = [*around(3, 0.25), *around(7, 0.25, shorter=None, longer=None)]
    assert found(*rows, targets=[3, 7]).verdict == "lengths_not_probed"
    same = [r for r in around(3, 0.25) if r.layout not in ("shorter", "longer")]
    assert found(*same).verdict == "lengths_not_probed"


def test_either_other_length_shows_that_lengths_do_not_matter_and_the_other_is_named() -> None:
    no_room = found(*around(3, 0.25, longer=None))
    assert (no_room.verdict, no_room.failed_layouts) == ("isolated", ["longer"])
    assert "longer" not in no_room.changes


def test_a_layout_that_the_workload_cannot_have_is_left_out_and_listed() -> None:
    rows = [r for r in around(3, 0.25) if r.layout != "shorter"]
    one_token = found(*rows)
    assert (one_token.verdict, one_token.left_out) == ("isolated", ["shorter"])
    # Around another target there was a longer item, which could be made shorter.
    assert found(*rows, *around(7, 0.25), targets=[3, 7]).left_out == ["shorter"]
    no_room = [r for r in around(3, 0.25, longer=None) if r.layout != "shorter"]
    assert found(*no_room).verdict == "lengths_not_probed"


def test_a_single_item_has_no_neighbours_to_depend_on() -> None:
    assert found(targets=[0], items=1).verdict == "no_neighbours"
    assert found(targets=[0], items=2).verdict == "not_probed"


def test_a_leak_outweighs_a_probe_that_failed() -> None:
    rows = [probe(3, "alone", 0.5), probe(3, "reversed", 0.9), probe(4, "alone", None)]
    assert found(*rows, targets=[3, 4]).verdict == "leaks"


def test_nan_is_a_leak_and_hides_behind_nothing() -> None:
    for other in (0.4, 0.6):
        rows = [probe(3, "original", other), probe(3, "reversed", float("nan"))]
        for ordered in (rows, rows[::-1]):
            leak = found(probe(3, "alone", 0.5), *ordered)
            assert (leak.verdict, leak.worst_layout) == ("leaks", "reversed")


@pytest.mark.parametrize(
    ("floor", "dtype", "limit"),
    [
        # Ten times the noise, where that is more than rounding and no more than the gate.
        (3e-5, "float32", 3e-4),
        (5e-3, "float32", 0.02),
        (1.5e-3, "bfloat16", 0.015),
        # Repeated answers that are identical say nothing about rounding in other batches.
        (0.0, "float32", 1e-4),
        (0.0, "float16", 2e-3),
        (0.0, "half", 2e-3),
        (0.0, "bfloat16", 1e-2),
        (0.0, "auto", 1e-2),
        (0.0, "float8_e4m3fn", 1e-2),
        (9e-6, "float32", 1e-4),
        (None, "float32", 1e-4),
    ],
)
def test_the_limit_follows_from_noise_and_format_and_never_exceeds_the_gates(
    floor: float | None, dtype: str, limit: float
) -> None:
    repeats = 1 if floor is None else 5
    noise = NoiseFloor(repeats=repeats, max_abs_diff=floor)
    assert change_limit(noise, GATE, dtype) == pytest.approx(limit, rel=1e-12)


def test_a_strict_gate_is_the_limit_even_below_rounding() -> None:
    strict = Gate(max_abs_diff=1e-5, mean_abs_diff=1e-5)
    assert change_limit(NoiseFloor(repeats=5, max_abs_diff=0.0), strict, "bfloat16") == 1e-5


def test_honest_rounding_is_isolated_and_the_leak_that_was_once_found_upstream_is_not() -> None:
    limit = change_limit(NoiseFloor(repeats=5, max_abs_diff=0.0), GATE, "float32")
    rounded = around(3, 0.25, reversed=0.250001, longer=0.249999)
    leaking = around(3, 0.25, longer=0.2617)
    assert isolation(table(*rounded), [3], ITEMS, limit).verdict == "isolated"
    found = isolation(table(*leaking), [3], ITEMS, limit)
    assert (found.verdict, found.worst_layout) == ("leaks", "longer")
    # It is smaller than what the gate lets pass.
    assert found.largest_change is not None
    assert limit < found.largest_change < GATE.max_abs_diff
