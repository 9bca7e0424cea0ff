"""The capacity at a latency bound, found in simulated queues whose capacity is known."""

from __future__ import annotations

import math

import numpy as np
import pytest

from benchmarks.capacity import search
from benchmarks.queues import ALLOWED, QUEUES, Queue, capacity_of
from stages.traffic.capacity import LevelCount, RateSearch, estimate_capacity

BY_NAME = {queue.name: queue for queue in QUEUES}


@pytest.mark.parametrize("queue", QUEUES, ids=lambda queue: queue.name)
def test_of_100_searches_at_least_93_find_it_within_their_interval(queue: Queue) -> None:
    true, found = capacity_of(queue), 0
    for seed in range(100):
        capacity = search(queue, 16, 1500, seed).capacity()
        assert capacity is not None
        if capacity.low is not None and capacity.high is not None:
            found += capacity.low <= true <= capacity.high
    assert found >= 93


def test_the_known_capacity_is_that_of_the_formula() -> None:
    """P(latency > t) is exp(-(1 - rate) t) in an M/M/1 queue: the simulation agrees with it."""
    queue = BY_NAME["M/M/1"]
    draw = np.random.default_rng(0)
    late = queue.latencies(capacity_of(queue), 2_000_000, draw) > queue.bound_s
    assert late.mean() == pytest.approx(ALLOWED, rel=0.05)


def on_the_line(rate: float, requests: int = 10_000) -> LevelCount:
    """A level whose misses are what a line says: 5 % at 10 requests per second."""
    return LevelCount(rate, requests, round(requests * 0.05 * math.exp(0.4 * (rate - 10))))


def test_levels_on_a_line_give_its_rate() -> None:
    found = estimate_capacity([on_the_line(rate) for rate in (8, 9, 11, 12)], 0.05)
    assert found is not None
    assert found.low is not None
    assert found.high is not None
    assert found.rate == pytest.approx(10, rel=0.01)
    assert found.low < 10 < found.high
    assert found.levels == 4


def test_levels_that_scatter_widen_the_interval() -> None:
    rates = (8, 8.5, 9, 11, 11.5, 12)
    smooth = [on_the_line(rate) for rate in rates]
    uneven = [
        LevelCount(one.rate, one.requests, round(one.misses * factor))
        for one, factor in zip(smooth, (1.2, 0.8, 1.1, 0.9, 1.2, 0.8), strict=True)
    ]
    widths = []
    for levels in (smooth, uneven):
        found = estimate_capacity(levels, 0.05)
        assert found is not None
        assert found.low is not None
        assert found.high is not None
        widths.append(found.high - found.low)
    assert widths[1] > 2 * widths[0]


@pytest.mark.parametrize(
    "levels",
    [
        [],
        [on_the_line(8), on_the_line(9), on_the_line(12)],
        [LevelCount(rate, 500, 0) for rate in (8, 9, 11, 12)],
        [LevelCount(rate, 500, 500) for rate in (8, 9, 11, 12)],
        [LevelCount(rate, 500, misses) for rate, misses in ((8, 60), (9, 20), (11, 22), (12, 40))],
    ],
    ids=["none", "too few", "no misses", "nothing but misses", "a line that is level"],
)
def test_where_levels_do_not_bound_it_there_is_no_interval(levels: list[LevelCount]) -> None:
    found = estimate_capacity(levels, 0.05)
    assert found is None or (found.low, found.high) == (None, None)


def test_levels_far_from_it_do_not_bend_the_line() -> None:
    near = [on_the_line(rate) for rate in (8, 9, 11, 12)]
    overload = LevelCount(30, 10_000, 10_000)
    assert estimate_capacity([*near, overload], 0.05, 10) == estimate_capacity(near, 0.05, 10)


def test_a_search_offers_rates_on_both_sides_and_never_above_the_ceiling() -> None:
    found = RateSearch(ceiling=11.0, allowed=0.05)
    for _ in range(14):
        found.record(on_the_line(found.next_rate()))
    settling = [level.rate for level in found.levels[4:]]
    assert min(settling) < 10 < max(settling)
    assert max(settling) <= 11.0
    capacity = found.capacity()
    assert capacity is not None
    assert capacity.rate == pytest.approx(10, rel=0.02)


def test_a_server_that_never_meets_the_bound_is_offered_less_and_less() -> None:
    found = RateSearch(ceiling=16.0, allowed=0.05)
    rates = []
    for _ in range(6):
        rates.append(found.next_rate())
        found.record(LevelCount(rates[-1], 500, 500))
    assert rates[:4] == [8.0, 4.0, 2.0, 1.0]
    capacity = found.capacity()
    assert capacity is None or capacity.low is None
