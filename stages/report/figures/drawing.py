"""What the report's figures share: style, axes, legend, what is said of absent figures, SVG bytes.

A figure is one panel, wide enough to be read on a telephone: shown 350 CSS pixels wide, a unit
of its drawing is about a pixel.
"""

from __future__ import annotations

import io
import math
import re
from collections.abc import Sequence
from typing import Any

from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.rcsetup import cycler
from matplotlib.ticker import (
    FixedLocator,
    FuncFormatter,
    LogLocator,
    NullFormatter,
    NullLocator,
)

from stages.contract import Backend
from stages.documents.comparison import Role, ViewComparison
from stages.report import format as f
from stages.report.figures.theme import LIGHT

WIDTH, HEIGHT = 4.8, 3.6
"""Of a figure, in inches of 72 units."""

INK, PAGE, GRID = LIGHT["--ink"], LIGHT["--page"], LIGHT["--grid"]

# Told apart without colour too: by marker, by how it is filled, and by line.
LINES: dict[Role, dict[str, Any]] = {
    "candidate": {
        "color": LIGHT["--candidate"],
        "marker": "o",
        "linestyle": "-",
        "markerfacecolor": LIGHT["--candidate"],
    },
    "reference": {
        "color": LIGHT["--reference"],
        "marker": "s",
        "linestyle": "--",
        "markerfacecolor": PAGE,
    },
}

# Text is laid out with the font matplotlib carries along; Verdana is as wide, Arial narrower.
_FONT = "DejaVu Sans"
_FONTS = "'DejaVu Sans', Verdana, Arial, sans-serif"

_COMMENT = re.compile(r"<!--.*?-->", re.DOTALL)
_TAG = re.compile(r"<[^>]*>")
_LONG_NUMBER = re.compile(r"(\.\d\d)\d+")

# Typed loosely: the stubs spell out every key, and one dictionary of both kinds of value fits none.
STYLE: dict[Any, Any] = {
    # Identifiers inside the SVG are hashed with this salt instead of a random one.
    "svg.hashsalt": "scoreparity",
    "svg.fonttype": "none",
    "font.family": [_FONT],
    "font.size": 10.0,
    "axes.titlesize": 10.5,
    "axes.titlelocation": "left",
    "legend.fontsize": 9.5,
    "legend.handlelength": 2.2,
    "legend.columnspacing": 1.4,
    "legend.labelspacing": 0.35,
    "axes.edgecolor": INK,
    "axes.facecolor": PAGE,
    # Parts without a colour of their own, as the face of a marker that has none.
    "axes.prop_cycle": cycler(color=[INK]),
    "axes.labelcolor": INK,
    "text.color": INK,
    "xtick.color": INK,
    "ytick.color": INK,
    "hatch.linewidth": 1.2,
    "axes.spines.top": False,
    "axes.spines.right": False,
}

# Of a chunk axis between its first and last tick at least, and of a digit below it, in units.
_AXIS_WIDTH, _LETTER = 220.0, 6.4
_MOST_DECADES = {"x": 5, "y": 7}


def new_figure(height: float = HEIGHT) -> Figure:
    """An empty figure on the page's colour."""
    return Figure(figsize=(WIDTH, height), facecolor=PAGE, layout="constrained")


def title_of(axes: Axes, what: str, view: ViewComparison, better: str = "") -> None:
    """Say above ``axes`` what they show, of which view, and which way is ``better``."""
    name = f"{what}, {f.VIEW_NAMES[view.view]} view"
    axes.set_title(f"{name} ({better} is better)" if better else name)


def grid(axes: Axes) -> None:
    """Thin lines behind what is drawn."""
    axes.grid(visible=True, color=GRID, linewidth=0.7)
    axes.set_axisbelow(True)


def sizes_of(view: ViewComparison) -> list[int]:
    """The chunk sizes of ``view``, rising."""
    return sorted({cell.chunk_size for cell in view.cells})


def chunk_axis(axes: Axes, sizes: Sequence[int]) -> None:
    """Chunk sizes along a log2 axis, each with its tick, and named where there is room."""
    axes.set_xscale("log", base=2)
    axes.xaxis.set_major_locator(FixedLocator(sizes))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_minor_formatter(NullFormatter())
    named = _with_room(sizes)
    axes.xaxis.set_major_formatter(
        FuncFormatter(lambda value, _: str(round(value)) if round(value) in named else "")
    )
    axes.set_xlabel("chunk size, items per request")
    margin = _span(sizes) ** 0.06
    axes.set_xlim(sizes[0] / margin, sizes[-1] * margin)
    grid(axes)


def aside(sizes: Sequence[int], steps: float) -> float:
    """A factor that moves a mark aside along the chunk axis, so that equals stay visible."""
    return math.pow(_span(sizes), 0.01 * steps)


