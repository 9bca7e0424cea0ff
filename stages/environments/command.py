"""`python -m stages.environments [NAME...]`: build what the contract in force needs, or NAMES."""

from __future__ import annotations

import click

from stages.common.errors import one_line_errors
from stages.contract import load_contract
from stages.environments.build import ENVIRONMENTS, ensure_environment, needed


@click.command()
@click.argument("names", nargs=-1, type=click.Choice(ENVIRONMENTS))
@one_line_errors
def main(names: tuple[str, ...]) -> None:
    """Build the environments NAMES (by default those that the contract in force needs)."""
    commits = needed(load_contract())
    for name in names or commits:
        ensure_environment(name, commits.get(name))
