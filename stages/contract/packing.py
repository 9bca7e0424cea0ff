"""What packed items ask of the servers, and what a TPU cannot do: refused before a start.

Segment masks failed at a TPU's kernel lowering until sglang-jax mended that in February 2026.
Which builds hold the mend cannot be told from here, so the contract says it of its commit.
"""

from __future__ import annotations

from stages.common.errors import ContractError
from stages.contract.basics import BACKENDS, VIEWS, FlagValue
from stages.contract.serving import Backends, ServerView
from stages.contract.subject import Vocabulary

_SERVER_CHUNK = "multi-item-scoring-chunk-size"

KEEPS_QUERY = ("multi-item-enable-prefill-extend", "enable-scoring-cache")
"""By either flag sglang-jax computes the query once, keeps it and continues it with every item.

Builds from 18 March 2026 on always do, and do not start without the second.
"""

_WHY_ORDER = (
    "the server computes the query first and ignores item_first, so it would score other prompts"
    " than the other servers and the oracle"
)

_MASK = "multi-item-mask-impl"
_THRESHOLD = "multi-item-segment-fallback-threshold"

_ON_TPU: dict[str, FlagValue] = {_MASK: "dense", _THRESHOLD: 0}
_WHY_ON_TPU = (
    "on a TPU: a segment mask fails there (Cannot do int indexing on TPU during kernel lowering);"
    " if the commit holds the mend, say so in {}.launch.source.segment_mask_mended"
)
_MASKS = ("auto", "dense", "segment")


def check_packing(backends: Backends, vocabulary: Vocabulary, items: int) -> None:
    """Make sure that what the views say of packed items can be served and compared.

    Args:
        backends: the servers of both backends.
        vocabulary: its reserved ids are in no prompt, so a delimiter must be one of them.
        items: of the workload.

    Raises:
        ContractError: naming the key, what was found and what is allowed.
    """
    for backend in BACKENDS:
        section = backends.of(backend)
        on_tpu = section.launch.device.partition(":")[0] == "tpu"
        for view in VIEWS:
            key = f"backends.{backend}.{view}"
            _check_delimiter(key, section.view(view), vocabulary)
            if on_tpu and section.launch.segment_mask_mended:
                _check_any_mask(key, section.view(view))
            elif on_tpu:
                _check_dense_mask(key, section.view(view), f"backends.{backend}")
        _check_server_chunk(f"backends.{backend}.portable", section.portable, items, on_tpu)


def check_item_order(backends: Backends, item_first: bool) -> None:
    """Make sure that every server puts the items where the workload wants them.

    Args:
        backends: the servers of both backends.
        item_first: whether the workload wants each item before the query.

    Raises:
        ContractError: naming the key, what was found and what is allowed.
    """
    if not item_first:
        return
    for backend in BACKENDS:
        for view in VIEWS:
            asked_by = _query_first(backends.of(backend).view(view))
            if asked_by is not None:
                key = f"backends.{backend}.{view}.{asked_by}"
                raise ContractError("workload.item_first", True, f"false with {key}: {_WHY_ORDER}")


def _query_first(view: ServerView) -> str | None:
    """The key that makes the server compute the query once, before any item."""
    if view.multi_item is not None:
        return "multi_item"
    return next((f"flags.{flag}" for flag in KEEPS_QUERY if view.flags.get(flag)), None)


def _check_delimiter(key: str, view: ServerView, vocabulary: Vocabulary) -> None:
    if view.multi_item is None:
        return
    found = view.multi_item.delimiter_token_id
    if found not in vocabulary.reserved_token_ids:
        allowed = f"one of vocabulary.reserved_token_ids = {vocabulary.reserved_token_ids}"
        raise ContractError(f"{key}.multi_item.delimiter_token_id", found, allowed)


def _check_dense_mask(key: str, view: ServerView, backend: str) -> None:
    for flag, required in _ON_TPU.items():
        found = view.flags.get(flag)
        if found != required or type(found) is not type(required):
            allowed = f"{required} {_WHY_ON_TPU.format(backend)}"
            raise ContractError(f"{key}.flags.{flag}", found, allowed)


def _check_any_mask(key: str, view: ServerView) -> None:
    # Left out, the server's own defaults stand: it has mended them.
    mask, threshold = view.flags.get(_MASK, "auto"), view.flags.get(_THRESHOLD, 0)
    if mask not in _MASKS:
        raise ContractError(f"{key}.flags.{_MASK}", mask, "auto, dense or segment")
    if not isinstance(threshold, int) or isinstance(threshold, bool) or threshold < 0:
        raise ContractError(f"{key}.flags.{_THRESHOLD}", threshold, "a whole number from 0 on")


def _check_server_chunk(key: str, view: ServerView, items: int, on_tpu: bool) -> None:
    # Left out on a TPU, the server splits into chunks of two.
    left_out_on_tpu = on_tpu and view.multi_item is not None
    if _SERVER_CHUNK not in view.flags and not left_out_on_tpu:
        return
    found = view.flags.get(_SERVER_CHUNK)
    if not isinstance(found, int) or isinstance(found, bool) or found < items:
        allowed = f"at least {items} (workload.items): the portable view allows no hidden splitting"
        raise ContractError(f"{key}.flags.{_SERVER_CHUNK}", found, allowed)
