"""How fast a target roughly is: for a dry run that finds nothing measured, and for nothing else."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from stages.contract.basics import Strict, Text

type ByChunkSize = Annotated[
    dict[Annotated[int, Field(ge=1)], Annotated[float, Field(gt=0, lt=1e12)]], Field(min_length=1)
]


class RoughRates(Strict):
    """Items per second by chunk size, known from elsewhere.

    Attributes:
        contract: the contract (``identity.contract``) they hold for; of others they say nothing.
        jax, pytorch: ``None`` where none is known.
    """

    contract: Text
    jax: ByChunkSize | None
    pytorch: ByChunkSize | None
