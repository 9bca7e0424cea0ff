"""A measurement of a real server as a process of its own, and everything that belongs to it."""

from __future__ import annotations

import fcntl
import os
import subprocess
import sys
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil
from contracts import WORKLOAD
from journals import finished_passes
from patience import wait_for
from pipelines import Pipeline

from stages.documents.matrix import Matrix, read_matrix
from stages.machine.lock import LOCK_NAME
from stages.measure.record.journal import PassFinished
from stages.measure.servers.launched import is_listening

type PassName = tuple[str, str, int, int]
"""Workload, phase, chunk size and run."""


# A measurement that waits where a test wants it, at any speed of either. It waits before a
# session's second sweep pass while the file `hold-SESSION` exists, and before its fourth probe
# while `hold-probes` exists. The timeout of a call is 8 s once `broken-SESSION` exists, because the
# server is broken then, and 600 s before, because a busy machine may be slow. Processes that the
# kernel kills meanwhile for lack of memory do not belong to this measurement.
HELD = """
import itertools, sys, time
from pathlib import Path
from stages.measure import probes as probe, session
from stages.measure.servers import health, launched as server
from stages.measure.command import main

files, sent = Path(sys.argv.pop(1)), itertools.count()
one_pass, ask = session.Session._pass, probe.Prober._send
health._HEALTH_TIMEOUT_S = 5.0
server.kernel_oom_kills = lambda: 0

def stop(name):
    while (files / name).exists():
        time.sleep(0.05)

def passes_one(self, key):
    mine = [r for r in self.records if r.session == self.number]
    if key.phase == "sweep" and any(r.phase == "sweep" for r in mine):
        stop(f"hold-{self.number}")
    broken = (files / f"broken-{self.number}").exists()
    self._live.connection._timeout_s = 8.0 if broken else 600.0
    one_pass(self, key)

def asks(self, items):
    if next(sent) >= 3:
        stop("hold-probes")
    return ask(self, items)

session.Session._pass, probe.Prober._send = passes_one, asks
main()
"""


@dataclass
class Family:
    """Every process of a measurement at one moment, and the ports they listened on."""

    processes: list[psutil.Process]
    ports: set[int] = field(default_factory=set)

    @classmethod
    def of(cls, root: psutil.Process) -> Family:
        """The descendants of ``root``, with itself."""
        found = cls([root, *root.children(recursive=True)])
        for process in found.processes:
            try:
                sockets = process.net_connections("tcp")
            except psutil.Error:
                continue
            found.ports |= {s.laddr.port for s in sockets if s.status == psutil.CONN_LISTEN}
        return found

    @property
    def server(self) -> list[psutil.Process]:
        """The server's processes, its main process first: those below the two guards."""
        return [p for p in self.processes[1:] if _serves(p)]

    def named(self, name: str) -> psutil.Process:
        """The one server process of that name."""
        (found,) = [p for p in self.server if p.name() == name]
        return found

    def left(self) -> list[psutil.Process]:
        """Those that are still alive."""
        return [p for p in self.processes if _lives(p)]


def _serves(process: psutil.Process) -> bool:
    """Whether it runs and is not a guard."""
    try:
        return "stages.measure.servers.guard" not in process.cmdline()
    except psutil.NoSuchProcess:
        return False


def _lives(process: psutil.Process) -> bool:
    """Whether it runs. It may end between any two calls."""
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


@dataclass
class Measuring:
    """Measurements of one matrix in a pipeline's folder, with a cache of their own."""

    pipeline: Pipeline
    cache: Path
    title: str = "jax-portable"

    @property
    def output(self) -> Path:
        """Where the matrix goes."""
        folder: Path = self.pipeline.folder / "data" / "measure" / self.title
        return folder

    @property
    def matrix(self) -> Matrix:
        """The matrix that was written."""
        return read_matrix(self.output / "matrix.parquet")

    def start(self, *command: str) -> subprocess.Popen[str]:
        """Start ``command``, or the measurement itself."""
        measure = [sys.executable, "-m", "stages.measure", *self.title.split("-", 1)]
        return subprocess.Popen(
            command or measure,
            cwd=self.pipeline.folder,
            env={**self.pipeline.environ, "SCOREPARITY_CACHE": str(self.cache)},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def start_held(self, files: Path) -> subprocess.Popen[str]:
        """Start a measurement that the files in this folder hold."""
        return self.start(sys.executable, "-c", HELD, str(files), *self.title.split("-", 1))

    def passes(self) -> list[PassFinished]:
        """The finished passes in the journal now."""
        return finished_passes(self.cache)

    def count(self, phase: str, session: int | None = None) -> int:
        """Good passes of a phase in the journal now, of one server session or of all."""
        calls = [p.calls for p in self.passes()]
        return sum(
            c[0].phase == phase and c[-1].status == "ok" and session in (None, c[0].session)
            for c in calls
        )

    def assert_nothing_is_left(self, family: Family) -> None:
        """Check that no process, no listening port and no machine lock is left."""
        wait_for(lambda: not family.left(), f"left behind: {family.left()}")
        wait_for(lambda: not self.pipeline.processes(), "another process was left behind")
        assert not [port for port in family.ports if is_listening(port)]
        lock = os.open(Path(self.pipeline.environ["TMPDIR"]) / LOCK_NAME, os.O_RDWR | os.O_CREAT)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        finally:
            os.close(lock)

    def assert_no_journal(self) -> None:
        """Check that no journal is left: its passes are in the matrix now."""
        assert list((self.cache / "journals").iterdir()) == []


def calls_by_pass(matrix: Matrix) -> dict[PassName, list[dict[str, Any]]]:
    """The calls of every pass but the warm-up."""
    found: dict[PassName, list[dict[str, Any]]] = {}
    for call in matrix.calls.iter_rows(named=True):
        if call["phase"] != "warmup":
            name = (call["workload"], call["phase"], call["chunk_size"], call["run"])
            found.setdefault(name, []).append(call)
    return found


def assert_every_planned_pass_once(
    matrix: Matrix,
    chunks: list[int] | Mapping[str, list[int]],
    sweep: int,
    confirm: int,
) -> None:
    """Check that each planned pass is there once, its calls in order, and complete if it was ok.

    Args:
        matrix: of one workload or several.
        chunks: the chunk sizes of each workload; a list is of the one workload.
        sweep: passes of each of them.
        confirm: passes of those that were measured again.
    """
    measured = matrix.provenance.workloads
    by_name = chunks if isinstance(chunks, Mapping) else {WORKLOAD: chunks}
    assert measured.keys() == by_name.keys()
    planned: set[PassName] = set()
    for name, sizes in by_name.items():
        confirmed = measured[name].confirm_chunk_sizes
        planned |= {(name, "sweep", chunk, run) for chunk in sizes for run in range(sweep)}
        planned |= {(name, "confirm", chunk, run) for chunk in confirmed for run in range(confirm)}
    found = calls_by_pass(matrix)
    assert found.keys() == planned
    for (name, _, chunk, _), calls in found.items():
        assert [c["call"] for c in calls] == list(range(len(calls)))
        assert {c["status"] for c in calls[:-1]} <= {"ok"}
        assert calls[-1]["status"] != "ok" or len(calls) == -(-measured[name].items // chunk)
        assert len({c["position"] for c in calls}) == 1
    starts = [s for s in matrix.calls["start_ns"].to_list() if s is not None]
    assert starts == sorted(starts)
    # Including warm-up passes, each place in measuring order belongs to one pass.
    names = matrix.calls.select("position", "workload", "phase", "chunk_size", "run").unique()
    assert max(Counter(names["position"].to_list()).values()) == 1
