"""Decides which blocks are recorded, which records are cleared, and what is printed."""

from __future__ import annotations

from dataclasses import dataclass

from stages.backends.registry import declared
from stages.contract import PARAMS, VIEWS, Backend
from stages.documents.cell import MatrixKey
from tools.doctor.finding import RECORDED, Diagnosis, Question, Verdict, first_block
from tools.doctor.record import override, reason_of


@dataclass(frozen=True, slots=True)
class Asked:
    """The options of the command.

    Attributes:
        record: make blocked backends unavailable.
        clear: remove recorded reasons that no longer hold.
        named: whether the user named the backends.
    """

    record: bool = False
    clear: bool = False
    named: bool = False


@dataclass(frozen=True, slots=True)
class Decision:
    """What to write and what to print.

    Attributes:
        changes: new reasons by backend, ``None`` to clear one.
        lines: to print.
        cleared: the views whose own reason is cleared.
    """

    changes: dict[Backend, str | None]
    lines: tuple[str, ...]
    cleared: tuple[MatrixKey, ...] = ()


def decide(question: Question, diagnosis: Diagnosis, asked: Asked) -> Decision:
    """What to write and what to print."""
    changes: dict[Backend, str | None] = {}
    lines: list[str] = []
    for backend in question.backends:
        record = _BackendRecord(question, diagnosis, backend, asked)
        lines += record.lines()
        if record.changes:
            changes[backend] = record.reason
    cleared: list[MatrixKey] = []
    for verdict in diagnosis.verdicts if asked.clear else ():
        line, clears = _view_cleared(question, verdict, asked)
        lines += [line] if line else []
        cleared += [MatrixKey(verdict.backend, verdict.view)] if clears else []
    shared = first_block(diagnosis.machine)
    if asked.record and shared is not None:
        lines.append(
            f"Not recorded: {shared.check} blocks the whole machine, so an unavailable backend"
            " would not help."
        )
    return Decision(changes, tuple(lines), tuple(cleared))


def _view_cleared(question: Question, verdict: Verdict, asked: Asked) -> tuple[str, bool]:
    """Whether the reason of one view alone is cleared, and the line about it; empty without one."""
    reason = question.contract.backends[verdict.backend].view(verdict.view).unavailable
    if reason is None:
        return "", False
    if (block := verdict.own_block) is not None:
        return f"Not cleared: {verdict.title} is blocked here: {block.found}", False
    if not asked.named:
        # It was written by hand, as a named backend's is.
        again = f"make doctor CLEAR=1 BACKEND={verdict.backend}"
        by_hand = f"Not cleared: the reason of {verdict.title} was written by hand"
        return f"{by_hand}; to clear it: {again}", False
    key = f"backends.{verdict.backend}.{verdict.view}.unavailable"
    return f"Cleared in {PARAMS}: {key} is null, and was: {reason}", True


class _BackendRecord:
    """One backend: whether its recorded reason changes, and the lines about it."""

    def __init__(
        self, question: Question, diagnosis: Diagnosis, backend: Backend, asked: Asked
    ) -> None:
        self.backend = backend
        self.name = declared(backend).title
        self.key = f"backends.{backend}.unavailable"
        section = question.contract.backends[backend]
        self.current = section.unavailable
        # A view that the contract leaves out needs nothing.
        wanted = [v for v in VIEWS if section.view(v).unavailable is None]
        mine = [v for v in diagnosis.verdicts if v.backend == backend]
        self.reason = reason_of(v for v in mine if v.view in wanted)
        self.asked = asked
        elsewhere = question.facts.elsewhere.get(backend)
        self.elsewhere = None if asked.named else elsewhere
        self.by_hand = self.current is not None and not self.current.startswith(RECORDED)

    @property
    def changes(self) -> bool:
        """Whether the recorded reason is replaced or cleared."""
        if self.reason is None:
            # A reason that was written by hand is cleared only where the backend is named.
            wanted = self.asked.clear and (self.asked.named or not self.by_hand)
            return wanted and self.current is not None
        if self.by_hand or self.reason == self.current:
            return False
        return self.asked.record and self.elsewhere is None

    def lines(self) -> list[str]:
        """The lines to print about it."""
        if self.reason is None:
            return self._holds_no_longer() if self.current else []
        if self.changes:
            return [
                f"Recorded in {PARAMS}: {self.key}: {self.reason}",
                self._experiments(),
                f"  If {self.name} is measured on another machine, set it back to null: then a"
                " block here does not matter.",
            ]
        if self.asked.clear and self.current is not None:
            found = self.reason.removeprefix(RECORDED)
            return [f"Not cleared: {self.name} is blocked here: {found}"]
        return [] if self.by_hand or self.reason == self.current else self._could_be_recorded()

    def _could_be_recorded(self) -> list[str]:
        if self.elsewhere is not None:
            again = f"make doctor RECORD=1 BACKEND={self.backend} records it anyway"
            other = f"its matrices here were measured on {self.elsewhere}"
            return [f"{self.name} is blocked here, but {other}: nothing to record ({again})."]
        return [
            f"To go on without {self.name} and get a PARTIAL report:"
            f" make doctor RECORD=1 BACKEND={self.backend}, then make repro",
            self._experiments(),
            f"  If {self.name} is measured on another machine, record nothing: then a block here"
            " does not matter.",
        ]

    def _experiments(self) -> str:
        """The option for an experiment, whose contract is composed anew."""
        return (
            f"  dvc exp run composes {PARAMS} anew from conf/ and ignores its present content; for"
            f" an experiment without {self.name} add: {override(self.backend, self.reason)}"
        )

    def _holds_no_longer(self) -> list[str]:
        if self.changes:
            return [f"Cleared in {PARAMS}: {self.key} is null, and was: {self.current}"]
        if self.by_hand:
            # The reason may still hold, because a quota, for example, cannot be checked here.
            again = f"make doctor CLEAR=1 BACKEND={self.backend}"
            line = f"Not cleared: {self.name}'s reason was written by hand; to clear it: {again}"
            return [line] if self.asked.clear else []
        return [
            f"{self.name} is unavailable for a reason that no longer holds; to measure it again:"
            f" make doctor CLEAR=1 BACKEND={self.backend}, then make repro"
        ]
