"""The types that the sections of the contract share: views, bounded values, strict sections."""

from __future__ import annotations

from typing import Annotated, Literal, get_args

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from stages.contract.characters import unprintable

type Backend = str
"""The key of a declared backend."""
type View = Literal["portable", "best_native"]

VIEWS: tuple[View, ...] = get_args(View.__value__)


def _printable(text: str) -> str:
    if (why := unprintable(text)) is not None:
        raise ValueError(f"printable text on one line; {why}")
    return text


type Text = Annotated[str, Field(max_length=1000), AfterValidator(_printable)]

# A value beyond these bounds is a typing error that would fill the memory or never end.
type Seed = Annotated[int, Field(ge=0, lt=2**63)]
type Count = Annotated[int, Field(ge=1, le=10_000)]
MOST_OF_A_SIZE = 1_000_000

type Size = Annotated[int, Field(ge=1, le=MOST_OF_A_SIZE)]
type Seconds = Annotated[float, Field(gt=0, le=86_400)]
type Price = Annotated[float, Field(gt=0, le=1_000_000)]
type Weight = Annotated[float, Field(gt=0, le=1_000_000)]
type Difference = Annotated[float, Field(ge=0, le=1)]

SALT_TOKENS = 8
"""Query ids that every pass redraws, so that no prefix cache answers one pass from another."""


class Strict(BaseModel):
    """A section of the contract: immutable, and an unknown key is an error."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)
