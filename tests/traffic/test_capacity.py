"""The capacity at a latency bound, found in simulated queues whose capacity is known."""

from __future__ import annotations

import math

import numpy as np
import pytest

from benchmarks.capacity import search
from benchmarks.queues import ALLOWED, QUEUES, Queue, capacity_of
from stages.traffic.capacity import LevelCount, RateSearch, estimate_capacity

BY_NAME = {queue.name: queue for queue in QUEUES}


@pytest.mark.parametrize(
    "queue",
    [queue for queue in QUEUES if queue.name != "M/M/1, busy"],
    ids=lambda queue: queue.name,
)
def test_of_100_searches_at_least_93_find_it_within_their_interval(queue: Queue) -> None:
    true, found = capacity_of(queue), 0
    for seed in range(100):
        capacity = search(queue, 20, 2000, seed).capacity()
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


@pytest.mark.parametrize(
    "misses",
    [(200, 230, 260, 300), (2, 3, 4, 5)],
    ids=["all of them above it", "all of them below it"],
)
def test_levels_on_one_side_of_it_give_no_capacity(misses: tuple[int, ...]) -> None:
    levels = [LevelCount(rate, 500, n) for rate, n in zip((8, 9, 11, 12), misses, strict=True)]
    assert estimate_capacity(levels, 0.05, 10) is None


@pytest.mark.parametrize("steepness", [1, 2, 4])
def test_where_the_server_falls_off_a_cliff_the_interval_still_contains_it(
    steepness: float,
) -> None:
    """Shares near 1 lie on no line; more levels must not make the estimate surely wrong."""

    def share(rate: float) -> float:
        return 1 / (1 + 19 * math.exp(-steepness * (rate - 10)))

    contained = 0
    for seed in range(40):
        draw, found = np.random.default_rng(seed), RateSearch(ceiling=14.0, allowed=0.05)
        for _ in range(40):
            rate = found.next_rate()
            found.record(LevelCount(rate, 400, int(draw.binomial(400, share(rate)))))
        capacity = found.capacity()
        assert capacity is not None
        assert capacity.low is not None
        assert capacity.high is not None
        contained += capacity.low <= 10 <= capacity.high
    # Of 40 at 95 %, fewer than 34 happen once in 300 times.
    assert contained >= 34


def test_an_interval_is_plain_numbers_of_positive_rates() -> None:
    found = estimate_capacity([on_the_line(rate) for rate in (8, 9, 11, 12)], 0.05)
    assert found is not None
    assert {type(found.rate), type(found.low), type(found.high)} == {float}
    # Levels that hardly differ, and scatter much, leave the lower end open.
    uneven = [LevelCount(9, 400, 12), LevelCount(9.5, 400, 30), LevelCount(10, 400, 14)]
    wide = estimate_capacity([*uneven, LevelCount(10.5, 400, 33)], 0.05, 10)
    assert wide is None or wide.low is None or wide.low > 0


def test_a_server_without_a_rate_is_refused() -> None:
    with pytest.raises(ValueError, match="not at 0"):
        RateSearch(ceiling=0.0, allowed=0.05)


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
