"""Confidence levels of the printed intervals, by the number of passes behind them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from stages.documents.comparison import Cell, Interval, ViewComparison
from stages.report import format as f
from stages.report.ratios import pairs


def of_items_per_s(view: ViewComparison) -> str:
    """The level of the intervals of items/s, in a sentence."""
    intervals = levels((cell.good_passes, cell.items_per_s_interval) for cell in view.cells)
    if not intervals:
        return "No cell has passes enough for an interval of its items/s."
    return f"In brackets: the interval of items/s, {intervals}."


def of_latency(view: ViewComparison) -> str:
    """The levels of the intervals of p50 and the mean, in a sentence."""
    median = levels((cell.good_passes, cell.p50_s_interval) for cell in view.cells)
    mean = levels((cell.good_passes, cell.mean_s_interval) for cell in view.cells)
    if not median or not mean:
        return "No cell has passes enough for an interval of its latency."
    if median == mean:
        return f"In brackets: the intervals of p50 and of the mean, {mean}."
    return f"In brackets: the interval of p50, {median}; of the mean, {mean}."


def of_ratio(view: ViewComparison) -> str:
    """The level of the intervals of the ratio, in a sentence."""
    intervals = levels(
        (_fewer(pair.candidate, pair.reference), pair.stated.items_per_s_interval)
        for pair in pairs(view)
    )
    if not intervals:
        return "No chunk size has passes enough for an interval of the items/s ratio."
    return (
        "In brackets: the interval of the items/s ratio, by the passes of the backend that has"
        f" fewer: {intervals}."
    )


def _fewer(one: Cell, other: Cell) -> int:
    return min(one.good_passes, other.good_passes)


def levels(found: Iterable[tuple[int, Interval | None]]) -> str:
    """``90% with 5 passes and 95% with 7 and 12 passes``; empty where there is no interval.

    Args:
        found: passes and the interval that stands on them.
    """
    by_passes = {passes: made.level for passes, made in found if made is not None}
    return f.join(list(_told(by_passes)))


def _told(by_passes: dict[int, float]) -> Iterator[str]:
    by_level: dict[float, list[int]] = {}
    for passes, level in sorted(by_passes.items()):
        by_level.setdefault(level, []).append(passes)
    for level, counts in by_level.items():
        yield f"{f.percent(level)} with {_counts(counts)} passes"


def _counts(counts: Sequence[int]) -> str:
    return f.join([str(count) for count in counts])
