"""The report's figures as SVG: the same comparison gives the same bytes.

One figure a file: of every view ``NAME-VIEW.svg``, and ``time_split.svg`` of the whole run. Both
views of one figure have the same axis, so that they can be read side by side.
"""

from __future__ import annotations

from collections.abc import Callable

import matplotlib as mpl
from matplotlib.figure import Figure

from stages.contract import VIEWS
from stages.documents.comparison import Comparison, ViewComparison
from stages.report import format as f
from stages.report.figures.correctness import score_differences
from stages.report.figures.drawing import STYLE, svg
from stages.report.figures.isolation import isolation_probe
from stages.report.figures.items import item_differences
from stages.report.figures.speed import latency, throughput
from stages.report.figures.time_split import time_split
from stages.report.figures.timeline import timeline

_OF_A_VIEW: dict[str, tuple[Callable[[Comparison, ViewComparison], Figure], str]] = {
    "throughput": (throughput, "Items per second of both backends over the chunk size"),
    "latency": (
        latency,
        "p95 pass latency of both backends over the chunk size, fastest to slowest pass as bars",
    ),
    "correctness": (
        score_differences,
        "Largest score difference over the chunk size, against the gate's limit, the noise floors"
        " and wrong answers",
    ),
    "items": (
        item_differences,
        "Largest and mean score difference of every item, against the gate's limits",
    ),
    "isolation": (
        isolation_probe,
        "Largest change of a score when its neighbours change, against its limit",
    ),
    "timeline": (
        timeline,
        "Every timed pass in measuring order, relative to the median of its chunk size",
    ),
}

TITLES: dict[str, str] = {
    **{
        f"{name}-{view}.svg": f"{title}, {f.VIEW_NAMES[view]} view"
        for name, (_, title) in _OF_A_VIEW.items()
        for view in VIEWS
    },
    "time_split.svg": "Wall clock of each measurement by what it was spent on",
}
"""File name -> what the figure shows, for those who cannot see it."""


def draw_all(comparison: Comparison) -> dict[str, bytes]:
    """Every figure, by file name, in the order of ``TITLES``."""
    # Nothing of a user's own matplotlibrc may reach the bytes.
    with mpl.rc_context():
        mpl.rcdefaults()
        mpl.rcParams.update(STYLE)
        drawn = {
            f"{name}-{view.view}.svg": svg(draw(comparison, view))
            for name, (draw, _) in _OF_A_VIEW.items()
            for view in comparison.views()
        }
        return {**drawn, "time_split.svg": svg(time_split(comparison))}
