"""The canonical workloads: the token ids that every backend scores.

The same parameters give the same bytes on every machine.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal, Self

import pydantic
from pydantic import BaseModel, ConfigDict, Field

from stages.common.errors import UserError
from stages.common.files import sha256
from stages.contract import SALT_TOKENS
from stages.documents.matrix import Phase

WORKLOAD_VERSION: Literal[2] = 2


class CanonicalWorkload(BaseModel):
    """One query, N items, the labels, and the pool from which salts are drawn.

    Attributes:
        name: its key in the contract.
        seed: seed of the token ids and of the salts.
        query: token ids; the first 8 are replaced by the salt in every pass.
        items: N lists of token ids, pairwise distinct; drawn ones are of equal length.
        pool: the ordinary ids that salts are drawn from, as half-open ranges.
        nonce, digest: of the comparison, and :attr:`sha256`, from which salts are drawn; not in
            the file, and ``None`` until :meth:`in_run` sets them.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    name: str
    seed: int
    query: Annotated[list[int], Field(min_length=SALT_TOKENS + 1)]
    items: Annotated[list[list[int]], Field(min_length=1)]
    label_token_ids: list[int]
    apply_softmax: bool
    item_first: bool
    pool: list[tuple[int, int]]
    nonce: Annotated[str | None, Field(exclude=True)] = None
    digest: Annotated[str | None, Field(exclude=True)] = None

    @property
    def sha256(self) -> str:
        """The SHA-256 of its canonical bytes."""
        return sha256(self.canonical_bytes())

    @property
    def prompt_tokens(self) -> int:
        """Tokens of one prompt: the query and the longest item."""
        return len(self.query) + max(len(item) for item in self.items)

    @property
    def total_tokens(self) -> int:
        """Tokens of the query, once, and of all items."""
        return len(self.query) + sum(map(len, self.items))

    def in_run(self, nonce: str) -> Self:
        """This workload with the nonce of a comparison."""
        return self.model_copy(update={"nonce": nonce, "digest": self.sha256})

    def salt(
        self, phase: Phase | Literal["probe", "cover"], chunk_size: int, run: int
    ) -> list[int]:
        """The salt of one pass: ids from the pool, identical for every backend of a comparison.

        The name and the hash of the workload are part of its key. Workloads of the same seed begin
        with the same query, and none may find another one's query in a prefix cache.

        Raises:
            ValueError: the nonce is not set, so another comparison could have the same salts.
        """
        if self.nonce is None:
            raise ValueError("a workload has salts only in a comparison: its nonce is not known")
        key = f"salt/{self.seed}/{self.nonce}/{self.digest}/{phase}/{chunk_size}/{run}"
        draws = draw_ids(key, self.pool)
        return [next(draws) for _ in range(SALT_TOKENS)]

    def salted_query(self, salt: list[int]) -> list[int]:
        """The query with its first ids replaced by ``salt``."""
        return salt + self.query[len(salt) :]

    def canonical_bytes(self) -> bytes:
        """Bytes that follow from the parameters alone."""
        return _canonical(self.model_dump(mode="json"))


class CanonicalWorkloads(BaseModel):
    """The file: every workload, by rising name, each with its hash."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    version: Literal[2]
    workloads: Annotated[list[CanonicalWorkload], Field(min_length=1)]
    sha256: dict[str, str]

    @classmethod
    def of(cls, workloads: Iterable[CanonicalWorkload]) -> Self:
        """The file of ``workloads``."""
        by_name = sorted(workloads, key=lambda one: one.name)
        hashes = {one.name: one.sha256 for one in by_name}
        return cls(version=WORKLOAD_VERSION, workloads=by_name, sha256=hashes)

    def canonical_bytes(self) -> bytes:
        """The bytes of the file; every matrix holds their SHA-256."""
        return _canonical(self.model_dump(mode="json"))


@dataclass(frozen=True, slots=True)
class Workloads:
    """The workloads of a comparison.

    Attributes:
        by_name: each of them, those with the fewest tokens first.
        sha256s: of each one's canonical bytes.
        sha256: of the whole file.
    """

    by_name: Mapping[str, CanonicalWorkload]
    sha256s: Mapping[str, str]
    sha256: str

    @classmethod
    def of(cls, file: CanonicalWorkloads) -> Self:
        """Those of the file."""
        rising = sorted(file.workloads, key=lambda one: (one.total_tokens, one.name))
        by_name = {one.name: one for one in rising}
        hashes = {name: file.sha256[name] for name in by_name}
        return cls(by_name, hashes, sha256(file.canonical_bytes()))

    def in_run(self, nonce: str) -> Self:
        """These workloads with the nonce of a comparison."""
        by_name = {name: one.in_run(nonce) for name, one in self.by_name.items()}
        return type(self)(by_name, self.sha256s, self.sha256)


def _canonical(document: object) -> bytes:
    return (json.dumps(document, separators=(",", ":"), sort_keys=True) + "\n").encode()


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


def read_workloads(path: Path, names: Iterable[str] | None = None) -> Workloads:
    """The workloads of the file.

    Args:
        path: of the file.
        names: of the contract's workloads; ``None`` takes any.

    Raises:
        UserError: missing, damaged, not in canonical form, or of other workloads.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise UserError(f"{path}: {error.strerror}") from error
    try:
        file = CanonicalWorkloads.model_validate_json(data)
    except pydantic.ValidationError as error:
        raise UserError(f"{path}: damaged: {error.errors()[0]['msg']}") from error
    # What is excluded from the file would not be in these bytes either. A workload that is there
    # twice has one hash.
    once = len(file.workloads) == len(file.sha256)
    if not once or CanonicalWorkloads.of(file.workloads).canonical_bytes() != data:
        raise UserError(f"{path}: not in canonical form; it was changed since it was written")
    wanted = list(file.sha256) if names is None else sorted(names)
    if list(file.sha256) != wanted:
        raise UserError(
            f"{path}: it holds the workloads {', '.join(file.sha256)}, but the contract has"
            f" {', '.join(wanted)}; make it anew with `dvc repro workload`"
        )
    return Workloads.of(file)
