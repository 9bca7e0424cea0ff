"""95 % intervals for pass latency and items/s at the few passes a cell has.

The mean gets Student's t on the raw seconds, at its 97 % quantile: at the 95 % quantile the
worst of the simulated kinds of noise is covered in only 94 % of cases. The median gets order
statistics. The ratio of two means gets Welch's t on their logarithms, at the 97 % quantile
too. ``benchmarks/coverage.py`` simulates how often each interval, and each rejected method, covers
the truth. Its tables are in ``docs/methodology.md``.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np
import numpy.typing as npt

from stages.common.student import pooled, relative_error, student_quantile, welch
from stages.documents.comparison import Interval

TARGET = 0.95
"""The wanted level; no interval is printed with a higher one."""
NOMINAL = 0.97
"""The level whose Student quantile is used, so that ``TARGET`` is reached (see above)."""

STUDENT = "Student's t"
ORDER_STATISTICS = "order statistics"
WELCH = "Welch's t on logarithms"

type Array = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Levels:
    """The share of cases, 0 to 1, in which an interval covers the truth, as a lower bound.

    Attributes:
        mean: of the mean, hence of items/s.
        median: of the median.
        ratio: of the ratio of two means, where the smaller number of passes counts.
    """

    mean: float
    median: float
    ratio: float


SUPPORTED_LEVELS: Mapping[int, Levels] = MappingProxyType(
    {
        2: Levels(mean=0.90, median=0.50, ratio=0.70),
        3: Levels(mean=0.80, median=0.75, ratio=0.80),
        4: Levels(mean=0.85, median=0.85, ratio=0.85),
        5: Levels(mean=0.90, median=0.90, ratio=0.90),
        **{n: Levels(mean=TARGET, median=TARGET, ratio=TARGET) for n in range(6, 13)},
    }
)
"""Passes -> the level the simulation supports: the worst over the kinds of noise, rounded
down to a multiple of 5 %, and ``TARGET`` at most. More passes are as good as twelve."""


def supported(passes: int) -> Levels:
    """The levels to print for this number of passes, at least 2."""
    return SUPPORTED_LEVELS[min(passes, max(SUPPORTED_LEVELS))]


def mean_interval(seconds: Array) -> Interval | None:
    """The interval of the mean of ``seconds``, shape ``(passes,)``; ``None`` below two passes.

    A pass takes no negative time, so the interval is cut off at zero.
    """
    if seconds.size < 2 or not np.isfinite(seconds).all():
        return None
    low, high = student_bounds(seconds, NOMINAL)
    return Interval(
        low=max(0.0, float(low)),
        high=float(high),
        level=supported(seconds.size).mean,
        method=STUDENT,
    )


def median_interval(seconds: Array) -> Interval | None:
    """The interval of the median of ``seconds``, shape ``(passes,)``; ``None`` below two."""
    if seconds.size < 2 or not np.isfinite(seconds).all():
        return None
    low, high = order_bounds(seconds)
    return Interval(
        low=float(low),
        high=float(high),
        level=supported(seconds.size).median,
        method=ORDER_STATISTICS,
    )


def ratio_interval(numerator: Array, denominator: Array) -> Interval | None:
    """The interval of mean(``numerator``) / mean(``denominator``), seconds of two cells' passes.

    With the reference's seconds over the candidate's this is candidate / reference in items/s.
    The two need not have the same number of passes; the smaller one sets the level.

    Args:
        numerator: shape ``(passes,)``.
        denominator: shape ``(passes,)``.

    Returns:
        ``None`` with fewer than two passes on either side, or where a figure is not finite
        or a mean not above zero.
    """
    for seconds in (numerator, denominator):
        if seconds.size < 2 or not np.isfinite(seconds).all() or not seconds.mean() > 0:
            return None
    low, high = ratio_bounds(numerator, denominator, NOMINAL)
    return Interval(
        low=float(low),
        high=float(high),
        level=supported(min(numerator.size, denominator.size)).ratio,
        method=WELCH,
    )


@dataclass(frozen=True, slots=True)
class WeightedPair:
    """Two cells of one workload, and what their ratio counts for in a mean over workloads.

    Attributes:
        numerator, denominator: seconds of their passes, each of shape ``(passes,)``.
        weight: a share; the weights of a mean sum to 1.
    """

    numerator: Array
    denominator: Array
    weight: float


def mean_ratio_interval(pairs: Sequence[WeightedPair]) -> Interval | None:
    """The interval of the weighted geometric mean of ratios of means.

    The logarithm of that mean is the weighted sum of the logarithms of the means of all cells. Its
    error comes from theirs, which are independent, with Satterthwaite's degrees of freedom. It
    says how well these workloads are measured, not how other workloads would turn out.

    Args:
        pairs: at least one.

    Returns:
        ``None`` where a ratio alone would have no interval (:func:`ratio_interval`). With one pair
        it is that ratio's interval. The cell with the fewest passes sets the level.
    """
    sides = [
        (seconds, pair.weight) for pair in pairs for seconds in (pair.numerator, pair.denominator)
    ]
    if any(s.size < 2 or not np.isfinite(s).all() or not s.mean() > 0 for s, _ in sides):
        return None
    low, high = mean_ratio_bounds(pairs, NOMINAL)
    return Interval(
        low=float(low),
        high=float(high),
        level=supported(min(seconds.size for seconds, _ in sides)).ratio,
        method=WELCH,
    )


def rate_interval(items: int, mean: Interval | None) -> Interval | None:
    """Items per second from the interval of the mean pass, whose ends change places.

    A mean that may be as small as zero leaves the rate without an upper end. ``None`` where
    the mean has no interval, or took no time at all.
    """
    if mean is None or not mean.high:
        return None
    ends = {"low": items / mean.high, "high": items / mean.low if mean.low > 0 else None}
    return mean.model_copy(update=ends)


def student_bounds(seconds: Array, nominal: float) -> tuple[Array, Array]:
    """Ends of Student's interval of the mean, along the last axis of ``seconds``."""
    passes = seconds.shape[-1]
    mean = seconds.mean(axis=-1)
    error = seconds.std(axis=-1, ddof=1) / math.sqrt(passes)
    half = student_quantile(0.5 + nominal / 2, passes - 1) * error
    return np.asarray(mean - half), np.asarray(mean + half)


