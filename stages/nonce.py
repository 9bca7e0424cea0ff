"""Stage ``nonce``: draw the random number that makes this comparison's requests unique.

Writes ``data/nonce/nonce.json``. DVC draws a new one when the chunk sizes or the number of sweep
passes change. `make remeasure` draws a new one each time. When the workloads change it stays, so
that an interrupted measurement keeps its passes of those that did not. A workload that changed has
other salts all the same, because its hash is part of them.
"""

from __future__ import annotations

from pathlib import Path

import click

from stages.common.errors import one_line_errors
from stages.documents.nonce import NONCE_FILE, draw_nonce, write_nonce


@click.command()
@click.option("--output", type=click.Path(path_type=Path), default=NONCE_FILE)
@one_line_errors
def main(output: Path) -> None:
    """Draw the nonce of a comparison."""
    nonce = draw_nonce()
    write_nonce(output, nonce)
    click.echo(f"nonce: {nonce}, in the salt of every request of this comparison")


if __name__ == "__main__":
    main()
