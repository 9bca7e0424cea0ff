"""Parses ``params.yaml`` once into one typed, validated, frozen object."""

from __future__ import annotations

import difflib
import re
from datetime import date
from pathlib import Path
from typing import Annotated, Any, Self, get_args, get_origin

import pydantic
from pydantic import BaseModel, Field
from pydantic_core import ErrorDetails

from stages.common.errors import ContractError, UserError, one_line
from stages.contract.basics import Backend, Price, Strict, Weight
from stages.contract.characters import unfit
from stages.contract.document import read_yaml
from stages.contract.measuring import (
    Gate,
    Identity,
    Limits,
    Oracle,
    Passes,
    Probes,
    Selection,
    check_passes,
)
from stages.contract.packing import check_item_order, check_packing
from stages.contract.serving import BackendContract, Pair, check_backends, check_keys, check_pair
from stages.contract.subject import (
    DrawnWorkload,
    HubModel,
    PackagedModel,
    SyntheticModel,
    TextWorkload,
    Vocabulary,
    WorkloadName,
    check_subject,
    chunk_sizes_of,
)

PARAMS = Path("params.yaml")

_PARAMS_BYTES = 1 << 20


class Contract(Strict):
    """The whole of ``params.yaml``: what is measured, and how.

    Attributes:
        workloads: what is scored, by name; one server session measures all of them.
        mix: scenario to the weights of its workloads, for a weighted mean over them.
        chunk_sizes: of every workload; see :meth:`chunk_sizes_of`.
        prices_usd_per_hour: of each backend's host; ``None`` where not known.
        pair: the backends that are compared.
        backends: at least those of the pair; others are checked but not measured.
        rough_rates: checked and used by `make plan` only.
    """

    identity: Identity
    model: Annotated[SyntheticModel | HubModel | PackagedModel, Field(discriminator="kind")]
    vocabulary: Vocabulary
    workloads: Annotated[
        dict[WorkloadName, Annotated[DrawnWorkload | TextWorkload, Field(discriminator="kind")]],
        Field(min_length=1, description="at least one workload"),
    ]
    mix: dict[WorkloadName, Annotated[dict[str, Weight], Field(min_length=1)]] = Field(
        default_factory=dict
    )
    chunk_sizes: Annotated[list[int], Field(min_length=1)]
    passes: Passes
    limits: Limits
    gate: Gate
    selection: Selection
    probes: Probes
    oracle: Oracle
    prices_usd_per_hour: dict[Backend, Price | None]
    pair: Pair
    backends: dict[Backend, BackendContract]
    rough_rates: dict[Any, Any] | None = None

    @property
    def candidate(self) -> Backend:
        """The backend whose scores the gate judges."""
        return self.pair.candidate

    @property
    def reference(self) -> Backend:
        """The backend that is the frozen baseline."""
        return self.pair.reference

    def chunk_sizes_of(self, workload: str) -> list[int]:
        """The chunk sizes at which a workload is measured: those that fit, and all its items."""
        return chunk_sizes_of(self.workloads[workload], self.chunk_sizes)

    def paired(self, backend: str) -> Backend:
        """``backend``, after a check that it is one of the pair.

        Raises:
            UserError: it is not one of the pair.
        """
        if backend not in self.pair.both:
            raise UserError(
                f"backend {one_line(backend)!r}: {' and '.join(self.pair.both)} are compared here"
            )
        return backend

    def checked(self) -> Self:
        """Return the contract itself if its parts fit together.

        Raises:
            ContractError: naming the key, what was found and what is allowed.
        """
        check_subject(self.model, self.vocabulary, self.workloads, self.chunk_sizes, self.mix)
        check_passes(self.passes)
        check_pair(self.pair, self.backends)
        check_keys("prices_usd_per_hour", self.prices_usd_per_hour, self.pair)
        check_backends(self.backends)
        check_packing(self.backends, self.vocabulary, self.workloads)
        check_item_order(self.backends, self.workloads)
        return self


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
        text = data.decode()
    except UnicodeDecodeError as error:
        raise UserError(f"{path}: not readable as YAML: {one_line(str(error))}") from error
    return parse_contract(read_yaml(text, str(path)))


def parse_contract(raw: object) -> Contract:
    """Validate a parsed ``params.yaml``.

    Raises:
        ContractError: the first key that is wrong, what was found, what is allowed.
    """
    _check_kinds(raw)
    try:
        contract = Contract.model_validate(raw)
    except pydantic.ValidationError as error:
        raise first_error(error, Contract) from None
    return contract.checked()


