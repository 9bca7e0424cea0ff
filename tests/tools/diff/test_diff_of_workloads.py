"""Two results of several workloads: what is compared with what, and how it is told."""

from __future__ import annotations

from typing import Any

import comparisons as made
import pytest
from markdown_it import MarkdownIt
from test_changes import NEW, OLD, only
from test_diff import FASTER, JAX, PYTORCH, of_sets, result

from stages.contract import VIEWS
from stages.documents.comparison import Comparison, ComparisonSet
from tools.diff.changes import cell_changes, common, only_in
from tools.diff.conditions import changed_conditions, measured_once

FEW: dict[str, Any] = {"workload": "few", "items": 8, "total_tokens": 128}
"""A smaller workload than the one that :func:`result` is of, which is called ``many``."""


def both(
    few: dict[int, float] = JAX,
    many: dict[int, float] = JAX,
    mixes: Any = None,
    **changes: Any,
) -> ComparisonSet:
    """Two workloads with these rates of JAX; ``changes`` are those of ``few`` alone."""
    return made.comparison_set(
        result(many), result(few, PYTORCH, **{**FEW, **changes}), mixes=mixes
    )


def headings(page: str) -> list[str]:
    return [line for line in page.splitlines() if line.startswith("#")]


def first(page: str) -> str:
    return page.splitlines()[2].strip("*")


def test_each_workload_has_its_own_tables_under_its_name() -> None:
    page = of_sets(both(), both(many=FASTER))
    assert headings(page) == [
        "## Changes from `A` to `B`",
        "### Conditions",
        "### Over all workloads",
        "### Workload `few`",
        "#### Winner and correctness",
        "#### Items per second",
        "### Workload `many`",
        "#### Winner and correctness",
        "#### Items per second",
        "### What is called a change",
    ]
    few, many = page.split("### Workload ")[1:]
    assert "| JAX | 8 | 100.0 | 100.0 | — | — | same passes |" in few
    assert "131" not in few
    assert many.count("| JAX | 8 | 100.0 | 131.0 | +31% | +31% to +31% | **faster** |") == 2
    tables = [t for t in MarkdownIt("commonmark").enable("table").parse(page) if t.tag == "table"]
    # Nothing differs in the conditions. One table over all, then three a workload.
    assert sum(t.nesting == 1 for t in tables) == 1 + 2 * 3


def test_one_workload_alone_is_not_named() -> None:
    page = of_sets(*(made.comparison_set(result(rates)) for rates in (JAX, FASTER)))
    assert headings(page) == [
        "## Changes from `A` to `B`",
        "### Conditions",
        "### Winner and correctness",
        "### Items per second",
    ]
    assert "many" not in page
    assert "workload" not in page


def test_what_changed_is_told_with_the_name_of_its_workload() -> None:
    page = of_sets(both(), both(few={1: 36.0, 8: 50.0}, many=FASTER))
    assert first(page) == (
        "6 of 6 cells changed by more than the noise:"
        " few, JAX, portable view, chunk size 8 is 50% slower (50–50%);"  # noqa: RUF001
        " few, JAX, best-native view, chunk size 8 is 50% slower (50–50%);"  # noqa: RUF001
        " many, JAX, portable view, chunk size 8 is 31% faster (31–31%);"  # noqa: RUF001
        " 1 more faster and 2 more slower."
    )


def test_a_lost_gate_and_another_winner_are_told_with_the_name_of_their_workload() -> None:
    wrong = made.cell("jax", "portable", 8, 100.0, gate=made.gate("fail", 0.03, 0.004))
    old = result(**FEW)
    portable = made.replaced(result({1: 40.0, 8: 900.0}).portable, wrong)
    new = old.model_copy(update={"portable": portable})
    page = of_sets(*(made.comparison_set(one, result()) for one in (old, new)))
    assert "- few: Gate, JAX, portable view, chunk size 8: pass before, fail now." in page
    few, many = page.split("### Workload ")[1:]
    assert "| JAX, portable view, chunk size 8 | 1.00e-06 (pass) | 0.0300 (fail) | 0.02 |" in few
    assert "No cell's gate verdict changed" in many
    won = of_sets(both(), both(few={1: 40.0, 8: 900.0}))
    assert "- few: Portable view: the winner was PyTorch and now is JAX." in won
    assert "- many: " not in won


