"""Single passes, items and ratios, each against matrices worked out by hand."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import polars as pl
import pytest
from comparisons import cell, failed
from contracts import PAIR
from hypothesis import given
from hypothesis import strategies as st
from matrices import matrix, one_pass, passes, plain_score

from stages.compare.gate import judge
from stages.compare.intervals import ratio_interval
from stages.compare.passes import passes_of
from stages.compare.series import chunk_ratios, item_differences, pass_times
from stages.contract import Backend, Gate
from stages.documents.comparison import Cell, ItemDifference, PassTime
from stages.documents.matrix import CallRecord, Phase


def frame(records: list[CallRecord]) -> pl.DataFrame:
    return passes_of(matrix("jax", "portable", records).calls)


def test_passes_are_listed_in_measuring_order_from_the_first_timed_one() -> None:
    # A pass starts at its position times 1,000 seconds; the warm-up is not timed.
    records = [
        *one_pass("confirm", 2, 0, 4.0, position=7, compiles=2),
        *one_pass("warmup", 2, 0, 9.0, position=0),
        *one_pass("sweep", 4, 0, 3.0, position=2),
        *one_pass("sweep", 2, 1, 5.0, position=5, status="timeout", compiles=None),
    ]

    assert pass_times(frame(records)) == [
        PassTime(
            chunk_size=4,
            phase="sweep",
            run=0,
            session=0,
            started_s=0.0,
            seconds=3.0,
            status="ok",
            compiled=False,
        ),
        PassTime(
            chunk_size=2,
            phase="sweep",
            run=1,
            session=0,
            started_s=3000.0,
            seconds=None,
            status="timeout",
            compiled=None,
        ),
        PassTime(
            chunk_size=2,
            phase="confirm",
            run=0,
            session=0,
            started_s=5000.0,
            seconds=4.0,
            status="ok",
            compiled=True,
        ),
    ]


def test_a_pass_that_was_never_sent_has_no_start_and_the_others_keep_theirs() -> None:
    unsent = [
        replace(record, start_ns=None, end_ns=None, status="server_died", scores=None)
        for record in one_pass("sweep", 2, 0, 1.0, position=0)
    ]
    later = one_pass("sweep", 2, 1, 1.0, position=3)
    times = pass_times(frame([*unsent, *later, *one_pass("sweep", 2, 2, 1.0, position=4)]))

    assert [one.started_s for one in times] == [None, 0.0, 1000.0]
    assert [one.status for one in times] == ["server_died", "ok", "ok"]


def test_a_pass_of_many_calls_starts_with_its_first_call() -> None:
    calls = one_pass("sweep", 1, 0, 8.0)  # four calls, two seconds apart
    (time,) = pass_times(frame(calls[::-1]))

    assert (time.started_s, time.seconds) == (0.0, 8.0)
    assert frame(calls)["started_ns"].to_list() == [0]


def test_untimed_answers_are_no_passes_of_the_timeline() -> None:
    assert pass_times(frame(one_pass("answer", 2, 0, 1.0))) == []
    assert pass_times(frame(one_pass("sweep", 2, 0, 1.0)).clear()) == []


def off(where: dict[tuple[int, int], float]) -> pl.DataFrame:
    """Passes of chunk sizes 2 and 4, off by so much at (chunk size, item), in every run."""

    def score(phase: Phase, chunk: int, run: int, item: int) -> float:
        return plain_score(phase, chunk, run, item) + where.get((chunk, item), 0.0)

    return frame(passes({2: 1.0, 4: 1.0}, runs=2, score=score))


def test_an_items_difference_is_its_largest_and_its_mean_over_all_passes_and_labels() -> None:
    found = item_differences(off({(2, 1): 0.002, (4, 1): -0.006, (2, 3): 0.004}), off({}), 2)

    assert [one.item for one in found] == [0, 1, 2, 3]
    assert [one.max_abs_diff for one in found] == pytest.approx([0, 0.006, 0, 0.004])
    # Half of the passes are of each chunk size; the second label is off by as much.
    assert [one.mean_abs_diff for one in found] == pytest.approx([0, 0.004, 0, 0.002])
    assert (found[1].chunk_size, found[3].chunk_size) == (4, 2)


def test_only_identical_requests_are_compared_item_by_item() -> None:
    salted = frame(one_pass("sweep", 2, 0, 1.0, salt=[9, 9, 9], score=lambda *_: 0.9))
    failed_pass = frame(one_pass("sweep", 2, 0, 1.0, status="timeout"))
    reference = off({})

    assert item_differences(salted, reference, 2) == []
    assert item_differences(failed_pass, reference, 2) == []
    assert item_differences(reference.clear(), reference, 2) == []
    assert item_differences(reference, reference.clear(), 2) == []


def test_an_untimed_answer_of_the_reference_counts_as_the_confirm_pass_it_answers() -> None:
    confirm = frame(one_pass("confirm", 2, 0, 1.0, salt=[7]))
    answer = frame(
        one_pass("answer", 2, 0, 1.0, salt=[7], score=lambda *at: plain_score("confirm", *at[1:]))
    )

    assert item_differences(confirm, answer, 2) == [
        ItemDifference(item=i, chunk_size=2, max_abs_diff=0.0, mean_abs_diff=0.0) for i in range(4)
    ]


@given(
    st.dictionaries(
        st.tuples(st.sampled_from([2, 4]), st.integers(0, 3)), st.floats(-0.05, 0.05), max_size=8
    )
)
def test_the_worst_item_is_the_worst_of_the_gate(where: dict[tuple[int, int], float]) -> None:
    candidate, reference = off(where), off({})
    gate = judge(candidate, reference, Gate(max_abs_diff=0.02, mean_abs_diff=0.01), 2)
    worst = max(item_differences(candidate, reference, 2), key=lambda one: one.max_abs_diff)

    assert worst.max_abs_diff == gate.max_abs_diff
    moved = where.get((worst.chunk_size, worst.item), 0.0)
    assert abs(moved) == pytest.approx(worst.max_abs_diff)


JAX_SECONDS = np.array([2.0, 4.0, 3.0])
PYTORCH_SECONDS = np.array([1.0, 2.0])


def test_ratios_are_candidate_over_reference_by_rising_chunk_size() -> None:
    cells = [
        # 32 items in 4, 3, 2 and 1.5 seconds a pass.
        cell("jax", "portable", 4, 8.0, p95_s=6.0),
        cell("jax", "portable", 2, 32 / 3, p95_s=4.0),
        cell("pytorch", "portable", 4, 16.0, p95_s=2.0),
        cell("pytorch", "portable", 2, 32 / 1.5, p95_s=2.0),
    ]
    steady: dict[tuple[Backend, int], np.ndarray] = {
        ("jax", 4): np.array([4.0, 4.0]),
        ("pytorch", 4): np.array([2.0, 2.0]),
        ("jax", 2): JAX_SECONDS,
        ("pytorch", 2): PYTORCH_SECONDS,
    }
    two, four = chunk_ratios(cells, steady, PAIR)

    assert (two.chunk_size, two.items_per_s, two.p95_s) == (2, pytest.approx(0.5), 2.0)
    assert (four.chunk_size, four.items_per_s, four.p95_s) == (4, 0.5, 3.0)
    # Passes without any spread leave no doubt, and those with one hold the ratio.
    assert four.items_per_s_interval is not None
    assert (four.items_per_s_interval.low, four.items_per_s_interval.high) == (0.5, 0.5)
    assert two.items_per_s_interval == ratio_interval(PYTORCH_SECONDS, JAX_SECONDS)
    assert two.items_per_s_interval is not None
    assert two.items_per_s_interval.low < 0.5 < (two.items_per_s_interval.high or 0)


@pytest.mark.parametrize("dead", ["jax", "pytorch"])
def test_a_ratio_without_one_of_its_figures_is_absent(dead: Backend) -> None:
    alive: Backend = "pytorch" if dead == "jax" else "jax"
    cells: list[Cell] = [failed(dead, "portable", 1, "oom"), cell(alive, "portable", 1, 8.0)]
    none, some = np.array([]), np.array([4.0, 4.0])
    (ratio,) = chunk_ratios(cells, {(dead, 1): none, (alive, 1): some}, PAIR)

    assert (ratio.items_per_s, ratio.items_per_s_interval, ratio.p95_s) == (None, None, None)
