"""The contract: ``params.yaml`` parsed once into typed, validated, frozen objects.

Nothing past this module reads ``params.yaml`` or sees a dictionary of strings.
Every error names the key, what was found and what is allowed.
"""

from __future__ import annotations

import difflib
import re
from pathlib import Path
from typing import Annotated, Any, Literal, Self, get_args

import pydantic
import yaml
from pydantic import BaseModel, ConfigDict, Field

from stages.errors import ContractError, UserError

PARAMS = Path("params.yaml")

type Backend = Literal["jax", "pytorch"]
type View = Literal["portable", "best_native"]
type FlagValue = bool | int | float | str | list[int]

BACKENDS: tuple[Backend, ...] = get_args(Backend.__value__)
VIEWS: tuple[View, ...] = get_args(View.__value__)

BACKEND_NAMES: dict[Backend, str] = {"jax": "JAX", "pytorch": "PyTorch"}
"""How sentences name the backends."""

# The frozen baseline: JAX is gated against it, never the other way round.
REFERENCE: Backend = "pytorch"

SALT_TOKENS = 8
"""Query ids redrawn for every pass, so that no prefix cache answers one pass from another."""


class Strict(BaseModel):
    """A section of the contract: immutable, and an unknown key is an error."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class Identity(Strict):
    """Which target and contract were composed; printed at the head of the report."""

    target: str
    contract: str


class Vocabulary(Strict):
    """Which token ids the model knows and which of them are ordinary text."""

    size: Annotated[int, Field(ge=1)]
    first_ordinary: Annotated[int, Field(ge=0)]
    end_ordinary: Annotated[int, Field(ge=1, description="one past the last ordinary id")]
    reserved_token_ids: list[int] = Field(
        description="delimiter and special ids that must never appear in a prompt"
    )


class SyntheticModel(Strict):
    """A small untrained Qwen3 checkpoint, built from a seed without any download."""

    kind: Literal["synthetic"]
    seed: Annotated[int, Field(ge=0)]
    hidden_size: Annotated[int, Field(ge=1)]
    layers: Annotated[int, Field(ge=1)]
    attention_heads: Annotated[int, Field(ge=1)]
    kv_heads: Annotated[int, Field(ge=1)]
    head_dim: Annotated[int, Field(ge=2)]
    intermediate_size: Annotated[int, Field(ge=1)]

    @property
    def title(self) -> str:
        """How the report names the model."""
        return f"untrained Qwen3, {self.layers} layers, hidden {self.hidden_size}, seed {self.seed}"


class HubModel(Strict):
    """A model of the Hugging Face hub; its revision is resolved and pinned."""

    kind: Literal["hub"]
    repository: Annotated[str, Field(min_length=1)]
    revision: Annotated[str, Field(min_length=1)]

    @property
    def title(self) -> str:
        """How the report names the model."""
        return self.repository


class Workload(Strict):
    """One query, N items and the labels: the same token ids for every backend."""

    seed: Annotated[int, Field(ge=0)]
    query_tokens: int
    items: Annotated[int, Field(ge=1)]
    item_tokens: Annotated[int, Field(ge=1)]
    label_token_ids: Annotated[list[int], Field(min_length=1)]
    apply_softmax: bool
    item_first: bool


class Passes(Strict):
    """How often each chunk size is measured, and in which order."""

    seed: Annotated[int, Field(ge=0, description="seed of the interleaved order")]
    warmup: Annotated[int, Field(ge=1, description="warm-up passes at least")]
    warmup_limit: Annotated[
        int, Field(ge=1, description="warm-up passes at most, while the server still compiles")
    ]
    sweep: Annotated[int, Field(ge=1)]
    confirm: Annotated[int, Field(ge=1)]


class Limits(Strict):
    """When to give up on a call or on a server."""

    call_timeout_s: Annotated[float, Field(gt=0)]
    start_timeout_s: Annotated[float, Field(gt=0)]
    restarts: Annotated[
        int,
        Field(
            ge=0,
            description="restarts of a dead or hanging server, per matrix; those that a given-up"
            " chunk size was to blame for aside",
        ),
    ]
    deaths_per_chunk_size: Annotated[
        int,
        Field(
            ge=1,
            description="times the server may die, hang or run out of memory in the passes of one"
            " chunk size before that chunk size is given up",
        ),
    ]


class Gate(Strict):
    """The largest and the mean score difference from the reference that still pass."""

    max_abs_diff: Annotated[float, Field(ge=0, allow_inf_nan=False)]
    mean_abs_diff: Annotated[float, Field(ge=0, allow_inf_nan=False)]


class Selection(Strict):
    """The guardrail, and the resampling behind a winner's confidence."""

    guardrail: Annotated[
        float,
        Field(ge=1, allow_inf_nan=False, description="times the smallest p95"),
    ]
    resamples: Annotated[int, Field(ge=100)]
    seed: Annotated[int, Field(ge=0)]


