"""Keeps what was measured: one JSON line per run in ``benchmarks.jsonl`` of the cache folder.

The cache folder is outside the repository, so a record never appears in git, and all checkouts of
one machine share it. Only runs on the same machine are compared.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Self

from pydantic import BaseModel, ConfigDict, ValidationError

from stages.common.files import append_to
from stages.common.git import code_version
from stages.documents.matrix import Host
from stages.environments.build import cache_root
from stages.machine.host import this_host, utc_now

_ROOT = Path(__file__).parents[1]


class Record(BaseModel):
    """One run of the benchmarks.

    Attributes:
        at: when it ended, in UTC.
        host: the machine.
        commit: of the code; ``None`` where it is not known.
        changed: whether the code differs from the commit; ``None`` where that is not known.
        figures: what was measured, by name. Names that begin with ``us`` are microseconds, all
            others have no unit.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    at: str
    host: Host
    commit: str | None
    changed: bool | None
    figures: Mapping[str, float]

    @classmethod
    def of_now(cls, figures: Mapping[str, float]) -> Self:
        """The record of a run that just ended here."""
        code = code_version(_ROOT)
        return cls(
            at=utc_now(),
            host=this_host(),
            commit=code.commit,
            changed=code.changed,
            figures=figures,
        )

    @property
    def code(self) -> str:
        """The commit in short, with a ``+`` if the code differs from it."""
        return (self.commit or "unknown")[:12] + ("+" if self.changed else "")


def records_file() -> Path:
    """Where the records are."""
    return cache_root() / "benchmarks.jsonl"


def keep(record: Record, path: Path) -> None:
    """Append a record.

    Raises:
        UserError: it cannot be written.
    """
    with append_to(path) as file:
        file.write(record.model_dump_json().encode() + b"\n")


def last_on(host: Host, path: Path) -> Record | None:
    """The newest record of a machine; lines that are no records are skipped."""
    try:
        lines = path.read_text("utf-8", errors="replace").splitlines()
    except OSError:
        return None
    for line in reversed(lines):
        found = _parsed(line)
        if found is not None and _same_machine(found.host, host):
            return found
    return None


def _parsed(line: str) -> Record | None:
    try:
        return Record.model_validate_json(line)
    except ValidationError:
        return None


def _same_machine(one: Host, other: Host) -> bool:
    # A kernel update or another amount of memory is still the same machine.
    return (one.name, one.processor, one.cpus) == (other.name, other.processor, other.cpus)


def ratios(now: Record, last: Record) -> dict[str, float]:
    """Each figure of ``now`` over that of ``last``, for those that both have and are not zero."""
    return {
        name: value / last.figures[name]
        for name, value in now.figures.items()
        if last.figures.get(name)
    }
