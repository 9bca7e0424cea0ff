"""``by_workload.svg``: the ratio of items per second over the size of the workloads, both views."""

from __future__ import annotations

import math
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import (
    FixedFormatter,
    FixedLocator,
    FuncFormatter,
    NullFormatter,
    NullLocator,
)

from stages.contract import View
from stages.documents.comparison import AtWorkload, ComparisonSet, ViewSummary
from stages.report import format as f
from stages.report.figures.drawing import (
    INK,
    PAGE,
    grid,
    legend_below,
    log_numbers,
    new_figure,
    only_say,
)
from stages.report.figures.theme import LIGHT

# Told apart without colour too.
_MARKS: dict[View, dict[str, Any]] = {
    "portable": {
        "color": LIGHT["--green"],
        "marker": "D",
        "markerfacecolor": PAGE,
    },
    "best_native": {
        "color": LIGHT["--purple"],
        "marker": "o",
        "markerfacecolor": LIGHT["--purple"],
    },
}
# The two views step aside along the axis, so that the bars of equals do not hide one another.
_LETTERS = 14
_ASIDE: dict[View, float] = {"portable": 0.985, "best_native": 1.015}


def by_workload(found: ComparisonSet) -> Figure:
    """Candidate / reference at every workload, by total tokens, with the intervals as bars."""
    drawing = new_figure(height=4.2)
    axes = drawing.subplots()
    pair = found.workloads[0].pair
    names = f"{pair.candidate.title} / {pair.reference.title}"
    axes.set_title(f"{names} by workload (above 1 {pair.candidate.title} is faster)")
    axes.set_ylabel("ratio of items per second, log scale")
    views = found.summary.views()
    if not any(row.items_per_s for view in views for row in view.workloads):
        only_say(axes, ["no workload has a ratio"])
        return drawing
    for view in views:
        _points(axes, view)
    axes.axhline(1.0, color=INK, linewidth=1.0, zorder=2)
    _sizes(axes, views[0].workloads)
    log_numbers(axes)
    axes.set_ylim(*_limits(found))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    legend_below(drawing, list(_missing(views)))
    return drawing


def _points(axes: Axes, view: ViewSummary) -> None:
    known = [row for row in view.workloads if row.items_per_s is not None]
    places = [row.total_tokens * _ASIDE[view.view] for row in known]
    axes.plot(
        places,
        [row.items_per_s or math.nan for row in known],
        label=f"{f.VIEW_NAMES[view.view]} view",
        # No line: nothing was measured between workloads.
        linestyle="none",
        markersize=7,
        zorder=3,
        **_MARKS[view.view],
    )
    for place, row in zip(places, known, strict=True):
        bar = row.items_per_s_interval
        if bar is not None and bar.high is not None:
            axes.plot(
                [place, place],
                [bar.low, bar.high],
                label="_bar",
                color=_MARKS[view.view]["color"],
                linewidth=1.2,
                marker="_",
                markersize=6,
            )


def _sizes(axes: Axes, workloads: list[AtWorkload]) -> None:
    """Total tokens along a log axis, each named by its workloads."""
    named: dict[int, list[str]] = {}
    for row in workloads:
        named.setdefault(row.total_tokens, []).append(row.workload)
    axes.set_xscale("log")
    axes.xaxis.set_major_locator(FixedLocator(list(named)))
    labels = [f"{_short(of)} ({tokens:,})" for tokens, of in named.items()]
    axes.xaxis.set_major_formatter(FixedFormatter(labels))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.tick_params(axis="x", labelrotation=35)
    for label in axes.get_xticklabels():
        label.set_horizontalalignment("right")
        label.set_rotation_mode("anchor")
    axes.set_xlabel("workload (total tokens), log scale")
    margin = max(max(named) / min(named), 2.0) ** 0.08
    axes.set_xlim(min(named) / margin, max(named) * margin)
    grid(axes)


def _short(names: list[str]) -> str:
    """Names that fit below the axis; the table has them in full."""
    text = ", ".join(names)
    return text if len(text) <= _LETTERS else f"{text[: _LETTERS - 1]}\N{HORIZONTAL ELLIPSIS}"


def _limits(found: ComparisonSet) -> tuple[float, float]:
    """Ends of the ratio's axis: every ratio and bar, and 1."""
    values = [1.0]
    for view in found.summary.views():
        for row in view.workloads:
            bar = row.items_per_s_interval
            ends = (row.items_per_s, bar and bar.low, bar and bar.high)
            values += [value for value in ends if value]
    return min(values) / 1.15, max(values) * 1.15


def _missing(views: tuple[ViewSummary, ViewSummary]) -> list[str]:
    """What is said of workloads without a ratio."""
    return [
        f"{row.workload}, {f.VIEW_NAMES[view.view]} view: no ratio"
        for view in views
        for row in view.workloads
        if row.items_per_s is None
    ]
