"""What a check reports, and which backends are ready."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from stages.backends.registry import declared
from stages.contract import Backend, Contract, View
from stages.contract.serving import BackendContract
from tools.doctor.facts import Environment, Facts

type Level = Literal["ok", "warning", "blocked"]
type State = Literal["ready", "blocked", "unavailable"]

RECORDED = "doctor: "
"""Prefix of the reasons that this command writes into the contract."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One check's answer.

    Attributes:
        check: its name.
        level: whether it blocks a measurement.
        found: what was found, in one line.
        fix: what would fix it; empty where no fix is needed.
    """

    check: str
    level: Level
    found: str
    fix: str = ""


@dataclass(frozen=True, slots=True)
class Question:
    """What is checked: a contract on a machine, for some backends."""

    contract: Contract
    backends: tuple[Backend, ...]
    facts: Facts


@dataclass(frozen=True, slots=True)
class Subject:
    """One backend in one view."""

    question: Question
    backend: Backend
    view: View

    @property
    def facts(self) -> Facts:
        """What was found on the machine."""
        return self.question.facts

    @property
    def section(self) -> BackendContract:
        """What the contract says about the backend."""
        return self.question.contract.backends[self.backend]

    @property
    def base_url(self) -> str | None:
        """Where its server answers, if it was started elsewhere."""
        return self.section.view(self.view).base_url

    @property
    def package(self) -> str:
        """The distribution that holds its server."""
        return declared(self.backend).package

    @property
    def environment(self) -> Environment:
        """The environment its server runs in."""
        return self.facts.environments[self.section.launch.environment]


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whether one backend can be measured in one view.

    Attributes:
        findings: its own, without those of the whole machine.
        state: ``unavailable`` where the contract declares it so.
        reason: why it is not ready.
    """

    backend: Backend
    view: View
    findings: tuple[Finding, ...]
    state: State
    reason: str | None

    @property
    def own_block(self) -> Finding | None:
        """What blocks this backend and not the whole machine."""
        return first_block(self.findings)

    @property
    def title(self) -> str:
        """``JAX, best-native``."""
        return f"{declared(self.backend).title}, {self.view.replace('_', '-')}"


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """The result of all checks.

    Attributes:
        machine: findings for every backend.
        verdicts: one for each backend and view.
    """

    machine: tuple[Finding, ...]
    verdicts: tuple[Verdict, ...]

    @property
    def ready(self) -> bool:
        """Whether everything that the contract needs is ready."""
        return first_block(self.machine) is None and all(
            verdict.state != "blocked" for verdict in self.verdicts
        )


def first_block(findings: tuple[Finding, ...]) -> Finding | None:
    """The first blocking finding."""
    return next((finding for finding in findings if finding.level == "blocked"), None)
