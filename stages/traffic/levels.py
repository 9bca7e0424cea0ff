"""The figures of one level: what was offered, what was answered in time, and whose delay it was."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from stages.traffic.percentiles import Percentile, at_percent, percentile

PERCENTS = (50.0, 90.0, 95.0, 99.0)

CLIENT_BOUND = 0.05
"""The share of the p99 latency that the client's p99 delay may be."""


@dataclass(frozen=True, slots=True)
class TimedRequest:
    """The times of one request, in seconds of one clock.

    Attributes:
        scheduled_s: when it was due.
        sent_s: when the client sent it.
        done_s: when its answer was decoded, or it had failed.
        status: ``ok`` or the kind of its failure.
    """

    scheduled_s: float
    sent_s: float
    done_s: float
    status: str

    @property
    def latency_s(self) -> float:
        """From when it was due, so a late client or a queue counts; infinite where it failed."""
        return self.done_s - self.scheduled_s if self.status == "ok" else math.inf


@dataclass(frozen=True, slots=True)
class LevelFigures:
    """What one level says of the requests that were sent.

    Attributes:
        requests: that were sent.
        statuses: how many ended how.
        offered_per_s: requests per second that were due.
        answered_per_s: requests per second that were answered, from the first to the last answer.
        percentiles: by percent; ``None`` where there are too few requests.
        delay_p99_s: of the client: sent less scheduled.
        client_bound: whether the client was so late that latencies are in part its own.
        saturated: whether the level ended because too many requests were in flight.
    """

    requests: int
    statuses: Mapping[str, int]
    offered_per_s: float | None
    answered_per_s: float | None
    percentiles: Mapping[float, Percentile | None]
    delay_p99_s: float
    client_bound: bool
    saturated: bool


def level_figures(requests: Sequence[TimedRequest], *, saturated: bool) -> LevelFigures | None:
    """The figures of a level; ``None`` where nothing was sent.

    Args:
        requests: that were sent, in any order.
        saturated: whether the level ended early.
    """
    if not requests:
        return None
    latencies = [one.latency_s for one in requests]
    delay = at_percent(sorted(one.sent_s - one.scheduled_s for one in requests), 99.0)
    # With those that failed, as long as they took: a late client is late for them, too.
    slow = at_percent(sorted(one.done_s - one.scheduled_s for one in requests), 99.0)
    due = sorted(one.scheduled_s for one in requests)
    done = sorted(one.done_s for one in requests if one.status == "ok")
    return LevelFigures(
        requests=len(requests),
        statuses=Counter(one.status for one in requests),
        offered_per_s=_per_second(due),
        answered_per_s=_per_second(done),
        percentiles={percent: percentile(latencies, percent) for percent in PERCENTS},
        delay_p99_s=delay,
        client_bound=delay > CLIENT_BOUND * slow,
        saturated=saturated,
    )


def misses(requests: Sequence[TimedRequest], bound_s: float, due: int) -> int:
    """How many requests of a level were later than a bound, failed, or were not sent at all.

    Args:
        requests: that were sent.
        bound_s: on latency.
        due: how many were to be sent: a saturated level sends fewer.
    """
    return sum(one.latency_s > bound_s for one in requests) + due - len(requests)


def _per_second(ordered: Sequence[float]) -> float | None:
    """The rate of events at these times; ``None`` where they have no extent."""
    span = ordered[-1] - ordered[0] if ordered else 0.0
    return (len(ordered) - 1) / span if span > 0 else None
