"""The series beside the cells: single passes, differences by item, ratios by chunk size."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt
import polars as pl

from stages.compare.gate import identical_requests
from stages.compare.intervals import ratio_interval
from stages.contract import Pair
from stages.documents.cell import CellKey
from stages.documents.comparison import Cell, ItemDifference, PassTime, Ratio
from stages.documents.matrix import TIMED_PHASES

type Array = npt.NDArray[np.float64]


def pass_times(passes: pl.DataFrame) -> list[PassTime]:
    """Every timed pass of one matrix, in measuring order.

    Args:
        passes: of the matrix, as ``passes_of`` returns them; all but timed ones are left out.
    """
    timed = passes.filter(pl.col("phase").is_in(TIMED_PHASES)).sort("position")
    first = timed["started_ns"].min()
    return [
        PassTime(
            chunk_size=row["chunk_size"],
            phase=row["phase"],
            run=row["run"],
            session=row["session"],
            started_s=None if row["started_ns"] is None else (row["started_ns"] - first) / 1e9,
            seconds=row["seconds"],
            status=row["status"],
            compiled=None if row["compiles"] is None else row["compiles"] > 0,
        )
        for row in timed.iter_rows(named=True)
    ]


def item_differences(
    candidate: pl.DataFrame, reference: pl.DataFrame, labels: int
) -> list[ItemDifference]:
    """How far each item's scores are from the reference's, by rising item.

    Args:
        candidate: passes of every cell of the candidate of one view, as ``passes_of`` returns them.
        reference: passes of the reference in that view.
        labels: scores per item. All scores are there and finite, because ``compare/belonging.py``
            refuses any other matrix.

    Returns:
        An empty list where no pass had a counterpart.
    """
    pairs = identical_requests(candidate, reference)
    if pairs.is_empty():
        return []
    # Shape (passes, items, labels).
    own, right = (
        np.asarray(pairs[column].to_list(), dtype=np.float64).reshape(pairs.height, -1, labels)
        for column in ("scores", "reference_scores")
    )
    difference = np.abs(own - right)
    of_pass = difference.max(axis=2)
    worst = of_pass.argmax(axis=0)
    return [
        ItemDifference(
            item=item,
            chunk_size=pairs["chunk_size"][int(worst[item])],
            max_abs_diff=float(of_pass[worst[item], item]),
            mean_abs_diff=float(difference[:, item].mean()),
        )
        for item in range(of_pass.shape[1])
    ]


def chunk_ratios(
    cells: Sequence[Cell], seconds: Mapping[CellKey, Array], pair: Pair
) -> list[Ratio]:
    """Candidate / reference at every chunk size, rising.

    Args:
        cells: of both backends in one view.
        seconds: of the passes that each cell's figures come from.
        pair: that is compared.
    """
    found = {cell.key: cell for cell in cells}
    ratios = []
    for size in sorted({cell.chunk_size for cell in cells}):
        one, other = (found[CellKey(backend, size)] for backend in pair.both)
        # Seconds are the inverse of items per second, so the reference is the numerator.
        interval = ratio_interval(seconds[other.key], seconds[one.key])
        ratios.append(
            Ratio(
                chunk_size=size,
                items_per_s=_over(one.items_per_s, other.items_per_s),
                items_per_s_interval=interval,
                p95_s=_over(one.p95_s, other.p95_s),
            )
        )
    return ratios


def _over(one: float | None, other: float | None) -> float | None:
    return None if one is None or not other else one / other
