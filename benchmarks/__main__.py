"""Runs all benchmarks, keeps the figures and compares them with the last ones.

It is started as ``python -m benchmarks``. A figure without a unit is a ratio of things measured
side by side, or a share, so a busy machine hardly moves it. Those are compared, except for medians,
which a busy machine does move. Times, requests per second and medians are only kept.
"""

from __future__ import annotations

import click
from rich.console import Console
from rich.table import Table

from benchmarks.client import measure, show
from benchmarks.coverage import used_methods
from benchmarks.overlap import figures as overlap_figures
from benchmarks.record import Record, keep, last_on, ratios, records_file
from stages.common.errors import one_line_errors

_ROUNDS_OF_OVERLAP = 7

_WITH_UNIT = ("us ", "ms ", "requests/s ")


def client_figures(rounds: int) -> dict[str, float]:
    """The client's cost, by name; printed as well."""
    measured = measure(rounds)
    show(measured, rounds)
    figures = {}
    for items, one in measured.items():
        for client, seconds in one.seconds.items():
            figures[f"us {client}, {items} items"] = seconds * 1e6
        for rival, ratio in one.ratios.items():
            figures[f"ours/{rival}, {items} items"] = ratio.fastest
            figures[f"ours/{rival}, {items} items, median"] = ratio.median
    return figures


def coverage_figures(draws: int) -> dict[str, float]:
    """The worst coverage of each method in use, by name."""
    return {
        f"coverage of the {figure}, {one.passes} passes": one.worst
        for figure, one in used_methods(draws)
    }


def compared(now: Record, last: Record) -> Table:
    """A row for each figure to compare that both records have."""
    table = Table(title=f"{now.code} now, {last.code} on {last.at}")
    for column in ("figure", "last", "now", "now/last"):
        table.add_column(column, justify="left" if column == "figure" else "right")
    for name, ratio in ratios(now, last).items():
        if not name.startswith(_WITH_UNIT) and not name.endswith("median"):
            table.add_row(
                name, f"{last.figures[name]:.3f}", f"{now.figures[name]:.3f}", f"{ratio:.2f}"
            )
    return table


@click.command(help="Run all benchmarks, keep the figures, compare them with the last ones.")
@click.option("--rounds", type=click.IntRange(min=1), default=101, show_default=True)
@click.option("--seconds", type=click.FloatRange(min=0.01), default=5.0, show_default=True)
@click.option("--draws", type=click.IntRange(min=1), default=20_000, show_default=True)
@one_line_errors
def main(rounds: int, seconds: float, draws: int) -> None:
    """Print all figures, and each over that of the last run on this machine."""
    now = Record.of_now(
        {
            **client_figures(rounds),
            **dict(overlap_figures(min(rounds, _ROUNDS_OF_OVERLAP), seconds)),
            **coverage_figures(draws),
        }
    )
    path = records_file()
    last = last_on(now.host, path)
    keep(now, path)
    if last is None:
        click.echo(f"The first run on this machine; its figures are in {path}.")
        return
    Console().print(compared(now, last))
    click.echo(f"All runs are in {path}.")


if __name__ == "__main__":
    main()
