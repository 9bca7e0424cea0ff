"""The processes of a server: which of them listens, and whether one is gone.

A server of several processes may lose one and still look alive. When the scheduler of sglang-jax
is killed, the server answers ``/health`` and no call.
"""

from __future__ import annotations

from dataclasses import dataclass

import psutil

from stages.common.errors import one_line

_NAME_CHARACTERS = 60


@dataclass(frozen=True, slots=True)
class Member:
    """One process, with its name at the time."""

    process: psutil.Process
    name: str

    @property
    def lives(self) -> bool:
        """Whether this process still runs, not a later one with the same id."""
        try:
            return self.process.is_running() and self.process.status() != psutil.STATUS_ZOMBIE
        except psutil.NoSuchProcess:
            return False
        except psutil.Error:
            return True


def family_of(pid: int) -> list[Member]:
    """The live descendants of a process, as far as they are visible."""
    members = []
    try:
        for process in psutil.Process(pid).children(recursive=True):
            try:
                member = Member(process, one_line(process.name(), _NAME_CHARACTERS))
            except psutil.Error:
                continue
            if member.lives:
                members.append(member)
    except psutil.Error:
        return []
    return members


def main_process(pid: int) -> Member | None:
    """The first process of a server, by its guard's id; ``None`` where it is not visible.

    It is the inner guard's oldest child. The other children are orphans that the guard adopted.
    """
    try:
        (inner, *_) = psutil.Process(pid).children()
        oldest = min(inner.children(), key=psutil.Process.create_time)
        return Member(oldest, one_line(oldest.name(), _NAME_CHARACTERS))
    except (psutil.Error, ValueError):
        return None


def family_listens(pid: int, port: int) -> bool:
    """Whether a descendant of a process listens on the port; true where that is not visible."""
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
