"""What is looked up once about this machine, for the checks that share it or have many situations.

The checks of accelerators and environments judge these records alone, so that each situation can be
tested without its hardware. A check of one simple fact looks it up itself (`machine_checks.py`).
``None`` always means "not known" or "not there".
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

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
        pinned: package -> version, from its requirements.
        excluded: packages that its requirements leave out on purpose.
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
        closed: device files that this user may not open.
        gpus: the GPUs that ``nvidia-smi`` lists.
        complaint: why ``nvidia-smi`` lists none.
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
        closed: device files that this user may not open.
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
        asked: whether the hub was asked, which is not needed for cached files.
        complaint: why the hub did not answer, in one line.
        remedy: how to fix that.
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
class Facts:
    """All facts that are looked up before the checks.

    Attributes:
        rooms: the folders that need room.
        memory_bytes: in total.
        free_memory_bytes: what a new process could get.
        environments: of every backend asked about, and the oracle's.
        nvidia: traces of NVIDIA GPUs.
        tpu: traces of TPUs.
        hub: where a hub model is; ``None`` for another kind of model.
        checkpoint_there: whether the model under test has been built or resolved.
        servers: URL of a server started elsewhere -> why it accepts no connection; ``None``
            where it does.
        variables: environment variables that a server inherits and that choose its device.
        elsewhere: backend -> the other machine that measured its matrices in the work tree.
    """

    rooms: tuple[Room, ...]
    memory_bytes: int
    free_memory_bytes: int
    environments: Mapping[str, Environment]
    nvidia: Nvidia
    tpu: Tpu
    hub: Hub | None
    checkpoint_there: bool
    servers: Mapping[str, str | None]
    variables: Mapping[str, str]
    elsewhere: Mapping[Backend, str]
