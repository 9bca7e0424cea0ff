"""By which flags, and with which token between the items, a view's server packs a request."""

from __future__ import annotations

from stages.backends.declared import Packing
from stages.backends.registry import declared
from stages.common.errors import ContractError
from stages.contract import VIEWS, Backend, Contract, View
from stages.documents.cell import MatrixKey
from stages.environments.build import pinned_version


def packing_of(contract: Contract, backend: Backend, view: View) -> Packing | None:
    """How the server of one view packs items; ``None`` where each item is a prompt of its own.

    Raises:
        UserError: the flags depend on a version that is not pinned or cannot be read.
        ContractError: the delimiter may occur in a prompt.
    """
    section, driver = contract.backends[backend], declared(backend)
    multi_item = section.view(view).multi_item
    if multi_item is None:
        return None
    released = section.launch.commit is None
    pinned = pinned_version(section.launch.environment, driver.package) if released else None
    packing = driver.packing(multi_item.delimiter_token_id, pinned)
    reserved = contract.vocabulary.reserved_token_ids
    if packing.delimiter not in reserved:
        allowed = f"{packing.delimiter} among them: {driver.package} {pinned} puts it between items"
        raise ContractError("vocabulary.reserved_token_ids", reserved, allowed)
    return packing


def delimiters_of(contract: Contract) -> dict[MatrixKey, int]:
    """The token that each packing server of the pair puts between items.

    An unavailable backend counts: what it would do follows from the contract alone.

    Raises:
        UserError, ContractError: see :func:`packing_of`.
    """
    found = {
        MatrixKey(backend, view): packing_of(contract, backend, view)
        for backend in contract.pair.both
        for view in VIEWS
    }
    return {key: packing.delimiter for key, packing in found.items() if packing is not None}
