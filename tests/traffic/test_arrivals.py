"""Arrivals are a Poisson process, the same for everybody who has the seed."""

from __future__ import annotations

import itertools
import math

import pytest

from stages.traffic.arrivals import poisson_arrivals

COUNT = 4000


@pytest.mark.parametrize("seed", [0, 1, 20260211])
def test_the_gaps_are_exponential_and_one_request_comes_a_second(seed: int) -> None:
    gaps = sorted(later - before for before, later in itertools.pairwise([0.0, *arrivals(seed)]))
    assert gaps[0] > 0
    # The largest distance between the empirical and the exponential distribution: a sample of
    # this size is further away once in 1,000 times (Kolmogorov's 1.95 over the root of n).
    away = max(
        max(abs((n + at) / COUNT - (1 - math.exp(-gap))) for at in (0, 1))
        for n, gap in enumerate(gaps)
    )
    assert away < 1.95 / math.sqrt(COUNT)


def test_a_gap_says_nothing_of_the_next_one() -> None:
    gaps = [later - before for before, later in itertools.pairwise(arrivals(7))]
    mean = sum(gaps) / len(gaps)
    spread = sum((gap - mean) ** 2 for gap in gaps)
    together = sum((a - mean) * (b - mean) for a, b in itertools.pairwise(gaps))
    assert abs(together / spread) < 3.3 / math.sqrt(COUNT)


def test_a_seed_gives_the_same_arrivals_and_another_one_others() -> None:
    assert arrivals(5) == arrivals(5)
    assert arrivals(5) != arrivals(6)
    assert poisson_arrivals(5, 10) == arrivals(5)[:10]


def arrivals(seed: int) -> list[float]:
    return poisson_arrivals(seed, COUNT)
