"""The measurement of one matrix: warm up, sweep, confirm, and carry on after a crash."""

from __future__ import annotations

import contextlib
import time
from collections import defaultdict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from statistics import fmean
from types import TracebackType

from stages.backends.declared import DeclaredBackend
from stages.common.errors import UserError
from stages.contract import Limits, Passes, Probes
from stages.documents.cell import PassKey, Series
from stages.documents.matrix import TIMED_PHASES, CallRecord, CoverFailure, RoundTrip, Status
from stages.documents.probes import ProbeRecord
from stages.documents.workload import CanonicalWorkload
from stages.measure.cover import send_cover
from stages.measure.faults import Bound, Faults
from stages.measure.http.client import ScoreConnection
from stages.measure.http.round_trip import round_trip_s
from stages.measure.passes import name_loss, pass_seconds, run_pass, unsent_pass
from stages.measure.probes import Prober
from stages.measure.record.ledger import Ledger
from stages.measure.servers.health import health
from stages.measure.servers.log import ServerLog
from stages.measure.servers.starting import on_a_free_port, start_healthy
from stages.measure.servers.under_test import OtherServerError, ServerUnderTest
from stages.measure.warm_up import is_warm
from stages.plan.schedule import all_series, confirm_chunk_sizes, cover_sizes, interleaved

type Notify = Callable[[str, PassKey | None], None]

_SETTLE_S = 1.0
"""A shutdown that ends harness and server reaches both within this time. A pass that fails because
of it must not be recorded."""


@dataclass
class _Live:
    """A server that is up, its log, the connection to it, and what closes both.

    ``covered``: whether it was sent the cover.
    """

    server: ServerUnderTest
    log: ServerLog
    connection: ScoreConnection
    closing: contextlib.ExitStack
    covered: bool = False


