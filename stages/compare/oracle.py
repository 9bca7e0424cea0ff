"""Both backends against the independent scorer: which one drifted?"""

from __future__ import annotations

import numpy as np
import polars as pl

from stages.common.numbers import difference
from stages.contract import BACKEND_NAMES, Backend, Gate
from stages.documents.cell import PASS_COLUMNS
from stages.documents.comparison import OracleResult, OracleVerdict


def against_oracle(
    passes: pl.DataFrame, sample: pl.DataFrame, labels: int, gate: Gate
) -> OracleResult:
    """One backend's scores against the oracle's, on the oracle's sample.

    Args:
        passes: of one matrix, as ``passes_of`` returns them.
        sample: the oracle's table, a row a sampled (pass, item).
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


def oracle_verdict(results: dict[Backend, OracleResult]) -> OracleVerdict:
    """Which backend the oracle sides with, in a word and in a sentence."""
    if any(r.agrees is None for r in results.values()):
        unknown = [BACKEND_NAMES[b] for b, r in results.items() if r.agrees is None]
        return OracleVerdict(
            sides_with=None,
            sentence=f"The oracle has nothing to compare {' and '.join(unknown)} with.",
        )
    agreeing = [b for b, r in results.items() if r.agrees]
    far = ", ".join(
        f"{BACKEND_NAMES[b]} by up to {difference(r.max_abs_diff)}" for b, r in results.items()
    )
    if len(agreeing) == len(results):
        return OracleVerdict(
            sides_with="both",
            sentence=f"The oracle agrees with both backends (it differs from {far}).",
        )
    if not agreeing:
        return OracleVerdict(
            sides_with="neither",
            sentence=f"The oracle agrees with neither backend: it differs from {far}.",
        )
    (right,) = agreeing
    return OracleVerdict(
        sides_with=right,
        sentence=f"The oracle sides with {BACKEND_NAMES[right]}: it differs from {far}.",
    )
