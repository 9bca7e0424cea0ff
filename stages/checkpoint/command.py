"""Stage ``checkpoint``: the model under test, built from a seed, from a package, or pinned.

Writes ``data/checkpoint/``: ``model.json`` describes the model, ``config.json`` is its
architecture. The weights of a synthetic or packaged model lie beside them, with the
``tokenizer.json`` of a packaged one. The servers fetch the weights of a hub model at the pinned
revision.
"""

from __future__ import annotations

from pathlib import Path

import click

from stages.checkpoint.hub import resolve_hub
from stages.checkpoint.packaged import write_packaged
from stages.checkpoint.synthetic import write_synthetic
from stages.common.errors import one_line_errors
from stages.common.files import write_whole
from stages.contract import HubModel, SyntheticModel, load_contract
from stages.documents.matrix import CHECKPOINT_FOLDER


@click.command()
@click.option("--output", type=click.Path(path_type=Path), default=CHECKPOINT_FOLDER)
@one_line_errors
def main(output: Path) -> None:
    """Build or pin the model under test."""
    contract = load_contract()
    if isinstance(contract.model, SyntheticModel):
        model = write_synthetic(contract.model, contract.vocabulary, output)
    elif isinstance(contract.model, HubModel):
        model = resolve_hub(contract.model, contract.vocabulary, output)
    else:
        model = write_packaged(contract.model, contract.vocabulary, output)
    write_whole(output / "model.json", (model.model_dump_json(indent=2) + "\n").encode())
    click.echo(f"checkpoint: {model.title}, sha256 {model.sha256[:12]}")
