"""What the report's figures share: colours, the chunk-size axis, the legend, and SVG bytes."""

from __future__ import annotations

import io
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

from matplotlib.axes import Axes
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter, NullFormatter, NullLocator

from stages.comparison import ViewComparison
from stages.contract import Backend
from stages.report import format as f

# Okabe and Ito's colours, told apart by colour-blind readers; marker and line differ too.
LINES: dict[Backend, dict[str, str]] = {
    "jax": {"color": "#0072B2", "marker": "o", "linestyle": "-"},
    "pytorch": {"color": "#D55E00", "marker": "s", "linestyle": "--"},
}
INK = "#222222"

# Typed loosely: the stubs spell out every key, and one dictionary of both kinds of value fits none.
STYLE: dict[Any, Any] = {
    # Identifiers inside the SVG are hashed with this salt instead of a random one.
    "svg.hashsalt": "scoreparity",
    "svg.fonttype": "path",
    "font.family": ["DejaVu Sans"],
    "font.size": 10.0,
    "axes.edgecolor": INK,
    "axes.labelcolor": INK,
    "text.color": INK,
    "xtick.color": INK,
    "ytick.color": INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
}


def chunk_axis(axes: Axes, view: ViewComparison, sizes: Sequence[int]) -> None:
    """Make ``axes`` the panel of one view: its chunk sizes along a log2 axis, its name on top."""
    axes.set_xscale("log", base=2)
    axes.xaxis.set_major_locator(FixedLocator(sizes))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{round(value)}"))
    crowded = any(after < 1.3 * before for before, after in pairwise(sizes))
    axes.tick_params(axis="x", labelrotation=45 if crowded else 0)
    axes.set_xlabel("chunk size, items per request")
    axes.set_title(f"{f.VIEW_NAMES[view.view]} view", fontsize=10)
    axes.grid(visible=True, color="#dddddd", linewidth=0.7)
    axes.set_axisbelow(True)


def legend_below(drawing: Figure, ncols: int) -> None:
    """One legend for all panels, a name once; what has no label of its own is left out."""
    handles = {h.get_label(): h for axes in drawing.axes for h in axes.get_lines()}
    named = {str(name): h for name, h in handles.items() if not str(name).startswith("_")}
    drawing.legend(
        list(named.values()),
        list(named),
        loc="outside lower center",
        ncols=ncols,
        frameon=False,
    )


def svg(drawing: Figure) -> bytes:
    """The bytes of ``drawing``."""
    FigureCanvasSVG(drawing)
    sink = io.BytesIO()
    # Neither the clock nor the version of matplotlib may reach the bytes.
    drawing.savefig(sink, format="svg", metadata={"Date": None, "Creator": None})
    return sink.getvalue()
