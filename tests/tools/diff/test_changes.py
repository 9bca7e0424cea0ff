"""What is called a change between two comparisons, and what is not."""

from __future__ import annotations

from typing import Any

import comparisons as made
import numpy as np
import pytest

from stages.contract import VIEWS, Backend, RankingGate, View
from stages.documents.comparison import (
    Cell,
    Comparison,
    ComparisonSet,
    PassTime,
    Ranking,
    ViewComparison,
)
from tools.diff.changes import (
    CHANGED,
    CellChange,
    obstacles,
    ranking_changes,
    score_changes,
)
from tools.diff.changes import cell_changes as changes_of_sets
from tools.diff.conditions import changed_conditions
from tools.diff.words import NamedComparison, changes_markdown

SIZES = [1, 2, 4, 8, 16, 32]
FIVE_PERCENT = 0.05


def passes(
    backend: Backend, size: int, seconds: list[float], phase: Any = "sweep"
) -> list[PassTime]:
    return [
        PassTime(
            chunk_size=size,
            phase=phase,
            run=run,
            session=0,
            started_s=float(run),
            seconds=one,
            status="ok",
            compiled=None,
        )
        for run, one in enumerate(seconds)
    ]


def timed(view: View, cells: dict[tuple[Backend, int], list[float]]) -> ViewComparison:
    """A view whose cells have these seconds."""
    found: list[Cell] = []
    times: dict[Backend, list[PassTime]] = {"jax": [], "pytorch": []}
    for (backend, size), seconds in cells.items():
        found.append(made.cell(backend, view, size, made.ITEMS * len(seconds) / sum(seconds)))
        times[backend] += passes(backend, size, seconds)
    return made.view_of(view, found, passes=times)


def of(cells: dict[tuple[Backend, int], list[float]], **changes: Any) -> Comparison:
    """Both views with the same cells."""
    return made.comparison(timed("portable", cells), timed("best_native", cells), **changes)


def only(view: View, cells: dict[tuple[Backend, int], list[float]]) -> Comparison:
    """A comparison of which the other view has no cells."""
    empty = made.view_of(next(v for v in VIEWS if v != view), [])
    mine = timed(view, cells)
    return made.comparison(*((mine, empty) if view == "portable" else (empty, mine)))


def cell_changes(old: Comparison, new: Comparison, at_least: float) -> list[CellChange]:
    """The changes of one workload alone."""
    return changes_of_sets(made.comparison_set(old), made.comparison_set(new), at_least)


def page(old: Comparison, new: Comparison) -> str:
    """The page of one workload alone."""
    sides = zip("AB", map(made.comparison_set, (old, new)), strict=True)
    return changes_markdown(*(NamedComparison(name, one) for name, one in sides), FIVE_PERCENT)


def words(changes: list[CellChange]) -> list[str]:
    return [change.word for change in changes]


class Noise:
    """Comparisons of 24 cells, 7 passes each, with noise of 5 % that is drawn anew each time."""

    def __init__(self, kind: str) -> None:
        self._kind = kind
        self._random = np.random.default_rng(20260211)
        keys: list[tuple[Backend, int]] = [(b, s) for b in ("jax", "pytorch") for s in SIZES]
        self._base = of({key: [1.0, 1.0] for key in keys})

    def draw(self, faster: float = 1.0) -> Comparison:
        """``faster`` is a factor on the items/s of JAX's chunk size 8 in the portable view."""
        views = [self._view(view, faster) for view in self._base.views()]
        return self._base.model_copy(update={"portable": views[0], "best_native": views[1]})

    def _view(self, view: ViewComparison, faster: float) -> ViewComparison:
        times: dict[Backend, list[PassTime]] = {"jax": [], "pytorch": []}
        for cell in view.cells:
            mine = cell.view == "portable" and (cell.backend, cell.chunk_size) == ("jax", 8)
            seconds = self._seconds() / (faster if mine else 1.0)
            times[cell.backend] += passes(cell.backend, cell.chunk_size, seconds.tolist())
        return view.model_copy(update={"passes": times})

    def _seconds(self) -> Any:
        steady = self._random.standard_normal(7)
        if self._kind == "lognormal":
            return np.exp(0.05 * steady)
        if self._kind == "bimodal":
            # A fast and a slow mode 8 % apart, 3 % spread within each: 5 % in all.
            return (1 + 0.04 * self._random.choice([-1, 1], 7)) * (1 + 0.03 * steady)
        return 1 + 0.05 * steady


