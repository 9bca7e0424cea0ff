"""The journal: what is read back is what was written, whatever ended the process."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from bench import bench_contract, inside, make_bench
from closure import closure
from contracts import ROOT
from elsewhere import account
from hypothesis import given
from hypothesis import strategies as st

from stages.common.errors import UserError
from stages.contract import parse_contract
from stages.documents.cell import PassKey, Series
from stages.documents.matrix import CallRecord, CoverFailure, Host
from stages.machine.interrupt import Interrupted
from stages.machine.other_work import LoadAccount
from stages.measure.faults import FaultCounts
from stages.measure.record.journal import (
    JOURNAL_FILE,
    DamagedJournalError,
    Entry,
    Journal,
    PassFinished,
    ProcessStarted,
    clock_offset,
    decode_entries,
    encode_entry,
    history_of,
)
from stages.measure.record.journal_key import journal_key, measuring_code, source_sha256
from stages.measure.record.ledger import Ledger
from stages.measure.servers.info import ServerIdentity
from stages.plan.plan import Plan, make_plan

CALL = CallRecord(
    session=0,
    position=0,
    workload="w",
    phase="sweep",
    chunk_size=4,
    run=0,
    call=0,
    first_item=0,
    item_count=4,
    start_ns=1_000,
    end_ns=2_000,
    status="ok",
    detail="",
    compiles=None,
    cached_tokens=None,
    mode=None,
    fallbacks=None,
    salt=[1, 2],
    scores=[0.1, 0.9],
)

W = "e" * 64
"""The hash of the workload ``w``."""

scores = st.floats(0, 1)
calls = st.builds(
    replace,
    st.just(CALL),
    position=st.integers(0, 1000),
    start_ns=st.none() | st.integers(0, 2**62),
    status=st.sampled_from(["ok", "timeout", "server_died"]),
    detail=st.text(max_size=20),
    compiles=st.none() | st.integers(0, 9),
    cached_tokens=st.none() | st.integers(0, 2**40),
    scores=st.none() | st.lists(scores, max_size=4),
)
processes = st.builds(
    ProcessStarted,
    started_at=st.just("2026-01-01T00:00:00+00:00"),
    monotonic_ns=st.integers(0, 2**62),
    wall_ns=st.integers(0, 2**62),
    offset_ns=st.integers(-(2**62), 2**62),
    compile_cache_entries=st.none() | st.integers(0, 9),
    measurement=st.text("0123456789abcdef", min_size=16, max_size=16),
)
passes = st.builds(
    PassFinished,
    finished_at=st.just("2026-01-01T00:00:00+00:00"),
    workload_sha256=st.just(W),
    calls=st.lists(calls, min_size=1, max_size=3),
    faults=st.builds(FaultCounts, deaths=st.dictionaries(st.text(max_size=9), st.integers(1, 3))),
    load=st.builds(LoadAccount, foreign_s=scores, all_s=scores),
    seconds=st.dictionaries(st.sampled_from(["sweep", "warmup"]), scores),
    elapsed_s=scores,
)
entries = st.lists(processes | passes, max_size=5)


def a_process(monotonic_ns: int = 0, wall_ns: int = 0) -> ProcessStarted:
    return ProcessStarted(
        started_at="2026-01-01T00:00:00+00:00",
        monotonic_ns=monotonic_ns,
        wall_ns=wall_ns,
        offset_ns=0,
        compile_cache_entries=7,
        measurement="0" * 16,
    )


def a_pass(*made: CallRecord, **changes: Any) -> PassFinished:
    return PassFinished(
        finished_at="2026-01-01T00:00:09+00:00",
        workload_sha256=W,
        calls=list(made) or [CALL],
        faults=FaultCounts(),
        load=LoadAccount(),
        seconds={},
        elapsed_s=0,
    ).model_copy(update=changes)


@given(entries)
def test_a_journal_is_read_as_it_was_written(written: list[Entry]) -> None:
    data = b"".join(map(encode_entry, written))
    assert decode_entries(data) == (written, len(data))


@given(entries, st.data())
def test_cut_off_anywhere_it_holds_the_entries_before_the_cut(
    written: list[Entry], data: st.DataObject
) -> None:
    lines = list(map(encode_entry, written))
    whole = b"".join(lines)
    cut = data.draw(st.integers(0, len(whole)))
    ends = [sum(map(len, lines[: n + 1])) for n in range(len(lines))]
    complete = sum(end <= cut for end in ends)
    read, length = decode_entries(whole[:cut])
    assert read == written[:complete]
    assert length == (ends[complete - 1] if complete else 0)


@given(st.lists(processes | passes, min_size=1, max_size=4), st.data())
def test_a_changed_byte_never_changes_what_a_pass_says(
    written: list[Entry], data: st.DataObject
) -> None:
    whole = bytearray(b"".join(map(encode_entry, written)))
    at = data.draw(st.integers(0, len(whole) - 1))
    whole[at] ^= data.draw(st.integers(1, 255))
    last = len(whole) - len(encode_entry(written[-1]))
    try:
        read, _ = decode_entries(bytes(whole))
    except DamagedJournalError:
        return
    assert read == written[: len(read)]
    assert len(read) < len(written)
    # Without the end of its last but one line, a journal's last line is two.
    assert at >= last - 1


def write(folder: Path, *written: Entry, read: bool = True) -> bytes:
    with Journal(folder) as journal:
        for entry in written:
            journal.append(entry)
    return (folder / JOURNAL_FILE).read_bytes() if read else b""


@pytest.mark.parametrize("tail", [b'{"crc":"0', b"\0" * 40, b"not a line\n", b"\n"])
def test_a_torn_last_line_is_written_over(tmp_path: Path, tail: bytes) -> None:
    write(tmp_path, a_process(), a_pass())
    with (tmp_path / JOURNAL_FILE).open("ab") as file:
        file.write(tail)
    second = a_pass(replace(CALL, run=1))
    with Journal(tmp_path) as journal:
        assert journal.entries == [a_process(), a_pass()]
        journal.append(second)
    with Journal(tmp_path) as journal:
        assert journal.entries == [a_process(), a_pass(), second]


def test_a_damaged_earlier_line_is_refused_in_one_line_that_names_the_way_out(
    tmp_path: Path,
) -> None:
    data = write(tmp_path, a_process(), a_pass(), a_pass(replace(CALL, run=1)))
    (tmp_path / JOURNAL_FILE).write_bytes(data.replace(b"0.9", b"0.8", 1))
    with pytest.raises(UserError, match=r"line 2 is damaged.*--fresh") as caught:
        Journal(tmp_path)
    assert "\n" not in str(caught.value)
    # Refused is not destroyed.
    assert (tmp_path / JOURNAL_FILE).read_bytes() == data.replace(b"0.9", b"0.8", 1)


def test_a_process_that_ends_before_its_first_pass_leaves_only_the_servers_log(
    tmp_path: Path,
) -> None:
    write(tmp_path / "nothing", a_process(), read=False)
    assert not (tmp_path / "nothing").exists()
    (tmp_path / "log").mkdir()
    (tmp_path / "log" / "server.log").touch()
    write(tmp_path / "log", a_process(), read=False)
    assert [p.name for p in (tmp_path / "log").iterdir()] == ["server.log"]


def test_a_process_that_finished_no_pass_leaves_nothing_to_go_on_from(tmp_path: Path) -> None:
    # Killed, so that it could not tidy up.
    (tmp_path / JOURNAL_FILE).write_bytes(encode_entry(a_process()))
    with Journal(tmp_path) as journal:
        assert journal.entries == []
        assert (tmp_path / JOURNAL_FILE).read_bytes() == b""


def test_a_pass_whose_writing_a_signal_cut_short_is_counted_and_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(_: int) -> None:
        raise Interrupted(15)

    with pytest.raises(Interrupted), Journal(tmp_path) as journal:
        journal.append(a_process())
        # The disk takes a while, which is when a signal is likely to come.
        monkeypatch.setattr("os.fsync", interrupted)
        try:
            journal.append(a_pass())
        finally:
            assert journal.count_passes() == 1
    monkeypatch.undo()
    with Journal(tmp_path) as journal:
        assert journal.entries == [a_process(), a_pass()]


def test_two_processes_never_write_one_journal(tmp_path: Path) -> None:
    with Journal(tmp_path), pytest.raises(UserError, match="another process measures the same"):
        Journal(tmp_path)
    with Journal(tmp_path):
        pass


def test_a_folder_that_cannot_be_written_is_one_clear_error(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match="nothing was measured"):
        Journal(tmp_path / "file" / "journal")


def test_clocks_after_a_reboot_go_on_by_the_wall_clock() -> None:
    earlier = [a_process(monotonic_ns=1_000, wall_ns=50_000), a_pass()]
    # 4,000 ns after the first process began, whose clock said 1,000 then; this one's says 10.
    assert clock_offset(earlier, 10, 54_000) == 1_000 + 4_000 - 10


def test_a_wall_clock_put_back_does_not_put_a_pass_before_another() -> None:
    earlier = [a_process(monotonic_ns=1_000, wall_ns=50_000), a_pass()]
    # By the wall clock it would be 1,000 ns before the first; the last pass ended at 2,000.
    assert clock_offset(earlier, 10, 49_000) == 2_000 - 10


def test_the_first_process_keeps_its_clock() -> None:
    assert clock_offset([], 123, 456) == 0


@given(st.lists(st.tuples(st.integers(0, 2**40), st.integers(0, 2**60)), min_size=1, max_size=6))
def test_passes_of_all_processes_are_one_rising_timeline(clocks: list[tuple[int, int]]) -> None:
    written: list[Entry] = []
    for monotonic, wall in clocks:
        offset = clock_offset(written, monotonic, wall)
        start = monotonic + 5 + offset
        written.append(a_process(monotonic, wall))
        written.append(a_pass(replace(CALL, start_ns=start, end_ns=start + 10)))
    starts = [c.start_ns for e in written if isinstance(e, PassFinished) for c in e.calls]
    assert starts == sorted(starts)
    assert len(set(starts)) == len(starts)


def test_a_ledger_goes_on_with_passes_seconds_load_and_sessions(tmp_path: Path) -> None:
    write(
        tmp_path,
        a_process(),
        a_pass(seconds={"sweep": 1.0}, elapsed_s=9.0),
        a_pass(
            replace(CALL, run=1, position=1, session=2),
            seconds={"sweep": 3.0},
            elapsed_s=10.0,
            load=LoadAccount(foreign_s=1, all_s=8),
        ),
        a_process(),
        # This process died before it finished a pass: nothing of it counts.
        a_process(),
        a_pass(
            replace(CALL, run=2, position=2, session=3),
            seconds={"sweep": 4.0, "warmup": 0.5},
            elapsed_s=20.0,
            load=LoadAccount(foreign_s=4, all_s=12),
            faults=FaultCounts(deaths={"w/4": 1}),
        ),
    )
    with Journal(tmp_path) as journal:
        ledger = Ledger(journal, {"w": W}, compile_cache_entries=99)
        assert [(r.run, r.position) for r in ledger.records] == [(0, 0), (1, 1), (2, 2)]
        assert (ledger.next_position, ledger.next_session, ledger.sessions) == (3, 4, 3)
        assert ledger.next_run("sweep", Series("w", 4)) == 3
        assert ledger.next_run("warmup", Series("w", 4)) == 0
        assert ledger.seconds("sweep") == 7.0
        assert ledger.seconds("warmup") == 0.5
        assert 30 <= ledger.elapsed_s < 60
        assert ledger.foreign_cpu == 5 / 20
        assert ledger.faults.deaths == {"w/4": 1}
        assert ledger.compile_cache_entries == 7
        assert len(ledger.earlier.last) == 2


OF_OTHER = replace(CALL, workload="v")


def counted(**at: int) -> FaultCounts:
    """As many faults at these workloads' chunk size 4 as it takes to give it up."""
    series = {f"{name}/4": count for name, count in at.items()}
    return FaultCounts(
        deaths=series,
        kinds=dict.fromkeys(series, "oom"),
        restarts=series,
        other_restarts=1,
        uncovered=[CoverFailure(workload=name, size=4, status="oom", detail="gone") for name in at],
        answered=frozenset(series),
    )


