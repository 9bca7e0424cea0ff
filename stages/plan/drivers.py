"""What differs between the backends: flags, how items are scored, what a compile looks like.

A backend is its data in ``conf/target/`` and one small class here. Nothing else in the
pipeline branches on a backend's name.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

from stages.common.errors import UserError
from stages.contract import Backend, FlagValue
from stages.documents.matrix import ScoringMode

type Flags = dict[str, FlagValue]
type Settings = Mapping[str, object]
"""A server's settings under the names that it reports them by; what is left out is absent."""

# What CUDA, HIP, XLA, C++, Python, the kernel and both servers say when memory is gone.
_OUT_OF_MEMORY = re.compile(
    r"out[ _-]?of[ _-]?memory|resource_exhausted(?![^\n]{0,80}(?:larger than max|quota))"
    r"|not enough memory|(?:can(?:not|'t)|unable to|failed to) allocate (?:memory|\d|request)"
    r"|std::bad_alloc|MemoryError\b|cudaErrorMemoryAllocation|CUBLAS_STATUS_ALLOC_FAILED"
    r"|oom-kill(?:er)?:",
    re.IGNORECASE,
)
# Advice, and shortages a server lives through, use the same words.
_ONLY_A_HINT = re.compile(
    r"(?:avoid(?:ing)?|prevent(?:ing)?|\b(?:may|might|could|can)\b|cause|lead to|risk of"
    r"|\bif (?:you|it|there)\b)[^.\n]*$",
    re.IGNORECASE,
)
_LIVED_THROUGH = re.compile(r" happened\b|[^\n]{0,200}?\bnot a failure\b", re.IGNORECASE)

# Both servers write this line, and each writes it once for a batch.
_PREFILL = re.compile(r"#new-token: (\d{1,15}), #cached-token: (\d{1,15})\b")

# Room behind the prompt: the one token a scoring request generates, and alignment.
_HEADROOM_TOKENS = 8


@dataclass(frozen=True, slots=True)
class Shape:
    """The sizes server flags follow from.

    Attributes:
        prompt_tokens: query + item.
        item_tokens: what is left of a prompt once the query is in a prefix cache.
        largest_chunk: items per request at most, hence prompts in flight.
        attention_heads: of the model under test; ``None`` where it has not been resolved yet.
        prefix_cache: whether the server may keep the query's keys and values.
        probe_tokens: the longest prompt of a probe, which may be longer than any of a pass.
    """

    prompt_tokens: int
    item_tokens: int
    largest_chunk: int
    attention_heads: int | None
    prefix_cache: bool
    probe_tokens: int

    @property
    def longest_tokens(self) -> int:
        """The longest prompt that is ever sent."""
        return max(self.prompt_tokens, self.probe_tokens)

    @property
    def context_tokens(self) -> int:
        """The shortest context that holds every prompt, in steps of 32."""
        return round_up(self.longest_tokens + _HEADROOM_TOKENS, 32)


