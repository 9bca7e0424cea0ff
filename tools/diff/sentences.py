"""The changes from one comparison to another in sentences."""

from __future__ import annotations

import math
import statistics
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from stages.documents.comparison import Pair
from stages.report import format as f
from stages.report.prose.server import failures
from tools.diff.changes import CHANGED, COMPARED, CellChange, SameCell, Word

NAMED = 3
"""How many changed cells the first sentence names."""

_TENFOLD = 10.0
"""From here on a bound says only that there are too few passes."""


@dataclass(frozen=True, slots=True)
class Naming:
    """How cells are named in sentences.

    Attributes:
        pair: the backends.
        several: whether the workload is named, because there are several.
    """

    pair: Pair
    several: bool

    def place(self, of: SameCell) -> str:
        """``JAX, portable view, chunk size 8``, after the workload's name where there are more."""
        return self.at(of.workload, f.place(of.backend, of.view, of.chunk_size, self.pair))

    def at(self, workload: str, text: str) -> str:
        """``text`` after the workload's name where there are more."""
        return f"{workload}, {text}" if self.several else text


def headline(
    cells: list[CellChange], of: Naming, barred: Mapping[str, list[str]], at_least: float
) -> str:
    """The answer to "did it change, or is it noise?" in a sentence or two.

    Args:
        cells: of every workload that both sides have.
        of: how they are named.
        barred: why the speed at each of those workloads cannot be compared; empty where it can.
        at_least: the smallest change of items/s that counts, as a share.
    """
    if not barred:
        return "These runs cannot be compared: they have no workload in common."
    if all(barred.values()):
        return f"These runs cannot be compared: the new one has {_obstacles(barred)}."
    compared = [c for c in cells if c.word in COMPARED]
    if not compared:
        return "No speed can be compared: no cell works and was measured anew in both runs."
    moved = sorted((c for c in cells if c.word in CHANGED), key=_extent, reverse=True)
    small = sum(c.word == "too small to count" for c in cells)
    smallest = f.plain_percent(at_least)
    aside = f" {small} changed significantly, but by less than {smallest}." if small else ""
    if not moved:
        cell = "The one cell compared did not change" if len(compared) == 1 else "No cell changed"
        by = f"{smallest} or more" if small else "more than the noise"
        return f"{cell} by {by} ({f.count(len(compared), 'cell')} compared).{aside}"
    named = [_moved(change, of, at_least) for change in moved[:NAMED]]
    if rest := Counter(change.word for change in moved[NAMED:]):
        named.append(f"{f.join([f'{many} more {word}' for word, many in rest.items()])}")
    one = len(compared) == 1
    which = "The one cell compared" if one else f"{len(moved)} of {len(compared)} cells"
    by = f"more than the noise and by {smallest} or more" if small else "more than the noise"
    return f"{which} changed by {by}: {'; '.join(named)}.{aside}"


def _obstacles(barred: Mapping[str, list[str]]) -> str:
    """What bars every workload; which of them, where that is not the same for all."""
    alike = next(iter(barred.values()))
    if all(said == alike for said in barred.values()):
        return f.join(alike)
    return "; ".join(f"{f.join(said)} at the workload {name}" for name, said in barred.items())


def barred_ones(barred: Mapping[str, list[str]]) -> Iterator[str]:
    """The workloads whose speed cannot be compared while that of others can, a sentence each."""
    if not all(barred.values()):
        yield from (
            f"The speed at the workload {name} cannot be compared: the new one has {f.join(said)}."
            for name, said in barred.items()
            if said
        )


def _extent(change: CellChange) -> float:
    return abs(math.log1p(change.change or 0.0))


def _moved(change: CellChange, of: Naming, at_least: float) -> str:
    where = of.place(change.pair)
    ends = sorted(abs(end) for end in (change.low, change.high) if end is not None)
    between = f.TO.join(size(end).removesuffix("%") for end in ends)
    return f"{where} is {size(abs(change.change or 0.0), at_least)} {change.word} ({between}%)"


def needed(cells: list[CellChange]) -> Iterator[str]:
    """How large a change must be to stand out: up to that, "no change" proves nothing."""
    factors = [
        (1 + cell.high) / (1 + cell.change)
        for cell in cells
        if cell.high is not None and cell.change is not None
    ]
    if not factors:
        return
    factor = statistics.median(factors)
    if factor >= _TENFOLD:
        yield (
            "At the noise of these passes, not even a tenfold change stands out in half of the"
            " cells compared. Measure more passes, or on a quieter machine."
        )
        return
    bound = factor - 1
    yield (
        "At the noise of these passes, only a change of more than"
        f" {f.percent_at_most(bound, _places(bound))} stands out in half of the cells compared."
    )


def besides(cells: list[CellChange], of: Naming) -> Iterator[str]:
    """Cells that could not be compared, by reason, a sentence each."""
    for word in ("failed now", "works now"):
        if found := [c for c in cells if c.word == word]:
            yield f"{word.capitalize()}: {'; '.join(_with_failures(c, of) for c in found)}."
    tally = Counter(c.word for c in cells)
    not_compared: dict[Word, str] = {
        "new": "new",
        "gone": "gone",
        "fails in both": "failing in both runs",
        "same passes": "not measured anew (the same passes on both sides)",
        "too few passes": "left open by too few passes",
    }
    counted = [f"{tally[word]} {words}" for word, words in not_compared.items() if tally[word]]
    if counted:
        yield f"Further cells: {f.join(counted)}."


def _with_failures(change: CellChange, of: Naming) -> str:
    cell = change.pair.after if change.word == "failed now" else change.pair.before
    where = of.place(change.pair)
    before = "before: " if change.word == "works now" else ""
    return f"{where} ({before}{failures(cell.failures)})" if cell and cell.failures else where


def size(share: float, *limits: float) -> str:
    """A share as a percentage, with a decimal below 10%; only zero reads 0.0%.

    Args:
        share: the share, not negative.
        limits: thresholds; the text stays on the same side of each as the share.
    """
    if share > 99.99:
        return "over 9999%"
    return f"{f.percentage(share, _places(share), 0.0, *limits)}%"


def _places(share: float) -> int:
    return 1 if share < 0.0995 else 0
