"""Queues whose capacity at a latency bound is known, to try estimates of it.

Each has one server that answers in order of arrival, with a mean service time of 1 s.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache

import numpy as np
import numpy.typing as npt

from stages.traffic.capacity import LevelCount

type Array = npt.NDArray[np.float64]
type Draw = Callable[[np.random.Generator, int], Array]

ALLOWED = 0.05
"""Share of requests that may be later than the bound: a p95."""

_LONG = 400_000


@dataclass(frozen=True)
class Queue:
    """One kind of server.

    Attributes:
        name: in tables.
        service: draws so many service times in seconds.
        bound_s: on latency.
        exact: its capacity in requests per second where a formula gives it.
    """

    name: str
    service: Draw
    bound_s: float
    exact: float | None = None

    def latencies(self, rate: float, count: int, draw: np.random.Generator) -> Array:
        """Seconds from arrival to answer of each request, from an empty queue on."""
        arrivals = np.cumsum(draw.exponential(1 / rate, count))
        work = np.cumsum(self.service(draw, count))
        before = np.concatenate(([0.0], work[:-1]))
        # A request leaves when the work has been done that came since the queue was last empty.
        return np.asarray(np.maximum.accumulate(arrivals - before) + work - arrivals)

    def level(self, rate: float, count: int, draw: np.random.Generator) -> LevelCount:
        """What becomes of ``count`` requests; the first tenth, in which it fills, is not judged."""
        judged = self.latencies(rate, count, draw)[count // 10 :]
        return LevelCount(rate, len(judged), int((judged > self.bound_s).sum()))


def _stalls(draw: np.random.Generator, count: int) -> Array:
    """One service of 200 stalls for 10 times as long as the others."""
    stalled = draw.random(count) < 1 / 200
    return np.where(stalled, 10.0, 1.0) / (1 + 9 / 200)


QUEUES = (
    # P(latency > t) is exp(-(1 - rate) t).
    Queue(
        "M/M/1",
        lambda draw, n: draw.exponential(1.0, n),
        10.0,
        exact=1 - math.log(1 / ALLOWED) / 10,
    ),
    # The same at 90 % of what its server can answer.
    Queue(
        "M/M/1, busy",
        lambda draw, n: draw.exponential(1.0, n),
        30.0,
        exact=1 - math.log(1 / ALLOWED) / 30,
    ),
    Queue("M/D/1", lambda _, n: np.ones(n), 5.0),
    Queue("M/G/1 with stalls", _stalls, 12.0),
)


@cache
def capacity_of(queue: Queue) -> float:
    """Its true capacity, by formula or from long runs: within about 0.3 %."""
    if queue.exact is not None:
        return queue.exact
    below, above = 0.05, 1.0
    for step in range(16):
        rate = (below + above) / 2
        draw = np.random.default_rng(step)
        misses = np.mean(
            [(queue.latencies(rate, _LONG, draw) > queue.bound_s).mean() for _ in range(6)]
        )
        below, above = (below, rate) if misses > ALLOWED else (rate, above)
    return (below + above) / 2
