"""When to give up: on a chunk size that keeps ending the server, and on the server itself.

Three limits keep a measurement finite and isolate a bad chunk size:

- A chunk size is given up after ``limits.deaths_per_chunk_size`` faults in its passes, warm-up
  included. A fault is a death, a lack of memory or the start of a hang.
- A server hangs when ``HANGING_AFTER`` passes in a row end in ``timeout``. It is restarted like
  one that died, because each further pass would wait for ``limits.call_timeout_s``. The first of
  these passes is blamed.
- ``limits.restarts`` bounds the restarts of one matrix, failed starts included. Restarts that a
  given-up chunk size caused do not count once a pass of another chunk size was ok. So there are at
  most ``limits.restarts`` + ``limits.deaths_per_chunk_size`` x (number of chunk sizes) restarts.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field

from pydantic import Field

from stages.contract import Limits
from stages.documents.matrix import Status
from stages.documents.tables import Record

HANGING_AFTER = 3
"""Timed-out passes in a row that make a server a hanging one."""

_BLAMED: tuple[Status, ...] = ("server_died", "oom")


class FaultCounts(Record):
    """The counts, as the journal keeps them.

    Attributes:
        deaths: chunk size -> times the server died, hung or ran out of memory in its passes.
        kinds: chunk size -> the kind of its last fault.
        restarts: chunk size -> restarts that it caused.
        other_restarts: restarts that no chunk size caused.
        answered: the chunk sizes with a pass that was ok.
    """

    deaths: dict[int, int] = Field(default_factory=dict)
    kinds: dict[int, Status] = Field(default_factory=dict)
    restarts: dict[int, int] = Field(default_factory=dict)
    other_restarts: int = 0
    answered: frozenset[int] = frozenset()

    @property
    def all_restarts(self) -> int:
        """All restarts, whatever caused them."""
        return sum(self.restarts.values()) + self.other_restarts


@dataclass(frozen=True, slots=True)
class Bound:
    """The most items a request may hold, and how the server failed at more."""

    items: int
    kind: Status


@dataclass
class Faults:
    """Counts faults and says what to give up.

    Attributes:
        limits: of the contract.
        counts: so far.
    """

    limits: Limits
    counts: FaultCounts = field(default_factory=FaultCounts)
    _culprit: int | None = None
    _timed_out: list[int] = field(default_factory=list)

    def new_server(self) -> None:
        """A fresh server is up: it has neither hung nor died."""
        self._culprit = None
        self._timed_out = []

    def note(self, chunk_size: int, status: Status) -> None:
        """Count how a pass ended."""
        self._timed_out = [*self._timed_out, chunk_size] if status == "timeout" else []
        if status == "ok" and chunk_size not in self.counts.answered:
            answered = self.counts.answered | {chunk_size}
            self.counts = self.counts.model_copy(update={"answered": answered})
        if status in _BLAMED:
            self._blame(chunk_size, status)
        if self.hanging:
            self._blame(self._timed_out[0], "timeout")

    @property
    def hanging(self) -> bool:
        """Whether too many passes in a row timed out."""
        return len(self._timed_out) >= HANGING_AFTER

    def _blame(self, chunk_size: int, kind: Status) -> None:
        self._culprit = chunk_size
        counts = self.counts
        self.counts = counts.model_copy(
            update={
                "deaths": Counter(counts.deaths) + Counter([chunk_size]),
                "kinds": {**counts.kinds, chunk_size: kind},
            }
        )

    def given_up(self, chunk_size: int) -> Status | None:
        """The last fault's kind of a given-up chunk size; ``None`` if it is not given up."""
        if self.counts.deaths.get(chunk_size, 0) < self.limits.deaths_per_chunk_size:
            return None
        return self.counts.kinds[chunk_size]

    def may_restart(self) -> bool:
        """Whether one more restart is within the limits."""
        if self._culprit is not None and self._was_the_fault(self._culprit):
            return True
        counted = sum(n for c, n in self.counts.restarts.items() if not self._was_the_fault(c))
        return counted + self.counts.other_restarts < self.limits.restarts

    def _was_the_fault(self, chunk_size: int) -> bool:
        """Whether the chunk size is given up and the server can answer another one."""
        return self.given_up(chunk_size) is not None and bool(self.counts.answered - {chunk_size})

    def note_restart(self) -> None:
        """Count one restart, before it is tried."""
        counts, culprit = self.counts, self._culprit
        # If this start fails, the chunk size did not cause the next one.
        self._culprit = None
        if culprit is None:
            update: dict[str, object] = {"other_restarts": counts.other_restarts + 1}
        else:
            update = {"restarts": Counter(counts.restarts) + Counter([culprit])}
        self.counts = counts.model_copy(update=update)

    def bound(self, chunk_sizes: Iterable[int]) -> Bound | None:
        """The largest request that does not end the server; ``None`` where any size may be sent."""
        sizes = list(chunk_sizes)
        bad = [(size, kind) for size in sizes if (kind := self.given_up(size)) is not None]
        if not bad:
            return None
        smallest, kind = min(bad)
        return Bound(max((size for size in sizes if size < smallest), default=1), kind)
