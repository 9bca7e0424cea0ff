"""Measure the half of one backend, on the machine that has what it runs on.

`python -m tools.combine.half BACKEND` runs the stages of that half and what they need, and
commits nothing. Only this backend's environment is built.
"""

from __future__ import annotations

from pathlib import Path

import click

from stages.common.errors import one_line, one_line_errors
from stages.contract import BACKEND_NAMES, BACKENDS, Backend, load_contract
from tools.combine.halves import PREPARED, stages_of
from tools.combine.locks import LOCK_FILE, parse_lock
from tools.combine.repository import dvc, has_remote, show_dvc


def pull_prepared() -> None:
    """Pull the workload and the checkpoint where another machine has pushed them."""
    path = Path(LOCK_FILE)
    lock = parse_lock(path.read_text("utf-8"), LOCK_FILE) if path.exists() else {}
    stages = [stage for stage in PREPARED if stage in lock]
    if not stages or not has_remote():
        return
    done = dvc("pull", *stages)
    if done.returncode != 0:
        absent = "Checkout failed" in done.stderr
        reason = "not in the DVC remote" if absent else f"not pulled ({one_line(done.stderr)})"
        click.echo(f"{' and '.join(stages)}: {reason}, so made here if need be")


@click.command()
@click.argument("backend", type=click.Choice(BACKENDS))
@one_line_errors
def main(backend: Backend) -> None:
    """Measure BACKEND in both views."""
    load_contract()
    pull_prepared()
    stages = stages_of(backend)
    show_dvc("repro", *stages)
    outputs = " ".join([*PREPARED, *stages])
    click.echo(
        f"The {BACKEND_NAMES[backend]} half is there. To hand it over:\n"
        f"  git commit --all -m 'Measure {BACKEND_NAMES[backend]}'\n"
        f"  dvc push {outputs}\n"
        "  git push --set-upstream origin HEAD\n"
        "and when the other half is there too, with the branches of both:\n"
        "  git fetch\n"
        "  make combine FROM='REF [REF...]'"
    )


if __name__ == "__main__":
    main()
