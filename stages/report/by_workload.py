"""What all workloads say together: a row for each, and who wins where. A result in, text out.

Rules:

* The ratio of a workload is that of the cells that both backends would be deployed with.
* The mean over workloads is geometric. Its interval says how well these workloads are measured. It
  says nothing of other workloads.
* Where the winner changes is told by the size of the workloads on either side: by total tokens (the
  query once and all items), or by items where that orders them better.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from stages.contract import Backend
from stages.documents.comparison import (
    Comparison,
    ComparisonSet,
    Confidence,
    Crossing,
    Pair,
    SizeAxis,
    ViewComparison,
    ViewSummary,
    WeightedRatio,
)
from stages.report import format as f
from stages.report.checks import gate_answer
from stages.report.prose.winner import in_short

_AXES: dict[SizeAxis, str] = {"total_tokens": "total tokens", "items": "items"}


@dataclass(frozen=True, slots=True)
class WorkloadRow:
    """One workload in one view, as text.

    Attributes:
        view, workload: which.
        size: tokens of the query, and number and tokens of the items.
        candidate, reference: items/s of the selected cells, and their chunk sizes.
        ratio: candidate / reference, with its interval.
        winner: with its chunk size.
        gate: the verdict over all cells of the candidate.
    """

    view: str
    workload: str
    size: str
    total_tokens: str
    candidate: str
    reference: str
    ratio: str
    winner: str
    confidence: str
    gate: str


def rows(found: ComparisonSet) -> list[WorkloadRow]:
    """Every workload in the portable view, then in the best-native view."""
    summaries = found.summary.views()
    return [
        _row(one, one.views()[place], summary)
        for place, summary in enumerate(summaries)
        for one in found.workloads
    ]


def _row(one: Comparison, view: ViewComparison, summary: ViewSummary) -> WorkloadRow:
    at = next(row for row in summary.workloads if row.workload == one.scope.workload)
    candidate, reference = (_speed(view, backend) for backend in view.pair.both)
    ratio = f.bounded(at.items_per_s, at.items_per_s_interval, "x")
    return WorkloadRow(
        view=f.VIEW_NAMES[view.view],
        workload=at.workload,
        size=size(one),
        total_tokens=f"{at.total_tokens:,}",
        candidate=candidate,
        reference=reference,
        ratio=ratio,
        winner=in_short(view),
        confidence=view.winner.confidence,
        gate=gate_answer(view, one.gate).word,
    )


def size(one: Comparison) -> str:
    """``128 + 32 x 8``: tokens of the query, items, and tokens of the longest item."""
    scope = one.scope
    return f"{scope.query_tokens:,} + {scope.items:,} x {scope.item_tokens:,}"


def _speed(view: ViewComparison, backend: Backend) -> str:
    cell = view.selected_cell(backend)
    return f.ABSENT if cell is None else f"{f.number(cell.items_per_s)} at {cell.chunk_size}"


def answer(found: ComparisonSet) -> str:
    """The result of the whole question, in one sentence."""
    pair, (portable, native) = found.workloads[0].pair, found.summary.views()
    alike = [b for b in pair.both if all(_wins_all(view, b) for view in (portable, native))]
    means = [portable.mean, native.mean]
    if alike and all(mean.items_per_s and not mean.left_out for mean in means):
        winner = alike[0]
        one, other = (_towards(mean, winner, pair) for mean in means)
        rival = pair.title(pair.other(winner))
        return (
            f"{pair.title(winner)} is faster in {_every(len(portable.workloads))} workloads and"
            f" both views: on average {one} {rival}'s items/s in the portable view and {other} in"
            " the best-native view."
        )
    clauses = [_clause(view, pair) for view in (portable, native)]
    if clauses[0] == clauses[1]:
        return f"In both views, {clauses[0]}."
    return f.sentence(f"in the portable view, {clauses[0]}; in the best-native view, {clauses[1]}")


def _every(total: int) -> str:
    return "both" if total == 2 else f"all {total}"


def _wins_all(view: ViewSummary, backend: Backend) -> bool:
    return view.wins[backend] == len(view.workloads)


def _towards(mean: WeightedRatio, backend: Backend, pair: Pair) -> str:
    """The mean ratio as seen from ``backend``, as text."""
    ratio = mean.items_per_s or 1.0
    return f.factor(ratio if backend == pair.candidate.key else 1 / ratio)


def _clause(view: ViewSummary, pair: Pair) -> str:
    """Who wins how many workloads, and where that changes."""
    total = len(view.workloads)
    won = {b: view.wins[b] for b in pair.both if view.wins[b]}
    if not won:
        open_ = "is decisive" if view.ties else "has a winner"
        return f"no workload {open_}"
    ordered = sorted(won, key=lambda backend: -won[backend])
    first = ordered[0]
    every = _every(total) if won[first] == total else f"{won[first]} of {total}"
    text = f"{pair.title(first)} is faster in {every} workloads"
    text += "".join(f" and {pair.title(b)} in {won[b]}" for b in ordered[1:])
    rest = [
        f"{view.ties} not decisive" if view.ties else "",
        f"{view.undecided} without a winner" if view.undecided else "",
    ]
    text += "".join(f", {part}" for part in rest if part)
    return text + "".join(f"; {_crossing(one, pair)}" for one in view.crossings[:1])


def sentences(view: ViewSummary, pair: Pair) -> list[str]:
    """What one view says over all workloads: who wins, the means, and where the winner changes."""
    return [
        f.sentence(f"in the {f.VIEW_NAMES[view.view]} view, {_clause(view, pair)}"),
        *_means(view, pair),
        *_more_crossings(view, pair),
    ]


def _means(view: ViewSummary, pair: Pair) -> Iterator[str]:
    names = f"{pair.candidate.title} / {pair.reference.title}"
    yield f"Geometric mean of {names} in items/s: {_mean(view.mean)}."
    for scenario, mean in view.mixes.items():
        weights = f.join([f"{name} {f.plain(weight)}" for name, weight in mean.weights.items()])
        yield f"Weighted as in mix {scenario} ({weights}): {_mean(mean)}."


def _mean(mean: WeightedRatio) -> str:
    if mean.items_per_s is None:
        return "not known, because no workload has an eligible cell of both"
    text = f.bounded(mean.items_per_s, mean.items_per_s_interval, "x")
    if not mean.left_out:
        return text
    return f"{text}, without {f.join(mean.left_out)}, where a backend has no eligible cell"


def _more_crossings(view: ViewSummary, pair: Pair) -> Iterator[str]:
    if len(view.crossings) > 1:
        rest = "; ".join(_crossing(one, pair) for one in view.crossings[1:])
        yield f"It does not change only once: {rest}."


def _crossing(one: Crossing, pair: Pair) -> str:
    return (
        f"the winner changes from {pair.title(one.winner_below)} to"
        f" {pair.title(one.winner_above)} between {one.below:,} and {one.above:,}"
        f" {_AXES[one.axis]}"
    )


def levels(found: ComparisonSet) -> str:
    """The levels of the ratios' intervals, in a sentence; empty where there are none."""
    intervals = [
        *(row.items_per_s_interval for view in found.summary.views() for row in view.workloads),
        *(view.mean.items_per_s_interval for view in found.summary.views()),
    ]
    known = [one.level for one in intervals if one is not None]
    if not known:
        return ""
    return (
        f"In brackets: the interval of the ratio, {f.percent(min(known))} at least; that of a mean"
        " says how well these workloads are measured, not how others would turn out."
    )


