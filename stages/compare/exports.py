"""The comparison for `dvc metrics` and `dvc plots`, under names that never change.

Figures are rounded to four significant digits: `dvc metrics diff` prints a row for every
value that differs in its last bit. `comparison.json` has all digits.
"""

from __future__ import annotations

import io
import math
from collections.abc import Iterable, Iterator, Mapping

import polars as pl

from stages.contract import Backend, Gate, View
from stages.documents.comparison import (
    Cell,
    Comparison,
    ComparisonSet,
    ViewComparison,
    ViewSummary,
    WeightedRatio,
)

type Figure = float | int | str | None
type Figures = dict[str, Figure | dict[str, Figure]]
type Metrics = dict[str, Mapping[str, Figures] | bool | None]


def all_metrics(found: ComparisonSet) -> Metrics:
    """The metrics of each workload in each view, and those over all workloads.

    Units are in the names. An absent figure is ``None``, so every run has every name.
    """
    by_workload = {one.scope.workload: metrics(one) for one in found.workloads}
    over_all: dict[str, Figures] = {v.view: _summary(v) for v in found.summary.views()}
    return {
        **by_workload,
        "over_all_workloads": over_all,
        "uncommitted_changes": _uncommitted_changes(found.workloads[0]),
    }


def metrics(comparison: Comparison) -> Mapping[str, Figures]:
    """The metrics of each view: winner, selected cells, their ratio, gate and order of the items.

    They also say how each backend scored the items of a request, since that decides what its
    figures mean.
    """
    return {v.view: _view_metrics(v, comparison.gate) for v in comparison.views()}


def _summary(view: ViewSummary) -> Figures:
    return {
        "wins": dict(view.wins),
        "ties": view.ties,
        "undecided": view.undecided,
        "candidate_over_reference": _ratio(view.mean),
        "mixes": {name: _ratio(mix) for name, mix in view.mixes.items()},
    }


def _ratio(mean: WeightedRatio) -> float | None:
    return _rounded(mean.items_per_s)


def _uncommitted_changes(comparison: Comparison) -> bool | None:
    """Whether any code that measured differed from its commit; ``None`` where that is not known."""
    known = {s.run.git_dirty for s in comparison.sources if s.unavailable is None}
    return True if True in known else False if known == {False} else None


def _view_metrics(view: ViewComparison, limits: Gate) -> Figures:
    return {
        "winner": view.winner.outcome,
        "winner_confidence": view.winner.confidence,
        **{
            backend: _scoring(view, backend) | _selected(view, backend)
            for backend in view.pair.both
        },
        "candidate_over_reference": _candidate_over_reference(view),
        "gate": _gate(view, limits),
        "ranking": _ranking(view),
    }


def _scoring(view: ViewComparison, backend: Backend) -> dict[str, Figure]:
    found, cell = view.scoring[backend], view.selected_cell(backend)
    used = cell.mode if cell else None
    return {"scoring": used or (found.mode if found else None)}


def _selected(view: ViewComparison, backend: Backend) -> dict[str, Figure]:
    names = ("chunk_size", "items_per_s", "items_per_s_low", "items_per_s_high")
    figures: dict[str, Figure] = dict.fromkeys((*names, "p95_ms", "success_rate"))
    cell = view.selected_cell(backend)
    if cell is None:
        return figures
    if interval := cell.items_per_s_interval:
        figures["items_per_s_low"] = _rounded(interval.low)
        figures["items_per_s_high"] = _rounded(interval.high)
    return figures | {
        "chunk_size": cell.chunk_size,
        "items_per_s": _rounded(cell.items_per_s),
        "p95_ms": _rounded(_milliseconds(cell.p95_s)),
        "success_rate": _rounded(cell.success_rate),
    }


def _candidate_over_reference(view: ViewComparison) -> float | None:
    one, other = (view.selected_cell(backend) for backend in view.pair.both)
    if not (one and one.items_per_s and other and other.items_per_s):
        return None
    return _rounded(one.items_per_s / other.items_per_s)


def _gate(view: ViewComparison, limits: Gate) -> dict[str, Figure]:
    gates = [c.gate for c in view.cells if c.gate is not None]
    largest = _largest(g.max_abs_diff for g in gates)
    mean = _largest(g.mean_abs_diff for g in gates)
    return {
        "passed_cells": sum(g.verdict == "pass" for g in gates),
        "cells": len(gates),
        # dvc prints five decimals, and correct scores differ by about a millionth.
        "max_abs_diff_pct_of_limit": _percent_of(largest, limits.max_abs_diff),
        "mean_abs_diff_pct_of_limit": _percent_of(mean, limits.mean_abs_diff),
    }


def _ranking(view: ViewComparison) -> dict[str, Figure]:
    found = [c.ranking for c in view.cells if c.ranking is not None]
    taus = [r.tau for r in found if r.tau is not None]
    flips = [r.flipped_pairs for r in found if r.flipped_pairs is not None]
    return {
        "kept_cells": sum(r.kept is True for r in found),
        "cells": len(found),
        # Rounded down: only an order that is kept everywhere reads 1.
        "smallest_tau": math.floor(min(taus) * 1e4) / 1e4 if taus else None,
        "most_flipped_pairs": max(flips, default=None),
    }


def _largest(values: Iterable[float | None]) -> float | None:
    known = [v for v in values if v is not None]
    # A score that is not a number must not hide behind the others.
    return max(known, default=None) if all(map(math.isfinite, known)) else None


def _percent_of(value: float | None, limit: float) -> float | None:
    return None if value is None or not limit else _rounded(100 * value / limit)


def _milliseconds(seconds: float | None) -> float | None:
    return None if seconds is None else seconds * 1e3


def _rounded(value: float | None) -> float | None:
    return None if value is None else float(f"{value:.4g}")


def plot_table(found: ComparisonSet, view: View) -> bytes:
    """CSV for `dvc plots`: a row per workload and chunk size, a column per role and figure.

    An absent figure is an empty field, which leaves a gap in the line.
    """
    rows = [
        {"workload": one.scope.workload, **row}
        for one in found.workloads
        for row in _plotted(one.view(view))
    ]
    sink = io.BytesIO()
    pl.DataFrame(rows).write_csv(sink)
    return sink.getvalue()


def _plotted(view: ViewComparison) -> Iterator[dict[str, float | int | None]]:
    for chunk in sorted({c.chunk_size for c in view.cells}):
        row: dict[str, float | int | None] = {"chunk_size": chunk}
        for backend in view.pair.both:
            cell: Cell = view.cell(backend, chunk)
            role = view.pair.role(backend)
            row[f"{role}_items_per_s"] = _rounded(cell.items_per_s)
            row[f"{role}_p95_ms"] = _rounded(_milliseconds(cell.p95_s))
        yield row