@dataclass
class Session:
    """Measures one matrix against one server, restarting it a bounded number of times.

    Passes in the ledger are not measured again. :mod:`stages.measure.faults` decides when a
    chunk size or the server is given up.

    Attributes:
        workloads: by name; all of them are measured by every server session.
        chunk_sizes: of each workload.
        new_server: makes a server object that is not started yet (or not waited for yet).
        ledger: every call so far.
        answers_all: also send, untimed, the confirm requests of chunk sizes that are not
            confirmed here, so that every cell the other backend confirms can be compared.
        elsewhere: whether the server was started elsewhere. Then it is waited for instead of
            started, and its log cannot be read.
        about_to_ask: called before each pass is sent.
        cover_times: how often the cover sends each request of a workload; 0 where there is none.
        running_requests: the most prompts that the server takes up at once, as far as it is known.
        confirmed: the chunk sizes of each workload that were measured again.
        probe_records: every item of every probe request.
        number: of the server session, from 0.
        round_trip: between client and server; ``None`` where it could not be measured.
    """

    workloads: Mapping[str, CanonicalWorkload]
    chunk_sizes: Mapping[str, list[int]]
    passes: Passes
    limits: Limits
    driver: DeclaredBackend
    new_server: Callable[[], ServerUnderTest]
    notify: Notify
    probes: Probes
    ledger: Ledger
    answers_all: bool = False
    elsewhere: bool = False
    about_to_ask: Callable[[], None] = lambda: None
    cover_times: Mapping[str, int] = field(default_factory=dict)
    running_requests: int = 0
    confirmed: dict[str, list[int]] = field(default_factory=dict)
    probe_records: list[ProbeRecord] = field(default_factory=list)
    round_trip: RoundTrip | None = None

    def __post_init__(self) -> None:
        self.number = self.ledger.next_session - 1
        self._faults = Faults(self.limits, self.ledger.faults)
        self._live: _Live | None = None

    @property
    def records(self) -> list[CallRecord]:
        """Every call so far, in measuring order."""
        return self.ledger.records

    @property
    def uncovered(self) -> list[CoverFailure]:
        """The requests of covers that failed."""
        return self._faults.counts.uncovered

    @property
    def restarts(self) -> int:
        """How often a dead or hanging server was started again."""
        return self._faults.counts.all_restarts

    def run(self) -> None:
        """Measure every pass that is not in the ledger.

        Raises:
            UserError: the server never became healthy, or another one took its place.
        """
        with contextlib.ExitStack() as leaving:
            leaving.push(self._leave)
            self._start()
            before = self._round_trip_s()
            self._measure(
                interleaved(
                    "sweep", all_series(self.chunk_sizes), self.passes.sweep, self.passes.seed
                )
            )
            means = self._sweep_means()
            self.confirmed = {
                name: confirm_chunk_sizes(sizes, means.get(name, {}))
                for name, sizes in self.chunk_sizes.items()
            }
            self._measure(
                interleaved(
                    "confirm", all_series(self.confirmed), self.passes.confirm, self.passes.seed
                )
            )
            if self.answers_all:
                self._measure(self._unconfirmed())
            self._probe()
            if before is not None:
                self.round_trip = RoundTrip(before_s=before, after_s=self._round_trip_s())
            if self._live is not None:
                self._live.server.check_unchanged(self._live.connection)

    def _round_trip_s(self) -> float | None:
        return None if self._live is None else round_trip_s(self._live.connection)

    def _unconfirmed(self) -> list[PassKey]:
        confirmed = {*all_series(self.confirmed)}
        rest = [one for one in all_series(self.chunk_sizes) if one not in confirmed]
        return interleaved("answer", rest, self.passes.confirm, self.passes.seed)

    def _probe(self) -> None:
        """Probe the server of the last passes, or a new one if that server is gone."""
        if self._live is None and not self._restart():
            return
        assert self._live is not None  # noqa: S101  a restart that succeeds has a server
        with self.ledger.timing("probes"):
            for name, workload in self.workloads.items():
                prober = Prober(self._live.connection, workload, self.probes, self.bound(name))
                prober.run()
                self.probe_records += prober.records

    def bound(self, workload: str) -> Bound | None:
        """The largest request of a workload that does not end the server, as far as was found."""
        return self._faults.bound(workload, self.chunk_sizes[workload])

    def _sweep_means(self) -> dict[str, dict[int, float]]:
        """Mean pass seconds by workload and chunk size, where every sweep pass succeeded."""
        runs: dict[Series, dict[int, list[CallRecord]]] = defaultdict(lambda: defaultdict(list))
        for record in self.records:
            if record.phase == "sweep":
                runs[PassKey.of(record).series][record.run].append(record)
        means: dict[str, dict[int, float]] = defaultdict(dict)
        for (name, chunk), by_run in runs.items():
            seconds = [s for r in by_run.values() if (s := pass_seconds(r)) is not None]
            if len(seconds) == self.passes.sweep:
                means[name][chunk] = fmean(seconds)
        return means

    def _measure(self, keys: list[PassKey]) -> None:
        """Run the passes ``keys``. Every one gets its records, even if the server fails."""
        pending = [key for key in keys if not self.ledger.has(key)]
        while pending := self._still_wanted(pending):
            if self._live is None and not self._restart():
                for key in pending:
                    self._give_up(key, "server_died", f"given up after {self.restarts} restarts")
                return
            self._warm_up(sorted({key.series for key in pending}))
            if any(key.phase in TIMED_PHASES for key in pending):
                self._cover()
            while pending and self._live is not None and not self._is_given_up(pending[0]):
                self._pass(pending.pop(0))

    def _is_given_up(self, key: PassKey) -> bool:
        return self._faults.given_up(key.series) is not None

    def _still_wanted(self, keys: list[PassKey]) -> list[PassKey]:
        """``keys`` without the given-up chunk sizes, whose passes are recorded here."""
        for key in keys:
            kind = self._faults.given_up(key.series)
            if kind is not None:
                times = f"the server failed {self._faults.deaths(key.series)} times at it"
                self._give_up(key, kind, f"chunk size {key.chunk_size} given up: {times}")
        return [key for key in keys if not self._is_given_up(key)]

    def _warm_up(self, every: list[Series]) -> None:
        """Warm up each chunk size of each workload not yet warm in this server session."""
        for series in every:
            for _ in range(self.passes.warmup_limit):
                run = self.ledger.next_run("warmup", series)
                key = PassKey(series.workload, "warmup", series.chunk_size, run)
                if self._live is None or self._is_given_up(key) or self._is_warm(series):
                    break
                self._pass(key)

    def _is_warm(self, series: Series) -> bool:
        mine = [
            record
            for record in self.records
            if record.session == self.number
            and (record.workload, record.chunk_size) == (series.workload, series.chunk_size)
        ]
        hidden = self.elsewhere and self.driver.compile_pattern is not None
        return is_warm(mine, self.passes.warmup, compiles_hidden=hidden)

    def _cover(self) -> None:
        """Send the cover, once in each server session, without the sizes that failed in one."""
        if self._live is None or self._live.covered:
            return
        self._live.covered = True
        for name, times in self.cover_times.items():
            if self._live is not None and times:
                self._cover_workload(self._live, name, times)

    def _cover_workload(self, live: _Live, name: str, times: int) -> None:
        limit = self._faults.cover_limit(name, self.chunk_sizes[name])
        sizes = cover_sizes(self.chunk_sizes[name], limit, self.running_requests)
        if not sizes:
            return
        self.notify(f"cover of {name}: untimed requests of {sizes[0]} to {sizes[-1]} items", None)
        first = self.number * self.passes.warmup_limit
        self.about_to_ask()
        with self.ledger.timing("warmup"):
            failure = send_cover(
                live.connection,
                self.workloads[name],
                sizes,
                times=times,
                rounds=range(first, first + self.passes.warmup_limit),
                server=live.server,
                log=live.log,
            )
        if failure is not None:
            self._note_uncovered(live, failure)

    def _note_uncovered(self, live: _Live, failure: CoverFailure) -> None:
        # After a timeout the server still works on the request, and the next passes would wait.
        ended = _has_died(live.server, failure.status) or failure.status == "timeout"
        self._faults.note_uncovered(failure, ended=ended)
        self.notify(failure.text, None)
        if ended:
            self._stop()

    def _pass(self, key: PassKey) -> None:
        live = self._live
        assert live is not None  # noqa: S101  callers check
        self.about_to_ask()
        with self.ledger.timing(key.phase):
            records = run_pass(
                live.connection,
                self.workloads[key.workload],
                key,
                session=self.number,
                position=self.ledger.next_position,
                died_within=live.server.died_within,
                log=live.log,
            )
        records[-1] = name_loss(records[-1], live.server.loss)
        died = _has_died(live.server, records[-1].status)
        if died:
            records[-1] = _name_cause(records[-1], live.server)
        elif key.phase in ("sweep", "confirm"):
            self.ledger.load.sample()
        self._faults.note(key.series, records[-1].status)
        self.ledger.keep(records, self._faults.counts)
        problem = next((f"{r.status}: {r.detail}" for r in records if r.status != "ok"), "")
        self.notify(problem, key)
        if self._faults.hanging:
            self.notify(f"the server hangs: {health(live.server)}", None)
        if died or self._faults.hanging:
            self._stop()

    def _give_up(self, key: PassKey, status: Status, detail: str) -> None:
        record = unsent_pass(
            self.workloads[key.workload],
            key,
            session=self.number,
            position=self.ledger.next_position,
            status=status,
            detail=detail,
        )
        self.ledger.add([record])

    def _restart(self) -> bool:
        while self._faults.may_restart():
            self._faults.note_restart()
            now = "waiting for it, time" if self.elsewhere else "restart"
            self.notify(f"the server is gone; {now} {self.restarts}", None)
            try:
                self._start()
            except OtherServerError:
                raise
            except UserError:
                continue
            return True
        return False

    def _start(self) -> None:
        on_a_free_port(self._start_once, lambda taken: self.notify(taken, None))

    def _start_once(self) -> None:
        self.number += 1
        with contextlib.ExitStack() as stack, self.ledger.timing("server_start"):
            workload = next(iter(self.workloads.values()))
            server, connection = start_healthy(stack, self.new_server, workload, self.limits)
            log = ServerLog(server, self.driver)
            self._live = _Live(server, log, connection, stack.pop_all())
        self._faults.new_server()
        self.ledger.load.new_server()

    def _stop(self) -> None:
        self._leave(None, None, None)

    def _leave(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        live, self._live = self._live, None
        if live is not None:
            with self.ledger.timing("stop"):
                live.closing.__exit__(kind, error, trace)


def _has_died(server: ServerUnderTest, status: Status) -> bool:
    """Whether the server died, by itself or by the last call's status.

    If so, a shutdown that ends the harness, too, has reached it when this returns.
    """
    died = server.death() is not None or status == "server_died"
    if died:
        time.sleep(_SETTLE_S)
    return died


def _name_cause(record: CallRecord, server: ServerUnderTest) -> CallRecord:
    """Record a death as ``oom`` where the kernel or the server's log names a lack of memory."""
    if record.status != "server_died" or not server.died_out_of_memory():
        return record
    detail = record.detail
    return replace(
        record,
        status="oom",
        detail=detail if "memory" in detail else f"{detail}; its log says that memory ran out",
    )
