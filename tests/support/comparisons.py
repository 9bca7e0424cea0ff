"""Hand-built comparisons: every figure a test relies on stands in the test itself."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from stages.backends.declared import ScoringMode
from stages.compare.summary import crossings
from stages.contract import VIEWS, Backend, Gate, Identity, Selection, View
from stages.documents.comparison import (
    COMPARISON_VERSION,
    AtWorkload,
    Cell,
    Comparison,
    ComparisonSet,
    ControlName,
    ControlResult,
    DelimitedResult,
    FlippedPair,
    GateResult,
    Interval,
    Isolation,
    ItemDifference,
    MatrixSource,
    Named,
    NoiseFloor,
    OracleResult,
    Pair,
    PassTime,
    PrefixCache,
    Ranking,
    Ratio,
    Reason,
    ReasonCode,
    Scope,
    Starts,
    Summary,
    Turning,
    Unsteady,
    UnsteadyCode,
    ViewComparison,
    ViewSummary,
    WeightedRatio,
    Winner,
)
from stages.documents.matrix import (
    Host,
    Model,
    RoundTrip,
    Run,
    Scoring,
    ShellVariables,
    TimeSplit,
)

from contracts import BACKENDS, NONCE, WORKLOAD  # isort: skip

ITEMS = 32

PAIR = Pair(
    candidate=Named(
        key="jax", title="JAX", package="sglang-jax", tpu_mask_flag="multi-item-mask-impl"
    ),
    reference=Named(key="pytorch", title="PyTorch", package="sglang"),
)


def control(name: ControlName, largest: float, mean: float, caught: bool = True) -> ControlResult:
    """A wrong answer with these differences."""
    return ControlResult(name=name, caught=caught, max_abs_diff=largest, mean_abs_diff=mean)


CAUGHT = [
    control("items_rotated", 0.62, 0.125),
    control("labels_swapped", 0.82, 0.25),
    control("mean_score", 0.52, 0.0625),
]
PASSED = GateResult(
    verdict="pass",
    compared_passes=12,
    uncompared_passes=0,
    max_abs_diff=1e-6,
    mean_abs_diff=1e-7,
    worst_pass="confirm 3",
    controls=CAUGHT,
)


KEPT = Ranking(
    items=ITEMS,
    compared_passes=12,
    noise=0.0,
    tau=1.0,
    top_1=True,
    top_10=10,
    pairs=496,
    flipped_pairs=0,
    worst_pass="sweep 0",
    widest_flip=None,
)
NOT_RANKED = Ranking(
    compared_passes=0,
    noise=0.0,
    **dict.fromkeys(set(KEPT.model_fields_set) - {"compared_passes", "noise"}),
)


def reordered(**changes: Any) -> Ranking:
    """Two of 496 pairs of items flipped, unless a test says otherwise: (494 - 2) / 496."""
    fields: dict[str, Any] = {
        "tau": 492 / 496,
        "top_10": 9,
        "flipped_pairs": 2,
        "worst_pass": "confirm 3",
        "widest_flip": FlippedPair(items=[3, 7], difference=0.0012),
    }
    return KEPT.model_copy(update={**fields, **changes})


def gate(verdict: str, largest: float | None, mean: float | None) -> GateResult:
    """A gate result with these figures."""
    changes: dict[str, Any] = {
        "verdict": verdict,
        "max_abs_diff": largest,
        "mean_abs_diff": mean,
        "controls": [] if verdict == "not_compared" else CAUGHT,
    }
    return PASSED.model_copy(update=changes)


def inconclusive(*passing: ControlResult) -> GateResult:
    """A gate that would also pass these controls."""
    names = {one.name for one in passing}
    controls = [*passing, *(one for one in CAUGHT if one.name not in names)]
    return PASSED.model_copy(update={"verdict": "inconclusive", "controls": controls})


def isolation(verdict: str = "isolated", **changes: Any) -> Isolation:
    """Three probed items; the largest change is 2e-07 at item 31, unless a test says otherwise."""
    fields: dict[str, Any] = {
        "verdict": verdict,
        "limit": 1e-4,
        "targets": [0, 15, 31],
        "changes": {"original": 1e-7, "reversed": 2e-7},
        "largest_change": 2e-7,
        "worst_target": 31,
        "worst_layout": "reversed",
        "leaking_targets": [],
        "failed_probes": 0,
    }
    return Isolation(**{**fields, **changes})


def starts(verdict: str = "agree", **changes: Any) -> Starts:
    """Three further starts; the largest difference is 2e-07 at item 5, unless a test says so."""
    fields: dict[str, Any] = {
        "verdict": verdict,
        "limit": 1e-4,
        "planned": 3,
        "largest_difference": 2e-7,
        "worst_start": 1,
        "worst_item": 5,
        "worst_layout": "original",
    }
    return Starts(**{**fields, **changes})


def noise(difference: float | None, repeats: int = 5) -> NoiseFloor:
    """A noise floor."""
    return NoiseFloor(repeats=repeats, max_abs_diff=difference)


def oracle(largest: float | None, mean: float | None, agrees: bool | None = True) -> OracleResult:
    """A backend against the oracle, on 24 sampled items."""
    compared = 0 if largest is None else 24
    return OracleResult(
        compared=compared,
        missing=24 - compared,
        max_abs_diff=largest,
        mean_abs_diff=mean,
        agrees=agrees,
        verdict="not_compared" if agrees is None else "agrees" if agrees else "wrong",
    )


def delimited(
    largest: float = 3e-7, mean: float = 4e-8, agrees: bool = True, delimiter: int = 9999
) -> DelimitedResult:
    """A backend against the oracle's prompt with the delimiter, which is 0.4 from the plain one."""
    return DelimitedResult(
        delimiter=delimiter,
        max_abs_diff=largest,
        mean_abs_diff=mean,
        prompts_max_abs_diff=0.4,
        prompts_mean_abs_diff=0.1,
        agrees=agrees,
    )


