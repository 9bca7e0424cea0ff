"""The gate compares identical requests, counts the worst pass, and never passes on nothing."""

from __future__ import annotations

import math
from dataclasses import replace

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from matrices import matrix, one_pass, passes, plain_score

from stages.compare.gate import differences, judge, verdict
from stages.compare.passes import passes_of
from stages.contract import Gate
from stages.documents.matrix import CallRecord

GATE = Gate(max_abs_diff=0.02, mean_abs_diff=0.01)


def frame(records: list[CallRecord]) -> pl.DataFrame:
    return passes_of(matrix("jax", "portable", records).calls)


REFERENCE = frame(passes({2: 1.0}))


def drifted(amount: float, run: int | None = None, item: int | None = None) -> pl.DataFrame:
    """JAX passes that are off by ``amount``: everywhere, or in one run or item."""

    def score(phase: str, chunk: int, r: int, i: int) -> float:
        hit = (run is None or r == run) and (item is None or i == item)
        return plain_score(phase, chunk, r, i) + (amount if hit else 0.0)  # type: ignore[arg-type]

    return frame(passes({2: 1.0}, score=score))


def test_identical_scores_pass_with_no_difference() -> None:
    result = judge(drifted(0.0), REFERENCE, GATE, 2)
    assert result.verdict == "pass"
    assert result.max_abs_diff == 0
    assert result.mean_abs_diff == 0
    assert (result.compared_passes, result.uncompared_passes) == (5, 0)


def test_one_bad_item_in_one_pass_fails_and_the_pass_is_named() -> None:
    result = judge(drifted(0.021, run=3, item=1), REFERENCE, GATE, 2)
    assert result.verdict == "fail"
    assert result.max_abs_diff == pytest.approx(0.021)
    # One of four items in both labels: a quarter of the drift.
    assert result.mean_abs_diff == pytest.approx(0.021 / 4)
    assert result.worst_pass == "sweep 3"


def test_a_small_drift_everywhere_fails_on_the_mean_alone() -> None:
    result = judge(drifted(0.011), REFERENCE, GATE, 2)
    assert result.verdict == "fail"
    assert result.max_abs_diff is not None
    assert result.max_abs_diff <= GATE.max_abs_diff


def test_both_limits_are_themselves_allowed() -> None:
    assert verdict(0.02, 0.01, GATE) == "pass"
    assert verdict(math.nextafter(0.02, 1), 0.0, GATE) == "fail"
    assert verdict(0.0, math.nextafter(0.01, 1), GATE) == "fail"


def test_nothing_to_compare_does_not_pass() -> None:
    other_chunk = frame(passes({4: 1.0}))
    result = judge(drifted(0.0), other_chunk, GATE, 2)
    assert result.verdict == "not_compared"
    assert (result.compared_passes, result.uncompared_passes) == (0, 5)
    assert judge(REFERENCE.clear(), REFERENCE, GATE, 2).verdict == "not_compared"


def test_another_salt_is_another_request_and_is_not_compared() -> None:
    salted = frame(one_pass("sweep", 2, 0, 1.0, salt=[1, 2, 3]))
    assert judge(salted, REFERENCE, GATE, 2).verdict == "not_compared"


def test_failed_passes_and_warm_ups_are_not_compared() -> None:
    records = [
        *one_pass("sweep", 2, 0, 1.0, status="timeout"),
        *one_pass("warmup", 2, 0, 1.0, position=1),
    ]
    assert judge(frame(records), REFERENCE, GATE, 2).compared_passes == 0
    failed_reference = frame(one_pass("sweep", 2, 0, 1.0, status="http_5xx"))
    assert judge(drifted(0.0), failed_reference, GATE, 2).verdict == "not_compared"


def test_a_pass_without_counterpart_is_counted_and_the_rest_is_judged() -> None:
    shorter = REFERENCE.filter(pl.col("run") < 2)
    result = judge(drifted(0.0), shorter, GATE, 2)
    assert result.verdict == "pass"
    assert (result.compared_passes, result.uncompared_passes) == (2, 3)


