"""What would change the conclusion, in sentences whose figures stand in the comparison."""

from __future__ import annotations

import comparisons as build

from stages.documents.comparison import Alternative, Comparison, Turning, ViewComparison
from stages.report.turning import turning_points

NOTHING = Turning(guardrail=None, eligibility=None)


def both(view: ViewComparison) -> Comparison:
    native = view.model_copy(update={"view": "best_native"})
    return build.comparison(view, native)


def of_portable(view: ViewComparison) -> list[str]:
    opening = "In the portable view, "
    said = turning_points(both(view))
    return [s.removeprefix(opening) for s in said if s.startswith(opening)]


def test_the_slower_backend_is_told_how_far_behind_it_is_and_when_it_is_as_cheap() -> None:
    view = build.speeds("portable", {4: 100.0}, {8: 250.0})
    assert of_portable(view) == [
        "JAX at chunk size 4 draws level with the 250.0 items/s of PyTorch at 2.50x"
        " (2.25\N{EN DASH}2.75) its own 100.0.",
        "no other guardrail than 1.25 lets the other backend lead.",
        "JAX scores as many items per USD where an hour of PyTorch's host costs 2.50x an hour of"
        " its own.",
    ]


def test_a_guardrail_that_would_turn_the_result_is_named_on_its_side() -> None:
    view = build.speeds("portable", {4: 100.0}, {8: 250.0})
    for at, words in ((1.5, "a guardrail of 1.50 or more"), (1.1, "a guardrail below 1.10")):
        found = Alternative(backend="jax", chunk_size=4, items_per_s=100.0, guardrail=at)
        turned = view.model_copy(update={"turning": Turning(guardrail=found, eligibility=None)})
        assert (
            f"{words} (now 1.25) would let JAX at chunk size 4 (100.0 items/s) lead."
            in of_portable(turned)
        )


def test_a_faster_cell_shut_out_for_its_scores_is_named_with_the_reason() -> None:
    wrong = build.cell("jax", "portable", 4, 900.0, **build.BARRED)
    right = build.cell("pytorch", "portable", 8, 250.0)
    found = Alternative(backend="jax", chunk_size=4, items_per_s=900.0, guardrail=None)
    view = build.view_of(
        "portable", [wrong, right], turning=Turning(guardrail=None, eligibility=found)
    )
    cells = [
        *view.cells,
        build.cell("jax", "portable", 8, 1.0),
        build.cell("pytorch", "portable", 4, 1.0),
    ]
    said = of_portable(view.model_copy(update={"cells": cells}))
    assert (
        "JAX at chunk size 4 (900.0 items/s) would lead if every cell were eligible; it is not:"
        " the scores fail the correctness gate." in said
    )


def test_a_tie_asks_for_passes() -> None:
    cells = [build.cell("jax", "portable", 4, 101.0), build.cell("pytorch", "portable", 4, 100.0)]
    tie = build.winner(*cells, outcome="tie", passes_to_decide=1234)
    said = of_portable(build.view_of("portable", cells, winner=tie))
    assert said[0] == (
        "about 1,300 passes per cell, at the noise of these, would tell the two leading cells"
        " apart."
    )
    assert not any("draws level" in s for s in said)


def test_a_missing_backend_would_change_everything() -> None:
    view = build.speeds("portable", {4: 100.0}, {8: 250.0})
    found = build.without(both(view), {"pytorch": "a quota of 0"})
    assert turning_points(found) == [
        "Everything: without PyTorch there is nothing to compare with."
    ]
