"""All workloads of a comparison together: the mean ratio, who wins how often, and where it changes.

Rules:

* The ratio of a workload is that of the cells that both backends would be deployed with: candidate
  over reference in items/s. A workload in which one has no eligible cell has none.
* Ratios are averaged geometrically: the mean of a ratio and of its inverse then agree, which no
  arithmetic mean of ratios does (Fleming and Wallace, Communications of the ACM 29, 1986, 218-221).
* The winner changes between two workloads that follow one another by size and have different
  winners. Workloads without a winner are passed over, and so are those in which only one backend
  has an eligible cell: that one wins whatever the size.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from itertools import groupby, pairwise

from stages.compare.cells import Seconds
from stages.compare.intervals import WeightedPair, mean_ratio_interval, ratio_interval
from stages.contract import Backend, View
from stages.documents.cell import CellKey
from stages.documents.comparison import (
    AtWorkload,
    Comparison,
    Crossing,
    Summary,
    ViewComparison,
    ViewSummary,
    WeightedRatio,
)

type SecondsByView = Mapping[View, Mapping[CellKey, Seconds]]
"""The seconds of the passes that the figures of each cell come from."""

type _Sides = tuple[Seconds, Seconds]


def summarize(
    compared: Sequence[Comparison],
    seconds: Mapping[str, SecondsByView],
    mix: Mapping[str, Mapping[str, float]],
) -> Summary:
    """Both views over all workloads.

    Args:
        compared: each workload, by rising total tokens.
        seconds: by workload.
        mix: of the contract.
    """
    return Summary(
        portable=_view([(one, one.portable) for one in compared], seconds, mix),
        best_native=_view([(one, one.best_native) for one in compared], seconds, mix),
    )


def _view(
    compared: Sequence[tuple[Comparison, ViewComparison]],
    seconds: Mapping[str, SecondsByView],
    mix: Mapping[str, Mapping[str, float]],
) -> ViewSummary:
    sides = {
        one.scope.workload: found
        for one, view in compared
        if (found := _sides(view, seconds[one.scope.workload][view.view])) is not None
    }
    rows = [_at(one, view, sides.get(one.scope.workload)) for one, view in compared]
    view = compared[0][1]
    return ViewSummary(
        view=view.view,
        workloads=rows,
        wins={b: sum(row.outcome == b for row in rows) for b in view.pair.both},
        ties=sum(row.outcome == "tie" for row in rows),
        undecided=sum(row.outcome in ("none", "deferred") for row in rows),
        mean=weighted_ratio({row.workload: 1.0 for row in rows}, sides),
        mixes={name: weighted_ratio(weights, sides) for name, weights in mix.items()},
        crossings=crossings(rows, view.pair.both),
    )


def _sides(view: ViewComparison, seconds: Mapping[CellKey, Seconds]) -> _Sides | None:
    """The seconds of the reference's selected cell and of the candidate's, if both have one."""
    one, other = (view.selected_cell(backend) for backend in view.pair.both)
    # Seconds are the inverse of items per second, so the reference is the numerator.
    return None if one is None or other is None else (seconds[other.key], seconds[one.key])


def _at(one: Comparison, view: ViewComparison, sides: _Sides | None) -> AtWorkload:
    return AtWorkload(
        workload=one.scope.workload,
        items=one.scope.items,
        total_tokens=one.scope.total_tokens,
        outcome=view.winner.outcome,
        items_per_s=None if sides is None else float(sides[0].mean() / sides[1].mean()),
        items_per_s_interval=None if sides is None else ratio_interval(*sides),
    )


def weighted_ratio(weights: Mapping[str, float], sides: Mapping[str, _Sides]) -> WeightedRatio:
    """The geometric mean of the ratios of workloads.

    Args:
        weights: of each workload, on any scale.
        sides: numerator and denominator of each workload that has a ratio.
    """
    known = {name: weight for name, weight in weights.items() if name in sides}
    total = sum(known.values())
    pairs = [WeightedPair(*sides[name], weight / total) for name, weight in known.items()]
    logs = (p.weight * math.log(p.numerator.mean() / p.denominator.mean()) for p in pairs)
    return WeightedRatio(
        weights=dict(weights),
        left_out=[name for name in weights if name not in known],
        items_per_s=math.exp(sum(logs)) if pairs else None,
        items_per_s_interval=mean_ratio_interval(pairs) if pairs else None,
    )


def crossings(rows: Iterable[AtWorkload], both: Sequence[Backend]) -> list[Crossing]:
    """Where the winner changes over the total tokens, or over the items where that is simpler.

    Args:
        rows: every workload.
        both: the backends.
    """
    won = [row for row in rows if row.outcome in both and row.items_per_s is not None]
    by_tokens = _changes([(row.total_tokens, row.outcome) for row in won])
    if by_tokens is not None and len(by_tokens) <= 1:
        return [Crossing(axis="total_tokens", **change) for change in by_tokens]
    by_items = _changes([(row.items, row.outcome) for row in won])
    if by_items is not None and len(by_items) == 1:
        return [Crossing(axis="items", **change) for change in by_items]
    return [Crossing(axis="total_tokens", **change) for change in by_tokens or []]


def _changes(sized: Iterable[tuple[int, Backend]]) -> list[dict[str, int | str]] | None:
    """Neighbours by size with different winners; ``None`` where one size has both."""
    winners = {
        size: {winner for _, winner in same}
        for size, same in groupby(sorted(sized), key=lambda one: one[0])
    }
    if any(len(found) > 1 for found in winners.values()):
        return None
    steps = [(size, winner) for size, found in winners.items() for winner in found]
    return [
        {"below": below, "above": above, "winner_below": loses, "winner_above": wins}
        for (below, loses), (above, wins) in pairwise(steps)
        if loses != wins
    ]
