"""Simulates the coverage of confidence intervals: ``python -m benchmarks.coverage``.

Draws many cells of a few passes each from the noise of ``noise``, computes an interval of each
cell by every method of ``candidates``, and counts the intervals that contain the true value.

A ratio is that of two independent cells: every kind of noise against every kind, with the same
spread on both sides, and with a spread of 3 % on one side and 10 % on the other.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import click
from rich.console import Console
from rich.table import Table

from benchmarks.candidates import (
    CHOSEN_MEAN,
    CHOSEN_MEDIAN,
    CHOSEN_RATIO,
    MEAN_METHODS,
    MEDIAN_METHODS,
    RATIO_METHODS,
    Method,
    PairMethod,
    half_width,
)
from benchmarks.methodology import METHODOLOGY, as_markdown, write_section
from benchmarks.noise import LIMITS, NOISES, cells_of, spread
from stages.compare.intervals import TARGET, Array

PASSES = (5, 7, 12)
PAIRS = ((5, 5), (5, 7), (7, 7), (12, 12))
SPREADS = ((1.0, 1.0), (1.0, 0.3), (0.3, 1.0))
"""The spread of the numerator and of the denominator, as shares of 10 %."""
BATCH = 2000
"""Cells per batch, which bounds the memory of the bootstrap methods."""

SECTION = "coverage"


@dataclass(frozen=True, slots=True)
class Coverage:
    """The coverage of one method at one number of passes.

    Attributes:
        passes: as text; of both sides for a ratio.
        shares: kind of noise -> share of cells whose interval contains the true value.
        limits: the same for the kinds of noise that do not count; only for the mean.
        half_width: median half-width under normal noise, as a share of the true value.
    """

    method: str
    passes: str
    shares: Mapping[str, float]
    limits: Mapping[str, float]
    half_width: float

    @property
    def worst(self) -> float:
        """The smallest share of all kinds of noise that count."""
        return min(self.shares.values())

    @property
    def level(self) -> float:
        """The printed level: the worst share, rounded down to a multiple of 5 %, at most 95 %."""
        return printed_level(self.worst)


def printed_level(worst: float) -> float:
    """``worst`` rounded down to a multiple of 5 %, at most ``TARGET``."""
    # Without the small number, rounding errors would lower an exact multiple of 5 %.
    return min(TARGET, math.floor(worst * 20 + 1e-9) / 20)


def share_covered(method: Method, seconds: Array, truth: float) -> float:
    """The share of cells whose interval contains ``truth``."""
    held = 0
    for start in range(0, len(seconds), BATCH):
        low, high = method(seconds[start : start + BATCH])
        held += int(((low <= truth) & (truth <= high)).sum())
    return held / len(seconds)


def of_mean(name: str, passes: int, draws: int) -> Coverage:
    """Coverage of the mean by one method."""
    method = MEAN_METHODS[name]
    kinds = {**NOISES, **LIMITS}
    shares = {
        kind: share_covered(method, cells_of(kind, passes, draws), noise.mean)
        for kind, noise in kinds.items()
    }
    return Coverage(
        method=name,
        passes=str(passes),
        shares={kind: shares[kind] for kind in NOISES},
        limits={kind: shares[kind] for kind in LIMITS},
        half_width=half_width(method(cells_of("normal", passes, min(draws, BATCH)))),
    )


def of_median(name: str, passes: int, draws: int) -> Coverage:
    """Coverage of the median by one method."""
    method = MEDIAN_METHODS[name]
    return Coverage(
        method=name,
        passes=str(passes),
        shares={
            kind: share_covered(method, cells_of(kind, passes, draws), noise.median)
            for kind, noise in NOISES.items()
        },
        limits={},
        half_width=half_width(method(cells_of("normal", passes, min(draws, BATCH)))),
    )


def share_of_pairs(method: PairMethod, numerator: Array, denominator: Array) -> float:
    """The share of pairs of cells, both of mean 1, whose interval contains the ratio 1."""
    held = 0
    for start in range(0, len(numerator), BATCH):
        batch = slice(start, start + BATCH)
        low, high = method(numerator[batch], denominator[batch])
        held += int(((low <= 1) & (high >= 1)).sum())
    return held / len(numerator)


def of_pairs(
    method: PairMethod, passes: tuple[int, int], draws: int
) -> Iterator[tuple[str, str, bool, float]]:
    """Both kinds of noise, whether the spreads are equal, and the coverage, for each pair."""
    for one, other in itertools.product(NOISES, repeat=2):
        numerator = cells_of(one, passes[0], draws)
        denominator = cells_of(other, passes[1], draws, "denominator")
        for wide, narrow in SPREADS:
            share = share_of_pairs(method, spread(numerator, wide), spread(denominator, narrow))
            yield one, other, wide == narrow, share


def of_ratio(name: str, passes: tuple[int, int], draws: int) -> Coverage:
    """Coverage of the ratio of two means by one method.

    ``mixed`` is the worst coverage with different kinds of noise on both sides, and ``unequal`` the
    worst one with unequal spreads.
    """
    method = RATIO_METHODS[name]
    found = list(of_pairs(method, passes, draws))
    few = min(draws, BATCH)
    width = method(
        cells_of("normal", passes[0], few), cells_of("normal", passes[1], few, "denominator")
    )
    return Coverage(
        method=name,
        passes=" / ".join(map(str, passes)),
        shares={
            **{one: share for one, other, equal, share in found if equal and one == other},
            "mixed": min(share for one, other, equal, share in found if equal and one != other),
            "unequal": min(share for _, _, equal, share in found if not equal),
        },
        limits={},
        half_width=half_width(width),
    )


def used_methods(draws: int) -> Iterator[tuple[str, Coverage]]:
    """What is estimated, and the coverage of the method that the pipeline uses for it."""
    for passes in PASSES:
        yield "mean", of_mean(CHOSEN_MEAN, passes, draws)
        yield "median", of_median(CHOSEN_MEDIAN, passes, draws)
    for pair in PAIRS:
        yield "ratio of two means", of_ratio(CHOSEN_RATIO, pair, draws)


def percent(share: float) -> str:
    """A share as a percentage with one decimal."""
    return f"{share * 100:.1f}"


def rows(results: Sequence[Coverage]) -> list[list[str]]:
    """The table of one figure: the heading, then a row per method and number of passes."""
    kinds, limits = list(results[0].shares), list(results[0].limits)
    heading = ["method", "passes", *kinds, "worst", "printed", "± %", *limits]
    chosen = (CHOSEN_MEAN, CHOSEN_MEDIAN, CHOSEN_RATIO)
    return [
        heading,
        *(
            [
                f"{one.method}{' (used)' if one.method in chosen else ''}",
                one.passes,
                *(percent(one.shares[kind]) for kind in kinds),
                percent(one.worst),
                f"{one.level:.0%}",
                percent(one.half_width),
                *(percent(one.limits[kind]) for kind in limits),
            ]
            for one in results
        ),
    ]


@click.command(help="Simulate how often each method's interval contains the true value.")
@click.option("--draws", type=click.IntRange(min=1), default=20_000, show_default=True)
@click.option("--write", is_flag=True, help=f"Write the tables to {METHODOLOGY}.")
def main(draws: int, write: bool) -> None:
    """Print the coverage tables."""
    tables = {
        "mean": rows([of_mean(name, n, draws) for name in MEAN_METHODS for n in PASSES]),
        "median": rows([of_median(name, n, draws) for name in MEDIAN_METHODS for n in PASSES]),
        "ratio of two means": rows(
            [of_ratio(name, pair, draws) for name in RATIO_METHODS for pair in PAIRS]
        ),
    }
    titled = {
        f"Coverage of the {figure}, %, {draws:,} draws each": table
        for figure, table in tables.items()
    }
    console = Console()
    for title, (heading, *body) in titled.items():
        table = Table(title=title)
        for number, column in enumerate(heading):
            table.add_column(column, justify="right" if number else "left")
        for row in body:
            table.add_row(*row)
        console.print(table)
    if write:
        text = "\n\n".join(f"{title}:\n\n{as_markdown(table)}" for title, table in titled.items())
        write_section(f"\n{text}\n", SECTION)


if __name__ == "__main__":
    main()
