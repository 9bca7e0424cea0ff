"""The processes of a server: which of them listens, and whether one is gone.

A server of several processes may lose one and go on in name: sglang-jax whose scheduler is
killed answers ``/health`` and no call.
"""

from __future__ import annotations

from dataclasses import dataclass

import psutil

from stages.common.errors import one_line

_NAME_CHARACTERS = 60


@dataclass(frozen=True, slots=True)
class Member:
    """One process, by the name it had when it was seen."""

    process: psutil.Process
    name: str

    @property
    def lives(self) -> bool:
        """Whether this process, not a later one of the same id, still runs."""
        try:
            return self.process.is_running() and self.process.status() != psutil.STATUS_ZOMBIE
        except psutil.NoSuchProcess:
            return False
        except psutil.Error:
            return True


def family_of(pid: int) -> list[Member]:
    """The live descendants of a process, as far as they can be seen."""
    found = []
    try:
        for process in psutil.Process(pid).children(recursive=True):
            try:
                member = Member(process, one_line(process.name(), _NAME_CHARACTERS))
            except psutil.Error:
                continue
            if member.lives:
                found.append(member)
    except psutil.Error:
        return []
    return found


def main_process(pid: int) -> Member | None:
    """The process that a server began as, by its guard's id; ``None`` if it cannot be seen.

    It is the inner guard's oldest child: what else that one has are orphans it adopted.
    """
    try:
        (inner, *_) = psutil.Process(pid).children()
        oldest = min(inner.children(), key=psutil.Process.create_time)
        return Member(oldest, one_line(oldest.name(), _NAME_CHARACTERS))
    except (psutil.Error, ValueError):
        return None


def family_listens(pid: int, port: int) -> bool:
    """Whether a descendant of a process listens on the port; true where that cannot be seen."""
    try:
        processes = psutil.Process(pid).children(recursive=True)
        return any(_has_socket(process, port) for process in processes)
    except psutil.Error:
        return True


def _has_socket(process: psutil.Process, port: int) -> bool:
    try:
        sockets = process.net_connections("tcp")
    except psutil.NoSuchProcess:
        return False
    return any(s.status == psutil.CONN_LISTEN and s.laddr and s.laddr.port == port for s in sockets)
