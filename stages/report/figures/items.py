"""``items-VIEW.svg``: how far the candidate's scores of each item are from the reference's."""

from __future__ import annotations

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from stages.documents.comparison import Comparison, ItemDifference, ViewComparison
from stages.report.figures.drawing import (
    INK,
    LINES,
    absent,
    difference_axis,
    grid,
    legend_below,
    new_figure,
    only_say,
    title_of,
)
from stages.report.figures.theme import LIGHT

# Above this many items the marks shrink, so that neighbours stay apart.
_MANY = 64


def item_differences(comparison: Comparison, view: ViewComparison) -> Figure:
    """The largest and the mean score difference of every item of ``view``."""
    drawing = new_figure()
    axes = drawing.subplots()
    title_of(axes, "Score differences by item", view)
    axes.set_xlabel("item")
    axes.set_ylabel("difference, log scale")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    grid(axes)
    if not view.item_differences:
        missing = [absent(view, b) for b in view.pair.both if b in view.unavailable]
        only_say(axes, missing or ["no scores compared"])
        return drawing
    _items(axes, view.item_differences)
    gate = comparison.gate
    axes.axhline(gate.max_abs_diff, label="gate's limit, largest", color=INK, linewidth=1.8)
    axes.axhline(
        gate.mean_abs_diff,
        label="gate's limit, mean of a pass",
        color=INK,
        linewidth=1.4,
        linestyle=(0, (5, 3)),
    )
    every = [item for one in comparison.views() for item in one.item_differences]
    found = [value for item in every for value in (item.max_abs_diff, item.mean_abs_diff)]
    difference_axis(axes, "y", [gate.max_abs_diff, gate.mean_abs_diff, *found])
    axes.set_xlim(-1, max([comparison.scope.items, *(item.item + 1 for item in every)]))
    legend_below(drawing)
    return drawing


def _items(axes: Axes, items: list[ItemDifference]) -> None:
    size = 6.0 if len(items) <= _MANY else 3.5
    where = [one.item for one in items]
    axes.plot(
        where,
        [one.max_abs_diff for one in items],
        label="largest of the item",
        linestyle="none",
        marker="o",
        markersize=size,
        color=LINES["candidate"]["color"],
        markeredgewidth=0,
        clip_on=False,
    )
    axes.plot(
        where,
        [one.mean_abs_diff for one in items],
        label="mean of the item",
        linestyle="none",
        marker="d",
        markersize=0.7 * size,
        color=LIGHT["--grey"],
        markeredgewidth=0,
        clip_on=False,
    )
