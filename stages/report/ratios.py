"""The candidate's ratio to the reference at each chunk size, and groups of neighbouring sizes.

Rules:

* A ratio is candidate / reference at the same chunk size of the same view, as the comparison states
  it. More items/s is better, a lower p95 is better.
* A ratio whose interval holds 1 is open: neither backend is better there. A ratio of items/s
  without an interval is open too, since a single pass cannot tell a difference from noise. The
  ratio of p95 never has one, describes these passes only, and is open within ``LEVEL`` of 1.
* Chunk sizes that follow one another in the contract and fall on the same side are one
  group, with its smallest and largest ratio.
* Being better counts only where the candidate's cell is eligible (every pass succeeded, the scores
  pass the gate). Being worse counts wherever there are figures.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from stages.contract import View
from stages.documents.comparison import Cell, Comparison, Interval, Ratio, Role, ViewComparison

LEVEL = 0.01

type Quantity = Literal["items_per_s", "p95_s"]
type Side = Literal["better", "open", "worse"]

QUANTITIES: tuple[Quantity, ...] = ("items_per_s", "p95_s")


@dataclass(frozen=True, slots=True)
class Factor:
    """A ratio and its interval, if it has one."""

    value: float
    interval: Interval | None

    @property
    def excess(self) -> Literal[-1, 0, 1]:
        """Whether the ratio is below 1 (-1), not distinguishable from 1 (0), or above it (1)."""
        if self.interval is not None:
            # An interval without an upper end reaches to infinity.
            end = math.inf if self.interval.high is None else self.interval.high
            return 1 if self.interval.low > 1 else -1 if end < 1 else 0
        if abs(self.value - 1) <= LEVEL:
            return 0
        return 1 if self.value > 1 else -1


@dataclass(frozen=True, slots=True)
class AtOneSize:
    """Both backends at one chunk size of one view.

    Attributes:
        view, chunk_size: where.
        candidate, reference: the two cells.
        stated: the comparison's ratios of the two.
    """

    view: View
    chunk_size: int
    candidate: Cell
    reference: Cell
    stated: Ratio

    def factor(self, quantity: Quantity) -> Factor | None:
        """Candidate / reference with its interval, where both have the figure."""
        ratio = self.ratio(quantity)
        if ratio is None:
            return None
        interval = self.stated.items_per_s_interval if quantity == "items_per_s" else None
        return Factor(ratio, interval)

    def ratio(self, quantity: Quantity) -> float | None:
        """Candidate / reference, where both have the figure."""
        return self.stated.items_per_s if quantity == "items_per_s" else self.stated.p95_s

    def side(self, quantity: Quantity) -> Side | None:
        """Whether the candidate is better, worse or open; ``None`` without a ratio."""
        factor = self.factor(quantity)
        if factor is None:
            return None
        unbounded = quantity == "items_per_s" and factor.interval is None
        if unbounded or factor.excess == 0:
            return "open"
        return "better" if (factor.excess > 0) == (quantity == "items_per_s") else "worse"

    def cell(self, role: Role) -> Cell:
        """The cell of the backend in ``role``."""
        return self.candidate if role == "candidate" else self.reference

    @property
    def known(self) -> bool:
        """Whether both backends have figures."""
        return self.stated.items_per_s is not None


@dataclass(frozen=True, slots=True)
class Group:
    """Neighbouring chunk sizes at which the candidate is on the same side.

    Attributes:
        view, quantity: of which figure.
        chunk_sizes: rising.
        low, high: smallest and largest ratio among them.
        unsteady: those at which either backend's cell is flagged (see ``flagged``).
    """

    view: View
    quantity: Quantity
    chunk_sizes: list[int]
    low: Factor
    high: Factor
    unsteady: list[int]


def flagged(cell: Cell) -> bool:
    """Whether a cell is unstable, or its server compiled or drew on its cache in a timed pass."""
    return bool(cell.instability or cell.compiled_passes or cell.excess_passes)


def cells(comparison: Comparison) -> list[Cell]:
    """Every cell, portable view first."""
    return [cell for view in comparison.views() for cell in view.cells]


def pairs(view: ViewComparison) -> list[AtOneSize]:
    """Both backends at every chunk size of ``view``, by rising chunk size."""
    return [
        AtOneSize(
            view=view.view,
            chunk_size=stated.chunk_size,
            candidate=view.cell(view.pair.candidate.key, stated.chunk_size),
            reference=view.cell(view.pair.reference.key, stated.chunk_size),
            stated=stated,
        )
        for stated in view.ratios
    ]


def groups(of: Sequence[AtOneSize], quantity: Quantity, side: Side) -> Iterator[Group]:
    """The groups of ``of`` (rising chunk sizes of one view) where the candidate is on ``side``."""
    run: list[AtOneSize] = []
    for pair in of:
        counts = pair.side(quantity) == side and (side != "better" or pair.candidate.eligible)
        if counts:
            run.append(pair)
        elif run:
            yield _group(run, quantity)
            run = []
    if run:
        yield _group(run, quantity)


def _group(run: Sequence[AtOneSize], quantity: Quantity) -> Group:
    factors = [factor for pair in run if (factor := pair.factor(quantity)) is not None]
    factors.sort(key=lambda factor: factor.value)
    return Group(
        view=run[0].view,
        quantity=quantity,
        chunk_sizes=[pair.chunk_size for pair in run],
        low=factors[0],
        high=factors[-1],
        unsteady=[p.chunk_size for p in run if flagged(p.candidate) or flagged(p.reference)],
    )


def barred(of: Sequence[AtOneSize]) -> list[AtOneSize]:
    """Where the candidate is better in a figure but its cell is not eligible."""
    return [
        pair
        for pair in of
        if not pair.candidate.eligible
        and "better" in [pair.side(quantity) for quantity in QUANTITIES]
    ]
