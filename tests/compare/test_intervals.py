"""Intervals: published values, what must hold of any of them, and that their level is true."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from click import ClickException
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.candidates import (
    CHOSEN_MEAN,
    CHOSEN_MEDIAN,
    CHOSEN_RATIO,
    MEAN_METHODS,
    MEDIAN_METHODS,
    RATIO_METHODS,
)
from benchmarks.coverage import (
    PAIRS,
    PASSES,
    SECTION,
    of_median,
    of_pairs,
    printed_level,
    share_covered,
    share_of_pairs,
)
from benchmarks.methodology import between_markers, markers
from benchmarks.noise import NOISES, cells_of, spread
from stages.common.student import student_p, student_quantile, welch
from stages.compare.intervals import (
    NOMINAL,
    ORDER_STATISTICS,
    STUDENT,
    SUPPORTED_LEVELS,
    TARGET,
    WELCH,
    WeightedPair,
    mean_interval,
    mean_ratio_bounds,
    mean_ratio_interval,
    median_interval,
    order_bounds,
    order_coverage,
    order_rank,
    rate_interval,
    ratio_bounds,
    ratio_interval,
    student_bounds,
    supported,
)
from stages.documents.comparison import Interval

DRAWS = 40_000
PAIR_DRAWS = 8_000
METHODOLOGY = Path(__file__).parents[2] / "docs/methodology.md"
BEGIN, END = markers(SECTION)

several = st.lists(st.floats(1e-3, 1e3), min_size=2, max_size=15).map(np.array)


@pytest.mark.parametrize(
    ("freedom", "quantile"),
    # The usual table of Student's t, two-sided 95 %.
    [(1, 12.706), (2, 4.303), (3, 3.182), (4, 2.776), (6, 2.447), (11, 2.201), (120, 1.980)],
)
def test_students_quantiles_are_the_published_ones(freedom: int, quantile: float) -> None:
    assert student_quantile(0.975, freedom) == pytest.approx(quantile, abs=5e-4)
    assert student_p(float(student_quantile(0.975, freedom)), freedom) == pytest.approx(0.05)


def test_students_quantiles_where_they_have_a_closed_form() -> None:
    # One degree of freedom is Cauchy's distribution; for two, t = (2p - 1) / sqrt(2p(1 - p)).
    assert student_quantile(0.985, 1) == pytest.approx(math.tan(math.pi * 0.485))
    assert student_quantile(0.985, 2) == pytest.approx(0.97 / math.sqrt(2 * 0.985 * 0.015))
    assert student_p(0.0, 5) == 1.0


def test_students_interval_of_his_own_sleep_data() -> None:
    # Student (1908): extra hours of sleep; the 95 % interval is 0.70 to 2.46.
    extra = np.array([1.2, 2.4, 1.3, 1.3, 0.0, 1.0, 1.8, 0.8, 4.6, 1.4])
    low, high = student_bounds(extra, 0.95)

    assert (float(low), float(high)) == pytest.approx((0.7001142, 2.4598858), abs=1e-6)


def test_the_interval_of_five_passes_by_hand() -> None:
    made = mean_interval(np.array([1.0, 2.0, 3.0, 4.0, 5.0]) + 10)

    # Mean 13, deviation sqrt(2.5), t at 98.5 % with 4 degrees of freedom 3.298.
    half = 3.298 * math.sqrt(2.5 / 5)
    assert made is not None
    assert (made.low, made.high) == pytest.approx((13 - half, 13 + half), abs=1e-3)
    assert (made.level, made.method) == (0.90, STUDENT)


@pytest.mark.parametrize(
    ("passes", "rank", "covered"),
    # Ranks and levels of the distribution-free interval of the median, as tabulated.
    [
        (5, 1, 0.9375),
        (6, 1, 0.9688),
        (8, 1, 0.9922),
        (9, 2, 0.9609),
        (12, 3, 0.9614),
        (15, 4, 0.9648),
    ],
)
def test_order_statistics_are_the_tabulated_ones(passes: int, rank: int, covered: float) -> None:
    assert order_rank(passes) == rank
    assert order_coverage(passes, rank) == pytest.approx(covered, abs=5e-5)
    assert passes < 6 or order_coverage(passes, rank + 1) < TARGET


def test_the_interval_of_the_median_is_two_of_the_passes() -> None:
    made = median_interval(np.array([9.0, 1.0, 8.0, 2.0, 7.0, 3.0, 6.0, 4.0, 5.0]))

    assert made == Interval(low=2.0, high=8.0, level=0.95, method=ORDER_STATISTICS)


def test_items_per_second_swap_the_ends() -> None:
    mean = Interval(low=2.0, high=4.0, level=0.9, method=STUDENT)

    assert rate_interval(8, mean) == Interval(low=2.0, high=4.0, level=0.9, method=STUDENT)
    assert rate_interval(80, mean) == Interval(low=20.0, high=40.0, level=0.9, method=STUDENT)


def test_a_mean_that_may_be_zero_leaves_the_rate_without_an_upper_end() -> None:
    mean = mean_interval(np.array([0.1, 3.0]))
    assert mean is not None
    assert mean.low == 0.0
    rate = rate_interval(10, mean)

    assert rate is not None
    assert rate.high is None
    assert rate.low == pytest.approx(10 / (mean.high or 0))


@pytest.mark.parametrize("seconds", [[], [1.0], [1.0, math.nan], [1.0, math.inf, 2.0]])
def test_too_few_or_broken_passes_have_no_interval(seconds: list[float]) -> None:
    assert mean_interval(np.array(seconds)) is None
    assert median_interval(np.array(seconds)) is None
    assert rate_interval(10, None) is None


def test_the_degrees_of_freedom_are_welchs() -> None:
    # Variances 4/10 and 16/5 of the two means: 3.6^2 / (0.4^2 / 9 + 3.2^2 / 4) = 5.03.
    error, freedom = welch(np.array([math.sqrt(0.4)]), np.array([math.sqrt(3.2)]), 9, 4)

    assert error == pytest.approx([math.sqrt(3.6)])
    assert freedom.tolist() == [5.0]
    # Equal errors of five passes each share all eight degrees of freedom.
    assert welch(np.array([0.3]), np.array([0.3]), 4, 4)[1].tolist() == [8.0]


def test_the_interval_of_a_ratio_by_hand() -> None:
    slow = np.array([1.0, 2.0, 3.0, 4.0, 5.0]) + 10
    fast = slow / 2
    made = ratio_interval(slow, fast)

    # Mean 13, deviation sqrt(2.5): relative error sqrt(0.5) / 13 on either side, hence
    # 1 / 13 together, with 8 degrees of freedom, whose quantile at 98.5 % is 2.634.
    assert made is not None
    assert made.low == pytest.approx(2 * math.exp(-2.634 / 13), abs=1e-4)
    assert made.high == pytest.approx(2 * math.exp(2.634 / 13), abs=1e-4)
    assert (made.level, made.method) == (0.90, WELCH)


def test_the_side_with_fewer_passes_sets_the_level_of_a_ratio() -> None:
    five, twelve = np.arange(1.0, 6.0) + 9, np.arange(1.0, 13.0) + 9

    for pair in ((five, twelve), (twelve, five)):
        made = ratio_interval(*pair)
        assert made is not None
        assert made.level == SUPPORTED_LEVELS[5].ratio
    both = ratio_interval(twelve, twelve)
    assert both is not None
    assert both.level == TARGET


def test_passes_without_spread_leave_the_ratio_without_doubt() -> None:
    made = ratio_interval(np.array([3.0, 3.0]), np.array([4.0, 4.0, 4.0]))

    assert made is not None
    assert (made.low, made.high) == (0.75, 0.75)


@pytest.mark.parametrize("broken", [[], [1.0], [1.0, math.nan], [math.inf, 1.0], [0.0, 0.0]])
def test_a_ratio_needs_two_passes_and_time_on_both_sides(broken: list[float]) -> None:
    fine = np.array([1.0, 2.0])

    assert ratio_interval(np.array(broken), fine) is None
    assert ratio_interval(fine, np.array(broken)) is None


@given(several, several)
def test_a_ratio_lies_in_its_interval_and_turned_round_it_is_the_same_answer(
    one: np.ndarray, other: np.ndarray
) -> None:
    there, back = ratio_interval(one, other), ratio_interval(other, one)
    assert there is not None
    assert back is not None
    assert there.high is not None

    assert 0 <= there.low <= float(one.mean() / other.mean()) <= there.high
    assert back.low == pytest.approx(1 / there.high)
    assert there.low == pytest.approx(1 / (back.high or math.inf))


@given(several, several, st.integers(-8, 8))
def test_the_unit_of_time_cancels_out_of_a_ratio(
    one: np.ndarray, other: np.ndarray, power: int
) -> None:
    assert ratio_interval(one * 2.0**power, other * 2.0**power) == ratio_interval(one, other)


@given(several)
def test_an_interval_contains_its_figure(seconds: np.ndarray) -> None:
    mean, median = mean_interval(seconds), median_interval(seconds)
    assert mean is not None
    assert median is not None
    assert mean.high is not None
    assert median.high is not None

    assert mean.low <= float(seconds.mean()) <= mean.high
    assert median.low <= float(np.quantile(seconds, 0.5)) <= median.high
    rate = rate_interval(100, mean)
    assert rate is not None
    assert rate.low <= 100 / float(seconds.mean()) <= (rate.high or math.inf)


@given(several, st.integers(-8, 8))
def test_another_unit_of_time_scales_the_intervals(seconds: np.ndarray, power: int) -> None:
    # Powers of two, so that nothing is rounded and equal means equal.
    scale = 2.0**power
    for make in (mean_interval, median_interval):
        one, other = make(seconds), make(seconds * scale)
        assert one is not None
        assert other is not None
        assert one.high is not None
        assert (other.low, other.high) == (one.low * scale, one.high * scale)


@given(several, st.randoms(use_true_random=False))
def test_the_median_interval_does_not_depend_on_the_order(seconds: np.ndarray, random) -> None:
    shuffled = list(seconds)
    random.shuffle(shuffled)

    assert median_interval(np.array(shuffled)) == median_interval(seconds)


def test_more_passes_at_equal_noise_do_not_widen_the_interval_on_average() -> None:
    widths = []
    for passes in range(2, 15):
        low, high = student_bounds(cells_of("normal", passes, DRAWS), NOMINAL)
        widths.append(float((high - low).mean()))

    assert widths == sorted(widths, reverse=True)


@pytest.mark.parametrize("name", MEAN_METHODS)
def test_every_method_gives_the_same_bits_again_and_contains_the_mean(name: str) -> None:
    seconds = cells_of("lognormal", 7, 50)
    low, high = MEAN_METHODS[name](seconds)
    again = MEAN_METHODS[name](cells_of("lognormal", 7, 50))

    assert np.array_equal(low, again[0])
    assert np.array_equal(high, again[1])
    mean = seconds.mean(axis=-1)
    assert ((low <= mean) & (mean <= high)).all()


def test_the_chosen_methods_are_those_of_the_pipeline() -> None:
    seconds = cells_of("bimodal", 7, 1)
    for chosen, make in (
        (MEAN_METHODS[CHOSEN_MEAN], mean_interval),
        (MEDIAN_METHODS[CHOSEN_MEDIAN], median_interval),
    ):
        low, high = chosen(seconds)
        used = make(seconds[0])
        assert used is not None
        assert (used.low, used.high) == (low[0], high[0])


@pytest.mark.parametrize("name", RATIO_METHODS)
def test_every_method_for_ratios_gives_the_same_bits_again_and_contains_the_ratio(
    name: str,
) -> None:
    pair = cells_of("lognormal", 7, 50), cells_of("bimodal", 5, 50, "denominator")
    low, high = RATIO_METHODS[name](*pair)
    again = RATIO_METHODS[name](*pair)

    assert np.array_equal(low, again[0])
    assert np.array_equal(high, again[1])
    ratio = pair[0].mean(axis=-1) / pair[1].mean(axis=-1)
    assert ((low <= ratio) & (ratio <= high)).all()


def test_fieller_has_no_ends_where_the_denominator_may_be_zero() -> None:
    low, high = RATIO_METHODS["Fieller"](np.array([[1.0, 1.1]]), np.array([[0.1, 3.0]]))

    assert (low[0], high[0]) == (-math.inf, math.inf)


def test_both_sides_of_a_simulated_ratio_are_drawn_apart() -> None:
    one, other = cells_of("normal", 7, 2000), cells_of("normal", 7, 2000, "denominator")

    assert abs(float(np.corrcoef(one.ravel(), other.ravel())[0, 1])) < 0.05


def test_the_chosen_method_for_ratios_is_that_of_the_pipeline() -> None:
    numerator, denominator = cells_of("drift", 5, 1), cells_of("bimodal", 7, 1, "denominator")
    low, high = RATIO_METHODS[CHOSEN_RATIO](numerator, denominator)
    used = ratio_interval(numerator[0], denominator[0])

    assert used is not None
    assert (used.low, used.high) == (pytest.approx(low[0]), pytest.approx(high[0]))


def reached(share: float, level: float, draws: int = DRAWS) -> bool:
    """Whether ``share`` of the draws is ``level``, within three Monte-Carlo standard errors."""
    return share + 3 * math.sqrt(level * (1 - level) / draws) >= level


def worst_mean(passes: int, nominal: float) -> float:
    return min(
        share_covered(lambda x: student_bounds(x, nominal), cells_of(kind, passes, DRAWS), of.mean)
        for kind, of in NOISES.items()
    )


def worst_median(passes: int) -> float:
    return min(
        share_covered(order_bounds, cells_of(kind, passes, DRAWS), of.median)
        for kind, of in NOISES.items()
    )


def worst_ratio(passes: tuple[int, int], nominal: float) -> float:
    def method(numerator: np.ndarray, denominator: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        return ratio_bounds(numerator, denominator, nominal)

    return min(share for *_, share in of_pairs(method, passes, PAIR_DRAWS))


@pytest.mark.parametrize("passes", SUPPORTED_LEVELS)
def test_the_printed_levels_of_a_ratio_are_supported_whatever_the_other_sides_passes(
    passes: int,
) -> None:
    level = SUPPORTED_LEVELS[passes].ratio

    # Turned round, a pair has the same coverage, so the smaller number may stand first.
    for other in (passes, passes + 2, 30):
        assert reached(worst_ratio((passes, other), NOMINAL), level, PAIR_DRAWS), other


def test_a_ratios_level_that_promises_too_much_is_found_out() -> None:
    assert not reached(worst_ratio((5, 7), NOMINAL), SUPPORTED_LEVELS[5].ratio + 0.05, PAIR_DRAWS)
    assert not reached(worst_ratio((7, 7), 0.93), TARGET, PAIR_DRAWS)


def pairs_of(*sides: tuple[np.ndarray, np.ndarray], weights: Sequence[float] = ()) -> list:
    shares = np.array(weights or [1.0] * len(sides))
    shares = shares / shares.sum()
    return [WeightedPair(*both, float(w)) for both, w in zip(sides, shares, strict=True)]


def test_the_interval_of_a_mean_of_two_ratios_by_hand() -> None:
    slow = np.array([1.0, 2.0, 3.0, 4.0, 5.0]) + 10
    made = mean_ratio_interval(pairs_of((slow, slow / 2), (slow, slow / 8)))

    # sqrt(2 x 8) = 4. Each side has a relative error of sqrt(0.5) / 13, of which a half counts:
    # four of them together are sqrt(0.5) / 13, with 16 degrees of freedom, 2.3815 at 98.5 %.
    assert made is not None
    half = 2.3815 * math.sqrt(0.5) / 13
    assert (made.low, made.high) == pytest.approx(
        (4 * math.exp(-half), 4 * math.exp(half)), rel=1e-4
    )
    assert (made.level, made.method) == (0.90, WELCH)


def test_a_weight_says_what_a_ratio_and_its_error_count_for() -> None:
    steady, slow = np.array([8.0, 8.0, 8.0]), np.array([1.0, 2.0, 3.0]) + 10
    made = mean_ratio_interval(pairs_of((steady, steady / 8), (slow, slow / 2), weights=(1, 3)))

    # 8^(1/4) x 2^(3/4); the first ratio has no error, and three quarters of the second's count.
    assert made is not None
    error = 0.75 * math.sqrt(2) * math.sqrt(1 / 3) / 12
    half = float(student_quantile(0.985, 4)) * error
    mean = 8**0.25 * 2**0.75
    assert (made.low, made.high) == pytest.approx((mean * math.exp(-half), mean * math.exp(half)))


@given(several, several)
def test_the_mean_of_one_ratio_has_that_ratios_interval(one: np.ndarray, other: np.ndarray) -> None:
    alone, of_one = ratio_interval(one, other), mean_ratio_interval(pairs_of((one, other)))
    assert alone is not None
    assert of_one is not None

    assert (of_one.low, of_one.high) == pytest.approx((alone.low, alone.high))
    assert (of_one.level, of_one.method) == (alone.level, alone.method)


weighted = st.lists(st.tuples(several, several, st.floats(0.1, 10)), min_size=1, max_size=6).map(
    lambda found: pairs_of(*((a, b) for a, b, _ in found), weights=[w for *_, w in found])
)


@given(weighted)
def test_a_mean_ratio_lies_in_its_interval_and_turned_round_it_is_the_same_answer(
    pairs: list[WeightedPair],
) -> None:
    turned = [WeightedPair(p.denominator, p.numerator, p.weight) for p in pairs]
    there, back = mean_ratio_interval(pairs), mean_ratio_interval(turned)
    assert there is not None
    assert back is not None
    assert there.high is not None

    logs = [p.weight * math.log(p.numerator.mean() / p.denominator.mean()) for p in pairs]
    mean = math.exp(sum(logs))
    assert there.low <= mean * (1 + 1e-9)
    assert mean <= there.high * (1 + 1e-9)
    assert (back.low, back.high) == pytest.approx((1 / there.high, 1 / there.low))


def test_the_cell_with_the_fewest_passes_sets_the_level_of_a_mean_ratio() -> None:
    five, twelve = np.arange(1.0, 6.0) + 9, np.arange(1.0, 13.0) + 9

    made = mean_ratio_interval(pairs_of((twelve, twelve), (twelve, five)))
    assert made is not None
    assert made.level == SUPPORTED_LEVELS[5].ratio
    both = mean_ratio_interval(pairs_of((twelve, twelve), (twelve, twelve)))
    assert both is not None
    assert both.level == TARGET


@pytest.mark.parametrize("broken", [[], [1.0], [1.0, math.nan], [math.inf, 1.0], [0.0, 0.0]])
def test_one_cell_without_an_interval_leaves_the_mean_ratio_without_one(
    broken: list[float],
) -> None:
    fine = np.array([1.0, 2.0])

    assert mean_ratio_interval(pairs_of((fine, fine), (fine, np.array(broken)))) is None
    assert mean_ratio_interval(pairs_of((np.array(broken), fine), (fine, fine))) is None


def share_of_means(kinds: Sequence[str], passes: int, wide: float, nominal: float) -> float:
    """Coverage of the mean ratio over workloads whose cells have these kinds of noise."""
    cells = [
        [
            np.array_split(cells_of(kind, passes, len(kinds) * PAIR_DRAWS, side), len(kinds))[i]
            for i, kind in enumerate(kinds)
        ]
        for side in ("numerator", "denominator")
    ]
    numerators, denominators = cells
    # One workload is measured three times as precisely on one side, another on the other.
    shares = [(1.0, wide) if i % 2 else (wide, 1.0) for i in range(len(kinds))]
    sides = [
        (spread(a, of_a), spread(b, of_b))
        for a, b, (of_a, of_b) in zip(numerators, denominators, shares, strict=True)
    ]
    low, high = mean_ratio_bounds(pairs_of(*sides), nominal)
    return float(((low <= 1) & (high >= 1)).mean())


def worst_mean_ratio(workloads: int, passes: int, nominal: float) -> float:
    every = [[kind] * workloads for kind in NOISES]
    mixed = [[[*NOISES][(i + first) % len(NOISES)] for i in range(workloads)] for first in (0, 1)]
    return min(
        share_of_means(kinds, passes, wide, nominal)
        for kinds in (*every, *mixed)
        for wide in (1.0, 0.3)
    )


@pytest.mark.parametrize("passes", [5, 7])
@pytest.mark.parametrize("workloads", [2, 6])
def test_the_printed_levels_of_a_mean_ratio_are_supported(workloads: int, passes: int) -> None:
    level = SUPPORTED_LEVELS[passes].ratio

    assert reached(worst_mean_ratio(workloads, passes, NOMINAL), level, PAIR_DRAWS)


def test_a_mean_ratios_level_that_promises_too_much_is_found_out() -> None:
    assert not reached(worst_mean_ratio(2, 7, 0.91), TARGET, PAIR_DRAWS)
    assert not reached(worst_mean_ratio(6, 7, 0.91), TARGET, PAIR_DRAWS)


def skewed(variation: float, passes: int) -> np.ndarray:
    """Lognormal cells of mean 1."""
    variance = math.log(1 + variation**2)
    logs = np.random.default_rng(5).standard_normal((DRAWS, passes)) * math.sqrt(variance)
    return np.exp(logs - variance / 2)


def test_the_interval_of_a_ratio_stands_skew_that_fiellers_does_not() -> None:
    steady = 1 + (cells_of("normal", 7, DRAWS, "denominator") - 1) / 2
    chosen, rival = RATIO_METHODS[CHOSEN_RATIO], RATIO_METHODS["Fieller, 97 % quantile"]

    assert share_of_pairs(chosen, skewed(0.5, 7), steady) == pytest.approx(0.96, abs=0.005)
    assert share_of_pairs(chosen, skewed(0.8, 7), steady) == pytest.approx(0.945, abs=0.005)
    assert share_of_pairs(rival, skewed(0.5, 7), steady) == pytest.approx(0.95, abs=0.005)
    assert share_of_pairs(rival, skewed(0.8, 7), steady) == pytest.approx(0.92, abs=0.005)


@pytest.mark.parametrize("passes", SUPPORTED_LEVELS)
def test_the_printed_levels_are_supported(passes: int) -> None:
    levels = SUPPORTED_LEVELS[passes]

    assert reached(worst_mean(passes, NOMINAL), levels.mean)
    assert reached(worst_median(passes), levels.median)
    # The median's level does not hang on the noise: it follows from counting.
    assert levels.median == printed_level(order_coverage(passes, order_rank(passes)))


def test_a_level_that_promises_too_much_is_found_out() -> None:
    # One step more at five passes, and 95 % from the usual quantile at seven.
    assert not reached(worst_mean(5, NOMINAL), SUPPORTED_LEVELS[5].mean + 0.05)
    assert not reached(worst_median(5), SUPPORTED_LEVELS[5].median + 0.05)
    assert not reached(worst_mean(7, 0.95), TARGET)


def test_more_than_twelve_passes_count_as_twelve() -> None:
    assert supported(500) == supported(12)
    assert reached(worst_mean(30, NOMINAL), supported(30).mean)
    assert reached(worst_median(30), supported(30).median)


@pytest.mark.parametrize("passes", [7, 12])
def test_no_rival_reaches_the_level_of_the_chosen_method(passes: int) -> None:
    worst = {
        name: min(share_covered(method, cells_of(k, passes, 4000), NOISES[k].mean) for k in NOISES)
        for name, method in MEAN_METHODS.items()
    }

    assert {name for name, share in worst.items() if printed_level(share) >= TARGET} == {
        CHOSEN_MEAN
    }


def test_the_level_is_rounded_down_to_a_multiple_of_five_percent() -> None:
    assert [printed_level(x) for x in (0.9499, 0.95, 0.999, 0.9, 0.85, 0.8499)] == [
        0.90,
        0.95,
        0.95,
        0.90,
        0.85,
        0.80,
    ]


def test_the_methodology_prints_the_levels_in_use() -> None:
    page = METHODOLOGY.read_text()
    table = page[page.index(BEGIN) : page.index(END)]
    # Method, passes, a share a kind of noise and the worst, the level in print.
    found = re.findall(r"\| ([^|]+) \(used\) \| ([\d/ ]+) \|(?: [\d.]+ \|)+ (\d+)% \|", table)
    told = {(name, passes): int(level) / 100 for name, passes, level in found}

    assert told == {
        **{(CHOSEN_MEAN, str(n)): SUPPORTED_LEVELS[n].mean for n in PASSES},
        **{(CHOSEN_MEDIAN, str(n)): SUPPORTED_LEVELS[n].median for n in PASSES},
        **{(CHOSEN_RATIO, f"{n} / {m}"): SUPPORTED_LEVELS[min(n, m)].ratio for n, m in PAIRS},
    }


def test_the_tables_go_between_the_markers_and_nowhere_else() -> None:
    page = f"before\n{BEGIN}\nold\n{END}\nafter"

    assert between_markers(page, "new", SECTION) == f"before\n{BEGIN}\nnew\n{END}\nafter"
    with pytest.raises(ClickException):
        between_markers("no markers", "new", SECTION)


def test_the_median_is_simulated_too() -> None:
    simulated = of_median(CHOSEN_MEDIAN, 7, 8000)

    # 1 - 2 / 2^7 for passes that do not depend on each other.
    for kind in ("normal", "lognormal", "bimodal"):
        assert simulated.shares[kind] == pytest.approx(0.984375, abs=0.005)
