"""Stage ``compare``: read all measured tables and write the comparison.

Writes to ``data/compare/``: ``comparison.json``, ``metrics.json`` and, for `dvc plots`,
``portable.csv`` and ``best_native.csv``.
"""

from __future__ import annotations

import json
from pathlib import Path

import click

from stages.common.errors import one_line_errors
from stages.common.files import write_whole
from stages.common.numbers import number
from stages.compare.assemble import Evidence, assemble_all
from stages.compare.belonging import Expected, check_matrix, check_oracle, check_probes
from stages.compare.exports import all_metrics, plot_table
from stages.contract import VIEWS, Contract, load_contract
from stages.documents.cell import matrix_keys
from stages.documents.comparison import Comparison, ComparisonSet
from stages.documents.delimiters import by_title
from stages.documents.matrix import (
    COMPARISON_FILE,
    MATRIX_FILE,
    MODEL_FILE,
    WORKLOAD_FILE,
    folder_of,
    read_matrix,
)
from stages.documents.model import read_model
from stages.documents.nonce import NONCE_FILE, read_nonce
from stages.documents.oracle import ORACLE_FILE, read_oracle
from stages.documents.probes import PROBES_FILE, read_probes
from stages.documents.workload import read_workloads
from stages.environments.build import environment_sha256s
from stages.plan.packing import delimiters_of


def compare(contract: Contract) -> ComparisonSet:
    """Read, check and compare everything that was measured.

    Raises:
        UserError: a file is missing, damaged, or does not belong to the others.
    """
    workloads = read_workloads(WORKLOAD_FILE, contract.workloads)
    launches = {b: contract.backends[b].launch for b in contract.pair.both}
    expected = Expected(
        contract=contract,
        workloads=workloads,
        nonce=read_nonce(NONCE_FILE),
        model_sha256=read_model(MODEL_FILE).sha256,
        environment_sha256s={
            b: environment_sha256s(launch.environment, launch.commit, launch.device)
            for b, launch in launches.items()
        },
        delimiters=by_title(delimiters_of(contract)),
    )
    matrices, probes = {}, {}
    for key in matrix_keys(contract.pair):
        folder = folder_of(*key)
        matrix = read_matrix(folder / MATRIX_FILE)
        check_matrix(folder / MATRIX_FILE, matrix, *key, expected)
        matrices[key] = matrix
        probes[key] = read_probes(folder / PROBES_FILE)
        check_probes(folder / PROBES_FILE, probes[key], matrix)
    oracle = read_oracle(ORACLE_FILE)
    check_oracle(ORACLE_FILE, oracle, expected)
    return assemble_all(contract, workloads, Evidence(matrices, probes, oracle))


def write_comparison(found: ComparisonSet, folder: Path) -> None:
    """Write the comparison, and the files for `dvc metrics` and `dvc plots`."""
    document = found.model_dump_json(indent=1) + "\n"
    write_whole(folder / COMPARISON_FILE.name, document.encode())
    summary = json.dumps(all_metrics(found), indent=2) + "\n"
    write_whole(folder / "metrics.json", summary.encode())
    for view in VIEWS:
        write_whole(folder / f"{view}.csv", plot_table(found, view))


@click.command()
@click.option("--output", type=click.Path(path_type=Path), default=COMPARISON_FILE.parent)
@one_line_errors
def main(output: Path) -> None:
    """Compare both backends in both views."""
    found = compare(load_contract())
    write_comparison(found, output)
    for comparison in found.workloads:
        _print_winners(comparison)


def _print_winners(comparison: Comparison) -> None:
    for view in comparison.views():
        won = view.winner
        found = {
            "outcome": won.outcome,
            "leader": won.leader,
            "chunk_size": won.chunk_size,
            "items_per_s": None if won.items_per_s is None else number(won.items_per_s),
            "confidence": won.confidence,
        }
        known = " ".join(f"{name}={value}" for name, value in found.items() if value is not None)
        click.echo(f"{comparison.scope.workload}, {view.view}: {known}")
