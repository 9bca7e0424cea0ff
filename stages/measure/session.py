"""The measurement of one matrix: warm up, sweep, confirm, and carry on after a crash."""

from __future__ import annotations

import contextlib
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from statistics import fmean

from stages.canonical import CanonicalWorkload
from stages.contract import Limits, Passes, Probes
from stages.errors import UserError
from stages.measure.client import ScoreConnection
from stages.measure.drivers import Driver, count_compiles
from stages.measure.load import ForeignLoad
from stages.measure.passes import pass_seconds, probe_server, run_pass, unsent_pass
from stages.measure.probe import Prober, choose_targets
from stages.measure.schedule import PassKey, confirm_chunk_sizes, interleaved
from stages.measure.server import Server, ServerDiedError, last_useful_lines
from stages.probe_table import ProbeRecord
from stages.schema import CallRecord, Phase

type Notify = Callable[[str, PassKey | None], None]


@dataclass
class Session:
    """Measures one matrix against one server, restarting it a bounded number of times.

    Attributes:
        new_server: makes a server that has not been started.
        records: every call so far, in measuring order.
        restarts: how often a dead server was started again.
        answers_all: also answer, untimed, the confirm requests of the chunk sizes that are
            not confirmed here, so that whatever another backend confirms can be compared.
        confirmed: the chunk sizes measured again.
        probe_records: every item of every probe request.
        foreign_cpu: share of the machine's CPU time that other processes took while passes
            were timed; ``None`` where a restart spoilt the account.
        seconds: wall-clock seconds by what they were spent on.
    """

    workload: CanonicalWorkload
    chunk_sizes: list[int]
    passes: Passes
    limits: Limits
    driver: Driver
    new_server: Callable[[], Server]
    notify: Notify
    probes: Probes
    answers_all: bool = False
    records: list[CallRecord] = field(default_factory=list)
    restarts: int = 0
    confirmed: list[int] = field(default_factory=list)
    probe_records: list[ProbeRecord] = field(default_factory=list)
    foreign_cpu: float | None = None
    seconds: dict[str, float] = field(default_factory=lambda: defaultdict(float))
    _server: Server | None = None
    _connection: ScoreConnection | None = None
    _number: int = -1
    _position: int = 0
    _warmups: dict[int, int] = field(default_factory=lambda: defaultdict(int))

    def run(self) -> None:
        """Measure everything.

        Raises:
            UserError: the server never became healthy.
        """
        try:
            self._start()
            sweep = interleaved("sweep", self.chunk_sizes, self.passes.sweep, self.passes.seed)
            load = ForeignLoad()
            self._measure(sweep)
            self.confirmed = confirm_chunk_sizes(self.chunk_sizes, self._sweep_means())
            confirm = interleaved("confirm", self.confirmed, self.passes.confirm, self.passes.seed)
            self._measure(confirm)
            self.foreign_cpu = None if self.restarts else load.share()
            if self.answers_all:
                self._measure(self._unconfirmed())
            self._probe()
        finally:
            self._stop()

    def _unconfirmed(self) -> list[PassKey]:
        rest = [chunk for chunk in self.chunk_sizes if chunk not in self.confirmed]
        return interleaved("answer", rest, self.passes.confirm, self.passes.seed)

    @property
    def session(self) -> int:
        """Number of the server session, from 0."""
        return self._number

    def _probe(self) -> None:
        """Probe the server that answered the last passes; without one there are no records."""
        if self._connection is None:
            return
        with self._timing("probes"):
            prober = Prober(self._connection, self.workload)
            prober.run(self.probes, choose_targets(self.workload, self.probes))
        self.probe_records = prober.records

    def _sweep_means(self) -> dict[int, float]:
        runs: dict[int, dict[int, list[CallRecord]]] = defaultdict(lambda: defaultdict(list))
        for record in self.records:
            if record.phase == "sweep":
                runs[record.chunk_size][record.run].append(record)
        means: dict[int, float] = {}
        for chunk, by_run in runs.items():
            seconds = [s for r in by_run.values() if (s := pass_seconds(r)) is not None]
            if len(seconds) == self.passes.sweep:
                means[chunk] = fmean(seconds)
        return means

    def _measure(self, keys: list[PassKey]) -> None:
        """Run the passes ``keys``; whatever happens, each gets its records."""
        pending = list(keys)
        while pending:
            if self._server is None and not self._restart():
                self.records += [self._given_up(key) for key in pending]
                return
            self._warm_up(sorted({key.chunk_size for key in pending}))
            while pending and self._server is not None:
                self._pass(pending.pop(0))

    def _warm_up(self, chunk_sizes: list[int]) -> None:
        """Warm up each chunk size not yet warm in this server session, until nothing compiles."""
        for chunk in chunk_sizes:
            for count in range(self.passes.warmup_limit):
                if self._server is None or self._is_warm(chunk, count):
                    break
                self._pass(PassKey("warmup", chunk, self._warmups[chunk]))
                self._warmups[chunk] += 1

    def _is_warm(self, chunk: int, count: int) -> bool:
        mine = [r for r in self.records if r.session == self._number and r.chunk_size == chunk]
        if any(r.phase != "warmup" for r in mine):
            return True
        if count < self.passes.warmup:
            return False
        last_run = [r for r in mine if r.run == mine[-1].run]
        return all(r.status == "ok" for r in last_run) and not last_run[-1].compiles

    def _pass(self, key: PassKey) -> None:
        server, connection = self._server, self._connection
        assert server is not None  # noqa: S101  callers check
        assert connection is not None  # noqa: S101
        with self._timing(key.phase):
            records = run_pass(
                connection,
                self.workload,
                key,
                session=self._number,
                position=self._position,
                died_within=server.died_within,
                compiles=lambda: self._compiles(server),
            )
        self._position += 1
        self.records += records
        problem = next((f"{r.status}: {r.detail}" for r in records if r.status != "ok"), "")
        self.notify(problem, key)
        if server.death() is not None:
            self._stop()

    def _compiles(self, server: Server) -> int | None:
        pattern = self.driver.compile_pattern
        return None if pattern is None else count_compiles(server.new_log(), pattern)

    def _given_up(self, key: PassKey) -> CallRecord:
        self._position += 1
        return unsent_pass(
            self.workload,
            key,
            session=self._number,
            position=self._position - 1,
            status="server_died",
            detail=f"given up after {self.restarts} restarts",
        )

    def _restart(self) -> bool:
        while self.restarts < self.limits.restarts:
            self.restarts += 1
            self.notify(f"the server died; restart {self.restarts}", None)
            with contextlib.suppress(UserError):
                self._start()
                return True
        return False

    def _start(self) -> None:
        self._number += 1
        server = self.new_server()
        self._server = server
        with self._timing("server_start"):
            server.__enter__()
            self._connection = ScoreConnection(server.url, self.limits.call_timeout_s)
            connection = self._connection
            connection.__enter__()
            try:
                server.wait_until_healthy(
                    lambda: probe_server(connection, self.workload), self.limits.start_timeout_s
                )
            except ServerDiedError as death:
                self._stop()
                lines = " | ".join(last_useful_lines(server.log))
                raise UserError(
                    f"the server did not start: {death.detail}; {server.log} ends: {lines}"
                ) from death

    def _stop(self) -> None:
        server, self._server = self._server, None
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.__exit__(None, None, None)
        if server is not None:
            with self._timing("stop"):
                server.stop()

    @contextlib.contextmanager
    def _timing(self, what: str | Phase) -> Iterator[None]:
        start = time.monotonic()
        try:
            yield
        finally:
            self.seconds[what] += time.monotonic() - start
