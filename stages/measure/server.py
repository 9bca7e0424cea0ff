"""One server's life: a free port, its own process group, its log, healthy, gone.

Healthy means that a scored probe request came back well-formed. However the
measurement ends, the guard ends every process of the server.
"""

from __future__ import annotations

import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Self

from stages.environment import clean_environ
from stages.errors import UserError

_STOP_TIMEOUT_S = 30.0
_POLL_S = 0.2


class ServerDiedError(Exception):
    """The server ended while it was needed; ``detail`` says how, in one line."""

    def __init__(self, detail: str) -> None:
        super().__init__(detail)
        self.detail = detail


def free_port() -> int:
    """A loopback port nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def is_listening(port: int) -> bool:
    """Whether anybody accepts connections on the loopback port."""
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

    @property
    def url(self) -> str:
        """Where it answers."""
        return f"http://127.0.0.1:{self.port}"

    def __enter__(self) -> Self:
        self.log.parent.mkdir(parents=True, exist_ok=True)
        with self.log.open("ab") as log:
            self._read_to = log.tell()
            self._guard = subprocess.Popen(
                [sys.executable, "-B", "-m", "stages.measure.guard", *self.argv],
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
        # Who interrupts a measurement does not wait for the server's own farewell.
        self.stop(gently=kind is None or issubclass(kind, Exception))

    def stop(self, *, gently: bool = True) -> None:
        """End every process of the server and make sure that it is gone.

        Args:
            gently: let the server end by itself first, within the guard's grace period.

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
        if is_listening(self.port):
            raise UserError(f"port {self.port} is still in use after its server was stopped")

    def death(self) -> str | None:
        """How the server ended, or ``None`` while it runs."""
        if self._guard is None:
            return "it was stopped"
        code = self._guard.poll()
        if code is None:
            return None
        return f"killed by signal {code - 128}" if code > 128 else f"ended with exit code {code}"

    def died_within(self, seconds: float) -> str | None:
        """Like :meth:`death`, but gives a server that is about to end ``seconds`` to do so."""
        deadline = time.monotonic() + seconds
        while (death := self.death()) is None and time.monotonic() < deadline:
            time.sleep(_POLL_S)
        return death

    def wait_until_healthy(self, probe: Callable[[], str | None], timeout_s: float) -> float:
        """Wait until ``probe`` is content; return the seconds it took.

        Args:
            probe: sends a scored request; ``None`` when the answer is well-formed, else why
                it is not.
            timeout_s: how long a start may take.

        Raises:
            ServerDiedError: the server ended, or was not healthy in time.
        """
        start = time.monotonic()
        complaint: str | None = "no answer"
        while (elapsed := time.monotonic() - start) < timeout_s:
            if (death := self.death()) is not None:
                raise ServerDiedError(f"{death} while starting")
            if is_listening(self.port):
                complaint = probe()
                if complaint is None:
                    return time.monotonic() - start
            time.sleep(_POLL_S)
        raise ServerDiedError(f"not healthy after {elapsed:.0f} s: {complaint}")

    def new_log(self) -> str:
        """What the server logged since the last call."""
        with self.log.open("rb") as log:
            log.seek(self._read_to)
            data = log.read()
        self._read_to += len(data)
        return data.decode("utf-8", errors="replace")


def last_useful_lines(log: Path, count: int = 5) -> list[str]:
    """The last lines of a log that say what went wrong: errors first, else the last lines."""
    try:
        lines = log.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return []
    lines = [line.rstrip() for line in lines if line.strip()]
    telling = [line for line in lines if "error" in line.lower() and not line.startswith(" ")]
    return (telling or lines)[-count:]


def server_environment(extra: dict[str, str], caches: dict[str, Path]) -> dict[str, str]:
    """The server's environment: this one, without traces of the harness's Python.

    Args:
        extra: variables of the contract; a relative ``PYTHONPATH`` is made absolute.
        caches: variables that name cache folders.
    """
    environ = clean_environ()
    # Byte code makes the second start of the PyTorch server take half as long.
    environ |= {name: str(folder) for name, folder in caches.items()}
    environ |= extra
    if "PYTHONPATH" in extra:
        environ["PYTHONPATH"] = str(Path(extra["PYTHONPATH"]).absolute())
    return environ
