"""The order of passes: seeded and interleaved.

Chunk sizes take turns, and every second round runs backwards, so that a machine that warms up or
slows down does not favour one chunk size.
"""

from __future__ import annotations

import random
from collections.abc import Iterable, Mapping

from stages.backends.declared import ScoringMode
from stages.documents.cell import PassKey
from stages.documents.matrix import Measured, Phase
from stages.documents.workload import CanonicalWorkload


def interleaved(phase: Phase, chunk_sizes: list[int], runs: int, seed: int) -> list[PassKey]:
    """``runs`` rounds over ``chunk_sizes`` in a seeded order that alternates direction."""
    order = sorted(chunk_sizes)
    random.Random(f"{seed}/{phase}").shuffle(order)  # noqa: S311  an order, not a secret
    return [
        PassKey(phase, chunk, run)
        for run in range(runs)
        for chunk in (order if run % 2 == 0 else reversed(order))
    ]


def calls_of_pass(items: int, chunk_size: int) -> list[tuple[int, int]]:
    """(first item, item count) of every call of a pass, in order."""
    return [(first, min(chunk_size, items - first)) for first in range(0, items, chunk_size)]


def confirm_chunk_sizes(chunk_sizes: list[int], sweep_mean_s: Mapping[int, float]) -> list[int]:
    """The chunk sizes to measure again: 1 if listed, the sweep's fastest, its neighbours.

    Args:
        chunk_sizes: those of the contract.
        sweep_mean_s: mean pass seconds of the chunk sizes whose sweep passes all succeeded;
            an exact tie goes to the smaller chunk.
    """
    ordered = sorted(chunk_sizes)
    chosen = {1} & set(ordered)
    if sweep_mean_s:
        fastest = min(sorted(sweep_mean_s), key=sweep_mean_s.__getitem__)
        at = ordered.index(fastest)
        chosen |= set(ordered[max(0, at - 1) : at + 2])
    return sorted(chosen)


def cover_sizes(chunk_sizes: Iterable[int], most: Iterable[int] = ()) -> list[int]:
    """Items of the requests of a cover: powers of two below the largest chunk size, and that.

    Args:
        chunk_sizes: those of the contract.
        most: limits; larger requests are left out.

    Returns:
        In ascending order, so that the smallest request that fails is known.
    """
    largest = max(chunk_sizes)
    powers = [1 << n for n in range((largest - 1).bit_length())]
    limit = min(most, default=largest)
    return [size for size in (*powers, largest) if size <= limit]


def cover_times(measured: Measured, mode: ScoringMode) -> int:
    """How often a cover sends each request: again where a prefix cache may then hold its query.

    Never (0) where the items of a request are not separate prompts: its length alone then decides
    what is computed, and the warm-up passes have every length.
    """
    if mode not in ("separate", "cached"):
        return 0
    return 2 if measured.allows_prefix_cache else 1


def salt_of(workload: CanonicalWorkload, key: PassKey) -> list[int]:
    """The salt of a pass. An answer pass sends the requests of a confirm pass."""
    phase = "confirm" if key.phase == "answer" else key.phase
    return workload.salt(phase, key.chunk_size, key.run)
