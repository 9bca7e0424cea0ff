"""How fast a target roughly is: for a dry run that finds nothing measured, and for nothing else."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from stages.contract.basics import Backend, Size, Strict, Text, View

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
    """Items per second by view and chunk size, known from elsewhere.

    Attributes:
        model: the model they hold for, as the report names it.
        query_tokens, item_tokens: the shape they hold for; of others they say nothing.
        jax, pytorch: ``None`` where none is known.
    """

    model: Text
    query_tokens: Size
    item_tokens: Size
    jax: ViewRates | None
    pytorch: ViewRates | None

    def of(self, backend: Backend) -> ViewRates | None:
        """Those of ``backend``."""
        return self.jax if backend == "jax" else self.pytorch