@pytest.mark.parametrize("where", [0, 1, 2, 3])
@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_nan_and_infinity_never_pass_wherever_they_are(bad: float, where: int) -> None:
    assert judge(drifted(bad, run=where, item=where), REFERENCE, GATE, 2).verdict == "fail"
    swapped = judge(REFERENCE, drifted(bad, run=where, item=where), GATE, 2)
    assert swapped.verdict == "fail"


def test_a_missing_score_is_not_silently_cut_off() -> None:
    assert all(math.isnan(d) for d in differences([0.1, 0.2], [0.1]))
    assert all(math.isnan(d) for d in differences([], []))


@given(st.permutations(range(10)))
def test_the_order_of_rows_in_the_file_does_not_matter(order: list[int]) -> None:
    calls = matrix("jax", "portable", passes({2: 1.0})).calls
    shuffled = passes_of(calls[list(order)])
    assert judge(shuffled, REFERENCE, GATE, 2) == judge(frame(passes({2: 1.0})), REFERENCE, GATE, 2)


@given(st.floats(0, 0.05), st.floats(0, 0.05))
def test_more_drift_never_turns_a_fail_into_a_pass(a: float, b: float) -> None:
    small, large = sorted([a, b])
    if judge(drifted(large), REFERENCE, GATE, 2).verdict == "pass":
        assert judge(drifted(small), REFERENCE, GATE, 2).verdict == "pass"


def test_items_shifted_by_one_fail() -> None:
    def shifted(phase, chunk, run, item):
        return plain_score(phase, chunk, run, (item + 1) % 4)

    assert judge(frame(passes({2: 1.0}, score=shifted)), REFERENCE, GATE, 2).verdict == "fail"


def test_calls_are_put_in_order_before_scores_are_compared() -> None:
    records = one_pass("sweep", 1, 0, 1.0)
    swapped = [replace(r, call=3 - r.call, first_item=3 - r.first_item) for r in records]
    reference = frame(records)
    assert judge(frame(swapped), reference, GATE, 2).verdict == "fail"
    assert judge(frame(records[::-1]), reference, GATE, 2).verdict == "pass"


def test_every_control_is_caught_where_scores_differ_between_items() -> None:
    result = judge(drifted(0.0), REFERENCE, GATE, 2)
    assert {c.name: c.caught for c in result.controls} == {
        "items_rotated": True,
        "labels_swapped": True,
        "mean_score": True,
    }
    by_name = {c.name: c for c in result.controls}
    # Scores 0.1, 0.3, 0.5, 0.7: rotated by one the last meets the first, 0.6 away; swapped
    # labels put 0.9 where 0.1 was; the mean is 0.4, 0.3 from either end.
    assert by_name["items_rotated"].max_abs_diff == pytest.approx(0.6)
    assert by_name["labels_swapped"].max_abs_diff == pytest.approx(0.8, abs=0.01)
    assert by_name["mean_score"].max_abs_diff == pytest.approx(0.3)


def flat(value: float) -> pl.DataFrame:
    return frame(passes({2: 1.0}, score=lambda *_: value))


def test_scores_too_flat_to_tell_right_from_wrong_are_inconclusive_not_passed() -> None:
    result = judge(flat(0.3), flat(0.3), GATE, 2)
    assert result.verdict == "inconclusive"
    caught = {c.name: c.caught for c in result.controls}
    assert caught == {"items_rotated": False, "labels_swapped": True, "mean_score": False}
    assert judge(flat(0.5), flat(0.5), GATE, 2).controls[1].caught is False


ONE_LABEL = {"labels_swapped": "label"}
ONE_ITEM = {"items_rotated": "item", "mean_score": "item"}


