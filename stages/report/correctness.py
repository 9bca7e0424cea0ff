"""How far the scores can be trusted, in sentences. A comparison in, plain text out.

Rules:

* Outlier: a gated cell whose largest difference is both over ``OUTLIER`` times the median
  of at least ``OUTLIER_CELLS`` cells and over ``OUTLIER_GATE`` of the gate's limit; smaller
  drift is rounding, whatever its multiple.
* "Agree within" is said only where every cell of the candidate was compared.
* In each view the drift is told beside the larger noise floor, as a multiple of it.
"""

from __future__ import annotations

import itertools
import statistics
from collections.abc import Iterator, Sequence

from stages.contract import Backend
from stages.documents.comparison import (
    Cell,
    Comparison,
    IsolationVerdict,
    Pair,
    Verdict,
    ViewComparison,
)
from stages.report import format as f
from stages.report.checks import left_out_controls
from stages.report.prose.oracle import oracle, other_prompt
from stages.report.prose.reasons import also_passed, leak
from stages.report.ratios import cells

OUTLIER = 10.0
OUTLIER_CELLS = 4
OUTLIER_GATE = 0.01

_VERBS: dict[Verdict, tuple[str, str]] = {
    "pass": ("passes", "pass"),
    "fail": ("fails", "fail"),
    "inconclusive": ("is inconclusive", "are inconclusive"),
    "not_compared": ("could not be compared", "could not be compared"),
}
_UNPROBED: dict[IsolationVerdict, str] = {
    "not_probed": "Isolation between items",
    "lengths_not_probed": "Isolation from items of other lengths",
}


def correctness(comparison: Comparison) -> list[str]:
    """The gate, the drift beside the noise, isolation, and the oracle."""
    gated = [cell for cell in cells(comparison) if cell.gate]
    if comparison.unavailable:
        title = comparison.pair.candidate.title
        names = f.join(
            [comparison.pair.title(b) for b in comparison.pair.both if b in comparison.unavailable]
        )
        said = [
            f"None of {f.count(len(gated), f'{title} cell')} was compared: {names} unavailable."
        ]
        return [*said, *_noise(comparison), *_isolation(comparison), *_oracle(comparison)]
    said = [_tally(gated, comparison), *_not_passing(gated, comparison.pair), *_left_out(gated)]
    said += _drift(gated, comparison)
    return [*said, *_noise(comparison), *_isolation(comparison), *_oracle(comparison)]


def _tally(gated: Sequence[Cell], comparison: Comparison) -> str:
    limits = (
        f"(limits: max {f.plain(comparison.gate.max_abs_diff)},"
        f" mean {f.plain(comparison.gate.mean_abs_diff)})"
    )
    title = comparison.pair.candidate.title
    verdicts = [cell.gate.verdict for cell in gated if cell.gate]
    counts = {verdict: verdicts.count(verdict) for verdict in _VERBS}
    told = [f"{n} {_VERBS[verdict][n != 1]}" for verdict, n in counts.items() if n]
    if counts["pass"] == len(gated) > 1:
        return f"All {len(gated)} gated {title} cells pass {limits}."
    many = f.count(len(gated), f"gated {title} cell")
    return f"Of {many}, {f.join(told) or 'none passes'} {limits}."


def _not_passing(gated: Sequence[Cell], pair: Pair) -> Iterator[str]:
    for cell in gated:
        if cell.gate and cell.gate.verdict == "fail":
            yield _failed_gate(cell, pair)
    for cell in gated:
        if cell.gate and cell.gate.verdict == "inconclusive":
            passed = also_passed(cell.gate)
            yield f"Inconclusive: {f.at(cell, pair)} (the gate would also pass {passed})."
    missing = [cell for cell in gated if cell.gate and cell.gate.verdict == "not_compared"]
    if missing:
        yield f"Not compared: {'; '.join(_where(missing, gated, pair))}."


def _left_out(gated: Sequence[Cell]) -> Iterator[str]:
    gates = [cell.gate for cell in gated if cell.gate]
    left_out = f.join(left_out_controls(gates))
    if left_out and not any(gate.controls for gate in gates):
        yield f"Nothing could test the gate's power, for no wrong answer would differ: {left_out}."
    elif left_out:
        yield f"Not among the wrong answers that the gate must catch: {left_out}."


def _where(some: Sequence[Cell], every: Sequence[Cell], pair: Pair) -> Iterator[str]:
    for view, mine in itertools.groupby(some, key=lambda cell: cell.view):
        listed = sorted(cell.chunk_size for cell in every if cell.view == view)
        sizes = f.chunk_sizes([cell.chunk_size for cell in mine], listed)
        yield f"{f.backend_view(pair.candidate.key, view, pair)}, {sizes}"


def _failed_gate(cell: Cell, pair: Pair) -> str:
    assert cell.gate is not None  # noqa: S101  the caller filtered
    where = f", worst in {cell.gate.worst_pass}" if cell.gate.worst_pass else ""
    figures = (
        f"max abs diff {f.difference(cell.gate.max_abs_diff)},"
        f" mean abs diff {f.difference(cell.gate.mean_abs_diff)}"
    )
    if cell.gate.max_abs_diff is None:
        figures = "no finite difference"
    return f"Fails the gate: {f.at(cell, pair)} ({figures}{where})."


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


def _noise(comparison: Comparison) -> Iterator[str]:
    for view in comparison.views():
        floors = {b: view.noise[b].max_abs_diff for b in comparison.pair.both}
        known = [
            (value, comparison.pair.title(b)) for b, value in floors.items() if value is not None
        ]
        measured = [b for b in comparison.pair.both if b not in comparison.unavailable]
        unknown = [comparison.pair.title(b) for b in measured if floors[b] is None]
        if known:
            floor, name = max(known, key=lambda one: one[0])
            differ = f"differ by up to {f.difference(floor)} ({name})" if floor else "are identical"
            of = "" if floor or not unknown else f" of {f.join([name for _, name in known])}"
            said = f"Answers{of} to one identical request {differ}{_beside(view, floor)}."
            yield f.in_view(view.view, said)
        if unknown:
            yield f.in_view(view.view, f"The noise floor of {f.join(unknown)} is not known.")


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
        for view, b in _sides(comparison)
    ]
    for found, where in every:
        if found.verdict == "leaks":
            yield f"{where}: {leak(found)}."
    for verdict, what in _UNPROBED.items():
        missing = [where for found, where in every if found.verdict == verdict]
        if missing:
            yield f"{what} could not be probed: {'; '.join(missing)}."
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


def _oracle(comparison: Comparison) -> Iterator[str]:
    for view in comparison.views():
        yield f.in_view(view.view, oracle(view))
        if (unlike := other_prompt(view)) is not None:
            yield f.in_view(view.view, unlike)


def _sides(comparison: Comparison) -> list[tuple[ViewComparison, Backend]]:
    measured = [b for b in comparison.pair.both if b not in comparison.unavailable]
    return [(view, backend) for view in comparison.views() for backend in measured]