@pytest.mark.parametrize("kind", ["normal", "lognormal", "bimodal"])
def test_two_equal_runs_name_a_change_in_five_percent_of_cases_at_most(kind: str) -> None:
    noise, pairs = Noise(kind), 400
    found = [cell_changes(noise.draw(), noise.draw(), at_least=0.0) for _ in range(pairs)]
    alarms = sum(any(c.word in CHANGED for c in changes) for changes in found)
    # 5 % of 400 is 20; three standard deviations of that count are 13.
    assert alarms <= 20 + 13


def test_a_true_change_of_thirty_percent_is_found_in_nearly_all_pairs() -> None:
    noise, pairs = Noise("lognormal"), 100
    hits = held = 0
    for _ in range(pairs):
        changes = cell_changes(noise.draw(), noise.draw(1.3), at_least=FIVE_PERCENT)
        [mine] = [
            c
            for c in changes
            if (c.pair.backend, c.pair.view, c.pair.chunk_size) == ("jax", "portable", 8)
        ]
        hits += mine.word == "faster"
        assert mine.low is not None
        assert mine.high is not None
        held += mine.low <= 0.3 <= mine.high
    assert hits >= 95
    assert held >= 95


# Means 10 and 5 (see test_welch.py): p = 0.01321 against 0.05 alone.
OLD, NEW = [8.0, 10.0, 12.0], [4.0, 5.0, 6.0]


def test_a_change_worked_by_hand() -> None:
    [found] = cell_changes(
        only("portable", {("jax", 8): OLD}), only("portable", {("jax", 8): NEW}), FIVE_PERCENT
    )
    assert found.word == "faster"
    assert found.change == pytest.approx(1.0)
    assert (found.low, found.high) == pytest.approx((0.2709, 2.1473), abs=2e-4)
    [back] = cell_changes(
        only("portable", {("jax", 8): NEW}), only("portable", {("jax", 8): OLD}), FIVE_PERCENT
    )
    assert back.word == "slower"
    assert back.change == pytest.approx(-0.5)


def test_the_same_change_among_more_cells_is_within_the_noise() -> None:
    # Four cells: 0.01321 is above 0.05 / 4 = 0.0125, and the other three do not differ at all.
    old = {("jax", 1): OLD, ("jax", 2): OLD, ("jax", 4): OLD, ("jax", 8): OLD}
    new = {("jax", 1): OLD[::-1], ("jax", 2): OLD[::-1], ("jax", 4): OLD[::-1], ("jax", 8): NEW}
    found = cell_changes(only("portable", old), only("portable", new), FIVE_PERCENT)  # type: ignore[arg-type]
    assert words(found) == ["within the noise"] * 4
    # One cell less, and it is below 0.05 / 3.
    del old["jax", 1], new["jax", 1]
    found = cell_changes(only("portable", old), only("portable", new), FIVE_PERCENT)  # type: ignore[arg-type]
    assert words(found) == ["within the noise", "within the noise", "faster"]


def test_a_significant_change_below_the_asked_for_size_does_not_count() -> None:
    old, new = [1.000, 1.001, 1.002], [0.970, 0.971, 0.972]
    sides = only("portable", {("jax", 8): old}), only("portable", {("jax", 8): new})
    assert words(cell_changes(*sides, 0.05)) == ["too small to count"]
    assert words(cell_changes(*sides, 0.03)) == ["faster"]


def test_passes_that_were_not_measured_anew_are_no_part_of_the_correction() -> None:
    # As above, but three cells are the very same passes: nothing to correct for.
    old = {("jax", 1): OLD, ("jax", 2): OLD, ("jax", 4): OLD, ("jax", 8): OLD}
    new = {**old, ("jax", 8): NEW}
    found = cell_changes(only("portable", old), only("portable", new), FIVE_PERCENT)  # type: ignore[arg-type]
    assert words(found) == ["same passes"] * 3 + ["faster"]


