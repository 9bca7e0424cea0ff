"""`make plan`: print what a measurement would do, without doing any of it.

It needs no environment, no data and no network. Results of earlier measurements make its estimate
better.
"""

from __future__ import annotations

from collections.abc import Iterator

import click

from stages.common.errors import ContractError, UserError, one_line_errors
from stages.contract import PARAMS, VIEWS, Contract, load_contract, parse_contract
from stages.contract.document import read_yaml
from stages.environments.build import missing_commit
from stages.measure.servers.caches import cache_names, cache_variables
from stages.measure.servers.launched import launch_variables
from stages.plan.plan import Plan, plan_for
from tools.compose import composed
from tools.plan.rates import known_rates
from tools.plan.rough import rough_rates
from tools.plan.subject import subject_of
from tools.plan.words import Estimate, closing, estimate, lines_of, opening


def missing(plan: Plan) -> list[str]:
    """The keys that must be set before it can be measured."""
    if plan.contract.base_url is not None:
        return []
    key = missing_commit(plan.environment, plan.commit, plan.device)
    return [] if key is None else [key]


def variables(plan: Plan) -> dict[str, str]:
    """The environment variables that are set for the server, beyond those of the shell."""
    try:
        caches = {name: str(folder) for name, folder in cache_variables(plan).items()}
    except UserError:
        # Which environment it is follows from the commit, which is not known or not here.
        unknown = "(a folder of the cache, named after the commit)"
        caches = dict.fromkeys(cache_names(plan), unknown)
    return caches | launch_variables(plan)


def dry_run(contract: Contract) -> Iterator[str]:
    """The lines of the dry run.

    Raises:
        ContractError: the contract or its `rough_rates` are wrong.
    """
    # Validated before the first line, even where no backend needs it.
    rough_rates(contract)
    subject = subject_of(contract)
    yield from opening(contract, subject.workloads)
    times: dict[str, list[Estimate]] = {backend: [] for backend in contract.pair.both}
    for backend in contract.pair.both:
        for view in VIEWS:
            yield ""
            try:
                plan = plan_for(contract, backend, view, subject)
            except ContractError:
                raise
            except UserError as error:
                yield f"{backend}-{view}: cannot be planned yet: {error}"
                continue
            time = estimate(plan, known_rates(plan, contract))
            if plan.unavailable is None:
                times[backend].append(time)
            yield from lines_of(plan, variables(plan), missing(plan), time)
    yield ""
    yield from closing(times, contract.prices_usd_per_hour)


@click.command()
@click.argument("choices", nargs=-1)
@one_line_errors
def main(choices: tuple[str, ...]) -> None:
    """Print what `params.yaml`, or a composition of `conf/` with CHOICES, would measure."""
    text = composed(choices).decode() if choices else None
    made = load_contract() if text is None else parse_contract(read_yaml(text, str(PARAMS)))
    for line in dry_run(made):
        click.echo(line)
