"""The passes measured so far, over all processes of a measurement."""

from __future__ import annotations

import contextlib
import secrets
import time
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import replace

from stages.documents.cell import PassKey, Series
from stages.documents.matrix import CallRecord
from stages.machine.host import utc_now
from stages.machine.other_work import LoadLog
from stages.measure.faults import FaultCounts, of_workloads
from stages.measure.record.journal import (
    Journal,
    PassFinished,
    ProcessStarted,
    clock_offset,
    history_of,
)

_NAME_BYTES = 8


class Ledger:
    """Every finished pass, kept in memory and in the journal.

    Args:
        journal: holds the passes of earlier processes and receives this one's.
        workloads: name to SHA-256 of those that are measured. Passes of others in the journal do
            not count.
        compile_cache_entries: compiled programs in the cache now.

    Attributes:
        records: every call, in measuring order, on one timeline.
        load: of the machine during this process.
        earlier: the passes of earlier processes.
        kept: those of them that count.
        started_at: when the first process began, in UTC.
        compile_cache_entries: compiled programs in the cache before the first server started.
        measurement: its id, the same in all its processes.
    """

    def __init__(
        self,
        journal: Journal,
        workloads: Mapping[str, str],
        compile_cache_entries: int | None = None,
    ) -> None:
        self._journal = journal
        self._workloads = workloads
        self._began = time.monotonic()
        self._seconds: defaultdict[str, float] = defaultdict(float)
        self.earlier = history_of(journal.entries)
        first = self.earlier.first
        self.measurement = first.measurement if first else secrets.token_hex(_NAME_BYTES)
        self._offset_ns = self._begin(journal, compile_cache_entries)
        self.load = LoadLog()
        self.kept = [
            one
            for one in self.earlier.passes
            if self._workloads.get(one.calls[0].workload) == one.workload_sha256
        ]
        self.records = [call for one in self.kept for call in one.calls]
        self._done = {PassKey.of(record) for record in self.records}

    def _begin(self, journal: Journal, compile_cache_entries: int | None) -> int:
        now, wall = time.monotonic_ns(), time.time_ns()
        first = self.earlier.first
        entry = ProcessStarted(
            started_at=utc_now(),
            monotonic_ns=now,
            wall_ns=wall,
            offset_ns=clock_offset(journal.entries, now, wall),
            compile_cache_entries=compile_cache_entries,
            measurement=self.measurement,
        )
        journal.append(entry)
        self.started_at = (first or entry).started_at
        self.compile_cache_entries = (first or entry).compile_cache_entries
        return entry.offset_ns

    def keep(self, calls: list[CallRecord], faults: FaultCounts) -> list[CallRecord]:
        """Write a finished pass to disk; return its calls on the matrix's timeline."""
        placed = [
            replace(
                call,
                start_ns=None if call.start_ns is None else call.start_ns + self._offset_ns,
                end_ns=None if call.end_ns is None else call.end_ns + self._offset_ns,
            )
            for call in calls
        ]
        entry = PassFinished(
            finished_at=utc_now(),
            workload_sha256=self._workloads[placed[0].workload],
            calls=placed,
            faults=faults,
            load=self.load.total,
            seconds=dict(self._seconds),
            elapsed_s=time.monotonic() - self._began,
        )
        self._journal.append(entry)
        self.add(placed)
        return placed

    def add(self, calls: list[CallRecord]) -> None:
        """Add calls to the records only. Unsent calls follow from the rest and need no journal."""
        self.records += calls
        self._done |= {PassKey.of(call) for call in calls}

    def has(self, key: PassKey) -> bool:
        """Whether the pass was measured, or given up."""
        return key in self._done

    def next_run(self, phase: str, series: Series) -> int:
        """The first run of this phase, workload and chunk size without a record."""
        runs = (k.run for k in self._done if (k.phase, k.series) == (phase, series))
        return max(runs, default=-1) + 1

    @property
    def next_position(self) -> int:
        """The next pass's place in measuring order."""
        # Passes of workloads that are not measured any more keep their places in the journal.
        earlier = (p.calls[-1].position for p in self.earlier.passes)
        return max([*earlier, *(r.position for r in self.records[-1:])], default=-1) + 1

    @property
    def next_session(self) -> int:
        """The number of the next server session: above that of any session with calls."""
        earlier = (p.calls[-1].session for p in self.earlier.passes)
        return max([*earlier, *(r.session for r in self.records)], default=-1) + 1

    @property
    def passes(self) -> int:
        """Finished passes, all of them saved."""
        return len({record.position for record in self.records if record.start_ns is not None})

    @property
    def sessions(self) -> int:
        """Server sessions to which a pass was sent."""
        return len({record.session for record in self.records if record.start_ns is not None})

    def fallbacks(self, workload: str) -> int | None:
        """Requests of all passes of a workload that fell back; ``None`` where no pass tells."""
        mine = (r for r in self.records if r.workload == workload)
        told = {r.position: r.fallbacks for r in mine if r.fallbacks is not None}
        return sum(told.values()) if told else None

    @property
    def faults(self) -> FaultCounts:
        """The counts of earlier processes, without those of workloads that have changed since."""
        passes = self.earlier.passes
        last = {p.calls[0].workload: p.workload_sha256 for p in passes}
        same = {name for name, digest in last.items() if self._workloads.get(name) == digest}
        return of_workloads(passes[-1].faults, same) if passes else FaultCounts()

    @property
    def foreign_cpu(self) -> float | None:
        """Share of the machine's CPU time that other work took while passes were timed."""
        return sum((p.load for p in self.earlier.last), self.load.total).share

    @property
    def elapsed_s(self) -> float:
        """Seconds of all processes; of earlier ones, up to their last finished pass."""
        return sum(p.elapsed_s for p in self.earlier.last) + time.monotonic() - self._began

    def seconds(self, what: str) -> float:
        """Seconds all processes spent on ``what``."""
        return sum(p.seconds.get(what, 0.0) for p in self.earlier.last) + self._seconds[what]

    @contextlib.contextmanager
    def timing(self, what: str) -> Iterator[None]:
        """Count a block's seconds as spent on ``what``."""
        start = time.monotonic()
        try:
            yield
        finally:
            self._seconds[what] += time.monotonic() - start
