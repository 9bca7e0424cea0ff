"""A measurement against a real HTTP server: every planned pass is accounted for."""

from __future__ import annotations

import itertools
import json
import socket
import sys
from collections import Counter
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

import polars as pl
import pyarrow as pa
import pytest
from bench import workload_of
from contracts import NONCE, ROOT, WORKLOAD, contract, raw_several
from patience import PATIENCE_S
from scoring_server import right_score

from stages.backends.registry import declared
from stages.common.errors import UserError
from stages.compare.probes import isolation
from stages.contract import Contract, parse_contract
from stages.documents.cell import PassKey
from stages.documents.probes import OTHER_LENGTHS, PROBE_SCHEMA
from stages.documents.workload import Workloads
from stages.measure.http.client import PreparedCall, Reply, ScoreConnection
from stages.measure.record.journal import Journal
from stages.measure.record.ledger import Ledger
from stages.measure.servers.launched import Server, is_listening, server_environment
from stages.measure.session import Session
from stages.plan.probe_requests import choose_targets
from stages.workload import build_workloads

SMALL = {
    "workload__items": 4,
    "workload__query_tokens": 16,
    "chunk_sizes": [1, 2, 4],
    "passes__sweep": 3,
    "passes__confirm": 2,
    "limits__call_timeout_s": PATIENCE_S,
    "limits__start_timeout_s": PATIENCE_S,
    "limits__restarts": 2,
}
MADE = contract(**SMALL)
SCORED = workload_of(MADE)
PROBES = 1
COVER = 3
"""Untimed requests of 1, 2 and 4 items, after the warm-up."""
NUMBERS = itertools.count()


class GivesUp(ScoreConnection):
    """Waits a second for the answer to some calls, and for that to any other patiently."""

    def __init__(self, url: str, soon: Callable[[PreparedCall], bool]) -> None:
        super().__init__(url, PATIENCE_S)
        self._soon = soon

    def send(self, call: PreparedCall) -> Reply:
        self._timeout_s = 1.0 if self._soon(call) else PATIENCE_S
        return super().send(call)


def items_of(call: PreparedCall) -> int:
    """How many items a call holds; 0 where it asks for no scores."""
    body = b"".join(call.pieces).partition(b"\r\n\r\n")[2]
    return len(json.loads(body)["items"]) if body else 0


class Run:
    """A session on the scoring server, the messages it gave, and its servers."""

    def __init__(
        self,
        tmp_path: Path,
        *arguments: str,
        backend: str = "jax",
        made: Contract = MADE,
        gives_up: Callable[[PreparedCall], bool] | None = None,
        journal: Path | None = None,
    ) -> None:
        self.messages: list[str] = []
        self.servers: list[Server] = []
        workloads = Workloads.of(build_workloads(made)).in_run(NONCE)
        self.journal = Journal(journal or tmp_path / f"journal-{next(NUMBERS)}")

        def new_server() -> Server:
            program = str(ROOT / "tests" / "support" / "scoring_server.py")
            self.servers.append(
                Server(
                    [sys.executable, program, *arguments],
                    server_environment({}, {}),
                    tmp_path / "server.log",
                )
            )
            if gives_up is not None:
                url = self.servers[-1].url
                self.servers[-1].connect = lambda timeout_s: GivesUp(url, gives_up)
            return self.servers[-1]

        self.session = Session(
            workloads=workloads.by_name,
            chunk_sizes={name: made.chunk_sizes_of(name) for name in workloads.by_name},
            cover_times=dict.fromkeys(workloads.by_name, 1),
            passes=made.passes,
            limits=made.limits,
            probes=made.probes,
            answers_all=backend == "pytorch",
            driver=declared(backend),
            new_server=new_server,
            ledger=Ledger(self.journal, workloads.sha256s),
            notify=lambda problem, key: self.messages.append(problem),
        )

    def measure(self) -> Session:
        self.session.run()
        assert not any(is_listening(s.port) for s in self.servers)
        return self.session

    def passes(self, phase: str, workload: str = WORKLOAD) -> Counter[tuple[int, int]]:
        """(chunk size, run) of every pass of a phase and how many calls it has."""
        mine = (r for r in self.session.records if (r.workload, r.phase) == (workload, phase))
        return Counter((r.chunk_size, r.run) for r in mine)


