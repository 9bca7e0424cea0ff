"""`python -m stages.environments [NAME...]`: build what the contract in force needs, or NAMES."""

from __future__ import annotations

import click

from stages.backends.registry import environment_names
from stages.common.errors import one_line_errors
from stages.contract import load_contract
from stages.environments.build import ensure_environment, needed


class _Name(click.ParamType[str]):
    """The name of an environment. The registry is read only when the command runs."""

    name = "name"

    def convert(self, value: str, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """The name, if a backend declares it."""
        return click.Choice(environment_names()).convert(value, param, ctx)


@click.command()
@click.argument("names", nargs=-1, type=_Name())
@one_line_errors
def main(names: tuple[str, ...]) -> None:
    """Build the environments NAMES (by default those that the contract in force needs)."""
    launches = needed(load_contract())
    for name in names or launches:
        if (launch := launches.get(name)) is None:
            ensure_environment(name)
        else:
            ensure_environment(name, launch.commit, launch.device)
