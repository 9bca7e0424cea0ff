"""The canonical workload: the token ids that every backend scores.

The same parameters give the same bytes on every machine.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Literal, Self

import pydantic
from pydantic import BaseModel, ConfigDict, Field

from stages.common.errors import UserError
from stages.common.files import sha256
from stages.contract import SALT_TOKENS
from stages.documents.matrix import Phase

WORKLOAD_VERSION: Literal[1] = 1


class CanonicalWorkload(BaseModel):
    """One query, N items, the labels, and the pool from which salts are drawn.

    Attributes:
        seed: seed of the token ids and of the salts.
        query: token ids; the first 8 are replaced by the salt in every pass.
        items: N lists of token ids, pairwise distinct; drawn ones are of equal length.
        pool: the ordinary ids that salts are drawn from, as half-open ranges.
        nonce: of the comparison; not in the file, and ``None`` until :meth:`in_run` sets it.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    version: Literal[1]
    seed: int
    query: Annotated[list[int], Field(min_length=SALT_TOKENS + 1)]
    items: Annotated[list[list[int]], Field(min_length=1)]
    label_token_ids: list[int]
    apply_softmax: bool
    item_first: bool
    pool: list[tuple[int, int]]
    nonce: Annotated[str | None, Field(exclude=True)] = None

    @property
    def prompt_tokens(self) -> int:
        """Tokens of one prompt: the query and the longest item."""
        return len(self.query) + max(len(item) for item in self.items)

    def in_run(self, nonce: str) -> Self:
        """This workload with the nonce of a comparison."""
        return self.model_copy(update={"nonce": nonce})

    def salt(
        self, phase: Phase | Literal["probe", "cover"], chunk_size: int, run: int
    ) -> list[int]:
        """The salt of one pass: ids from the pool, identical for every backend of a comparison.

        Raises:
            ValueError: the nonce is not set, so another comparison could have the same salts.
        """
        if self.nonce is None:
            raise ValueError("a workload has salts only in a comparison: its nonce is not known")
        key = f"salt/{self.seed}/{self.nonce}/{phase}/{chunk_size}/{run}"
        draws = draw_ids(key, self.pool)
        return [next(draws) for _ in range(SALT_TOKENS)]

    def salted_query(self, salt: list[int]) -> list[int]:
        """The query with its first ids replaced by ``salt``."""
        return salt + self.query[len(salt) :]

    def canonical_bytes(self) -> bytes:
        """The bytes of the file; every matrix holds their SHA-256."""
        return (
            json.dumps(self.model_dump(mode="json"), separators=(",", ":"), sort_keys=True) + "\n"
        ).encode()


def draw_ids(key: str, pool: list[tuple[int, int]]) -> Iterator[int]:
    """An endless stream of ids from ``pool`` that depends on ``key`` alone.

    The ids come from SHAKE-256, whose output FIPS 202 fixes. The stream of a library's generator
    may change with its version. The bias of the modulo is below 2**-40 for any real vocabulary.
    """
    sizes = [end - first for first, end in pool]
    total = sum(sizes)
    block = 0
    while True:
        stream = hashlib.shake_256(f"{key}/{block}".encode()).digest(8 * 1024)
        for at in range(0, len(stream), 8):
            index = int.from_bytes(stream[at : at + 8], "big") % total
            for (first, _), size in zip(pool, sizes, strict=True):
                if index < size:
                    yield first + index
                    break
                index -= size
        block += 1


def read_workload(path: Path) -> tuple[CanonicalWorkload, str]:
    """The workload and the SHA-256 of its canonical bytes.

    Raises:
        UserError: missing, damaged, or not in canonical form.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise UserError(f"{path}: {error.strerror}") from error
    try:
        workload = CanonicalWorkload.model_validate_json(data)
    except pydantic.ValidationError as error:
        raise UserError(f"{path}: damaged: {error.errors()[0]['msg']}") from error
    if workload.nonce is not None or workload.canonical_bytes() != data:
        raise UserError(f"{path}: not in canonical form; it was changed since it was written")
    return workload, sha256(data)
