"""JAX next to PyTorch at each chunk size, and neighbouring chunk sizes told as one.

Rules:

* A ratio is JAX / PyTorch at the same chunk size of the same view. More items/s is
  better, a lower p95 is better.
* Within ``LEVEL`` of 1 the backends are level: neither is better there.
* Chunk sizes that follow one another in the contract and fall on the same side are one
  group, told with its smallest and largest ratio.
* Being better counts only where JAX's cell is eligible (every pass succeeded, the scores
  pass the gate). Being worse counts wherever there are figures.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from stages.comparison import Cell, Comparison, ViewComparison
from stages.contract import View

LEVEL = 0.01

type Quantity = Literal["items_per_s", "p95_s"]
type Side = Literal["better", "level", "worse"]

QUANTITIES: tuple[Quantity, ...] = ("items_per_s", "p95_s")


@dataclass(frozen=True, slots=True)
class Pair:
    """Both backends at one chunk size of one view.

    Attributes:
        view, chunk_size: where.
        jax, pytorch: the two cells.
    """

    view: View
    chunk_size: int
    jax: Cell
    pytorch: Cell

    def ratio(self, quantity: Quantity) -> float | None:
        """JAX / PyTorch, where both have the figure and PyTorch's is above zero."""
        jax, pytorch = getattr(self.jax, quantity), getattr(self.pytorch, quantity)
        return None if jax is None or not pytorch else jax / pytorch

    def side(self, quantity: Quantity) -> Side | None:
        """On which side JAX is, where there is a ratio."""
        ratio = self.ratio(quantity)
        if ratio is None:
            return None
        if abs(ratio - 1) <= LEVEL:
            return "level"
        return "better" if (ratio > 1) == (quantity == "items_per_s") else "worse"

    @property
    def known(self) -> bool:
        """Whether both backends have figures."""
        return self.ratio("items_per_s") is not None


@dataclass(frozen=True, slots=True)
class Group:
    """Neighbouring chunk sizes at which JAX is on the same side.

    Attributes:
        view, quantity: of which figure.
        chunk_sizes: rising.
        low, high: smallest and largest ratio among them.
        unsteady: those at which either backend's cell is flagged (see ``flagged``).
    """

    view: View
    quantity: Quantity
    chunk_sizes: list[int]
    low: float
    high: float
    unsteady: list[int]


def flagged(cell: Cell) -> bool:
    """Whether a cell's figures are unstable or its server compiled inside a timed pass."""
    return bool(cell.instability or cell.compiled_passes)


def cells(comparison: Comparison) -> list[Cell]:
    """Every cell, portable view first."""
    return [cell for view in comparison.views() for cell in view.cells]


def pairs(view: ViewComparison) -> list[Pair]:
    """Both backends at every chunk size of ``view``, by rising chunk size."""
    sizes = sorted({c.chunk_size for c in view.cells})
    return [Pair(view.view, s, view.cell("jax", s), view.cell("pytorch", s)) for s in sizes]


def groups(of: Sequence[Pair], quantity: Quantity, side: Side) -> Iterator[Group]:
    """The groups of ``of`` (rising chunk sizes of one view) on which JAX is on ``side``."""
    run: list[Pair] = []
    for pair in of:
        counts = pair.side(quantity) == side and (side != "better" or pair.jax.eligible)
        if counts:
            run.append(pair)
        elif run:
            yield _group(run, quantity)
            run = []
    if run:
        yield _group(run, quantity)


def _group(run: Sequence[Pair], quantity: Quantity) -> Group:
    ratios = [ratio for pair in run if (ratio := pair.ratio(quantity)) is not None]
    sizes = [pair.chunk_size for pair in run]
    unsteady = [pair.chunk_size for pair in run if flagged(pair.jax) or flagged(pair.pytorch)]
    return Group(run[0].view, quantity, sizes, min(ratios), max(ratios), unsteady)


def barred(of: Sequence[Pair]) -> list[Pair]:
    """Where JAX is better in a figure but its cell is not eligible."""
    return [
        pair
        for pair in of
        if not pair.jax.eligible and "better" in [pair.side(quantity) for quantity in QUANTITIES]
    ]