def other_prompt(delimiter: int = 9999) -> OracleResult:
    """A backend that scores query + delimiter + item."""
    changes = {"verdict": "other_prompt", "delimited": delimited(delimiter=delimiter)}
    return oracle(0.4, 0.1, False).model_copy(update=changes)


def prefix_cache(view: View, **changes: Any) -> PrefixCache:
    """As allowed: nothing in the portable view; as much as a pass shares with itself in the other.

    A pass is 32 prompts of 136 tokens, 128 of them the query's: it can share 31 queries.
    """
    kept = view == "best_native"
    fields: dict[str, Any] = {
        "kept": kept,
        "prompt_tokens": 4352,
        "allowed_tokens": 3976 if kept else 0,
        "timed_passes": 15,
        "told_passes": 15,
        "most_tokens": 3968 if kept else 0,
        "excess_passes": 0,
    }
    return PrefixCache(**{**fields, **changes})


def reason(code: ReasonCode, **figures: Any) -> Reason:
    """Why a cell may not be selected."""
    return Reason(code=code, **figures)


BARRED: dict[str, Any] = {"eligible": False, "reasons": [reason("gate_failed")]}


def unsteady(share: float, code: UnsteadyCode = "deviation") -> Unsteady:
    """A cell whose standard deviation, or a pass, is this far from the mean."""
    return Unsteady(code=code, share=share)


def interval(low: float, high: float, level: float = 0.9) -> Interval:
    """An interval with these ends."""
    return Interval(low=low, high=high, level=level, method="Student's t")


def cell(backend: Backend, view: View, chunk_size: int, items_per_s: float, **changes: Any) -> Cell:
    """An eligible, steady cell; its p95 is its mean unless a test says otherwise.

    Its items/s lie from 4/5 to 5/4 of themselves, and so does its mean.
    """
    mean = ITEMS / items_per_s
    fields: dict[str, Any] = {
        "backend": backend,
        "view": view,
        "chunk_size": chunk_size,
        "phase": "sweep",
        "planned_passes": 5,
        "good_passes": 5,
        "timed_planned": 5,
        "timed_good": 5,
        "success_rate": 1.0,
        "failures": {},
        **dict.fromkeys(("mean_s", "p50_s", "p95_s", "min_s", "max_s"), mean),
        "std_s": 0.0,
        "items_per_s": items_per_s,
        "mean_s_interval": interval(0.8 * mean, 1.25 * mean),
        "p50_s_interval": interval(0.8 * mean, 1.25 * mean),
        "items_per_s_interval": interval(0.8 * items_per_s, 1.25 * items_per_s),
        "first_run_penalty": 1.0,
        "warmup_passes": 1,
        "compiled_passes": 0 if backend == "jax" else None,
        "excess_passes": 0,
        "instability": [],
        "client_share": 0.01,
        "round_trip_share": 0.002,
        "gate": PASSED if backend == "jax" else None,
        "ranking": KEPT if backend == "jax" else None,
        "eligible": True,
        "reasons": [],
        "inside_guardrail": True,
        "usd_per_pass": None,
        "items_per_usd": None,
        "usd_per_million_items": None,
    }
    return Cell(**{**fields, **changes})


