"""Finds the workload and the model of a dry run, before any stage has run."""

from __future__ import annotations

from stages.common.errors import UserError
from stages.common.files import sha256
from stages.contract import Contract, DrawnWorkload, HubModel, PackagedModel, SyntheticModel
from stages.documents.matrix import CHECKPOINT_FOLDER, MODEL_FILE, Model
from stages.documents.model import read_model
from stages.documents.workload import CanonicalWorkload
from stages.packaged.fetch import is_fetched
from stages.plan.plan import Subject, attention_heads
from stages.workload import build_workload, read_tokenizer, tokenize_workload


def subject_of(contract: Contract) -> Subject:
    """The workload, built anew, and the model, resolved if an earlier run resolved it.

    Raises:
        UserError: the workload consists of texts whose tokenizer has not been fetched.
    """
    workload = _workload(contract)
    model, heads = _resolved(contract) or _unresolved(contract)
    return Subject(workload, sha256(workload.canonical_bytes()), model, heads)


def _workload(contract: Contract) -> CanonicalWorkload:
    parameters = contract.workload
    if isinstance(parameters, DrawnWorkload):
        return build_workload(parameters, contract.vocabulary)
    pinned = parameters.tokenizer
    if not is_fetched("workload.tokenizer", pinned.package, pinned.version):
        raise UserError(
            f"the workload's texts cannot be tokenized before {pinned.package}"
            f" {pinned.version} is in the cache; run `dvc repro workload` under this contract"
        )
    return tokenize_workload(parameters, contract.vocabulary, read_tokenizer(pinned))


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