_MODELS = ("synthetic", "hub", "packaged")
_WORKLOADS = ("drawn", "text")


def _check_kinds(raw: object) -> None:
    # pydantic formats the value that it finds instead of a kind. For a number of thousands of
    # digits Python refuses that, and its complaint would go to standard error, too.
    if not isinstance(raw, dict):
        return
    _check_kind("model", raw.get("model"), _MODELS)
    workloads = raw.get("workloads")
    for name, section in workloads.items() if isinstance(workloads, dict) else ():
        _check_kind(f"workloads.{one_line(str(name), 60)}", section, _WORKLOADS)


def _check_kind(key: str, section: object, kinds: tuple[str, ...]) -> None:
    found = section.get("kind", "") if isinstance(section, dict) else ""
    if not isinstance(found, str):
        raise ContractError(f"{key}.kind", found, " or ".join(map(repr, kinds)))


def first_error(error: pydantic.ValidationError, document: type[BaseModel]) -> ContractError:
    """The error of the first wrong key: what was found, and what is allowed.

    Args:
        error: of validating ``params.yaml``, or a part of it.
        document: the class that validated it; its fields are keys of the file.
    """
    # A misspelt key yields two errors, unknown and missing; the unknown one explains both.
    errors = sorted(error.errors(), key=lambda e: e["type"] != "extra_forbidden")
    first = errors[0]
    key = _dotted(first["loc"])
    if first["type"] == "extra_forbidden":
        return _unknown_key(key, str(first["loc"][-1]), _known_keys(document, first["loc"]))
    if first["type"] == "union_tag_not_found":
        return ContractError(f"{key}.kind", "nothing", "this key is required")
    if first["type"] == "union_tag_invalid":
        context = first["ctx"]
        allowed = context["expected_tags"].replace(", ", " or ")
        return ContractError(f"{key}.kind", context["tag"], allowed)
    if first["type"] == "missing":
        return ContractError(key, "nothing", "this key is required")
    return ContractError(key or "the file", first["input"], _allowed(first))


_A_FLAG = "true, false, a number, text, or a list of whole numbers"


def _allowed(error: ErrorDetails) -> str:
    """Describes the allowed values."""
    found = error["input"]
    if "flags" in error["loc"] and error["type"] != "value_error":
        allowed = _A_FLAG
    elif error["type"] == "string_unicode" and isinstance(found, str):
        allowed = f"text; {unfit(found)}"
    elif error["type"].startswith("bool_"):
        allowed = "true or false"
    elif error["type"] == "model_type":
        allowed = "a section with keys of its own"
    else:
        allowed = error["msg"].removeprefix("Input should be ").removeprefix("Value error, ")
    return f"{allowed} (a date is text in quotes)" if isinstance(found, date) else allowed


def _unknown_key(key: str, name: str, known: list[str]) -> ContractError:
    close = difflib.get_close_matches(name, known, n=1)
    hint = f"did you mean {close[0]!r}? " if close else ""
    return ContractError(key, "an unknown key", f"{hint}known here: {', '.join(sorted(known))}")


# pydantic adds the discriminator's value to the location, but it is not a key of the file.
_UNION_TAGS: dict[str, type[BaseModel]] = {
    "synthetic": SyntheticModel,
    "hub": HubModel,
    "packaged": PackagedModel,
    "drawn": DrawnWorkload,
    "text": TextWorkload,
}


def _dotted(location: tuple[int | str, ...]) -> str:
    text = ""
    if "flags" in location:
        # After a flag's name, pydantic adds the types that it tried. They are not keys.
        location = location[: location.index("flags") + 2]
    for part in location:
        if part == "[key]":  # an error in the key before it
            continue
        if part in _UNION_TAGS and (text == "model" or re.fullmatch(r"workloads\.[^.]+", text)):
            continue
        if isinstance(part, str) and re.fullmatch(r"[\w-]+", part):
            text += f".{part}" if text else part
        else:
            text += f"[{part!r}]"
    return text


def _below(section: Any, part: int | str) -> Any:
    """The class of the value at ``part`` of ``section``."""
    if get_origin(section) is dict:
        return get_args(section)[1]
    below = section.model_fields[part].annotation
    if get_origin(below) is dict:
        return below
    # A section that may be null.
    return next((one for one in get_args(below) if hasattr(one, "model_fields")), below)


def _known_keys(document: type[BaseModel], location: tuple[int | str, ...]) -> list[str]:
    section: Any = document
    for part in location[:-1]:
        if part in _UNION_TAGS:
            section = _UNION_TAGS[str(part)]
            continue
        section = _below(section, part)
    return list(section.model_fields)
