"""sglang-jax: everything that is only true of it.

`launch_cpu.py` beside this file repairs the release on a CPU.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from math import lcm

from stages.backends.declared import (
    HEADROOM_TOKENS,
    Attention,
    DeclaredBackend,
    DeclaredCheckout,
    DeclaredEnvironment,
    DevicePackages,
    Flags,
    Packing,
    ScoringMode,
    Settings,
    Shape,
    TpuMasks,
    round_up,
)
from stages.backends.sglang import DELIMITER_FLAG, DELIMITER_SAID, PREFILL, prompts
from stages.common.errors import UserError

_EXTENDS = "multi-item-enable-prefill-extend"
_EXTEND_BATCH = "multi-item-extend-batch-size"
_FROM_CACHE = "multi-item-enable-score-from-cache-v2"
_ITEMS_A_STEP = "multi-item-score-from-cache-v2-items-per-step"

_UNMASKED = "the attention ignores the mask, so items see each other"
_LABEL_ONLY = "label-only logprobs"
_LABEL_ONLY_SOFTMAX = (
    f"{_LABEL_ONLY}: every build known takes the softmax over probabilities there, which gives"
    " wrong scores"
)


def powers_of_two(limit: int) -> list[int]:
    """1, 2, 4, ... up to and including the first that reaches ``limit``."""
    powers = [1]
    while powers[-1] < limit:
        powers.append(2 * powers[-1])
    return powers


class SglangJax(DeclaredBackend):
    """sglang-jax (``sgl_jax``)."""

    key = "jax"
    title = "JAX"
    package = "sglang-jax"
    environments = (
        DeclaredEnvironment(
            "sglang_jax",
            "requirements.txt",
            disk_bytes=900_000_000,
            checkout=DeclaredCheckout(
                "SCOREPARITY_SGLANG_JAX_SOURCE",
                extras={"cpu": "cpu", "tpu": "tpu", "cuda": "gpu", "gpu": "gpu"},
                # No release on the package index scores on another device.
                releases_on=("cpu",),
                named_after="jax",
                disk_bytes={"cpu": 620_000_000, "tpu": 1_600_000_000},
            ),
        ),
    )
    # The duration has nine decimals. JAX logs it for a program from its cache folder, too: tracing
    # and loading one still take much longer than a warm call.
    compile_pattern = re.compile(r"Finished XLA compilation of .{1,300}? in \d[\d.e+-]* sec\b")
    # What a server without those lines logs, but not for requests that are scored from the cache.
    # Prefill lines carry the field only when something compiled, decode lines always.
    compile_count_pattern = re.compile(
        r"(?:(?:Prefill|Decode) batch\b.{0,400})?#cache_miss: ([1-9]\d*)"
    )
    compile_environ = {"JAX_LOG_COMPILES": "1"}  # noqa: RUF012
    prefill_pattern = PREFILL
    compile_cache_variable = "JAX_COMPILATION_CACHE_DIR"
    # One line a request, before its answer, with --multi-item-score-fastpath-log-metrics.
    path_pattern = re.compile(r"\bScorePathMetrics path=(\w+)")
    path_modes = {  # noqa: RUF012
        "score_from_cache_v2": "score_from_cache",
        "prefill_extend_baseline": "prefill_extend",
    }
    fallback_pattern = re.compile(r"Fastpath v2 falling back to baseline")
    fallback_mode = "prefill_extend"
    packs_by = {DELIMITER_FLAG: DELIMITER_SAID}  # noqa: RUF012
    # Builds from 18 March 2026 on always do, and do not start without the second.
    keeps_query = ("multi-item-enable-prefill-extend", "enable-scoring-cache")
    server_chunk_flag = "multi-item-scoring-chunk-size"
    # Segment masks failed at a TPU's kernel lowering until sglang-jax mended that in February
    # 2026. Which builds hold the mend cannot be told from here, so the contract says it of its
    # commit.
    tpu_masks = TpuMasks(
        mask="multi-item-mask-impl",
        threshold="multi-item-segment-fallback-threshold",
        masks=("auto", "dense", "segment"),
        safe="dense",
        why="a segment mask fails there (Cannot do int indexing on TPU during kernel lowering)",
    )
    # Only a line of the log says that it replaced the attention. Builds do not pack without `fa`.
    attention = Attention(
        flag="attention-backend",
        default="fa",
        replaced={"cpu": {"fa": "native", "fa_mha": "native"}},
        ignoring_mask=("native",),
    )
    known_wrong = (_UNMASKED, _LABEL_ONLY_SOFTMAX)
    devices = DevicePackages(
        needed={"tpu": ("libtpu",)},
        telling=("sglang-jax", "jax", "jaxlib", "libtpu", "flax"),
        platform_variables=("JAX_PLATFORMS", "JAX_PLATFORM_NAME"),
    )

    _MAX_RUNNING = 8
    # One float32 score for each pair of padded token and key, all heads of a layer. Long prompts
    # gain nothing from sharing a batch: each would be scored against the others' keys too.
    _SCORE_BYTES = 64 << 20

    def entry(self, device: str, commit: str | None) -> list[str]:
        """The release scores only on a CPU, and only repaired; a commit runs as it is."""
        repairs = commit is None and device.partition(":")[0] == "cpu"
        return ["backends/jax/launch_cpu.py"] if repairs else ["-m", "sgl_jax.launch_server"]

    def repaired(self, entry: list[str]) -> bool:
        """The CPU launcher repairs the release in its process; the stock module does not."""
        return any(part.endswith("launch_cpu.py") for part in entry)

    def derived_flags(self, shapes: Sequence[Shape], device: str) -> Flags:
        """Context, batch and padding sizes.

        Native attention costs (padded tokens) x (context x running requests), whatever
        is really in the batch, so on a CPU all of them are kept just large enough: paddings
        for the prompts of the passes of each workload, and no more than room for the longest
        probe. On other devices the server's own defaults stand.
        """
        if device != "cpu":
            return {}
        flags = shapes[0].flags
        packed = any(shape.packed_tokens for shape in shapes)
        batch = 1 if packed else self._running_requests(shapes)
        paddings = {size for shape in shapes for size in _paddings(shape, batch)}
        # A context or a prompt that ends within a page is given the whole page.
        step = lcm(32, _count(flags, "page-size") or 1)
        longest = max(shape.packed_tokens or shape.longest_tokens for shape in shapes)
        extending = _extending(flags, batch)
        running = max(batch, 2 * _items_a_step({**extending, **flags}))
        return {
            "context-length": round_up(longest + HEADROOM_TOKENS, step),
            "max-running-requests": running,
            # Two batches: the next one is placed before the last one is freed.
            "max-total-tokens": 2 * running * round_up(longest + 1, step),
            "max-prefill-tokens": max(paddings),
            "precompile-token-paddings": sorted(paddings),
            "precompile-bs-paddings": powers_of_two(running),
            **extending,
        }

    def packs_with(self, flags: Flags) -> bool:
        """Items that continue a kept query are not packed, whatever the delimiter says."""
        return not flags.get(_EXTENDS)

    def packing(self, delimiter: int, pinned: str | None) -> Packing:  # noqa: ARG002
        """One flag, which no release on the package index knows yet."""
        return Packing({DELIMITER_FLAG: delimiter}, delimiter)

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
            if from_cache:
                return "score_from_cache", _variant(settings, softmax)
            return "prefill_extend", None
        if packs:
            return "packed", self._unmasked(settings)
        return prompts(settings, item_first), None

    def _unmasked(self, settings: Settings) -> str | None:
        """The variant of packing in which nothing keeps the items apart; ``None`` if it is not."""
        chosen, device = settings.get("attention_backend"), str(settings.get("device", ""))
        if self.attention.used(chosen, device) not in self.attention.ignoring_mask:
            return None
        return _UNMASKED

    def _running_requests(self, shapes: Sequence[Shape]) -> int:
        """The most prompts in one batch whose attention scores fit the memory bound.

        A server has one limit for all workloads, and a context for the longest of their prompts.
        """
        heads = shapes[0].attention_heads
        if heads is None:
            raise UserError(
                "the model's attention heads are not known; run `dvc repro checkpoint` under this"
                " contract"
            )
        context = max(shape.context_tokens for shape in shapes)
        most = max(powers_of_two(shape.largest_chunk)[-1] for shape in shapes)
        running = 1
        while running * 2 <= min(self._MAX_RUNNING, most):
            keys = 2 * running * context
            if 4 * heads * keys * keys > self._SCORE_BYTES:
                break
            running *= 2
        return running


def _paddings(shape: Shape, batch: int) -> set[int]:
    """The sizes to which the tokens of a batch are padded: few, and none far above what is sent.

    Args:
        shape: of one workload.
        batch: the most prompts in a batch of any workload.
    """
    prompt = round_up(shape.prompt_tokens, 16)
    if shape.packed_tokens:
        # One request, one sequence: from one item to all of them.
        longest = round_up(shape.packed_tokens + HEADROOM_TOKENS, 16)
        steps = powers_of_two(-(-longest // prompt))
        return {min(prompt * step, longest) for step in steps}
    batch = min(batch, powers_of_two(shape.largest_chunk)[-1])
    paddings = {prompt * count for count in powers_of_two(batch)}
    if shape.prefix_cache:
        # After the first prompt of a pass only the items are new.
        paddings |= {round_up(shape.item_tokens * n, 16) for n in powers_of_two(batch)}
    if max(paddings) < shape.longest_tokens:
        paddings.add(round_up(shape.longest_tokens, 16))
    return paddings


def _extending(flags: Flags, batch: int) -> Flags:
    """How many items continue a kept query at a time, where the contract leaves it open.

    The server's own numbers, 32 and 64, suit an accelerator: it fills up every batch to the first.
    """
    derived: Flags = {}
    if flags.get(_EXTENDS) is True:
        derived[_EXTEND_BATCH] = batch
    if flags.get(_FROM_CACHE) is True:
        derived[_ITEMS_A_STEP] = batch
    return {flag: value for flag, value in derived.items() if flag not in flags}


def _items_a_step(flags: Flags) -> int:
    """The items that are scored from the cache in a step; 0 where none are.

    Builds from March 2026 on place a step before the last one is freed, and no flag tells them
    apart. With requests for one step only they go on in another way in the middle of a request.
    Earlier builds only pay for it: attention is padded to all running requests.
    """
    return 0 if flags.get(_FROM_CACHE) is False else _count(flags, _ITEMS_A_STEP)


def _count(flags: Flags, flag: str) -> int:
    """The value of a flag that holds a number; 0 where it does not."""
    found = flags.get(flag)
    return found if isinstance(found, int) else 0


def _variant(settings: Settings, softmax: bool) -> str | None:
    """Label-only logprobs, and the fault that every build has with them."""
    if not settings.get("multi_item_score_label_only_logprob"):
        return None
    return _LABEL_ONLY_SOFTMAX if softmax else _LABEL_ONLY


BACKEND = SglangJax()
