"""Loaded answers against their twins, from scores that are known."""

from __future__ import annotations

import math

import pytest

from stages.traffic.parity import Answered, parity

LIMIT = 0.02


def test_equal_answers_are_compared_and_none_has_changed() -> None:
    found = parity([Answered([0.2, 0.8], [0.2, 0.8])] * 3, LIMIT)
    assert (found.compared, found.changed, found.max_abs_diff) == (3, 0, 0.0)


def test_one_score_of_one_request_is_enough_and_is_named() -> None:
    answers = [Answered([0.2, 0.8], [0.2, 0.8]) for _ in range(5)]
    answers[3] = Answered([0.2, 0.83], [0.2, 0.8])
    found = parity(answers, LIMIT)
    assert (found.changed, found.worst) == (1, 3)
    assert found.max_abs_diff == pytest.approx(0.03)


def test_a_difference_at_the_limit_is_within_it() -> None:
    assert parity([Answered([0.25], [0.5])], 0.25).changed == 0
    assert parity([Answered([0.25], [0.5])], 0.2499).changed == 1


@pytest.mark.parametrize(
    ("loaded", "alone"),
    [([math.nan, 0.8], [0.2, 0.8]), ([0.2, 0.8], [0.2, math.nan]), ([0.2], [0.2, 0.8])],
    ids=["not a number", "the twin is not a number", "a score is missing"],
)
def test_what_cannot_be_subtracted_has_changed(loaded: list[float], alone: list[float]) -> None:
    found = parity([Answered([0.2, 0.8], [0.2, 0.8]), Answered(loaded, alone)], LIMIT)
    assert (found.changed, found.max_abs_diff, found.worst) == (1, math.inf, 1)


def test_a_request_that_failed_is_not_compared() -> None:
    found = parity([Answered(None, [0.2]), Answered([0.2], None), Answered(None, None)], LIMIT)
    assert (found.compared, found.not_compared, found.changed) == (0, 3, 0)
    assert (found.max_abs_diff, found.worst) == (None, None)
