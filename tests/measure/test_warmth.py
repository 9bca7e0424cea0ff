"""When a chunk size may be timed, by the log or by the times of its passes."""

from __future__ import annotations

import pytest
from matrices import one_pass

from stages.documents.matrix import CallRecord
from stages.measure.warm_up import is_warm


def warmups(*seconds: float, compiles: int | None = None, last: str = "ok") -> list[CallRecord]:
    calls: list[CallRecord] = []
    for run, taken in enumerate(seconds):
        status = last if run == len(seconds) - 1 else "ok"
        calls += one_pass("warmup", 2, run, taken, compiles=compiles, status=status)  # type: ignore[arg-type]
    return calls


@pytest.mark.parametrize(
    ("seconds", "warm"),
    [
        ([], False),
        ([9.0], False),
        ([9.0, 1.0], False),
        ([9.0, 1.0, 1.1], True),
        ([9.0, 1.1, 1.0], True),
        ([1.0, 1.2], True),
        ([1.0, 1.3], False),
        ([1.3, 1.0], False),
        ([1.0, 1.0, 9.0], False),
    ],
)
def test_without_a_log_two_passes_in_a_row_must_take_about_as_long(seconds, warm) -> None:
    assert is_warm(warmups(*seconds), 1, compiles_hidden=True) is warm


def test_with_a_log_the_last_pass_must_have_compiled_nothing() -> None:
    assert is_warm(warmups(9.0, compiles=0), 1, compiles_hidden=False)
    assert not is_warm(warmups(9.0, compiles=1), 1, compiles_hidden=False)
    assert is_warm(warmups(9.0), 1, compiles_hidden=False), "a server that never compiles"


@pytest.mark.parametrize("hidden", [False, True])
def test_the_contracts_least_number_and_a_failed_pass_are_heeded_either_way(hidden) -> None:
    assert not is_warm(warmups(1.0, 1.0), 3, compiles_hidden=hidden)
    assert is_warm(warmups(1.0, 1.0, 1.0), 3, compiles_hidden=hidden)
    assert not is_warm(warmups(1.0, 1.0, last="timeout"), 1, compiles_hidden=hidden)


def test_what_was_timed_in_this_session_is_warm() -> None:
    assert is_warm(one_pass("sweep", 2, 0, 1.0), 1, compiles_hidden=True)