_RISING: tuple[Confidence, ...] = ("none", "low", "medium", "high")


def confidences(views: Sequence[ViewComparison]) -> tuple[str, Confidence]:
    """The confidence in the winners of a view: one word or a range of them, and the lowest."""
    found = sorted({view.winner.confidence for view in views}, key=_RISING.index)
    lowest = found[0]
    return (lowest if len(found) == 1 else f"{lowest} to {found[-1]}"), lowest


def gate_figures(found: ComparisonSet) -> Iterator[str]:
    """How many of the candidate's cells pass over all workloads, a sentence for each view."""
    first = found.workloads[0]
    for place in (1, 0):
        views = [one.views()[place] for one in found.workloads]
        gates = [cell.gate for view in views for cell in view.cells if cell.gate]
        passed = sum(gate.verdict == "pass" for gate in gates)
        largest = [gate.max_abs_diff for gate in gates if gate.max_abs_diff is not None]
        most = f", largest difference {f.difference(max(largest))}" if largest else ""
        name = f.VIEW_NAMES[views[0].view].capitalize()
        cells = f.count(len(gates), f"{first.pair.candidate.title} cell")
        limit = f.plain(first.gate.max_abs_diff)
        yield f"{name}: {passed} of {cells} pass{most} (limit {limit})."
