"""Measure the half of one backend on its machine.

`python -m tools.combine.half BACKEND` runs the stages of that half and their inputs, and commits
nothing. It builds only this backend's environment. Before it measures, it prints which nonce it
uses, because halves under two nonces cannot be combined.
"""

from __future__ import annotations

from pathlib import Path

import click

from stages.backends.registry import declared
from stages.common.errors import one_line, one_line_errors
from stages.contract import load_contract
from tools.combine.halves import outputs_of, stages_of
from tools.combine.locks import (
    LOCK_FILE,
    NONCE,
    PREPARED,
    Entry,
    Lock,
    differences,
    listed,
    parse_lock,
    shown,
)
from tools.combine.repository import dvc, has_remote, show_dvc, try_git


def pull_prepared() -> None:
    """Pull the workloads, the checkpoint and the nonce, if another machine has pushed them."""
    lock = _lock()
    stages = [stage for stage in PREPARED if stage in lock]
    if not stages or not has_remote():
        return
    done = dvc("pull", *stages)
    if done.returncode != 0:
        absent = "Checkout failed" in done.stderr
        named = set(done.stderr.splitlines())
        missing = [stage for stage in stages if named & lock[stage].outs.keys()] or stages
        reason = "not in the DVC remote" if absent else f"not pulled ({one_line(done.stderr)})"
        click.echo(f"{listed(missing)}: {reason}, so made here if need be")


def prepare() -> None:
    """Make missing inputs, and print whether the other half can use the same nonce."""
    before = _lock().get(NONCE)
    show_dvc("repro", *PREPARED)
    now = _lock()[NONCE]
    if now == before and _is_handed_over(now):
        click.echo(f"nonce {_hash(now)}: found, as dvc.lock names it")
        return
    click.echo(
        f"nonce {_hash(now)}: {_why_new(before, now)}.\n"
        "Both halves must have the same nonce. Before the other machine measures its half:\n"
        "  git commit --all -m 'What both halves are measured on'\n"
        f"  dvc push {' '.join(PREPARED)}\n"
        "  git push --set-upstream origin HEAD\n"
        "and bring that commit to the other machine"
    )


def _why_new(before: Entry | None, now: Entry) -> str:
    changes = differences(before, now) if before else []
    if not changes or before is None:
        return "drawn here, and not handed over yet"
    drawn = f"drawn here in the place of {_hash(before)}"
    if any(difference.kind != "output" for difference in changes):
        return f"{drawn}, because its inputs have changed"
    return (
        f"{drawn}, which dvc.lock names and which was not found. Nothing measured under that one"
        " can be combined with this half: if another machine has it, stop here, run"
        f" `dvc push {NONCE}` there and `git checkout -- {LOCK_FILE}` here, and begin again"
    )


def _lock() -> Lock:
    path = Path(LOCK_FILE)
    return parse_lock(path.read_text("utf-8"), LOCK_FILE) if path.exists() else {}


def _hash(nonce: Entry) -> str:
    """The beginning of its hash in the lock."""
    return shown("output", *nonce.outs.values())


def _is_handed_over(nonce: Entry) -> bool:
    """Whether another machine can get it, by the DVC remote or else by git."""
    if has_remote():
        return "new" not in dvc("status", "--cloud", "--json", NONCE).stdout
    text = try_git("show", f"HEAD:{LOCK_FILE}")
    return text is not None and parse_lock(text, f"HEAD: {LOCK_FILE}").get(NONCE) == nonce


@click.command()
@click.argument("backend")
@one_line_errors
def main(backend: str) -> None:
    """Measure BACKEND in both views."""
    contract = load_contract()
    title = declared(contract.paired(backend)).title
    pull_prepared()
    prepare()
    stages = stages_of(backend, contract.pair)
    show_dvc("repro", *stages)
    outputs = " ".join([*PREPARED, *outputs_of(backend, contract.pair)])
    click.echo(
        f"The {title} half is there. To hand it over:\n"
        f"  git commit --all -m 'Measure {title}'\n"
        f"  dvc push {outputs}\n"
        "  git push --set-upstream origin HEAD\n"
        "and when the other half is there too, with the branches of both:\n"
        "  git fetch\n"
        "  make combine FROM='REF [REF...]'"
    )


if __name__ == "__main__":
    main()
