"""What a timed pass may take from its server's prefix cache, and what the server says it took.

A view without a prefix cache allows nothing. With one, a pass may share with itself whatever its
prompts have in common, and take nothing that an earlier pass left: its salt is new.
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
    """The most tokens of a pass that a prefix cache can hold because of the pass itself.

    Each distinct prefix of its prompts must be computed once, unless an earlier pass had it.
    Where the salt comes first, an earlier pass can have had a part of the salt, by chance. Where
    the item comes first, it has had every item; that is no chance, and not allowed.
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
        # Of all earlier prompts, in this order, the last one has most in common with it.
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
    """What one backend's server says it took from its prefix cache in one view.

    Args:
        passes: of its matrix, as ``passes_of`` returns them.
        workload: that was scored.
        measured: the contract it was measured under.
    """
    timed = passes.filter(pl.col("phase").is_in(TIMED_PHASES))
    told = [int(tokens) for tokens in timed["cached_tokens"].drop_nulls()]
    allowed = allowed_tokens(workload, measured)
    return PrefixCache(
        kept=measured.allows_prefix_cache,
        prompt_tokens=prompt_tokens(workload),
        allowed_tokens=allowed,
        timed_passes=timed.height,
        told_passes=len(told),
        most_tokens=max(told, default=None),
        excess_passes=excess_passes(timed, allowed) or 0,
    )


def excess_passes(timed: pl.DataFrame, allowed: int) -> int | None:
    """Timed passes that took more than is allowed; ``None`` where the server tells nothing."""
    told = timed["cached_tokens"].drop_nulls()
    return None if told.is_empty() else int((told > allowed).sum())
