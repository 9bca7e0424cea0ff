"""``correctness.svg``: how far apart right and wrong scores are, a panel a view.

Along the chunk sizes: JAX's largest difference from the reference, and those of the wrong
answers the gate must catch, against the gate's limit and both backends' noise floors.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, NullLocator, SymmetricalLogLocator

from stages.comparison import Comparison, ControlName, ViewComparison
from stages.contract import BACKEND_NAMES, BACKENDS, Backend
from stages.report import format as f
from stages.report.drawing import INK, LINES, chunk_axis, legend_below

_MOST_TICKS = 8
# Short dashes in the gaps of long ones: where both floors are 0, both lines are seen.
_NOISE_DASHES: dict[Backend, tuple[float, tuple[float, float]]] = {
    "jax": (0, (2, 8)),
    "pytorch": (6, (5, 5)),
}
# Colour (Okabe and Ito's, as in the other figures), marker, and a step aside so that equal
# differences do not hide one another.
_CONTROLS: dict[ControlName, tuple[str, str, float]] = {
    "items_rotated": ("#009E73", "^", 0.92),
    "labels_swapped": ("#CC79A7", "D", 1.0),
    "mean_score": ("#E69F00", "X", 1.08),
}


def score_differences(comparison: Comparison) -> Figure:
    """The largest score differences over the chunk size, measured and made wrong on purpose."""
    drawing = Figure(figsize=(9.6, 4.6), facecolor="white", layout="constrained")
    left, right = drawing.subplots(1, 2, sharey=True)
    limit = comparison.gate.max_abs_diff
    for axes, view in zip((left, right), comparison.views(), strict=True):
        _panel(axes, view, limit)
    _difference_axis(left, [limit, *_drawn(comparison)])
    left.set_ylabel("largest score difference (log scale above 0)")
    drawing.suptitle("Score differences: measured, and made wrong on purpose", fontsize=12)
    legend_below(drawing, ncols=3)
    return drawing


def _drawn(comparison: Comparison) -> Iterator[float]:
    """Every difference the figure shows."""
    for view in comparison.views():
        gates = [cell.gate for cell in view.cells if cell.gate]
        found = [gate.max_abs_diff for gate in gates]
        found += [control.max_abs_diff for gate in gates for control in gate.controls]
        found += [view.noise[backend].max_abs_diff for backend in BACKENDS]
        yield from (value for value in found if value is not None)


def _difference_axis(axes: Axes, values: list[float]) -> None:
    # A difference of exactly 0 is the best there is: linear below the smallest other one.
    positive = [value for value in values if value > 0]
    foot = 10.0 ** math.floor(math.log10(min(positive, default=1.0)))
    axes.set_yscale("symlog", linthresh=foot, linscale=0.5)
    axes.set_ylim(0, 4 * max(positive, default=1.0))
    locator = SymmetricalLogLocator(base=10, linthresh=foot)
    locator.set_params(numticks=_MOST_TICKS)
    axes.yaxis.set_major_locator(locator)
    axes.yaxis.set_minor_locator(NullLocator())
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))


def _panel(axes: Axes, view: ViewComparison, limit: float) -> None:
    cells = sorted((c for c in view.cells if c.gate), key=lambda cell: cell.chunk_size)
    sizes = sorted({cell.chunk_size for cell in view.cells})
    drift = [_or_gap(cell.gate.max_abs_diff if cell.gate else None) for cell in cells]
    axes.plot(
        [cell.chunk_size for cell in cells],
        drift,
        label="JAX against PyTorch",
        linewidth=1.8,
        markersize=5.5,
        **LINES["jax"],  # type: ignore[arg-type]
    )
    axes.axhline(limit, label="gate's limit", color=INK, linewidth=1.8)
    for backend in BACKENDS:
        axes.axhline(
            _or_gap(view.noise[backend].max_abs_diff),
            label=f"noise floor, {BACKEND_NAMES[backend]}",
            color=LINES[backend]["color"],
            linestyle=_NOISE_DASHES[backend],
            linewidth=1.5,
            clip_on=False,
        )
    _controls(axes, view)
    chunk_axis(axes, view, sizes)
    axes.set_xlim(sizes[0] / 1.2, sizes[-1] * 1.2)


def _controls(axes: Axes, view: ViewComparison) -> None:
    found = [
        (cell.chunk_size * _CONTROLS[control.name][2], control.max_abs_diff, control)
        for cell in view.cells
        if cell.gate
        for control in cell.gate.controls
        if control.max_abs_diff is not None
    ]
    for name, (color, marker, _) in _CONTROLS.items():
        _marks(
            axes,
            [(x, y) for x, y, control in found if control.name == name],
            label=f"wrong: {f.CONTROL_NAMES[name]}",
            color=color,
            marker=marker,
            markersize=6.5,
            markeredgecolor="white",
            markeredgewidth=0.6,
        )
    _marks(
        axes,
        [(x, y) for x, y, control in found if not control.caught],
        label="wrong, and passes the gate",
        marker="o",
        markersize=14,
        markerfacecolor="none",
        markeredgecolor=INK,
        markeredgewidth=1.6,
    )


def _marks(axes: Axes, points: list[tuple[float, float]], **style: Any) -> None:
    if points:
        x, y = zip(*points, strict=True)
        axes.plot(x, y, linestyle="none", clip_on=False, **style)


def _or_gap(value: float | None) -> float:
    # NaN is not drawn.
    return float("nan") if value is None else value
