"""The candidate's order of the items against the reference's, request by request.

What users do with scores is sort by them. Rules:

* Items are sorted by the score of their first label, the highest first.
* Two items whose reference scores differ by no more than the noise floor are tied: neither order
  of them is wrong. Only the other pairs count, those that the reference *tells apart*.
* A pair is flipped where the candidate scores it the other way round. Where it gives both items
  the very same score, the pair is tied by the candidate, which is no flip.

Over the pairs that are told apart, with C of them in the same order, D flipped and T tied by the
candidate, Kendall's tau-b is::

    (C - D) / sqrt((C + D + T) * (C + D))

That is Daniels' general correlation coefficient (Biometrika 33, 1944, p. 129) of the signs of the
pairs, from which Kendall made tau-b (Biometrika 33, 1945, p. 239), with the signs of untold pairs
set to 0 on both sides. Being within the noise of one another is not transitive, so such ties make
no groups of equal ranks, and ``scipy.stats.kendalltau`` cannot be given them. Where the reference
tells all pairs apart, both agree.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import polars as pl

from stages.compare.gate import identical_requests
from stages.contract import RankingGate
from stages.documents.comparison import FlippedPair, NoiseFloor, Ranking, Reason

TOP = 10

# Pairs that are held in memory at once.
_PAIRS_AT_ONCE = 1 << 20

type Array = npt.NDArray[np.float64]
type _Signs = npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Order:
    """The order of one pass.

    Attributes:
        pairs: number of pairs of items that the reference tells apart.
        flipped: how many of them the candidate has the other way round.
        tau: Kendall's tau-b over these pairs; 0 where the candidate ties them all, ``None`` where
            there are none.
        top_1: whether the candidate's first item is also the reference's.
        top_10: how many of the candidate's first 10 are also among the reference's.
        widest: the flipped pair whose reference scores are furthest apart.

    An item at the noise floor of the reference's last place, or nearer, counts as among the first.
    Of items that the candidate ties there, the wrong ones come first. ``top_1`` and ``top_10`` are
    ``None`` where there are no more items than places.
    """

    pairs: int
    flipped: int
    tau: float | None
    top_1: bool | None
    top_10: int | None
    widest: FlippedPair | None


def rank(
    candidate: pl.DataFrame, reference: pl.DataFrame, labels: int, noise: float | None
) -> Ranking:
    """The order in one cell, each figure from the worst of its successful timed passes.

    Args:
        candidate: passes of one cell of the candidate, as ``passes_of`` returns them.
        reference: passes of the reference; those of other cells are ignored.
        labels: scores per item.
        noise: reference scores that differ by no more are tied; ``None`` counts as 0.

    Passes are paired as the gate pairs them. Scores that are not finite, or not as many as the
    reference's, have no order; the gate fails them.
    """
    rows = list(identical_requests(candidate, reference).iter_rows(named=True))
    found = []
    for row in rows:
        scores, right = (np.asarray(row[name])[::labels] for name in ("scores", "reference_scores"))
        if scores.size == right.size and np.isfinite([*scores, *right]).all():
            found.append((f"{row['phase']} {row['run']}", right.size, order(scores, right, noise)))
    orders = [one for _, _, one in found]
    worst = max(found, key=lambda one: _how_bad(one[2]), default=None)
    return Ranking(
        items=worst and worst[1],
        compared_passes=len(found),
        noise=noise,
        tau=min((one.tau for one in orders if one.tau is not None), default=None),
        top_1=_lowest(one.top_1 for one in orders),
        top_10=_lowest(one.top_10 for one in orders),
        pairs=worst and worst[2].pairs,
        flipped_pairs=worst and worst[2].flipped,
        worst_pass=worst and worst[0],
        widest_flip=max(
            (one.widest for one in orders if one.widest is not None),
            key=lambda flip: flip.difference,
            default=None,
        ),
    )


def largest_noise(floors: Iterable[NoiseFloor]) -> float | None:
    """The largest of the noise floors that are known; ``None`` where none is."""
    return max((f.max_abs_diff for f in floors if f.max_abs_diff is not None), default=None)


def order(candidate: Array, reference: Array, noise: float | None) -> Order:
    """The order of one pass; see the module for ties.

    Args:
        candidate: the score of each item by which it is sorted.
        reference: the same of the reference, item by item.
        noise: reference scores that differ by no more are tied; ``None`` counts as 0.
    """
    floor = noise or 0.0
    pairs = flipped = tied = 0
    widest: FlippedPair | None = None
    for rows in _blocks(reference.size):
        # Each pair is told apart in one of its two directions: where the first scores higher.
        apart = reference[rows, None] - reference
        told = apart > floor
        ahead = candidate[rows, None] - candidate
        swapped = told & (ahead < 0)
        pairs += int(told.sum())
        flipped += int(swapped.sum())
        tied += int((told & (ahead == 0)).sum())
        widest = _wider(widest, _widest(apart, swapped, rows.start))
    return Order(
        pairs=pairs,
        flipped=flipped,
        tau=_tau(pairs, flipped, tied),
        top_1=None if (top := _top(candidate, reference, floor, 1)) is None else top == 1,
        top_10=_top(candidate, reference, floor, TOP),
        widest=widest,
    )


def _blocks(items: int) -> Iterator[slice]:
    rows = max(1, _PAIRS_AT_ONCE // max(1, items))
    return (slice(begin, begin + rows) for begin in range(0, items, rows))


def _tau(pairs: int, flipped: int, tied: int) -> float | None:
    if not pairs:
        return None
    ordered = pairs - tied
    return (ordered - 2 * flipped) / math.sqrt(pairs * ordered) if ordered else 0.0


def _widest(apart: Array, swapped: _Signs, first: int) -> FlippedPair | None:
    if not swapped.any():
        return None
    at = int(np.where(swapped, apart, -np.inf).argmax())
    above, below = divmod(at, apart.shape[1])
    return FlippedPair(items=[first + above, below], difference=float(apart[above, below]))


def _wider(one: FlippedPair | None, other: FlippedPair | None) -> FlippedPair | None:
    if one is None or other is None:
        return one or other
    return other if other.difference > one.difference else one


def _top(candidate: Array, reference: Array, noise: float, places: int) -> int | None:
    """How many of the candidate's first ``places`` items are also the reference's."""
    if reference.size <= places:
        return None
    right = reference >= np.sort(reference)[-places] - noise
    # By falling score; of equal ones those that do not belong there first.
    return int(right[np.lexsort((right, -candidate))[:places]].sum())


def _how_bad(found: Order) -> tuple[int, float]:
    return found.flipped, -(1.0 if found.tau is None else found.tau)


def _lowest[T: (bool, int)](found: Iterable[T | None]) -> T | None:
    return min((one for one in found if one is not None), default=None)


def ranking_reasons(found: Ranking | None, limits: RankingGate | None) -> list[Reason]:
    """Why the order of the items makes a cell ineligible; empty when it does not.

    Args:
        found: of the cell; ``None`` for the reference, which is not gated.
        limits: of the contract; ``None`` where the order is reported only.

    Nothing is said of a cell without a compared pass, for which the gate has a reason, nor of a
    single item, which has only one order.
    """
    if found is None or limits is None or not found.compared_passes or found.items == 1:
        return []
    if found.tau is None or found.flipped_pairs is None:
        return [Reason(code="ranking_unknown")]
    if found.tau >= limits.min_tau and found.flipped_pairs <= limits.max_flips:
        return []
    return [
        Reason(
            code="ranking_failed",
            tau=found.tau,
            min_tau=limits.min_tau,
            flips=found.flipped_pairs,
            max_flips=limits.max_flips,
        )
    ]