def shaped(items: int, labels: int, chunk: int = 1, flat: bool = False) -> pl.DataFrame:
    """Five passes of so many items and labels, in calls of ``chunk`` items."""

    def score(phase: str, size: int, run: int, item: int) -> float:
        return 0.3 if flat else plain_score("sweep", 1, run, item)

    records = [
        record
        for run in range(5)
        for record in one_pass(
            "sweep", chunk, run, 1.0, position=run, score=score, items=items, labels=labels
        )
    ]
    return frame(records)


@pytest.mark.parametrize("chunk", [1, 2, 4])
def test_with_one_label_there_is_nothing_to_swap_and_the_other_controls_judge(chunk: int) -> None:
    passes_of_one_label = shaped(4, 1, chunk)
    result = judge(passes_of_one_label, passes_of_one_label, GATE, 1)
    assert result.verdict == "pass"
    assert result.left_out == ONE_LABEL
    assert {c.name: c.caught for c in result.controls} == {
        "items_rotated": True,
        "mean_score": True,
    }
    # Rotated scores 0.1, 0.3, 0.5, 0.7 are 0.6 off at most, whatever the calls are.
    assert result.controls[0].max_abs_diff == pytest.approx(0.6)


def test_with_one_item_only_swapped_labels_differ_from_the_original() -> None:
    result = judge(shaped(1, 2), shaped(1, 2), GATE, 2)
    assert (result.verdict, result.left_out) == ("pass", ONE_ITEM)
    assert [(c.name, c.caught) for c in result.controls] == [("labels_swapped", True)]


def test_where_no_control_can_be_made_a_pass_rests_on_the_differences_alone() -> None:
    result = judge(shaped(1, 1), shaped(1, 1), GATE, 1)
    assert (result.verdict, result.controls) == ("pass", [])
    assert result.left_out == ONE_ITEM | ONE_LABEL
    assert judge(shaped(1, 1), shaped(1, 1, flat=True), GATE, 1).verdict == "fail"


def test_scores_that_happen_to_be_equal_are_too_flat_with_one_label_as_with_two() -> None:
    alike = shaped(4, 1, flat=True)
    result = judge(alike, alike, GATE, 1)
    assert (result.verdict, result.left_out) == ("inconclusive", ONE_LABEL)
    assert {c.name: c.caught for c in result.controls} == {
        "items_rotated": False,
        "mean_score": False,
    }


def test_where_all_controls_are_made_or_nothing_was_compared_none_is_left_out() -> None:
    assert judge(drifted(0.0), REFERENCE, GATE, 2).left_out == {}
    assert judge(shaped(1, 1), shaped(4, 1).clear(), GATE, 1).left_out == {}


def test_flat_scores_that_differ_from_the_reference_fail_rather_than_excuse_themselves() -> None:
    assert judge(flat(0.3), flat(0.4), GATE, 2).verdict == "fail"


def test_an_untimed_answer_of_the_reference_is_the_counterpart_of_a_confirm_pass() -> None:
    confirm = frame(passes({2: 1.0}, phase="confirm", runs=2))
    salts = {r["run"]: r["salt"] for r in confirm.iter_rows(named=True)}
    answers = [
        r
        for run in range(2)
        for r in one_pass("answer", 2, run, 9.0, salt=salts[run], score=as_confirm)
    ]
    result = judge(confirm, frame(answers), GATE, 2)
    assert (result.verdict, result.compared_passes) == ("pass", 2)


def as_confirm(phase, chunk, run, item):
    return plain_score("confirm", chunk, run, item)


@given(st.floats(0, 0.2), st.integers(0, 4), st.integers(0, 3))
def test_the_gate_judges_the_distance_not_the_direction(drift: float, run: int, item: int) -> None:
    up = judge(drifted(drift, run=run, item=item), REFERENCE, GATE, 2)
    down = judge(drifted(-drift, run=run, item=item), REFERENCE, GATE, 2)
    assert up.verdict == down.verdict
