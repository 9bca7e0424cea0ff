"""The command behind `make plan`: everything a target would do, without doing any of it.

It needs no environment, no data and no network; what is there of earlier measurements makes
its estimate better.
"""

from __future__ import annotations

from collections.abc import Iterator

import click
import yaml

from stages.canonical import CanonicalWorkload
from stages.compose import composed
from stages.contract import (
    BACKENDS,
    VIEWS,
    Contract,
    DrawnWorkload,
    HubModel,
    SyntheticModel,
    load_contract,
    parse_contract,
)
from stages.dry_run.rates import known_rates
from stages.dry_run.words import Estimate, closing, estimate, lines_of, opening
from stages.environment import CHECKOUTS
from stages.errors import ContractError, UserError, one_line_errors
from stages.files import sha256
from stages.measure.caches import cache_variables
from stages.measure.plan import Plan, Subject, attention_heads, plan_for
from stages.model_record import read_model
from stages.packaged.fetch import is_fetched
from stages.schema import CHECKPOINT_FOLDER, MODEL_FILE, Model
from stages.workload import build_workload, read_tokenizer, tokenize_workload


def subject_of(contract: Contract) -> Subject:
    """What would be scored, made anew; and the model, resolved if an earlier run has done so.

    Raises:
        UserError: its texts cannot be tokenized before their tokenizer has been fetched.
    """
    workload = _workload_of(contract)
    model, heads = _resolved(contract) or _unresolved(contract)
    return Subject(workload, sha256(workload.canonical_bytes()), model, heads)


def _workload_of(contract: Contract) -> CanonicalWorkload:
    parameters = contract.workload
    if isinstance(parameters, DrawnWorkload):
        return build_workload(parameters, contract.vocabulary)
    pinned = parameters.tokenizer
    if not is_fetched("workload.tokenizer", pinned.package, pinned.version):
        raise UserError(
            f"how many tokens the texts have is known once {pinned.package} {pinned.version} is in"
            " the cache: `dvc repro workload` with this contract fetches it"
        )
    return tokenize_workload(parameters, contract.vocabulary, read_tokenizer(pinned))


def _resolved(contract: Contract) -> tuple[Model, int] | None:
    try:
        model = read_model(MODEL_FILE)
        return (model, attention_heads()) if contract.model.title in model.title else None
    except UserError:
        return None


def _unresolved(contract: Contract) -> tuple[Model, int | None]:
    wanted = contract.model
    hub = isinstance(wanted, HubModel)
    model = Model(
        title=wanted.title,
        sha256="",
        trained=hub,
        path=wanted.repository if isinstance(wanted, HubModel) else CHECKPOINT_FOLDER.as_posix(),
        revision=wanted.revision if isinstance(wanted, HubModel) else None,
    )
    return model, wanted.attention_heads if isinstance(wanted, SyntheticModel) else None


def missing(plan: Plan) -> list[str]:
    """The keys without which it would not be measured."""
    checkout = CHECKOUTS.get(plan.environment)
    if checkout is None or plan.commit is not None or plan.contract.base_url is not None:
        return []
    return [checkout.key]


def variables(plan: Plan) -> dict[str, str]:
    """The server's environment variables, beyond those of whoever starts it."""
    caches = {name: str(folder) for name, folder in cache_variables(plan).items()}
    if missing(plan):
        caches = dict.fromkeys(caches, "(a folder of the cache, named after the commit)")
    return caches | plan.contract.launch.environ


def tell(contract: Contract) -> Iterator[str]:
    """The whole dry run, line by line."""
    subject = subject_of(contract)
    yield opening(contract, subject.workload)
    times: dict[str, list[Estimate]] = {backend: [] for backend in BACKENDS}
    for backend in BACKENDS:
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
    yield from closing(times, contract.prices_usd_per_hour.model_dump())


@click.command()
@click.argument("choices", nargs=-1)
@one_line_errors
def main(choices: tuple[str, ...]) -> None:
    """Say what `params.yaml` would measure, or a composition of `conf/` with CHOICES."""
    text = composed(choices) if choices else None
    for line in tell(load_contract() if text is None else parse_contract(yaml.safe_load(text))):
        click.echo(line)


if __name__ == "__main__":
    main()
