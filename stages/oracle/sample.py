"""The items that the oracle scores, and their prompts.

The sample follows from the contract alone. It holds items of sweep passes only, because every
matrix has those.
"""

from __future__ import annotations

from dataclasses import dataclass

from stages.contract import Contract
from stages.documents.cell import PassKey
from stages.documents.workload import CanonicalWorkload, Workloads, draw_ids


@dataclass(frozen=True, slots=True, order=True)
class SampledItem(PassKey):
    """One item of one pass; ``run`` and ``item`` count from 0."""

    item: int


def sample_items(
    workload: str,
    *,
    chunk_sizes: list[int],
    runs: int,
    items: int,
    samples_per_chunk: int,
    seed: int,
) -> list[SampledItem]:
    """Draw pairs of (sweep run, item) for every chunk size, without replacement.

    The pairs of a chunk size are numbered run by run. Numbers are drawn from a SHAKE-256 stream,
    keyed by the seed, the workload's name and the chunk size, until there are enough different
    ones. So the sample of a chunk size does not depend on other chunk sizes or workloads, and a
    larger sample contains the smaller ones.

    Args:
        workload: its name.
        chunk_sizes: at which it is measured, in any order.
        runs: sweep passes of each chunk size.
        items: its number of items.
        samples_per_chunk: pairs of each chunk size; all of them where fewer exist.
        seed: the oracle's.

    Returns:
        The sample, sorted.
    """
    pairs = runs * items
    sampled = []
    for chunk in chunk_sizes:
        if samples_per_chunk >= pairs:
            drawn = set(range(pairs))
        else:
            drawn = set()
            draws = draw_ids(f"oracle/{seed}/{workload}/{chunk}", [(0, pairs)])
            while len(drawn) < samples_per_chunk:
                drawn.add(next(draws))
        sampled += [SampledItem(workload, "sweep", chunk, *divmod(pair, items)) for pair in drawn]
    return sorted(sampled)


def samples_of(contract: Contract, workloads: Workloads) -> dict[str, list[SampledItem]]:
    """The sample of every workload, as the contract asks for it."""
    return {
        name: sample_items(
            name,
            chunk_sizes=contract.chunk_sizes_of(name),
            runs=contract.passes.sweep,
            items=len(workload.items),
            samples_per_chunk=contract.oracle.samples_per_chunk,
            seed=contract.oracle.seed,
        )
        for name, workload in workloads.by_name.items()
    }


def prompt_of(
    workload: CanonicalWorkload, sampled: SampledItem, delimiter: int | None = None
) -> list[int]:
    """The token ids of one sampled prompt: the salted query and the item, in contract order.

    Args:
        workload: with the nonce of the run.
        sampled: which item of which pass.
        delimiter: a token between the two; ``None`` for the prompt that the contract asks for.
    """
    salt = workload.salt(sampled.phase, sampled.chunk_size, sampled.run)
    query, item = workload.salted_query(salt), workload.items[sampled.item]
    between = [] if delimiter is None else [delimiter]
    return [*item, *between, *query] if workload.item_first else [*query, *between, *item]