def test_a_workload_that_is_added_keeps_the_passes_of_the_others(tmp_path: Path) -> None:
    write(tmp_path, a_process(), a_pass(), a_pass(replace(CALL, run=1, position=1)))
    with Journal(tmp_path) as journal:
        ledger = Ledger(journal, {"w": W, "v": "d" * 64})
        assert [(r.workload, r.run) for r in ledger.records] == [("w", 0), ("w", 1)]
        assert ledger.has(PassKey("w", "sweep", 4, 1))
        assert not ledger.has(PassKey("v", "sweep", 4, 0))
        assert ledger.next_run("sweep", Series("v", 4)) == 0
        assert ledger.next_position == 2


def test_a_workload_that_changed_loses_its_passes_and_no_other_does(tmp_path: Path) -> None:
    write(
        tmp_path,
        a_process(),
        a_pass(),
        a_pass(replace(OF_OTHER, position=1, session=1), workload_sha256="d" * 64),
        a_pass(
            replace(OF_OTHER, position=2, session=1, run=1),
            workload_sha256="d" * 64,
            faults=counted(w=1, v=2),
        ),
    )
    with Journal(tmp_path) as journal:
        ledger = Ledger(journal, {"w": W, "v": "c" * 64})
        assert [(r.workload, r.run) for r in ledger.records] == [("w", 0)]
        assert not ledger.has(PassKey("v", "sweep", 4, 0))
        assert ledger.next_run("sweep", Series("v", 4)) == 0
        # Two passes never have the same place, and a new server session is no earlier one.
        assert (ledger.next_position, ledger.next_session) == (3, 2)
        assert (ledger.passes, ledger.sessions) == (1, 1)
        # What the servers failed at was the other workload's.
        assert ledger.faults == counted(w=1)
        ledger.keep([replace(OF_OTHER, position=3, session=2)], counted(w=1, v=1))
    with Journal(tmp_path) as journal:
        again = Ledger(journal, {"w": W, "v": "c" * 64})
        assert [(r.workload, r.position) for r in again.records] == [("w", 0), ("v", 3)]
        assert again.faults == counted(w=1, v=1)
        assert [one.workload for one in ledger.faults.uncovered] == ["w"]