def failed(backend: Backend, view: View, chunk_size: int, kind: str) -> Cell:
    """A cell of which every timed pass failed with ``kind``."""
    figures = ("mean_s", "p50_s", "p95_s", "std_s", "min_s", "max_s", "items_per_s")
    intervals = ("mean_s_interval", "p50_s_interval", "items_per_s_interval")
    changes: dict[str, Any] = {
        **dict.fromkeys(
            [*figures, *intervals, "client_share", "round_trip_share", "first_run_penalty"]
        ),
        "good_passes": 0,
        "timed_good": 0,
        "success_rate": 0.0,
        "failures": {kind: 5},
        "gate": gate("not_compared", None, None) if backend == "jax" else None,
        "ranking": NOT_RANKED if backend == "jax" else None,
        "eligible": False,
        "reasons": [reason("failed_passes", good=0, planned=5), reason("no_figures")],
        "inside_guardrail": False,
    }
    return cell(backend, view, chunk_size, 1.0).model_copy(update=changes)


def no_winner(**changes: Any) -> Winner:
    """A view without a winner."""
    fields: dict[str, Any] = dict.fromkeys(Winner.model_fields)
    fields |= {"outcome": "none", "confidence": "none", "flags": []}
    return Winner(**{**fields, **changes})


def winner(leader: Cell, other: Cell | None, **changes: Any) -> Winner:
    """``leader`` wins over ``other``."""
    assert leader.items_per_s is not None
    rival = other.items_per_s if other else None
    fields: dict[str, Any] = {
        "outcome": leader.backend,
        "leader": leader.backend,
        "chunk_size": leader.chunk_size,
        "items_per_s": leader.items_per_s,
        "other": other.backend if other else None,
        "other_chunk_size": other.chunk_size if other else None,
        "other_items_per_s": rival,
        "ratio": leader.items_per_s / rival if rival else None,
        "ratio_interval": interval(
            0.9 * leader.items_per_s / rival, 1.1 * leader.items_per_s / rival
        )
        if rival
        else None,
        "same_backend_share": 1.0,
        "same_cell_share": 0.9,
        "passes_to_decide": None,
        "confidence": "high",
        "flags": [],
    }
    return Winner(**{**fields, **changes})


def scored(mode: ScoringMode, **changes: Any) -> Scoring:
    """Items scored this way, by the server's flags unless a test says otherwise."""
    fields: dict[str, Any] = {"told_by": "flags", "detail": None, "fallbacks": None}
    return Scoring(mode=mode, **{**fields, **changes})


def view_of(view: View, cells: list[Cell], **changes: Any) -> ViewComparison:
    """A view whose selected cells and winner are those with the most items/s."""
    chosen = {backend: _fastest(cells, backend) for backend in BACKENDS}
    ranked = sorted((c for c in chosen.values() if c), key=lambda c: -(c.items_per_s or 0))
    fields: dict[str, Any] = {
        "pair": PAIR,
        "view": view,
        "unavailable": {},
        "cells": cells,
        "scoring": dict.fromkeys(BACKENDS, scored("separate" if view == "portable" else "cached")),
        "selected": {b: c.chunk_size if c else None for b, c in chosen.items()},
        "passed_over": {},
        "isolation": dict.fromkeys(BACKENDS, isolation()),
        "noise": dict.fromkeys(BACKENDS, noise(0.0)),
        "oracle": dict.fromkeys(BACKENDS, oracle(3e-7, 4e-8)),
        "oracle_sides_with": "both",
        "prefix_cache": dict.fromkeys(BACKENDS, prefix_cache(view)),
        "winner": winner(ranked[0], ranked[1] if len(ranked) > 1 else None)
        if ranked
        else no_winner(),
        "ratios": [ratio(cells, size) for size in sorted({c.chunk_size for c in cells})],
        "passes": {b: timed_passes([c for c in cells if c.backend == b]) for b in BACKENDS},
        "item_differences": [
            ItemDifference(item=i, chunk_size=1, max_abs_diff=1e-6, mean_abs_diff=1e-7)
            for i in range(ITEMS)
        ],
        "turning": Turning(guardrail=None, eligibility=None),
    }
    return ViewComparison(**{**fields, **changes})


def ratio(cells: list[Cell], chunk_size: int) -> Ratio:
    """JAX / PyTorch at ``chunk_size``; the ratio of items/s lies from 9/10 to 11/10 of itself."""
    mine = {c.backend: c for c in cells if c.chunk_size == chunk_size}
    jax, pytorch = mine.get("jax"), mine.get("pytorch")
    rate = jax.items_per_s / pytorch.items_per_s if _both(jax, pytorch, "items_per_s") else None
    p95 = jax.p95_s / pytorch.p95_s if _both(jax, pytorch, "p95_s") else None
    return Ratio(
        chunk_size=chunk_size,
        items_per_s=rate,
        items_per_s_interval=None if rate is None else interval(0.9 * rate, 1.1 * rate),
        p95_s=p95,
    )


