"""What a backend declares of itself in ``backends/KEY/backend.py``.

Everything that is only true of one backend stands there, in an instance ``BACKEND`` of a subclass
of :class:`DeclaredBackend`. Nothing else in the pipeline branches on a backend.
"""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import ClassVar, Literal

type FlagValue = bool | int | float | str | list[int]
type Flags = dict[str, FlagValue]
type Settings = Mapping[str, object]
"""A server's settings, under the names it reports. A setting that is not set is absent."""

type ScoringMode = Literal["separate", "cached", "packed", "prefill_extend", "score_from_cache"]
"""How a server scores the items of one request.

``separate``: as prompts of their own, the query in each. ``cached``: the same, with the query's
keys and values from a prefix cache. ``packed``: as one sequence, a mask keeps the items apart.
``prefill_extend``: the query is computed once and kept, and the items continue it.
``score_from_cache``: the query is computed once and kept, and one step scores the items from it.
"""

type PassMode = ScoringMode | Literal["mixed"]
"""How a server scored the requests of one pass: ``mixed`` where not all in the same way."""

# Room after the prompt for the one token that a scoring request generates, and for alignment.
HEADROOM_TOKENS = 8


@dataclass(frozen=True, slots=True)
class DeclaredCheckout:
    """How a backend is installed from a commit of its git repository.

    Such a commit says itself what it needs, in the ``pyproject.toml`` of its package. The pinned,
    hashed packages for that are a lock in the folder ``locks`` beside ``backend.py``. A file
    ``commits.txt`` there may tell the package's git tree of a commit, by which the package is
    found in repositories without the commit's history.

    Attributes:
        variable: the environment variable that names the repository.
        extras: the package's extra for each kind of device that a contract may name.
        folder: of the package in the repository.
        releases_on: the devices on which the release works, so that a contract needs no commit.
        named_after: the dependency whose version names a new lock.
        disk_bytes: the measured size on disk by extra, as far as it is known.
    """

    variable: str
    extras: Mapping[str, str] = field(default_factory=lambda: {"cpu": "cpu"})
    folder: str = "python"
    releases_on: tuple[str, ...] = ()
    named_after: str = ""
    disk_bytes: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class DeclaredEnvironment:
    """A Python environment in which a backend's server runs.

    Attributes:
        name: its name in a contract.
        requirements: the file with the release's pinned, hashed packages, beside ``backend.py``.
        disk_bytes: its measured size on disk; ``None`` where it is not known.
        checkout: how a commit is installed; ``None`` where only the release can be.
        serves_oracle: whether the oracle may compute in it: it holds torch and transformers.
    """

    name: str
    requirements: str
    disk_bytes: int | None = None
    checkout: DeclaredCheckout | None = None
    serves_oracle: bool = False


@dataclass(frozen=True, slots=True)
class Shape:
    """The sizes of one workload, from which server flags are derived.

    Attributes:
        prompt_tokens: query + item.
        item_tokens: the rest of a prompt once the query is in a prefix cache.
        largest_chunk: the most items in a request, hence prompts in flight.
        attention_heads: of the model under test; ``None`` where it has not been resolved yet.
        prefix_cache: whether the server may keep the query's keys and values.
        probe_tokens: the longest prompt of a probe, which may exceed those of a pass.
        packed_tokens: the longest sequence of packed items, of passes and probes; 0 where items
            are not packed.
        flags: those that the contract sets for the view; they win over derived ones.
    """

    prompt_tokens: int
    item_tokens: int
    largest_chunk: int
    attention_heads: int | None
    prefix_cache: bool
    probe_tokens: int
    packed_tokens: int = 0
    flags: Flags = field(default_factory=dict)

    @property
    def longest_tokens(self) -> int:
        """The longest prompt of any request."""
        return max(self.prompt_tokens, self.probe_tokens)

    @property
    def context_tokens(self) -> int:
        """The shortest context that holds every prompt, in steps of 32."""
        return round_up(self.longest_tokens + HEADROOM_TOKENS, 32)


