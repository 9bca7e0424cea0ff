"""The verdict on further starts of a server, from hand-built probes with a known answer."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, replace

import polars as pl
import pyarrow as pa
import pytest
from matrices import matrix

from stages.compare.probes import isolation, noise_floor
from stages.compare.starts import compare_starts, measured_start, starts_reasons
from stages.documents.comparison import FailedStart, Starts
from stages.documents.matrix import Provenance
from stages.documents.probes import PROBE_SCHEMA, ProbeRecord

LIMIT = 1e-4
ITEMS = 3


def table(records: Sequence[ProbeRecord]) -> pl.DataFrame:
    made = pl.from_arrow(pa.Table.from_pylist([asdict(r) for r in records], schema=PROBE_SCHEMA))
    assert isinstance(made, pl.DataFrame)
    return made


def start(number: int, **differences: float) -> list[ProbeRecord]:
    """The probes of one start: item 1 alone and reversed, and all items, twice.

    ``differences`` from what the others answer: of the layout ``alone`` or ``reversed``, or of an
    item of the second repetition, such as ``item_2``.
    """
    moved = [0.25 + differences.get(layout, 0.0) for layout in ("alone", "reversed")]
    scores = {
        ("isolation", "alone", 0, 1): moved[0],
        ("isolation", "reversed", 0, 1): moved[1],
    } | {
        ("repeat", "original", run, item): 0.1 * item + run * differences.get(f"item_{item}", 0.0)
        for run in range(2)
        for item in range(ITEMS)
    }
    return [
        ProbeRecord("w", number, kind, layout, run, item, 0, ITEMS, "ok", "", [score, 1 - score])  # type: ignore[arg-type]
        for (kind, layout, run, item), score in scores.items()
    ]


def lost(records: Sequence[ProbeRecord], why: str = "ended") -> list[ProbeRecord]:
    return [replace(r, status="server_died", detail=why, scores=None) for r in records]


def provenance(starts: int, **changes: object) -> Provenance:
    found = matrix("jax", "portable", []).provenance
    passes = found.contract.passes.model_copy(update={"probe_starts": starts})
    contract = found.contract.model_copy(update={"passes": passes, **changes})
    return found.model_copy(update={"contract": contract})


def found(*starts: list[ProbeRecord], measured: list[ProbeRecord] | None = None) -> Starts:
    every = [start(0) if measured is None else measured, *starts]
    rows = [row for one in every for row in one]
    made = compare_starts(table(rows), provenance(len(starts)), LIMIT)
    assert made is not None
    return made


def test_starts_with_the_same_answers_agree() -> None:
    same = found(start(1), start(2, reversed=5e-5))
    assert (same.verdict, same.planned, same.differing, same.failed) == ("agree", 2, [], [])
    assert same.largest_difference == pytest.approx(5e-5)
    assert (same.worst_start, same.worst_item, same.worst_layout) == (2, 1, "reversed")
    assert starts_reasons(same) == []


@pytest.mark.parametrize(
    ("where", "item", "layout"),
    [("alone", 1, "alone"), ("reversed", 1, "reversed"), ("item_2", 2, "original")],
)
def test_one_answer_of_one_start_beyond_the_limit_differs(
    where: str, item: int, layout: str
) -> None:
    one = found(start(1), start(2, **{where: 0.38}), start(3))
    assert (one.verdict, one.differing) == ("differ", [2])
    assert one.largest_difference == pytest.approx(0.38)
    assert (one.worst_start, one.worst_item, one.worst_layout) == (2, item, layout)
    (reason,) = starts_reasons(one)
    assert (reason.code, reason.starts, reason.of_starts) == ("starts_differ", 1, 3)
    assert (reason.items, reason.change, reason.limit) == ([item], one.largest_difference, LIMIT)


def test_each_start_that_differs_is_counted_and_the_worst_is_named() -> None:
    both = found(start(1, item_0=0.2), start(2), start(3, item_0=0.3))
    assert (both.differing, both.worst_start) == ([1, 3], 3)


def test_where_the_measured_start_is_the_odd_one_every_other_differs() -> None:
    assert found(start(1), start(2), measured=start(0, alone=0.4)).differing == [1, 2]


def test_what_is_not_a_number_is_within_no_limit() -> None:
    odd = found(start(1, item_1=math.nan), start(2, item_2=0.3))
    assert (odd.differing, odd.worst_start, odd.worst_item) == ([1, 2], 1, 1)


def test_a_start_that_failed_is_named_and_nothing_is_claimed() -> None:
    one = found(start(1), lost(start(2), "ended with exit code 1 while starting"))
    assert one.verdict == "not_probed"
    assert one.failed == [
        FailedStart(start=2, status="server_died", detail="ended with exit code 1 while starting")
    ]
    assert one.largest_difference == 0
    assert starts_reasons(one) == []


def test_a_start_that_left_one_probe_unanswered_did_not_agree() -> None:
    rows = start(1)
    part = found([*rows[:-1], *lost(rows[-1:], "timed out")])
    assert (part.verdict, [one.detail for one in part.failed]) == ("not_probed", ["timed out"])


def test_one_start_that_differs_counts_whatever_else_failed() -> None:
    mixed = found(lost(start(1)), start(2, alone=0.3))
    assert (mixed.verdict, mixed.differing) == ("differ", [2])
    assert [one.start for one in mixed.failed] == [1]


def test_what_the_measured_session_left_unanswered_is_asked_of_no_start() -> None:
    measured = start(0)
    measured = [*lost(measured[:1]), *measured[1:]]
    assert found(lost(start(1)[:1]) + start(1)[1:], measured=measured).verdict == "agree"


def test_without_any_answer_of_the_measured_session_there_is_nothing_to_compare() -> None:
    made = compare_starts(table(lost(start(0))), provenance(2), LIMIT)
    assert made is not None
    assert (made.verdict, made.missing) == ("not_probed", "unanswered")


def test_a_server_started_elsewhere_is_not_probed_by_starts() -> None:
    asked = provenance(2, base_url="http://127.0.0.1:1")
    made = compare_starts(table(start(0)), asked, LIMIT)
    assert made is not None
    assert (made.verdict, made.missing, made.planned) == ("not_probed", "elsewhere", 2)


def test_nothing_is_said_where_no_start_was_asked_for_or_nothing_was_measured() -> None:
    assert compare_starts(table(start(0)), provenance(0), LIMIT) is None
    absent = provenance(2).model_copy(update={"unavailable": "a quota of 0"})
    assert compare_starts(table([]), absent, LIMIT) is None


def test_noise_and_isolation_are_those_of_the_measured_session() -> None:
    # Else the start that differs would raise the limit by which it is judged.
    every = table([*start(0), *start(1, reversed=0.4, item_0=0.4)])
    mine = measured_start(every)
    assert noise_floor(mine).max_abs_diff == 0
    assert isolation(mine, [1], ITEMS, LIMIT).largest_change == 0
