"""The order of passes: seeded and interleaved.

Workloads and chunk sizes take turns, and every second round runs backwards, so that a machine that
warms up or slows down favours none of them.
"""

from __future__ import annotations

import random
from collections.abc import Iterable, Mapping, Sequence

from stages.backends.declared import ScoringMode
from stages.documents.cell import PassKey, Series
from stages.documents.matrix import Measured, Phase
from stages.documents.workload import CanonicalWorkload


def interleaved(phase: Phase, series: Iterable[Series], runs: int, seed: int) -> list[PassKey]:
    """``runs`` rounds over ``series`` in a seeded order that alternates direction."""
    order = sorted(series)
    random.Random(f"{seed}/{phase}").shuffle(order)  # noqa: S311  an order, not a secret
    return [
        PassKey(workload, phase, chunk, run)
        for run in range(runs)
        for workload, chunk in (order if run % 2 == 0 else reversed(order))
    ]


def all_series(chunk_sizes: Mapping[str, Sequence[int]]) -> list[Series]:
    """Every workload at every of its chunk sizes."""
    return [Series(name, size) for name, sizes in chunk_sizes.items() for size in sizes]


def calls_of_pass(items: int, chunk_size: int) -> list[tuple[int, int]]:
    """(first item, item count) of every call of a pass, in order."""
    return [(first, min(chunk_size, items - first)) for first in range(0, items, chunk_size)]


def confirm_chunk_sizes(chunk_sizes: list[int], sweep_mean_s: Mapping[int, float]) -> list[int]:
    """The chunk sizes to measure again: 1 if listed, the sweep's fastest, its neighbours.

    Args:
        chunk_sizes: of one workload.
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


MOST_RUNNING = 8
"""Sizes of a cover that follow one another without a gap, at most."""


def cover_sizes(
    chunk_sizes: Iterable[int], most: int | None = None, running_requests: int = 0
) -> list[int]:
    """Items of the requests of a cover.

    Every number of prompts that the server takes up at once, because some servers compile a program
    for each; then powers of two, and the largest chunk size.

    Args:
        chunk_sizes: of one workload.
        most: larger requests are left out; ``None`` for no limit.
        running_requests: the most prompts that the server takes up at once; 0 where not known.

    Returns:
        In ascending order, so that the smallest request that fails is known.
    """
    largest = max(chunk_sizes)
    each = range(1, min(running_requests, MOST_RUNNING) + 1)
    powers = [1 << n for n in range((largest - 1).bit_length())]
    limit = largest if most is None else min(most, largest)
    return sorted({size for size in (*each, *powers, largest) if size <= limit})


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
