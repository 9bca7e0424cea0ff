"""Stage ``delimiters``: the token that each packing server puts between the items of a request.

Writes ``data/delimiters/delimiters.json``. The file changes only with a delimiter, so the stage
``oracle``, which reads it, does not run again when another flag of a server changes.
"""

from __future__ import annotations

from pathlib import Path

import click

from stages.common.errors import one_line_errors
from stages.contract import load_contract
from stages.documents.delimiters import DELIMITERS_FILE, by_title, write_delimiters
from stages.plan.packing import delimiters_of


@click.command()
@click.option("--output", type=click.Path(path_type=Path), default=DELIMITERS_FILE)
@one_line_errors
def main(output: Path) -> None:
    """Write which servers pack items, and with which delimiter."""
    delimiters = delimiters_of(load_contract())
    write_delimiters(output, delimiters)
    told = ", ".join(f"{title} {token}" for title, token in by_title(delimiters).items())
    click.echo(f"delimiters: {told or 'no server packs items'}")


if __name__ == "__main__":
    main()
