"""What the probes of one server session show: its noise floor, and whether items leak."""

from __future__ import annotations

import math

import numpy as np
import polars as pl

from stages.contract import Gate
from stages.documents.comparison import Isolation, IsolationVerdict, NoiseFloor
from stages.documents.probes import OTHER_LENGTHS

NOISE_FACTOR = 10.0
"""Times the noise floor, a score may move when its neighbours change."""

ROUNDING = {
    "float32": 1e-4,
    "float": 1e-4,
    "float16": 2e-3,
    "half": 2e-3,
    "bfloat16": 1e-2,
}
"""What a score may move at least, by the served format; of any other, as of bfloat16.

Requests of another shape are computed in other batches and round differently. Identical requests
never show that: their noise floor is often exactly 0, and rounding must not be called a leak.
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
    """How far a score may move when its neighbours change, and still be called isolated.

    ``NOISE_FACTOR`` times the noise floor, at least what rounding in the served format can do,
    and never more than the gate allows. A noise floor that is not known counts as none.

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
        targets: the items probed. One of them without a score alone in a request, or without
            a score among neighbours, means nothing was shown; one without a score among
            neighbours of other lengths, nothing of those.
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
        left_out=[layout for layout in OTHER_LENGTHS if _left_out(rows, layout)],
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
    """What probes without a leak show; nothing is claimed of a layout that had no answer."""
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
