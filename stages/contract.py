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
from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from stages.errors import ContractError, UserError, one_line

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

_PARAMS_BYTES = 1 << 20


def _printable(text: str) -> str:
    if not text.isprintable():
        raise ValueError("printable text on one line")
    return text


type Text = Annotated[str, Field(max_length=1000), AfterValidator(_printable)]

# Beyond these bounds a value is a slip of the pen that would fill the memory or never end.
type Seed = Annotated[int, Field(ge=0, lt=2**63)]
type Count = Annotated[int, Field(ge=1, le=10_000)]
type Size = Annotated[int, Field(ge=1, le=1_000_000)]
type Seconds = Annotated[float, Field(gt=0, le=86_400)]
type Price = Annotated[float, Field(gt=0, le=1_000_000)]
type Difference = Annotated[float, Field(ge=0, le=1)]

SALT_TOKENS = 8
"""Query ids redrawn for every pass, so that no prefix cache answers one pass from another."""


class Strict(BaseModel):
    """A section of the contract: immutable, and an unknown key is an error."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class Identity(Strict):
    """Which target and contract were composed; printed at the head of the report."""

    target: Text
    contract: Text


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


class Passes(Strict):
    """How often each chunk size is measured, and in which order."""

    seed: Annotated[Seed, Field(description="seed of the interleaved order")]
    warmup: Annotated[Count, Field(description="warm-up passes at least")]
    warmup_limit: Annotated[
        Count, Field(description="warm-up passes at most, while the server still compiles")
    ]
    sweep: Count
    confirm: Count


class Limits(Strict):
    """When to give up on a call or on a server."""

    call_timeout_s: Seconds
    start_timeout_s: Seconds
    restarts: Annotated[
        int,
        Field(
            ge=0,
            le=1000,
            description="restarts of a dead or hanging server, per matrix; those that a given-up"
            " chunk size was to blame for aside",
        ),
    ]
    deaths_per_chunk_size: Annotated[
        Count,
        Field(
            description="times the server may die, hang or run out of memory in the passes of one"
            " chunk size before that chunk size is given up",
        ),
    ]


class Gate(Strict):
    """The largest and the mean score difference from the reference that still pass."""

    max_abs_diff: Difference
    mean_abs_diff: Difference


class Selection(Strict):
    """The guardrail, and the resampling behind a winner's confidence."""

    guardrail: Annotated[
        float,
        Field(ge=1, le=1000, description="times the smallest p95"),
    ]
    resamples: Annotated[int, Field(ge=100, le=1_000_000)]
    seed: Seed


class Probes(Strict):
    """How determinism and isolation are probed after the timed passes."""

    seed: Annotated[Seed, Field(description="seed of the choice of target items")]
    targets: Annotated[Count, Field(description="items whose neighbours are changed")]
    repeats: Annotated[
        int, Field(ge=2, le=10_000, description="identical requests, for the noise floor")
    ]


class Oracle(Strict):
    """Which passes' items the independent scorer scores too."""

    seed: Seed
    samples_per_chunk: Annotated[
        Count, Field(description="pairs of (sweep run, item) for every chunk size")
    ]


class Launch(Strict):
    """How the server process is started, the same in both views."""

    environment: Literal["sglang_jax", "sglang_pytorch"]
    entry: Annotated[list[Text], Field(min_length=1, description="arguments to its Python")]
    environ: dict[str, Text]
    device: Annotated[str, Field(pattern=r"^\w[\w.:,-]*$")]
    dtype: Annotated[str, Field(pattern=r"^\w[\w.-]*$")]


class ServerView(Strict):
    """The server flags of one view; flags that follow from the contract are computed."""

    flags: dict[str, FlagValue]


