"""The candidate's order of the items, against orders worked out by hand and against scipy."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from matrices import matrix, one_pass, passes, plain_score
from scipy.stats import kendalltau

from stages.compare import ranking
from stages.compare.passes import passes_of
from stages.compare.ranking import Order, largest_noise, order, rank, ranking_reasons
from stages.contract import RankingGate
from stages.documents.comparison import FlippedPair, NoiseFloor, Ranking, Reason
from stages.documents.matrix import CallRecord, Phase


def frame(records: list[CallRecord]) -> pl.DataFrame:
    return passes_of(matrix("jax", "portable", records).calls)


def ordered(
    candidate: Sequence[float], reference: Sequence[float], noise: float | None = 0.0
) -> Order:
    return order(np.array(candidate, dtype=float), np.array(reference, dtype=float), noise)


def is_flip(found: FlippedPair | None, items: list[int], difference: float) -> bool:
    return found == FlippedPair(items=items, difference=found.difference if found else 0) and (
        found.difference == pytest.approx(difference)
    )


RIGHT = [0.1, 0.4, 0.3, 0.2]


def test_the_same_order_is_one_however_far_the_scores_are_apart() -> None:
    for candidate in (RIGHT, [0.01, 0.99, 0.6, 0.5], [score**3 for score in RIGHT]):
        assert ordered(candidate, RIGHT) == Order(6, 0, 1.0, True, None, None)


def test_one_swap_of_neighbours_is_one_flipped_pair_and_its_items_are_named() -> None:
    # Items 2 and 3 swap their scores: of 6 pairs 5 agree and 1 is flipped, (5 - 1) / 6.
    found = ordered([0.1, 0.4, 0.2, 0.3], RIGHT)
    assert (found.pairs, found.flipped, found.top_1) == (6, 1, True)
    assert found.tau == pytest.approx(4 / 6)
    assert is_flip(found.widest, [2, 3], 0.1)


def test_backwards_is_minus_one_and_the_widest_flip_is_the_first_against_the_last() -> None:
    found = ordered([-score for score in RIGHT], RIGHT)
    assert (found.flipped, found.tau, found.top_1) == (6, -1.0, False)
    assert is_flip(found.widest, [1, 0], 0.3)


def test_items_within_the_noise_of_one_another_are_tied_and_either_order_is_right() -> None:
    reference, swapped = [0.5, 0.501, 0.8], [0.501, 0.5, 0.8]
    assert ordered(swapped, reference).flipped == 1
    # Of three pairs two are told apart, and the candidate has both in the reference's order.
    assert ordered(swapped, reference, 0.002) == Order(2, 0, 1.0, True, None, None)
    # The noise floor itself is noise: 0.5 and 0.75 are exactly 0.25 apart.
    assert ordered([0.75, 0.5], [0.5, 0.75], 0.25).pairs == 0


def test_ties_by_noise_need_not_make_groups() -> None:
    # 0.10 and 0.12 are tied, 0.12 and 0.14 are, 0.10 and 0.14 are not.
    reference = [0.10, 0.12, 0.14]
    assert ordered([0.12, 0.14, 0.13], reference, 0.03) == Order(1, 0, 1.0, True, None, None)
    assert ordered([0.14, 0.12, 0.10], reference, 0.03).flipped == 1


def test_an_unknown_noise_floor_counts_as_zero() -> None:
    reference, swapped = [0.5, 0.5 + 1e-12], [0.5 + 1e-12, 0.5]
    assert ordered(swapped, reference, None) == ordered(swapped, reference, 0.0)
    assert ordered(swapped, reference, None).flipped == 1


def test_equal_scores_have_no_order_and_no_tau_that_is_not_a_number() -> None:
    for noise in (0.0, None, 0.5):
        assert ordered([0.1, 0.2, 0.3], [0.3] * 3, noise) == Order(0, 0, None, True, None, None)
    assert ordered([0.1, 0.2], [0.3, 0.4], 0.5).tau is None


def test_a_candidate_that_ties_what_the_reference_tells_apart_flips_nothing_and_has_less() -> None:
    # C = 5, T = 1, D = 0: 5 / sqrt(6 * 5).
    found = ordered([0.1, 0.4, 0.2, 0.2], RIGHT)
    assert (found.flipped, found.tau) == (0, pytest.approx(5 / math.sqrt(30)))
    # No order at all: neither like the reference's nor against it. The first may be any item.
    assert ordered([0.5] * 4, RIGHT) == Order(6, 0, 0.0, False, None, None)


@given(
    st.integers(2, 30).flatmap(
        lambda n: st.tuples(
            st.lists(st.integers(0, 20), min_size=n, max_size=n),
            st.permutations(range(n)),
        )
    )
)
def test_where_the_reference_tells_all_apart_it_is_scipys_tau_b(
    both: tuple[list[int], list[int]],
) -> None:
    candidate, reference = both
    found = ordered(candidate, reference)
    wanted = kendalltau(candidate, reference, variant="b").statistic
    assert found.tau == (0.0 if math.isnan(wanted) else pytest.approx(wanted))
    assert found.pairs == math.comb(len(reference), 2)


@given(
    st.lists(st.tuples(st.floats(0, 1), st.floats(0, 1)), min_size=2, max_size=40),
    st.sampled_from([0.0, 1e-6, 0.1]),
)
def test_pairs_and_flips_are_those_of_a_loop_over_all_pairs_whatever_the_block(
    scores: list[tuple[float, float]], noise: float
) -> None:
    candidate, reference = map(list, zip(*scores, strict=True))
    told = flipped = 0
    for i, (mine, right) in enumerate(scores):
        for other, wrong in scores[:i]:
            apart = abs(right - wrong) > noise
            told += apart
            flipped += apart and mine != other and (right > wrong) != (mine > other)
    found = ordered(candidate, reference, noise)
    assert (found.pairs, found.flipped) == (told, flipped)
    assert found.tau is None or -1 <= found.tau <= 1
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ranking, "_PAIRS_AT_ONCE", 3)
        assert ordered(candidate, reference, noise) == found


def test_the_first_ten_are_counted_and_only_where_there_are_more_items() -> None:
    reference = [i / 100 for i in range(12)]
    # Items 0 and 1 are the last two; the candidate has item 1 first and item 11 last.
    candidate = [*reference]
    candidate[1], candidate[11] = 0.9, -0.9
    found = ordered(candidate, reference)
    assert (found.top_1, found.top_10) == (False, 9)
    assert ordered(reference[:10], reference[:10]).top_10 is None
    assert ordered([0.5], [0.7]) == Order(0, 0, None, None, None, None)


def test_who_is_within_the_noise_of_the_last_place_is_among_the_first() -> None:
    # The tenth of the reference has 0.02, the eleventh 0.01.
    reference = [i / 100 for i in range(12)]
    candidate = [*reference]
    candidate[1], candidate[2] = 0.02, 0.01
    assert ordered(candidate, reference).top_10 == 9
    assert ordered(candidate, reference, 0.011).top_10 == 10
    first = [*reference]
    first[10], first[11] = 0.11, 0.10
    assert (ordered(first, reference).top_1, ordered(first, reference, 0.011).top_1) == (
        *(False, True),
    )


def test_of_items_that_the_candidate_ties_the_wrong_ones_come_first() -> None:
    reference = [i / 100 for i in range(12)]
    # Two of twelve are wrong, and the candidate's order may put both among the first ten.
    assert ordered([0.5] * 12, reference).top_10 == 8
    assert ordered([0.5] * 12, [0.5] * 12).top_10 == 10


REFERENCE = frame(passes({2: 1.0}))


def swapping(run: int) -> pl.DataFrame:
    """Items 1 and 2, with reference scores 0.2 apart, change places in one run."""

    def score(phase: Phase, chunk: int, r: int, item: int) -> float:
        return plain_score(phase, chunk, r, {1: 2, 2: 1}.get(item, item) if r == run else item)

    return frame(passes({2: 1.0}, score=score))


def test_the_worst_pass_of_a_cell_counts_and_is_named() -> None:
    kept = rank(REFERENCE, REFERENCE, 2, 1e-7)
    assert (kept.kept, kept.tau, kept.flipped_pairs, kept.pairs) == (True, 1.0, 0, 6)
    assert (kept.items, kept.compared_passes, kept.noise) == (4, 5, 1e-7)
    assert (kept.top_1, kept.top_10, kept.widest_flip) == (True, None, None)

    found = rank(swapping(run=3), REFERENCE, 2, 1e-7)
    assert (found.kept, found.flipped_pairs, found.worst_pass) == (False, 1, "sweep 3")
    assert found.tau == pytest.approx(4 / 6)
    assert is_flip(found.widest_flip, [2, 1], 0.2)


def test_the_first_label_sorts_and_the_others_do_not() -> None:
    # The second label's scores are 1 minus the first's, so they would turn the order round.
    assert rank(REFERENCE, REFERENCE, 2, 0.0).flipped_pairs == 0
    alone = frame(one_pass("sweep", 2, 0, 1.0, labels=1))
    assert rank(alone, alone, 1, 0.0).kept is True


def test_only_identical_requests_are_compared_and_nothing_is_made_of_none() -> None:
    salted = frame(one_pass("sweep", 2, 0, 1.0, salt=[1, 2, 3]))
    nothing = Ranking(compared_passes=0, noise=0.5, **dict.fromkeys(EMPTY))
    assert rank(salted, REFERENCE, 2, 0.5) == nothing
    assert rank(REFERENCE.clear(), REFERENCE, 2, 0.5) == nothing
    assert nothing.kept is None


EMPTY = set(Ranking.model_fields) - {"compared_passes", "noise"}


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_scores_that_are_no_numbers_have_no_order(bad: float) -> None:
    def score(phase: Phase, chunk: int, run: int, item: int) -> float:
        return bad if (run, item) == (1, 1) else plain_score(phase, chunk, run, item)

    odd = frame(passes({2: 1.0}, score=score))
    assert rank(odd, REFERENCE, 2, 0.0).compared_passes == 4
    assert rank(REFERENCE, odd, 2, 0.0).tau == 1


def test_the_larger_noise_floor_counts_and_an_unknown_one_does_not() -> None:
    def floors(*known: float | None) -> list[NoiseFloor]:
        return [NoiseFloor(repeats=5, max_abs_diff=one) for one in known]

    assert largest_noise(floors(1e-7, 0.0)) == 1e-7
    assert largest_noise(floors(None, 0.0)) == 0.0
    assert largest_noise(floors(None, None)) is None


LIMITS = RankingGate(min_tau=0.9, max_flips=2)


def found(**changes: object) -> Ranking:
    return rank(REFERENCE, REFERENCE, 2, 0.0).model_copy(update=changes)


@pytest.mark.parametrize(
    ("tau", "flips", "passes"),
    [
        (1.0, 0, True),
        (0.9, 2, True),
        (math.nextafter(0.9, 0), 2, False),
        (0.9, 3, False),
        (-1.0, 6, False),
    ],
)
def test_both_limits_are_themselves_allowed_and_both_must_hold(
    tau: float, flips: int, passes: bool
) -> None:
    given = found(tau=tau, flipped_pairs=flips)
    failed = Reason(code="ranking_failed", tau=tau, min_tau=0.9, flips=flips, max_flips=2)
    assert ranking_reasons(given, LIMITS) == ([] if passes else [failed])


def test_the_order_bars_nothing_where_it_is_not_gated_or_nothing_can_be_said() -> None:
    wrong = found(tau=-1.0, flipped_pairs=6)
    assert ranking_reasons(wrong, None) == []
    assert ranking_reasons(None, LIMITS) == []
    # The gate has a reason for a cell without a compared pass; one item has only one order.
    assert ranking_reasons(rank(REFERENCE.clear(), REFERENCE, 2, 0.0), LIMITS) == []
    alone = frame(one_pass("sweep", 1, 0, 1.0, items=1))
    assert ranking_reasons(rank(alone, alone, 2, 0.0), LIMITS) == []


def test_a_gated_order_of_items_that_nobody_can_tell_apart_does_not_pass() -> None:
    flat = rank(REFERENCE, REFERENCE, 2, 0.9)
    assert (flat.tau, flat.flipped_pairs, flat.pairs) == (None, 0, 0)
    assert ranking_reasons(flat, LIMITS) == [Reason(code="ranking_unknown")]
