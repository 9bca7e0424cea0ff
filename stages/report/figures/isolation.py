"""``isolation-VIEW.svg``: how far a change of its neighbours moved an item's score.

The limit is the probe's own, which follows from a backend's noise floor and format.
"""

from __future__ import annotations

from typing import get_args

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from stages.contract import Backend
from stages.documents.comparison import Comparison, Pair, Role, ViewComparison
from stages.documents.probes import Layout
from stages.report import format as f
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

_LAYOUTS: dict[str, str] = {
    "original": "in its pass",
    "reversed": "reversed order",
    "replaced": "other items",
    "before_1": "1 item before",
    "before_5": "5 items before",
    "before_20": "20 items before",
    "before_all": "all others before",
    "shorter": "shorter items",
    "longer": "longer items",
}
# An item alone is what the others are measured from.
assert set(_LAYOUTS) | {"alone"} == set(get_args(Layout.__value__))  # noqa: S101

_ASIDE: dict[Role, float] = {"candidate": -0.15, "reference": 0.15}


def isolation_probe(comparison: Comparison, view: ViewComparison) -> Figure:
    """The largest change of a score in every layout of the isolation probe of ``view``."""
    drawing = new_figure()
    axes = drawing.subplots()
    title_of(axes, "Isolation probe", view)
    if not any(view.isolation[backend].changes for backend in comparison.pair.both):
        only_say(axes, [_nothing(view, backend) for backend in comparison.pair.both])
        return drawing
    probed = [isolation for one in comparison.views() for isolation in one.isolation.values()]
    found = {name for isolation in probed for name in isolation.changes}
    rows = [name for name in _LAYOUTS if name in found] + sorted(found - set(_LAYOUTS))
    axes.set_yticks(range(len(rows)), [_LAYOUTS.get(name, name) for name in rows])
    axes.set_ylim(max(len(rows), 1) - 0.5, -0.5)
    grid(axes)
    notes = [
        note
        for backend in comparison.pair.both
        for note in _backend(axes, comparison, view, backend, rows)
    ]
    limits = {b: view.isolation[b].limit for b in comparison.pair.both if view.isolation[b].changes}
    shared = len(set(limits.values())) == 1
    _limits(axes, limits, shared, view.pair)
    changes = [value for isolation in probed for value in isolation.changes.values()]
    difference_axis(axes, "x", [*(isolation.limit for isolation in probed), *changes])
    axes.set_xlabel("largest change of a score, log scale")
    legend_below(drawing, notes, ncols=3 if shared and not notes else 2)
    return drawing


def _limits(axes: Axes, limits: dict[Backend, float], shared: bool, pair: Pair) -> None:
    """A line for both backends where they share their limit, else one for each."""
    if shared:
        axes.axvline(next(iter(limits.values())), label="limit", color=INK, linewidth=1.8)
        return
    for backend, limit in limits.items():
        axes.axvline(
            limit,
            label=f"limit, {pair.title(backend)}",
            color=LINES[pair.role(backend)]["color"],
            linestyle=LINES[pair.role(backend)]["linestyle"],
            linewidth=1.8,
        )


def _nothing(view: ViewComparison, backend: Backend) -> str:
    single = view.isolation[backend].verdict == "no_neighbours"
    return absent(view, backend, "one item, no neighbours" if single else "not probed")


def _backend(
    axes: Axes, comparison: Comparison, view: ViewComparison, backend: Backend, rows: list[str]
) -> list[str]:
    """Draw a backend's changes; what the figure cannot show comes back in words."""
    isolation, role = view.isolation[backend], view.pair.role(backend)
    if not isolation.changes:
        return [_nothing(view, backend)]
    axes.plot(
        [isolation.changes[name] for name in rows if name in isolation.changes],
        [at + _ASIDE[role] for at, name in enumerate(rows) if name in isolation.changes],
        label=comparison.pair.title(backend),
        markersize=7,
        clip_on=False,
        zorder=3,
        **{**LINES[role], "linestyle": "none"},
    )
    if isolation.failed_probes:
        failed = f.count(isolation.failed_probes, "probe")
        return [f"{comparison.pair.title(backend)}: {failed} failed"]
    return []