def _both(jax: Cell | None, pytorch: Cell | None, figure: str) -> bool:
    return all(c is not None and getattr(c, figure) for c in (jax, pytorch))


def timed_passes(cells: list[Cell]) -> list[PassTime]:
    """Two sweep passes of each cell, one after the other, of its mean latency."""
    made: list[PassTime] = []
    for run in range(2):
        for c in cells:
            made.append(
                PassTime(
                    chunk_size=c.chunk_size,
                    phase="sweep",
                    run=run,
                    session=0,
                    started_s=float(len(made)),
                    seconds=c.mean_s,
                    status="ok" if c.mean_s is not None else next(iter(c.failures), "timeout"),
                    compiled=None if c.compiled_passes is None else bool(c.compiled_passes),
                )
            )
    return made


def _fastest(cells: list[Cell], backend: Backend) -> Cell | None:
    mine = [c for c in cells if c.backend == backend and c.eligible]
    return max(mine, key=lambda c: c.items_per_s or 0, default=None)


def speeds(
    view: View, jax: Mapping[int, float], pytorch: Mapping[int, float], **changes: Any
) -> ViewComparison:
    """A view of steady cells with these items/s, chunk size by chunk size."""
    cells = [cell("jax", view, size, rate) for size, rate in jax.items()]
    cells += [cell("pytorch", view, size, rate) for size, rate in pytorch.items()]
    return view_of(view, cells, **changes)


def replaced(view: ViewComparison, *cells: Cell) -> ViewComparison:
    """``view`` with ``cells`` in the place of its own, selected anew."""
    new = {(c.backend, c.chunk_size): c for c in cells}
    names = ("scoring", "isolation", "noise", "oracle", "oracle_sides_with", "prefix_cache")
    kept = {name: getattr(view, name) for name in names}
    return view_of(view.view, [new.get((c.backend, c.chunk_size), c) for c in view.cells], **kept)


def source(backend: Backend, view: View, **changes: Any) -> MatrixSource:
    """Where one matrix came from."""
    fields: dict[str, Any] = {
        "backend": backend,
        "view": view,
        "unavailable": None,
        "backend_version": "1.2.3",
        "backend_commit": None,
        "segment_mask_mended": False,
        "environment_sha256": "ab" * 32,
        "repaired": backend == "jax",
        "dtype": "float32",
        "argv": ["python", "-m", "server", "--port", "1"],
        "environ": {},
        "shell": ShellVariables(passed={}, left_out=[]),
        "base_url": None,
        "elsewhere": None,
        "round_trip": RoundTrip(before_s=0.0008, after_s=0.001),
        "devices": ["cpu:0"],
        "host": Host(
            name="lab",
            system="Linux 6.1",
            machine="x86_64",
            processor="CPU",
            cpus=2,
            memory_bytes=8 * 2**30,
        ),
        "started_at": "2026-02-11T10:00:00+00:00",
        "finished_at": "2026-02-11T10:05:00+00:00",
        "git_commit": "c0ffee" * 6,
        "git_dirty": False,
        "restarts": 0,
        "sessions": 1,
        "interruptions": 0,
        "requests_repeated": False,
        "foreign_cpu": 0.03,
        "compile_cache_entries": 0 if backend == "jax" else None,
        "planned_passes": 15,
        "good_passes": 15,
        "seconds": TimeSplit(server_start=20.0, warmup=10.0, sweep=30.0, confirm=15.0, other=5.0),
    }
    facts = {**fields, **changes}
    run = {name: facts.pop(name) for name in Run.model_fields if name in facts}
    return MatrixSource(**facts, run=Run(**run))


def on(jax: str, pytorch: str) -> list[MatrixSource]:
    """The four sources of servers that ran on these devices."""
    devices: dict[Backend, str] = {"jax": jax, "pytorch": pytorch}
    return [source(b, v, devices=[devices[b]]) for v in VIEWS for b in BACKENDS]


def without(
    whole: Comparison, reasons: Mapping[Backend, str], views: Sequence[View] = VIEWS
) -> Comparison:
    """``whole`` where these backends are called unavailable in these views."""
    lacking = {
        v: getattr(whole, v).model_copy(update={"unavailable": dict(reasons)}) for v in views
    }
    return whole.model_copy(update=lacking)


UNTRAINED = Model(title="untrained toy", sha256="cd" * 32, trained=False, path="m", revision=None)
TRAINED = Model(title="Real/Model", sha256="ef" * 32, trained=True, path="m", revision="1234abc")


