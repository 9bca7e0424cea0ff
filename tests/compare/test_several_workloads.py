"""The decision table of several workloads: each is compared for itself."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest
from test_decisions import CHUNKS, Situation, compare_all, steady, wrong_item

from stages.compare.exports import all_metrics
from stages.documents.comparison import ComparisonSet, Crossing

QUICK = Situation(jax=steady(1.0), pytorch=steady(2.0))
SLOW = Situation(jax=steady(3.0), pytorch=steady(2.0))

FEW, MANY = 64 + 4 * 8, 128 + 4 * 8
"""Total tokens of the two workloads."""


def both(few: Situation, many: Situation, **more: Any) -> ComparisonSet:
    """Two workloads: the smaller one first, however the contract lists them."""
    return compare_all({"many": many, "few": replace(few, query_tokens=64)}, **more)


def outcomes(found: ComparisonSet) -> Mapping[str, str]:
    for one in found.workloads:
        assert one.portable.winner.outcome == one.best_native.winner.outcome
    return {one.scope.workload: one.portable.winner.outcome for one in found.workloads}


def test_each_backend_wins_somewhere() -> None:
    found = both(QUICK, SLOW)
    assert list(outcomes(found).items()) == [("few", "jax"), ("many", "pytorch")]
    assert [one.scope.total_tokens for one in found.workloads] == [FEW, MANY]
    for view in found.summary.views():
        assert view.wins == {"jax": 1, "pytorch": 1}
        assert (view.ties, view.undecided) == (0, 0)
        assert view.crossings == [
            Crossing(
                axis="total_tokens",
                below=FEW,
                above=MANY,
                winner_below="jax",
                winner_above="pytorch",
            )
        ]
        # 2 and 2/3: their geometric mean is above 1, so a mean alone would name JAX.
        assert [one.items_per_s for one in view.workloads] == pytest.approx([2.0, 2 / 3])
        assert view.mean.items_per_s == pytest.approx(math.sqrt(4 / 3))
        bounds = view.mean.items_per_s_interval
        assert bounds is not None
        assert bounds.low < math.sqrt(4 / 3) < (bounds.high or 0)


def test_a_mix_of_the_contract_says_how_often_each_workload_occurs() -> None:
    found = both(QUICK, SLOW, mix={"busy": {"few": 1, "many": 3}, "calm": {"few": 2}})
    mixes = found.summary.portable.mixes
    assert mixes["busy"].items_per_s == pytest.approx(2**0.25 * (2 / 3) ** 0.75)
    assert mixes["calm"].items_per_s == pytest.approx(2.0)
    assert mixes["busy"].weights == {"few": 1, "many": 3}


def test_every_comparison_is_what_it_would_be_alone() -> None:
    found = both(QUICK, SLOW)
    alone = {"few": replace(QUICK, query_tokens=64), "many": SLOW}
    for name, situation in alone.items():
        (one,) = compare_all({name: situation}).workloads
        # Nothing of the other workload's passes, probes or oracle is in it.
        assert found.of(name) == one


def test_one_workload_fails_the_gate_and_the_others_stay() -> None:
    found = both(replace(QUICK, jax_score=wrong_item), QUICK)
    assert outcomes(found) == {"few": "pytorch", "many": "jax"}
    few, many = found.workloads
    cells = [few.portable.cell("jax", chunk) for chunk in CHUNKS]
    assert {cell.gate.verdict for cell in cells if cell.gate} == {"fail"}
    assert not any(cell.eligible for cell in cells)
    assert all(many.portable.cell("jax", chunk).eligible for chunk in CHUNKS)
    summary = found.summary.portable
    assert summary.mean.left_out == ["few"]
    assert summary.mean.items_per_s == pytest.approx(2.0)
    assert summary.workloads[0].items_per_s is None


def test_one_workload_has_no_good_pass_and_the_others_stay() -> None:
    failing = {backend: range(5) for backend in ("jax", "pytorch")}
    found = both(replace(QUICK, failing=failing), SLOW)
    assert outcomes(found) == {"few": "none", "many": "pytorch"}
    summary = found.summary.best_native
    assert (summary.wins, summary.undecided) == ({"jax": 0, "pytorch": 1}, 1)
    assert summary.mean.left_out == ["few"]
    assert summary.mean.items_per_s == pytest.approx(2 / 3)
    assert summary.crossings == []
    # Its sources count its own passes alone.
    good = [[s.good_passes for s in one.sources] for one in found.workloads]
    assert good == [[0] * 4, [15] * 4]


def test_with_no_good_pass_anywhere_there_is_no_mean() -> None:
    dead = replace(QUICK, failing={"jax": range(5)})
    summary = both(dead, dead).summary.portable
    assert summary.mean.items_per_s is None
    assert summary.mean.items_per_s_interval is None
    assert summary.mean.left_out == ["few", "many"]


def test_a_backend_that_is_unavailable_defers_every_workload() -> None:
    reason = {"jax": "a quota of 0"}
    found = both(replace(QUICK, unavailable=reason), replace(SLOW, unavailable=reason))
    assert outcomes(found) == {"few": "deferred", "many": "deferred"}
    assert found.summary.portable.undecided == 2


def test_workloads_may_have_other_items_labels_and_chunk_sizes() -> None:
    found = both(replace(QUICK, items=2), replace(SLOW, labels=1))
    few, many = found.workloads
    assert (few.scope.items, few.scope.chunk_sizes) == (2, [1, 2])
    assert (many.scope.items, many.scope.chunk_sizes) == (4, [1, 2, 4])
    assert [len(one.scope.label_token_ids) for one in found.workloads] == [2, 1]
    assert {c.chunk_size for c in few.portable.cells} == {1, 2}
    assert few.scope.total_tokens == 64 + 2 * 8


def test_the_metrics_have_every_workload_under_its_name_and_all_of_them_together() -> None:
    figures = all_metrics(both(QUICK, SLOW, mix={"busy": {"few": 1}}))
    assert list(figures) == ["few", "many", "over_all_workloads", "uncommitted_changes"]
    assert figures["few"]["portable"]["winner"] == "jax"  # type: ignore[index]
    assert figures["many"]["portable"]["winner"] == "pytorch"  # type: ignore[index]
    over_all = figures["over_all_workloads"]["portable"]  # type: ignore[index]
    assert over_all["wins"] == {"jax": 1, "pytorch": 1}
    assert over_all["candidate_over_reference"] == 1.155
    assert over_all["mixes"] == {"busy": 2.0}