def round_up(value: int, step: int) -> int:
    """The smallest multiple of ``step`` that is at least ``value``."""
    return -(-value // step) * step


@dataclass(frozen=True, slots=True)
class Packing:
    """The flags that make a server pack all items of a request into one sequence.

    Attributes:
        flags: they switch packing on.
        delimiter: the token that the server then puts between the items.
    """

    flags: Flags
    delimiter: int


@dataclass(frozen=True, slots=True)
class TpuMasks:
    """The masks between packed items, where a TPU serves only some of them.

    Attributes:
        mask: the flag that chooses the mask.
        threshold: the flag with the length from which the server falls back to another mask.
        masks: the values of ``mask``, the default first.
        safe: the one that every build serves on a TPU, whatever the threshold.
        why: what happens with another one.
    """

    mask: str
    threshold: str
    masks: tuple[str, ...]
    safe: str
    why: str


@dataclass(frozen=True, slots=True)
class Attention:
    """The attention that a server computes with, where its flag does not tell.

    Attributes:
        flag: the flag that chooses it.
        default: the server's choice where the flag is left out.
        replaced: by kind of device, what the server silently takes in the place of a choice.
        ignoring_mask: those that ignore the mask between packed items.
    """

    flag: str
    default: str
    replaced: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    ignoring_mask: tuple[str, ...] = ()

    def used(self, chosen: object, device: str) -> str:
        """What the server computes with on ``device``, where ``chosen`` is the flag's value."""
        name = self.default if chosen is None else str(chosen)
        return self.replaced.get(device.partition(":")[0], {}).get(name, name)


@dataclass(frozen=True, slots=True)
class DevicePackages:
    """Packages by which a machine is checked for the device that a contract asks for.

    Attributes:
        needed: the packages that a server needs to reach a device, by kind (``tpu``, ``cuda``).
        telling: those to name first where an installation differs from its pins.
        platform_variables: the environment variables that list the kinds of device a server may
            use.
    """

    needed: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    telling: tuple[str, ...] = ()
    platform_variables: tuple[str, ...] = ()


class DeclaredBackend(ABC):
    """Everything that is only true of one backend.

    Attributes:
        key: of its section in the contract, ``backends.KEY``.
        title: its name in sentences.
        package: the distribution whose version is the backend's version.
        environments: in which its server can run.
        compile_pattern: matches the report of one compilation in a log, without the logger's
            prefix and with what tells it from others. Equal matches in a pass are copies by several
            loggers. ``None`` where the server reports none.
        compile_count_pattern: the same for a report that captures a number of compilations. It
            counts only where nothing that the server has logged matches ``compile_pattern``.
        compile_environ: the environment variables that make a server report its compilations.
        prefill_pattern: matches a log line of a prefill batch and captures the prompt tokens that
            it computed, then those from the prefix cache; ``None`` where there is no such line.
        path_pattern: matches what a log says of the way in which one request was scored, and
            captures that way's name; ``None`` where no log tells.
        path_modes: the mode of each such name.
        fallback_pattern: matches the log line of a request that is scored in another way than the
            flags ask for; ``None`` where there is no such line.
        fallback_mode: the mode in which such a request is scored.
        compile_cache_variable: environment variable naming a folder of compiled programs.
        packs_by: the flags that make the server pack items, and what a contract uses instead.
        keeps_query: the flags that make the server compute the query once and continue it with
            every item.
        server_chunk_flag: the flag that bounds how many items the server packs at a time;
            ``None`` where it has none.
        tpu_masks: the masks that a TPU supports; ``None`` where it has no such flags.
        attention: what a server computes attention with; ``None`` where its flag always tells.
        devices: the packages that ``doctor`` checks.
        stand_ins: the variants of scoring in which code of this project stands in for a part of
            the server. Their scores count, their speed is not the backend's.
        known_wrong: the variants of scoring that give wrong scores in every build known.
        frozen: whether its locks are renewed only where they are named.
    """

    key: ClassVar[str]
    title: ClassVar[str]
    package: ClassVar[str]
    environments: ClassVar[tuple[DeclaredEnvironment, ...]]
    compile_pattern: ClassVar[re.Pattern[str] | None] = None
    compile_count_pattern: ClassVar[re.Pattern[str] | None] = None
    compile_environ: ClassVar[Mapping[str, str]] = {}
    prefill_pattern: ClassVar[re.Pattern[str] | None] = None
    path_pattern: ClassVar[re.Pattern[str] | None] = None
    path_modes: ClassVar[Mapping[str, ScoringMode]] = {}
    fallback_pattern: ClassVar[re.Pattern[str] | None] = None
    fallback_mode: ClassVar[ScoringMode | None] = None
    compile_cache_variable: ClassVar[str | None] = None
    packs_by: ClassVar[Mapping[str, str]] = {}
    keeps_query: ClassVar[tuple[str, ...]] = ()
    server_chunk_flag: ClassVar[str | None] = None
    tpu_masks: ClassVar[TpuMasks | None] = None
    attention: ClassVar[Attention | None] = None
    devices: ClassVar[DevicePackages] = DevicePackages()
    stand_ins: ClassVar[tuple[str, ...]] = ()
    known_wrong: ClassVar[tuple[str, ...]] = ()
    frozen: ClassVar[bool] = False

    def entry(self, device: str, commit: str | None) -> list[str] | None:  # noqa: ARG002
        """The arguments to Python that start the server, where a contract gives none.

        Args:
            device: that the server computes on.
            commit: that it is installed from; ``None`` for the release.

        Returns:
            ``None`` where the contract must say it.
        """
        return None

    def repaired(self, entry: list[str]) -> bool:  # noqa: ARG002
        """Whether a server started with ``entry`` runs repaired code (recorded, never silent)."""
        return False

    def may_fall_back(self, mode: ScoringMode) -> bool:
        """Whether a server asked for ``mode`` scores in another one where that fails."""
        return mode in self.path_modes.values() and mode != self.fallback_mode

    def reported_defaults(self, flags: Flags) -> Flags:  # noqa: ARG002
        """The required values of flags that ``flags`` leaves to the server's defaults."""
        return {"disable-radix-cache": False}

    @abstractmethod
    def derived_flags(self, shapes: Sequence[Shape], device: str) -> Flags:
        """The server flags that are derived from the contract.

        Args:
            shapes: one for each workload, with the same flags; one server serves them all.
            device: that it computes on.

        Raises:
            UserError: they depend on the model's attention heads, which are not known.
        """

    def packs_with(self, flags: Flags) -> bool:  # noqa: ARG002
        """Whether a server that has a delimiter packs items, with these flags of the contract.

        It does not where they ask it to score them in another way, in which no delimiter and no
        mask is used.
        """
        return True

    @abstractmethod
    def packing(self, delimiter: int, pinned: str | None) -> Packing:
        """The flags that make the server pack the items of a request.

        Args:
            delimiter: the contract's.
            pinned: the package's version; ``None`` where it comes from a checkout.

        Raises:
            UserError: the flags depend on the version, which is not known.
        """

    @abstractmethod
    def scoring(
        self, settings: Settings, *, item_first: bool, softmax: bool
    ) -> tuple[ScoringMode, str | None]:
        """How a server with these settings scores the items of one request.

        Args:
            settings: of the server, its ``device`` among them.
            item_first: whether each item precedes the query.
            softmax: whether scores are normalised over the labels.

        Returns:
            The mode, and the name of its variant, if any.
        """
