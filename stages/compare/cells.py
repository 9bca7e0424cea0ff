"""The figures of one cell: backend x view x chunk size."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import polars as pl

from stages.compare.intervals import mean_interval, median_interval, rate_interval
from stages.compare.modes import mode_reasons, modes_of
from stages.compare.prefix_cache import excess_passes
from stages.compare.ranking import ranking_reasons
from stages.contract import RankingGate
from stages.documents.comparison import Cell, GateResult, Isolation, Ranking, Reason, Unsteady
from stages.documents.matrix import TIMED_PHASES, Phase, WorkloadMatrix

UNSTABLE_STD = 0.10
UNSTABLE_EXTREME = 0.50

type Seconds = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class LatencyFigures:
    """Latency of the passes of a cell, in seconds."""

    mean_s: float
    p50_s: float
    p95_s: float
    std_s: float
    min_s: float
    max_s: float


def latency(seconds: Seconds) -> LatencyFigures:
    """Latency figures of at least one pass (percentiles by linear interpolation)."""
    return LatencyFigures(
        mean_s=float(seconds.mean()),
        p50_s=float(np.quantile(seconds, 0.50)),
        p95_s=float(np.quantile(seconds, 0.95)),
        std_s=float(seconds.std(ddof=1)) if seconds.size > 1 else 0.0,
        min_s=float(seconds.min()),
        max_s=float(seconds.max()),
    )


def instability(figures: LatencyFigures) -> list[Unsteady]:
    """Why latency is called unstable; empty when it is not."""
    mean = figures.mean_s
    found = []
    if figures.std_s >= UNSTABLE_STD * mean:
        found.append(Unsteady(code="deviation", share=figures.std_s / mean))
    if abs(figures.min_s - mean) >= UNSTABLE_EXTREME * mean:
        found.append(Unsteady(code="fastest", share=abs(figures.min_s - mean) / mean))
    if abs(figures.max_s - mean) >= UNSTABLE_EXTREME * mean:
        found.append(Unsteady(code="slowest", share=abs(figures.max_s - mean) / mean))
    return found


def reported_phase(passes: pl.DataFrame) -> Phase:
    """``confirm`` where the cell has confirm passes, else ``sweep``."""
    return "confirm" if "confirm" in passes["phase"] else "sweep"


def reported_seconds(passes: pl.DataFrame) -> Seconds:
    """Seconds of the good passes the figures of a cell come from, in measuring order."""
    good = passes.filter(pl.col("phase") == reported_phase(passes), pl.col("status") == "ok")
    return good["seconds"].to_numpy().astype(np.float64)


def build_cell(
    passes: pl.DataFrame,
    matrix: WorkloadMatrix,
    chunk_size: int,
    gate: GateResult | None,
    isolation: Isolation,
    usd_per_hour: float | None,
    allowed_tokens: int,
) -> Cell:
    """Figures, failures and eligibility of one cell (the guardrail comes later).

    Args:
        passes: all passes of the cell, as ``passes_of`` returns them.
        matrix: that they are from.
        chunk_size: of the cell.
        gate: the gate's result; ``None`` for the reference, which is not gated.
        isolation: of the backend in this view; a backend that leaks is not eligible.
        usd_per_hour: price of the host, if known.
        allowed_tokens: prompt tokens of a pass that may come from a prefix cache.
    """
    provenance, workload = matrix.provenance, matrix.workload
    timed = passes.filter(pl.col("phase").is_in(TIMED_PHASES))
    good = timed.filter(pl.col("status") == "ok")
    phase = reported_phase(passes)
    of_phase = timed.filter(pl.col("phase") == phase)
    seconds = reported_seconds(passes)
    figures = latency(seconds) if seconds.size else None
    mean_s_interval = mean_interval(seconds)
    planned = _planned(matrix, chunk_size)
    failures = timed.filter(pl.col("status") != "ok").group_by("status").len().sort("status")
    modes = modes_of(good, workload.scoring)
    reasons = (
        [Reason(code="unavailable", detail=provenance.unavailable)]
        if provenance.unavailable
        else [
            *_figure_reasons(good.height, planned, figures),
            *mode_reasons(modes),
            *gate_reasons(gate),
            *isolation_reasons(isolation),
        ]
    )
    usd = None if usd_per_hour is None or figures is None else usd_per_hour / 3600 * figures.mean_s
    return Cell(
        backend=provenance.backend,
        view=provenance.view,
        chunk_size=chunk_size,
        phase=phase,
        planned_passes=getattr(provenance.contract.passes, phase) if planned else 0,
        good_passes=of_phase.filter(pl.col("status") == "ok").height,
        timed_planned=planned,
        timed_good=good.height,
        success_rate=good.height / planned if planned else 0.0,
        failures=dict(failures.iter_rows()),
        mean_s=figures and figures.mean_s,
        p50_s=figures and figures.p50_s,
        p95_s=figures and figures.p95_s,
        std_s=figures and figures.std_s,
        min_s=figures and figures.min_s,
        max_s=figures and figures.max_s,
        items_per_s=workload.items / figures.mean_s if figures else None,
        mean_s_interval=mean_s_interval,
        p50_s_interval=median_interval(seconds),
        items_per_s_interval=rate_interval(workload.items, mean_s_interval),
        first_run_penalty=_first_run_penalty(passes),
        warmup_passes=passes.filter(pl.col("phase") == "warmup").height,
        compiled_passes=_compiled_passes(timed),
        excess_passes=excess_passes(timed, allowed_tokens),
        modes=modes,
        told_passes=good["mode"].count(),
        fallbacks=_fallbacks(timed),
        instability=instability(figures) if figures else [],
        client_share=_client_share(matrix, chunk_size, figures),
        round_trip_share=_round_trip_share(matrix, chunk_size, figures),
        gate=gate,
        eligible=not reasons,
        reasons=reasons,
        inside_guardrail=False,
        usd_per_pass=usd,
        items_per_usd=workload.items / usd if usd else None,
        usd_per_million_items=None if usd is None else 1e6 * usd / workload.items,
    )


def _planned(matrix: WorkloadMatrix, chunk_size: int) -> int:
    if matrix.provenance.unavailable:
        return 0
    passes = matrix.provenance.contract.passes
    confirmed = chunk_size in matrix.workload.confirm_chunk_sizes
    return passes.sweep + (passes.confirm if confirmed else 0)


def _figure_reasons(good: int, planned: int, figures: LatencyFigures | None) -> list[Reason]:
    reasons = []
    if good < planned:
        reasons.append(Reason(code="failed_passes", good=good, planned=planned))
    if figures is None:
        reasons.append(Reason(code="no_figures"))
    elif not np.isfinite([figures.mean_s, figures.p95_s]).all() or figures.mean_s <= 0:
        reasons.append(Reason(code="not_finite"))
    return reasons


def gate_reasons(gate: GateResult | None) -> list[Reason]:
    """Why the gate makes a cell ineligible; empty when it does not."""
    if gate is None or gate.verdict == "pass":
        return []
    if gate.verdict == "fail":
        return [Reason(code="gate_failed")]
    if gate.verdict == "not_compared":
        return [Reason(code="not_compared")]
    missed = [control.name for control in gate.controls if not control.caught]
    return [Reason(code="gate_inconclusive", controls=missed)]


def isolation_reasons(isolation: Isolation) -> list[Reason]:
    """Why the isolation probe makes a cell ineligible; empty when it does not."""
    if isolation.verdict in ("isolated", "no_neighbours"):
        return []
    if isolation.verdict != "leaks":
        return [Reason(code=isolation.verdict, alone=isolation.alone)]
    return [
        Reason(
            code="leaks",
            items=isolation.leaking_targets,
            change=isolation.largest_change,
            limit=isolation.limit,
        )
    ]


def ranked(cell: Cell, ranking: Ranking | None, limits: RankingGate | None) -> Cell:
    """``cell`` with the order of its items, which bars it where the contract gates the order.

    Args:
        cell: as :func:`build_cell` returns it.
        ranking: of the same cell; ``None`` for the reference.
        limits: of the contract, if it gates the order.
    """
    of_order = cell.model_copy(update={"ranking": ranking})
    return barred(of_order, ranking_reasons(ranking, limits))


def barred(cell: Cell, more: list[Reason]) -> Cell:
    """``cell`` with ``more`` reasons why it may not be selected, if there are any."""
    reasons = [*cell.reasons, *more]
    return cell.model_copy(update={"reasons": reasons, "eligible": not reasons})


def _first_run_penalty(passes: pl.DataFrame) -> float | None:
    first = passes.filter(pl.col("phase") == "warmup").head(1)["seconds"]
    timed = passes.filter(pl.col("phase").is_in(TIMED_PHASES))["seconds"].median()
    if first.is_empty() or first[0] is None or not isinstance(timed, float) or timed <= 0:
        return None
    return float(first[0]) / timed


def _compiled_passes(timed: pl.DataFrame) -> int | None:
    compiles = timed["compiles"].drop_nulls()
    return None if compiles.is_empty() else int((compiles > 0).sum())


def _fallbacks(timed: pl.DataFrame) -> int | None:
    told = timed["fallbacks"].drop_nulls()
    return None if told.is_empty() else int(told.sum())


def _client_share(
    matrix: WorkloadMatrix, chunk_size: int, figures: LatencyFigures | None
) -> float | None:
    costs = {c.chunk_size: c.seconds_per_pass for c in matrix.workload.client_costs}
    if figures is None or chunk_size not in costs:
        return None
    return costs[chunk_size] / figures.mean_s


def _round_trip_share(
    matrix: WorkloadMatrix, chunk_size: int, figures: LatencyFigures | None
) -> float | None:
    round_trip = matrix.provenance.run.round_trip
    if figures is None or round_trip is None or figures.p50_s <= 0:
        return None
    calls = -(-matrix.workload.items // chunk_size)
    return calls * round_trip.largest_s / figures.p50_s
