"""The table of latency in detail: p50, mean and p95 of both backends, as text."""

from __future__ import annotations

from dataclasses import dataclass

from stages.documents.comparison import Cell, Interval, ViewComparison
from stages.report import format as f
from stages.report.levels import of_latency
from stages.report.ratios import pairs

DESCRIPTIVE_BELOW = 72
"""Passes below which no finite 95 % interval for p95 exists."""


@dataclass(frozen=True, slots=True)
class Latency:
    """Latency of one cell in milliseconds, p50 and mean with their intervals in brackets."""

    p50_ms: str
    mean_ms: str
    p95_ms: str


@dataclass(frozen=True, slots=True)
class LatencyTable:
    """Latency of every cell of one view.

    Attributes:
        p95: the heading of p95, which says where it is descriptive.
        rows: chunk size, candidate and reference, by rising chunk size.
        levels: confidence levels of the intervals, in a sentence.
    """

    p95: str
    rows: list[tuple[int, Latency, Latency]]
    levels: str


def latency_table(view: ViewComparison) -> LatencyTable:
    """The table of ``view``."""
    return LatencyTable(
        p95="p95 (ms), descriptive" if any_descriptive(view.cells) else "p95 (ms)",
        rows=[
            (pair.chunk_size, _latency(pair.candidate), _latency(pair.reference))
            for pair in pairs(view)
        ],
        levels=of_latency(view),
    )


def any_descriptive(cells: list[Cell]) -> bool:
    """Whether any p95 stands on too few passes for a finite 95 % interval."""
    return any(cell.good_passes < DESCRIPTIVE_BELOW for cell in cells)


def _latency(cell: Cell) -> Latency:
    return Latency(
        p50_ms=_milliseconds(cell.p50_s, cell.p50_s_interval),
        mean_ms=_milliseconds(cell.mean_s, cell.mean_s_interval),
        p95_ms=f.milliseconds(cell.p95_s),
    )


def _milliseconds(seconds: float | None, interval: Interval | None) -> str:
    if seconds is None or interval is None:
        return f.bounded(None if seconds is None else seconds * 1e3, interval)
    ends = {
        "low": interval.low * 1e3,
        "high": None if interval.high is None else interval.high * 1e3,
    }
    return f.bounded(seconds * 1e3, interval.model_copy(update=ends))
