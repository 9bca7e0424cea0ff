"""``correctness-VIEW.svg``: how far apart right and wrong scores are.

Along the chunk sizes: the candidate's largest difference from the reference, and those of the wrong
answers the gate must catch, against the gate's limit and both backends' noise floors.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from stages.documents.comparison import Cell, Comparison, ControlName, Pair, Role, ViewComparison
from stages.report.figures.drawing import (
    INK,
    LINES,
    PAGE,
    absent,
    aside,
    chunk_axis,
    difference_axis,
    legend_below,
    new_figure,
    only_say,
    or_gap,
    sizes_of,
    title_of,
)
from stages.report.figures.theme import LIGHT

# Short dashes in the gaps of long ones: where both floors are 0, both lines are seen.
_NOISE_DASHES: dict[Role, tuple[float, tuple[float, float]]] = {
    "candidate": (0, (2, 8)),
    "reference": (6, (5, 5)),
}
# Name, colour, marker, and steps aside so that equal differences do not hide one another.
_CONTROLS: dict[ControlName, tuple[str, str, str, float]] = {
    "items_rotated": ("wrong: items rotated", LIGHT["--green"], "^", -2.5),
    "labels_swapped": ("wrong: labels swapped", LIGHT["--purple"], "D", 0.0),
    "mean_score": ("wrong: mean for every item", LIGHT["--amber"], "X", 2.5),
}
_RING: dict[str, Any] = {
    "linestyle": "none",
    "marker": "o",
    "markerfacecolor": "none",
    "markeredgecolor": INK,
    "markeredgewidth": 1.6,
}


def score_differences(comparison: Comparison, view: ViewComparison) -> Figure:
    """The largest score differences of ``view``, measured and made wrong on purpose."""
    drawing = new_figure(4.0)
    axes = drawing.subplots()
    limit = comparison.gate.max_abs_diff
    title_of(axes, "Score differences", view)
    axes.set_ylabel("largest difference, log scale")
    cells = sorted((c for c in view.cells if c.gate), key=lambda cell: cell.chunk_size)
    compared = any(c.gate and c.gate.max_abs_diff is not None for c in cells)
    missing = _missing(view)
    if not compared and all(floor.max_abs_diff is None for floor in view.noise.values()):
        only_say(axes, missing)
        return drawing
    if compared:
        _measured(axes, cells, view.pair)
    axes.axhline(limit, label="gate's limit", color=INK, linewidth=1.8)
    _noise(axes, view)
    _controls(axes, view)
    difference_axis(axes, "y", [limit, *_drawn(comparison)])
    chunk_axis(axes, sizes_of(view))
    legend_below(drawing, [] if compared else missing)
    return drawing


def _drawn(comparison: Comparison) -> Iterator[float]:
    """Every difference the figures of both views show."""
    for view in comparison.views():
        gates = [cell.gate for cell in view.cells if cell.gate]
        found = [gate.max_abs_diff for gate in gates]
        found += [control.max_abs_diff for gate in gates for control in gate.controls]
        found += [floor.max_abs_diff for floor in view.noise.values()]
        yield from (value for value in found if value is not None)


def _missing(view: ViewComparison) -> list[str]:
    """What a figure says where no scores were compared."""
    missing = [absent(view, b) for b in view.pair.both if b in view.unavailable]
    return missing or ["no scores compared"]


def _measured(axes: Axes, cells: Sequence[Cell], pair: Pair) -> None:
    axes.plot(
        [cell.chunk_size for cell in cells],
        [or_gap(cell.gate.max_abs_diff if cell.gate else None) for cell in cells],
        label=f"{pair.candidate.title} against {pair.reference.title}",
        linewidth=1.8,
        markersize=5.5,
        **LINES["candidate"],
    )


def _noise(axes: Axes, view: ViewComparison) -> None:
    for backend in view.pair.both:
        floor = view.noise[backend].max_abs_diff
        if floor is not None:
            axes.axhline(
                floor,
                label=f"noise floor, {view.pair.title(backend)}",
                color=LINES[view.pair.role(backend)]["color"],
                linestyle=_NOISE_DASHES[view.pair.role(backend)],
                linewidth=1.5,
                clip_on=False,
            )


def _controls(axes: Axes, view: ViewComparison) -> None:
    sizes = sizes_of(view)
    found = [
        (cell.chunk_size * aside(sizes, _CONTROLS[control.name][3]), control.max_abs_diff, control)
        for cell in view.cells
        if cell.gate
        for control in cell.gate.controls
        if control.max_abs_diff is not None
    ]
    for name, (label, color, marker, _) in _CONTROLS.items():
        _marks(
            axes,
            [(x, y) for x, y, control in found if control.name == name],
            label=label,
            color=color,
            marker=marker,
            markersize=7,
            markeredgecolor=PAGE,
            markeredgewidth=0.6,
        )
    _marks(
        axes,
        [(x, y) for x, y, control in found if not control.caught],
        label="_passing",
        markersize=14,
        **_RING,
    )
    if not all(control.caught for _, _, control in found):
        axes.plot([], [], label="wrong, and passes the gate", markersize=8, **_RING)


def _marks(axes: Axes, points: list[tuple[float, float]], **style: Any) -> None:
    if points:
        x, y = zip(*points, strict=True)
        axes.plot(x, y, **{"linestyle": "none", "clip_on": False, **style})
