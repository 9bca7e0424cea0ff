"""Finds the workloads and the model of a dry run, before any stage has run."""

from __future__ import annotations

from stages.common.errors import UserError
from stages.contract import (
    Contract,
    DrawnWorkload,
    HubModel,
    PackagedModel,
    SyntheticModel,
    TextWorkload,
)
from stages.documents.matrix import CHECKPOINT_FOLDER, MODEL_FILE, Model
from stages.documents.model import read_model
from stages.documents.workload import Workloads
from stages.packaged.fetch import is_fetched
from stages.plan.plan import Subject, attention_heads
from stages.workload import build_workloads


def subject_of(contract: Contract) -> Subject:
    """The workloads, built anew, and the model, resolved if an earlier run resolved it.

    Raises:
        UserError: a workload consists of texts whose tokenizer has not been fetched.
    """
    for name, parameters in contract.workloads.items():
        if not isinstance(parameters, DrawnWorkload):
            _check_tokenizer(name, parameters)
    workloads = Workloads.of(build_workloads(contract))
    model, heads = _resolved(contract) or _unresolved(contract)
    return Subject(workloads, model, heads)


def _check_tokenizer(name: str, parameters: TextWorkload) -> None:
    """Refuse a workload of texts whose tokenizer would have to be downloaded."""
    pinned, key = parameters.tokenizer, f"workloads.{name}.tokenizer"
    if not is_fetched(key, pinned.package, pinned.version):
        raise UserError(
            f"{key}: the texts cannot be tokenized before {pinned.package} {pinned.version} is in"
            " the cache; run `dvc repro workload` under this contract"
        )


def _resolved(contract: Contract) -> tuple[Model, int] | None:
    wanted = contract.model
    try:
        model = read_model(MODEL_FILE)
        if isinstance(wanted, PackagedModel):
            same = model.sha256 == wanted.sha256
        else:
            same = model.title == wanted.title
        return (model, attention_heads()) if same else None
    except UserError:
        return None


def _unresolved(contract: Contract) -> tuple[Model, int | None]:
    wanted = contract.model
    hub = wanted if isinstance(wanted, HubModel) else None
    model = Model(
        title=wanted.title,
        sha256="",
        trained=not isinstance(wanted, SyntheticModel),
        path=hub.repository if hub else CHECKPOINT_FOLDER.as_posix(),
        revision=hub.revision if hub else None,
    )
    return model, wanted.attention_heads if isinstance(wanted, SyntheticModel) else None
