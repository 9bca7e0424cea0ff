"""The correctness gate: JAX's scores against the reference's for the identical request."""

from __future__ import annotations

import math

import numpy as np
import polars as pl

from stages.compare.passes import KEY
from stages.comparison import GateResult, Verdict
from stages.contract import Gate
from stages.schema import TIMED_PHASES


def judge(candidate: pl.DataFrame, reference: pl.DataFrame, gate: Gate) -> GateResult:
    """Judge one cell by all its successful timed passes; the worst pass counts.

    Args:
        candidate: passes of one JAX cell, as ``passes_of`` returns them.
        reference: passes of the reference; rows of other cells do no harm.
        gate: the largest differences that pass.

    A pass is compared with the reference's pass of the same phase, chunk size, run and
    salt. NaN never passes, and a cell with nothing to compare does not pass.
    """
    timed = candidate.filter(pl.col("phase").is_in(TIMED_PHASES), pl.col("status") == "ok")
    counterparts = reference.filter(pl.col("status") == "ok").select(
        *KEY, "salt", pl.col("scores").alias("reference_scores")
    )
    # Joined by key and compared by salt: a row's place in the file means nothing.
    pairs = timed.join(counterparts, on=[*KEY, "salt"], how="inner").sort(*KEY)
    largest = mean = None
    worst: str | None = None
    for row in pairs.iter_rows(named=True):
        pass_max, pass_mean = differences(row["scores"], row["reference_scores"])
        if _is_worse(pass_max, largest):
            largest, worst = pass_max, f"{row['phase']} {row['run']}"
        if _is_worse(pass_mean, mean):
            mean = pass_mean
    return GateResult(
        verdict=verdict(largest, mean, gate),
        compared_passes=pairs.height,
        uncompared_passes=timed.height - pairs.height,
        max_abs_diff=largest,
        mean_abs_diff=mean,
        worst_pass=worst,
    )


def _is_worse(difference: float, so_far: float | None) -> bool:
    # NaN is the worst of all, and what comes after it must not hide it.
    return so_far is None or (not math.isnan(so_far) and not difference <= so_far)


def differences(scores: list[float], reference: list[float]) -> tuple[float, float]:
    """Largest and mean absolute difference; NaN when a score is NaN or a count differs."""
    if len(scores) != len(reference) or not scores:
        return float("nan"), float("nan")
    difference = np.abs(np.asarray(scores) - np.asarray(reference))
    return float(difference.max()), float(difference.mean())


def verdict(largest: float | None, mean: float | None, gate: Gate) -> Verdict:
    """Pass needs both differences within their limit; a comparison with NaN is false."""
    if largest is None or mean is None:
        return "not_compared"
    return "pass" if largest <= gate.max_abs_diff and mean <= gate.mean_abs_diff else "fail"
