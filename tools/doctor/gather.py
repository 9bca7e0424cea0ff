"""Looks up the facts of `facts.py`. It changes nothing."""

from __future__ import annotations

import contextlib
import os
import platform
import shutil
import socket
import tempfile
import urllib.parse
from pathlib import Path

import psutil

from stages.backends.registry import oracle_environment
from stages.common.errors import UserError, one_line
from stages.common.shell import clean_environ
from stages.contract import VIEWS, Backend, Contract, HubModel
from stages.documents.matrix import MATRIX_FILE, MODEL_FILE, folder_of, read_matrix
from stages.environments.build import cache_root
from tools.doctor.devices import find_nvidia, find_tpu
from tools.doctor.facts import Environment, Facts, Place, Room
from tools.doctor.hub import find_hub_model
from tools.doctor.installed import find_environment

_CONNECT_TIMEOUT_S = 5.0
_VARIABLES = ("CUDA_VISIBLE_DEVICES",)


def gather(contract: Contract, backends: tuple[Backend, ...]) -> Facts:
    """Look up the facts about this machine that matter to ``backends``.

    Raises:
        UserError: a file of the project itself cannot be read.
    """
    memory = psutil.virtual_memory()
    environ = clean_environ()
    return Facts(
        rooms=find_rooms(),
        memory_bytes=memory.total,
        free_memory_bytes=memory.available,
        environments=_environments(contract, backends),
        nvidia=find_nvidia(),
        tpu=find_tpu(environ),
        hub=find_hub_model(contract.model) if isinstance(contract.model, HubModel) else None,
        checkpoint_there=MODEL_FILE.exists(),
        servers={url: server_complaint(url) for url in _urls(contract, backends)},
        variables={name: environ[name] for name in _VARIABLES if name in environ},
        elsewhere=_elsewhere(backends),
    )


def _environments(contract: Contract, backends: tuple[Backend, ...]) -> dict[str, Environment]:
    launches = [contract.backends[backend].launch for backend in backends]
    found = {
        one.environment: find_environment(one.environment, one.commit, one.device)
        for one in launches
    }
    oracle = oracle_environment()
    if contract.reference in backends and oracle not in found:
        found[oracle] = find_environment(oracle)
    return dict(sorted(found.items()))


def _urls(contract: Contract, backends: tuple[Backend, ...]) -> list[str]:
    urls = [contract.backends[b].view(view).base_url for b in backends for view in VIEWS]
    return [url for url in urls if url is not None]


def _elsewhere(backends: tuple[Backend, ...]) -> dict[Backend, str]:
    """The backends whose matrices in the work tree were measured on another machine."""
    here = platform.node()
    hosts: dict[Backend, str] = {}
    for backend in backends:
        for view in VIEWS:
            path = folder_of(backend, view) / MATRIX_FILE
            with contextlib.suppress(UserError):
                provenance = read_matrix(path).provenance
                if provenance.unavailable is None and provenance.run.host.name != here:
                    hosts[backend] = provenance.run.host.name
    return hosts


def find_rooms() -> tuple[Room, ...]:
    """The folders that need room."""
    from huggingface_hub.constants import HF_HUB_CACHE

    user_cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    folders: dict[Place, Path] = {
        "cache": cache_root(),
        "installer": Path(os.environ.get("UV_CACHE_DIR") or user_cache / "uv"),
        "work": Path.cwd(),
        "hub": Path(HF_HUB_CACHE),
        "temporary": Path(tempfile.gettempdir()),
    }
    return tuple(room_of(place, folder) for place, folder in folders.items())


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


def server_complaint(url: str) -> str | None:
    """Why ``url`` accepts no connection; ``None`` where it does. Sends nothing."""
    parts = urllib.parse.urlsplit(url)
    port = parts.port or (443 if parts.scheme == "https" else 80)
    try:
        socket.create_connection((parts.hostname or "", port), timeout=_CONNECT_TIMEOUT_S).close()
    except (OSError, UnicodeError) as error:
        return one_line(getattr(error, "strerror", None) or str(error)) or type(error).__name__
    return None