def test_the_passes_of_a_cell_are_the_good_ones_of_its_own_phase() -> None:
    def side(confirm: list[float]) -> Comparison:
        mine = made.cell("jax", "portable", 8, 32 / 5, phase="confirm")
        lost = passes("jax", 8, [0.001], "confirm")[0].model_copy(
            update={"status": "timeout", "seconds": None, "run": 9}
        )
        times = [*passes("jax", 8, [1.0, 1.0, 900.0]), *passes("jax", 8, confirm, "confirm"), lost]
        view = made.view_of("portable", [mine], passes={"jax": times, "pytorch": []})
        return made.comparison(view, made.view_of("best_native", []))

    [found] = cell_changes(side(OLD), side(NEW), FIVE_PERCENT)
    assert found.change == pytest.approx(1.0)


def test_cells_that_came_went_failed_and_recovered() -> None:
    def side(*cells: Cell) -> Comparison:
        return made.comparison(
            made.view_of("portable", list(cells)), made.view_of("best_native", [])
        )

    def good(size: int) -> Cell:
        return made.cell("jax", "portable", size, 40.0)

    def bad(size: int) -> Cell:
        return made.failed("jax", "portable", size, "oom")

    partly = good(32).model_copy(update={"success_rate": 0.8, "failures": {"timeout": 1}})
    old = side(good(1), good(2), bad(4), bad(8), good(32))
    new = side(
        good(2).model_copy(update={"good_passes": 4}), bad(1), good(4), bad(8), good(16), partly
    )
    found = {c.pair.chunk_size: c.word for c in cell_changes(old, new, FIVE_PERCENT)}
    assert found == {
        1: "failed now",
        2: "same passes",
        4: "works now",
        8: "fails in both",
        16: "new",
        32: "failed now",
    }
    assert cell_changes(side(good(2)), side(), FIVE_PERCENT)[0].word == "gone"


def test_an_unavailable_backend_has_no_cells() -> None:
    old = of({("jax", 8): OLD, ("pytorch", 8): OLD})
    whole = of({("jax", 8): OLD, ("pytorch", 8): NEW})
    new = made.without(whole, {"jax": "no TPU"})
    found = [(c.pair.backend, c.word) for c in cell_changes(old, new, FIVE_PERCENT)]
    assert found == [("jax", "gone"), ("pytorch", "faster")] * 2
    assert [c.word for c in cell_changes(new, new, FIVE_PERCENT)] == ["same passes"] * 2
    in_one = made.without(whole, {"jax": "no TPU"}, ["best_native"])
    assert [c.word for c in cell_changes(old, in_one, FIVE_PERCENT)] == [
        *("same passes", "faster"),
        *("gone", "faster"),
    ]


def test_one_pass_a_side_is_too_few() -> None:
    sides = only("portable", {("jax", 8): [1.0]}), only("portable", {("jax", 8): [2.0, 2.1]})
    assert words(cell_changes(*sides, FIVE_PERCENT)) == ["too few passes"]


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"items": 500}, "another number of items (32 and 500)"),
        ({"workload_sha256": "99" * 32}, "another workload (hash 010101010101 and 999999999999)"),
        ({"model": made.TRAINED}, "another model (untrained toy and Real/Model)"),
    ],
)
def test_another_workload_model_or_item_count_makes_speed_incomparable(
    changes: dict[str, Any], reason: str
) -> None:
    old = of({("jax", 8): OLD})
    new = old.model_copy(update={"scope": old.scope.model_copy(update=changes)})
    assert obstacles(old, new) == [reason]
    assert obstacles(old, old) == []
    found = cell_changes(old, new, FIVE_PERCENT)
    assert words(found) == ["not comparable"] * 2
    assert {c.change for c in found} == {None}


