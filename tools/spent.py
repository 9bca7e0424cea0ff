"""Says what the wall clock of a `dvc repro` was spent on.

`make repro` runs this at its end. What a measurement spends on server starts and on passes, the
matrix says (:class:`stages.documents.matrix.TimeSplit`). All else is the rest: probes, extra
starts, the end of each server, the other stages and DVC itself. Where no matrix was measured, or
one of them was begun earlier, nothing is printed.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import UTC, datetime

import click

from stages.common.errors import UserError, one_line_errors
from stages.contract import VIEWS, Contract, load_contract
from stages.documents.matrix import MATRIX_FILE, Run, folder_of, read_matrix


def split(runs: list[Run], seconds: float) -> str | None:
    """One sentence on where the time went.

    Args:
        runs: that were measured in this time, all of them whole.
        seconds: from its begin to its end.

    Returns:
        ``None`` where nothing was measured, or where a clock that was set makes no sense of it.
    """
    if not runs:
        return None
    times = [run.seconds for run in runs]
    starts = sum(one.server_start for one in times)
    passes = sum(one.warmup + one.sweep + one.confirm for one in times)
    rest = seconds - starts - passes
    if rest < 0:
        return None
    return (
        f"dvc repro took {seconds:.0f} s: server starts {starts:.0f} s, passes with their warm-up"
        f" {passes:.0f} s, everything else {rest:.0f} s ({rest / seconds:.0%})"
    )


def _runs(contract: Contract) -> Iterator[Run]:
    """Of every matrix that is there and can be read."""
    for backend in contract.pair.both:
        for view in VIEWS:
            try:
                yield read_matrix(folder_of(backend, view) / MATRIX_FILE).provenance.run
            except UserError:
                continue


@click.command()
@click.option("--since", type=float, required=True, help="When dvc began, seconds since 1970.")
@one_line_errors
def main(since: float) -> None:
    """Say what the wall clock since then was spent on."""
    began = datetime.fromtimestamp(since, UTC)
    mine = [
        run
        for run in _runs(load_contract())
        if sum(run.seconds.model_dump().values()) > 0
        and datetime.fromisoformat(run.finished_at) >= began
    ]
    # What was measured before an interruption is in the matrix's seconds, and not in these.
    if any(run.interruptions for run in mine):
        return
    if said := split(mine, time.time() - since):
        click.echo(said)


if __name__ == "__main__":
    main()
