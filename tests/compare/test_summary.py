"""All workloads together, by hand: the mean ratio, who wins how often, and where it changes."""

from __future__ import annotations

import math
from collections.abc import Mapping

import comparisons as build
import numpy as np
import pytest
from contracts import BACKENDS
from hypothesis import given
from hypothesis import strategies as st

from stages.compare.intervals import ratio_interval
from stages.compare.summary import crossings, summarize, weighted_ratio
from stages.documents.cell import CellKey
from stages.documents.comparison import AtWorkload, Comparison, Crossing, ViewComparison

SPREAD = np.array([0.98, 0.99, 1.0, 1.01, 1.02])

type Rates = Mapping[str, float]


def seconds(reference: float, candidate: float) -> tuple[np.ndarray, np.ndarray]:
    """Passes of the two backends that take this long on average."""
    return SPREAD * reference, SPREAD[::-1] * candidate


def test_the_mean_of_ratios_is_the_geometric_one() -> None:
    sides = {"a": seconds(8.0, 1.0), "b": seconds(1.0, 2.0)}
    made = weighted_ratio({"a": 1, "b": 1}, sides)
    # sqrt(8 x 1/2) = 2; the arithmetic mean would be 4.25.
    assert made.items_per_s == pytest.approx(2.0)
    assert made.left_out == []
    assert made.weights == {"a": 1, "b": 1}
    # Turned round, the answer is the same.
    turned = {name: (other, one) for name, (one, other) in sides.items()}
    back = weighted_ratio({"a": 1, "b": 1}, turned)
    assert back.items_per_s == pytest.approx(1 / 2)
    there, returned = made.items_per_s_interval, back.items_per_s_interval
    assert there is not None
    assert returned is not None
    assert there.high is not None
    assert (returned.low, returned.high) == pytest.approx((1 / there.high, 1 / there.low))


def test_the_mean_of_one_workload_is_its_own_ratio_with_its_interval() -> None:
    sides = {"a": seconds(3.0, 2.0)}
    made = weighted_ratio({"a": 7.0}, sides)
    alone = ratio_interval(*sides["a"])
    assert alone is not None
    assert made.items_per_s == pytest.approx(1.5)
    assert made.items_per_s_interval is not None
    found = made.items_per_s_interval
    assert (found.low, found.high) == pytest.approx((alone.low, alone.high))
    assert (found.level, found.method) == (alone.level, alone.method)


def test_a_mix_weighs_the_ratios_on_any_scale() -> None:
    sides = {"a": seconds(2.0, 1.0), "b": seconds(1.0, 4.0), "c": seconds(9.0, 1.0)}
    mean = 2**0.2 * 0.25**0.6 * 9**0.2
    percent = weighted_ratio({"a": 20, "b": 60, "c": 20}, sides)
    shares = weighted_ratio({"a": 0.2, "b": 0.6, "c": 0.2}, sides)
    assert percent.items_per_s == pytest.approx(mean)
    assert shares.items_per_s == pytest.approx(mean)
    assert percent.items_per_s_interval is not None
    assert shares.items_per_s_interval is not None
    assert percent.items_per_s_interval.low == pytest.approx(shares.items_per_s_interval.low)
    assert percent.weights == {"a": 20, "b": 60, "c": 20}, "as the contract has them"


def test_a_mix_may_leave_workloads_of_the_contract_out() -> None:
    sides = {"a": seconds(2.0, 1.0), "b": seconds(1.0, 4.0)}
    assert weighted_ratio({"a": 3}, sides).items_per_s == pytest.approx(2.0)


def test_a_workload_without_a_ratio_is_left_out_and_named() -> None:
    sides = {"a": seconds(2.0, 1.0), "c": seconds(8.0, 1.0)}
    made = weighted_ratio({"a": 1, "b": 6, "c": 3}, sides)
    assert made.left_out == ["b"]
    assert made.items_per_s == pytest.approx(2**0.25 * 8**0.75)


def test_with_every_workload_left_out_there_is_no_mean() -> None:
    made = weighted_ratio({"a": 1, "b": 2}, {})
    assert (made.items_per_s, made.items_per_s_interval) == (None, None)
    assert made.left_out == ["a", "b"]