def ratio_bounds(numerator: Array, denominator: Array, nominal: float) -> tuple[Array, Array]:
    """Ends of the interval of the ratio of two means, along the last axis of both.

    Welch's interval of the difference of the logarithms of the means: the error of the
    logarithm of a mean is, to first order, the mean's own error divided by the mean.
    """
    ratio = numerator.mean(axis=-1) / denominator.mean(axis=-1)
    error, freedom = welch(
        relative_error(numerator),
        relative_error(denominator),
        numerator.shape[-1] - 1,
        denominator.shape[-1] - 1,
    )
    factor = np.exp(student_quantile(0.5 + nominal / 2, freedom) * error)
    return np.asarray(ratio / factor), np.asarray(ratio * factor)


def mean_ratio_bounds(pairs: Sequence[WeightedPair], nominal: float) -> tuple[Array, Array]:
    """Ends of the interval of the weighted geometric mean of ratios, along the last axis of all."""
    error, freedom = pooled(
        [
            pair.weight * relative_error(seconds)
            for pair in pairs
            for seconds in (pair.numerator, pair.denominator)
        ],
        [s.shape[-1] - 1 for pair in pairs for s in (pair.numerator, pair.denominator)],
    )
    centre = np.zeros(())
    for pair in pairs:
        ratio = pair.numerator.mean(axis=-1) / pair.denominator.mean(axis=-1)
        centre = centre + pair.weight * np.log(ratio)
    half = student_quantile(0.5 + nominal / 2, freedom) * error
    return np.asarray(np.exp(centre - half)), np.asarray(np.exp(centre + half))


def order_bounds(seconds: Array) -> tuple[Array, Array]:
    """Ends of the median's interval, along the last axis: two of the seconds themselves."""
    rank = order_rank(seconds.shape[-1])
    ordered = np.sort(seconds, axis=-1)
    return ordered[..., rank - 1], ordered[..., -rank]


def order_rank(passes: int) -> int:
    """The k for which the k-th fastest to the k-th slowest pass hold the median at ``TARGET``.

    The largest such k, which gives the narrowest interval; 1 where none reaches ``TARGET``.
    """
    ranks = range(1, (passes + 1) // 2 + 1)
    return max((k for k in ranks if order_coverage(passes, k) >= TARGET), default=1)


def order_coverage(passes: int, rank: int) -> float:
    """Probability that the ``rank``-th fastest and slowest of ``passes`` enclose the median.

    Each pass is below the median with probability 1/2 whatever the distribution, so the
    interval misses when fewer than ``rank`` passes are on one side.
    """
    missed = sum(math.comb(passes, below) for below in range(rank))
    return 1 - 2 * missed / float(2**passes)