class BackendContract(Strict):
    """One backend: how it is launched, and its server flags in each view.

    Attributes:
        unavailable: why the backend cannot run, in one line; the other one is then measured
            and reported alone. ``None`` where it can.
    """

    unavailable: Annotated[Text, Field(pattern=r"\S")] | None
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

    jax: Price | None
    pytorch: Price | None


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
            section, key = self.backends.of(backend), f"backends.{backend}"
            _check_launch(f"{key}.launch", section.launch)
            for view in VIEWS:
                _check_flags(f"{key}.{view}.flags", section.view(view).flags)
            _check_portable(f"{key}.portable", section.portable)
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
        with path.open("rb") as file:
            data = file.read(_PARAMS_BYTES + 1)
    except OSError as error:
        raise UserError(f"{path}: {error.strerror}") from error
    if len(data) > _PARAMS_BYTES:
        raise UserError(f"{path}: not readable as YAML: larger than {_PARAMS_BYTES} bytes")
    try:
        raw = yaml.load(data.decode(), Loader=_Loader)  # noqa: S506  a safe one
    except RecursionError as error:
        raise UserError(f"{path}: not readable as YAML: nested too deeply") from error
    except (yaml.YAMLError, ValueError) as error:  # ValueError: no UTF-8, an impossible date
        raise UserError(f"{path}: not readable as YAML: {one_line(str(error))}") from error
    return parse_contract(raw)


class _Loader(yaml.SafeLoader):
    """Plain YAML; a key given twice is an error, where YAML's own rule is that the last wins."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen: set[str] = set()
        for key, _ in node.value:
            if isinstance(key, yaml.ScalarNode) and key.tag != "tag:yaml.org,2002:merge":
                if key.value in seen:
                    problem = f"found the key {key.value!r} twice"
                    raise yaml.constructor.ConstructorError(None, None, problem, key.start_mark)
                seen.add(key.value)
        return super().construct_mapping(node, deep)


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
    allowed = first["msg"].removeprefix("Input should be ").removeprefix("Value error, ")
    return ContractError(key or "the file", found, allowed)


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


# argparse takes any beginning of a flag that only one flag has.
_LISTENING = "nothing: every server gets --host 127.0.0.1 and a port of its own"
_GIVEN_ELSEWHERE: dict[str, str] = {
    "host": _LISTENING,
    "port": _LISTENING,
    "model-path": "nothing: the section model says what is served",
    "revision": "nothing: the section model says what is served",
    "device": "nothing: launch.device says it",
    "dtype": "nothing: launch.dtype says it",
    "skip-tokenizer-init": "nothing: every server gets it",
    "skip-server-warmup": "nothing: every server gets it",
    "api-key": "nothing: no secret stands in a contract",
    "config": "nothing: every setting stands in the contract itself",
}


def _given_elsewhere(name: str) -> str | None:
    matches = (reason for flag, reason in _GIVEN_ELSEWHERE.items() if flag.startswith(name))
    return next(matches, None)


def _check_launch(key: str, launch: Launch) -> None:
    for i, argument in enumerate(launch.entry):
        name = argument.removeprefix("--").partition("=")[0]
        if argument.startswith("--") and name and _given_elsewhere(name) == _LISTENING:
            raise ContractError(f"{key}.entry[{i}]", argument, _LISTENING)
    for name in launch.environ:
        if not re.fullmatch(r"[A-Za-z_]\w*", name, re.ASCII):
            raise ContractError(f"{key}.environ", name, "names of letters, digits and '_'")


def _check_flags(key: str, flags: dict[str, FlagValue]) -> None:
    for name, value in flags.items():
        if not re.fullmatch(r"[a-z][a-z0-9-]*", name):
            raise ContractError(key, name, "flags of small letters, digits and '-', '--' left out")
        reason = _given_elsewhere(name)
        if reason is not None:
            raise ContractError(f"{key}.{name}", value, reason)
        if isinstance(value, str) and (not value.isprintable() or value.startswith("--")):
            allowed = "printable text on one line that is no flag itself"
            raise ContractError(f"{key}.{name}", value, allowed)
        if value == []:
            raise ContractError(f"{key}.{name}", value, "at least one number")
        for number in value if isinstance(value, list) else [value]:
            # NaN is not below anything.
            if isinstance(number, int | float) and not abs(number) < 2**63:
                raise ContractError(f"{key}.{name}", value, "numbers of at most 63 bits")


def _check_portable(key: str, view: ServerView) -> None:
    rules: dict[str, tuple[FlagValue, str]] = {
        "disable-radix-cache": (True, "true: the portable view runs without a prefix cache"),
        "chunked-prefill-size": (-1, "-1: the portable view allows no hidden splitting"),
    }
    for flag, (required, allowed) in rules.items():
        found = view.flags.get(flag)
        if found != required or type(found) is not type(required):
            raise ContractError(f"{key}.flags.{flag}", found, allowed)
