"""How many prompt tokens a timed pass may take from a prefix cache, and how many it took.

A view without a prefix cache allows none. With one, the prompts of a pass may share their common
prefixes. Nothing may come from an earlier pass, because every pass has a new salt.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import polars as pl

from stages.contract import SALT_TOKENS
from stages.documents.comparison import PrefixCache
from stages.documents.matrix import TIMED_PHASES, Measured
from stages.documents.workload import CanonicalWorkload


def prompt_tokens(workload: CanonicalWorkload) -> int:
    """Tokens of all prompts of a pass, the query in each."""
    return sum(map(len, _prompts(workload)))


def shareable_tokens(workload: CanonicalWorkload) -> int:
    """The most prompt tokens that a pass can take from a prefix cache that only the pass filled.

    Each distinct prefix of its prompts must be computed once. Where the query comes first, an
    earlier pass may have begun with the same salt ids by chance, so prefixes within the salt need
    not be computed. Where the item comes first, earlier passes had all items. Taking those from
    the cache is not allowed.
    """
    by_chance = 0 if workload.item_first else SALT_TOKENS
    return prompt_tokens(workload) - distinct_prefixes(_prompts(workload), longer_than=by_chance)


def _prompts(workload: CanonicalWorkload) -> list[list[int]]:
    if workload.item_first:
        return [item + workload.query for item in workload.items]
    return [workload.query + item for item in workload.items]


def distinct_prefixes(prompts: Iterable[Sequence[int]], longer_than: int = 0) -> int:
    """How many different prefixes of more than ``longer_than`` tokens the prompts have.

    These are the nodes of their trie below that depth.
    """
    count, before = 0, list[int]()
    for prompt in sorted(map(list, prompts)):
        # In sorted order, the prompt before it has the longest common prefix with it.
        count += max(0, len(prompt) - max(_common(before, prompt), longer_than))
        before = prompt
    return count


def _common(one: list[int], other: list[int]) -> int:
    """The length of the longest common prefix."""
    length = min(len(one), len(other))
    if one[:length] == other[:length]:
        return length
    return next(i for i, (a, b) in enumerate(zip(one, other, strict=False)) if a != b)


def allowed_tokens(workload: CanonicalWorkload, measured: Measured) -> int:
    """How many prompt tokens of one pass may come from the server's prefix cache."""
    return shareable_tokens(workload) if measured.allows_prefix_cache else 0


def prefix_cache(
    passes: pl.DataFrame, workload: CanonicalWorkload, measured: Measured
) -> PrefixCache:
    """How much one backend's server took from its prefix cache in one view, by its own report.

    Args:
        passes: of its matrix, as ``passes_of`` returns them.
        workload: that was scored.
        measured: the contract it was measured under.
    """
    timed = passes.filter(pl.col("phase").is_in(TIMED_PHASES))
    reported = [int(tokens) for tokens in timed["cached_tokens"].drop_nulls()]
    allowed = allowed_tokens(workload, measured)
    return PrefixCache(
        kept=measured.allows_prefix_cache,
        prompt_tokens=prompt_tokens(workload),
        allowed_tokens=allowed,
        timed_passes=timed.height,
        told_passes=len(reported),
        most_tokens=max(reported, default=None),
        excess_passes=excess_passes(timed, allowed) or 0,
    )


def excess_passes(timed: pl.DataFrame, allowed: int) -> int | None:
    """Timed passes that took more than is allowed; ``None`` where the server reports nothing."""
    reported = timed["cached_tokens"].drop_nulls()
    return None if reported.is_empty() else int((reported > allowed).sum())
