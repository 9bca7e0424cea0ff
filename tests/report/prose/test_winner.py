"""The sentences of a result: what they print is what was decided."""

from __future__ import annotations

import re
from typing import Any

import comparisons as build
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from stages.documents.comparison import SURE, Cell, Reason, ViewComparison
from stages.report.prose.winner import answer, result

SHARE = re.compile(r"in only ([\d.]+)% of resamples")
TIE: dict[str, Any] = {"outcome": "tie", "same_backend_share": 0.6}
FACTOR = re.compile(r"(?<![\w.])([\d.]+)x")


def cells(jax: float, pytorch: float) -> tuple[Cell, Cell]:
    return build.cell("jax", "portable", 4, jax), build.cell("pytorch", "portable", 8, pytorch)


def sentence(jax: float, pytorch: float, **changes: Any) -> str:
    """The result where JAX leads with these items/s."""
    leader, rival = cells(jax, pytorch)
    won = build.winner(leader, rival, **changes)
    return result(build.view_of("portable", [leader, rival], winner=won))


def views(jax: float, pytorch: float, **changes: Any) -> list[ViewComparison]:
    """Both views, in which JAX leads with these items/s."""
    leader, rival = cells(jax, pytorch)
    won = build.winner(leader, rival, **changes)
    portable = build.view_of("portable", [leader, rival], winner=won)
    return [portable, portable.model_copy(update={"view": "best_native"})]


@given(st.integers(0, 1899).map(lambda leads: leads / 2000))
@example(0.9495)
@example(0.949501)
def test_a_share_that_leaves_a_tie_reads_below_the_limit(share: float) -> None:
    told = sentence(101.0, 100.0, outcome="tie", same_backend_share=share)
    shut_out = sentence(101.0, 100.0, outcome="tie", ratio=None, same_backend_share=share)
    whole = answer(views(101.0, 100.0, outcome="tie", same_backend_share=share))
    for text in (told, shut_out, whole):
        for printed in SHARE.findall(text):
            assert float(printed) < 100 * SURE, text


def test_a_lead_of_less_than_a_percent_is_told_with_the_digit_that_shows_it() -> None:
    assert sentence(100.3, 100.0) == (
        "JAX at chunk size 4 wins with 100.3 items/s, 1.003x PyTorch at chunk size 8 (100.0"
        " items/s)."
    )
    assert answer(views(100.3, 100.0)) == (
        "JAX is faster in both views: 1.003x PyTorch's items/s in the portable view and 1.003x"
        " in the best-native view."
    )
    tie = answer(views(100.04, 100.0, **TIE))
    assert "JAX leads by 1.0004x, but in only 60% of resamples" in tie


@given(st.floats(1.0, 1.02, exclude_min=True))
def test_no_lead_is_told_by_a_factor_of_one(lead: float) -> None:
    told = [
        sentence(100 * lead, 100.0),
        sentence(100 * lead, 100.0, **TIE),
    ]
    told += [answer(views(100 * lead, 100.0))]
    for text in told:
        factors = FACTOR.findall(text)
        assert factors, text
        assert all(float(factor) > 1 for factor in factors), text


@pytest.mark.parametrize("tie", [False, True])
def test_two_that_are_level_are_told_apart_by_the_chunk_size_alone(tie: bool) -> None:
    outcome = TIE if tie else {}
    told = sentence(100.0, 100.0, **outcome)
    for text in (told, answer(views(100.0, 100.0, **outcome))):
        assert "by the smaller chunk size" in text
        assert "faster" not in text
        assert not FACTOR.findall(text)


def test_a_tie_says_how_many_passes_would_settle_it_where_that_is_known() -> None:
    assert sentence(105.0, 100.0, **TIE, passes_to_decide=70) == (
        "Not decisive: JAX at chunk size 4 (105.0 items/s) leads PyTorch at chunk size 8"
        " (100.0 items/s) by 1.05x, but in only 60% of resamples; about 70 passes per cell would"
        " settle it."
    )
    assert sentence(105.0, 100.0, **TIE).endswith("in only 60% of resamples.")
    assert "settle" not in sentence(105.0, 100.0)


def test_a_faster_rival_outside_the_guardrail_is_not_said_to_be_slower() -> None:
    assert sentence(200.0, 250.0, ratio=None) == (
        "JAX at chunk size 4 (200.0 items/s) leads, since PyTorch at chunk size 8"
        " (250.0 items/s) is outside the guardrail, and wins."
    )


def test_nothing_measured_means_no_winner_and_none_to_wait_for_is_deferred() -> None:
    none = build.view_of("portable", [])
    assert result(none) == "No winner: none of the 0 cells is eligible ()."
    deferred = none.model_copy(
        update={"winner": build.no_winner(outcome="deferred"), "unavailable": {"jax": "no TPU"}}
    )
    assert result(deferred) == "Winner deferred: JAX is unavailable (no TPU)."


def barred(chunk: int, *reasons: Reason) -> Cell:
    """A PyTorch cell that may not be selected."""
    return build.cell("pytorch", "portable", chunk, 100.0, eligible=False, reasons=list(reasons))


def failing(chunk: int, good: int, planned: int = 5) -> Cell:
    """A PyTorch cell with so many good passes."""
    return barred(chunk, build.reason("failed_passes", good=good, planned=planned))


def why(*cells: Cell) -> str:
    """Why PyTorch has no eligible cell."""
    leader = build.cell("jax", "portable", 1, 100.0)
    text = result(build.view_of("portable", [leader, *cells]))
    return text.partition("PyTorch has no eligible cell (")[2].removesuffix(").")


WRONG = build.reason("gate_failed")


@pytest.mark.parametrize(
    ("cells", "reason"),
    [
        (
            [failing(1, 0), failing(2, 3), failing(4, 4)],
            "only 0 to 4 of 5 timed passes succeeded at 3 of 3 chunk sizes",
        ),
        (
            [failing(1, 3), failing(2, 3)],
            "only 3 of 5 timed passes succeeded at 2 of 2 chunk sizes",
        ),
        # Confirmed chunk sizes have more passes.
        (
            [failing(1, 11, 12), failing(2, 1)],
            "only 1 of 5 to 11 of 12 timed passes succeeded at 2 of 2 chunk sizes",
        ),
        # What one chunk size fails for is not said of the others.
        (
            [barred(1, WRONG), failing(2, 4), barred(4, WRONG)],
            "the scores fail the correctness gate at 2 of 3 chunk sizes and only 4 of 5 timed"
            " passes succeeded at 1 of 3 chunk sizes",
        ),
        ([], "none was measured"),
    ],
)
def test_reasons_are_grouped_by_kind_and_told_with_their_range(
    cells: list[Cell], reason: str
) -> None:
    assert why(*cells) == reason


def test_a_gate_that_would_pass_different_controls_is_one_kind() -> None:
    flat = [
        barred(1, build.reason("gate_inconclusive", controls=["items_rotated"])),
        barred(2, build.reason("gate_inconclusive", controls=["labels_swapped"])),
    ]
    assert why(*flat) == (
        "the gate is inconclusive: the scores are so flat that it would also pass wrong answers at"
        " 2 of 2 chunk sizes"
    )
    assert why(flat[0]) == (
        "the gate is inconclusive: the scores are so flat that it would also pass items rotated by"
        " one at 1 of 1 chunk sizes"
    )
