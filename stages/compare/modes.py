"""How a cell's passes were scored: by the server's log, else by its settings."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

import polars as pl

from stages.backends.declared import PassMode
from stages.contract import Backend
from stages.documents.comparison import Cell, Flag, Reason
from stages.documents.matrix import Scoring


def modes_of(good: pl.DataFrame, scoring: Scoring | None) -> dict[PassMode, int]:
    """How many passes were scored in which mode, the most frequent first.

    Args:
        good: the successful timed passes of a cell, as ``passes_of`` returns them.
        scoring: how the server's settings ask it to score; that holds for passes of which its
            log does not tell.
    """
    told = Counter[PassMode](good["mode"].drop_nulls().to_list())
    untold = good.height - told.total()
    if scoring is not None and untold:
        told[scoring.mode] += untold
    return dict(told.most_common())


def mode_reasons(modes: Mapping[PassMode, int]) -> list[Reason]:
    """Why the ways of scoring make a cell ineligible: in more than one way there is no figure."""
    if len(modes) < 2 and "mixed" not in modes:
        return []
    return [Reason(code="mixed_modes", modes=dict(modes))]


def mode_flags(cells: Sequence[Cell], scoring: Mapping[Backend, Scoring | None]) -> list[Flag]:
    """Cells whose server scored in another mode than its settings ask for."""
    flags = []
    for cell in cells:
        asked = scoring[cell.backend]
        if asked is not None and cell.mode not in (None, asked.mode):
            flags.append(
                Flag(
                    code="other_mode",
                    backend=cell.backend,
                    chunk_size=cell.chunk_size,
                    modes=[mode for mode in (asked.mode, cell.mode) if mode is not None],
                )
            )
    return flags
