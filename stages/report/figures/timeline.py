"""``timeline-VIEW.svg``: every timed pass in measuring order, a strip a backend.

Each pass against the median of its chunk size, so that a drift or a slow pass shows whatever
the chunk sizes are.
"""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from itertools import groupby, pairwise
from operator import attrgetter
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter, MaxNLocator, NullLocator

from stages.contract import Backend
from stages.documents.comparison import Comparison, Pair, PassTime, ViewComparison
from stages.report import format as f
from stages.report.figures.drawing import (
    INK,
    LINES,
    PAGE,
    absent,
    grid,
    legend_below,
    new_figure,
    only_say,
    say,
    title_of,
)
from stages.report.figures.theme import LIGHT

_TITLE = "Every timed pass"
_NOTHING = "no passes"
# Where a mark for a pass without a time stands, as a share of the strip's height.
_TOP = 0.92
# A slow pass is named by its chunk size from this multiple of its median.
_NAMED = 1.5
_TICKS = [0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 50, 100, 200, 500, 1000]
_FINE_TICKS = [0.7, 0.8, 0.9, 1.0, 1.1, 1.2, 1.4]


def relative(passes: Sequence[PassTime]) -> list[float | None]:
    """Seconds of each pass / the median of its chunk size's good passes; ``None`` if failed."""
    medians = _medians(passes)
    return [
        None if one.seconds is None else one.seconds / medians[one.chunk_size] for one in passes
    ]


def _medians(passes: Sequence[PassTime]) -> Mapping[int, float]:
    seconds: dict[int, list[float]] = {}
    for one in passes:
        if one.seconds is not None:
            seconds.setdefault(one.chunk_size, []).append(one.seconds)
    return {size: statistics.median(of) for size, of in seconds.items()}


def timeline(comparison: Comparison, view: ViewComparison) -> Figure:
    """Every timed pass of ``view`` in measuring order."""
    drawing = new_figure(4.0)
    if not any(view.passes.values()):
        axes = drawing.subplots()
        title_of(axes, _TITLE, view)
        only_say(axes, [absent(view, backend, _NOTHING) for backend in comparison.pair.both])
        return drawing
    strips: Sequence[Axes] = drawing.subplots(
        len(comparison.pair.both), 1, sharex=True, sharey=True
    )
    drawing.suptitle(f"{_TITLE}, {f.VIEW_NAMES[view.view]} view", x=0.02, ha="left", fontsize=10.5)
    drawing.supylabel("time / its chunk size's median, log scale", fontsize=9.5)
    low, high = _limits(comparison)
    for axes, backend in zip(strips, comparison.pair.both, strict=True):
        passes = view.passes.get(backend, [])
        _scale(axes, low, high)
        if passes:
            _strip(axes, view.pair, backend, passes)
        else:
            say(axes, [absent(view, backend, _NOTHING)])
    strips[-1].set_xlabel("timed pass, in measuring order")
    strips[-1].xaxis.set_major_locator(MaxNLocator(integer=True))
    strips[-1].set_xlim(0, 1 + max(1, *(len(view.passes.get(b, [])) for b in comparison.pair.both)))
    legend_below(drawing)
    return drawing


def _limits(comparison: Comparison) -> tuple[float, float]:
    """Ends of the ratio axis, the same for both views and backends, with room for the marks."""
    ratios = [
        ratio
        for view in comparison.views()
        for passes in view.passes.values()
        for ratio in relative(passes)
        if ratio is not None
    ]
    low, high = min([0.85, *ratios]) / 1.12, max([1.18, *ratios])
    return low, high * (high / low) ** 0.3


def _scale(axes: Axes, low: float, high: float) -> None:
    axes.set_yscale("log")
    axes.set_ylim(low, high)
    ticks = _FINE_TICKS if high / low < 3 else _TICKS
    axes.yaxis.set_major_locator(FixedLocator([tick for tick in ticks if low <= tick <= high]))
    axes.yaxis.set_minor_locator(NullLocator())
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,g}"))
    grid(axes)
    axes.grid(visible=False, axis="x")
    axes.axhline(1.0, label="_median", color=INK, linewidth=0.8, zorder=1)


def _strip(axes: Axes, pair: Pair, backend: Backend, passes: Sequence[PassTime]) -> None:
    line = LINES[pair.role(backend)]
    told = any(one.compiled is not None for one in passes)
    axes.set_title(
        pair.title(backend) + ("" if told else " (does not report compilations)"), fontsize=10
    )
    ratios = relative(passes)
    places = list(enumerate(ratios, start=1))
    _confirm_band(axes, passes)
    for at, (before, after) in enumerate(pairwise(passes), start=1):
        if before.session != after.session:
            axes.axvline(
                at + 0.5, label="server restarted", color=INK, linewidth=1.4, dashes=(2, 2)
            )
    _marks(
        axes,
        [(at, ratio) for at, ratio in places if ratio is not None],
        label="_passes",
        marker=line["marker"],
        markersize=4.5,
        color=line["color"],
        markerfacecolor=line["markerfacecolor"],
    )
    low, high = axes.get_ylim()
    edge = low * (high / low) ** _TOP
    _marks(
        axes,
        [
            (at, edge if ratio is None else ratio)
            for (at, ratio), one in zip(places, passes, strict=True)
            if one.compiled
        ],
        label="server compiled",
        marker="D",
        markersize=9,
        markerfacecolor="none",
        markeredgecolor=LIGHT["--purple"],
        markeredgewidth=1.5,
    )
    _marks(
        axes,
        [(at, edge) for at, ratio in places if ratio is None],
        label="failed",
        marker="x",
        markersize=6,
        markeredgecolor=INK,
        markeredgewidth=1.8,
    )
    _name_slowest(axes, passes, places)


def _confirm_band(axes: Axes, passes: Sequence[PassTime]) -> None:
    at = 0.5
    for phase, run in groupby(passes, key=attrgetter("phase")):
        end = at + len(list(run))
        if phase == "confirm":
            axes.axvspan(at, end, label="confirm passes", color=LIGHT["--band"], zorder=0)
        at = end


def _name_slowest(
    axes: Axes, passes: Sequence[PassTime], places: Sequence[tuple[int, float | None]]
) -> None:
    known = [(ratio, at) for at, ratio in places if ratio is not None]
    ratio, at = max(known, default=(0.0, 0))
    if ratio < _NAMED:
        return
    right = at > len(passes) / 2
    axes.annotate(
        f"chunk {passes[at - 1].chunk_size}: {f.factor(ratio)}",
        (at, ratio),
        xytext=(-7 if right else 7, 2),
        textcoords="offset points",
        ha="right" if right else "left",
        va="bottom",
        fontsize=9.5,
        bbox={"facecolor": PAGE, "edgecolor": "none", "pad": 0.8},
    )


def _marks(axes: Axes, points: list[tuple[int, float]], **style: Any) -> None:
    if points:
        x, y = zip(*points, strict=True)
        axes.plot(x, y, linestyle="none", zorder=3, **style)
