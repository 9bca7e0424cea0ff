"""When to give up: on a chunk size that keeps ending the server, and on the server itself.

Three limits keep a measurement finite and isolate a bad chunk size of a workload:

- It is given up after ``limits.deaths_per_chunk_size`` faults in its passes, warm-up included. A
  fault is a death, a lack of memory or the start of a hang.
- A server hangs when ``HANGING_AFTER`` passes in a row end in ``timeout``. It is restarted like
  one that died, because each further pass would wait for ``limits.call_timeout_s``. The first of
  these passes is blamed.
- ``limits.restarts`` bounds the restarts of one matrix, failed starts included. Restarts that a
  given-up chunk size caused do not count once a pass of another chunk size was ok. So there are at
  most ``limits.restarts`` + ``limits.deaths_per_chunk_size`` x (number of chunk sizes of all
  workloads) restarts.

The cover is this pipeline's own addition, so what it does to a server costs none of these limits. A
request of a cover that fails is not sent again, nor is a larger one of its workload. So a cover can
end only as many servers as it has sizes.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable
from dataclasses import dataclass, field

from pydantic import Field

from stages.contract import Limits
from stages.documents.cell import Series
from stages.documents.matrix import CoverFailure, Status
from stages.documents.tables import Record

HANGING_AFTER = 3
"""Timed-out passes in a row that make a server a hanging one."""

_BLAMED: tuple[Status, ...] = ("server_died", "oom")


type _At = str
"""A workload and a chunk size, as :func:`_at` writes them: keys of JSON are text."""


def _at(series: Series) -> _At:
    return f"{series.workload}/{series.chunk_size}"


class FaultCounts(Record):
    """The counts, as the journal keeps them, by workload and chunk size.

    Attributes:
        deaths: times the server died, hung or ran out of memory in its passes.
        kinds: the kind of its last fault.
        restarts: restarts that it caused.
        other_restarts: restarts that no chunk size caused.
        cover_restarts: restarts that a cover caused.
        uncovered: the requests of covers that failed.
        answered: those with a pass that was ok.
    """

    deaths: dict[_At, int] = Field(default_factory=dict)
    kinds: dict[_At, Status] = Field(default_factory=dict)
    restarts: dict[_At, int] = Field(default_factory=dict)
    other_restarts: int = 0
    cover_restarts: int = 0
    uncovered: list[CoverFailure] = Field(default_factory=list)
    answered: frozenset[_At] = frozenset()

    @property
    def all_restarts(self) -> int:
        """All restarts, whatever caused them."""
        return sum(self.restarts.values()) + self.other_restarts + self.cover_restarts


@dataclass(frozen=True, slots=True)
class Bound:
    """The most items a request may hold, and how the server failed at more."""

    items: int
    kind: Status


@dataclass(frozen=True, slots=True)
class _GivenUp:
    """Why a chunk size was given up, and the next smaller one, if there is one."""

    kind: Status
    next_smaller: int | None


@dataclass
class Faults:
    """Counts faults and says what to give up.

    Attributes:
        limits: of the contract.
        counts: so far.
    """

    limits: Limits
    counts: FaultCounts = field(default_factory=FaultCounts)
    _culprit: _At | None = None
    _timed_out: list[_At] = field(default_factory=list)
    _cover_ended_it: bool = False

    def new_server(self) -> None:
        """A fresh server is up: it has neither hung nor died."""
        self._culprit = None
        self._timed_out = []
        self._cover_ended_it = False

    def note(self, series: Series, status: Status) -> None:
        """Count how a pass ended."""
        at = _at(series)
        self._timed_out = [*self._timed_out, at] if status == "timeout" else []
        if status == "ok" and at not in self.counts.answered:
            answered = self.counts.answered | {at}
            self.counts = self.counts.model_copy(update={"answered": answered})
        if status in _BLAMED:
            self._blame(at, status)
        if self.hanging:
            self._blame(self._timed_out[0], "timeout")

    def note_uncovered(self, failure: CoverFailure, *, ended: bool) -> None:
        """Count a request of a cover that failed; ``ended`` where the server is not usable now."""
        uncovered = [*self.counts.uncovered, failure]
        self.counts = self.counts.model_copy(update={"uncovered": uncovered})
        self._cover_ended_it = ended

    def cover_limit(self, workload: str, chunk_sizes: Iterable[int]) -> int | None:
        """The most items in a request of a cover; ``None`` where any number may be sent.

        Args:
            workload: whose items the requests hold.
            chunk_sizes: at which it is measured.
        """
        limits = [one.size - 1 for one in self.counts.uncovered if one.workload == workload]
        given_up = self._smallest_given_up(workload, chunk_sizes)
        if given_up is not None:
            # What lies between two chunk sizes may end the server, too.
            limits.append(given_up.next_smaller or 0)
        return min(limits, default=None)

    @property
    def hanging(self) -> bool:
        """Whether too many passes in a row timed out."""
        return len(self._timed_out) >= HANGING_AFTER

    def _blame(self, at: _At, kind: Status) -> None:
        self._culprit = at
        counts = self.counts
        self.counts = counts.model_copy(
            update={
                "deaths": Counter(counts.deaths) + Counter([at]),
                "kinds": {**counts.kinds, at: kind},
            }
        )

    def deaths(self, series: Series) -> int:
        """How often the server died, hung or ran out of memory in these passes."""
        return self.counts.deaths.get(_at(series), 0)

    def given_up(self, series: Series) -> Status | None:
        """The last fault's kind of a given-up chunk size; ``None`` if it is not given up."""
        return self._given_up(_at(series))

    def _given_up(self, at: _At) -> Status | None:
        if self.counts.deaths.get(at, 0) < self.limits.deaths_per_chunk_size:
            return None
        return self.counts.kinds[at]

    def may_restart(self) -> bool:
        """Whether one more restart is within the limits."""
        if self._cover_ended_it:
            return True
        if self._culprit is not None and self._was_the_fault(self._culprit):
            return True
        counted = sum(n for c, n in self.counts.restarts.items() if not self._was_the_fault(c))
        return counted + self.counts.other_restarts < self.limits.restarts

    def _was_the_fault(self, at: _At) -> bool:
        """Whether the chunk size is given up and the server can answer another one."""
        return self._given_up(at) is not None and bool(self.counts.answered - {at})

    def note_restart(self) -> None:
        """Count one restart, before it is tried."""
        counts, culprit = self.counts, self._culprit
        # If this start fails, the chunk size did not cause the next one.
        self._culprit = None
        by_cover, self._cover_ended_it = self._cover_ended_it, False
        if by_cover:
            update: dict[str, object] = {"cover_restarts": counts.cover_restarts + 1}
        elif culprit is None:
            update = {"other_restarts": counts.other_restarts + 1}
        else:
            update = {"restarts": Counter(counts.restarts) + Counter([culprit])}
        self.counts = counts.model_copy(update=update)

    def bound(self, workload: str, chunk_sizes: Iterable[int]) -> Bound | None:
        """The largest request that does not end the server; ``None`` where any size may be sent.

        Args:
            workload: whose items the requests hold.
            chunk_sizes: at which it is measured.
        """
        given_up = self._smallest_given_up(workload, chunk_sizes)
        if given_up is None:
            return None
        return Bound(given_up.next_smaller or 1, given_up.kind)

    def _smallest_given_up(self, workload: str, chunk_sizes: Iterable[int]) -> _GivenUp | None:
        smaller = None
        for size in sorted(chunk_sizes):
            kind = self.given_up(Series(workload, size))
            if kind is not None:
                return _GivenUp(kind, smaller)
            smaller = size
        return None


def of_workloads(counts: FaultCounts, workloads: Collection[str]) -> FaultCounts:
    """``counts`` without those of other workloads."""

    def mine(at: _At) -> bool:
        return at.rpartition("/")[0] in workloads

    return counts.model_copy(
        update={
            "deaths": {at: n for at, n in counts.deaths.items() if mine(at)},
            "kinds": {at: kind for at, kind in counts.kinds.items() if mine(at)},
            "restarts": {at: n for at, n in counts.restarts.items() if mine(at)},
            "uncovered": [one for one in counts.uncovered if one.workload in workloads],
            "answered": frozenset(filter(mine, counts.answered)),
        }
    )