def test_the_correction_is_for_the_cells_of_all_workloads_in_both_views() -> None:
    # Of four cells 0.01321 is above 0.05 / 4, of three it is below 0.05 / 3 (see test_changes.py).
    # The other cells do not differ at all.
    def side(seconds: list[float], others: list[float], extra: int | None) -> ComparisonSet:
        few = {("jax", size): others for size in (1, 2, extra) if size is not None}
        return made.comparison_set(
            only("portable", {("jax", 8): seconds}),
            with_name(only("best_native", few), "few"),  # type: ignore[arg-type]
        )

    def words(extra: int | None) -> list[str]:
        sides = side(OLD, OLD, extra), side(NEW, OLD[::-1], extra)
        return [change.word for change in cell_changes(*sides, 0.05)]

    assert words(4) == ["within the noise"] * 4
    assert words(None) == ["within the noise", "within the noise", "faster"]


def with_name(one: Comparison, name: str) -> Comparison:
    scope = one.scope.model_copy(update={"workload": name, "total_tokens": 1})
    return one.model_copy(update={"scope": scope})


def test_a_workload_that_only_one_side_has_is_named_and_not_compared() -> None:
    old = both()
    new = made.comparison_set(result(FASTER), result(**{**FEW, "workload": "more"}))
    assert [one.workload for one in common(old, new)] == ["many"]
    assert (only_in(old, new), only_in(new, old)) == (["few"], ["more"])
    assert {change.pair.workload for change in cell_changes(old, new, 0.05)} == {"many"}
    page = of_sets(old, new)
    assert "- Only in `A`, and not compared: the workload `few`." in page
    assert "- Only in `B`, and not compared: the workload `more`." in page
    assert first(page).startswith("2 of 2 cells changed by more than the noise: many, JAX, ")
    assert "### Workload `many`" in page
    assert "### Workload `few`" not in page
    assert "### Workload `more`" not in page
    # A mean over other workloads is another figure.
    assert "Over all workloads" not in page


def test_a_workload_added_to_one_result_leaves_the_other_comparable() -> None:
    page = of_sets(made.comparison_set(result()), both(many=FASTER))
    assert "- Only in `B`, and not compared: the workload `few`." in page
    assert first(page).startswith("2 of 2 cells changed by more than the noise: many, JAX, ")
    assert "Only in `A`" not in page


def test_results_without_a_workload_in_common_are_not_compared() -> None:
    page = of_sets(made.comparison_set(result()), made.comparison_set(result(FASTER, **FEW)))
    assert first(page) == "These runs cannot be compared: they have no workload in common."
    assert "- Only in `A`, and not compared: the workload `many`." in page
    assert "- Only in `B`, and not compared: the workload `few`." in page
    assert headings(page) == ["## Changes from `A` to `B`", "### Conditions"]
    assert "131" not in page


def test_a_workload_that_is_another_under_its_name_bars_its_own_speed_alone() -> None:
    page = of_sets(both(), both(few=FASTER, many=FASTER, items=9))
    assert first(page).startswith("2 of 2 cells changed by more than the noise: many, JAX, ")
    assert (
        "- The speed at the workload few cannot be compared:"
        " the new one has another number of items (8 and 9)." in page
    )
    few, many = page.split("### Workload ")[1:]
    assert "Items per second" not in few
    assert "winner" in few
    assert "#### Items per second" in many
    assert "Over all workloads" not in page


@pytest.mark.parametrize(
    ("few", "many", "said"),
    [
        (
            {"model": made.TRAINED},
            {"model": made.TRAINED},
            "another model (untrained toy and Real/Model)",
        ),
        (
            {"items": 9},
            {"items": 33},
            "another number of items (8 and 9) at the workload few;"
            " another number of items (32 and 33) at the workload many",
        ),
    ],
)
def test_what_bars_all_workloads_is_told_once_or_with_their_names(
    few: dict[str, Any], many: dict[str, Any], said: str
) -> None:
    new = made.comparison_set(result(FASTER, **many), result(**{**FEW, **few}))
    page = of_sets(both(), new)
    assert first(page) == f"These runs cannot be compared: the new one has {said}."
    assert "items/s" not in page
    assert "131" not in page


