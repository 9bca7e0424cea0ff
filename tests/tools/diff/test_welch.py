"""Student's t against its published table, Welch worked by hand, Holm's correction."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stages.common.student import student_p, student_quantile
from tools.diff.welch import contrast, holm

# Two-sided levels; the usual printed table, three decimals.
TABLE = [
    (0.05, 1, 12.706),
    (0.05, 2, 4.303),
    (0.05, 3, 3.182),
    (0.05, 4, 2.776),
    (0.05, 7, 2.365),
    (0.05, 10, 2.228),
    (0.05, 12, 2.179),
    (0.05, 30, 2.042),
    (0.01, 5, 4.032),
    (0.01, 10, 3.169),
    (0.001, 8, 5.041),
    (0.001, 12, 4.318),
]


@pytest.mark.parametrize(("level", "freedom", "value"), TABLE)
def test_student_t_is_the_published_table(level: float, freedom: int, value: float) -> None:
    assert student_quantile(1 - level / 2, freedom) == pytest.approx(value, abs=5.1e-4)
    assert student_p(value, freedom) == pytest.approx(level, rel=2e-3)


def test_welch_worked_by_hand() -> None:
    # Means 10 and 5, variances 4 and 1: both means are off by sqrt(4/3)/10 = sqrt(1/3)/5 of
    # themselves, so the error is sqrt(2 * 0.01333) = 0.1633 with 4 degrees of freedom.
    # t = ln 2 / 0.1633 = 4.2447; with tan a = t/2, p = 1 - sin a (1 + cos^2 a / 2) = 0.01321.
    found = contrast([8, 10, 12], [4, 5, 6])
    assert found is not None
    assert found.ratio == 2
    assert found.freedom == 4
    assert found.error == pytest.approx(0.16330, abs=1e-5)
    assert found.p == pytest.approx(0.01321, abs=1e-5)
    # 2 / and * exp(2.7764 * 0.1633) = 1.5737.
    assert found.bounds(0.05) == pytest.approx((1.2709, 3.1473), abs=2e-4)


def test_unequal_spreads_leave_fewer_degrees_of_freedom() -> None:
    # One side without any spread counts for nothing: 3 - 1 remain.
    found = contrast([8, 10, 12], [5, 5, 5])
    assert found is not None
    assert found.freedom == 2


@pytest.mark.parametrize("passes", [[], [1.0]])
def test_one_pass_shows_no_noise(passes: list[float]) -> None:
    assert contrast(passes, [1.0, 1.1]) is None
    assert contrast([1.0, 1.1], passes) is None


def test_passes_without_any_spread_differ_or_do_not() -> None:
    same, other = contrast([1.0, 1.0], [1.0, 1.0]), contrast([2.0, 2.0], [1.0, 1.0])
    assert same is not None
    assert other is not None
    assert (same.p, other.p) == (1.0, 0.0)
    assert other.bounds(0.05) == (2.0, 2.0)


seconds = st.lists(st.floats(0.01, 100), min_size=2, max_size=12)


@given(seconds, seconds, st.sampled_from([0.05, 0.01, 0.002]))
def test_the_interval_leaves_out_one_exactly_where_p_is_below_its_level(
    old: list[float], new: list[float], level: float
) -> None:
    found = contrast(old, new)
    assert found is not None
    low, high = found.bounds(level)
    if found.p < level * (1 - 1e-6):
        assert not low <= 1 <= high
    if found.p > level * (1 + 1e-6):
        assert low <= 1 <= high


@given(seconds, seconds)
def test_exchanging_the_sides_turns_the_ratio_over_and_nothing_else(
    old: list[float], new: list[float]
) -> None:
    there, back = contrast(old, new), contrast(new, old)
    assert there is not None
    assert back is not None
    assert there.ratio * back.ratio == pytest.approx(1)
    assert there.p == pytest.approx(back.p, abs=1e-9)


def test_holm_worked_by_hand() -> None:
    # 0.005 <= 0.05/4, 0.01 <= 0.05/3, 0.03 > 0.05/2: it and all above it are judged there.
    assert holm([0.01, 0.04, 0.03, 0.005], 0.05) == [0.05 / 3, 0.05 / 2, 0.05 / 2, 0.05 / 4]
    assert holm([], 0.05) == []


@given(st.lists(st.floats(0, 1), min_size=1, max_size=30))
def test_holm_calls_no_smaller_p_less_significant(p_values: list[float]) -> None:
    levels = holm(p_values, 0.05)
    called = [p <= level for p, level in zip(p_values, levels, strict=True)]
    assert max((p for p, c in zip(p_values, called, strict=True) if c), default=-1) < min(
        (p for p, c in zip(p_values, called, strict=True) if not c), default=math.inf
    )
    # As careful as Bonferroni at least where anything is called, never more than 5 %.
    assert all(0.05 / len(levels) <= level <= 0.05 for level in levels)