class Probes(Strict):
    """How determinism and isolation are probed after the timed passes."""

    seed: Annotated[int, Field(ge=0, description="seed of the choice of target items")]
    targets: Annotated[int, Field(ge=1, description="items whose neighbours are changed")]
    repeats: Annotated[int, Field(ge=2, description="identical requests, for the noise floor")]


class Oracle(Strict):
    """Which passes' items the independent scorer scores too."""

    seed: Annotated[int, Field(ge=0)]
    samples_per_chunk: Annotated[
        int, Field(ge=1, description="pairs of (sweep run, item) for every chunk size")
    ]


class Launch(Strict):
    """How the server process is started, the same in both views."""

    environment: Literal["sglang_jax", "sglang_pytorch"]
    entry: Annotated[list[str], Field(min_length=1, description="arguments to its Python")]
    environ: dict[str, str]
    device: Annotated[str, Field(min_length=1)]
    dtype: Annotated[str, Field(min_length=1)]


class ServerView(Strict):
    """The server flags of one view; flags that follow from the contract are computed."""

    flags: dict[str, FlagValue]


class BackendContract(Strict):
    """One backend: how it is launched, and its server flags in each view.

    Attributes:
        unavailable: why the backend cannot run, in one line; the other one is then measured
            and reported alone. ``None`` where it can.
    """

    unavailable: Annotated[str, Field(min_length=1, pattern=r"^[^\n\r]*\S[^\n\r]*$")] | None
    launch: Launch
    portable: ServerView
    best_native: ServerView

    def view(self, view: View) -> ServerView:
        """The server flags of ``view``."""
        return self.portable if view == "portable" else self.best_native


class Backends(Strict):
    """Both backends under test."""

    jax: BackendContract
    pytorch: BackendContract

    def of(self, backend: Backend) -> BackendContract:
        """The contract of ``backend``."""
        return self.jax if backend == "jax" else self.pytorch


class Prices(Strict):
    """USD per hour of the host each backend runs on, where known."""

    jax: Annotated[float, Field(gt=0)] | None
    pytorch: Annotated[float, Field(gt=0)] | None


class Contract(Strict):
    """Everything that is measured and how; the whole of ``params.yaml``."""

    identity: Identity
    model: Annotated[SyntheticModel | HubModel, Field(discriminator="kind")]
    vocabulary: Vocabulary
    workload: Workload
    chunk_sizes: Annotated[list[int], Field(min_length=1)]
    passes: Passes
    limits: Limits
    gate: Gate
    selection: Selection
    probes: Probes
    oracle: Oracle
    prices_usd_per_hour: Prices
    backends: Backends

    def checked(self) -> Self:
        """Return the contract itself if its parts fit together.

        Raises:
            ContractError: naming the key, what was found and what is allowed.
        """
        _check_vocabulary(self.vocabulary)
        _check_workload(self.workload, self.vocabulary)
        _check_chunk_sizes(self.chunk_sizes, self.workload.items)
        if self.passes.warmup_limit < self.passes.warmup:
            raise ContractError(
                "passes.warmup_limit",
                self.passes.warmup_limit,
                f"at least passes.warmup = {self.passes.warmup}",
            )
        if isinstance(self.model, SyntheticModel):
            _check_synthetic(self.model)
        for backend in BACKENDS:
            _check_portable(f"backends.{backend}.portable", self.backends.of(backend).portable)
        return self


