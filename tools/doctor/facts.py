"""The facts about this machine that `machine_checks.py` and `backend_checks.py` judge.

``None`` always means "not known" or "not there".
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from stages.common.git import GitError
from stages.contract import Backend

type BuildState = Literal["absent", "unfinished", "complete"]
type Place = Literal["cache", "installer", "work", "hub", "temporary"]

PLACES: dict[Place, str] = {
    "cache": "cache folder",
    "installer": "uv's cache",
    "work": "work tree",
    "hub": "hub's cache",
    "temporary": "temporary files",
}
"""Names of the folders that need room, for sentences."""


@dataclass(frozen=True, slots=True)
class PackageMismatch:
    """A package that is not as pinned; ``installed`` is ``None`` where it is missing."""

    package: str
    pinned: str
    installed: str | None


@dataclass(frozen=True, slots=True)
class Environment:
    """One backend's Python environment.

    Attributes:
        name: of the environment.
        state: whether it is built.
        python: the version of its Python; ``None`` where that does not run.
        pinned: package -> version, as its requirements say.
        excluded: packages its requirements leave out on purpose.
        differences: packages of a built environment that are not as pinned.
        checkout_complaint: why its commit cannot be installed: none is set, the repository
            lacks it, no lock fits it; ``None`` where it can be, or has been.
        disk_bytes: its size on disk; ``None`` where it is not known.
    """

    name: str
    state: BuildState
    python: str | None
    pinned: Mapping[str, str]
    excluded: frozenset[str]
    differences: tuple[PackageMismatch, ...]
    checkout_complaint: str | None = None
    disk_bytes: int | None = None


@dataclass(frozen=True, slots=True)
class Gpu:
    """One GPU, as ``nvidia-smi`` reports it."""

    name: str
    memory_mib: int
    used_mib: int
    driver: str


@dataclass(frozen=True, slots=True)
class Nvidia:
    """Traces of NVIDIA GPUs.

    Attributes:
        on_bus: GPUs on the PCI bus.
        nodes: device files.
        closed: those of them that this user may not open.
        gpus: what ``nvidia-smi`` lists.
        complaint: why it lists nothing.
    """

    on_bus: int = 0
    nodes: tuple[str, ...] = ()
    closed: tuple[str, ...] = ()
    gpus: tuple[Gpu, ...] = ()
    complaint: str | None = None


@dataclass(frozen=True, slots=True)
class Tpu:
    """Traces of TPUs.

    Attributes:
        chips: the generation of each chip on the PCI bus.
        nodes: device files.
        closed: those of them that this user may not open.
        variables: environment variables that announce a TPU.
    """

    chips: tuple[str, ...] = ()
    nodes: tuple[str, ...] = ()
    closed: tuple[str, ...] = ()
    variables: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Hub:
    """A hub model, here and on the hub.

    Attributes:
        resolved: the commit that an earlier run pinned.
        cached: whether that commit's files are in the local cache.
        asked: whether the hub was asked. It is not, where the files are cached.
        complaint: why the hub gave no answer, in one line.
        remedy: what would mend that.
        download_bytes: size of the files.
    """

    resolved: str | None
    cached: bool
    asked: bool
    complaint: str | None = None
    remedy: str = ""
    download_bytes: int | None = None


@dataclass(frozen=True, slots=True)
class Room:
    """A folder that needs room on its file system; ``device`` identifies the file system."""

    place: Place
    path: str
    device: int
    free_bytes: int
    writable: bool


@dataclass(frozen=True, slots=True)
class Process:
    """A process that looks like a server of an earlier measurement."""

    pid: int
    environment: str


@dataclass(frozen=True, slots=True)
class Facts:
    """All facts.

    Attributes:
        python: version of the harness's Python.
        wanted_python: the version it is pinned to.
        system: the operating system.
        machine: its processor's architecture.
        harness: packages of the harness that are not as pinned.
        git: version; ``None`` where there is none.
        repository: whether the work tree is a git repository.
        unnamed: why a result from here could not name its commit; ``None`` where it could.
        dvc: version; ``None`` where there is none.
        cpus: number that this process may use.
        load: average number of busy processes over the last minute.
        memory_bytes: in total.
        free_memory_bytes: what a new process could get.
        rooms: the folders that need room.
        loopback: why no server can be reached on 127.0.0.1; ``None`` where it can.
        measuring: who measures on this machine right now.
        lock_complaint: why the measurement lock cannot be used.
        waits: whether a measurement would wait for another one.
        left_over: servers without a measurement.
        environments: of every backend asked about, and the oracle's.
        oracle: the environment the oracle runs in.
        nvidia: traces of NVIDIA GPUs.
        tpu: traces of TPUs.
        hub: a hub model's whereabouts; ``None`` for another model.
        checkpoint_there: whether the model under test has been built or resolved.
        servers: URL of a server that was started elsewhere -> why it cannot be reached;
            ``None`` where it can.
        variables: environment variables that a server inherits and that choose its device.
        left_out: variables of this shell that no server gets, because they decide how it computes.
        elsewhere: backend -> the other machine that measured its matrices in the work tree.
    """

    python: str
    wanted_python: str
    system: str
    machine: str
    harness: tuple[PackageMismatch, ...]
    git: str | None
    repository: bool
    unnamed: GitError | None
    dvc: str | None
    cpus: int
    load: float
    memory_bytes: int
    free_memory_bytes: int
    rooms: tuple[Room, ...]
    loopback: str | None
    measuring: str | None
    lock_complaint: str | None
    waits: bool
    left_over: tuple[Process, ...]
    environments: Mapping[str, Environment]
    oracle: str
    nvidia: Nvidia
    tpu: Tpu
    hub: Hub | None
    checkpoint_there: bool
    servers: Mapping[str, str | None]
    variables: Mapping[str, str]
    left_out: tuple[str, ...]
    elsewhere: Mapping[Backend, str]
