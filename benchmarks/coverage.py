"""How often an interval holds the truth: ``python -m benchmarks.coverage``.

Draws many cells of a few passes each from noise whose truth is known, makes an interval of
each by every method of ``candidates``, and counts how many hold the truth. The mean and the
median pass take one second in every kind of noise that counts, and one pass varies by 10 %:

- normal;
- lognormal, skewed to the slow side (its median is below its mean);
- bimodal: a fast and a slow mode, equally likely, each with a spread of 3 %;
- drift: a straight line over the passes, as much variance as the normal noise about it.

Two more show a limit and do not count: a slow mode that 3, or 1, of 10 passes are in. Where
none of the few passes is, nothing in them can show it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import click
import numpy as np
from rich.console import Console
from rich.table import Table

from benchmarks.candidates import (
    CHOSEN_MEAN,
    CHOSEN_MEDIAN,
    MEAN_METHODS,
    MEDIAN_METHODS,
    Method,
    half_width,
)
from stages.compare.intervals import TARGET, Array
from stages.files import write_whole

PASSES = (5, 7, 12)
VARIATION = 0.10
WITHIN_MODE = 0.03
SEED = 11
BATCH = 2000
"""Cells simulated at once, which bounds the memory of the bootstrap methods."""

METHODOLOGY = Path("docs/methodology.md")
BEGIN, END = "<!-- coverage: begin -->", "<!-- coverage: end -->"


@dataclass(frozen=True, slots=True)
class Noise:
    """A kind of noise with known truth.

    Attributes:
        draw: (generator, cells, passes) -> seconds, shape ``(cells, passes)``.
        mean, median: the truth, in seconds.
    """

    draw: Callable[[np.random.Generator, int, int], Array]
    mean: float
    median: float


def _normal(random: np.random.Generator, cells: int, passes: int) -> Array:
    return 1 + VARIATION * random.standard_normal((cells, passes))


_LOG_VARIANCE = math.log(1 + VARIATION**2)


def _lognormal(random: np.random.Generator, cells: int, passes: int) -> Array:
    logs = random.standard_normal((cells, passes)) * math.sqrt(_LOG_VARIANCE)
    return np.exp(logs - _LOG_VARIANCE / 2)


def _drift(random: np.random.Generator, cells: int, passes: int) -> Array:
    line = np.linspace(-1, 1, passes)
    line /= line.std()
    noise = random.standard_normal((cells, passes))
    return 1 + VARIATION * math.sqrt(0.5) * (line + noise)


def _modes(slow_share: float) -> Callable[[np.random.Generator, int, int], Array]:
    gap = math.sqrt((VARIATION**2 - WITHIN_MODE**2) / (slow_share * (1 - slow_share)))

    def draw(random: np.random.Generator, cells: int, passes: int) -> Array:
        slow = random.random((cells, passes)) < slow_share
        noise = random.standard_normal((cells, passes))
        return 1 + gap * (slow - slow_share) + WITHIN_MODE * noise

    return draw


NOISES: Mapping[str, Noise] = {
    "normal": Noise(_normal, 1.0, 1.0),
    "lognormal": Noise(_lognormal, 1.0, math.exp(-_LOG_VARIANCE / 2)),
    "bimodal": Noise(_modes(0.5), 1.0, 1.0),
    "drift": Noise(_drift, 1.0, 1.0),
}
LIMITS: Mapping[str, Noise] = {
    "slow 3 of 10": Noise(_modes(0.3), 1.0, math.nan),
    "slow 1 of 10": Noise(_modes(0.1), 1.0, math.nan),
}


@dataclass(frozen=True, slots=True)
class Coverage:
    """What one method reaches at one number of passes.

    Attributes:
        shares: kind of noise -> share of cells whose interval holds the truth.
        limits: the same for the kinds that do not count; empty for the median.
        half_width: median half-width under normal noise, as a share of the truth.
    """

    method: str
    passes: int
    shares: Mapping[str, float]
    limits: Mapping[str, float]
    half_width: float

    @property
    def worst(self) -> float:
        """The smallest share over the kinds of noise that count."""
        return min(self.shares.values())

    @property
    def level(self) -> float:
        """The level to print: the worst, rounded down to a multiple of 5 %, 95 % at most."""
        return printed_level(self.worst)


def printed_level(worst: float) -> float:
    """``worst`` rounded down to a multiple of 5 %, and ``TARGET`` at most."""
    # The small number keeps a multiple of 5 % from being rounded down to the one below.
    return min(TARGET, math.floor(worst * 20 + 1e-9) / 20)


def cells_of(name: str, passes: int, draws: int) -> Array:
    """``draws`` cells of one kind of noise, the same on every call."""
    every = {**NOISES, **LIMITS}
    seed = [SEED, list(every).index(name), passes]
    return every[name].draw(np.random.Generator(np.random.PCG64(seed)), draws, passes)


def share_covered(method: Method, seconds: Array, truth: float) -> float:
    """The share of cells whose interval holds ``truth``."""
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
        passes=passes,
        shares={kind: shares[kind] for kind in NOISES},
        limits={kind: shares[kind] for kind in LIMITS},
        half_width=half_width(method(cells_of("normal", passes, min(draws, BATCH)))),
    )


def of_median(name: str, passes: int, draws: int) -> Coverage:
    """Coverage of the median by one method."""
    method = MEDIAN_METHODS[name]
    return Coverage(
        method=name,
        passes=passes,
        shares={
            kind: share_covered(method, cells_of(kind, passes, draws), noise.median)
            for kind, noise in NOISES.items()
        },
        limits={},
        half_width=half_width(method(cells_of("normal", passes, min(draws, BATCH)))),
    )


def percent(share: float) -> str:
    """A share as a percentage with one decimal."""
    return f"{share * 100:.1f}"


def rows(results: Sequence[Coverage]) -> list[list[str]]:
    """The table of one figure: the heading, then a row a method and number of passes."""
    limits = list(results[0].limits)
    heading = ["method", "passes", *NOISES, "worst", "printed", "± %", *limits]
    chosen = (CHOSEN_MEAN, CHOSEN_MEDIAN)
    return [
        heading,
        *(
            [
                f"{one.method}{' (used)' if one.method in chosen else ''}",
                str(one.passes),
                *(percent(one.shares[kind]) for kind in NOISES),
                percent(one.worst),
                f"{one.level:.0%}",
                percent(one.half_width),
                *(percent(one.limits[kind]) for kind in limits),
            ]
            for one in results
        ),
    ]


def as_markdown(table: Sequence[Sequence[str]]) -> str:
    """A Markdown table, figures to the right."""
    heading, *body = table
    lines = [heading, ["---", *["---:"] * (len(heading) - 1)], *body]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def between_markers(page: str, text: str) -> str:
    """``page`` with ``text`` in place of what stands between its two markers."""
    before, found, rest = page.partition(BEGIN)
    _, ended, after = rest.partition(END)
    if not found or not ended:
        raise click.ClickException(f"{METHODOLOGY}: no {BEGIN} ... {END} to write between")
    return f"{before}{BEGIN}\n{text}\n{END}{after}"


@click.command(help="Simulate how often each method's interval holds the truth.")
@click.option("--draws", type=click.IntRange(min=1), default=20_000, show_default=True)
@click.option("--write", is_flag=True, help=f"Put the tables into {METHODOLOGY}.")
def main(draws: int, write: bool) -> None:
    """Print the coverage tables."""
    means = rows([of_mean(name, n, draws) for name in MEAN_METHODS for n in PASSES])
    medians = rows([of_median(name, n, draws) for name in MEDIAN_METHODS for n in PASSES])
    titles = [f"Coverage of the {figure}, %, {draws:,} cells each" for figure in ("mean", "median")]
    console = Console()
    for title, (heading, *body) in zip(titles, (means, medians), strict=True):
        table = Table(title=title)
        for number, column in enumerate(heading):
            table.add_column(column, justify="right" if number else "left")
        for row in body:
            table.add_row(*row)
        console.print(table)
    if write:
        text = "\n\n".join(
            f"{title}:\n\n{as_markdown(table)}"
            for title, table in zip(titles, (means, medians), strict=True)
        )
        page = between_markers(METHODOLOGY.read_text(), f"\n{text}\n")
        write_whole(METHODOLOGY, page.encode())


if __name__ == "__main__":
    main()
