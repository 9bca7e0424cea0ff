"""Run a server so that none of its processes outlives the measurement.

Started as ``python -m stages.measure.guard COMMAND...`` in a process group of its own.
It starts the server, adopts every process the server leaves behind, and ends them all
when it is told to stop or when the harness dies: its standard input is a pipe the
harness holds, and a pipe closes even on SIGKILL.

Protocol on standard input: a line ``stop`` ends the server gently (SIGINT, then SIGKILL
after a grace period); end of file without it means the harness is gone, and ends it at
once. The exit code is the server's. Standard library only: it must start in an instant.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import select
import signal
import subprocess
import sys
import time
from pathlib import Path

GRACE_S = 15.0
_POLL_S = 0.05
_PR_SET_CHILD_SUBREAPER = 36


def adopt_orphans() -> None:
    """Become the parent of every orphaned descendant, so that they can be found (Linux)."""
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def descendants(root: int) -> set[int]:
    """Process ids below ``root``, zombies left out."""
    children: dict[int, list[int]] = {}
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        with contextlib.suppress(OSError, ValueError, IndexError):
            # The command name may hold spaces and brackets; the fields follow the last one.
            fields = (entry / "stat").read_text().rpartition(")")[2].split()
            if fields[0] != "Z":
                children.setdefault(int(fields[1]), []).append(int(entry.name))
    found: set[int] = set()
    pending = [root]
    while pending:
        for child in children.get(pending.pop(), []):
            if child not in found:
                found.add(child)
                pending.append(child)
    return found


def _signal_all(number: signal.Signals) -> None:
    for process in descendants(os.getpid()):
        with contextlib.suppress(ProcessLookupError):
            os.kill(process, number)


def _wait_until_gone(seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while descendants(os.getpid()) and time.monotonic() < deadline:
        time.sleep(_POLL_S)


def _kill_what_is_left() -> None:
    while descendants(os.getpid()):
        _signal_all(signal.SIGKILL)
        _wait_until_gone(1.0)
    # Adopted processes are ours to bury: not every init does it.
    with contextlib.suppress(ChildProcessError):
        while True:
            os.waitpid(-1, 0)


def main() -> int:
    """Guard one server until it ends, is told to stop, or the harness is gone."""
    # A Ctrl-C or SIGTERM meant for the harness must not end the guard before the server.
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    adopt_orphans()
    server = subprocess.Popen(sys.argv[1:], stdin=subprocess.DEVNULL, preexec_fn=_default_signals)
    while server.poll() is None:
        readable, _, _ = select.select([sys.stdin], [], [], _POLL_S)
        if readable:
            told_to_stop = sys.stdin.readline().strip() == "stop"
            _end(server, gently=told_to_stop)
    code = server.returncode
    _kill_what_is_left()
    return code if code >= 0 else 128 - code


def _end(server: subprocess.Popen[bytes], *, gently: bool) -> None:
    if gently:
        _signal_all(signal.SIGINT)
        with contextlib.suppress(subprocess.TimeoutExpired):
            server.wait(GRACE_S)
    if server.poll() is None:
        server.kill()
        server.wait()


def _default_signals() -> None:
    # Ignored signals are inherited through exec, and the server must hear SIGINT.
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_DFL)


if __name__ == "__main__":
    sys.exit(main())
