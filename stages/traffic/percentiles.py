"""Percentiles of latency, and how many requests each needs.

A percentile of few requests is luck: the p99 of 100 requests is the second slowest. The early
stopping of MLPerf LoadGen asks how many requests must meet a bound before it may be said, at 99 %
confidence, that the percentile of the server does. With none above the bound these are 90 for a p95
and 459 for a p99. The same count makes an upper bound of a percentile: the smallest latency that is
above it at this confidence.

Source: MLPerf LoadGen, "Early stopping criterion" (docs of mlcommons/inference); the bound is the
usual one by order statistics, e.g. Hahn and Meeker, Statistical Intervals (1991), section 5.2.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

from scipy import special

CONFIDENCE = 0.99


@dataclass(frozen=True, slots=True)
class Percentile:
    """One percentile of a level's latencies.

    Attributes:
        percent: which, such as 95.0.
        seconds: the latency that this share of the requests did not exceed.
        at_most_s: an upper bound of the server's percentile at ``CONFIDENCE``, if its requests were
            independent.
    """

    percent: float
    seconds: float
    at_most_s: float


@cache
def requests_needed(percent: float) -> int:
    """How many requests a percentile is printed from at least.

    Args:
        percent: above 0 and below 100.

    Raises:
        ValueError: it is not.
    """
    if not 0 < percent < 100:
        raise ValueError(f"a percentile of {percent}: it must be above 0 and below 100")
    # All of so many requests are below the percentile with a probability of 1 - CONFIDENCE.
    return math.ceil(math.log(1 - CONFIDENCE) / math.log(percent / 100) - 1e-9)


def percentile(latencies_s: Sequence[float], percent: float) -> Percentile | None:
    """A percentile; ``None`` where there are too few requests for it.

    Args:
        latencies_s: of every request of a level. A request that failed has an infinite one.
        percent: above 0 and below 100.
    """
    count = len(latencies_s)
    if count < requests_needed(percent):
        return None
    ordered = sorted(latencies_s)
    return Percentile(
        percent=percent,
        seconds=at_percent(ordered, percent),
        at_most_s=ordered[_rank_above(count, percent) - 1],
    )


def at_percent(ordered: Sequence[float], percent: float) -> float:
    """The value that this share of the values, which rise, did not exceed."""
    return ordered[_rank(len(ordered), percent) - 1]


def _rank(count: int, percent: float) -> int:
    # Without the small number, rounding errors would raise an exact rank.
    return math.ceil(count * percent / 100 - 1e-9)


@cache
def _rank_above(count: int, percent: float) -> int:
    """The lowest rank whose latency is above the percentile at ``CONFIDENCE``, from 1."""
    share = percent / 100
    below, above = _rank(count, percent) - 1, count
    while above - below > 1:
        rank = (below + above) // 2
        # At most rank - 1 requests are below the percentile.
        if special.bdtr(rank - 1, count, share) >= CONFIDENCE:
            above = rank
        else:
            below = rank
    return above