def test_every_planned_pass_is_measured_once_with_every_item_in_order(tmp_path) -> None:
    run = Run(tmp_path)
    session = run.measure()
    wanted = {(c, r): 4 // c for c in (1, 2, 4) for r in range(3)}
    assert run.passes("sweep") == wanted
    confirmed = {(c, r): 4 // c for c in session.confirmed[WORKLOAD] for r in range(2)}
    assert run.passes("confirm") == confirmed
    assert {1} < set(session.confirmed[WORKLOAD])
    for record in session.records:
        assert record.status == "ok"
        query = SCORED.salted_query(record.salt)
        items = SCORED.items[record.first_item : record.first_item + record.item_count]
        right = [right_score(query, item) for item in items]
        assert record.scores == [s for p in right for s in (p, 1 - p)]
    starts = [r.start_ns for r in session.records]
    assert starts == sorted(starts)
    assert [m for m in run.messages if m] == ["cover of many: untimed requests of 1 to 4 items"]


def test_the_salt_is_the_same_for_both_backends_and_new_for_every_pass(tmp_path) -> None:
    salts = []
    for backend in ("jax", "pytorch"):
        records = Run(tmp_path, backend=backend).measure().records
        salts.append({(r.phase, r.chunk_size, r.run): tuple(r.salt) for r in records})
    shared = salts[0].keys() & salts[1].keys()
    assert len(shared) >= 3 * (1 + 3)
    assert all(salts[0][key] == salts[1][key] for key in shared)
    assert len(set(salts[0].values())) == len(salts[0])


def test_warm_up_goes_on_until_a_pass_compiles_nothing(tmp_path) -> None:
    run = Run(tmp_path, "--compiles")
    session = run.measure()
    # Chunk 2 was compiled by the probe of two items; the others compile in their first pass.
    assert Counter(c for c, _ in run.passes("warmup")) == {1: 2, 2: 1, 4: 2}
    compiled = {(r.phase, r.chunk_size, r.run) for r in session.records if r.compiles}
    assert compiled == {("warmup", 1, 0), ("warmup", 4, 0)}
    first_timed = next(i for i, r in enumerate(session.records) if r.phase != "warmup")
    assert all(r.phase != "warmup" for r in session.records[first_timed:])


def test_a_backend_that_reports_no_compiles_has_none_on_record(tmp_path) -> None:
    session = Run(tmp_path, backend="pytorch").measure()
    assert {r.compiles for r in session.records} == {None}


# Four prompts: the first is computed whole, the others find its query of 16 tokens.
FOUND = 3 * 16


@pytest.mark.parametrize("backend", ["jax", "pytorch"])
@pytest.mark.parametrize("how", [["log"], ["late", "--late", "0.03"], ["usage"]])
def test_every_pass_has_the_tokens_on_record_that_came_from_the_prefix_cache(
    tmp_path, backend: str, how: list[str]
) -> None:
    assert len({item[0] for item in SCORED.items}) == len(SCORED.items) == 4
    session = Run(tmp_path, "--tells", *how, backend=backend).measure()
    assert {r.cached_tokens for r in session.records} == {FOUND}


def test_a_server_that_does_not_report_its_cache_has_nothing_on_record(tmp_path) -> None:
    session = Run(tmp_path).measure()
    assert {r.cached_tokens for r in session.records} == {None}


def test_reading_the_log_is_no_part_of_a_passes_time(tmp_path) -> None:
    # One call a pass, and its line 0.2 s after the answer: the pass that is not disturbed at all
    # would take longer than that, if its time went on until the line is there.
    made = contract(**{**SMALL, "workload__items": 1, "chunk_sizes": [1]})
    run = Run(tmp_path, "--tells", "late", "--late", "0.2", made=made)
    records = run.measure().records
    assert {r.cached_tokens for r in records} == {0}
    assert min(r.end_ns - r.start_ns for r in records) < 0.2e9


def test_a_failed_call_fails_its_pass_and_the_next_pass_goes_on(tmp_path) -> None:
    warmup_calls = 4 + 2 + 1
    run = Run(tmp_path, "--fail-at", str(PROBES + warmup_calls + COVER + 1))
    session = run.measure()
    failed = [r for r in session.records if r.status != "ok"]
    assert [r.status for r in failed] == ["http_5xx"]
    assert failed[0].phase == "sweep"
    assert session.restarts == 0
    assert set(run.passes("sweep")) == {(c, r) for c in (1, 2, 4) for r in range(3)}
    assert any(m.startswith("http_5xx") for m in run.messages)


def test_a_server_that_dies_is_started_again_and_everything_is_kept(tmp_path) -> None:
    mark = tmp_path / "crashed"
    run = Run(tmp_path, "--crash-at", "15", "--mark", str(mark))
    session = run.measure()
    assert session.restarts == 1
    died = [r for r in session.records if r.status != "ok"]
    assert [r.status for r in died] == ["server_died"]
    assert "signal 9" in died[0].detail
    assert set(run.passes("sweep")) == {(c, r) for c in (1, 2, 4) for r in range(3)}
    assert {r.session for r in session.records} == {0, 1}
    # The new server starts cold: what is measured on it is warmed up again first.
    second = [r for r in session.records if r.session == 1]
    assert second[0].phase == "warmup"
    keys = [(r.phase, r.chunk_size, r.run, r.call) for r in session.records]
    assert len(keys) == len(set(keys))


def test_a_server_that_keeps_dying_is_given_up_and_every_pass_is_accounted_for(tmp_path) -> None:
    # The probe and two calls: not even a warm-up pass is ever whole.
    run = Run(tmp_path, "--crash-at", "3")
    session = run.measure()
    assert session.restarts == 2
    assert len(run.servers) == 3
    assert set(run.passes("sweep")) == {(c, r) for c in (1, 2, 4) for r in range(3)}
    assert {r.status for r in session.records if r.phase == "sweep"} == {"server_died"}
    assert "given up after 2 restarts" in {r.detail for r in session.records}


@pytest.mark.parametrize(
    ("fault", "kind", "restarts"),
    [("--crash-items", "server_died", 2), ("--oom-items", "oom", 0), ("--starve-items", "oom", 2)],
)
def test_a_chunk_size_that_ends_the_server_is_given_up_and_the_others_are_measured(
    tmp_path, fault, kind, restarts
) -> None:
    run = Run(tmp_path, fault, "4")
    session = run.measure()
    assert session.restarts == restarts
    by_chunk = {c: [r for r in session.records if r.chunk_size == c] for c in (1, 2, 4)}
    assert {r.status for c in (1, 2) for r in by_chunk[c]} == {"ok"}
    assert {r.status for r in by_chunk[4]} == {kind}
    assert [r.phase for r in by_chunk[4] if r.start_ns is not None] == ["warmup", "warmup"]
    given_up = [r for r in by_chunk[4] if r.start_ns is None and r.phase == "sweep"]
    assert [r.run for r in given_up] == [0, 1, 2]
    assert {r.detail for r in given_up} == {
        "chunk size 4 given up: the server failed 2 times at it"
    }
    # The backend can still be judged: probes of up to two items were answered.
    answered = [r for r in session.probe_records if r.status == "ok"]
    isolation = [r for r in answered if r.kind == "isolation"]
    assert {r.layout for r in isolation} == {"alone", "before_1", "shorter", "longer"}
    assert {r.items for r in isolation if r.layout in ("shorter", "longer")} == {2}
    assert Counter(r.run for r in answered if r.kind == "repeat") == dict.fromkeys(range(5), 2)
    assert {r.status for r in session.probe_records} == {"ok", kind}


def test_a_hanging_server_is_restarted_and_the_chunk_size_that_hung_it_given_up(
    tmp_path, monkeypatch
) -> None:
    monkeypatch.setattr("stages.measure.servers.health._HEALTH_TIMEOUT_S", PATIENCE_S)
    run = Run(tmp_path, "--hang-items", "4", gives_up=lambda call: items_of(call) == 4)
    session = run.measure()
    assert session.restarts == 2
    timeouts = [r for r in session.records if r.status == "timeout" and r.start_ns is not None]
    assert {(r.phase, r.chunk_size) for r in timeouts} == {("warmup", 4)}
    assert Counter(r.session for r in timeouts) == {0: 3, 1: 3}
    others = [r for r in session.records if r.chunk_size != 4]
    assert {r.status for r in others} == {"ok"}
    assert set(run.passes("sweep")) == {(c, r) for c in (1, 2, 4) for r in range(3)}
    said = "the server hangs: it answers no call, while /health says 200"
    assert run.messages.count(said) == 2


def test_a_server_that_lost_a_process_and_hangs_costs_one_pass_and_is_named(tmp_path) -> None:
    mark = tmp_path / "died"
    numbers = itertools.count(1)
    run = Run(
        *(tmp_path, "--worker-dies-at", "15", "--mark", str(mark)),
        gives_up=lambda call: items_of(call) > 0 and next(numbers) == 15,
    )
    session = run.measure()
    (failed,) = [r for r in session.records if r.status != "ok"]
    assert (failed.status, failed.phase) == ("server_died", "sweep")
    assert failed.detail == "server lost its process sleep: no whole answer in 1 s"
    assert session.restarts == 1
    assert set(run.passes("sweep")) == {(c, r) for c in (1, 2, 4) for r in range(3)}
    assert not any("hangs" in message for message in run.messages)


def test_a_server_that_loses_a_process_in_the_cover_is_started_again(tmp_path) -> None:
    last = PROBES + 4 + 2 + 1 + COVER
    mark, numbers = tmp_path / "died", itertools.count(1)
    run = Run(
        *(tmp_path, "--worker-dies-at", str(last), "--mark", str(mark)),
        gives_up=lambda call: items_of(call) > 0 and next(numbers) == last,
    )
    session = run.measure()
    assert {r.status for r in session.records} == {"ok"}
    assert session.restarts == 1
    lost = (
        "server_died: server lost its process sleep: no whole answer in 1 s"
        " (cover of many, 4 items)"
    )
    assert lost in run.messages


def test_a_cover_that_is_not_answered_in_time_leaves_no_busy_server_to_the_passes(
    tmp_path,
) -> None:
    # It answers nothing from the cover's request of 3 items on, which no pass has.
    made = contract(**SMALL | {"limits__restarts": 0})
    run = Run(
        *(tmp_path, "--hang-items", "3"), made=made, gives_up=lambda call: items_of(call) == 3
    )
    run.session.running_requests = 4
    session = run.measure()
    assert {r.status for r in session.records} == {"ok"}
    assert (session.restarts, len(run.servers)) == (1, 2)
    assert [(one.size, one.status) for one in session.uncovered] == [(3, "timeout")]


def test_untimed_answers_need_no_cover(tmp_path) -> None:
    made = contract(**SMALL | {"workload__items": 16, "chunk_sizes": [1, 2, 4, 8, 16]})
    run = Run(tmp_path, backend="pytorch", made=made)
    answer = run.session._measure

    def measure(keys) -> None:
        # The server is gone once nothing but answers is left.
        if keys and all(key.phase == "answer" for key in keys):
            run.session._stop()
            run.messages.append("answers")
        answer(keys)

    run.session._measure = measure
    run.measure()
    assert run.session.number == 1, "a new server gave the answers"
    covers = [m for m in run.messages if m.startswith("cover of")]
    assert len(covers) == 1
    assert run.messages.index(covers[0]) < run.messages.index("answers")


def test_a_server_that_cannot_start_is_one_clear_error(tmp_path) -> None:
    run = Run(tmp_path, "--strict", "--no-such-flag")
    with pytest.raises(UserError) as caught:
        run.measure()
    message = str(caught.value)
    assert "did not start" in message
    assert "exit code 2" in message
    assert "unrecognized arguments: --no-such-flag" in message
    assert "\n" not in message


def test_a_port_that_another_process_took_first_costs_no_restart(tmp_path) -> None:
    run = Run(tmp_path)
    make, strangers = run.session.new_server, []

    def unlucky() -> Server:
        server = make()
        if not strangers:
            strangers.append(socket.create_server(("127.0.0.1", server.port)))
        return server

    run.session.new_server = unlucky
    run.session.run()
    strangers[0].close()
    assert {r.status for r in run.session.records} == {"ok"}
    assert run.session.restarts == 0
    assert len(run.servers) == 2


def test_the_reference_answers_untimed_what_only_the_other_backend_may_confirm(tmp_path) -> None:
    # Whichever is the fastest, it has at most two neighbours: one of five is not confirmed.
    made = contract(**SMALL | {"workload__items": 16, "chunk_sizes": [1, 2, 4, 8, 16]})
    workload = workload_of(made)
    run = Run(tmp_path, backend="pytorch", made=made)
    session = run.measure()
    rest = set(made.chunk_sizes) - set(session.confirmed[WORKLOAD])
    assert rest
    answered = {(r.chunk_size, r.run): r.salt for r in session.records if r.phase == "answer"}
    assert answered == {(c, n): workload.salt("confirm", c, n) for c in rest for n in range(2)}
    other = Run(tmp_path, backend="jax", made=made).measure()
    assert not any(r.phase == "answer" for r in other.records)


def test_probes_run_in_the_session_of_the_timed_passes_and_after_them(tmp_path) -> None:
    session = Run(tmp_path).measure()
    repeats = [r for r in session.probe_records if r.kind == "repeat"]
    assert len(repeats) == MADE.probes.repeats * 4
    by_target: dict[int, set[str]] = {}
    for record in session.probe_records:
        assert record.status == "ok"
        query = SCORED.salted_query(SCORED.salt("probe", 0, 0))
        right = right_score(query, SCORED.items[record.item])
        assert record.scores == [right, 1 - right], "the target is the target in every layout"
        if record.kind == "isolation":
            by_target.setdefault(record.item, set()).add(record.layout)
    layouts = {"alone", "original", "reversed", "replaced", "before_1", "before_all"}
    layouts |= {"shorter", "longer"}
    assert by_target == dict.fromkeys(by_target, layouts)
    assert len(by_target) == MADE.probes.targets


@pytest.mark.parametrize(
    ("item_tokens", "verdict", "answered"),
    [(8, "isolated", {"shorter"}), (1, "lengths_not_probed", set())],
)
def test_a_server_without_room_for_longer_items_is_believed_only_what_it_answered(
    tmp_path, item_tokens: int, verdict: str, answered: set[str]
) -> None:
    made = contract(**SMALL, workload__item_tokens=item_tokens)
    workload = workload_of(made)
    room = str(workload.prompt_tokens)
    session = Run(tmp_path, "--most-tokens", room, made=made).measure()
    assert {r.status for r in session.records} == {"ok"}, "passes fit"
    failed = [r for r in session.probe_records if r.status != "ok"]
    assert {(r.layout, r.status) for r in failed} == {("longer", "http_4xx")}
    table = pa.Table.from_pylist([asdict(r) for r in session.probe_records], schema=PROBE_SCHEMA)
    targets = choose_targets(workload, made.probes)
    found = isolation(pl.from_arrow(table), targets, len(workload.items), 1e-4)  # type: ignore[arg-type]
    assert (found.verdict, found.failed_layouts) == (verdict, ["longer"])
    assert set(found.changes) & set(OTHER_LENGTHS) == answered
    assert found.left_out == ([] if answered else ["shorter"])


def test_no_probe_request_holds_more_items_than_it_may(tmp_path) -> None:
    few = contract(**SMALL, probes__most_items=3, probes__targets=4)
    session = Run(tmp_path, made=few).measure()
    assert {r.status for r in session.probe_records} == {"ok"}
    assert max(r.items for r in session.probe_records) == 3
    # Every item that fits into such a request is probed, and the fourth is not.
    probed = {r.item for r in session.probe_records if r.kind == "isolation"}
    assert probed == {0, 1, 2}
    # The timed passes are what they were.
    assert {r.item_count for r in session.records} == {1, 2, 4}


BOTH = parse_contract(
    raw_several(
        {"few": {"items": 2, "query_tokens": 12}, "many": {"items": 4, "query_tokens": 16}},
        **{key: value for key, value in SMALL.items() if not key.startswith("workload__")},
    )
)
SIZES = {"few": [1, 2], "many": [1, 2, 4]}
ITEMS = {"few": 2, "many": 4}


def test_every_planned_pass_of_every_workload_is_measured_once_with_its_own_items(
    tmp_path,
) -> None:
    run = Run(tmp_path, made=BOTH)
    session = run.measure()
    assert session.confirmed.keys() == SIZES.keys()
    for name, sizes in SIZES.items():
        items = ITEMS[name]
        wanted = {(c, r): -(-items // c) for c in sizes for r in range(3)}
        assert run.passes("sweep", name) == wanted
        confirmed = {(c, r): -(-items // c) for c in session.confirmed[name] for r in range(2)}
        assert run.passes("confirm", name) == confirmed
        assert {1} < set(session.confirmed[name]) <= set(sizes)
        assert set(run.passes("warmup", name)) == {(c, 0) for c in sizes}
    workloads = {name: workload_of(BOTH, name) for name in SIZES}
    for record in session.records:
        assert record.status == "ok"
        workload = workloads[record.workload]
        assert record.salt == workload.salt(record.phase, record.chunk_size, record.run)
        query = workload.salted_query(record.salt)
        scored = workload.items[record.first_item : record.first_item + record.item_count]
        right = [right_score(query, item) for item in scored]
        assert record.scores == [s for p in right for s in (p, 1 - p)]
    assert len(run.servers) == 1, "one server scores them all"
    places = {(r.position, r.workload, r.phase, r.chunk_size, r.run) for r in session.records}
    assert sorted(place for place, *_ in places) == [*range(len(places))]


def test_no_workload_is_timed_before_or_after_the_others(tmp_path) -> None:
    session = Run(tmp_path, made=BOTH).measure()
    names = [r.workload for r in session.records if r.phase == "sweep" and r.call == 0]
    for name in SIZES:
        first, last = names.index(name), len(names) - 1 - names[::-1].index(name)
        assert set(names[first:last]) == set(SIZES)


def test_every_workload_has_its_own_probes_and_targets(tmp_path) -> None:
    session = Run(tmp_path, made=BOTH).measure()
    assert [name for name, _ in itertools.groupby(r.workload for r in session.probe_records)] == [
        "few",
        "many",
    ]
    for name, items in ITEMS.items():
        workload = workload_of(BOTH, name)
        mine = [r for r in session.probe_records if r.workload == name]
        query = workload.salted_query(workload.salt("probe", 0, 0))
        for record in mine:
            right = right_score(query, workload.items[record.item])
            assert (record.status, record.scores) == ("ok", [right, 1 - right])
        probed = {r.item for r in mine if r.kind == "isolation"}
        assert probed == set(choose_targets(workload, BOTH.probes))
        assert len(probed) == min(items, BOTH.probes.targets)
        repeats = [r for r in mine if r.kind == "repeat"]
        assert len(repeats) == BOTH.probes.repeats * items


@pytest.mark.parametrize(
    ("fault", "kind"), [("--crash-items", "server_died"), ("--starve-items", "oom")]
)
def test_a_chunk_size_given_up_in_one_workload_is_measured_in_the_other(
    tmp_path, fault: str, kind: str
) -> None:
    same = {"few": {"items": 4, "query_tokens": 12}, "many": {"items": 4, "query_tokens": 16}}
    rest = {key: value for key, value in SMALL.items() if not key.startswith("workload__")}
    made = parse_contract(raw_several(same, **rest))
    run = Run(tmp_path, fault, "4", "--only-query-tokens", "12", made=made)
    session = run.measure()
    found = {
        (name, size): {
            r.status for r in session.records if (r.workload, r.chunk_size) == (name, size)
        }
        for name in same
        for size in (1, 2, 4)
    }
    assert found.pop(("few", 4)) == {kind}
    assert set(map(tuple, found.values())) == {("ok",)}
    given_up = [r for r in session.records if r.start_ns is None]
    assert {(r.workload, r.chunk_size) for r in given_up} == {("few", 4)}
    for name in same:
        assert set(run.passes("sweep", name)) == {(c, r) for c in (1, 2, 4) for r in range(3)}
    # Requests of that size are left out of its probes, and of no others.
    failed = {r.workload for r in session.probe_records if r.status != "ok"}
    assert failed == {"few"}
    largest = {
        name: max(r.items for r in session.probe_records if (r.workload, r.status) == (name, "ok"))
        for name in same
    }
    assert largest == {"few": 2, "many": 4}


def test_a_session_goes_on_with_the_passes_of_every_workload(tmp_path) -> None:
    class Stop(Exception):  # noqa: N818
        """As a signal would."""

    journal = tmp_path / "shared"
    first = Run(tmp_path, made=BOTH, journal=journal)

    def stop(problem: str, key: PassKey | None) -> None:
        if key is not None and key.phase == "sweep" and first.session.ledger.passes >= 12:
            raise Stop

    first.session.notify = stop
    with first.journal, pytest.raises(Stop):
        first.session.run()
    kept = list(first.session.records)
    assert {r.workload for r in kept if r.phase == "sweep"} == set(SIZES)
    second = Run(tmp_path, made=BOTH, journal=journal)
    session = second.measure()
    assert session.records[: len(kept)] == kept
    for name, sizes in SIZES.items():
        wanted = {(c, r): -(-ITEMS[name] // c) for c in sizes for r in range(3)}
        assert second.passes("sweep", name) == wanted
    assert {r.session for r in session.records} == {0, 1}
