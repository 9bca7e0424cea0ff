"""``throughput-VIEW.svg`` and ``latency-VIEW.svg``: speed over the chunk size, both backends.

A bar is what is known of a figure's spread: the interval of items/s; of p95, for which so few
passes give no finite interval, the range from the fastest pass to the slowest.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.path import Path
from matplotlib.ticker import FuncFormatter

from stages.contract import Backend
from stages.documents.comparison import Cell, Comparison, Role, ViewComparison
from stages.report.figures.drawing import (
    INK,
    LINES,
    absent,
    aside,
    chunk_axis,
    legend_below,
    log_numbers,
    new_figure,
    only_say,
    or_gap,
    sizes_of,
    title_of,
)

# Beyond this spread a linear axis hides the small values.
_LOG_SPREAD = 20.0
# A panel ends at this multiple of the largest figure: a longer bar runs out of it, rather than
# flatten the figures.
_HIGHEST_BAR = 1.6
# A bar with its ends, for the legend.
_BAR = Path([(-0.4, 1), (0.4, 1), (0, 1), (0, -1), (-0.4, -1), (0.4, -1)], [1, 2, 1, 2, 1, 2])
_RING: dict[str, Any] = {
    "linestyle": "none",
    "marker": "o",
    "markerfacecolor": "none",
    "markeredgecolor": INK,
    "markeredgewidth": 1.8,
}
# Steps aside on the chunk axis, so that the bars of equals do not hide one another.
_ASIDE: dict[Role, float] = {"candidate": -1.0, "reference": 1.0}


class _Quantity(NamedTuple):
    """What is drawn: its words, a cell's figure, and the ends of its bar (``None``: endless)."""

    title: str
    label: str
    better: str
    figure: Callable[[Cell], float | None]
    bar: Callable[[Cell], tuple[float, float | None] | None]
    bar_label: Callable[[Sequence[Cell]], str]


def throughput(comparison: Comparison, view: ViewComparison) -> Figure:
    """Items per second of ``view`` over the chunk size, with their intervals."""
    return _draw(
        comparison,
        view,
        _Quantity(
            "Throughput",
            "items per second",
            "higher",
            lambda cell: cell.items_per_s,
            lambda cell: (
                (cell.items_per_s_interval.low, cell.items_per_s_interval.high)
                if cell.items_per_s_interval
                else None
            ),
            _levels,
        ),
    )


def latency(comparison: Comparison, view: ViewComparison) -> Figure:
    """p95 pass latency of ``view`` over the chunk size, with the range of the passes."""
    return _draw(
        comparison,
        view,
        _Quantity(
            "Pass latency",
            "p95, milliseconds",
            "lower",
            lambda cell: None if cell.p95_s is None else cell.p95_s * 1e3,
            lambda cell: (
                None
                if cell.min_s is None or cell.max_s is None
                else (cell.min_s * 1e3, cell.max_s * 1e3)
            ),
            lambda _: "fastest to slowest pass",
        ),
    )


def _levels(cells: Sequence[Cell]) -> str:
    """``90\N{EN DASH}95% interval``: the levels of the intervals drawn."""
    levels = sorted({c.items_per_s_interval.level for c in cells if c.items_per_s_interval})
    ends = [f"{100 * level:g}" for level in levels]
    return f"{'\N{EN DASH}'.join(dict.fromkeys((ends[0], ends[-1])))}% interval"


def _draw(comparison: Comparison, view: ViewComparison, quantity: _Quantity) -> Figure:
    drawing = new_figure()
    axes = drawing.subplots()
    low, high, logarithmic = _limits(comparison, quantity)
    title_of(axes, quantity.title, view, quantity.better)
    axes.set_ylabel(f"{quantity.label}{', log scale' if logarithmic else ''}")
    missing: list[str] = []
    for backend in comparison.pair.both:
        cells = [cell for cell in view.cells if cell.backend == backend]
        if any(quantity.figure(cell) is not None for cell in cells):
            _line(axes, view, backend, quantity)
        else:
            missing.append(absent(view, backend))
    _bars(axes, view, quantity, 2 * high)
    _mark_winner(axes, view, quantity)
    chunk_axis(axes, sizes_of(view))
    if logarithmic:
        log_numbers(axes)
    axes.set_ylim(low, high)
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,g}"))
    if len(missing) == len(comparison.pair.both):
        only_say(axes, missing)
    else:
        legend_below(drawing, missing)
    return drawing


def _limits(comparison: Comparison, quantity: _Quantity) -> tuple[float, float, bool]:
    """Ends of the axis, the same for both views, and whether it is logarithmic."""
    cells = [cell for view in comparison.views() for cell in view.cells]
    known = [value for cell in cells if (value := quantity.figure(cell))]
    most, least = max(known, default=1.0), min(known, default=1.0)
    ceiling = _HIGHEST_BAR * most
    bars = [bar for cell in cells if (bar := quantity.bar(cell))]
    tops = [ceiling if top is None else min(top, ceiling) for _, top in bars]
    high = max(1.15 * most, 1.05 * max(tops, default=0.0))
    if most <= _LOG_SPREAD * least:
        return 0.0, high, False
    return min([least, *(low for low, _ in bars if low > 0)]) / 1.2, high, True


def _line(axes: Axes, view: ViewComparison, backend: Backend, quantity: _Quantity) -> None:
    mine = [cell for cell in view.cells if cell.backend == backend]
    cells, role = sorted(mine, key=lambda cell: cell.chunk_size), view.pair.role(backend)
    sizes = [cell.chunk_size for cell in cells]
    step = aside(sizes, _ASIDE[role])
    axes.plot(
        [size * step for size in sizes],
        [or_gap(quantity.figure(cell)) for cell in cells],
        label=view.pair.title(backend),
        linewidth=1.8,
        markersize=6,
        zorder=3,
        **LINES[role],
    )


def _bars(axes: Axes, view: ViewComparison, quantity: _Quantity, beyond: float) -> None:
    """A bar from end to end; one that has no upper end runs up to ``beyond``."""
    barred = [(cell, bar) for cell in view.cells if (bar := quantity.bar(cell))]
    for cell, (low, top) in barred:
        high = beyond if top is None else min(top, beyond)
        role = view.pair.role(cell.backend)
        x = cell.chunk_size * aside(sizes_of(view), _ASIDE[role])
        axes.plot(
            [x, x],
            [low, high],
            label="_bar",
            color=LINES[role]["color"],
            linewidth=1.2,
            marker="_",
            markersize=6,
        )
    if barred:
        # In the legend it belongs to neither backend.
        axes.plot(
            [],
            [],
            label=quantity.bar_label([cell for cell, _ in barred]),
            color=INK,
            linestyle="none",
            marker=_BAR,
            markersize=11,
        )


def _mark_winner(axes: Axes, view: ViewComparison, quantity: _Quantity) -> None:
    winner = view.winner
    if winner.outcome not in view.pair.both or winner.leader is None or winner.chunk_size is None:
        return
    value = quantity.figure(view.cell(winner.leader, winner.chunk_size))
    axes.plot(
        [winner.chunk_size * aside(sizes_of(view), _ASIDE[view.pair.role(winner.leader)])],
        [or_gap(value)],
        label="_winner",
        markersize=15,
        **_RING,
    )
    axes.plot([], [], label="winner of the view", markersize=9, **_RING)
