"""The checks of the model, the disk and the memory: facts in, one finding out."""

from __future__ import annotations

from stages.contract import PackagedModel, SyntheticModel
from tools.doctor.facts import PLACES, Room
from tools.doctor.finding import Finding, Level, Question
from tools.doctor.needs import (
    SERVER_BYTES,
    Need,
    by_file_system,
    needs,
    size,
    synthetic_bytes,
    weight_bytes,
)

_MOST_NAMED = 3


def model(question: Question) -> Finding:
    """Whether the model under test is here or can be downloaded."""
    served, hub = question.contract.model, question.facts.hub
    if isinstance(served, SyntheticModel):
        bytes_ = synthetic_bytes(served, question.contract.vocabulary)
        return Finding("model", "ok", f"{served.title}: built here, {size(bytes_)}")
    if isinstance(served, PackagedModel):
        there = weight_bytes(question)
        shown = size(there) if there else "an unknown size"
        name = f"{served.package} {served.version}"
        return Finding("model", "ok", f"{name}: built here from that package, {shown}")
    name = f"{served.repository}@{served.revision}"
    if hub is None:
        return Finding("model", "warning", f"{name}: not looked for")
    if hub.cached:
        return Finding("model", "ok", f"{name}: in the local cache, commit {_short(hub.resolved)}")
    if hub.complaint is not None:
        needed = "its commit is pinned, its files are not here" if hub.resolved else "not here"
        return Finding("model", "blocked", f"{name}: {needed}, and {hub.complaint}", hub.remedy)
    fetched = size(hub.download_bytes) if hub.download_bytes else "an unknown size"
    return Finding("model", "ok", f"{name}: reachable on the hub, {fetched} to fetch")


def _short(commit: str | None) -> str:
    return (commit or "unknown")[:12]


def disk(question: Question) -> Finding:
    """Room on every file system that is written to."""
    rooms = question.facts.rooms
    closed = [room for room in rooms if not room.writable and room.place in _used(question)]
    if closed:
        found = f"the {PLACES[closed[0].place]} {closed[0].path} cannot be written"
        return Finding("disk", "blocked", found, _elsewhere(closed))
    sentences: list[str] = []
    level: Level = "ok"
    short: list[Room] = []
    for group in by_file_system(rooms):
        places = {room.place for room in group}
        wanted = [need for need in needs(question) if need.place in places]
        needed, free = sum(need.byte_count for need in wanted), group[0].free_bytes
        if needed == 0:
            continue
        sentence = f"{size(free)} free for the {_join([PLACES[room.place] for room in group])}"
        sentence += f", {size(needed)} needed"
        if needed > free:
            level, short = "blocked", short + group
            sentence += f" ({_largest(wanted)})"
        sentences.append(sentence)
    return Finding("disk", level, "; ".join(sentences), _elsewhere(short) if short else "")


def _used(question: Question) -> set[str]:
    return {need.place for need in needs(question)}


def _largest(wanted: list[Need]) -> str:
    largest = sorted(wanted, key=lambda need: -need.byte_count)[:_MOST_NAMED]
    return ", ".join(f"{need.what} {size(need.byte_count)}" for need in largest)


_VARIABLES = {
    "cache": "SCOREPARITY_CACHE",
    "installer": "UV_CACHE_DIR",
    "hub": "HF_HOME",
    "temporary": "TMPDIR",
}


def _elsewhere(rooms: list[Room]) -> str:
    names = [_VARIABLES[room.place] for room in rooms if room.place in _VARIABLES]
    moved = f"set {_join(names)} to a folder with more room" if names else ""
    return " or ".join(filter(None, ["make room", moved]))


def _join(parts: list[str]) -> str:
    return " and ".join(filter(None, [", ".join(parts[:-1]), *parts[-1:]]))


def memory(question: Question) -> Finding:
    """Memory for a server on the CPU. It is an estimate, so only the weights alone can block."""
    facts, weights = question.facts, weight_bytes(question) or 0
    found = f"{size(facts.free_memory_bytes)} of {size(facts.memory_bytes)} free"
    devices = {question.contract.backends[b].launch.device for b in question.backends}
    # The oracle computes on the CPU, whatever the servers do.
    if "cpu" not in devices and question.contract.reference not in question.backends:
        return Finding("memory", "ok", found)
    if weights > facts.memory_bytes:
        found += f", the model's weights alone are {size(weights)}"
        return Finding("memory", "blocked", found, "choose a smaller model or a larger machine")
    needed = SERVER_BYTES + 2 * weights
    if needed > facts.free_memory_bytes:
        found += f", about {size(needed)} needed"
        return Finding("memory", "warning", found, "end what else runs here")
    return Finding("memory", "ok", found)
