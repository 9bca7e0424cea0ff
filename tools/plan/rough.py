"""Validates the target's rough rates, which only a dry run without earlier results uses.

The contract does not validate the section ``rough_rates``, so that no measurement depends on it.
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
    """Items per second by chunk size in each view; ``None`` where not known."""

    portable: ByChunkSize | None
    best_native: ByChunkSize | None

    def of(self, view: View) -> ByChunkSize | None:
        """The rates in ``view``."""
        return self.portable if view == "portable" else self.best_native


class RoughRates(Strict):
    """Items per second by backend, view and chunk size, from an outside source.

    The section has one more key for each backend: its :class:`ViewRates`, or ``None``.

    Attributes:
        model: the only model that the rates are for, by the title that the report uses.
        query_tokens, item_tokens: the only workload shape that the rates are for.
    """

    model: Text
    query_tokens: Size
    item_tokens: Size

    def of(self, backend: Backend) -> ViewRates | None:
        """The rates of ``backend``."""
        found: ViewRates | None = getattr(self, backend, None)
        return found


def rough_rates(contract: Contract) -> RoughRates | None:
    """The contract's section ``rough_rates``, validated; ``None`` where it has none.

    Raises:
        ContractError: names the first wrong key, the value found and the values allowed.
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