def round_up(value: int, step: int) -> int:
    """The smallest multiple of ``step`` that is at least ``value``."""
    return -(-value // step) * step


def powers_of_two(limit: int) -> list[int]:
    """1, 2, 4, ... up to and including the first that reaches ``limit``."""
    powers = [1]
    while powers[-1] < limit:
        powers.append(2 * powers[-1])
    return powers


@dataclass(frozen=True, slots=True)
class Packing:
    """What makes a server pack all items of a request into one sequence.

    Attributes:
        flags: that switch it on.
        delimiter: the token that then really stands between the items.
    """

    flags: Flags
    delimiter: int


class Driver(Protocol):
    """How one backend is driven.

    Attributes:
        package: the distribution whose version is the backend's version.
        repaired: whether the CPU launcher repairs the release (recorded, never silent).
        compile_pattern: matches a log line and captures a number of compilations;
            ``None`` where the server reports none.
        prefill_pattern: matches a log line of a prefill batch and captures the prompt tokens that
            it computed, then those from the prefix cache; ``None`` where there is no such line.
        compile_cache_variable: environment variable naming a folder of compiled programs.
        fallback_pattern: matches what the log says when a request leaves the way of scoring that
            the flags ask for; ``None`` where a server has no such way.
    """

    package: str
    compile_pattern: re.Pattern[str] | None
    prefill_pattern: re.Pattern[str] | None
    compile_cache_variable: str | None
    fallback_pattern: re.Pattern[str] | None

    def repaired(self, entry: list[str]) -> bool:
        """Whether a server started with ``entry`` runs repaired code."""
        ...

    def derived_flags(self, shape: Shape, device: str) -> Flags:
        """The server flags that follow from the contract.

        Raises:
            UserError: they depend on the model's attention heads, which are not known.
        """
        ...

    def packing(self, delimiter: int, pinned: str | None) -> Packing:
        """What makes the server pack the items of a request into one sequence.

        Args:
            delimiter: the contract's.
            pinned: the package's version; ``None`` where it comes from a checkout.
        """
        ...

    def scoring(
        self, settings: Settings, *, item_first: bool, softmax: bool
    ) -> tuple[ScoringMode, str | None]:
        """How a server with these settings scores the items of one request.

        Args:
            settings: of the server.
            item_first: whether each item precedes the query.
            softmax: whether scores are normalised over the labels.

        Returns:
            The mode, and the variant in words where it has one.
        """
        ...


class SglangJax:
    """sglang-jax (``sgl_jax``)."""

    package = "sglang-jax"
    # Prefill lines carry the field only when something compiled, decode lines always.
    compile_pattern: re.Pattern[str] | None = re.compile(r"#cache_miss: ([1-9]\d*)")
    prefill_pattern: re.Pattern[str] | None = _PREFILL
    compile_cache_variable: str | None = "JAX_COMPILATION_CACHE_DIR"
    fallback_pattern: re.Pattern[str] | None = re.compile(r"Fastpath v2 falling back to baseline")

    _MAX_RUNNING = 8
    # One float32 score for each pair of padded token and key, all heads of a layer. Long prompts
    # gain nothing from sharing a batch: each would be scored against the others' keys too.
    _SCORE_BYTES = 64 << 20

    def repaired(self, entry: list[str]) -> bool:
        """The CPU launcher repairs the release in its process; the stock module does not."""
        return any(part.endswith("launch_cpu.py") for part in entry)

    def derived_flags(self, shape: Shape, device: str) -> Flags:
        """Context, batch and padding sizes.

        Native attention costs (padded tokens) x (context x running requests), whatever
        is really in the batch, so on a CPU all of them are kept just large enough: paddings
        for the prompts of passes, and no more than room for the longest probe. On other
        devices the server's own defaults stand.
        """
        if device != "cpu":
            return {}
        running = self._running_requests(shape)
        prompt = round_up(shape.prompt_tokens, 16)
        paddings = {prompt * count for count in powers_of_two(running)}
        if shape.prefix_cache:
            # After the first prompt of a pass only the items are new.
            paddings |= {round_up(shape.item_tokens * n, 16) for n in powers_of_two(running)}
        if max(paddings) < shape.longest_tokens:
            paddings.add(round_up(shape.longest_tokens, 16))
        return {
            "context-length": shape.context_tokens,
            "max-running-requests": running,
            # Two batches: the next one is placed before the last one is freed.
            "max-total-tokens": 2 * running * round_up(shape.longest_tokens + 1, 32),
            "max-prefill-tokens": max(paddings),
            "precompile-token-paddings": sorted(paddings),
            "precompile-bs-paddings": powers_of_two(running),
        }

    def packing(self, delimiter: int, pinned: str | None) -> Packing:  # noqa: ARG002
        """One flag, which no release on the package index knows yet."""
        return Packing({"multi-item-scoring-delimiter": delimiter}, delimiter)

    def scoring(
        self, settings: Settings, *, item_first: bool, softmax: bool
    ) -> tuple[ScoringMode, str | None]:
        """Prefill and extend comes before packing, whatever the delimiter says."""
        packs = settings.get("multi_item_scoring_delimiter") is not None
        extends = settings.get("multi_item_enable_prefill_extend")
        # From 18 March 2026 on it is on by itself, with the score from cache, and a server that
        # has it does not start without the scoring cache. Before, that flag alone did nothing.
        by_itself = extends is None and bool(settings.get("enable_scoring_cache")) and not packs
        if extends or by_itself:
            from_cache = by_itself or bool(settings.get("multi_item_enable_score_from_cache_v2"))
            return "prefill_extend", _variant(settings, softmax) if from_cache else None
        return ("packed" if packs else _prompts(settings, item_first)), None

    def _running_requests(self, shape: Shape) -> int:
        """The most prompts in one batch whose attention scores fit the memory bound."""
        if shape.attention_heads is None:
            raise UserError(
                "the model's attention heads are not known; run `dvc repro checkpoint` under this"
                " contract"
            )
        running = 1
        while running * 2 <= min(self._MAX_RUNNING, powers_of_two(shape.largest_chunk)[-1]):
            keys = 2 * running * shape.context_tokens
            if 4 * shape.attention_heads * keys * keys > self._SCORE_BYTES:
                break
            running *= 2
        return running


def _variant(settings: Settings, softmax: bool) -> str:
    """Scoring from the cache, and the fault that every build with label-only logprobs has."""
    if not settings.get("multi_item_score_label_only_logprob"):
        return "score from cache v2"
    fault = (
        ": every build known takes the softmax over probabilities there, which gives wrong scores"
    )
    return f"score from cache v2, label-only logprobs{fault if softmax else ''}"


def _prompts(settings: Settings, item_first: bool) -> ScoringMode:
    """Items that are prompts of their own: a prefix cache holds the query if that comes first."""
    return "separate" if settings.get("disable_radix_cache") or item_first else "cached"


class SglangPytorch:
    """PyTorch sglang, the frozen reference."""

    package = "sglang"
    compile_pattern: re.Pattern[str] | None = None
    prefill_pattern: re.Pattern[str] | None = _PREFILL
    compile_cache_variable: str | None = None
    fallback_pattern: re.Pattern[str] | None = None

    _MAX_TOTAL_TOKENS = 65536

    # From this version on, packing has a switch and a delimiter of its own.
    _MIS_SINCE = (0, 5, 11)
    _MIS_DELIMITER = 9999

    def repaired(self, entry: list[str]) -> bool:  # noqa: ARG002
        """Never: the baseline runs through its own extension point, unpatched."""
        return False

    def derived_flags(self, shape: Shape, device: str) -> Flags:
        """Context and cache size; on other devices the server's own defaults stand."""
        if device != "cpu":
            return {}
        largest_batch = shape.largest_chunk * shape.context_tokens
        return {
            "context-length": shape.context_tokens,
            "max-total-tokens": max(
                2 * shape.context_tokens, min(self._MAX_TOTAL_TOKENS, 2 * largest_batch)
            ),
        }

    def packing(self, delimiter: int, pinned: str | None) -> Packing:
        """By version: ``--enable-mis``, or the flag with the delimiter and what that one needs.

        Packing works with flashinfer's attention alone, hence on a GPU alone.
        """
        if pinned is None:
            raise UserError(f"no version of {self.package} is pinned, so its flags are not known")
        if _release(pinned) >= self._MIS_SINCE:
            flags: Flags = {"enable-mis": True, "attention-backend": "flashinfer"}
            return Packing(flags, self._MIS_DELIMITER)
        flags = {
            "multi-item-scoring-delimiter": delimiter,
            "disable-radix-cache": True,
            "chunked-prefill-size": -1,
        }
        return Packing(flags, delimiter)

    def scoring(
        self,
        settings: Settings,
        *,
        item_first: bool,
        softmax: bool,  # noqa: ARG002
    ) -> tuple[ScoringMode, str | None]:
        """Packed by the switch or, before there was one, by the delimiter."""
        packs = settings.get("enable_mis") or (
            settings.get("multi_item_scoring_delimiter") is not None
        )
        return ("packed" if packs else _prompts(settings, item_first)), None


def _release(version: str) -> tuple[int, ...]:
    """The numbers of a version, whatever stands behind them (``.post1``, ``rc1``)."""
    numbers = re.match(r"\d+(?:\.\d+)*", version)
    return tuple(int(n) for n in numbers[0].split(".")) if numbers else ()


DRIVERS: dict[Backend, Driver] = {"jax": SglangJax(), "pytorch": SglangPytorch()}


def command_line(flags: Flags) -> list[str]:
    """Flags as arguments: ``true`` is the bare flag, ``false`` leaves it out."""
    arguments: list[str] = []
    for name, value in flags.items():
        if value is True:
            arguments.append(f"--{name}")
        elif isinstance(value, list):
            arguments += [f"--{name}", *map(str, value)]
        elif value is not False:
            arguments += [f"--{name}", str(value)]
    return arguments


def count_compiles(log: str, pattern: re.Pattern[str]) -> int:
    """Compilations reported in a stretch of a server's log."""
    return sum(int(match[1]) for match in pattern.finditer(log))


def count_fallbacks(log: bytes, pattern: re.Pattern[str] | None) -> int | None:
    """Requests that left the way of scoring asked for; ``None`` where there is none to leave."""
    if pattern is None:
        return None
    return sum(1 for _ in pattern.finditer(log.decode("utf-8", errors="replace")))


def looks_out_of_memory(text: str) -> bool:
    """Whether an error message or a stretch of a log says that memory ran out.

    Advice against it ("to avoid out of memory, ...") and shortages that the server lived
    through ("Decode out of memory happened") do not count.
    """
    return any(
        not _ONLY_A_HINT.search(text[max(0, match.start() - 60) : match.start()])
        and not _LIVED_THROUGH.match(text, match.end())
        for match in _OUT_OF_MEMORY.finditer(text)
    )
