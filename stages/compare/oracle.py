"""Compares both backends with the independent scorer, to see which one is wrong."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import polars as pl

from stages.contract import Backend, Gate
from stages.documents.cell import PASS_COLUMNS
from stages.documents.comparison import OracleResult, OracleSide


def against_oracle(
    passes: pl.DataFrame, sample: pl.DataFrame, labels: int, gate: Gate
) -> OracleResult:
    """One backend's scores against the oracle's, on the oracle's sample.

    Args:
        passes: of one matrix, as ``passes_of`` returns them.
        sample: the oracle's table, one row per sampled (pass, item).
        labels: scores per item.
        gate: within its limits the backend agrees with the oracle.
    """
    good = passes.filter(pl.col("status") == "ok").select(
        *PASS_COLUMNS, pl.col("scores").alias("all")
    )
    pairs = sample.join(good, on=list(PASS_COLUMNS), how="inner")
    found = [
        np.abs(np.asarray(row["all"][row["item"] * labels :][:labels]) - np.asarray(row["scores"]))
        for row in pairs.iter_rows(named=True)
    ]
    missing = sample.height - pairs.height
    if not found:
        return OracleResult(
            compared=0, missing=missing, max_abs_diff=None, mean_abs_diff=None, agrees=None
        )
    differences = np.concatenate(found)
    largest, mean = float(differences.max()), float(differences.mean())
    return OracleResult(
        compared=len(found),
        missing=missing,
        max_abs_diff=largest,
        mean_abs_diff=mean,
        agrees=largest <= gate.max_abs_diff and mean <= gate.mean_abs_diff,
    )


def sides_with(results: Mapping[Backend, OracleResult]) -> OracleSide | None:
    """Which backend the oracle sides with; ``None`` where one could not be compared."""
    if any(result.agrees is None for result in results.values()):
        return None
    agreeing = [backend for backend, result in results.items() if result.agrees]
    if len(agreeing) == len(results):
        return "both"
    return agreeing[0] if agreeing else "neither"
