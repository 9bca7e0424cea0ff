"""The vocabulary, the model and the workloads."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from stages.common.errors import ContractError
from stages.contract.basics import MOST_OF_A_SIZE, SALT_TOKENS, Count, Seed, Size, Strict, Text
from stages.contract.characters import unfit


def _lines(text: str) -> str:
    if (why := unfit(text)) is not None:
        raise ValueError(f"text on any number of lines; {why}")
    return text


_NAME = re.compile(r"[a-z][a-z0-9_-]{0,39}")


# Names beside those of workloads in `metrics.json` and in the report's folder.
_TAKEN = ("figures", "over_all_workloads", "uncommitted_changes")


def _slug(name: str) -> str:
    # It stands in file names, in keys of the contract and in tables.
    if _NAME.fullmatch(name) is None:
        raise ValueError(
            "a name of small letters, digits, '_' and '-' that begins with a letter, at most 40"
            " characters"
        )
    if name in _TAKEN:
        raise ValueError(f"another name: {name} stands beside the workloads in the results")
    return name


type WorkloadName = Annotated[str, AfterValidator(_slug)]
"""The key of a workload in the contract."""
type Prose = Annotated[str, Field(min_length=1, max_length=100_000), AfterValidator(_lines)]
type Labels = Annotated[list[int], Field(min_length=1, max_length=1000)]
type Package = Annotated[str, Field(pattern=r"^[a-z0-9]+(-[a-z0-9]+)*$", max_length=100)]
type Version = Annotated[str, Field(pattern=r"^[0-9]+(\.[0-9a-z]+)*$", max_length=100)]
type Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


class Vocabulary(Strict):
    """The token ids of the model, and which of them are ordinary text."""

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
        """The name of the model in the report."""
        return f"untrained Qwen3, {self.layers} layers, hidden {self.hidden_size}, seed {self.seed}"


class HubModel(Strict):
    """A model of the Hugging Face hub; its revision is resolved to a commit and pinned."""

    kind: Literal["hub"]
    repository: Annotated[Text, Field(pattern=r"^\w[\w.-]*(/[\w.-]+)?$")]
    revision: Annotated[Text, Field(pattern=r"^\w[\w./-]*$")]

    @property
    def title(self) -> str:
        """The name of the model in the report."""
        return self.repository


class PackagedModel(Strict):
    """A trained model whose weights come in a Python package, as a GGUF file."""

    kind: Literal["packaged"]
    package: Package
    version: Version
    head_dim: Annotated[
        int, Field(ge=2, le=10_000, description="heads are made this wide, which changes nothing")
    ]
    sha256: Annotated[Sha256, Field(description="of the checkpoint that comes out")]

    @property
    def title(self) -> str:
        """The name of the package in messages; the report also names the model inside it."""
        return f"{self.package} {self.version}"


type Model = SyntheticModel | HubModel | PackagedModel


class DrawnWorkload(Strict):
    """One query, N items and the labels, all drawn from a seed."""

    kind: Literal["drawn"]
    seed: Seed
    query_tokens: Annotated[int, Field(le=1_000_000)]
    items: Size
    item_tokens: Size
    label_token_ids: Labels
    apply_softmax: bool
    item_first: bool


class PackagedTokenizer(Strict):
    """The tokenizer of a packaged model; its hash pins the token ids."""

    package: Package
    version: Version
    sha256: Annotated[Sha256, Field(description="of its tokenizer.json")]


class TextWorkload(Strict):
    """One query, N items and the labels as text, tokenized by the model's own tokenizer."""

    kind: Literal["text"]
    seed: Annotated[Seed, Field(description="of the salt ids in front of the query")]
    tokenizer: PackagedTokenizer
    query_text: Prose
    item_texts: Annotated[list[Prose], Field(min_length=1, max_length=10_000)]
    label_texts: Annotated[list[Prose], Field(min_length=1, max_length=1000)]
    label_token_ids: Labels
    apply_softmax: bool
    item_first: bool

    @property
    def items(self) -> int:
        """The number of items."""
        return len(self.item_texts)


type Workload = DrawnWorkload | TextWorkload
type Workloads = Mapping[str, Workload]
type Mix = Mapping[str, Mapping[str, float]]
"""Scenario to the weight of each of its workloads."""


def ordinary_ids(vocabulary: Vocabulary, label_token_ids: list[int]) -> list[int]:
    """The ids that may be drawn: ordinary ones in rising order, without reserved and label ids."""
    excluded = {*vocabulary.reserved_token_ids, *label_token_ids}
    return [
        token
        for token in range(vocabulary.first_ordinary, vocabulary.end_ordinary)
        if token not in excluded
    ]


def chunk_sizes_of(workload: Workload, chunk_sizes: list[int]) -> list[int]:
    """The chunk sizes at which one workload is measured, in the contract's order.

    Sizes above its number of items are left out, and that number is always among them: then one
    request holds everything.
    """
    fitting = [size for size in chunk_sizes if size <= workload.items]
    return fitting if workload.items in fitting else [*fitting, workload.items]


