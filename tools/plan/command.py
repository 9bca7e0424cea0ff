"""The command behind `make plan`: everything a target would do, without doing any of it.

It needs no environment, no data and no network; what is there of earlier measurements makes
its estimate better.
"""

from __future__ import annotations

from collections.abc import Iterator

import click

from stages.common.errors import ContractError, UserError, one_line_errors
from stages.contract import PARAMS, VIEWS, Contract, load_contract, parse_contract
from stages.contract.document import read_yaml
from stages.environments.build import missing_commit
from stages.measure.servers.caches import cache_names, cache_variables
from stages.plan.plan import Plan, plan_for
from tools.compose import composed
from tools.plan.rates import known_rates
from tools.plan.rough import rough_rates
from tools.plan.subject import subject_of
from tools.plan.words import Estimate, closing, estimate, lines_of, opening


def missing(plan: Plan) -> list[str]:
    """The keys without which it would not be measured."""
    if plan.contract.base_url is not None:
        return []
    key = missing_commit(plan.environment, plan.commit, plan.device)
    return [] if key is None else [key]


def variables(plan: Plan) -> dict[str, str]:
    """The server's environment variables, beyond those of whoever starts it."""
    try:
        caches = {name: str(folder) for name, folder in cache_variables(plan).items()}
    except UserError:
        # Which environment it is follows from the commit, which is not known or not here.
        unknown = "(a folder of the cache, named after the commit)"
        caches = dict.fromkeys(cache_names(plan), unknown)
    return caches | plan.contract.launch.environ


def tell(contract: Contract) -> Iterator[str]:
    """The whole dry run, line by line.

    Raises:
        ContractError: the contract, or what it tells of the target's speed, is wrong.
    """
    # Before the first line, also where no backend needs it.
    rough_rates(contract)
    subject = subject_of(contract)
    yield opening(contract, subject.workload)
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
    """Say what `params.yaml` would measure, or a composition of `conf/` with CHOICES."""
    text = composed(choices).decode() if choices else None
    made = load_contract() if text is None else parse_contract(read_yaml(text, str(PARAMS)))
    for line in tell(made):
        click.echo(line)