def test_a_condition_of_one_workload_is_named_by_its_key() -> None:
    other = both(query_tokens=64, item_tokens=9, workload_sha256="77" * 32, chunk_sizes=[1, 4])
    found = changed_conditions(both(), other)
    assert [(row.name, row.where, row.before, row.after) for row in found] == [
        ("workloads.few hash", "", "010101010101", "777777777777"),
        ("workloads.few.query_tokens", "", "128", "64"),
        ("workloads.few.item_tokens", "", "8", "9"),
        ("workloads.few chunk sizes", "", "1, 8", "1, 4"),
    ]


def test_what_is_the_same_for_all_workloads_is_one_condition() -> None:
    dtype = [
        made.source(backend, view, dtype="bfloat16")
        for view in VIEWS
        for backend in ("jax", "pytorch")
    ]
    new = made.comparison_set(*(result(sources=dtype, sweep_passes=9, **one) for one in (FEW, {})))
    assert [(row.name, row.where) for row in changed_conditions(both(), new)] == [
        ("passes.sweep", ""),
        ("dtype", ""),
    ]


@pytest.mark.parametrize(
    ("changed", "where"),
    [
        (["few"], "few: JAX, portable view"),
        (["few", "many"], "JAX, portable view"),
    ],
)
def test_another_way_of_scoring_names_the_workload_it_holds_for(
    changed: list[str], where: str
) -> None:
    def side(names: list[str]) -> ComparisonSet:
        compared = []
        for one in (result(**FEW), result()):
            mode = "packed" if one.scope.workload in names else "separate"
            scoring = {**one.portable.scoring, "jax": made.scored(mode)}
            portable = one.portable.model_copy(update={"scoring": scoring})
            compared.append(one.model_copy(update={"portable": portable}))
        return made.comparison_set(*compared)

    (found,) = changed_conditions(side([]), side(changed))
    assert (found.name, found.where) == ("how items are scored", where)


def test_another_mix_is_a_condition_and_its_mean_is_not_compared() -> None:
    old = both(mixes={"home": {"few": 1.0, "many": 3.0}, "track": {"many": 1.0}})
    new = both(mixes={"home": {"few": 2.0, "many": 2.0}, "track": {"many": 1.0}})
    assert [(row.name, row.before, row.after) for row in changed_conditions(old, new)] == [
        ("mix.home", "few 1, many 3", "few 2, many 2")
    ]
    page = of_sets(old, new)
    assert "mix home |" not in page
    assert "| Portable | mix track |" in page


def test_the_mean_ratio_over_the_same_workloads_is_told_before_and_after() -> None:
    # JAX / PyTorch is 100 / 300 at both before, and 300 / 300 at one now: the geometric mean of 1
    # and 1 / 3 is 0.577.
    page = of_sets(both(), both(many={1: 40.0, 8: 299.9}))
    row = "| Portable | all workloads alike | 0.33x (0.30–0.37) | 0.58x (0.52–0.63) |"  # noqa: RUF001
    assert row in page
    assert "The geometric mean of JAX / PyTorch in items/s" in page


def test_a_mean_names_the_workloads_that_it_leaves_out() -> None:
    barred = made.cell("jax", "portable", 8, 100.0, **made.BARRED)
    alone = made.view_of("portable", [barred, made.cell("pytorch", "portable", 8, 300.0)])
    few = made.comparison(alone, result().best_native, **FEW)
    page = of_sets(both(), made.comparison_set(few, result()))
    assert "| 0.33x (0.30–0.37) | 0.33x (0.30–0.37), without few |" in page  # noqa: RUF001


def test_measurements_are_the_same_where_they_are_at_every_workload() -> None:
    old = both()
    assert len(measured_once(old, old)) == 4
    again = [
        made.source(backend, view, started_at="2026-03-01T10:00:00+00:00")
        for view in VIEWS
        for backend in ("jax", "pytorch")
    ]
    assert measured_once(old, both(sources=again)) == []
