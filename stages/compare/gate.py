"""The correctness gate: the candidate's scores against the reference's, request by request."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import polars as pl

from stages.contract import Gate
from stages.documents.cell import PASS_COLUMNS
from stages.documents.comparison import ControlName, ControlResult, GateResult, Only, Verdict
from stages.documents.matrix import TIMED_PHASES

type Array = npt.NDArray[np.float64]


def judge(candidate: pl.DataFrame, reference: pl.DataFrame, gate: Gate, labels: int) -> GateResult:
    """Judge one cell by the worst of its successful timed passes.

    Args:
        candidate: passes of one cell of the candidate, as ``passes_of`` returns them.
        reference: passes of the reference; those of other cells are ignored.
        gate: the largest differences that pass.
        labels: scores per item.

    A pass is compared with the reference's pass of the same phase, chunk size, run and
    salt (an ``answer`` pass of the reference is the counterpart of a ``confirm`` pass).
    NaN never passes, and a cell with nothing to compare does not pass.
    """
    timed = _good_timed(candidate)
    pairs = identical_requests(candidate, reference)
    rows = list(pairs.iter_rows(named=True))
    right = [row["reference_scores"] for row in rows]
    largest, mean, worst = worst_of([row["scores"] for row in rows], right)
    found = verdict(largest, mean, gate)
    controls = power_controls(right, labels, gate)
    if found == "pass" and not all(control.caught for control in controls):
        found = "inconclusive"
    return GateResult(
        verdict=found,
        compared_passes=pairs.height,
        uncompared_passes=timed.height - pairs.height,
        max_abs_diff=largest,
        mean_abs_diff=mean,
        worst_pass=None if worst is None else f"{rows[worst]['phase']} {rows[worst]['run']}",
        controls=controls,
        left_out=no_controls(right, labels),
    )


def identical_requests(candidate: pl.DataFrame, reference: pl.DataFrame) -> pl.DataFrame:
    """The candidate's successful timed passes that the reference answered, too.

    Args:
        candidate: passes of any cells, as ``passes_of`` returns them.
        reference: the same of the reference.

    Returns:
        The candidate's columns and ``reference_scores``, by phase, chunk size and run.
    """
    counterparts = reference.filter(pl.col("status") == "ok").select(
        pl.col("phase").replace("answer", "confirm"),
        *(column for column in PASS_COLUMNS if column != "phase"),
        "salt",
        pl.col("scores").alias("reference_scores"),
    )
    # Passes are matched by key and salt, never by their order in the file.
    paired = _good_timed(candidate).join(counterparts, on=[*PASS_COLUMNS, "salt"], how="inner")
    return paired.sort(*PASS_COLUMNS)


def _good_timed(passes: pl.DataFrame) -> pl.DataFrame:
    return passes.filter(pl.col("phase").is_in(TIMED_PHASES), pl.col("status") == "ok")


def worst_of(
    passes: list[list[float]], reference: list[list[float]]
) -> tuple[float | None, float | None, int | None]:
    """Largest difference, largest mean difference, and the pass with the former.

    Args:
        passes: scores of each pass.
        reference: scores of its counterpart, in the same order.
    """
    largest = mean = None
    worst: int | None = None
    for i, (scores, right) in enumerate(zip(passes, reference, strict=True)):
        pass_max, pass_mean = differences(scores, right)
        if _is_worse(pass_max, largest):
            largest, worst = pass_max, i
        if _is_worse(pass_mean, mean):
            mean = pass_mean
    return largest, mean, worst


def power_controls(reference: list[list[float]], labels: int, gate: Gate) -> list[ControlResult]:
    """Put wrong answers made from the reference's scores through the gate.

    Args:
        reference: scores of each compared pass, item by item.
        labels: scores per item.
        gate: the limits; a control within them shows that the scores are too flat to judge by.

    A control that :func:`no_controls` names is left out.
    """
    if not reference:
        return []
    left_out = no_controls(reference, labels)
    makers: dict[ControlName, Callable[[Array], Array]] = {
        "items_rotated": lambda scores: np.roll(scores, 1, axis=0),
        "labels_swapped": lambda scores: np.roll(scores, 1, axis=1),
        "mean_score": lambda scores: np.broadcast_to(scores.mean(axis=0), scores.shape),
    }
    results = []
    for name, make in makers.items():
        if name in left_out:
            continue
        wrong = [make(np.asarray(s).reshape(-1, labels)).ravel().tolist() for s in reference]
        largest, mean, _ = worst_of(wrong, reference)
        caught = verdict(largest, mean, gate) == "fail"
        results.append(
            ControlResult(name=name, caught=caught, max_abs_diff=largest, mean_abs_diff=mean)
        )
    return results


def no_controls(reference: list[list[float]], labels: int) -> dict[ControlName, Only]:
    """The controls that cannot change anything, because there is only one item or label.

    A control of scores that happen to be equal is not left out. It passes the gate, which shows
    that the scores are too flat. All items of a pass count, however many calls it took.

    Args:
        reference: scores of each compared pass, item by item.
        labels: scores per item.
    """
    same: dict[ControlName, Only] = {}
    if reference and all(len(scores) == labels for scores in reference):
        same |= {"items_rotated": "item", "mean_score": "item"}
    if reference and labels == 1:
        same["labels_swapped"] = "label"
    return same


def _is_worse(difference: float, so_far: float | None) -> bool:
    # NaN is worse than any number, so no later difference may replace it.
    return so_far is None or (not math.isnan(so_far) and not difference <= so_far)


def differences(scores: list[float], reference: list[float]) -> tuple[float, float]:
    """Largest and mean absolute difference; NaN when a score is NaN or a count differs."""
    if len(scores) != len(reference) or not scores:
        return float("nan"), float("nan")
    # Infinity minus infinity is NaN, which fails every limit, as it should.
    with np.errstate(invalid="ignore"):
        difference = np.abs(np.asarray(scores) - np.asarray(reference))
    return float(difference.max()), float(difference.mean())


def verdict(largest: float | None, mean: float | None, gate: Gate) -> Verdict:
    """``pass`` needs both differences within their limits. NaN is never within a limit."""
    if largest is None or mean is None:
        return "not_compared"
    return "pass" if largest <= gate.max_abs_diff and mean <= gate.mean_abs_diff else "fail"
