"""Reads `dvc.lock` as stages with facts, and merges two of them stage by stage.

Git merges text: it may mix two halves within one stage, or report a conflict without a
contradiction. This merge takes each stage whole, from the side that changed it.

A `dvc.yaml` and a lock per half would let git merge them, but then no one file shows the pipeline.
"""

from __future__ import annotations

import enum
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from dvc.utils.serialize import YAMLError, dumps_yaml, parse_yaml

from stages.common.errors import UserError, one_line

LOCK_FILE = "dvc.lock"
_SCHEMA = "2.0"
_MOST_NAMED = 3

NONCE = "nonce"
"""It is random, so two runs on the same inputs never agree."""

PREPARED = ("workload", "checkpoint", NONCE)
"""The stages on which both halves are measured."""

PREPARE = (
    f"run `dvc repro {' '.join(PREPARED)}` on one machine, commit, `dvc push` and `git push`,"
    " and measure both halves after it"
)
"""The remedy where the halves were measured on different ones."""

DERIVED = ("compare", "report")
"""They run again after the merge, so the results of both sides are ignored."""

TIMESTAMPED = ("workload",)
"""Their output folder also holds a time. Two runs on the same inputs differ only in that time, so
either one is taken."""

type Kind = Literal["command", "parameter", "dependency", "output"]


class Absent(enum.Enum):
    """Stands for a missing fact, since ``None`` is a possible value of a parameter."""

    ABSENT = "nothing"


ABSENT = Absent.ABSENT


@dataclass(frozen=True, slots=True)
class LockDifference:
    """A fact that differs between two sides."""

    kind: Kind
    name: str
    ours: Any
    theirs: Any

    def described(self, ours: str, theirs: str) -> str:
        """The difference as a clause, with the names of the sides."""
        return (
            f"{self.kind} {self.name} is {shown(self.kind, self.ours)} on {ours}"
            f" and {shown(self.kind, self.theirs)} on {theirs}"
        )


@dataclass(frozen=True, slots=True)
class Entry:
    """One stage, as dvc wrote it."""

    written: dict[str, Any]

    @property
    def deps(self) -> dict[str, str]:
        """The hash of everything that it read, by path."""
        return _hashes(self.written.get("deps", []))

    @property
    def outs(self) -> dict[str, str]:
        """The hash of everything that it wrote, by path."""
        return _hashes(self.written.get("outs", []))

    @property
    def params(self) -> dict[str, Any]:
        """The parameters it ran with, by the keys that `dvc.yaml` names."""
        params: dict[str, Any] = {}
        for keys in self.written.get("params", {}).values():
            params |= keys
        return params

    def facts(self) -> dict[tuple[Kind, str], Any]:
        """All its facts, causes before consequences."""
        facts: dict[tuple[Kind, str], Any] = {("command", "cmd"): self.written.get("cmd")}
        for key, value in self.params.items():
            facts |= {("parameter", name): leaf for name, leaf in leaves(key, value)}
        facts |= {("dependency", path): md5 for path, md5 in self.deps.items()}
        return facts | {("output", path): md5 for path, md5 in self.outs.items()}


type Lock = Mapping[str, Entry]


@dataclass(frozen=True, slots=True)
class NamedLock:
    """A lock, with the user's name for its revision."""

    name: str
    lock: Lock


