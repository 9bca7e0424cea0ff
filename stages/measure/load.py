"""How busy the machine was with other work while passes were timed."""

from __future__ import annotations

import contextlib
import os
import time

import psutil


class ForeignLoad:
    """Measures the CPU time other processes took, from its making to :meth:`share`.

    What this process and its children use is the measurement itself; everything else,
    time stolen by a hypervisor included, slows the measured server down.
    """

    def __init__(self) -> None:
        self._start = time.monotonic()
        self._busy = _busy_seconds()
        self._own = _own_seconds()

    def share(self) -> float:
        """Others' CPU seconds as a share of all the machine's CPU seconds since, 0 to 1."""
        elapsed = (time.monotonic() - self._start) * (os.cpu_count() or 1)
        foreign = (_busy_seconds() - self._busy) - (_own_seconds() - self._own)
        return min(1.0, max(0.0, foreign / elapsed)) if elapsed > 0 else 0.0


def _busy_seconds() -> float:
    times = psutil.cpu_times()
    # Guests' seconds are counted in user's already.
    idle = {"idle", "iowait", "guest", "guest_nice"}
    return float(sum(value for name, value in times._asdict().items() if name not in idle))


def _own_seconds() -> float:
    me = psutil.Process()
    total = 0.0
    for process in (me, *me.children(recursive=True)):
        with contextlib.suppress(psutil.Error):
            times = process.cpu_times()
            total += times.user + times.system
    return total
