"""Which prompt a backend scored: the one asked for, the one with the delimiter, or neither."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import polars as pl
import pytest

from stages.compare.oracle import against_oracle
from stages.contract import Gate
from stages.documents.comparison import OracleResult
from stages.documents.oracle import Delimited

GATE = Gate(max_abs_diff=0.02, mean_abs_diff=0.01)
PASS = {"workload": "w", "phase": "sweep", "chunk_size": 2, "run": 0}
PLAIN = [0.2, 0.5, 0.7]
DELIMITED = [0.3, 0.4, 0.75]


def both(values: Sequence[float]) -> list[list[float]]:
    return [[p, 1 - p] for p in values]


def against(
    mine: Sequence[float],
    delimited: Sequence[float] | None = DELIMITED,
    plain: Sequence[float] = PLAIN,
    **changes: Any,
) -> OracleResult:
    """A backend that scored ``mine`` in a pass of three items, against the oracle's two prompts."""
    scores = [p for row in both(mine) for p in row]
    passes = pl.DataFrame([{**PASS, "status": "ok", "scores": scores}])
    sample = pl.DataFrame(
        [{**PASS, "item": item, "scores": row} for item, row in enumerate(both(plain))]
    )
    other = None
    if delimited is not None:
        other = Delimited(9999, sample.with_columns(delimited=pl.Series(both(delimited))))
    return against_oracle(passes, sample, 2, GATE, other, **changes)


def test_the_plain_prompts_scores_agree_whatever_else_was_scored() -> None:
    for delimited in (DELIMITED, None):
        found = against(PLAIN, delimited)
        assert (found.verdict, found.agrees, found.max_abs_diff) == ("agrees", True, 0.0)


def test_the_scores_of_the_prompt_with_the_delimiter_are_another_prompts() -> None:
    found = against(DELIMITED)
    assert (found.verdict, found.agrees) == ("other_prompt", False)
    assert found.max_abs_diff == pytest.approx(0.1)
    assert found.delimited is not None
    assert found.delimited.delimiter == 9999
    assert (found.delimited.max_abs_diff, found.delimited.mean_abs_diff) == (0.0, 0.0)
    assert found.delimited.prompts_max_abs_diff == pytest.approx(0.1)
    assert found.delimited.prompts_mean_abs_diff == pytest.approx((0.1 + 0.1 + 0.05) / 3)


@pytest.mark.parametrize("off", [0.0099, 0.0101])
def test_the_gates_limits_hold_for_the_prompt_with_the_delimiter(off: float) -> None:
    found = against([p + off for p in DELIMITED])
    assert found.verdict == ("other_prompt" if off < 0.01 else "wrong")


def test_neither_prompts_scores_are_wrong() -> None:
    # The first item's of one prompt, the others' of the other.
    assert against([DELIMITED[0], *PLAIN[1:]]).verdict == "wrong"
    assert against([PLAIN[0], *DELIMITED[1:]]).verdict == "wrong"


def test_where_that_prompt_was_not_scored_its_scores_are_wrong() -> None:
    found = against(DELIMITED, None)
    assert (found.verdict, found.delimited) == ("wrong", None)


def test_a_leak_is_no_prompts_score() -> None:
    found = against(DELIMITED, leaks=True)
    assert found.verdict == "wrong"
    assert found.delimited is not None
    assert found.delimited.agrees, "the figures stay what they are"
    # What agrees with the plain prompt has its leak told by the isolation probe alone.
    assert against(PLAIN, leaks=True).verdict == "agrees"


def test_prompts_that_the_gate_cannot_tell_apart_show_nothing() -> None:
    near = [p + 0.009 for p in PLAIN]
    found = against([p + 0.018 for p in PLAIN], near)
    assert found.delimited is not None
    assert found.delimited.max_abs_diff <= GATE.max_abs_diff
    assert (found.delimited.agrees, found.verdict) == (False, "wrong")


def test_with_nothing_compared_there_is_no_verdict() -> None:
    passes = pl.DataFrame([{**PASS, "status": "timeout", "scores": [0.5, 0.5]}])
    sample = pl.DataFrame([{**PASS, "item": 0, "scores": [0.5, 0.5]}])
    found = against_oracle(passes, sample, 2, GATE, Delimited(9999, sample), True)
    assert (found.verdict, found.compared, found.missing) == ("not_compared", 0, 1)