def test_a_workload_that_is_gone_leaves_no_trace_but_its_places(tmp_path: Path) -> None:
    gone = a_pass(replace(OF_OTHER, position=1), workload_sha256="d" * 64, faults=counted(v=2))
    write(tmp_path, a_process(), a_pass(), gone)
    with Journal(tmp_path) as journal:
        ledger = Ledger(journal, {"w": W})
        assert {r.workload for r in ledger.records} == {"w"}
        assert ledger.faults == counted()
        assert ledger.next_position == 2


def test_history_counts_only_processes_that_finished_a_pass() -> None:
    last = a_pass(replace(CALL, run=1))
    history = history_of([a_process(), a_process(), a_pass(), last, a_process()])
    assert history.last == [last]
    assert len(history.passes) == 2


@pytest.fixture(scope="module")
def plan(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Plan]:
    """Makes a plan in a folder of its own."""

    def make(flag: int = 1, model: str = "b" * 64, **changes: Any) -> Plan:
        folder = tmp_path_factory.mktemp("plan")
        raw = bench_contract(**changes)
        raw["backends"]["jax"]["portable"]["flags"]["page-size"] = flag
        make_bench(folder, raw, model)
        with inside(folder):
            return make_plan(parse_contract(raw), "jax", "portable")

    return make


