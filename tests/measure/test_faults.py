"""When a chunk size is given up, and when the server."""

from __future__ import annotations

from contracts import contract
from hypothesis import given
from hypothesis import strategies as st

from stages.documents.cell import Series
from stages.measure.faults import HANGING_AFTER, Bound, FaultCounts, Faults

LIMITS = contract(limits__restarts=2, limits__deaths_per_chunk_size=2).limits
CHUNKS = [1, 2, 4]


def at(chunk_size: int, workload: str = "w") -> Series:
    return Series(workload, chunk_size)


def restart(faults: Faults) -> None:
    assert faults.may_restart()
    faults.note_restart()
    faults.new_server()


def test_a_chunk_size_is_given_up_at_its_second_death_and_the_others_are_not() -> None:
    faults = Faults(LIMITS)
    faults.note(at(4), "server_died")
    restart(faults)
    assert faults.given_up(at(4)) is None
    faults.note(at(4), "server_died")
    assert faults.given_up(at(4)) == "server_died"
    assert faults.given_up(at(2)) is None


def test_out_of_memory_counts_without_a_death_and_a_plain_failure_does_not() -> None:
    faults = Faults(LIMITS)
    for _ in range(2):
        faults.note(at(4), "oom")
        faults.note(at(2), "http_5xx")
    assert (faults.given_up(at(4)), faults.given_up(at(2))) == ("oom", None)


def test_restarts_of_a_given_up_chunk_size_leave_the_budget_to_the_others() -> None:
    faults = Faults(LIMITS)
    faults.note(at(1), "ok")
    for _ in range(2):
        faults.note(at(4), "server_died")
        restart(faults)
    # Two restarts are spent, but on a chunk size that is gone: two more are there.
    for chunk in (1, 2):
        faults.note(at(chunk), "server_died")
        restart(faults)
    faults.note(at(1), "ok")
    faults.note(at(2), "connection_error")
    assert not faults.may_restart()
    assert faults.counts.all_restarts == 4


def test_a_server_that_never_answered_is_given_up_after_the_restarts_of_the_contract() -> None:
    faults = Faults(LIMITS)
    for _ in range(2):
        faults.note(at(1), "server_died")
        restart(faults)
    faults.note(at(2), "server_died")
    assert not faults.may_restart()


def test_a_start_that_fails_counts_against_the_server_not_the_chunk_size() -> None:
    faults = Faults(LIMITS)
    faults.note(at(1), "ok")
    for _ in range(2):
        faults.note(at(4), "server_died")
        restart(faults)
    faults.note_restart()
    faults.note_restart()
    assert faults.counts.other_restarts == 2
    assert not faults.may_restart()


def test_three_timeouts_in_a_row_are_a_hang_that_the_first_pass_is_blamed_for() -> None:
    assert HANGING_AFTER == 3
    faults = Faults(LIMITS)
    for chunk in (4, 1):
        faults.note(at(chunk), "timeout")
    faults.note(at(2), "ok")
    for chunk in (4, 1):
        faults.note(at(chunk), "timeout")
    assert not faults.hanging, "an answer in between is a sign of life"
    faults.note(at(2), "timeout")
    assert faults.hanging
    assert faults.counts.deaths == {"w/4": 1}
    restart(faults)
    assert not faults.hanging
    for _ in range(3):
        faults.note(at(4), "timeout")
    assert faults.given_up(at(4)) == "timeout"


def test_probes_hold_fewer_items_than_what_ended_the_server() -> None:
    faults = Faults(LIMITS)
    assert faults.bound("w", CHUNKS) is None
    for _ in range(2):
        faults.note(at(4), "oom")
    assert faults.bound("w", CHUNKS) == Bound(2, "oom")
    for _ in range(2):
        faults.note(at(1), "server_died")
    assert faults.bound("w", CHUNKS) == Bound(1, "server_died")


OUTCOMES = st.lists(
    st.tuples(st.sampled_from(CHUNKS), st.sampled_from(["ok", "oom", "server_died", "timeout"])),
    max_size=80,
)


@given(OUTCOMES, st.integers(0, 3), st.integers(1, 3))
def test_whatever_happens_restarts_are_bounded_and_a_resumed_count_goes_on(
    outcomes: list, restarts: int, deaths: int
) -> None:
    limits = contract(limits__restarts=restarts, limits__deaths_per_chunk_size=deaths).limits
    faults = Faults(limits)
    for chunk, status in outcomes:
        if faults.given_up(at(chunk)):
            continue
        faults.note(at(chunk), status)
        kept = FaultCounts.model_validate_json(faults.counts.model_dump_json())
        assert kept == faults.counts
        if status == "server_died" or faults.hanging:
            if not faults.may_restart():
                break
            faults.note_restart()
            faults.new_server()
    assert faults.counts.all_restarts <= restarts + deaths * len(CHUNKS)
