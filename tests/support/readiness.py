"""A machine on which everything is ready, as hand-made facts that tests may spoil."""

from __future__ import annotations

import dataclasses
from typing import Any

from contracts import BACKENDS, contract

from stages.contract import VIEWS, Backend
from tools.doctor.facts import Environment, Facts, Gpu, Nvidia, Room, Tpu
from tools.doctor.finding import Diagnosis, Finding, Question, first_block
from tools.doctor.judge import judge_backends

GB = 10**9

JAX = Environment(
    "sglang_jax",
    "complete",
    "3.12.4",
    {"jax": "0.8.3", "sglang-jax": "0.0.2"},
    frozenset({"libtpu"}),
    (),
    disk_bytes=900_000_000,
)
PYTORCH = Environment(
    "sglang_pytorch",
    "complete",
    "3.12.4",
    {"torch": "2.14.1", "sglang": "0.5.23", "nvidia-cuda-runtime": "13.0.96"},
    frozenset({"sglang-kernel"}),
    (),
    disk_bytes=6_900_000_000,
)
JAX_ON_TPU = dataclasses.replace(
    JAX, pinned={**JAX.pinned, "libtpu": "0.0.30"}, excluded=frozenset()
)
PYTORCH_ON_GPU = dataclasses.replace(
    PYTORCH, pinned={**PYTORCH.pinned, "sglang-kernel": "0.4"}, excluded=frozenset()
)
H100 = Gpu("NVIDIA H100", 81559, 4, "580.65.06")
WITH_GPU = Nvidia(1, ("/dev/nvidia0",), (), (H100,), None)
WITH_TPU = Tpu(("v6e",), ("/dev/vfio/0",), (), ())

# No JAX server may run a segment mask on a TPU; the contract refuses one that would.
DENSE: dict[str, Any] = {
    "multi-item-mask-impl": "dense",
    "multi-item-segment-fallback-threshold": 0,
}
ASKS_FOR_TPU: dict[str, Any] = {
    "backends__jax__launch__device": "tpu",
    **{
        f"backends__jax__{view}__flags": {**contract().backends["jax"].view(view).flags, **DENSE}
        for view in VIEWS
    },
}


def rooms(**free: int) -> tuple[Room, ...]:
    """Every folder on a file system of its own, with 100 GB or as much as is said."""
    places = ("cache", "installer", "work", "hub", "temporary")
    return tuple(
        Room(place, f"/{place}", number, free.get(place, 100 * GB), writable=True)
        for number, place in enumerate(places)
    )


READY = Facts(
    rooms=rooms(),
    memory_bytes=64 * GB,
    free_memory_bytes=60 * GB,
    environments={"sglang_jax": JAX, "sglang_pytorch": PYTORCH},
    nvidia=Nvidia(complaint="there is no nvidia-smi"),
    tpu=Tpu(),
    hub=None,
    checkpoint_there=False,
    servers={},
    variables={},
    elsewhere={},
)


def question(
    changes: dict[str, Any] | None = None,
    backends: tuple[Backend, ...] = BACKENDS,
    **facts: Any,
) -> Question:
    """The committed contract on the ready machine, both with changes."""
    return Question(contract(**(changes or {})), backends, dataclasses.replace(READY, **facts))


def diagnosed(asked: Question, *machine: Finding) -> Diagnosis:
    """The diagnosis of hand-made facts, on a machine with these findings."""
    return Diagnosis(machine, judge_backends(asked, first_block(machine)))


def findings(asked: Question, backend: Backend) -> dict[str, Finding]:
    """The findings on one backend, by the names of their checks."""
    portable, native = [v.findings for v in judge_backends(asked) if v.backend == backend]
    assert portable == native, "both views"
    by_name = {finding.check: finding for finding in portable}
    assert len(by_name) == len(portable)
    return by_name
