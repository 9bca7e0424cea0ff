"""Run a server so that none of its processes outlives the measurement.

Started as ``python -m stages.measure.servers.guard COMMAND...`` in a session of its own. It is two
processes. The inner one starts the server, adopts every process that the server orphans, and ends
them all when it receives ``stop`` or when the harness dies. Its standard input is a pipe from the
harness, and a pipe closes even on SIGKILL. The outer one waits for the inner one. Each cleans up if
the other is killed.

Protocol on standard input: a line ``stop`` ends the server gently (SIGINT, then SIGKILL
after a grace period). End of file without it means that the harness is gone, and ends the server
at once. The exit code is the server's. Only the standard library is imported, for a quick start.
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
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

GRACE_S = 15.0

# A process that survives this long hangs in the kernel or belongs to another user.
_GIVE_UP_S = 60.0
_POLL_S = 0.05
_KILL_POLL_S = 0.005
_PR_SET_PDEATHSIG = 1
_PR_SET_CHILD_SUBREAPER = 36

_LIBC = ctypes.CDLL(None)


@dataclass(frozen=True, slots=True)
class Process:
    """A live process: its id, its parent's and its process group."""

    pid: int
    parent: int
    group: int


def adopt_orphans() -> None:
    """Become the parent of every orphaned descendant, so that they can be found (Linux)."""
    with contextlib.suppress(OSError, AttributeError):
        _LIBC.prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def processes() -> Iterator[Process]:
    """Yield every live process without zombies, the newest first."""
    pids = [int(name) for name in os.listdir("/proc") if name.isdigit()]  # noqa: PTH208
    for pid in sorted(pids, reverse=True):
        with contextlib.suppress(OSError, ValueError, IndexError):
            # The command name may hold spaces and brackets; the fields follow the last one.
            fields = Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()
            if fields[0] != b"Z":
                yield Process(pid, int(fields[1]), int(fields[2]))


def descendants(root: int) -> list[Process]:
    """Processes below ``root``."""
    children: dict[int, list[Process]] = {}
    for process in processes():
        children.setdefault(process.parent, []).append(process)
    below: list[Process] = []
    pending = [root]
    while pending:
        below += children.get(pending[-1], [])
        pending += [child.pid for child in children.pop(pending.pop(), [])]
    return below


def end_descendants() -> None:
    """Kill and reap descendants until no child is left.

    Whole process groups are killed, so a member cannot escape by forking. A process that leaves
    its group at every fork is killed as soon as it is seen: orphans become our children, so no
    tree has to be walked first.
    """
    own = os.getpid()
    give_up = time.monotonic() + _GIVE_UP_S
    while _has_children() and time.monotonic() < give_up:
        for process in processes():
            if process.parent == own:
                _kill(process)
        for process in descendants(own):
            _kill(process)
        time.sleep(_KILL_POLL_S)


def _kill(process: Process) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        if process.group in (0, os.getpgrp()):
            os.kill(process.pid, signal.SIGKILL)
        else:
            os.killpg(process.group, signal.SIGKILL)


def _has_children() -> bool:
    """Reap dead children, since not every init does, and return whether any child is left."""
    try:
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass
    except ChildProcessError:
        return False
    return True


def main() -> int:
    """Guard one server until it ends, receives ``stop``, or loses the harness."""
    # A Ctrl-C or SIGTERM meant for the harness must not end the guard before the server.
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    adopt_orphans()
    outer = os.getpid()
    inner = os.fork()
    if inner == 0:
        adopt_orphans()
        return _run_server(outer)
    code = os.waitstatus_to_exitcode(os.waitpid(inner, 0)[1])
    end_descendants()
    return code if code >= 0 else 128 - code


def _run_server(outer: int) -> int:
    server = subprocess.Popen(
        sys.argv[1:],
        stdin=subprocess.DEVNULL,
        # In its own session its process groups can be killed without the guard.
        start_new_session=True,
        preexec_fn=_as_the_server,
    )
    while server.poll() is None:
        readable, _, _ = select.select([sys.stdin], [], [], _POLL_S)
        if os.getppid() != outer:
            _end(server, gently=False)
        elif readable:
            _end(server, gently=sys.stdin.readline().strip() == "stop")
    code = server.returncode
    end_descendants()
    return code if code >= 0 else 128 - code


def _end(server: subprocess.Popen[bytes], *, gently: bool) -> None:
    if gently:
        for process in descendants(os.getpid()):
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.kill(process.pid, signal.SIGINT)
                # A stopped process handles the signal only once it continues.
                os.kill(process.pid, signal.SIGCONT)
        with contextlib.suppress(subprocess.TimeoutExpired):
            server.wait(GRACE_S)
    if server.poll() is None:
        server.kill()
        server.wait()


def _as_the_server() -> None:
    # If both guards are killed at once, the kernel ends the server's first process.
    _LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    # Ignored signals are inherited through exec, and the server must handle SIGINT.
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_DFL)


if __name__ == "__main__":
    sys.exit(main())
