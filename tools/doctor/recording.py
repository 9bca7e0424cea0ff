"""Which blocks are recorded, which records are taken back, and what the user is told. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from stages.backends.registry import declared
from stages.contract import PARAMS, Backend
from tools.doctor.finding import RECORDED, Diagnosis, Question, first_block
from tools.doctor.record import override, reason_of


@dataclass(frozen=True, slots=True)
class Asked:
    """What the user wants.

    Attributes:
        record: make blocked backends unavailable.
        clear: take back what was recorded and no longer holds.
        named: whether the backends were named, not just all of them.
    """

    record: bool = False
    clear: bool = False
    named: bool = False


@dataclass(frozen=True, slots=True)
class Outcome:
    """New reasons by backend, ``None`` for one that is taken back; and lines for the user."""

    changes: dict[Backend, str | None]
    lines: tuple[str, ...]


def decide(question: Question, diagnosis: Diagnosis, asked: Asked) -> Outcome:
    """What to write, and what to say."""
    changes: dict[Backend, str | None] = {}
    lines: list[str] = []
    for backend in question.backends:
        told = _Told(question, diagnosis, backend, asked)
        said = told.lines()
        lines += said
        if told.changes:
            changes[backend] = told.reason
    shared = first_block(diagnosis.machine)
    if asked.record and shared is not None:
        lines.append(
            f"Not recorded: {shared.check} blocks the whole machine, so that an unavailable"
            " backend would not help."
        )
    return Outcome(changes, tuple(lines))


class _Told:
    """One backend: whether its record changes, and the words for it."""

    def __init__(
        self, question: Question, diagnosis: Diagnosis, backend: Backend, asked: Asked
    ) -> None:
        self.backend = backend
        self.name = declared(backend).title
        self.key = f"backends.{backend}.unavailable"
        self.current = question.contract.backends[backend].unavailable
        self.reason = reason_of(v for v in diagnosis.verdicts if v.backend == backend)
        self.asked = asked
        elsewhere = question.facts.elsewhere.get(backend)
        self.elsewhere = None if asked.named else elsewhere
        self.by_hand = self.current is not None and not self.current.startswith(RECORDED)

    @property
    def changes(self) -> bool:
        """Whether the file is written."""
        if self.reason is None:
            # Whoever wrote a reason by hand names the backend to take it back.
            wanted = self.asked.clear and (self.asked.named or not self.by_hand)
            return wanted and self.current is not None
        if self.by_hand or self.reason == self.current:
            return False
        return self.asked.record and self.elsewhere is None

    def lines(self) -> list[str]:
        """What is said about it."""
        if self.reason is None:
            return self._holds_no_longer() if self.current else []
        if self.changes:
            return [
                f"Recorded in {PARAMS}: {self.key}: {self.reason}",
                self._experiments(),
                f"  if {self.name} is measured on another machine, set it back to null:"
                " blocked here is no reason then.",
            ]
        if self.asked.clear and self.current is not None:
            found = self.reason.removeprefix(RECORDED)
            return [f"Not taken back, for {self.name} is blocked here: {found}"]
        return [] if self.by_hand or self.reason == self.current else self._could_be_recorded()

    def _could_be_recorded(self) -> list[str]:
        if self.elsewhere is not None:
            again = f"make doctor RECORD=1 BACKEND={self.backend} records it all the same"
            told = f"its matrices here were measured on {self.elsewhere}"
            return [f"{self.name} is blocked here, but {told}: nothing to record ({again})."]
        return [
            f"To go on without {self.name} and get a PARTIAL report:"
            f" make doctor RECORD=1 BACKEND={self.backend}, then make repro",
            self._experiments(),
            f"  If {self.name} is measured on another machine, record nothing: blocked here is no"
            " reason then.",
        ]

    def _experiments(self) -> str:
        """Its contract is another one than the one in force, to which this is an addition."""
        return (
            f"  dvc exp run composes {PARAMS} anew from conf/, whatever stands in it now; for an"
            f" experiment without {self.name} add: {override(self.backend, self.reason)}"
        )

    def _holds_no_longer(self) -> list[str]:
        if self.changes:
            return [f"Taken back in {PARAMS}: {self.key} is null, and was: {self.current}"]
        if self.by_hand:
            # It may hold all the same: a quota is nothing that can be seen here.
            again = f"make doctor CLEAR=1 BACKEND={self.backend}"
            told = (
                f"Not taken back, for {self.name}'s reason was written by hand; to do so: {again}"
            )
            return [told] if self.asked.clear else []
        return [
            f"{self.name} is unavailable for a reason that no longer holds; to measure it again:"
            f" make doctor CLEAR=1 BACKEND={self.backend}, then make repro"
        ]