HOST = Host(name="h", system="s", machine="m", processor="p", cpus=2, memory_bytes=1)


def key(plan: Plan, **changes: Any) -> str:
    given_ = {"host": HOST, "environment_sha256": "e", "source": "s"} | changes
    return journal_key(plan, **given_)


def test_the_same_measurement_in_another_folder_goes_on_with_the_same_journal(plan) -> None:
    assert key(plan()) == key(plan())
    assert key(plan()) == key(plan(), host=HOST.model_copy(update={"memory_bytes": 2}))


@pytest.mark.parametrize(
    "changes",
    [
        {"flag": 2},
        {"model": "c" * 64},
        {"chunk_sizes": [1, 4]},
        {"passes__confirm": 3},
        {"limits__call_timeout_s": 21},
        {"probes__targets": 1},
    ],
)
def test_whatever_changes_the_measurement_starts_over(plan, changes) -> None:
    assert key(plan(**changes)) != key(plan())


@pytest.mark.parametrize(
    "changes",
    [
        {"host": HOST.model_copy(update={"name": "other"})},
        {"host": HOST.model_copy(update={"cpus": 1})},
        {"environment_sha256": "other"},
        {"source": "other"},
    ],
)
def test_another_host_environment_or_code_starts_over(plan, changes) -> None:
    assert key(plan(), **changes) != key(plan())


