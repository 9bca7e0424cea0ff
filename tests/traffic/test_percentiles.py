"""From how many requests a percentile is printed, and how far the server's own may be above it."""

from __future__ import annotations

import math

import numpy as np
import pytest

from stages.traffic.percentiles import CONFIDENCE, percentile, requests_needed


@pytest.mark.parametrize(("percent", "count"), [(50, 7), (90, 44), (95, 90), (99, 459)])
def test_it_needs_as_many_requests_as_early_stopping_counts(percent: float, count: int) -> None:
    """The two last ones are those of MLPerf LoadGen."""
    assert requests_needed(percent) == count
    # So many requests miss the slowest share of the server once in a hundred times at most.
    assert (percent / 100) ** count <= 1 - CONFIDENCE < (percent / 100) ** (count - 1)


@pytest.mark.parametrize("percent", [0, 100, -5, 120, math.nan])
def test_what_is_no_percentile_is_refused(percent: float) -> None:
    with pytest.raises(ValueError, match="above 0 and below 100"):
        requests_needed(percent)


@pytest.mark.parametrize("percent", [50.0, 95.0, 99.0])
def test_one_request_less_gives_none(percent: float) -> None:
    enough = [float(n) for n in range(requests_needed(percent))]
    assert percentile(enough[1:], percent) is None
    found = percentile(enough, percent)
    assert found is not None
    assert found.at_most_s == enough[-1]


def test_the_percentile_is_the_latency_that_so_many_did_not_exceed() -> None:
    latencies = [float(n) for n in range(1, 1001)]
    for percent in (50.0, 90.0, 95.0, 99.0):
        found = percentile(latencies[::-1], percent)
        assert found is not None
        assert sum(one <= found.seconds for one in latencies) == 10 * percent
        assert found.at_most_s > found.seconds


def test_requests_that_failed_are_slower_than_any() -> None:
    answered = [1.0] * 96
    found = percentile([*answered, *[math.inf] * 4], 95.0)
    assert found is not None
    assert (found.seconds, found.at_most_s) == (1.0, math.inf)
    worse = percentile([*answered[:90], *[math.inf] * 10], 95.0)
    assert worse is not None
    assert worse.seconds == math.inf


@pytest.mark.parametrize("count", [90, 200, 1000])
def test_the_bound_is_above_the_servers_percentile_99_times_of_100(count: int) -> None:
    true, draw = math.log(20), np.random.default_rng(count)
    above = 0
    for _ in range(2000):
        found = percentile(draw.exponential(1.0, count).tolist(), 95.0)
        assert found is not None
        above += found.at_most_s > true
    # Of a binomial share of 0.99 over 2,000 draws, 4 standard errors below.
    assert above / 2000 > 0.99 - 4 * math.sqrt(0.99 * 0.01 / 2000)