def comparison(
    portable: ViewComparison,
    best_native: ViewComparison,
    *,
    target: str = "cpu",
    model: Model = UNTRAINED,
    sources: list[MatrixSource] | None = None,
    nonce: str = NONCE,
    **scope: Any,
) -> Comparison:
    """A whole comparison of two views, of one workload; ``scope`` replaces facts about it."""
    fields: dict[str, Any] = {
        "workload": WORKLOAD,
        "workload_sha256": "01" * 32,
        "query_tokens": 128,
        "items": ITEMS,
        "item_tokens": 8,
        "total_tokens": 128 + 8 * ITEMS,
        "label_token_ids": [9454, 2753],
        "chunk_sizes": sorted({c.chunk_size for c in portable.cells}),
        "warmup_passes": 1,
        "sweep_passes": 5,
        "confirm_passes": 7,
        "call_timeout_s": 180.0,
    }
    return Comparison(
        pair=PAIR,
        scope=Scope(
            identity=Identity(target=target, contract="quick"),
            model=model,
            nonce=nonce,
            **{**fields, **scope},
        ),
        gate=Gate(max_abs_diff=0.02, mean_abs_diff=0.01),
        selection=Selection(guardrail=1.25, resamples=2000, seed=1),
        sources=[source(b, v) for v in VIEWS for b in BACKENDS] if sources is None else sources,
        portable=portable,
        best_native=best_native,
    )


def comparison_set(
    *compared: Comparison,
    mixes: Mapping[str, Mapping[str, float]] | None = None,
    portable: Mapping[str, Any] | None = None,
    best_native: Mapping[str, Any] | None = None,
) -> ComparisonSet:
    """The result of these workloads, whose summary follows from their selected cells.

    Args:
        compared: of each workload, in any order.
        mixes: scenario -> the weights of its workloads.
        portable, best_native: fields of that view's summary to replace.
    """
    rising = sorted(compared, key=lambda one: (one.scope.total_tokens, one.scope.workload))
    changes = {"portable": portable or {}, "best_native": best_native or {}}
    views = {
        view: _summary([(one, getattr(one, view)) for one in rising], mixes or {}).model_copy(
            update=changes[view]
        )
        for view in VIEWS
    }
    return ComparisonSet(version=COMPARISON_VERSION, workloads=rising, summary=Summary(**views))


def _summary(
    compared: Sequence[tuple[Comparison, ViewComparison]], mixes: Mapping[str, Mapping[str, float]]
) -> ViewSummary:
    rows = [at_workload(one, view) for one, view in compared]
    ratios = {row.workload: row.items_per_s for row in rows if row.items_per_s is not None}
    outcomes = [row.outcome for row in rows]
    return ViewSummary(
        view=compared[0][1].view,
        workloads=rows,
        wins={backend: outcomes.count(backend) for backend in BACKENDS},
        ties=outcomes.count("tie"),
        undecided=outcomes.count("none") + outcomes.count("deferred"),
        mean=weighted_ratio({row.workload: 1.0 for row in rows}, ratios),
        mixes={name: weighted_ratio(weights, ratios) for name, weights in mixes.items()},
        crossings=crossings(rows, BACKENDS),
    )


def at_workload(one: Comparison, view: ViewComparison) -> AtWorkload:
    """JAX / PyTorch of the selected cells; it lies from 9/10 to 11/10 of itself."""
    jax, pytorch = (view.selected_cell(backend) for backend in BACKENDS)
    known = _both(jax, pytorch, "items_per_s")
    rate = jax.items_per_s / pytorch.items_per_s if known else None
    return AtWorkload(
        workload=one.scope.workload,
        items=one.scope.items,
        total_tokens=one.scope.total_tokens,
        outcome=view.winner.outcome,
        items_per_s=rate,
        items_per_s_interval=None if rate is None else interval(0.9 * rate, 1.1 * rate),
    )


def weighted_ratio(weights: Mapping[str, float], ratios: Mapping[str, float]) -> WeightedRatio:
    """The geometric mean of ``ratios``; it lies from 9/10 to 11/10 of itself."""
    known = {name: weight for name, weight in weights.items() if name in ratios}
    logs = sum(weight * math.log(ratios[name]) for name, weight in known.items())
    mean = math.exp(logs / sum(known.values())) if known else None
    return WeightedRatio(
        weights=dict(weights),
        left_out=[name for name in weights if name not in known],
        items_per_s=mean,
        items_per_s_interval=None if mean is None else interval(0.9 * mean, 1.1 * mean),
    )