@pytest.mark.parametrize(
    ("was", "now", "told"),
    [
        (("pass", 1e-6), ("pass", 9.9e-6), False),
        (("pass", 1e-6), ("pass", 1.1e-5), True),
        (("pass", 0.0), ("pass", 1e-9), True),
        (("pass", 1e-3), ("pass", 1e-6), False),
        (("pass", 0.019), ("fail", 0.021), True),
        (("fail", 0.021), ("pass", 0.019), True),
        (("fail", None), ("fail", 0.5), False),
        (("not_compared", None), ("not_compared", None), False),
    ],
)
def test_scores_are_told_when_the_verdict_changed_or_the_difference_grew_tenfold(
    was: tuple[str, float | None], now: tuple[str, float | None], told: bool
) -> None:
    sides = []
    for verdict, largest in (was, now):
        mine = made.cell("jax", "portable", 8, 40.0, gate=made.gate(verdict, largest, largest))
        other = made.cell("pytorch", "portable", 8, 50.0)
        sides.append(
            made.comparison(
                made.view_of("portable", [mine, other]), made.view_of("best_native", [])
            )
        )
    assert bool(score_changes(*sides)) is told


def test_another_pair_is_an_obstacle_and_the_page_says_so() -> None:
    one = made.comparison(*(made.speeds(view, {1: 10.0}, {1: 5.0}) for view in VIEWS))
    old = made.comparison_set(one)
    text = old.model_dump_json().replace("pytorch", "toy").replace("PyTorch", "Toy")
    new = ComparisonSet.model_validate_json(text)
    said = ["other backends (JAX and PyTorch before, JAX and Toy now)"]
    assert obstacles(one, new.workloads[0]) == said
    text = changes_markdown(NamedComparison("HEAD", old), NamedComparison(None, new), FIVE_PERCENT)
    assert "These runs cannot be compared: the new one has other backends" in text
    assert "the winner was" not in text


def in_order(ranking: Ranking) -> Comparison:
    mine = made.cell("jax", "portable", 8, 40.0, ranking=ranking)
    other = made.cell("pytorch", "portable", 8, 40.0)
    return made.comparison(made.view_of("portable", [mine, other]), made.view_of("best_native", []))


FLIPPED = made.reordered()


@pytest.mark.parametrize(
    ("was", "now", "told"),
    [
        (made.KEPT, made.KEPT, False),
        (made.KEPT, FLIPPED, True),
        (FLIPPED, made.KEPT, False),
        (FLIPPED, FLIPPED, False),
        (FLIPPED, made.reordered(flipped_pairs=3), True),
        (FLIPPED, made.reordered(tau=0.9), True),
        (FLIPPED, made.reordered(top_1=False), True),
        (FLIPPED, made.reordered(top_10=8), True),
        (FLIPPED, made.reordered(top_10=10), False),
        # What was not compared, or has no order, is not worse than what has.
        (made.NOT_RANKED, made.KEPT, False),
        (FLIPPED, made.NOT_RANKED, False),
    ],
)
def test_an_order_is_told_when_it_got_worse(was: Ranking, now: Ranking, told: bool) -> None:
    sides = in_order(was), in_order(now)
    assert bool(ranking_changes(*sides)) is told
    assert ("- Order of the items, JAX, portable view, chunk size 8: " in page(*sides)) is told


def test_the_row_of_the_ranking_stands_where_its_verdict_changed() -> None:
    kept, changed = in_order(made.KEPT), in_order(FLIPPED)
    text = page(kept, changed)
    assert "| Portable | ranking | kept: the order is kept in 1 of 1 JAX cell (" in text
    assert "(before: Kendall's tau-b 1, no flipped pairs of 496)." in text
    assert "| ranking |" not in page(changed, in_order(made.reordered(flipped_pairs=3)))


def test_another_gate_of_the_ranking_is_another_condition() -> None:
    old = in_order(made.KEPT)
    gate = old.gate.model_copy(update={"ranking": RankingGate(min_tau=0.99, max_flips=0)})
    sides = (old, old.model_copy(update={"gate": gate}))
    (found,) = changed_conditions(*map(made.comparison_set, sides))
    assert (found.name, found.before, found.after) == (
        "gate.ranking",
        "reported, bars no cell",
        "Kendall's tau-b at least 0.99 and no pair flipped",
    )
