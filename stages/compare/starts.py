"""Compares the probes of further starts of a server with those of the measured session."""

from __future__ import annotations

import math

import numpy as np
import polars as pl

from stages.documents.comparison import FailedStart, Reason, Starts
from stages.documents.matrix import Provenance

_REQUEST = ["kind", "layout", "run", "item"]
"""What names an item of a probe request within one start."""


def measured_start(probes: pl.DataFrame) -> pl.DataFrame:
    """The probes of the measured session alone."""
    return probes.filter(pl.col("start") == 0)


def compare_starts(probes: pl.DataFrame, provenance: Provenance, limit: float) -> Starts | None:
    """How far the answers of further starts are from those of the measured session.

    Args:
        probes: a probe table, of all starts.
        provenance: of its matrix.
        limit: a larger difference between two answers to the same request makes the scores depend
            on the start.

    Returns:
        ``None`` where no further start was asked for, or nothing was measured.
    """
    planned = provenance.contract.passes.probe_starts
    if not planned or provenance.unavailable is not None:
        return None
    if provenance.contract.base_url is not None:
        return Starts(verdict="not_probed", limit=limit, planned=planned, missing="elsewhere")
    pairs = _pairs(probes)
    if pairs.is_empty():
        return Starts(verdict="not_probed", limit=limit, planned=planned, missing="unanswered")
    failed = pairs.filter(pl.col("status") != "ok")
    good = pairs.filter(pl.col("status") == "ok")
    far = [_difference(row["scores"], row["measured"]) for row in good.iter_rows(named=True)]
    # NaN is not within any limit.
    differing = {at for at, one in zip(good["start"], far, strict=True) if not one <= limit}
    worst = max(range(len(far)), key=lambda at: (math.isnan(far[at]), far[at]), default=None)
    place = {} if worst is None else good.row(worst, named=True)
    return Starts(
        verdict="differ" if differing else "agree" if failed.is_empty() else "not_probed",
        limit=limit,
        planned=planned,
        differing=sorted(differing),
        largest_difference=None if worst is None else far[worst],
        worst_start=place.get("start"),
        worst_item=place.get("item"),
        worst_layout=place.get("layout"),
        failed=[
            FailedStart(start=row["start"], status=row["status"], detail=row["detail"])
            for row in failed.unique("start", keep="first", maintain_order=True).to_dicts()
        ],
    )


def _pairs(probes: pl.DataFrame) -> pl.DataFrame:
    """The rows of further starts whose request the measured session answered, with its scores."""
    answered = measured_start(probes).filter(pl.col("status") == "ok")
    mine = answered.select(*_REQUEST, measured="scores")
    return probes.filter(pl.col("start") > 0).join(
        mine, on=_REQUEST, how="inner", maintain_order="left"
    )


def _difference(scores: list[float], measured: list[float]) -> float:
    return float(np.abs(np.asarray(scores) - np.asarray(measured)).max())


def starts_reasons(starts: Starts | None) -> list[Reason]:
    """Why further starts make every cell of a backend ineligible; empty where they do not."""
    if starts is None or starts.verdict != "differ" or starts.worst_item is None:
        return []
    return [
        Reason(
            code="starts_differ",
            starts=len(starts.differing),
            of_starts=starts.planned,
            items=[starts.worst_item],
            change=starts.largest_difference,
            limit=starts.limit,
        )
    ]
