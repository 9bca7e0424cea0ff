"""What to work on in the candidate, the most urgent first. A comparison in, plain text out.

Rules, in this order:

* Scores: cells that fail the gate (where the oracle sides with the candidate, the reference is
  to be looked at first), cells whose items are in another order, views in which a score depends on
  its neighbours or on the server's start, views in which the oracle disagrees, cells the gate
  cannot judge, cells not compared.
* Failed passes.
* The ``WORST`` chunk sizes with the lowest items/s ratio below level, per view.
* First-run penalties over ``PENALTY`` (the largest of each view), compilations in timed
  passes, unstable cells.
"""

from __future__ import annotations

from collections.abc import Iterator

from stages.documents.comparison import Cell, Comparison, ViewComparison
from stages.report import format as f
from stages.report.prose.oracle import differs, scored
from stages.report.prose.reasons import PLAIN, instability, leak
from stages.report.prose.scores import also_passed, fails_gate
from stages.report.prose.server import compiled, failures, first_run, timed_passes
from stages.report.prose.starts import differ
from stages.report.ranking import reordered, where_changed
from stages.report.ratios import cells, pairs

WORST = 2
PENALTY = 10.0


def priorities(comparison: Comparison) -> Iterator[str]:
    """What to work on in the candidate, the most urgent first; one sentence if there is nothing."""
    found = [
        *_wrong(comparison),
        *_failing(comparison),
        *_slow(comparison),
        *_first_runs(comparison),
        *_compiling(comparison),
        *_unsteady(comparison),
    ]
    mine = comparison.pair.candidate
    missing = [v for v in comparison.views() if mine.key in v.unavailable]
    if len(missing) == len(comparison.views()):
        why = "; ".join(dict.fromkeys(view.unavailable[mine.key] for view in missing))
        yield f"{mine.title} first of all: it could not be measured ({why})."
        return
    for view in missing:
        why = view.unavailable[mine.key]
        found.insert(0, f"{_where(view)} first of all: it could not be measured ({why}).")
    yield from found or [f"Nothing measured here calls for work on {mine.title}."]


def _mine(comparison: Comparison) -> list[Cell]:
    return [cell for cell in cells(comparison) if _is_mine(cell, comparison)]


def _is_mine(cell: Cell, comparison: Comparison) -> bool:
    return cell.backend == comparison.pair.candidate.key


def _wrong(comparison: Comparison) -> Iterator[str]:
    for view in comparison.views():
        yield from _failing_gate(view, comparison)
    for view in comparison.views():
        if reordered(view):
            yield f"Order of the items: {_where(view)}, {where_changed(view)}."
    for view in comparison.views():
        mine = comparison.pair.candidate.key
        isolation, oracle, where = view.isolation[mine], view.oracle[mine], _where(view)
        if isolation.verdict == "leaks":
            yield f"Isolation: {where}, {leak(isolation)}."
        starts = view.starts.get(mine)
        if starts is not None and starts.verdict == "differ":
            yield f"The same scores from every start: {where}, {differ(starts)}."
        if oracle.verdict == "other_prompt":
            yield f"Correct scores: {where}, scored another prompt: {scored(oracle)}."
        elif oracle.verdict == "wrong":
            yield f"Correct scores: {differs({where: oracle.max_abs_diff})}."
    yield from _unjudged(comparison)


def _failing_gate(view: ViewComparison, comparison: Comparison) -> Iterator[str]:
    mine, other = comparison.pair.candidate, comparison.pair.reference
    sided = f"; the oracle sides with {mine.title}, so look at {other.title}'s scores first"
    first = sided if view.oracle_sides_with == mine.key else ""
    for cell in view.cells:
        gate = cell.gate
        if gate and gate.verdict == "fail":
            fails = fails_gate(cell, gate, comparison.pair, comparison.gate)
            yield f"Correct scores: {fails}{first}."


def _unjudged(comparison: Comparison) -> Iterator[str]:
    gated = [(cell, cell.gate) for cell in _mine(comparison) if cell.gate]
    deferred = {view.view for view in comparison.views() if view.unavailable}
    for cell, gate in gated:
        if gate.verdict == "inconclusive":
            yield (
                f"Distinct scores: {f.at(cell, comparison.pair)} cannot be judged, because"
                f" {also_passed(gate)}; measure with scores that differ more from item to item."
            )
    for cell, gate in gated:
        # A cell whose every pass failed is listed under its failures.
        if gate.verdict == "not_compared" and not cell.failures and cell.view not in deferred:
            where = f.at(cell, comparison.pair)
            yield f"Comparable scores: {where}, {PLAIN['not_compared']}."


def _failing(comparison: Comparison) -> Iterator[str]:
    for cell in _mine(comparison):
        if cell.failures:
            yield f"Failures: {f.at(cell, comparison.pair)}, {failures(cell.failures)}."


def _slow(comparison: Comparison) -> Iterator[str]:
    for view in comparison.views():
        behind = [
            (factor, pair)
            for pair in pairs(view)
            if pair.side("items_per_s") == "worse"
            and (factor := pair.factor("items_per_s")) is not None
        ]
        for factor, pair in sorted(behind, key=lambda one: one[0].value)[:WORST]:
            where, title = f.at(pair.candidate, comparison.pair), comparison.pair.reference.title
            reached = f.bounded(factor.value, factor.interval, "x")
            yield f"Throughput: {where} reaches {reached} {title}'s items/s."


def _first_runs(comparison: Comparison) -> Iterator[str]:
    for view in comparison.views():
        slow = [
            c
            for c in view.cells
            if _is_mine(c, comparison) and (c.first_run_penalty or 0) > PENALTY
        ]
        for cell in sorted(slow, key=lambda one: -(one.first_run_penalty or 0))[:1]:
            yield f"First runs: {first_run(cell, comparison.pair)}."


def _compiling(comparison: Comparison) -> Iterator[str]:
    for view in comparison.views():
        found = [c for c in view.cells if _is_mine(c, comparison) and c.compiled_passes]
        if found:
            passes = sum(cell.compiled_passes or 0 for cell in found)
            where = f"{timed_passes(passes)}, at {_sizes(found, view)}"
            yield f"Compilations: {_where(view)} {compiled(where)}."


def _unsteady(comparison: Comparison) -> Iterator[str]:
    for view in comparison.views():
        mine = [c for c in view.cells if _is_mine(c, comparison)]
        found = [c for c in mine if c.instability]
        if found:
            worst = max(found, key=_spread)
            yield (
                f"Steadiness: {_where(view)} is unstable in {len(found)} of"
                f" {f.count(len(mine), 'cell')}, at {_sizes(found, view)}; the widest spread is at"
                f" chunk size {worst.chunk_size} ({instability(worst.instability)})."
            )


def _where(view: ViewComparison) -> str:
    return f.backend_view(view.pair.candidate.key, view.view, view.pair)


def _spread(cell: Cell) -> float:
    return (cell.std_s or 0.0) / cell.mean_s if cell.mean_s else 0.0


def _sizes(of: list[Cell], view: ViewComparison) -> str:
    return f.chunk_sizes([c.chunk_size for c in of], sorted({c.chunk_size for c in view.cells}))
