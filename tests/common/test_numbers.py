"""How numbers are written: rounding never contradicts what a figure decided."""

from __future__ import annotations

import re
from decimal import Decimal

import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st

from stages.common import numbers
from stages.report.format import resamples

READ = re.compile(r"[\d,]+(?:\.\d+)?(?:e[+-]?\d+)?")


def read(text: str) -> float:
    """The number a reader finds in ``text``."""
    (found,) = READ.findall(text)
    return float(found.replace(",", ""))


@pytest.mark.parametrize(
    ("share", "text"),
    [
        (0.9496, "94.96%"),  # below 95 %: a tie
        (0.95, "95%"),
        (0.98996, "98.996%"),  # below 99 %: confidence medium
        (0.99, "99%"),
        (0.813, "81.3%"),
        (0.0, "0%"),
        (1.0, "100%"),
        (0.9996, "over 99.9%"),
        (None, "—"),
    ],
)
def test_a_share_of_resamples_never_reads_as_the_limit_it_misses(
    share: float | None, text: str
) -> None:
    assert resamples(share) == text


@given(st.floats(0.001, 0.9994), st.floats(0.001, 0.9994))
@example(0.9496, 0.95)
@example(0.0996, 0.1)
def test_a_percentage_stands_on_its_side_of_a_limit(share: float, limit: float) -> None:
    printed = Decimal(numbers.percent(share, limit).removesuffix("%"))
    assert printed.compare(100 * Decimal(repr(limit))) == Decimal(share).compare(Decimal(limit))
    assert float(printed) == pytest.approx(100 * share, abs=0.05)


@given(st.floats(0, 1))
@example(0.0141)
@example(0.0001)
def test_a_percentage_behind_at_most_is_no_smaller_than_the_share(share: float) -> None:
    printed = read(numbers.percent_at_most(share))
    assert printed >= 100 * share * (1 - 1e-15)
    assert printed <= 100 * share + 0.1 + 1e-9


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (1.0, "1.00x"),
        (1.003, "1.003x"),
        (1.0004, "1.0004x"),
        (0.997, "0.997x"),
        (0.9996, "0.9996x"),
        (1.006, "1.01x"),
        (0.43, "0.43x"),
        (13.333, "13.3x"),
    ],
)
def test_only_one_itself_reads_as_one(value: float, text: str) -> None:
    assert numbers.factor(value) == text


@given(st.floats(0.5, 2))
@example(1.0000000000000002)
def test_a_factor_stands_on_its_side_of_one(value: float) -> None:
    printed = read(numbers.factor(value))
    assert (printed > 1, printed < 1) == (value > 1, value < 1)
    assert printed == pytest.approx(value, abs=0.005)


@given(st.floats(1e-6, 1e6))
@example(360.96)
def test_a_number_behind_over_is_no_larger_than_the_figure(value: float) -> None:
    assert value * 0.89 <= read(numbers.number_at_least(value)) <= value


@pytest.mark.parametrize(
    ("count", "text"), [(8, "8"), (99, "99"), (101, "110"), (1602, "1,700"), (2357, "2,400")]
)
def test_an_estimated_count_is_two_digits_that_are_enough(count: int, text: str) -> None:
    assert numbers.about(count) == text


@given(st.integers(1, 10**9))
def test_an_estimated_count_is_never_too_few(count: int) -> None:
    assert count <= read(numbers.about(count)) <= 1.1 * count


@pytest.mark.parametrize(
    ("low", "high", "text"),
    [
        (1.03296, None, ("1.04", None)),
        (1.5, None, ("1.50", None)),
        (1.0, 1.1, ("1.00", "1.10")),
        (1.0, 1.0996, ("1.00", "1.09")),
        # Two decimals would leave nothing between 1.21 and 1.20.
        (1.2040, 1.2049, ("1.2040", "1.2049")),
    ],
)
def test_the_ends_of_a_range_lie_inside_it(
    low: float, high: float | None, text: tuple[str, str | None]
) -> None:
    assert numbers.between(low, high) == text


@given(st.floats(1, 1000), st.floats(1, 1000))
@example(1.2040, 1.2049)
@example(1.0, 1.0000000000000002)
def test_a_range_never_grows_by_being_written(low: float, high: float) -> None:
    assume(low < high)
    up, down = numbers.between(low, high)
    assert down is not None
    assert low <= float(up) < float(down) <= high


@pytest.mark.parametrize(
    ("value", "text"),
    [(180.0, "180"), (0.02, "0.02"), (1.2345678, "1.2345678"), (1234567.0, "1234567")],
)
def test_a_number_of_the_contract_is_written_as_it_stands_there(value: float, text: str) -> None:
    assert numbers.plain(value) == text


@given(st.floats(1e-9, 1e9))
def test_a_number_of_the_contract_reads_as_itself(value: float) -> None:
    assert float(numbers.plain(value)) == value


@pytest.mark.parametrize(
    ("value", "limits", "text"),
    [
        (1.0, (), "1"),
        (0.9999999, (), "0.9999999"),
        (0.98994, (), "0.990"),
        (0.98994, (0.99,), "0.9899"),
        (0.99, (0.99,), "0.990"),
        (0.0, (), "0.000"),
        (-0.0002, (), "-0.0002"),
        (-1.0, (), "-1"),
        (None, (), "—"),
    ],
)
def test_only_a_whole_correlation_reads_one_and_a_limit_is_kept(
    value: float | None, limits: tuple[float, ...], text: str
) -> None:
    assert numbers.correlation(value, *limits) == text
