"""Simulates the coverage of the capacity's interval: ``python -m benchmarks.capacity``.

Searches for the capacity of queues that have a known one, as a measurement does: levels of some
requests each, whose rates :class:`stages.traffic.capacity.RateSearch` chooses. Then it counts the
intervals that contain the true capacity.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from statistics import NormalDist

import click
import numpy as np

from benchmarks.methodology import METHODOLOGY, as_markdown, write_section
from benchmarks.queues import ALLOWED, QUEUES, Queue, capacity_of
from stages.traffic.capacity import (
    CONFIDENCE,
    Line,
    RateSearch,
    errors_aside,
    fieller_interval,
    fit_line,
)

SIZES = ((12, 200), (12, 400), (20, 200), (20, 400), (12, 1000))
"""Levels, and requests of each."""

SECTION = "capacity"

type Interval = tuple[float | None, float | None]


def _fieller(line: Line, freedom: int) -> Interval:
    return fieller_interval(line, ALLOWED, errors_aside(freedom))


def _delta(line: Line, freedom: int) -> Interval:
    rate = line.rate_at(ALLOWED)
    at = np.array([1.0, rate])
    aside = errors_aside(freedom) * math.sqrt(at @ line.covariance @ at) / line.slope
    return rate - aside, rate + aside


def _independent(line: Line, _: int) -> Interval:
    alone = replace(line, covariance=line.covariance / line.scatter)
    return fieller_interval(alone, ALLOWED, NormalDist().inv_cdf((1 + CONFIDENCE) / 2))


METHODS: dict[str, Callable[[Line, int], Interval]] = {
    "Fieller, scatter of the levels": _fieller,
    "delta method, scatter of the levels": _delta,
    "Fieller, independent misses": _independent,
}
"""The first is the one in use."""


@dataclass(frozen=True, slots=True)
class Coverage:
    """What became of many searches in one queue, by one method.

    Attributes:
        queue, method: by name.
        levels, requests: of one search, and of one of its levels.
        decisive: share of the searches that gave an interval.
        covered: share of these intervals that contain the true capacity.
        half_width: median half-width, as a share of the true capacity.
        bias: median of their estimates over the true capacity, less 1.
    """

    queue: str
    method: str
    levels: int
    requests: int
    decisive: float
    covered: float
    half_width: float
    bias: float

    def printed(self) -> list[str]:
        """The cells of a row."""
        shares = (self.decisive, self.covered, self.half_width)
        return [
            self.queue,
            self.method,
            str(self.levels),
            str(self.requests),
            *(f"{share:.1%}" for share in shares),
            f"{self.bias:+.1%}",
        ]


def search(queue: Queue, levels: int, requests: int, seed: int) -> RateSearch:
    """A search that has ended."""
    draw = np.random.default_rng(seed)
    # In a closed loop the one server is never idle, and answers 1 request per second.
    found = RateSearch(ceiling=1.0, allowed=ALLOWED)
    for _ in range(levels):
        found.record(queue.level(found.next_rate(), requests, draw))
    return found


def coverages(queue: Queue, levels: int, requests: int, searches: int) -> Iterator[Coverage]:
    """What becomes of so many searches, by each method."""
    true = capacity_of(queue)
    ended = [search(queue, levels, requests, seed) for seed in range(searches)]
    fitted = [
        (capacity.rate, line, capacity.levels - 2)
        for one in ended
        if (capacity := one.capacity()) and (line := fit_line(one.near()))
    ]
    for name, method in METHODS.items():
        decisive = [
            (rate, low, high)
            for rate, line, freedom in fitted
            for low, high in [method(line, freedom)]
            if low is not None and high is not None and low > 0
        ]
        widths = [high - low for _, low, high in decisive]
        yield Coverage(
            queue=queue.name,
            method=name,
            levels=levels,
            requests=requests,
            decisive=len(decisive) / searches,
            covered=sum(low <= true <= high for _, low, high in decisive) / max(len(decisive), 1),
            half_width=float(np.median(widths or [0])) / 2 / true,
            bias=float(np.median([rate for rate, _, _ in decisive] or [true])) / true - 1,
        )


def every_coverage(searches: int) -> Iterator[Coverage]:
    """Of each queue, size of a search and method."""
    for queue in QUEUES:
        for levels, requests in SIZES:
            yield from coverages(queue, levels, requests, searches)


COLUMNS = (
    "queue",
    "interval",
    "levels",
    "requests each",
    "decisive",
    "covered",
    "half-width",
    "bias",
)


@click.command(help="Simulate the coverage of the capacity's interval on known queues.")
@click.option("--searches", type=click.IntRange(min=1), default=1000, show_default=True)
@click.option("--write", is_flag=True, help=f"Also put the table into {METHODOLOGY}.")
def main(searches: int, *, write: bool) -> None:
    """Print a row for each queue, size of a search and method; they take minutes."""
    rows = [COLUMNS, *(one.printed() for one in every_coverage(searches))]
    table = as_markdown(rows, text_columns=2)
    click.echo(f"{searches} searches each; intervals at {CONFIDENCE:.0%}\n\n{table}")
    if write:
        write_section(table, SECTION)


if __name__ == "__main__":
    main()
