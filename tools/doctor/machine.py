"""Facts about the whole machine: room, memory, loopback, and other servers."""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import tempfile
import urllib.parse
from collections.abc import Mapping
from pathlib import Path

import psutil

from stages.backends.registry import environment_names
from stages.common.errors import one_line
from stages.common.git import GitError, git
from stages.environments.build import cache_root
from tools.doctor.facts import Place, Process, Room

_TIMEOUT_S = 120.0
_CONNECT_TIMEOUT_S = 5.0


def find_rooms(environ: Mapping[str, str]) -> tuple[Room, ...]:
    """The folders that need room."""
    user_cache = Path(environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    folders: dict[Place, Path] = {
        "cache": cache_root(),
        "installer": Path(environ.get("UV_CACHE_DIR") or user_cache / "uv"),
        "work": Path.cwd(),
        "hub": _hub_cache(),
        "temporary": Path(tempfile.gettempdir()),
    }
    return tuple(room_of(place, folder) for place, folder in folders.items())


def _hub_cache() -> Path:
    from huggingface_hub.constants import HF_HUB_CACHE

    return Path(HF_HUB_CACHE)


def room_of(place: Place, folder: Path) -> Room:
    """The free room at ``folder``, whether or not it exists yet."""
    there = next(path for path in (folder, *folder.absolute().parents) if path.exists())
    return Room(
        place=place,
        path=str(folder),
        device=there.stat().st_dev,
        free_bytes=shutil.disk_usage(there).free,
        writable=there.is_dir() and os.access(there, os.W_OK | os.X_OK),
    )


def loopback_complaint() -> str | None:
    """Why no server can listen and be reached on 127.0.0.1; ``None`` where one can."""
    try:
        with socket.create_server(("127.0.0.1", 0)) as server:
            server.settimeout(_TIMEOUT_S)
            with socket.create_connection(server.getsockname(), timeout=_TIMEOUT_S):
                server.accept()[0].close()
    except OSError as error:
        return one_line(error.strerror or str(error))
    return None


def server_complaint(url: str) -> str | None:
    """Why ``url`` accepts no connection; ``None`` where it does. Sends nothing."""
    parts = urllib.parse.urlsplit(url)
    port = parts.port or (443 if parts.scheme == "https" else 80)
    try:
        socket.create_connection((parts.hostname or "", port), timeout=_CONNECT_TIMEOUT_S).close()
    except (OSError, UnicodeError) as error:
        return one_line(getattr(error, "strerror", None) or str(error)) or type(error).__name__
    return None


def find_left_over() -> tuple[Process, ...]:
    """Servers that run in one of the backends' environments."""
    folder = cache_root() / "environments"
    servers = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error, OSError):
            command = process.cmdline()
            if "--port" in command[1:] and Path(command[0]).is_relative_to(folder):
                name = Path(command[0]).relative_to(folder).parts[0]
                servers.append(Process(process.pid, _environment(name)))
    return tuple(servers)


def _environment(folder: str) -> str:
    name = folder.rpartition("-")[0]
    return name if name in environment_names() else one_line(folder, 60)


def memory() -> tuple[int, int]:
    """Bytes of memory: in total, and what a new process could get."""
    virtual = psutil.virtual_memory()
    return virtual.total, virtual.available


def cpus() -> int:
    """The CPUs this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def git_version() -> str | None:
    """The version of git; ``None`` where there is none."""
    with contextlib.suppress(GitError):
        return one_line(git("--version")).removeprefix("git version ")
    return None
