"""What the probes of one server session show: its noise floor, and whether items leak."""

from __future__ import annotations

import numpy as np
import polars as pl

from stages.comparison import Isolation, NoiseFloor
from stages.contract import Gate


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


def isolation(probes: pl.DataFrame, targets: list[int], gate: Gate) -> Isolation:
    """How far a target's score moves when its neighbours change.

    Args:
        probes: a probe table; only its ``isolation`` rows are read.
        targets: the items probed; one of them without a score alone in a request, or
            without a score among neighbours, means nothing was shown.
        gate: a change above its largest difference is a leak.
    """
    rows = probes.filter(pl.col("kind") == "isolation")
    good = rows.filter(pl.col("status") == "ok")
    changes: dict[str, float] = {}
    worst: tuple[float, int, str] | None = None
    leaking: set[int] = set()
    probed = bool(targets)
    for target in targets:
        mine = {r["layout"]: r["scores"] for r in good.iter_rows(named=True) if r["item"] == target}
        alone = mine.pop("alone", None)
        if alone is None or not mine:
            probed = False
            continue
        for layout, scores in mine.items():
            change = float(np.abs(np.asarray(scores) - np.asarray(alone)).max())
            changes[layout] = max(change, changes.get(layout, 0.0))
            if worst is None or change > worst[0]:
                worst = (change, target, layout)
            if not change <= gate.max_abs_diff:
                leaking.add(target)
    return Isolation(
        verdict="leaks" if leaking else "isolated" if probed else "not_probed",
        targets=targets,
        changes=changes,
        largest_change=worst and worst[0],
        worst_target=None if worst is None else worst[1],
        worst_layout=worst and worst[2],
        leaking_targets=sorted(leaking),
        failed_probes=rows.height - good.height,
    )
