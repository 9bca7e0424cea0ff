"""A cell that was scored in another mode than its server was asked for."""

from __future__ import annotations

import comparisons as build

from stages.compare.modes import mode_flags
from stages.contract import Backend
from stages.documents.comparison import Flag
from stages.documents.matrix import Scoring

ASKED: dict[Backend, Scoring | None] = {
    "jax": build.scored("score_from_cache"),
    "pytorch": build.scored("packed"),
}


def test_a_cell_that_left_the_mode_it_was_asked_for_is_flagged() -> None:
    left = build.cell("jax", "best_native", 4, 1.0, modes={"prefill_extend": 5}, told_passes=5)
    kept = build.cell("pytorch", "best_native", 4, 1.0, modes={"packed": 5})
    assert mode_flags([left, kept], ASKED) == [
        Flag(
            code="other_mode",
            backend="jax",
            chunk_size=4,
            modes=["score_from_cache", "prefill_extend"],
        )
    ]


def test_nothing_is_flagged_where_the_mode_is_as_asked_or_not_known() -> None:
    confirmed = build.cell("jax", "best_native", 4, 1.0, modes={"score_from_cache": 5})
    nothing = build.failed("jax", "best_native", 8, "timeout")
    assert mode_flags([confirmed, nothing], ASKED) == []
    assert mode_flags([confirmed], {"jax": None, "pytorch": None}) == []
