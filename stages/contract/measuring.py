"""Numbers of passes, limits, gate, selection, probes and oracle."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from stages.common.errors import ContractError
from stages.contract.basics import Count, Difference, Seconds, Seed, Strict, Text


class Identity(Strict):
    """The target and the contract that were composed; the report begins with them."""

    target: Text
    contract: Text


class Passes(Strict):
    """The numbers of passes for each chunk size, the seed of their order, and further starts."""

    seed: Annotated[Seed, Field(description="seed of the interleaved order")]
    warmup: Annotated[Count, Field(description="warm-up passes at least")]
    warmup_limit: Annotated[
        Count, Field(description="warm-up passes at most, while the server still compiles")
    ]
    sweep: Count
    confirm: Count
    probe_starts: Annotated[
        int,
        Field(ge=0, le=100, description="further starts of each server, which get the probes only"),
    ] = 0


class Limits(Strict):
    """When to give up on a call or on a server."""

    call_timeout_s: Seconds
    start_timeout_s: Seconds
    restarts: Annotated[
        int,
        Field(
            ge=0,
            le=1000,
            description="restarts of a dead or hanging server, per matrix; those that a given-up"
            " chunk size was to blame for aside",
        ),
    ]
    deaths_per_chunk_size: Annotated[
        Count,
        Field(
            description="times the server may die, hang or run out of memory in the passes of one"
            " chunk size before that chunk size is given up",
        ),
    ]


class RankingGate(Strict):
    """How far the candidate's order of the items may be from the reference's in any pass."""

    min_tau: Annotated[float, Field(ge=-1, le=1, description="Kendall's tau-b at least")]
    max_flips: Annotated[
        int, Field(ge=0, le=50_000_000, description="pairs of items in the other order at most")
    ]


class Gate(Strict):
    """The largest and the mean score difference from the reference that still pass."""

    max_abs_diff: Difference
    mean_abs_diff: Difference
    ranking: Annotated[
        RankingGate | None,
        Field(description="of the items' order; null: the order is reported and bars no cell"),
    ] = None


class Selection(Strict):
    """The guardrail, and the resampling behind a winner's confidence."""

    guardrail: Annotated[
        float,
        Field(ge=1, le=1000, description="times the smallest p95"),
    ]
    resamples: Annotated[int, Field(ge=100, le=1_000_000)]
    seed: Seed


class Probes(Strict):
    """How determinism and isolation are probed after the timed passes."""

    seed: Annotated[Seed, Field(description="seed of the choice of target items")]
    targets: Annotated[Count, Field(description="items whose neighbours are changed")]
    repeats: Annotated[
        int, Field(ge=2, le=10_000, description="identical requests, for the noise floor")
    ]
    most_items: Annotated[
        Annotated[int, Field(ge=2, le=10_000)] | None,
        Field(description="of the workload in one probe request; null: all of them"),
    ] = None


class Oracle(Strict):
    """The sample of items that the independent scorer scores, too."""

    seed: Seed
    samples_per_chunk: Annotated[
        Count, Field(description="pairs of (sweep run, item) for every chunk size")
    ]


def check_passes(passes: Passes) -> None:
    """Make sure that the numbers of passes fit together.

    Raises:
        ContractError: naming the key, what was found and what is allowed.
    """
    if passes.warmup_limit < passes.warmup:
        raise ContractError(
            "passes.warmup_limit",
            passes.warmup_limit,
            f"at least passes.warmup = {passes.warmup}",
        )
