"""How far the scores can be trusted, in sentences. A comparison in, plain text out.

Rules:

* Outlier: a gated cell whose largest difference is both over ``OUTLIER`` times the median
  of at least ``OUTLIER_CELLS`` cells and over ``OUTLIER_GATE`` of the gate's limit; smaller
  drift is rounding, whatever its multiple.
* "Agree within" stands only where every cell of the candidate was compared.
* In each view the drift stands beside the larger noise floor, as a multiple of it.
"""

from __future__ import annotations

import statistics
from collections.abc import Iterator, Sequence

from stages.contract import Gate
from stages.documents.comparison import Cell, Comparison, Isolation, ViewComparison
from stages.report import format as f
from stages.report.checks import gate_answer
from stages.report.prose import scores, server
from stages.report.prose.oracle import oracle, other_prompt
from stages.report.prose.reasons import PLAIN, failed_alone, leak
from stages.report.ranking import ranked, ranking_answer
from stages.report.ratios import cells
from stages.report.starts import starts_sentences

OUTLIER = 10.0
OUTLIER_CELLS = 4
OUTLIER_GATE = 0.01


def correctness(comparison: Comparison) -> list[str]:
    """The gate, the drift beside the noise, the order of the items, isolation, starts, oracle."""
    gated = [cell for cell in cells(comparison) if cell.gate]
    if all(view.unavailable for view in comparison.views()):
        many = f.count(len(gated), f"{comparison.pair.candidate.title} cell")
        why = server.is_unavailable_where(comparison.unavailable, comparison.pair)
        said = [f"None of {many} was compared: {why}."]
    else:
        said = [f.in_view(view.view, _tally(view, comparison.gate)) for view in comparison.views()]
        gated = [cell for view in comparison.views() for cell in _compared(view)]
        said += [*_not_passing(gated, comparison), *_left_out(gated), *_drift(gated, comparison)]
        said += _ranking(comparison)
    probed = (*_noise(comparison), *_isolation(comparison), *starts_sentences(comparison))
    return [*said, *probed, *_oracle(comparison)]


def _tally(view: ViewComparison, limits: Gate) -> str:
    """How many cells pass the gate, or why none was compared."""
    if not view.unavailable:
        return gate_answer(view, limits).figure
    return f"no cell was compared: {server.is_unavailable(view.unavailable, view.pair)}"


def _compared(view: ViewComparison) -> list[Cell]:
    """The gated cells of a view in which both backends ran."""
    return [] if view.unavailable else [cell for cell in view.cells if cell.gate]


def _not_passing(gated: Sequence[Cell], comparison: Comparison) -> Iterator[str]:
    pair = comparison.pair
    for cell in gated:
        if cell.gate and cell.gate.verdict == "fail":
            yield f"{scores.fails_gate(cell, cell.gate, pair, comparison.gate)}."
    for cell in gated:
        if cell.gate and cell.gate.verdict == "inconclusive":
            yield f"Inconclusive: {f.at(cell, pair)} ({scores.also_passed(cell.gate)})."


def _left_out(gated: Sequence[Cell]) -> Iterator[str]:
    gates = [cell.gate for cell in gated if cell.gate]
    left_out = scores.left_out_controls(gates)
    if left_out and not any(gate.controls for gate in gates):
        yield f.sentence(f"{scores.UNTESTED}, because {scores.NO_CONTROL}: {left_out}")
    elif left_out:
        yield f"Not among the wrong answers that the gate must catch: {left_out}."


def _drift(gated: Sequence[Cell], comparison: Comparison) -> list[str]:
    highest = _largest(gated, "max_abs_diff")
    mean = _largest(gated, "mean_abs_diff")
    if highest is None or mean is None:
        return []
    where = [f.at(cell, comparison.pair) for _, cell in (highest, mean)]
    said = [
        f"The largest difference of one score is {f.difference(highest[0])} ({where[0]});"
        f" the largest mean difference is {f.difference(mean[0])} ({where[1]})."
    ]
    diffs = [c.gate.max_abs_diff for c in gated if c.gate and c.gate.max_abs_diff is not None]
    if len(diffs) == len(gated):
        said.append(f"Both backends' scores agree within {f.difference(highest[0])} in every cell.")
    if len(diffs) >= OUTLIER_CELLS:
        said.append(_outliers(gated, statistics.median_low(diffs), comparison))
    return said


