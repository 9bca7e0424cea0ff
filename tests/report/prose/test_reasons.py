"""Each reason why a cell may not be selected, with every figure that it has."""

from __future__ import annotations

from typing import get_args

import comparisons as build
import pytest

from stages.documents.comparison import FailedAlone, Reason, ReasonCode
from stages.report.prose.reasons import passed_over, reason, reasons

WORDS: dict[str, Reason] = {
    "unavailable: a quota of 0": build.reason("unavailable", detail="a quota of 0"),
    "only 3 of 5 timed passes succeeded": build.reason("failed_passes", good=3, planned=5),
    "no figures": build.reason("no_figures"),
    "figures are not finite": build.reason("not_finite"),
    "the scores fail the correctness gate": build.reason("gate_failed"),
    "no pass could be compared with the reference": build.reason("not_compared"),
    "the gate is inconclusive: the scores are so flat that it would also pass items rotated by one"
    " and labels swapped": build.reason(
        "gate_inconclusive", controls=["items_rotated", "labels_swapped"]
    ),
    "the server scored items in more than one way, so there is no one figure: 9 timed passes"
    " score_from_cache, 2 timed passes prefill_extend and 1 timed pass in several ways within the"
    " pass": build.reason(
        "mixed_modes", modes={"score_from_cache": 9, "prefill_extend": 2, "mixed": 1}
    ),
    "isolation between items could not be probed": build.reason("not_probed"),
    "isolation between items could not be probed: the request with item 3 alone failed"
    " (http_5xx: HTTP 500)": build.reason(
        "not_probed", alone=FailedAlone(item=3, status="http_5xx", detail="HTTP 500")
    ),
    "isolation from items of other lengths could not be probed": build.reason("lengths_not_probed"),
    "scores depend on neighbouring items: those of items 7 and 12 moved by up to 0.310 (limit"
    " 1.00e-04)": build.reason("leaks", items=[7, 12], change=0.31, limit=1e-4),
    "scores depend on the server's start: 1 of 1 extra start answered otherwise (item 5 by 0.380,"
    " limit 1.00e-04)": build.reason(
        "starts_differ", starts=1, of_starts=1, items=[5], change=0.38, limit=1e-4
    ),
    "the items are not in the reference's order: Kendall's tau-b 0.9899 (at least 0.99"
    " allowed), 3 flipped pairs (at most 0 allowed)": build.reason(
        "ranking_failed", tau=0.98994, min_tau=0.99, flips=3, max_flips=0
    ),
    "the ranking cannot be judged: no two items' scores can be told apart": build.reason(
        "ranking_unknown"
    ),
}


@pytest.mark.parametrize("words", WORDS)
def test_a_reason_is_told_with_its_figures(words: str) -> None:
    assert reason(WORDS[words]) == words


def test_every_reason_is_worded() -> None:
    assert {one.code for one in WORDS.values()} == {*get_args(ReasonCode.__value__)}


def test_a_cell_is_told_with_all_its_reasons() -> None:
    cell = build.failed("jax", "portable", 4, "timeout")
    assert reasons(cell) == "only 0 of 5 timed passes succeeded; no figures"
    assert reasons(build.cell("jax", "portable", 4, 1.0), "none") == "none"


@pytest.mark.parametrize(
    ("chosen", "instead"),
    [(4, "chunk size 4 was taken instead"), (None, "no other chunk size is eligible")],
)
def test_a_fastest_cell_that_was_passed_over_is_told(chosen: int | None, instead: str) -> None:
    wrong = build.cell(
        "jax", "portable", 8, 900.0, eligible=False, reasons=[build.reason("gate_failed")]
    )
    view = build.view_of(
        "portable", [wrong], passed_over={"jax": 8}, selected={"jax": chosen, "pytorch": None}
    )
    assert list(passed_over(view)) == [
        "JAX: its fastest chunk size, 8, is not eligible (the scores fail the correctness gate);"
        f" {instead}."
    ]
