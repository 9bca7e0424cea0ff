"""What the report says of the order of the items."""

from __future__ import annotations

from typing import Any

import comparisons as build
import pytest

from stages.contract import Gate, RankingGate
from stages.documents.comparison import Comparison, Ranking, ViewComparison
from stages.report.conclusion import conclude
from stages.report.findings import find
from stages.report.ranking import ranking_answer, ranking_gate, ranking_rows
from stages.report.render import render_all
from stages.report.trust import trust

RATES = {1: 100.0, 4: 200.0, 8: 300.0}
UNTOLD = build.KEPT.model_copy(update={"tau": None, "pairs": 0})
ALONE = build.KEPT.model_copy(
    update={"items": 1, "tau": None, "pairs": 0, "top_1": None, "top_10": None}
)


def view(ranking: Ranking | None = None, **changes: Any) -> ViewComparison:
    """The portable view, where chunk size 4 of JAX has this order and these changes."""
    base = build.speeds("portable", RATES, RATES)
    if ranking is None:
        return base
    return build.replaced(base, build.cell("jax", "portable", 4, 200.0, ranking=ranking, **changes))


def everywhere(ranking: Ranking) -> ViewComparison:
    cells = [build.cell("jax", "portable", size, RATES[size], ranking=ranking) for size in RATES]
    return build.replaced(view(), *cells)


def whole(portable: ViewComparison) -> Comparison:
    return build.comparison(portable, build.speeds("best_native", RATES, RATES))


SAME = "Kendall's tau-b 1, the first item and the first 10 the same"
CHANGED = (
    "Kendall's tau-b 0.992, 2 flipped pairs of 496 (the widest: items 3 and 7, 0.00120 apart),"
    " 9 of the first 10 the same"
)


@pytest.mark.parametrize(
    ("noise", "ties"),
    [
        (0.0, "the noise floor is 0, so every difference counts"),
        (None, "the noise floor is not known, so every difference counts"),
        (7.15e-7, "items up to the noise floor of 7.15e-07 apart are tied"),
    ],
)
def test_an_order_that_is_kept_says_so_and_which_items_are_tied(
    noise: float | None, ties: str
) -> None:
    said = ranking_answer(everywhere(build.KEPT.model_copy(update={"noise": noise})))
    figure = f"the order is kept in 3 of 3 JAX cells ({SAME}); {ties}"
    assert (said.word, said.figure, said.against) == ("kept", figure, [])


def test_ten_items_or_fewer_have_no_first_ten() -> None:
    few = everywhere(build.KEPT.model_copy(update={"top_10": None}))
    assert "(Kendall's tau-b 1, the first item the same)" in ranking_answer(few).figure
    assert [row.top_10 for row in ranking_rows(whole(few))][:3] == ["—"] * 3


def test_a_cell_in_another_order_is_named_with_its_figures_and_stands_against_the_scores() -> None:
    portable = view(build.reordered())
    said = ranking_answer(portable)
    assert said.word == "changed"
    assert said.figure == (
        f"the order is kept in 2 of 3 JAX cells; changed at chunk size 4: {CHANGED};"
        " the noise floor is 0, so every difference counts"
    )
    sentence = (
        f"JAX, portable view, chunk size 4: the items are not in the reference's order: {CHANGED}."
    )
    comparison = whole(portable)
    assert trust(comparison).against == [sentence]
    assert f"Portable view: {said.figure}." in find(comparison).correctness
    assert conclude(comparison).priorities[0] == (
        f"Order of the items: JAX, portable view, chunk size 4: {CHANGED}."
    )
    pages = render_all(comparison)
    assert (
        "- Ranking: changed in the portable view, kept in the best-native view."
        in (pages["comparison.md"])
    )
    assert (
        "| portable | 4 | 0.992 | the same | 9 of 10 | 2 of 496 | items 3 and 7, "
        in (pages["report.md"])
    )


def test_what_is_different_at_the_top_is_told() -> None:
    said = ranking_answer(view(build.reordered(top_1=False, top_10=10))).figure
    assert "0.00120 apart), another item first; the noise" in said
    # The candidate's own ties flip no pair and leave the order open.
    tied = build.reordered(flipped_pairs=0, widest_flip=None, tau=0.99996, top_10=10)
    said = ranking_answer(view(tied)).figure
    assert "chunk size 4: Kendall's tau-b 0.99996, no flipped pairs of 496; the noise" in said


