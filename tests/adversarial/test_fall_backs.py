"""A server that silently leaves the mode it was asked for, measured and compared for real."""

from __future__ import annotations

import pytest
from lying_backends import CHUNKS, Bench

from stages.report import modes

pytestmark = pytest.mark.servers

# With these sglang-jax is asked to score from its cache, and the scoring server logs as it does.
FROM_CACHE = {
    "multi-item-enable-prefill-extend": True,
    "multi-item-enable-score-from-cache-v2": True,
    "paths": True,
}


def test_a_server_that_keeps_its_mode_is_confirmed_pass_by_pass(bench: Bench) -> None:
    found = bench.left("kept", FROM_CACHE).portable
    for chunk in CHUNKS:
        cell = found.cell("jax", chunk)
        assert (cell.mode, cell.told_passes, cell.fallbacks) == (
            *("score_from_cache", cell.timed_good, 0),
        )
        assert "mixed_modes" not in [one.code for one in cell.reasons]
    assert modes.of_view(found) == "JAX score_from_cache, PyTorch packed"
    assert not [flag for flag in found.winner.flags if flag.code == "other_mode"]


def test_a_chunk_size_that_falls_back_is_another_mode_and_a_mixed_one_none(bench: Bench) -> None:
    # Every second call of one item falls back, and 30 of them are a pass.
    mixed = bench.left("mixed", {**FROM_CACHE, "falls-back-items": 1, "falls-back-every": 2})
    cell = mixed.portable.cell("jax", 1)
    assert [one.code for one in cell.reasons] == ["mixed_modes"]
    assert cell.reasons[0].modes == {"mixed": cell.timed_good}
    assert cell.fallbacks == 15 * cell.timed_good
    assert mixed.portable.cell("jax", 5).mode == "score_from_cache"

    left = bench.left("left", {**FROM_CACHE, "falls-back-items": 15}).portable
    cell = left.cell("jax", 15)
    assert (cell.mode, cell.fallbacks) == ("prefill_extend", 2 * cell.timed_good)
    assert modes.of_view(left) == (
        "JAX score_from_cache, but prefill_extend at chunk size 15, PyTorch packed"
    )
    # A flag where the decision stands on that cell, whichever was the fastest here.
    stands = cell.eligible and (left.winner.leader, left.winner.chunk_size) == ("jax", 15)
    stands |= (left.winner.other, left.winner.other_chunk_size) == ("jax", 15)
    assert stands == ("other_mode" in [flag.code for flag in left.winner.flags])