def test_one_pass_gives_a_mean_without_an_interval() -> None:
    sides = {"a": (np.array([2.0]), np.array([1.0])), "b": seconds(2.0, 1.0)}
    made = weighted_ratio({"a": 1, "b": 1}, sides)
    assert made.items_per_s == pytest.approx(2.0)
    assert made.items_per_s_interval is None


def row(
    name: str, items: int, total_tokens: int, outcome: str, ratio: float | None = 1.5
) -> AtWorkload:
    return AtWorkload(
        workload=name,
        items=items,
        total_tokens=total_tokens,
        outcome=outcome,
        items_per_s=ratio,
        items_per_s_interval=None,
    )


def found(*rows: tuple[int, int, str]) -> list[Crossing]:
    """The crossings of workloads with these items, total tokens and outcomes."""
    return crossings([row(f"w{i}", *one) for i, one in enumerate(rows)], BACKENDS)


def crossing(axis: str, below: int, above: int, loses: str, wins: str) -> Crossing:
    return Crossing(axis=axis, below=below, above=above, winner_below=loses, winner_above=wins)


def test_one_winner_everywhere_never_changes() -> None:
    assert found((1, 10, "jax"), (2, 20, "jax"), (3, 30, "jax")) == []
    assert found((1, 10, "jax")) == []
    assert found() == []


def test_the_winner_changes_once_over_the_total_tokens() -> None:
    rows = [(4, 100, "pytorch"), (8, 200, "pytorch"), (2, 300, "jax"), (9, 400, "jax")]
    once = [crossing("total_tokens", 200, 300, "pytorch", "jax")]
    assert found(*rows) == once
    assert found(*rows[::-1]) == once, "in whichever order they come"


def test_workloads_without_a_winner_are_passed_over() -> None:
    rows = [(1, 100, "jax"), (2, 200, "tie"), (3, 300, "none"), (4, 350, "deferred")]
    assert found(*rows, (5, 400, "pytorch")) == [
        crossing("total_tokens", 100, 400, "jax", "pytorch")
    ]
    assert found(*rows) == []


def test_a_win_without_an_eligible_rival_changes_no_winner_by_size() -> None:
    alone = row("wrong", 2, 200, "pytorch", None)
    rows = [row("small", 1, 100, "jax"), alone, row("large", 3, 300, "jax")]
    assert crossings(rows, BACKENDS) == []


def test_what_changes_often_over_the_tokens_and_once_over_the_items_is_told_by_the_items() -> None:
    rows = [(10, 100, "jax"), (50, 200, "pytorch"), (20, 300, "jax"), (60, 400, "pytorch")]
    assert found(*rows) == [crossing("items", 20, 50, "jax", "pytorch")]


def test_what_changes_often_over_both_is_told_over_the_tokens_each_time() -> None:
    rows = [(10, 100, "jax"), (20, 200, "pytorch"), (30, 300, "jax"), (40, 300, "jax")]
    assert found(*rows) == [
        crossing("total_tokens", 100, 200, "jax", "pytorch"),
        crossing("total_tokens", 200, 300, "pytorch", "jax"),
    ]


def test_two_of_one_size_with_different_winners_are_no_order_by_that_size() -> None:
    by_items = [(10, 100, "jax"), (50, 100, "pytorch")]
    assert found(*by_items) == [crossing("items", 10, 50, "jax", "pytorch")]
    # Of the same items, too: no size tells them apart, and no crossing is made up.
    assert found((10, 100, "jax"), (10, 100, "pytorch")) == []
    # The tokens order these, and the items do not.
    assert found((10, 100, "jax"), (10, 200, "pytorch")) == [
        crossing("total_tokens", 100, 200, "jax", "pytorch")
    ]
    # Two of one size with the same winner are one step.
    assert found((10, 100, "jax"), (20, 100, "jax"), (30, 200, "pytorch")) == [
        crossing("total_tokens", 100, 200, "jax", "pytorch")
    ]