def check_subject(
    model: Model,
    vocabulary: Vocabulary,
    workloads: Workloads,
    chunk_sizes: list[int],
    mix: Mix,
) -> None:
    """Make sure that model, vocabulary, workloads and chunk sizes fit together.

    Raises:
        ContractError: naming the key, what was found and what is allowed.
    """
    _check_vocabulary(vocabulary)
    for name, workload in workloads.items():
        _check_workload(f"workloads.{name}", workload, vocabulary, model)
    _check_chunk_sizes(chunk_sizes, workloads)
    _check_mix(mix, workloads)
    if isinstance(model, SyntheticModel):
        _check_synthetic(model)


def _check_workload(key: str, workload: Workload, vocabulary: Vocabulary, model: Model) -> None:
    _check_labels(key, workload.label_token_ids, vocabulary)
    if workload.apply_softmax and len(workload.label_token_ids) == 1:
        allowed = "false, or more label_token_ids: the softmax over one label is always 1"
        raise ContractError(f"{key}.apply_softmax", True, allowed)
    if isinstance(workload, DrawnWorkload):
        _check_drawn(key, workload, vocabulary)
    else:
        _check_text(key, workload, vocabulary, model)


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


def _check_labels(workload: str, labels: list[int], vocabulary: Vocabulary) -> None:
    for i, token in enumerate(labels):
        key = f"{workload}.label_token_ids[{i}]"
        _check_token(key, token, vocabulary)
        if token in labels[:i]:
            raise ContractError(key, token, "each label once")
        if token in vocabulary.reserved_token_ids:
            raise ContractError(key, token, "an id outside vocabulary.reserved_token_ids")


def _check_drawn(key: str, workload: DrawnWorkload, vocabulary: Vocabulary) -> None:
    if workload.query_tokens <= SALT_TOKENS:
        raise ContractError(
            f"{key}.query_tokens",
            workload.query_tokens,
            f"at least {SALT_TOKENS + 1}: {SALT_TOKENS} salt ids and a query behind them",
        )
    pool = len(ordinary_ids(vocabulary, workload.label_token_ids))
    # With fewer than twice as many sequences as items, drawing distinct ones may never end.
    # (The first 64 tokens are enough to tell longer items apart.)
    if pool < 2 or pool ** min(workload.item_tokens, 64) < 2 * workload.items:
        raise ContractError(
            f"{key}.items",
            workload.items,
            f"fewer: {pool} ordinary ids in {workload.item_tokens} positions"
            " do not give that many distinct items",
        )


def _check_text(key: str, workload: TextWorkload, vocabulary: Vocabulary, model: Model) -> None:
    tokenizer = workload.tokenizer
    if not isinstance(model, PackagedModel):
        raise ContractError(f"{key}.kind", "text", f"drawn: a {model.kind} model reads no text")
    if (tokenizer.package, tokenizer.version) != (model.package, model.version):
        found = f"{tokenizer.package} {tokenizer.version}"
        allowed = f"the model's own: {model.package} {model.version}"
        raise ContractError(f"{key}.tokenizer", found, allowed)
    seen: set[str] = set()
    for i, text in enumerate(workload.item_texts):
        if text in seen:
            raise ContractError(f"{key}.item_texts[{i}]", text, "each item once")
        seen.add(text)
    if len(workload.label_texts) != len(workload.label_token_ids):
        allowed = f"a text for each of the {len(workload.label_token_ids)} label_token_ids"
        raise ContractError(f"{key}.label_texts", workload.label_texts, allowed)
    if len(ordinary_ids(vocabulary, workload.label_token_ids)) < 2:
        allowed = "lower: no ordinary ids are left to draw salts from"
        raise ContractError("vocabulary.first_ordinary", vocabulary.first_ordinary, allowed)


def largest_of(workloads: Workloads) -> str:
    """The name of the workload with the most items, the first of several."""
    return max(workloads, key=lambda name: workloads[name].items)


def _check_chunk_sizes(chunk_sizes: list[int], workloads: Workloads) -> None:
    largest = largest_of(workloads)
    items = workloads[largest].items
    for i, chunk in enumerate(chunk_sizes):
        key = f"chunk_sizes[{i}]"
        if not 1 <= chunk <= MOST_OF_A_SIZE:
            raise ContractError(key, chunk, f"1 to {MOST_OF_A_SIZE:,}")
        if chunk in chunk_sizes[:i]:
            raise ContractError(key, chunk, "each chunk size once")
    # A size above the items of one workload may be for another. With none below any of them a
    # typing error is more likely.
    if min(chunk_sizes) > items:
        allowed = f"one or more from 1 to {items} (workloads.{largest}.items)"
        raise ContractError("chunk_sizes", chunk_sizes, allowed)


def _check_mix(mix: Mix, workloads: Workloads) -> None:
    for scenario, weights in mix.items():
        for name, weight in weights.items():
            if name not in workloads:
                allowed = f"a weight for one of the workloads: {', '.join(workloads)}"
                raise ContractError(f"mix.{scenario}.{name}", weight, allowed)


def _check_synthetic(model: SyntheticModel) -> None:
    if model.attention_heads % model.kv_heads:
        raise ContractError(
            "model.kv_heads",
            model.kv_heads,
            f"a divisor of model.attention_heads = {model.attention_heads}",
        )
    if model.head_dim % 2:
        raise ContractError("model.head_dim", model.head_dim, "an even number (rotary embedding)")
