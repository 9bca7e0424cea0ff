"""Evaluates the probes of one server session: noise floor and isolation of items."""

from __future__ import annotations

import math

import numpy as np
import polars as pl

from stages.contract import Gate
from stages.documents.comparison import FailedAlone, Isolation, IsolationVerdict, NoiseFloor
from stages.documents.probes import OTHER_LENGTHS

NOISE_FACTOR = 10.0
"""A score may move by this many noise floors when its neighbours change."""

ROUNDING = {
    "float32": 1e-4,
    "float": 1e-4,
    "float16": 2e-3,
    "half": 2e-3,
    "bfloat16": 1e-2,
}
"""The smallest limit of a change, by the served format; other formats count as bfloat16.

Requests of another shape are computed in other batches and round differently. The noise floor of
identical requests does not show that. It is often exactly 0, and rounding must not count as a leak.
"""


def noise_floor(probes: pl.DataFrame) -> NoiseFloor:
    """The largest difference between answers to one identical request.

    Args:
        probes: a probe table; only its ``repeat`` rows are read.
    """
    good = probes.filter(pl.col("kind") == "repeat", pl.col("status") == "ok")
    answers = [np.concatenate(run["scores"].to_list()) for run in _runs(good)]
    complete = [a for a in answers if a.size == max(b.size for b in answers)]
    if len(complete) < 2:
        return NoiseFloor(repeats=len(complete), max_abs_diff=None)
    stacked = np.stack(complete)
    spread = stacked.max(axis=0) - stacked.min(axis=0)
    return NoiseFloor(repeats=len(complete), max_abs_diff=float(spread.max()))


def _runs(repeats: pl.DataFrame) -> list[pl.DataFrame]:
    return [
        repeats.filter(pl.col("run") == run).sort("item")
        for run in repeats["run"].unique().sort().to_list()
    ]


def change_limit(noise: NoiseFloor, gate: Gate, dtype: str) -> float:
    """How far the score of an isolated item may move when its neighbours change.

    ``NOISE_FACTOR`` times the noise floor, at least the rounding of the served format, and never
    more than the gate allows. An unknown noise floor counts as 0.

    Args:
        noise: of the same server.
        gate: its largest difference is the highest limit.
        dtype: the format the server was started with.
    """
    rounding = ROUNDING.get(dtype, ROUNDING["bfloat16"])
    return min(gate.max_abs_diff, max(NOISE_FACTOR * (noise.max_abs_diff or 0.0), rounding))


def isolation(probes: pl.DataFrame, targets: list[int], items: int, limit: float) -> Isolation:
    """How far a target's score moves when its neighbours change.

    Args:
        probes: a probe table; only its ``isolation`` rows are read.
        targets: the items probed. If one of them has no score alone in a request, or none among
            neighbours, the verdict is ``not_probed``. If one has none among neighbours of other
            lengths, it is ``lengths_not_probed``.
        items: of the workload; a single one has no neighbours.
        limit: a larger change is a leak.
    """
    rows = probes.filter(pl.col("kind") == "isolation")
    failed = rows.filter(pl.col("status") != "ok")
    by_target = {target: _changes(rows, target) for target in targets}
    every = [(c, target, layout) for target in targets for layout, c in by_target[target].items()]
    # NaN is not within any limit.
    leaking = {target for change, target, _ in every if not change <= limit}
    worst = max(every, key=_how_bad, default=None)
    return Isolation(
        verdict="leaks" if leaking else "no_neighbours" if items == 1 else _shown(by_target),
        limit=limit,
        targets=targets,
        changes=_largest(every),
        largest_change=worst and worst[0],
        worst_target=None if worst is None else worst[1],
        worst_layout=worst and worst[2],
        leaking_targets=sorted(leaking),
        failed_probes=failed.height,
        failed_layouts=failed["layout"].unique(maintain_order=True).to_list(),
        alone=_failed_alone(failed),
        left_out=[layout for layout in OTHER_LENGTHS if _left_out(rows, layout)],
    )


def _failed_alone(failed: pl.DataFrame) -> FailedAlone | None:
    """The first failed request of an item alone, without which nothing of that item is known."""
    first = failed.filter(pl.col("layout") == "alone").head(1).to_dicts()
    return (
        FailedAlone(**{name: first[0][name] for name in FailedAlone.model_fields})
        if first
        else None
    )


type _Change = tuple[float, int, str]


def _changes(rows: pl.DataFrame, target: int) -> dict[str, float]:
    """Layout -> change of the target's score against its score alone, where both are known."""
    good = rows.filter(pl.col("item") == target, pl.col("status") == "ok")
    scores = {row["layout"]: np.asarray(row["scores"]) for row in good.iter_rows(named=True)}
    alone = scores.pop("alone", None)
    if alone is None:
        return {}
    return {layout: float(np.abs(mine - alone).max()) for layout, mine in scores.items()}


def _how_bad(change: _Change) -> tuple[bool, float]:
    return math.isnan(change[0]), change[0]


def _largest(every: list[_Change]) -> dict[str, float]:
    return {layout: change for change, _, layout in sorted(every, key=_how_bad)}


def _shown(by_target: dict[int, dict[str, float]]) -> IsolationVerdict:
    """The verdict of probes without a leak, by the layouts that were answered."""
    answered = [set(mine) for mine in by_target.values()]
    if not answered or not all(answered):
        return "not_probed"
    if not all(mine.intersection(OTHER_LENGTHS) for mine in answered):
        return "lengths_not_probed"
    return "isolated"


def _left_out(rows: pl.DataFrame, layout: str) -> bool:
    """Whether some target was probed, but never in ``layout``."""
    asked = rows.filter(pl.col("layout") == layout)
    return bool(set(rows["item"]) - set(asked["item"]))
