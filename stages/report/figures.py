"""The report's figures as SVG: the same comparison gives the same bytes.

``throughput.svg`` (items/s with intervals) and ``latency.svg`` (p95) have one panel a view;
chunk sizes run along a log2 axis. ``time_split.svg`` shows where each measurement's wall clock
went. ``correctness.svg`` has a module of its own, ``score_figure``.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter

from stages.comparison import Cell, Comparison, Interval, ViewComparison
from stages.contract import BACKEND_NAMES, BACKENDS
from stages.report import format as f
from stages.report.drawing import INK, LINES, STYLE, chunk_axis, legend_below, svg
from stages.report.score_figure import score_differences
from stages.schema import TimeSplit

_PARTS: list[tuple[str, str, str]] = [
    ("server_start", "server start", "#0072B2"),
    ("warmup", "warm-up", "#E69F00"),
    ("sweep", "sweep", "#009E73"),
    ("confirm", "confirm", "#56B4E9"),
    ("other", "other", "#999999"),
]
_HATCHES = ["", "//", "", "\\\\", ""]
assert [name for name, _, _ in _PARTS] == list(TimeSplit.model_fields)  # noqa: S101

# Beyond this spread a linear axis hides the small values.
_LOG_SPREAD = 20.0
# A panel ends at this multiple of the largest figure: a longer bar runs out of it, rather than
# flatten the figures.
_HIGHEST_BAR = 1.6

type FigureOf = Callable[[Cell], float | None]
type IntervalOf = Callable[[Cell], Interval | None]


def draw_all(comparison: Comparison) -> dict[str, bytes]:
    """Every figure, by file name."""
    # Nothing of a user's own matplotlibrc may reach the bytes.
    with mpl.rc_context():
        mpl.rcdefaults()
        mpl.rcParams.update(STYLE)
        return {
            "throughput.svg": svg(throughput(comparison)),
            "correctness.svg": svg(score_differences(comparison)),
            "latency.svg": svg(latency(comparison)),
            "time_split.svg": svg(time_split(comparison)),
        }


def throughput(comparison: Comparison) -> Figure:
    """Items per second over the chunk size, a panel a view."""
    return _panels(
        comparison,
        lambda cell: cell.items_per_s,
        "items per second",
        "Throughput and its intervals (higher is better)",
        lambda cell: cell.items_per_s_interval,
    )


def latency(comparison: Comparison) -> Figure:
    """p95 pass latency over the chunk size, a panel a view."""
    return _panels(
        comparison,
        lambda cell: None if cell.p95_s is None else cell.p95_s * 1e3,
        "p95 pass latency, ms",
        "Latency of one pass (lower is better)",
    )


def _no_interval(_: Cell) -> None:
    return None


def _panels(
    comparison: Comparison,
    figure_of: FigureOf,
    label: str,
    title: str,
    interval_of: IntervalOf = _no_interval,
) -> Figure:
    drawing = Figure(figsize=(9.6, 3.9), facecolor="white", layout="constrained")
    left, right = drawing.subplots(1, 2, sharey=True)
    cells = [cell for view in comparison.views() for cell in view.cells]
    known = [value for cell in cells if (value := figure_of(cell))]
    most = max(known, default=1.0)
    ceiling = _HIGHEST_BAR * most
    for axes, view in zip((left, right), comparison.views(), strict=True):
        _panel(axes, view, figure_of)
        _draw_intervals(axes, view, interval_of, 2 * ceiling)
    logarithmic = bool(known) and max(known) > _LOG_SPREAD * min(known)
    if logarithmic:
        left.set_yscale("log")
    else:
        bars = [bar for cell in cells if (bar := interval_of(cell))]
        tops = [ceiling if bar.high is None else min(bar.high, ceiling) for bar in bars]
        left.set_ylim(0, max(1.15 * most, 1.05 * max(tops, default=0.0)))
    left.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,g}"))
    left.set_ylabel(f"{label} (log scale)" if logarithmic else label)
    drawing.suptitle(title, fontsize=12)
    legend_below(drawing, ncols=3)
    return drawing


def _panel(axes: Axes, view: ViewComparison, figure_of: FigureOf) -> None:
    sizes = sorted({cell.chunk_size for cell in view.cells})
    for backend in BACKENDS:
        # A missing figure is a gap in the line: NaN is not drawn.
        values = [figure_of(view.cell(backend, size)) for size in sizes]
        axes.plot(
            sizes,
            [float("nan") if value is None else value for value in values],
            label=BACKEND_NAMES[backend],
            linewidth=1.8,
            markersize=5.5,
            **LINES[backend],  # type: ignore[arg-type]
        )
    _mark_winner(axes, view, figure_of)
    chunk_axis(axes, view, sizes)


def _draw_intervals(
    axes: Axes, view: ViewComparison, interval_of: IntervalOf, beyond: float
) -> None:
    """A bar from end to end of each interval; one that has no upper end runs up to ``beyond``."""
    for cell in view.cells:
        interval = interval_of(cell)
        if interval is not None:
            high = beyond if interval.high is None else min(interval.high, beyond)
            axes.plot(
                [cell.chunk_size] * 2,
                [interval.low, high],
                label="_interval",
                color=LINES[cell.backend]["color"],
                linewidth=1.0,
                marker="_",
                markersize=7,
            )


def _mark_winner(axes: Axes, view: ViewComparison, figure_of: FigureOf) -> None:
    winner = view.winner
    if winner.outcome not in BACKENDS or winner.leader is None or winner.chunk_size is None:
        return
    value = figure_of(view.cell(winner.leader, winner.chunk_size))
    axes.plot(
        [winner.chunk_size],
        [float("nan") if value is None else value],
        label="winner of the view",
        linestyle="none",
        marker="o",
        markersize=15,
        markerfacecolor="none",
        markeredgecolor=INK,
        markeredgewidth=1.8,
    )


def time_split(comparison: Comparison) -> Figure:
    """Wall-clock seconds of each measurement, stacked by what they were spent on."""
    sources = comparison.sources
    drawing = Figure(figsize=(9.6, 1.5 + 0.5 * max(len(sources), 1)), facecolor="white")
    drawing.set_layout_engine("constrained")
    axes = drawing.subplots()
    names = [f.backend_view(source.backend, source.view) for source in sources]
    start = [0.0] * len(sources)
    for (part, label, color), hatch in zip(_PARTS, _HATCHES, strict=True):
        spent = [float(getattr(source.seconds, part)) for source in sources]
        axes.barh(
            names, spent, left=start, label=label, color=color, hatch=hatch, edgecolor="white"
        )
        start = [before + more for before, more in zip(start, spent, strict=True)]
    _write_totals(axes, start)
    axes.invert_yaxis()
    axes.set_xlabel("seconds of wall clock")
    axes.set_title("Where the time of each measurement went", fontsize=12)
    drawing.legend(loc="outside lower center", ncols=len(_PARTS), frameon=False)
    return drawing


def _write_totals(axes: Axes, totals: Sequence[float]) -> None:
    for row, total in enumerate(totals):
        axes.annotate(
            f"{f.seconds(total)} s",
            (total, row),
            xytext=(4, 0),
            textcoords="offset points",
            va="center",
        )
    axes.set_xlim(0, 1.12 * max(totals, default=1.0) or 1.0)