def _with_room(sizes: Sequence[int]) -> set[int]:
    """The first of ``sizes`` and every further one whose name does not touch the one before."""
    unit = _AXIS_WIDTH / math.log(_span(sizes))
    named = [sizes[0]]
    for size in sizes[1:]:
        letters = (len(str(named[-1])) + len(str(size))) / 2
        if unit * math.log(size / named[-1]) >= _LETTER * (letters + 0.7):
            named.append(size)
    return set(named)


def _span(sizes: Sequence[int]) -> float:
    return max(sizes[-1] / sizes[0], 2.0)


def log_numbers(axes: Axes) -> None:
    """A log axis with plain numbers at 1, 2 and 5 of every decade."""
    axes.set_yscale("log")
    axes.yaxis.set_major_locator(LogLocator(base=10, subs=(1.0, 2.0, 5.0)))
    axes.yaxis.set_minor_locator(NullLocator())


def difference_axis(axes: Axes, which: str, values: Sequence[float]) -> None:
    """Make the ``which`` ("x" or "y") axis one of score differences that holds ``values``.

    A difference of exactly 0 is the best there is: the axis is linear below the power of ten
    under the smallest other one, logarithmic above.
    """
    positive = [value for value in values if value > 0]
    foot = 10.0 ** math.floor(math.log10(min(positive, default=1.0)))
    top = 4 * max(positive, default=1.0)
    axis, set_scale, set_limits = (
        (axes.xaxis, axes.set_xscale, axes.set_xlim)
        if which == "x"
        else (axes.yaxis, axes.set_yscale, axes.set_ylim)
    )
    set_scale("symlog", linthresh=foot, linscale=0.5)
    set_limits(0, top)
    axis.set_major_locator(FixedLocator([0.0, *_decades(foot, top, _MOST_DECADES[which])]))
    axis.set_minor_locator(NullLocator())
    axis.set_major_formatter(FuncFormatter(lambda value, _: _difference(value)))


def _decades(foot: float, top: float, most: int) -> list[float]:
    """Powers of ten from ``top`` down to ``foot``, evenly thinned to ``most`` at most."""
    first, last = round(math.log10(foot)), math.floor(math.log10(top))
    step = math.ceil((last - first + 1) / most)
    # Thinned, the lowest would stand too near to 0.
    return [10.0**n for n in range(last, first if step > 1 else first - 1, -step)]


def _difference(value: float) -> str:
    """Plain down to 0.01, then as a power of ten: 0, 0.1, 1e-3."""
    return f"{value:g}" if value == 0 or value >= 0.01 else f"1e{round(math.log10(value))}"


def absent(view: ViewComparison, backend: Backend, otherwise: str = "no figures") -> str:
    """What a figure of ``view`` says of a backend it has nothing of."""
    why = "not measured" if backend in view.unavailable else otherwise
    return f"{view.pair.title(backend)}: {why}"


def say(axes: Axes, lines: Sequence[str]) -> None:
    """Print ``lines`` in the middle of ``axes``, over what they show."""
    axes.text(
        0.5,
        0.5,
        "\n".join(lines),
        transform=axes.transAxes,
        ha="center",
        va="center",
        fontsize=11,
        backgroundcolor=PAGE,
    )


def only_say(axes: Axes, lines: Sequence[str]) -> None:
    """Print ``lines`` in the place of an axis that would have nothing to show."""
    axes.set_axis_off()
    say(axes, lines)


def legend_below(drawing: Figure, notes: Sequence[str] = (), ncols: int = 2) -> None:
    """One legend for all axes, a name once, then ``notes``; what has no label is left out."""
    named: dict[str, Artist] = {}
    for axes in drawing.axes:
        for handle in (*axes.get_lines(), *axes.patches):
            label = str(handle.get_label())
            if label and not label.startswith("_"):
                named.setdefault(label, handle)
    for note in notes:
        named[note] = Line2D([], [], linestyle="none")
    if named:
        drawing.legend(
            list(named.values()),
            list(named),
            loc="outside lower center",
            ncols=ncols,
            frameon=False,
        )


def or_gap(value: float | None) -> float:
    """NaN, which is not drawn, for an absent figure."""
    return float("nan") if value is None else value


def svg(drawing: Figure) -> bytes:
    """The bytes of ``drawing``: neither a clock, a version nor an address of anything in them."""
    FigureCanvasSVG(drawing)
    sink = io.BytesIO()
    nothing = dict.fromkeys(("Date", "Creator", "Format", "Type"))
    drawing.savefig(sink, format="svg", metadata=nothing)
    # The document type would be the address of its definition.
    body = "".join(sink.getvalue().decode().partition("<svg ")[1:])
    body = _TAG.sub(_shortened, _COMMENT.sub("", body)).replace(f"'{_FONT}'", _FONTS)
    return f'<?xml version="1.0" encoding="utf-8"?>\n{body}'.encode()


def _shortened(tag: re.Match[str]) -> str:
    """A tag with two decimals to a number: a hundredth of a unit is seen by nobody."""
    return _LONG_NUMBER.sub(r"\1", tag[0])
