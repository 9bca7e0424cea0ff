"""Stage ``compare``: read the four matrices and write what they add up to.

Writes to ``data/compare/``: ``comparison.json``, ``metrics.json`` and, for `dvc plots`,
``portable.csv`` and ``best_native.csv``.
"""

from __future__ import annotations

import json
from pathlib import Path

import click

from stages.canonical import read_workload
from stages.compare.assemble import assemble
from stages.compare.belonging import check_belongs, check_comparable
from stages.compare.exports import metrics, plot_table
from stages.contract import BACKENDS, VIEWS, load_contract
from stages.errors import one_line_errors
from stages.files import write_whole
from stages.schema import COMPARISON_FILE, MATRIX_FILE, WORKLOAD_FILE, folder_of, read_matrix


@click.command()
@click.option("--output", type=click.Path(path_type=Path), default=COMPARISON_FILE.parent)
@one_line_errors
def main(output: Path) -> None:
    """Compare both backends in both views."""
    contract = load_contract()
    workload, digest = read_workload(WORKLOAD_FILE)
    matrices = {}
    for backend in BACKENDS:
        for view in VIEWS:
            path = folder_of(backend, view) / MATRIX_FILE
            matrix = read_matrix(path)
            check_belongs(path, matrix, backend, view, digest)
            matrices[backend, view] = matrix
            check_comparable(path, matrix, next(iter(matrices.values())).provenance)
    comparison = assemble(contract, workload, digest, matrices)
    write_whole(
        output / COMPARISON_FILE.name, (comparison.model_dump_json(indent=1) + "\n").encode()
    )
    write_whole(
        output / "metrics.json", (json.dumps(metrics(comparison), indent=2) + "\n").encode()
    )
    for view_comparison in comparison.views():
        write_whole(output / f"{view_comparison.view}.csv", plot_table(view_comparison))
        click.echo(f"{view_comparison.view}: {view_comparison.winner.sentence}")


if __name__ == "__main__":
    main()
