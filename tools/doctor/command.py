"""`make doctor`: report what is ready on this machine, what is blocked, and why.

It installs, starts and locks nothing. `--record` makes a blocked backend unavailable in
`params.yaml`, with the reason. `--clear` removes such a reason, and with `--backend` also one that
was written by hand.
"""

from __future__ import annotations

import dataclasses
import sys
import tempfile
from collections.abc import Iterable, Mapping
from pathlib import Path

import click

from stages.common.errors import UserError, one_line_errors
from stages.common.files import write_whole
from stages.contract import PARAMS, Backend, Contract, load_contract
from stages.documents.cell import MatrixKey
from tools.doctor.finding import Question, first_block
from tools.doctor.gather import gather
from tools.doctor.judge import diagnose, judge_backends
from tools.doctor.record import with_reason
from tools.doctor.recording import Asked, decide
from tools.doctor.show import as_json, show


def rewrite(
    path: Path, reasons: Mapping[Backend, str | None], cleared: Iterable[MatrixKey] = ()
) -> Contract:
    """Write new reasons into the contract's file, and return the new contract.

    Args:
        path: the contract's file.
        reasons: the new ones, by backend; ``None`` to clear one.
        cleared: the views whose own reason is cleared.

    Raises:
        UserError: the file cannot be edited without another change.
    """
    before = load_contract(path)
    text = path.read_text("utf-8")
    expected = before.model_dump()
    for backend, reason in reasons.items():
        text = with_reason(text, backend, reason)
        expected["backends"][backend]["unavailable"] = reason
    for backend, view in cleared:
        text = with_reason(text, backend, None, view)
        expected["backends"][backend][view]["unavailable"] = None
    with tempfile.TemporaryDirectory() as folder:
        draft = Path(folder) / path.name
        draft.write_text(text, "utf-8")
        after = load_contract(draft)
    if after.model_dump() != expected:
        names = dict.fromkeys([*reasons, *(key.backend for key in cleared)])
        raise UserError(f"{path}: too unusual to be changed; set {', '.join(names)} by hand")
    write_whole(path, text.encode())
    return after


@click.command()
@click.option(
    "--backend",
    "named",
    multiple=True,
    help="Check this backend only, for example where another machine measures the other one.",
)
@click.option("--record", is_flag=True, help="Make blocked backends unavailable in params.yaml.")
@click.option(
    "--clear",
    is_flag=True,
    help="Clear recorded reasons that no longer hold; for a named backend, any reason.",
)
@click.option("--json", "machine_readable", is_flag=True, help="Print JSON instead of tables.")
@one_line_errors
def main(named: tuple[str, ...], record: bool, clear: bool, machine_readable: bool) -> None:
    """Report what is ready here; exit code 1 if the contract needs something that is blocked."""
    contract = load_contract()
    asked = {contract.paired(name) for name in named} or set(contract.pair.both)
    backends = tuple(b for b in contract.pair.both if b in asked)
    question = Question(contract, backends, gather(contract, backends))
    diagnosis = diagnose(question)
    decision = decide(question, diagnosis, Asked(record, clear, bool(named)))
    if decision.changes or decision.cleared:
        rewritten = rewrite(PARAMS, decision.changes, decision.cleared)
        changed = dataclasses.replace(question, contract=rewritten)
        # What was found on the machine does not change with it.
        verdicts = judge_backends(changed, first_block(diagnosis.machine))
        diagnosis = dataclasses.replace(diagnosis, verdicts=verdicts)
    if machine_readable:
        click.echo(as_json(diagnosis))
    else:
        show(diagnosis)
    for line in decision.lines:
        click.echo(line, err=machine_readable)
    sys.exit(0 if diagnosis.ready else 1)
