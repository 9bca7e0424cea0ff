"""What is scored, and by which model: vocabulary, model and workload."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from stages.contract.basics import SALT_TOKENS, Count, Seed, Size, Strict, Text
from stages.errors import ContractError


class Vocabulary(Strict):
    """Which token ids the model knows and which of them are ordinary text."""

    size: Annotated[int, Field(ge=1, le=10_000_000)]
    first_ordinary: Annotated[int, Field(ge=0)]
    end_ordinary: Annotated[int, Field(ge=1, description="one past the last ordinary id")]
    reserved_token_ids: list[int] = Field(
        description="delimiter and special ids that must never appear in a prompt"
    )


class SyntheticModel(Strict):
    """A small untrained Qwen3 checkpoint, built from a seed without any download."""

    kind: Literal["synthetic"]
    seed: Seed
    hidden_size: Size
    layers: Annotated[int, Field(ge=1, le=1000)]
    attention_heads: Count
    kv_heads: Count
    head_dim: Annotated[int, Field(ge=2, le=10_000)]
    intermediate_size: Size

    @property
    def title(self) -> str:
        """How the report names the model."""
        return f"untrained Qwen3, {self.layers} layers, hidden {self.hidden_size}, seed {self.seed}"


class HubModel(Strict):
    """A model of the Hugging Face hub; its revision is resolved and pinned."""

    kind: Literal["hub"]
    repository: Annotated[Text, Field(pattern=r"^\w[\w.-]*(/[\w.-]+)?$")]
    revision: Annotated[Text, Field(pattern=r"^\w[\w./-]*$")]

    @property
    def title(self) -> str:
        """How the report names the model."""
        return self.repository


class Workload(Strict):
    """One query, N items and the labels: the same token ids for every backend."""

    seed: Seed
    query_tokens: Annotated[int, Field(le=1_000_000)]
    items: Size
    item_tokens: Size
    label_token_ids: Annotated[list[int], Field(min_length=1, max_length=1000)]
    apply_softmax: bool
    item_first: bool


def ordinary_ids(vocabulary: Vocabulary, label_token_ids: list[int]) -> list[int]:
    """The safe pool: ordinary ids in rising order, without reserved and label ids."""
    excluded = {*vocabulary.reserved_token_ids, *label_token_ids}
    return [
        token
        for token in range(vocabulary.first_ordinary, vocabulary.end_ordinary)
        if token not in excluded
    ]


def check_subject(
    model: SyntheticModel | HubModel,
    vocabulary: Vocabulary,
    workload: Workload,
    chunk_sizes: list[int],
) -> None:
    """Make sure that model, vocabulary, workload and chunk sizes fit together.

    Raises:
        ContractError: naming the key, what was found and what is allowed.
    """
    _check_vocabulary(vocabulary)
    _check_workload(workload, vocabulary)
    _check_chunk_sizes(chunk_sizes, workload.items)
    if isinstance(model, SyntheticModel):
        _check_synthetic(model)


def _check_vocabulary(vocabulary: Vocabulary) -> None:
    if vocabulary.end_ordinary > vocabulary.size:
        raise ContractError(
            "vocabulary.end_ordinary",
            vocabulary.end_ordinary,
            f"at most vocabulary.size = {vocabulary.size}",
        )
    if vocabulary.first_ordinary >= vocabulary.end_ordinary:
        raise ContractError(
            "vocabulary.first_ordinary",
            vocabulary.first_ordinary,
            f"below vocabulary.end_ordinary = {vocabulary.end_ordinary}",
        )
    for i, token in enumerate(vocabulary.reserved_token_ids):
        _check_token(f"vocabulary.reserved_token_ids[{i}]", token, vocabulary)


def _check_token(key: str, token: int, vocabulary: Vocabulary) -> None:
    if not 0 <= token < vocabulary.size:
        raise ContractError(key, token, f"0 to {vocabulary.size - 1} (vocabulary.size - 1)")


def _check_workload(workload: Workload, vocabulary: Vocabulary) -> None:
    if workload.query_tokens <= SALT_TOKENS:
        raise ContractError(
            "workload.query_tokens",
            workload.query_tokens,
            f"at least {SALT_TOKENS + 1}: {SALT_TOKENS} salt ids and a query behind them",
        )
    labels = workload.label_token_ids
    for i, token in enumerate(labels):
        key = f"workload.label_token_ids[{i}]"
        _check_token(key, token, vocabulary)
        if token in labels[:i]:
            raise ContractError(key, token, "each label once")
        if token in vocabulary.reserved_token_ids:
            raise ContractError(key, token, "an id outside vocabulary.reserved_token_ids")
    pool = len(ordinary_ids(vocabulary, labels))
    # Twice as many sequences as items, or drawing distinct ones may never end.
    # (Of longer items the first tokens tell enough of them apart.)
    if pool < 2 or pool ** min(workload.item_tokens, 64) < 2 * workload.items:
        raise ContractError(
            "workload.items",
            workload.items,
            f"fewer: {pool} ordinary ids in {workload.item_tokens} positions"
            " do not give that many distinct items",
        )


def _check_chunk_sizes(chunk_sizes: list[int], items: int) -> None:
    for i, chunk in enumerate(chunk_sizes):
        key = f"chunk_sizes[{i}]"
        if not 1 <= chunk <= items:
            raise ContractError(key, chunk, f"1 to {items} (workload.items)")
        if chunk in chunk_sizes[:i]:
            raise ContractError(key, chunk, "each chunk size once")


def _check_synthetic(model: SyntheticModel) -> None:
    if model.attention_heads % model.kv_heads:
        raise ContractError(
            "model.kv_heads",
            model.kv_heads,
            f"a divisor of model.attention_heads = {model.attention_heads}",
        )
    if model.head_dim % 2:
        raise ContractError("model.head_dim", model.head_dim, "an even number (rotary embedding)")