def test_of_several_cells_the_one_that_is_off_most_is_told() -> None:
    cells = [
        build.cell("jax", "portable", 4, 200.0, ranking=build.reordered()),
        build.cell("jax", "portable", 8, 300.0, ranking=build.reordered(tau=0.9)),
    ]
    portable = build.replaced(view(), *cells)
    most = "chunk sizes 4 and 8, most at chunk size 8: Kendall's tau-b 0.900, 2 flipped pairs"
    assert f"1 of 3 JAX cells; changed at {most}" in ranking_answer(portable).figure
    comparison = whole(portable)
    (said,) = [one for one in conclude(comparison).priorities if one.startswith("Order")]
    assert said.startswith(f"Order of the items: JAX, portable view, {most} of 496 (")
    assert len(trust(comparison).against) == 2


def test_a_cell_that_may_not_be_selected_is_told_by_its_reasons_alone() -> None:
    portable = view(build.reordered(), **build.BARRED)
    assert ranking_answer(portable).word == "changed"
    assert trust(whole(portable)).against == [
        "JAX, portable view, chunk size 4: the scores fail the correctness gate."
    ]
    gated = build.reason("ranking_failed", tau=0.992, min_tau=0.995, flips=2, max_flips=0)
    portable = view(build.reordered(), eligible=False, reasons=[gated])
    assert trust(whole(portable)).against == [
        "JAX, portable view, chunk size 4: the items are not in the reference's order: Kendall's"
        " tau-b 0.992 (at least 0.995 allowed), 2 flipped pairs (at most 0 allowed)."
    ]


def test_items_that_nobody_can_tell_apart_have_no_order_to_be_kept() -> None:
    said = ranking_answer(everywhere(UNTOLD))
    assert (said.word, len(said.against)) == ("no order", 3)
    assert said.figure.startswith("no two items' scores can be told apart; ")
    mixed = ranking_answer(view(UNTOLD))
    assert (mixed.word, mixed.against) == ("kept", [])
    assert mixed.figure.startswith(
        "the order is kept in 2 of 3 JAX cells; no two items' scores can be told apart in 1 ("
    )
    assert "nan" not in render_all(whole(everywhere(UNTOLD)))["report.md"].lower().split()


def test_one_item_has_one_order_and_no_row() -> None:
    portable = everywhere(ALONE)
    said = ranking_answer(portable)
    assert (said.word, said.against) == ("nothing to rank", [])
    assert {row.view for row in ranking_rows(whole(portable))} == {"best-native"}


def test_without_a_compared_pass_nothing_is_said_of_an_order() -> None:
    dead = build.replaced(view(), *(build.failed("jax", "portable", size, "oom") for size in RATES))
    assert ranking_answer(dead).word == "not compared"
    both = build.comparison(dead, dead.model_copy(update={"view": "best_native"}))
    assert list(ranking_rows(both)) == []
    assert "No order of JAX's items was compared with PyTorch's." in render_all(both)["report.md"]


def test_reasons_that_differ_in_figures_alone_are_counted_as_one_kind() -> None:
    from stages.report.prose.reasons import none_eligible

    def failed(size: int, flips: int) -> Any:
        reason = build.reason("ranking_failed", tau=0.5, min_tau=0.9, flips=flips, max_flips=0)
        return build.cell("jax", "portable", size, 1.0, eligible=False, reasons=[reason])

    assert none_eligible("jax", [failed(1, 3), failed(2, 5)]) == (
        "the items are not in the reference's order at 2 of 2 chunk sizes"
    )


@pytest.mark.parametrize(
    ("limits", "words"),
    [
        (None, "reported, bars no cell"),
        (
            RankingGate(min_tau=0.99, max_flips=0),
            "Kendall's tau-b at least 0.99 and no pair flipped",
        ),
        (
            RankingGate(min_tau=1, max_flips=2),
            "Kendall's tau-b at least 1 and at most 2 pairs flipped",
        ),
    ],
)
def test_the_table_of_the_contract_says_what_is_asked_of_the_order(
    limits: RankingGate | None, words: str
) -> None:
    gate = Gate(max_abs_diff=0.02, mean_abs_diff=0.01, ranking=limits)
    comparison = whole(view()).model_copy(update={"gate": gate})
    assert ranking_gate(comparison) == words
    text = render_all(comparison)["report.md"]
    assert f"| Ranking gate | {words} |" in text
    assert ("order is within the ranking gate" in text) == (limits is not None)
