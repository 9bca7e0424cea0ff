"""Prints a diagnosis as tables or as JSON."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import click
from rich.console import Console
from rich.table import Table
from rich.text import Text

from stages.backends.registry import declared
from tools.doctor.finding import Diagnosis, Finding, Level, State, Verdict, first_block

# Without a terminal, each finding stays on one line.
_PLAIN_WIDTH = 100_000

_MARKS: dict[Level, tuple[str, str]] = {
    "ok": ("ok", "green"),
    "warning": ("warning", "yellow"),
    "blocked": ("BLOCKED", "bold red"),
}
_STATES: dict[State, tuple[str, str]] = {
    "ready": ("READY", "bold green"),
    "blocked": ("BLOCKED", "bold red"),
    "unavailable": ("UNAVAILABLE", "bold yellow"),
}


def show(diagnosis: Diagnosis) -> None:
    """Print the tables and the verdicts."""
    if sys.stdout.isatty():
        _show_on(Console(highlight=False), diagnosis)
        return
    # A shell may force colours (FORCE_COLOR), but a file or a pipe gets none.
    console = Console(highlight=False, force_terminal=False, width=_PLAIN_WIDTH)
    with console.capture() as shown:
        _show_on(console, diagnosis)
    for line in shown.get().splitlines():
        click.echo(line.rstrip())


def _show_on(console: Console, diagnosis: Diagnosis) -> None:
    console.print(_table(Text("This machine", "bold"), diagnosis.machine))
    for group in _alike(diagnosis.verdicts):
        console.print()
        console.print(_table(_heading(group), group[0].findings))
    console.print()
    for verdict in diagnosis.verdicts:
        console.print(_line(verdict), soft_wrap=True)
    console.print(Text(summary(diagnosis)), soft_wrap=True)


def _alike(verdicts: Sequence[Verdict]) -> list[list[Verdict]]:
    """Groups of verdicts with the same findings."""
    groups: list[list[Verdict]] = []
    for verdict in verdicts:
        last = groups[-1][0] if groups else None
        if last and (last.backend, last.findings) == (verdict.backend, verdict.findings):
            groups[-1].append(verdict)
        else:
            groups.append([verdict])
    return groups


def _heading(group: Sequence[Verdict]) -> Text:
    heading = Text()
    for i, verdict in enumerate(group):
        heading.append(("   " if i else "") + verdict.title + ": ", "bold")
        heading.append(*_STATES[verdict.state])
    return heading


def _table(title: Text, findings: Sequence[Finding]) -> Table:
    table = Table(title=title, title_justify="left", box=None, pad_edge=False, show_header=False)
    table.add_column(no_wrap=True, min_width=len("BLOCKED"))
    table.add_column(no_wrap=True, min_width=len("servers left over"))
    table.add_column()
    for finding in findings:
        answer = Text(finding.found)
        if finding.fix:
            answer.append(f"\n-> {finding.fix}", "italic")
        table.add_row(Text(*_MARKS[finding.level]), Text(finding.check), answer)
    return table


def _line(verdict: Verdict) -> Text:
    word, style = _STATES[verdict.state]
    line = Text(f"{word:<12}", style)
    return line.append(f"{verdict.title}{f': {verdict.reason}' if verdict.reason else ''}", "none")


def summary(diagnosis: Diagnosis) -> str:
    """The conclusion, in one line."""
    measured = _names(diagnosis, "ready")
    if (block := first_block(diagnosis.machine)) is not None:
        return f"Nothing can be measured here: {block.check} is blocked."
    blocked = _names(diagnosis, "blocked")
    if blocked:
        also = f"; {measured} is ready" if measured else ""
        return f"{blocked} cannot be measured here{also}."
    if not measured:
        gone = _names(diagnosis, "unavailable")
        return f"Nothing is blocked, and nothing is measured here; unavailable: {gone}."
    asked = {verdict.backend for verdict in diagnosis.verdicts}
    # `make repro` would also need the other half, which this machine was not asked about.
    command = "make repro" if len(asked) > 1 else f"make measure BACKEND={min(asked)}"
    return f"Ready: {command} measures {measured} here."


def _names(diagnosis: Diagnosis, state: State) -> str:
    names = {v.backend: declared(v.backend).title for v in diagnosis.verdicts if v.state == state}
    return " and ".join(names.values())


def as_json(diagnosis: Diagnosis) -> str:
    """The diagnosis as JSON."""
    document: dict[str, Any] = {
        "ready": diagnosis.ready,
        "summary": summary(diagnosis),
        "machine": [asdict(finding) for finding in diagnosis.machine],
        "backends": [
            {
                "backend": verdict.backend,
                "view": verdict.view,
                "state": verdict.state,
                "reason": verdict.reason,
                "findings": [asdict(finding) for finding in verdict.findings],
            }
            for verdict in diagnosis.verdicts
        ],
    }
    return json.dumps(document, indent=2, ensure_ascii=False)
