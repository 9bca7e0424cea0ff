"""Intervals: published values, what must hold of any of them, and that their level is true."""

from __future__ import annotations

import math
import re
from pathlib import Path

import numpy as np
import pytest
from click import ClickException
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.candidates import CHOSEN_MEAN, CHOSEN_MEDIAN, MEAN_METHODS, MEDIAN_METHODS
from benchmarks.coverage import (
    BEGIN,
    END,
    NOISES,
    between_markers,
    cells_of,
    of_median,
    printed_level,
    share_covered,
)
from stages.compare.intervals import (
    NOMINAL,
    ORDER_STATISTICS,
    STUDENT,
    SUPPORTED_LEVELS,
    TARGET,
    mean_interval,
    median_interval,
    order_bounds,
    order_coverage,
    order_rank,
    rate_interval,
    student_bounds,
    student_cdf,
    student_quantile,
    supported,
)
from stages.comparison import Interval

DRAWS = 40_000
METHODOLOGY = Path(__file__).parents[2] / "docs/methodology.md"

several = st.lists(st.floats(1e-3, 1e3), min_size=2, max_size=15).map(np.array)


@pytest.mark.parametrize(
    ("freedom", "quantile"),
    # The usual table of Student's t, two-sided 95 %.
    [(1, 12.706), (2, 4.303), (3, 3.182), (4, 2.776), (6, 2.447), (11, 2.201), (120, 1.980)],
)
def test_students_quantiles_are_the_published_ones(freedom: int, quantile: float) -> None:
    assert student_quantile(0.975, freedom) == pytest.approx(quantile, abs=5e-4)
    assert student_cdf(student_quantile(0.975, freedom), freedom) == pytest.approx(0.975)


def test_students_quantiles_where_they_have_a_closed_form() -> None:
    # One degree of freedom is Cauchy's distribution; for two, t = (2p - 1) / sqrt(2p(1 - p)).
    assert student_quantile(0.985, 1) == pytest.approx(math.tan(math.pi * 0.485))
    assert student_quantile(0.985, 2) == pytest.approx(0.97 / math.sqrt(2 * 0.985 * 0.015))
    assert student_cdf(0.0, 5) == 0.5


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


def reached(share: float, level: float) -> bool:
    """Whether ``share`` of the draws is ``level``, within three Monte-Carlo standard errors."""
    return share + 3 * math.sqrt(level * (1 - level) / DRAWS) >= level


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
    # Method, passes, a share a kind of noise, the worst, the level in print.
    shares = rf"(?: [\d.]+ \|){{{len(NOISES) + 1}}}"
    found = re.findall(rf"\| ([^|]+) \(used\) \| (\d+) \|{shares} (\d+)% \|", table)
    told = {(name, int(passes)): int(level) / 100 for name, passes, level in found}

    assert told == {
        **{(CHOSEN_MEAN, n): SUPPORTED_LEVELS[n].mean for n in (5, 7, 12)},
        **{(CHOSEN_MEDIAN, n): SUPPORTED_LEVELS[n].median for n in (5, 7, 12)},
    }


def test_the_tables_go_between_the_markers_and_nowhere_else() -> None:
    page = f"before\n{BEGIN}\nold\n{END}\nafter"

    assert between_markers(page, "new") == f"before\n{BEGIN}\nnew\n{END}\nafter"
    with pytest.raises(ClickException):
        between_markers("no markers", "new")


def test_the_median_is_simulated_too() -> None:
    simulated = of_median(CHOSEN_MEDIAN, 7, 8000)

    # 1 - 2 / 2^7 for passes that do not depend on each other.
    for kind in ("normal", "lognormal", "bimodal"):
        assert simulated.shares[kind] == pytest.approx(0.984375, abs=0.005)