def parse_lock(text: str, where: str) -> Lock:
    """The stages of a `dvc.lock`.

    Raises:
        UserError: it is damaged, or of another version.
    """
    try:
        document = parse_yaml(text, where) or {"schema": _SCHEMA, "stages": {}}
        if document["schema"] != _SCHEMA:
            raise UserError(f"{where}: its schema is {document['schema']}, not {_SCHEMA}")
        lock = {name: Entry(dict(written)) for name, written in document["stages"].items()}
        for entry in lock.values():
            entry.facts()
    except (YAMLError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise UserError(f"{where}: damaged: it is no lock of dvc's") from error
    return lock


def parse_params(text: str, where: str) -> dict[str, Any]:
    """The keys of a `params.yaml`, read as dvc reads them for the lock.

    Raises:
        UserError: it is damaged.
    """
    try:
        return dict(parse_yaml(text, where))
    except (YAMLError, ValueError, TypeError, RecursionError) as error:
        raise UserError(f"{where}: damaged: it is no YAML of keys and values") from error


def dump_lock(lock: Lock) -> str:
    """The `dvc.lock` of these stages, byte for byte as dvc writes it."""
    stages = {name: entry.written for name, entry in lock.items()}
    return str(dumps_yaml({"schema": _SCHEMA, "stages": stages}))


def merge(base: Lock, ours: NamedLock, theirs: NamedLock) -> Lock:
    """Every stage from the side that changed it since ``base``.

    Raises:
        UserError: a stage was changed differently on both sides; names what differs.
    """
    # Nonce first: if each side has its own, every measurement differs for that reason alone.
    _merge_stage(NONCE, base.get(NONCE), ours, theirs)
    merged = {}
    for name in dict.fromkeys([*ours.lock, *theirs.lock]):
        entry = _merge_stage(name, base.get(name), ours, theirs)
        if entry is not None:
            merged[name] = entry
    return merged


def differences(ours: Entry | None, theirs: Entry | None) -> list[LockDifference]:
    """The differences of two entries of one stage, causes before consequences."""
    one = ours.facts() if ours else {}
    other = theirs.facts() if theirs else {}
    return [
        LockDifference(*fact, one.get(fact, ABSENT), other.get(fact, ABSENT))
        for fact in dict.fromkeys([*one, *other])
        if one.get(fact, ABSENT) != other.get(fact, ABSENT)
    ]


def _merge_stage(name: str, base: Entry | None, ours: NamedLock, theirs: NamedLock) -> Entry | None:
    mine, other = ours.lock.get(name), theirs.lock.get(name)
    if name in DERIVED or mine == other or other == base:
        return mine
    if mine == base:
        return other
    if mine is None or other is None:
        why = f"{ours.name if mine is None else theirs.name} has dropped it"
    else:
        differing = differences(mine, other)
        causes = [d for d in differing if d.kind != "output"]
        if not causes and (name in TIMESTAMPED or not differing):
            return mine
        if not causes and name == NONCE:
            raise UserError(_two_nonces(differing, ours.name, theirs.name))
        why = _described(causes or differing, ours.name, theirs.name)
    raise UserError(
        f"{name} was changed on both sides, differently: {why}; decide which of them counts"
        " (docs/two-machines.md)"
    )


def _two_nonces(differing: list[LockDifference], ours: str, theirs: str) -> str:
    return (
        f"{NONCE} was drawn on both sides ({_described(differing, ours, theirs)}): each half has a"
        " nonce of its own, so their requests differ and cannot be compared;"
        f" {PREPARE}, or keep one half and measure the other one again under its nonce"
        " (docs/two-machines.md)"
    )


def _described(differing: list[LockDifference], ours: str, theirs: str) -> str:
    clauses = [difference.described(ours, theirs) for difference in differing[:_MOST_NAMED]]
    if len(differing) > _MOST_NAMED:
        clauses.append(f"and {len(differing) - _MOST_NAMED} more")
    return "; ".join(clauses)


def leaves(key: str, value: Any) -> Iterator[tuple[str, Any]]:
    """The values below ``value`` with their dotted names; a list is one value."""
    if isinstance(value, dict) and value:
        for name, below in value.items():
            yield from leaves(f"{key}.{name}", below)
    else:
        yield key, value


def shown(kind: Kind, value: Any) -> str:
    """A value for messages: as in `params.yaml`, or the beginning of a hash."""
    if value is ABSENT:
        return str(ABSENT.value)
    if kind in ("dependency", "output"):
        return str(value)[:8]
    return one_line(json.dumps(value, default=str, ensure_ascii=False), 80)


def listed(names: Iterable[str]) -> str:
    """``a``, ``a and b``, ``a, b and c``."""
    *head, last = names
    return f"{', '.join(head)} and {last}" if head else last


def _hashes(files: list[dict[str, Any]]) -> dict[str, str]:
    # A dependency that dvc does not hash itself names its hash differently (etag, checksum).
    return {f["path"]: str(f.get(f.get("hash", "md5"), f.get("md5"))) for f in files}
