"""The report's figures as SVG: the same comparison gives the same bytes.

One figure a file: of every view ``NAME-VIEW.svg``, and ``time_split.svg`` of the whole run. Both
views of one figure have the same axis, so that they can be read side by side. Where several
workloads were measured, each has a folder of its own, and ``by_workload.svg`` compares them.
"""

from __future__ import annotations

import contextlib
from collections import ChainMap
from collections.abc import Callable, Iterator, Mapping

import matplotlib as mpl
from matplotlib.figure import Figure

from stages.contract import VIEWS
from stages.documents.comparison import Comparison, ComparisonSet, ViewComparison
from stages.report import format as f
from stages.report.figures.by_workload import by_workload
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


def draw_set(found: ComparisonSet) -> dict[str, bytes]:
    """Every figure of a result, by its path below the report's folder."""
    with _style():
        if len(found.workloads) == 1:
            return _below("figures", _of_workload(found.workloads[0]) | _time(found.workloads[0]))
        drawn = {"by_workload.svg": draw_by_workload(found), **_time(found.workloads[0])}
        parts = [
            _below(f"{one.scope.workload}/figures", _of_workload(one)) for one in found.workloads
        ]
        return dict(ChainMap(_below("figures", drawn), *parts))


def draw_by_workload(found: ComparisonSet) -> bytes:
    """The figure that compares the workloads."""
    with _style():
        return svg(by_workload(found))


def draw_all(comparison: Comparison) -> dict[str, bytes]:
    """Every figure of one workload, by file name, in the order of ``TITLES``."""
    with _style():
        return _of_workload(comparison) | _time(comparison)


@contextlib.contextmanager
def _style() -> Iterator[None]:
    # Nothing of a user's own matplotlibrc may reach the bytes.
    with mpl.rc_context():
        mpl.rcdefaults()
        mpl.rcParams.update(STYLE)
        yield


def _of_workload(comparison: Comparison) -> dict[str, bytes]:
    return {
        f"{name}-{view.view}.svg": svg(draw(comparison, view))
        for name, (draw, _) in _OF_A_VIEW.items()
        for view in comparison.views()
    }


def _time(comparison: Comparison) -> dict[str, bytes]:
    return {"time_split.svg": svg(time_split(comparison))}


def _below(folder: str, figures: Mapping[str, bytes]) -> dict[str, bytes]:
    return {f"{folder}/{name}": drawing for name, drawing in figures.items()}
