"""``time_split.svg``: the wall clock of each measurement, stacked by what it was spent on."""

from __future__ import annotations

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter

from stages.documents.comparison import Comparison, MatrixSource, Pair
from stages.documents.matrix import TimeSplit
from stages.report import format as f
from stages.report.figures.drawing import PAGE, new_figure, only_say
from stages.report.figures.theme import LIGHT

# Name, colour and hatch: without colour the hatch tells.
_PARTS: dict[str, tuple[str, str, str]] = {
    "server_start": ("server start", LIGHT["--sky"], ""),
    "warmup": ("warm-up", LIGHT["--amber"], "///"),
    "sweep": ("sweep", LIGHT["--green"], "--"),
    "confirm": ("confirm", LIGHT["--purple"], "\\\\\\"),
    "other": ("other", LIGHT["--grey"], "xxx"),
}
assert list(_PARTS) == list(TimeSplit.model_fields)  # noqa: S101


def time_split(comparison: Comparison) -> Figure:
    """Wall-clock seconds of each measurement, stacked by what they were spent on."""
    sources = comparison.sources
    drawing = new_figure(1.5 + 0.48 * max(len(sources), 2))
    axes = drawing.subplots()
    axes.set_title("Where the time of each measurement went")
    rows = range(len(sources))
    start = [0.0] * len(sources)
    for part, (label, color, hatch) in _PARTS.items():
        spent = [float(getattr(source.run.seconds, part)) for source in sources]
        axes.barh(
            rows,
            spent,
            left=start,
            height=0.66,
            label=label,
            color=color,
            hatch=hatch,
            edgecolor=PAGE,
        )
        start = [before + more for before, more in zip(start, spent, strict=True)]
    _name_rows(axes, sources, comparison.pair)
    _write_totals(axes, sources, start)
    axes.set_xlabel("seconds of wall clock")
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,g}"))
    if sources:
        _legend(drawing, axes)
    else:
        only_say(axes, ["nothing measured"])
    return drawing


def _name_rows(axes: Axes, sources: list[MatrixSource], pair: Pair) -> None:
    axes.set_yticks(
        range(len(sources)),
        [f"{pair.title(one.backend)}\n{f.VIEW_NAMES[one.view]}" for one in sources],
    )
    axes.tick_params(axis="y", length=0)
    axes.set_ylim(max(len(sources), 1) - 0.5, -0.5)


def _write_totals(axes: Axes, sources: list[MatrixSource], totals: list[float]) -> None:
    for row, (source, total) in enumerate(zip(sources, totals, strict=True)):
        axes.annotate(
            "not measured" if source.unavailable else f"{f.seconds(total)} s",
            (0.0 if source.unavailable else total, row),
            xytext=(4, 0),
            textcoords="offset points",
            va="center",
        )
    axes.set_xlim(0, 1.22 * max(totals, default=1.0) or 1.0)


def _legend(drawing: Figure, axes: Axes) -> None:
    handles, labels = axes.get_legend_handles_labels()
    drawing.legend(handles, labels, loc="outside lower center", ncols=3, frameon=False)
