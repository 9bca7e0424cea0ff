"""Runs all checks: which backends are ready, which are blocked, and why."""

from __future__ import annotations

from stages.contract import VIEWS
from tools.doctor.backend_checks import checks_of
from tools.doctor.finding import Diagnosis, Finding, Question, State, Subject, Verdict, first_block
from tools.doctor.machine_checks import MACHINE_CHECKS


def diagnose(question: Question) -> Diagnosis:
    """Run all checks."""
    machine = tuple(f for check in MACHINE_CHECKS if (f := check(question)) is not None)
    return Diagnosis(machine, judge_backends(question, first_block(machine)))


def judge_backends(question: Question, shared: Finding | None = None) -> tuple[Verdict, ...]:
    """Run the checks of each backend and view; ``shared`` blocks the whole machine, if given."""
    return tuple(
        _verdict(Subject(question, backend, view), shared)
        for backend in question.backends
        for view in VIEWS
    )


def _verdict(subject: Subject, shared: Finding | None) -> Verdict:
    findings = tuple(f for check in checks_of(subject) if (f := check(subject)) is not None)
    unavailable = subject.section.unavailable_in(subject.view)
    block = first_block(findings) or shared
    state: State = "unavailable" if unavailable else "blocked" if block else "ready"
    reason = unavailable or (block.found if block else None)
    return Verdict(subject.backend, subject.view, findings, state, reason)
