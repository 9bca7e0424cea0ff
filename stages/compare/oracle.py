"""Compares both backends with the independent scorer: which is wrong, or scored another prompt?"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt
import polars as pl

from stages.contract import Backend, Gate
from stages.documents.cell import PASS_COLUMNS
from stages.documents.comparison import (
    DelimitedResult,
    OracleResult,
    OracleSide,
    OracleVerdict,
)
from stages.documents.oracle import Delimited

type Scores = npt.NDArray[np.float64]


def against_oracle(
    passes: pl.DataFrame,
    sample: pl.DataFrame,
    labels: int,
    gate: Gate,
    delimited: Delimited | None = None,
    leaks: bool = False,
) -> OracleResult:
    """One backend's scores against the oracle's, on the oracle's sample.

    Args:
        passes: of one matrix, as ``passes_of`` returns them.
        sample: the oracle's table, one row per sampled (pass, item).
        labels: scores per item.
        gate: within its limits the backend agrees with the oracle.
        delimited: the prompts with the delimiter of this matrix, if its server packs items.
        leaks: whether a score was found to depend on neighbouring items.
    """
    pairs = _pairs(passes, sample if delimited is None else delimited.sample, labels)
    missing = sample.height - pairs.height
    if pairs.is_empty():
        return OracleResult(
            compared=0,
            missing=missing,
            max_abs_diff=None,
            mean_abs_diff=None,
            agrees=None,
            verdict="not_compared",
        )
    mine, plain = _stacked(pairs, "mine"), _stacked(pairs, "scores")
    largest, mean = _apart(mine, plain)
    agrees = _within(largest, mean, gate)
    other = None
    if delimited is not None:
        other = _delimited(mine, plain, _stacked(pairs, "delimited"), delimited.delimiter, gate)
    return OracleResult(
        compared=pairs.height,
        missing=missing,
        max_abs_diff=largest,
        mean_abs_diff=mean,
        agrees=agrees,
        delimited=other,
        verdict=verdict(agrees, other, leaks),
    )


def _pairs(passes: pl.DataFrame, sample: pl.DataFrame, labels: int) -> pl.DataFrame:
    """The sampled rows whose pass succeeded, with the backend's scores of the item in ``mine``."""
    good = passes.filter(pl.col("status") == "ok").select(
        *PASS_COLUMNS, pl.col("scores").alias("all")
    )
    of_item = pl.col("all").list.slice(pl.col("item") * labels, labels)
    return sample.join(good, on=list(PASS_COLUMNS), how="inner").with_columns(mine=of_item)


def _stacked(pairs: pl.DataFrame, column: str) -> Scores:
    return np.array(pairs[column].to_list(), dtype=np.float64)


def _apart(some: Scores, others: Scores) -> tuple[float, float]:
    """The largest and the mean difference."""
    differences = np.abs(some - others)
    return float(differences.max()), float(differences.mean())


def _within(largest: float, mean: float, gate: Gate) -> bool:
    return largest <= gate.max_abs_diff and mean <= gate.mean_abs_diff


def _delimited(
    mine: Scores, plain: Scores, delimited: Scores, delimiter: int, gate: Gate
) -> DelimitedResult:
    largest, mean = _apart(mine, delimited)
    prompts_largest, prompts_mean = _apart(plain, delimited)
    # Where the gate would take one prompt for the other, being near one of them shows nothing.
    told_apart = not _within(prompts_largest, prompts_mean, gate)
    return DelimitedResult(
        delimiter=delimiter,
        max_abs_diff=largest,
        mean_abs_diff=mean,
        prompts_max_abs_diff=prompts_largest,
        prompts_mean_abs_diff=prompts_mean,
        agrees=told_apart and _within(largest, mean, gate),
    )


def verdict(agrees: bool, other: DelimitedResult | None, leaks: bool) -> OracleVerdict:
    """What the backend scored: the prompt that was asked for, another one, or neither.

    A prompt with a delimiter in it is still one item's own. A score that depends on neighbours is
    no such prompt's, however near it is on the sample, so a leak makes it wrong.
    """
    if agrees:
        return "agrees"
    if other is not None and other.agrees and not leaks:
        return "other_prompt"
    return "wrong"


def sides_with(results: Mapping[Backend, OracleResult]) -> OracleSide | None:
    """Which backend the oracle sides with; ``None`` where one could not be compared."""
    if any(result.agrees is None for result in results.values()):
        return None
    agreeing = [backend for backend, result in results.items() if result.agrees]
    if len(agreeing) == len(results):
        return "both"
    return agreeing[0] if agreeing else "neither"