def _largest(gated: Sequence[Cell], field: str) -> tuple[float, Cell] | None:
    known = [(value, c) for c in gated if (value := getattr(c.gate, field)) is not None]
    return max(known, key=lambda one: one[0], default=None)


def _outliers(gated: Sequence[Cell], median: float, comparison: Comparison) -> str:
    limit = comparison.gate.max_abs_diff
    bar = max(OUTLIER * median, OUTLIER_GATE * limit)
    found = [
        f"{f.at(c, comparison.pair)} ({f.difference(c.gate.max_abs_diff)})"
        for c in gated
        if c.gate and c.gate.max_abs_diff is not None and c.gate.max_abs_diff > bar
    ]
    if not found:
        return "No chunk size stands out by its drift."
    return (
        f"Outliers, over {OUTLIER:.0f} times the median of {f.difference(median)}:"
        f" {'; '.join(found)}."
    )


def _ranking(comparison: Comparison) -> Iterator[str]:
    for view in comparison.views():
        if not view.unavailable and ranked(view):
            yield f.in_view(view.view, ranking_answer(view).figure)


def _noise(comparison: Comparison) -> Iterator[str]:
    for view in comparison.views():
        floors = {b: view.noise[b].max_abs_diff for b in comparison.pair.both}
        known = [
            (value, comparison.pair.title(b)) for b, value in floors.items() if value is not None
        ]
        measured = [b for b in comparison.pair.both if b not in view.unavailable]
        unknown = [b for b in measured if floors[b] is None]
        if known:
            floor, name = max(known, key=lambda one: one[0])
            whose = f"{name}'s answers" if floor or unknown else "answers"
            yield f.in_view(view.view, f"{scores.noise(whose, floor)}{_beside(view, floor)}")
        for backend in unknown:
            yield f"{f.backend_view(backend, view.view, view.pair)}: {scores.NOISE_UNKNOWN}."


def _beside(view: ViewComparison, floor: float) -> str:
    found = _largest([cell for cell in view.cells if cell.gate], "max_abs_diff")
    if found is None:
        return ""
    drift = f"; the backends' scores differ by up to {f.difference(found[0])}"
    if found[0] <= floor:
        return f"{drift}, which is no more than the noise"
    return f"{drift}, {f.factor(found[0] / floor)} the noise" if floor else drift


def _isolation(comparison: Comparison) -> Iterator[str]:
    every = [
        (view.isolation[b], f.backend_view(b, view.view, comparison.pair))
        for view in comparison.views()
        for b in comparison.pair.both
        if b not in view.unavailable
    ]
    for found, where in every:
        if found.verdict == "leaks":
            yield f"{where}: {leak(found)}."
    for verdict in ("not_probed", "lengths_not_probed"):
        missing = [_named(found, where) for found, where in every if found.verdict == verdict]
        if missing:
            yield f.sentence(f"{PLAIN[verdict]}: {'; '.join(missing)}")
    if every and all(found.verdict == "no_neighbours" for found, _ in every):
        yield "The workload has one item, so no score can depend on neighbouring items."
    isolated = [
        (found.largest_change, where)
        for found, where in every
        if found.verdict == "isolated" and found.largest_change is not None
    ]
    if isolated and len(isolated) == len(every):
        change, where = max(isolated, key=lambda one: one[0])
        moved = f"by more than {f.difference(change)} ({where})" if change else "at all"
        yield f"No probed score moved {moved} when only its neighbours changed."


def _named(found: Isolation, where: str) -> str:
    """Where isolation was not probed, and the failed request of one item that it needs."""
    alone = found.alone if found.verdict == "not_probed" else None
    return where if alone is None else f"{where} ({failed_alone(alone)})"


def _oracle(comparison: Comparison) -> Iterator[str]:
    for view in comparison.views():
        yield f.in_view(view.view, oracle(view))
        if (unlike := other_prompt(view)) is not None:
            yield f.in_view(view.view, unlike)
