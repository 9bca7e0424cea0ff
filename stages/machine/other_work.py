"""Measures the machine's other work while passes are timed."""

from __future__ import annotations

import contextlib
import os
import time

import psutil

from stages.documents.tables import Record


class LoadAccount(Record):
    """CPU seconds of other processes, and all CPU seconds of the machine."""

    foreign_s: float = 0.0
    all_s: float = 0.0

    def __add__(self, other: LoadAccount) -> LoadAccount:
        return LoadAccount(
            foreign_s=self.foreign_s + other.foreign_s, all_s=self.all_s + other.all_s
        )

    @property
    def share(self) -> float | None:
        """The share of other processes, 0 to 1; ``None`` where nothing was timed."""
        return min(1.0, self.foreign_s / self.all_s) if self.all_s > 0 else None


class ForeignLoad:
    """Measures the CPU time of other processes, from its creation to :meth:`account`.

    This process and its children are the measurement. Everything else slows the measured server
    down, including time that a hypervisor steals.
    """

    def __init__(self) -> None:
        self._start = time.monotonic()
        self._busy = _busy_seconds()
        self._own = _own_seconds()

    def account(self) -> LoadAccount:
        """The account so far. The processes of its creation must still be alive."""
        elapsed = (time.monotonic() - self._start) * (os.cpu_count() or 1)
        foreign = (_busy_seconds() - self._busy) - (_own_seconds() - self._own)
        return LoadAccount(foreign_s=max(0.0, foreign), all_s=elapsed)


class LoadLog:
    """The load over several server sessions.

    The CPU time of a server is no longer visible after its end. So each session has its own
    account, up to the last timed pass that the server survived.
    """

    def __init__(self) -> None:
        self._earlier = LoadAccount()
        self._session = LoadAccount()
        self._load: ForeignLoad | None = None

    def new_server(self) -> None:
        """A server is up: its session begins."""
        self._earlier = self.total
        self._session = LoadAccount()
        self._load = ForeignLoad()

    def sample(self) -> None:
        """A timed pass was finished, and its server is alive."""
        if self._load is not None:
            self._session = self._load.account()

    @property
    def total(self) -> LoadAccount:
        """All sessions together."""
        return self._earlier + self._session


def _busy_seconds() -> float:
    times = psutil.cpu_times()
    # The seconds of guests are already part of user's.
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