def ordinary_ids(vocabulary: Vocabulary, label_token_ids: list[int]) -> list[int]:
    """The safe pool: ordinary ids in rising order, without reserved and label ids."""
    excluded = {*vocabulary.reserved_token_ids, *label_token_ids}
    return [
        token
        for token in range(vocabulary.first_ordinary, vocabulary.end_ordinary)
        if token not in excluded
    ]


def load_contract(path: Path = PARAMS) -> Contract:
    """Read and validate the contract.

    Raises:
        UserError: the file is missing or is not YAML.
        ContractError: the first key that is wrong, what was found, what is allowed.
    """
    try:
        raw = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UserError(f"{path}: {error.strerror}") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: not readable as YAML: {' '.join(str(error).split())}") from error
    return parse_contract(raw)


def parse_contract(raw: object) -> Contract:
    """Validate a parsed ``params.yaml``.

    Raises:
        ContractError: the first key that is wrong, what was found, what is allowed.
    """
    try:
        contract = Contract.model_validate(raw)
    except pydantic.ValidationError as error:
        raise _first_error(error) from None
    return contract.checked()


def _first_error(error: pydantic.ValidationError) -> ContractError:
    # A misspelt key yields two errors, unknown and missing; the unknown one explains both.
    errors = sorted(error.errors(), key=lambda e: e["type"] != "extra_forbidden")
    first = errors[0]
    key = _dotted(first["loc"])
    if first["type"] == "extra_forbidden":
        return _unknown_key(key, str(first["loc"][-1]), _known_keys(first["loc"]))
    if first["type"] == "missing":
        return ContractError(key, "nothing", "this key is required")
    found = first["input"]
    return ContractError(key or "the file", found, first["msg"].removeprefix("Input should be "))


def _unknown_key(key: str, name: str, known: list[str]) -> ContractError:
    close = difflib.get_close_matches(name, known, n=1)
    hint = f"did you mean {close[0]!r}? " if close else ""
    return ContractError(key, "an unknown key", f"{hint}known here: {', '.join(sorted(known))}")


# pydantic puts the discriminator's value into the location; it is no key of the file.
_UNION_TAGS: dict[str, type[BaseModel]] = {"synthetic": SyntheticModel, "hub": HubModel}


def _dotted(location: tuple[int | str, ...]) -> str:
    text = ""
    if "flags" in location:
        # Behind a flag's name stand the types pydantic tried, which are no keys.
        location = location[: location.index("flags") + 2]
    for part in location:
        if part in _UNION_TAGS and text == "model":
            continue
        if isinstance(part, str) and re.fullmatch(r"[\w-]+", part):
            text += f".{part}" if text else part
        else:
            text += f"[{part!r}]"
    return text


def _known_keys(location: tuple[int | str, ...]) -> list[str]:
    section: Any = Contract
    for part in location[:-1]:
        if part in _UNION_TAGS:
            section = _UNION_TAGS[str(part)]
            continue
        section = section.model_fields[part].annotation
    return list(section.model_fields)


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
    if pool < 2 or pool**workload.item_tokens < 2 * workload.items:
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


def _check_portable(key: str, view: ServerView) -> None:
    rules: dict[str, tuple[FlagValue, str]] = {
        "disable-radix-cache": (True, "true: the portable view runs without a prefix cache"),
        "chunked-prefill-size": (-1, "-1: the portable view allows no hidden splitting"),
    }
    for flag, (required, allowed) in rules.items():
        found = view.flags.get(flag)
        if found != required or type(found) is not type(required):
            raise ContractError(f"{key}.flags.{flag}", found, allowed)
