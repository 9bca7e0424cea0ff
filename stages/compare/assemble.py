"""Builds the comparisons of all workloads from the matrices, their probes and the oracle."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Self

import polars as pl

from stages.backends.registry import declared
from stages.compare.cells import Seconds, barred, build_cell, ranked, reported_seconds
from stages.compare.elsewhere import elsewhere_flags, server_host
from stages.compare.gate import judge
from stages.compare.modes import mode_flags
from stages.compare.oracle import against_oracle, sides_with
from stages.compare.passes import passes_of
from stages.compare.prefix_cache import prefix_cache
from stages.compare.probes import change_limit, isolation, noise_floor
from stages.compare.ranking import largest_noise, rank
from stages.compare.selection import (
    Samples,
    decide,
    mark_guardrail,
    passed_over,
    selected,
    without_winner,
)
from stages.compare.series import chunk_ratios, item_differences, pass_times
from stages.compare.starts import compare_starts, measured_start, starts_reasons
from stages.compare.summary import SecondsByView, summarize
from stages.compare.turning import turning
from stages.contract import VIEWS, Backend, Contract, Gate, View
from stages.documents.cell import CellKey, MatrixKey, matrix_keys
from stages.documents.comparison import (
    BUSY,
    COMPARISON_VERSION,
    NOISY,
    Cell,
    Comparison,
    ComparisonSet,
    Flag,
    Isolation,
    MatrixSource,
    Named,
    NoiseFloor,
    OracleResult,
    Pair,
    PrefixCache,
    Scope,
    Starts,
    Turning,
    ViewComparison,
)
from stages.documents.matrix import TIMED_PHASES, Matrix, Provenance, Scoring, WorkloadMatrix
from stages.documents.oracle import OracleTable
from stages.documents.probes import ProbeTable
from stages.documents.workload import CanonicalWorkload, Workloads


@dataclass(frozen=True, slots=True)
class Evidence:
    """The tables that the comparison is built from.

    Attributes:
        matrices, probes: one of each backend in each view.
        oracle: the independent scorer's scores.
    """

    matrices: Mapping[MatrixKey, Matrix]
    probes: Mapping[MatrixKey, ProbeTable]
    oracle: OracleTable


@dataclass(frozen=True, slots=True)
class _OfWorkload:
    """The evidence of one workload.

    Attributes:
        matrices, probes: one of each backend in each view.
        targets: the items whose neighbours were changed, in each of them.
        oracle: the independent scorer's scores.
    """

    matrices: Mapping[MatrixKey, WorkloadMatrix]
    probes: Mapping[MatrixKey, pl.DataFrame]
    targets: Mapping[MatrixKey, list[int]]
    oracle: OracleTable

    @classmethod
    def of(cls, evidence: Evidence, workload: str) -> Self:
        """That part of ``evidence``."""
        probes = evidence.probes
        return cls(
            matrices={key: one.of(workload) for key, one in evidence.matrices.items()},
            probes={key: one.of(workload) for key, one in probes.items()},
            targets={key: one.provenance.targets[workload] for key, one in probes.items()},
            oracle=evidence.oracle.of(workload),
        )


@dataclass(frozen=True, slots=True)
class _Probed:
    """What the probes of one matrix show; ``starts`` where its server was to be started again."""

    noise: NoiseFloor
    isolation: Isolation
    starts: Starts | None

    @classmethod
    def of(cls, evidence: _OfWorkload, key: MatrixKey, gate: Gate) -> Self:
        """That of one workload."""
        served, every = evidence.matrices[key], evidence.probes[key]
        probes = measured_start(every)
        noise = noise_floor(probes)
        limit = change_limit(noise, gate, served.provenance.contract.launch.dtype)
        return cls(
            noise=noise,
            isolation=isolation(probes, evidence.targets[key], served.workload.items, limit),
            starts=compare_starts(every, served.provenance, limit),
        )


def assemble_all(contract: Contract, workloads: Workloads, evidence: Evidence) -> ComparisonSet:
    """Compare both backends in both views, workload by workload."""
    seconds: dict[str, SecondsByView] = {}
    compared = []
    for name, workload in workloads.by_name.items():
        one, seconds[name] = assemble(contract, workload, evidence)
        compared.append(one)
    return ComparisonSet(
        version=COMPARISON_VERSION,
        workloads=compared,
        summary=summarize(compared, seconds, contract.mix),
    )


def assemble(
    contract: Contract, workload: CanonicalWorkload, whole: Evidence
) -> tuple[Comparison, SecondsByView]:
    """Compare both backends in both views.

    Returns:
        The comparison, and the seconds of the passes that its figures come from.
    """
    evidence = _OfWorkload.of(whole, workload.name)
    matrices = evidence.matrices
    first = matrices[MatrixKey(contract.reference, "portable")]
    passes = {key: passes_of(matrix.calls) for key, matrix in matrices.items()}
    caches = {
        key: prefix_cache(passes[key], workload, matrix.provenance.contract)
        for key, matrix in matrices.items()
    }
    views = {view: _view(contract, view, evidence, passes, caches) for view in VIEWS}
    measured = first.provenance.contract
    compared = Comparison(
        pair=_pair(contract),
        scope=Scope(
            identity=contract.identity,
            model=first.provenance.model,
            workload=workload.name,
            workload_sha256=first.workload.sha256,
            nonce=first.provenance.nonce,
            query_tokens=len(workload.query),
            items=len(workload.items),
            item_tokens=max(len(item) for item in workload.items),
            label_token_ids=workload.label_token_ids,
            total_tokens=workload.total_tokens,
            chunk_sizes=first.workload.chunk_sizes,
            warmup_passes=measured.passes.warmup,
            sweep_passes=measured.passes.sweep,
            confirm_passes=measured.passes.confirm,
            call_timeout_s=measured.limits.call_timeout_s,
            probe_items=measured.probes.most_items,
            probe_starts=measured.passes.probe_starts,
        ),
        gate=contract.gate,
        selection=contract.selection,
        sources=[
            _source(matrices[key], passes[key])
            for view in VIEWS
            for key in matrix_keys(contract.pair)
            if key.view == view
        ],
        portable=views["portable"][0],
        best_native=views["best_native"][0],
    )
    return compared, {view: seconds for view, (_, seconds) in views.items()}


def _pair(contract: Contract) -> Pair:
    return Pair(candidate=_named(contract.candidate), reference=_named(contract.reference))


def _named(backend: Backend) -> Named:
    declaration = declared(backend)
    masks = declaration.tpu_masks
    return Named(
        key=backend,
        title=declaration.title,
        package=declaration.package,
        tpu_mask_flag=masks.mask if masks else None,
    )


def _unavailable(contract: Contract, view: View) -> dict[Backend, str]:
    reasons = {b: contract.backends[b].unavailable_in(view) for b in contract.pair.both}
    return {b: reason for b, reason in reasons.items() if reason is not None}


def _view(
    contract: Contract,
    view: View,
    evidence: _OfWorkload,
    passes: Mapping[MatrixKey, pl.DataFrame],
    caches: Mapping[MatrixKey, PrefixCache],
) -> tuple[ViewComparison, dict[CellKey, Seconds]]:
    both, reference = contract.pair.both, contract.reference
    keys = {b: MatrixKey(b, view) for b in both}
    matrices = evidence.matrices
    labels = len(matrices[keys[reference]].workload.label_token_ids)
    probed = {b: _Probed.of(evidence, keys[b], contract.gate) for b in both}
    noise = {b: one.noise for b, one in probed.items()}
    isolations = {b: one.isolation for b, one in probed.items()}
    starts = {b: one.starts for b, one in probed.items() if one.starts is not None}
    oracle = {
        b: against_oracle(
            passes[keys[b]],
            evidence.oracle.frame,
            labels,
            contract.gate,
            evidence.oracle.delimited(keys[b]),
            isolations[b].verdict == "leaks",
        )
        for b in both
    }
    floor = largest_noise(noise.values())
    cells: list[Cell] = []
    seconds: dict[CellKey, Seconds] = {}
    for backend in both:
        matrix = matrices[keys[backend]]
        for chunk in matrix.workload.chunk_sizes:
            mine = passes[keys[backend]].filter(pl.col("chunk_size") == chunk)
            gated = backend != reference
            right = passes[keys[reference]]
            gate = judge(mine, right, contract.gate, labels) if gated else None
            ranking = rank(mine, right, labels, floor) if gated else None
            price = contract.prices_usd_per_hour[backend]
            allowed = caches[keys[backend]].allowed_tokens
            leaks = isolations[backend]
            cell = build_cell(mine, matrix, chunk, gate, leaks, price, allowed)
            cell = ranked(cell, ranking, contract.gate.ranking)
            cells.append(barred(cell, starts_reasons(starts.get(backend))))
            seconds[CellKey(backend, chunk)] = reported_seconds(mine)
    unavailable = _unavailable(contract, view)
    guardrail = contract.selection.guardrail
    cells = mark_guardrail(cells, guardrail)
    chosen = selected(cells, guardrail, both)
    sources = [matrices[keys[b]].provenance for b in both]
    scoring = {b: matrices[keys[b]].workload.scoring for b in both}
    standing = [
        *_standing_flags(contract, sources, scoring),
        *elsewhere_flags(sources, cells),
        *_oracle_flags(oracle),
        *_noise_flags(noise, contract.gate),
        *(
            Flag(code="starts_not_probed", backend=backend)
            for backend, one in starts.items()
            if one.verdict == "not_probed"
        ),
    ]
    compared = ViewComparison(
        pair=_pair(contract),
        view=view,
        unavailable=unavailable,
        cells=cells,
        scoring=scoring,
        selected={b: c.chunk_size if c else None for b, c in chosen.items()},
        passed_over=passed_over(cells, both),
        isolation=isolations,
        noise=noise,
        starts=starts,
        oracle=oracle,
        oracle_sides_with=sides_with(oracle),
        prefix_cache={b: caches[keys[b]] for b in both},
        winner=without_winner("deferred")
        if unavailable
        else decide(
            [Samples(c, seconds[c.key]) for c in cells if c.eligible],
            contract.selection,
            both,
            lambda decisive: [*standing, *_cell_flags(decisive), *mode_flags(decisive, scoring)],
        ),
        ratios=chunk_ratios(cells, seconds, contract.pair),
        passes={b: pass_times(passes[keys[b]]) for b in both},
        item_differences=item_differences(
            passes[keys[contract.candidate]], passes[keys[reference]], labels
        ),
        turning=Turning(guardrail=None, eligibility=None)
        if unavailable
        else turning(cells, guardrail),
    )
    return compared, seconds


def _oracle_flags(results: Mapping[Backend, OracleResult]) -> Iterator[Flag]:
    for backend, result in results.items():
        if result.verdict == "not_compared":
            yield Flag(code="oracle_not_compared", backend=backend)
        if result.verdict == "wrong":
            yield Flag(code="oracle_differs", backend=backend, difference=result.max_abs_diff)
        if result.verdict == "other_prompt" and result.delimited is not None:
            delimiter = result.delimited.delimiter
            yield Flag(code="other_prompt", backend=backend, delimiter=delimiter)


def _noise_flags(floors: Mapping[Backend, NoiseFloor], gate: Gate) -> list[Flag]:
    """Noise near the gate's limit makes the gate's verdict a matter of luck."""
    return [
        Flag(code="noise", backend=backend, difference=floor.max_abs_diff)
        for backend, floor in floors.items()
        if floor.max_abs_diff is not None and floor.max_abs_diff > NOISY * gate.max_abs_diff
    ]


def _standing_flags(
    contract: Contract, sources: list[Provenance], scoring: Mapping[Backend, Scoring | None]
) -> list[Flag]:
    flags = []
    if not all(s.model.trained for s in sources):
        flags.append(Flag(code="untrained_model"))
    flags += [
        Flag(code="stand_in", backend=backend)
        for backend, one in scoring.items()
        if one is not None and one.stand_in
    ]
    costs = [contract.prices_usd_per_hour[b] for b in contract.pair.both]
    if len({server_host(s) for s in sources}) > 1 and None in costs:
        flags.append(Flag(code="hosts_without_cost"))
    return flags + [
        Flag(code="other_work", backend=source.backend, share=source.run.foreign_cpu)
        for source in sources
        if source.run.foreign_cpu is not None and source.run.foreign_cpu >= BUSY
    ]


def _cell_flags(cells: list[Cell]) -> list[Flag]:
    flags = []
    for cell in cells:
        of = partial(Flag, backend=cell.backend, chunk_size=cell.chunk_size)
        if cell.instability:
            flags.append(of(code="unstable", instability=cell.instability))
        if cell.compiled_passes:
            flags.append(of(code="compiled", passes=cell.compiled_passes))
        if cell.excess_passes:
            flags.append(of(code="prefix_cache", passes=cell.excess_passes))
        if cell.gate is not None and cell.gate.left_out and not cell.gate.controls:
            only = list(dict.fromkeys(cell.gate.left_out.values()))
            flags.append(of(code="gate_untested", only=only))
    return flags


def _source(matrix: WorkloadMatrix, passes: pl.DataFrame) -> MatrixSource:
    found = matrix.provenance
    timed = passes.filter(pl.col("phase").is_in(TIMED_PHASES))
    planned = found.contract.passes
    return MatrixSource(
        backend=found.backend,
        view=found.view,
        unavailable=found.unavailable,
        backend_commit=found.contract.launch.commit,
        segment_mask_mended=found.contract.launch.segment_mask_mended,
        dtype=found.contract.launch.dtype,
        base_url=found.contract.base_url,
        planned_passes=0
        if found.unavailable
        else planned.sweep * len(matrix.workload.chunk_sizes)
        + planned.confirm * len(matrix.workload.confirm_chunk_sizes),
        good_passes=timed.filter(pl.col("status") == "ok").height,
        uncovered=matrix.workload.uncovered,
        run=found.run,
    )
