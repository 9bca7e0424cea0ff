"""What packed items ask of the servers, and what a device cannot do: refused before a start.

Each backend declares which flags of its server this concerns.
"""

from __future__ import annotations

from stages.backends.declared import Attention, DeclaredBackend, TpuMasks
from stages.backends.registry import declared, query_keeping_flags
from stages.common.errors import ContractError
from stages.contract.basics import VIEWS
from stages.contract.serving import Backends, ServerView
from stages.contract.subject import Vocabulary, Workloads, largest_of

_WHY_ORDER = (
    "the server computes the query first and ignores item_first, so it would score other prompts"
    " than the other servers and the oracle"
)


def check_packing(backends: Backends, vocabulary: Vocabulary, workloads: Workloads) -> None:
    """Make sure that what the views say of packed items can be served and compared.

    Args:
        backends: their servers.
        vocabulary: its reserved ids are in no prompt, so a delimiter must be one of them.
        workloads: that they score.

    Raises:
        ContractError: naming the key, what was found and what is allowed.
    """
    for backend, section in backends.items():
        its, device = declared(backend), section.launch.device
        on_tpu = device.partition(":")[0] == "tpu"
        for view in VIEWS:
            key, server = f"backends.{backend}.{view}", section.view(view)
            _check_delimiter(key, server, vocabulary)
            _check_attention(key, server, its.attention, device)
            _check_mask_ignored(key, server, its, device)
            # Builds that do not pack any more do not know these flags.
            if on_tpu and its.tpu_masks is not None and server.multi_item is not None:
                _check_masks(key, server, its.tpu_masks, section.launch.segment_mask_mended)
        _check_server_chunk(
            f"backends.{backend}.portable", section.portable, workloads, its, on_tpu
        )


def check_item_order(backends: Backends, workloads: Workloads) -> None:
    """Make sure that every server puts the items where the workloads want them.

    Args:
        backends: their servers.
        workloads: each of which may want its items before the query.

    Raises:
        ContractError: naming the key, what was found and what is allowed.
    """
    first = next((name for name, one in workloads.items() if one.item_first), None)
    if first is None:
        return
    for backend, section in backends.items():
        for view in VIEWS:
            asked_by = _query_first(section.view(view))
            if asked_by is not None:
                key = f"backends.{backend}.{view}.{asked_by}"
                allowed = f"false with {key}: {_WHY_ORDER}"
                raise ContractError(f"workloads.{first}.item_first", True, allowed)


def _query_first(view: ServerView) -> str | None:
    """The key that makes the server compute the query once, before any item."""
    if view.multi_item is not None:
        return "multi_item"
    return next((f"flags.{flag}" for flag in query_keeping_flags() if view.flags.get(flag)), None)


def _check_delimiter(key: str, view: ServerView, vocabulary: Vocabulary) -> None:
    if view.multi_item is None:
        return
    found = view.multi_item.delimiter_token_id
    if found not in vocabulary.reserved_token_ids:
        allowed = f"one of vocabulary.reserved_token_ids = {vocabulary.reserved_token_ids}"
        raise ContractError(f"{key}.multi_item.delimiter_token_id", found, allowed)


def _check_attention(key: str, view: ServerView, attention: Attention | None, device: str) -> None:
    """Refuse an attention that is not what it says. Servers with a delimiter may demand one."""
    if attention is None or view.multi_item is not None:
        return
    chosen = view.flags.get(attention.flag)
    used = attention.used(chosen, device)
    if chosen not in (None, used):
        allowed = f"{used!r}: on {device} the server silently computes with it in any case"
        raise ContractError(f"{key}.flags.{attention.flag}", chosen, allowed)


def _check_mask_ignored(key: str, view: ServerView, its: DeclaredBackend, device: str) -> None:
    """Make sure that a view says whether its attention ignores the mask between packed items."""
    if view.multi_item is None:
        return
    attention, packs = its.attention, its.packs_with(view.flags)
    used = None if attention is None else attention.used(view.flags.get(attention.flag), device)
    unmasked = packs and attention is not None and used in attention.ignoring_mask
    found = view.multi_item.mask_ignored
    if found == unmasked:
        return
    if unmasked:
        allowed = (
            f"true, to measure it all the same: attention {used} ignores the mask on {device}, so"
            " items see each other and their scores are wrong"
        )
    elif packs:
        allowed = f"false: no attention on {device} is known here to ignore the mask"
    else:
        allowed = "false: with these flags the server does not pack items"
    raise ContractError(f"{key}.multi_item.mask_ignored", found, allowed)


def _check_masks(key: str, view: ServerView, masks: TpuMasks, mended: bool) -> None:
    # Left out, the server's own defaults stand.
    mask, threshold = view.flags.get(masks.mask), view.flags.get(masks.threshold, 0)
    if not mended and mask != masks.safe:
        allowed = (
            f"{masks.safe} on a TPU: {masks.why}; if the commit holds the mend, say so in"
            f" {key.rpartition('.')[0]}.launch.source.segment_mask_mended"
        )
        raise ContractError(f"{key}.flags.{masks.mask}", mask, allowed)
    if mask is not None and mask not in masks.masks:
        *others, last = masks.masks
        raise ContractError(f"{key}.flags.{masks.mask}", mask, f"{', '.join(others)} or {last}")
    if not isinstance(threshold, int) or isinstance(threshold, bool) or threshold < 0:
        raise ContractError(f"{key}.flags.{masks.threshold}", threshold, "a whole number from 0 on")


def _check_server_chunk(
    key: str, view: ServerView, workloads: Workloads, its: DeclaredBackend, on_tpu: bool
) -> None:
    flag = its.server_chunk_flag
    if flag is None:
        return
    # Left out on a TPU, the server splits into chunks of two.
    left_out_on_tpu = on_tpu and view.multi_item is not None
    if flag not in view.flags and not left_out_on_tpu:
        return
    largest = largest_of(workloads)
    found, items = view.flags.get(flag), workloads[largest].items
    if not isinstance(found, int) or isinstance(found, bool) or found < items:
        allowed = (
            f"at least {items} (workloads.{largest}.items): the portable view allows no hidden"
            " splitting"
        )
        raise ContractError(f"{key}.flags.{flag}", found, allowed)
