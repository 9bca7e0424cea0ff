"""A server launched here: its port, its processes, its log, and its health.

A server is healthy when it answers a scoring request with well-formed scores. However the
measurement ends, the guard ends every process of the server.
"""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Self

from stages.common.errors import ContractError, UserError
from stages.common.files import append_to
from stages.common.shell import clean_environ
from stages.measure.http.client import ScoreConnection
from stages.measure.out_of_memory import looks_out_of_memory
from stages.measure.servers.complaints import complaints
from stages.measure.servers.family import Member, family_listens, family_of, main_process
from stages.measure.servers.under_test import ServerDiedError
from stages.plan.plan import Plan

# Limits on a hang. Each is longer than the guard takes on the busiest machine.
_STOP_TIMEOUT_S = 120.0
_FREE_TIMEOUT_S = 120.0
_GUARD_REPORT_S = 120.0
_POLL_S = 0.2

# A log may grow without bound, so only its end is read.
_LOG_TAIL_BYTES = 256 << 10
_NEW_LOG_BYTES = 32 << 20


class PortTakenError(ServerDiedError):
    """Another process listens on the server's port; a new server has another port."""


def free_port() -> int:
    """A loopback port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def is_listening(port: int) -> bool:
    """Whether a process accepts connections on the loopback port."""
    with socket.socket() as probe:
        probe.settimeout(1.0)
        return probe.connect_ex(("127.0.0.1", port)) == 0


class Server:
    """A running server; a context manager that leaves no process behind.

    Args:
        command: program and arguments, without host and port.
        environ: the server's whole environment.
        log: its standard output and error are appended to this file.
    """

    def __init__(self, command: list[str], environ: dict[str, str], log: Path) -> None:
        self.port = free_port()
        self.argv = [*command, "--host", "127.0.0.1", "--port", str(self.port)]
        self.log = log
        self._environ = environ
        self._guard: subprocess.Popen[bytes] | None = None
        self._read_to = 0
        self._began_at = 0
        self._kills_before: int | None = None
        self._port_taken = False
        self._family: list[Member] = []
        self._main: Member | None = None

    @property
    def url(self) -> str:
        """Where it answers."""
        return f"http://127.0.0.1:{self.port}"

    def connect(self, timeout_s: float) -> ScoreConnection:
        """A connection to it that has not been opened yet."""
        return ScoreConnection(self.url, timeout_s)

    def check_unchanged(self, connection: ScoreConnection) -> None:
        """Nothing to check: start-up already proved that the port is ours."""

    def not_healthy(self, detail: str) -> str:
        """The sentence on a server that did not become healthy, because of ``detail``."""
        lines = " | ".join(last_useful_lines(self.log))
        return f"the server did not start: {detail}; {self.log} ends: {lines}"

    def __enter__(self) -> Self:
        """Start it.

        Raises:
            UserError: its log cannot be written.
        """
        self._kills_before = kernel_oom_kills()
        with append_to(self.log) as log:
            self._read_to = self._began_at = log.tell()
            self._guard = subprocess.Popen(
                [sys.executable, "-B", "-m", "stages.measure.servers.guard", *self.argv],
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=subprocess.STDOUT,
                env=self._environ,
                start_new_session=True,
            )
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        # An interrupted measurement does not wait for the server's own shutdown.
        self.stop(gently=kind is None or issubclass(kind, Exception))

    def stop(self, *, gently: bool = True) -> None:
        """End every process of the server and make sure that it is gone.

        Args:
            gently: first give the server the guard's grace period to end by itself.

        Raises:
            UserError: something still listens on its port.
        """
        guard, self._guard = self._guard, None
        if guard is None:
            return
        assert guard.stdin is not None  # noqa: S101  opened with PIPE
        try:
            if gently:
                guard.stdin.write(b"stop\n")
            guard.stdin.close()
        except BrokenPipeError:
            pass  # the server ended on its own, and its guard with it
        try:
            guard.wait(_STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            guard.kill()
            guard.wait()
        # If a guard was killed, the other one cleans up, which takes a moment.
        patience = _FREE_TIMEOUT_S if guard.returncode < 0 else 0.0
        if not self._port_taken and not self._is_free_within(patience):
            raise UserError(f"port {self.port} is still in use after its server was stopped")

    def _is_free_within(self, seconds: float) -> bool:
        deadline = time.monotonic() + seconds
        while is_listening(self.port):
            if time.monotonic() > deadline:
                return False
            time.sleep(_POLL_S)
        return True

    def death(self) -> str | None:
        """How the server ended, or ``None`` while it runs."""
        if self._guard is None:
            return "it was stopped"
        code = self._guard.poll()
        if code is None:
            return None
        # The guard's code is 128 + n for signal n, or negative if the guard itself was killed.
        number = -code if code < 0 else code - 128
        if number <= 0:
            return f"ended with exit code {code}"
        if number == signal.SIGKILL and self._kernel_killed():
            return f"killed by signal {number}, probably out of memory"
        return f"killed by signal {number}"

    def loss(self) -> str | None:
        """Which process it has lost since it was healthy, or ``None`` if none."""
        lost = next((member.name for member in self._family if not member.lives), None)
        if lost is None:
            return None
        cause = ", probably out of memory" if self._kernel_killed() else ""
        return f"lost its process {lost}{cause}"

    def _kernel_killed(self) -> bool:
        before, now = self._kills_before, kernel_oom_kills()
        return before is not None and now is not None and now > before

    def died_out_of_memory(self) -> bool:
        """Whether it ended, or lost a process, because memory ran out, by the kernel or its log."""
        end = self.death() or self.loss()
        if end is None:
            return False
        return "out of memory" in end or looks_out_of_memory(_tail(self.log, self._began_at))

    def died_within(self, seconds: float) -> str | None:
        """Like :meth:`death`, but gives a server that is about to end ``seconds`` to do so.

        A server without its main process has ended already. Its guard then reports how, which takes
        long where every processor is busy.
        """
        deadline = time.monotonic() + seconds
        while (death := self.death()) is None:
            gone = self._main is not None and not self._main.lives
            if time.monotonic() >= deadline + (_GUARD_REPORT_S if gone else 0.0):
                break
            time.sleep(_POLL_S)
        return death

    def wait_until_healthy(self, probe: Callable[[], str | None], timeout_s: float) -> float:
        """Wait until ``probe`` succeeds; return the seconds it took.

        Args:
            probe: sends a scored request; ``None`` when the answer is well-formed, else why
                it is not.
            timeout_s: how long a start may take.

        Raises:
            PortTakenError: another process listens on its port.
            ServerDiedError: the server ended, or was not healthy in time.
        """
        start = time.monotonic()
        complaint: str | None = "no answer"
        strange = 0
        while (elapsed := time.monotonic() - start) < timeout_s:
            if (death := self.death()) is not None:
                raise self._end_at_start(death)
            if is_listening(self.port):
                # Two checks, because the server may hand its socket from process to process.
                assert self._guard is not None  # noqa: S101  asked while it runs
                strange = 0 if family_listens(self._guard.pid, self.port) else strange + 1
                if strange > 1:
                    raise self._end_at_start("not needed any more")
                complaint = "another process has its port" if strange else probe()
                if complaint is None:
                    self._family = family_of(self._guard.pid)
                    self._main = main_process(self._guard.pid)
                    return time.monotonic() - start
            time.sleep(_POLL_S)
        raise ServerDiedError(f"not healthy after {elapsed:.0f} s: {complaint}")

    def _end_at_start(self, how: str) -> ServerDiedError:
        # A guard ends after all processes of its server. So whoever listens now is another server
        # and must not be measured.
        self._port_taken = is_listening(self.port)
        if self._port_taken:
            return PortTakenError(f"port {self.port} was taken by another process ({how})")
        return ServerDiedError(f"{how} while starting")

    def new_log(self) -> str:
        """What the server logged since the last call; only the end of a very long text."""
        try:
            with self.log.open("rb") as log:
                end = log.seek(0, os.SEEK_END)
                log.seek(max(self._read_to, end - _NEW_LOG_BYTES))
                data = log.read(_NEW_LOG_BYTES)
                self._read_to = log.tell()
        except OSError:
            return ""
        return data.decode("utf-8", errors="replace")


def last_useful_lines(log: Path, count: int = 5) -> list[str]:
    """The last errors of a log, each cleaned and short; its last lines where it has no error."""
    return complaints(_tail(log), count)


def _tail(log: Path, start: int = 0) -> str:
    """The end of a log, from byte ``start`` on; empty if it cannot be read."""
    try:
        with log.open("rb") as file:
            end = file.seek(0, os.SEEK_END)
            file.seek(max(start, end - _LOG_TAIL_BYTES))
            return file.read(_LOG_TAIL_BYTES).decode("utf-8", errors="replace")
    except OSError:
        return ""


def kernel_oom_kills(vmstat: Path = Path("/proc/vmstat")) -> int | None:
    """Processes the kernel has killed for lack of memory, in any container; ``None`` if unknown."""
    try:
        match = re.search(r"^oom_kill (\d+)$", vmstat.read_text("utf-8"), re.MULTILINE)
    except OSError:
        return None
    return None if match is None else int(match[1])


def launch_variables(plan: Plan) -> dict[str, str]:
    """The contract's variables, and those that make the server report its compilations.

    Raises:
        ContractError: the contract sets one of the latter to something else. Its server might
            compile in a timed pass without a report.
    """
    given = plan.contract.launch.environ
    for name, value in plan.driver.compile_environ.items():
        if given.get(name, value) != value:
            key = f"backends.{plan.backend}.launch.environ.{name}"
            allowed = f"'{value}' or no such key: by it the server reports its compilations"
            raise ContractError(key, given[name], allowed)
    return {**plan.driver.compile_environ, **given}


def server_environment(extra: Mapping[str, str], caches: dict[str, Path]) -> dict[str, str]:
    """The server's environment: the variables it may inherit, its caches, and those of its launch.

    Args:
        extra: variables of its launch; a relative ``PYTHONPATH`` is made absolute.
        caches: variables that name cache folders.
    """
    environ = clean_environ()
    # Cached byte code halves the second start of the PyTorch server.
    environ |= {name: str(folder) for name, folder in caches.items()}
    environ |= extra
    if "PYTHONPATH" in extra:
        environ["PYTHONPATH"] = str(Path(extra["PYTHONPATH"]).absolute())
    return environ