def test_other_workloads_that_need_no_other_server_go_on_with_the_same_journal(plan) -> None:
    # Every pass in it says which workload it is of.
    assert key(plan(workload__seed=1)) == key(plan())
    one = bench_contract()["workloads"]["many"]
    small = {**one, "items": 2, "query_tokens": 12}
    beside = plan(workloads={"many": one, "small": small})
    assert key(beside) == key(plan())
    # A larger one makes a server on a CPU larger, and that is another server.
    assert key(plan(workloads={"many": one, "long": {**one, "query_tokens": 500}})) != key(plan())


def test_another_nonce_starts_over(plan) -> None:
    other = plan()
    assert key(replace(other, workloads=other.workloads.in_run("f" * 16))) != key(plan())


def test_another_url_or_another_server_behind_it_starts_over(plan) -> None:
    first = plan(backends__jax__portable__base_url="http://192.0.2.1:1")
    other = plan(backends__jax__portable__base_url="http://192.0.2.1:2")
    met = ServerIdentity(version="1", elsewhere=account())
    keys = {
        key(plan()),
        key(first),
        key(other),
        key(first, identity=met),
        key(first, identity=met.model_copy(update={"version": "2"})),
        key(first, identity=ServerIdentity(version="1", elsewhere=account(settings={}))),
    }
    assert len(keys) == 6
    again = ServerIdentity(version="1", elsewhere=account())
    assert key(first, identity=met) == key(first, identity=again)


def test_all_code_that_measure_imports_is_in_the_key() -> None:
    wanted = {ROOT / file for file in closure("stages.measure") if file.parts[0] == "stages"}
    assert wanted <= set(measuring_code())


def test_the_hash_of_the_code_depends_on_contents_and_not_on_folders(tmp_path: Path) -> None:
    program = ROOT / "stages" / "measure" / "record" / "journal.py"
    copy = tmp_path / "journal.py"
    copy.write_bytes(program.read_bytes())
    assert source_sha256([program]) == source_sha256([copy])
    copy.write_bytes(program.read_bytes() + b"\n")
    assert source_sha256([program]) != source_sha256([copy])


def test_another_gpu_or_other_libraries_start_over(plan) -> None:
    here = {"CUDA_VISIBLE_DEVICES": "0", "LD_LIBRARY_PATH": "/opt/a"}
    assert key(plan(), passed=here) == key(plan(), passed=dict(reversed(here.items())))
    for changes in ({"CUDA_VISIBLE_DEVICES": "1"}, {"LD_LIBRARY_PATH": "/opt/b"}):
        assert key(plan(), passed=here | changes) != key(plan(), passed=here)
    assert key(plan(), passed=here) != key(plan())
