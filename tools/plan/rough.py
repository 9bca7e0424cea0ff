"""How fast a target roughly is: for a dry run that finds nothing measured, and for nothing else.

The contract keeps the section ``rough_rates`` as it stands, so that no measurement depends on it.
"""

from __future__ import annotations

from typing import Annotated, Any

import pydantic
from pydantic import Field

from stages.backends.registry import declared_backends
from stages.contract import Contract, View
from stages.contract.basics import Backend, Size, Strict, Text
from stages.contract.parse import first_error

type ByChunkSize = Annotated[
    dict[Annotated[int, Field(ge=1)], Annotated[float, Field(gt=0, lt=1e12)]], Field(min_length=1)
]


class ViewRates(Strict):
    """Items per second by chunk size in each view; ``None`` where none is known."""

    portable: ByChunkSize | None
    best_native: ByChunkSize | None

    def of(self, view: View) -> ByChunkSize | None:
        """Those of ``view``."""
        return self.portable if view == "portable" else self.best_native


class RoughRates(Strict):
    """Items per second by view and chunk size, known from elsewhere; ``None`` where not known.

    Beside these keys stands one for each backend.

    Attributes:
        model: the model they hold for, as the report names it.
        query_tokens, item_tokens: the shape they hold for; of others they say nothing.
    """

    model: Text
    query_tokens: Size
    item_tokens: Size

    def of(self, backend: Backend) -> ViewRates | None:
        """Those of ``backend``."""
        found: ViewRates | None = getattr(self, backend, None)
        return found


def rough_rates(contract: Contract) -> RoughRates | None:
    """The section of the contract; ``None`` where it has none.

    Raises:
        ContractError: the first key in it that is wrong, what was found, what is allowed.
    """
    known: Any = dict.fromkeys(declared_backends(), (ViewRates | None, None))
    rates = pydantic.create_model("Rates", __base__=RoughRates, **known)
    section = pydantic.create_model("Section", __base__=Strict, rough_rates=(rates | None, ...))
    try:
        made: Any = section.model_validate({"rough_rates": contract.rough_rates})
    except pydantic.ValidationError as error:
        raise first_error(error, section) from None
    found: RoughRates | None = made.rough_rates
    return found
