"""Gathers all facts. It reads disk, devices and processes, asks the hub, and changes nothing."""

from __future__ import annotations

import contextlib
import importlib.metadata
import os
import platform
from pathlib import Path

from stages.backends.registry import oracle_environment
from stages.common.errors import UserError
from stages.common.git import HangingError, code_version
from stages.common.shell import clean_environ, server_variables
from stages.contract import VIEWS, Backend, Contract, HubModel
from stages.documents.matrix import MATRIX_FILE, MODEL_FILE, folder_of, read_matrix
from stages.machine.lock import who_measures
from tools.doctor.devices import ROOT, find_nvidia, find_tpu
from tools.doctor.facts import Environment, Facts
from tools.doctor.hub import find_hub_model
from tools.doctor.installed import find_environment, harness_differences
from tools.doctor.machine import (
    cpus,
    find_left_over,
    find_rooms,
    git_version,
    loopback_complaint,
    memory,
    server_complaint,
)

_PYTHON_FILE = Path(".python-version")
_VARIABLES = ("CUDA_VISIBLE_DEVICES",)


def gather(contract: Contract, backends: tuple[Backend, ...], root: Path = ROOT) -> Facts:
    """Gather the facts for the contract.

    Args:
        contract: in force.
        backends: that are asked about.
        root: of the devices' file system.

    Raises:
        UserError: a file of the project itself cannot be read.
    """
    total, free = memory()
    measuring, lock_complaint = _lock()
    environ = clean_environ()
    version = code_version()
    hub = find_hub_model(contract.model) if isinstance(contract.model, HubModel) else None
    return Facts(
        python=platform.python_version(),
        wanted_python=_wanted_python(),
        system=platform.system(),
        machine=platform.machine(),
        harness=harness_differences(),
        # Do not wait a second time for a git that hangs.
        git=None if isinstance(version.unknown, HangingError) else git_version(),
        repository=version.repository,
        unnamed=version.unknown,
        dvc=_dvc_version(),
        cpus=cpus(),
        load=os.getloadavg()[0],
        memory_bytes=total,
        free_memory_bytes=free,
        rooms=find_rooms(os.environ),
        loopback=loopback_complaint(),
        measuring=measuring,
        lock_complaint=lock_complaint,
        waits=bool(os.environ.get("SCOREPARITY_WAIT")),
        left_over=find_left_over(),
        environments=_environments(contract, backends),
        oracle=oracle_environment(),
        nvidia=find_nvidia(root),
        tpu=find_tpu(environ, root),
        hub=hub,
        checkpoint_there=MODEL_FILE.exists(),
        servers={url: server_complaint(url) for url in _urls(contract, backends)},
        variables={name: environ[name] for name in _VARIABLES if name in environ},
        left_out=_left_out(contract, backends),
        elsewhere=_elsewhere(backends),
    )


def _wanted_python() -> str:
    try:
        return _PYTHON_FILE.read_text("utf-8").strip()
    except OSError as error:
        raise UserError(f"{_PYTHON_FILE}: {error.strerror}") from error


def _dvc_version() -> str | None:
    try:
        return importlib.metadata.version("dvc")
    except importlib.metadata.PackageNotFoundError:
        return None


def _lock() -> tuple[str | None, str | None]:
    try:
        return who_measures(), None
    except UserError as error:
        return None, str(error)


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


def _left_out(contract: Contract, backends: tuple[Backend, ...]) -> tuple[str, ...]:
    """The variables of this shell that would change how a server computes, and that none gets."""
    names = (server_variables(contract.backends[b].launch.environ).left_out for b in backends)
    return tuple(sorted({name for left_out in names for name in left_out}))


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