@given(
    st.lists(
        st.tuples(
            st.integers(1, 9),
            st.integers(1, 9),
            st.sampled_from([*BACKENDS, "tie", "none", "deferred"]),
        ),
        max_size=7,
    ),
    st.randoms(use_true_random=False),
)
def test_every_crossing_is_between_two_neighbours_with_different_winners(
    rows: list[tuple[int, int, str]], random
) -> None:
    made = found(*rows)
    shuffled = list(rows)
    random.shuffle(shuffled)
    assert found(*shuffled) == made
    for one in made:
        axis = 0 if one.axis == "items" else 1
        won = {(r[axis], r[2]) for r in rows if r[2] in BACKENDS}
        assert {(one.below, one.winner_below), (one.above, one.winner_above)} <= won
        assert one.winner_below != one.winner_above
        assert not [size for size, _ in won if one.below < size < one.above]


def compared(
    name: str, tokens: int, portable: ViewComparison, native: ViewComparison | None = None
) -> Comparison:
    native = native or build.speeds("best_native", {1: 10.0}, {1: 20.0})
    return build.comparison(portable, native, workload=name, total_tokens=tokens)


def of_cells(one: Comparison) -> dict[str, dict[CellKey, np.ndarray]]:
    """The seconds that would give the cells of a hand-built comparison their figures."""
    return {
        view.view: {
            c.key: SPREAD * build.ITEMS / c.items_per_s for c in view.cells if c.items_per_s
        }
        for view in one.views()
    }


def test_a_view_counts_wins_ties_and_what_is_undecided() -> None:
    plain = build.speeds("portable", {1: 40.0}, {1: 10.0})
    slower = build.speeds("portable", {1: 10.0}, {1: 20.0})
    tied = plain.model_copy(update={"winner": build.no_winner(outcome="tie")})
    barred = build.replaced(plain, build.failed("jax", "portable", 1, "oom"))
    undecided = barred.model_copy(update={"winner": build.no_winner()})
    every = [
        compared("a", 100, plain),
        compared("b", 200, slower),
        compared("c", 300, tied),
        compared("d", 400, undecided),
    ]
    made = summarize(
        every, {one.scope.workload: of_cells(one) for one in every}, {"busy": {"b": 1, "d": 9}}
    )
    view = made.portable
    assert view.view == "portable"
    assert (view.wins, view.ties, view.undecided) == ({"jax": 1, "pytorch": 1}, 1, 1)
    assert [r.outcome for r in view.workloads] == ["jax", "pytorch", "tie", "none"]
    assert [r.items_per_s for r in view.workloads] == [
        pytest.approx(4.0),
        pytest.approx(0.5),
        pytest.approx(4.0),
        None,
    ]
    assert view.workloads[3].items_per_s_interval is None
    assert view.mean.left_out == ["d"]
    assert view.mean.weights == {"a": 1.0, "b": 1.0, "c": 1.0, "d": 1.0}
    assert view.mean.items_per_s == pytest.approx((4 * 0.5 * 4) ** (1 / 3))
    assert view.mixes["busy"].items_per_s == pytest.approx(0.5)
    assert view.mixes["busy"].left_out == ["d"]
    assert view.crossings == [crossing("total_tokens", 100, 200, "jax", "pytorch")]
    # The other view is its own.
    assert made.best_native.wins == {"jax": 0, "pytorch": 4}
    assert made.best_native.mean.items_per_s == pytest.approx(0.5)


def test_the_ratio_of_a_workload_is_that_of_the_cells_that_would_be_deployed() -> None:
    view = build.speeds("portable", {1: 40.0, 8: 90.0}, {1: 60.0, 8: 30.0})
    one = compared("a", 100, view)
    (at,) = summarize([one], {"a": of_cells(one)}, {}).portable.workloads
    # JAX at chunk 8 against PyTorch at chunk 1.
    assert at.items_per_s == pytest.approx(90 / 60)
    assert at.items_per_s_interval is not None
    assert at.items_per_s_interval.low < 1.5 < (at.items_per_s_interval.high or 0)
    assert math.isclose(
        at.items_per_s_interval.low * (at.items_per_s_interval.high or 0), 1.5**2, rel_tol=1e-9
    )
