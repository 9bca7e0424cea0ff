"""The comparison for `dvc metrics` and `dvc plots`: flat, with names that stay the same."""

from __future__ import annotations

import io
from typing import Any

import polars as pl

from stages.comparison import Cell, Comparison, ViewComparison
from stages.contract import BACKENDS


def metrics(comparison: Comparison) -> dict[str, Any]:
    """What `dvc metrics diff` shows: each view's selected cells, their ratio and the gate."""
    return {view.view: _view_metrics(view) for view in comparison.views()}


def _view_metrics(view: ViewComparison) -> dict[str, Any]:
    figures: dict[str, Any] = {}
    for backend in BACKENDS:
        cell = view.selected_cell(backend)
        figures[backend] = {
            "chunk_size": cell and cell.chunk_size,
            "items_per_s": cell and cell.items_per_s,
            "p95_ms": cell and _milliseconds(cell.p95_s),
            "success_rate": cell and cell.success_rate,
        }
    fast = [figures[b]["items_per_s"] for b in ("jax", "pytorch")]
    figures["jax_over_pytorch"] = fast[0] / fast[1] if all(fast) else None
    gates = [c.gate for c in view.cells if c.gate is not None]
    figures["gate"] = {
        "passed_cells": sum(g.verdict == "pass" for g in gates),
        "cells": len(gates),
        "max_abs_diff": _largest([g.max_abs_diff for g in gates]),
        "mean_abs_diff": _largest([g.mean_abs_diff for g in gates]),
    }
    figures["winner"] = view.winner.outcome
    return figures


def _largest(values: list[float | None]) -> float | None:
    known = [v for v in values if v is not None]
    # max() would skip a NaN depending on its place.
    if any(v != v for v in known):
        return float("nan")
    return max(known, default=None)


def _milliseconds(seconds: float | None) -> float | None:
    return None if seconds is None else seconds * 1e3


def plot_table(view: ViewComparison) -> bytes:
    """CSV: a row a chunk size, a column a backend and figure, for `dvc plots show`."""
    rows = []
    for chunk in sorted({c.chunk_size for c in view.cells}):
        row: dict[str, float | int | None] = {"chunk_size": chunk}
        for backend in BACKENDS:
            cell: Cell = view.cell(backend, chunk)
            row[f"{backend}_items_per_s"] = cell.items_per_s
            row[f"{backend}_p95_ms"] = _milliseconds(cell.p95_s)
        rows.append(row)
    sink = io.BytesIO()
    pl.DataFrame(rows).write_csv(sink)
    return sink.getvalue()
