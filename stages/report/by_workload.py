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

from stages.contract import VIEWS, Backend, View
from stages.documents.comparison import (
    AtWorkload,
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
from stages.report.prose.winner import in_short as winner_in_short

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
    return [
        _row(one, one.view(summary.view), at)
        for summary in found.summary.views()
        # Both are by rising total tokens; the document is refused otherwise.
        for one, at in zip(found.workloads, summary.workloads, strict=True)
    ]


def _row(one: Comparison, view: ViewComparison, at: AtWorkload) -> WorkloadRow:
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
        winner=winner_in_short(view, tie="not decisive"),
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
    """The result of the whole question: a sentence for both views, or one for each."""
    pair, (portable, native) = found.workloads[0].pair, found.summary.views()
    alike = [b for b in pair.both if all(_leads_all(v, b, pair) for v in (portable, native))]
    if alike:
        winner = alike[0]
        one, other = (_towards(view.mean, winner, pair) for view in (portable, native))
        rival = pair.title(pair.other(winner))
        return (
            f"{pair.title(winner)} wins {_every(len(portable.workloads))} in both views, with on"
            f" average {one} {rival}'s items/s in the portable view and {other} in the best-native"
            " view."
        )
    clauses = [clause(view, pair) for view in (portable, native)]
    outcomes = [[row.outcome for row in view.workloads] for view in (portable, native)]
    if outcomes[0] == outcomes[1] and clauses[0] == clauses[1]:
        return f"Both views: {clauses[0]}."
    return f"Portable view: {clauses[0]}. Best-native view: {clauses[1]}."


def _every(total: int) -> str:
    return "both workloads" if total == 2 else f"all {total} workloads"


def _leads_all(view: ViewSummary, backend: Backend, pair: Pair) -> bool:
    """Whether a backend wins every workload, and has more items/s in each."""
    candidate = backend == pair.candidate.key
    ratios = [row.items_per_s for row in view.workloads]
    ahead = [r is not None and r != 1 and (r > 1) == candidate for r in ratios]
    return view.wins[backend] == len(ratios) and all(ahead)


def _towards(mean: WeightedRatio, backend: Backend, pair: Pair) -> str:
    """The mean ratio as seen from ``backend``, as text."""
    ratio = mean.items_per_s or 1.0
    return f.factor(ratio if backend == pair.candidate.key else 1 / ratio)


def clause(view: ViewSummary, pair: Pair) -> str:
    """Who wins which workloads, who has no eligible cell where, and where the winner changes."""
    parts = [*_won(view, pair), *_unrivalled(view, pair)]
    if len(view.crossings) == 1:
        parts.append(_crossing(view.crossings[0], view, pair))
    elif view.crossings:
        axis = _AXES[view.crossings[0].axis]
        parts.append(f"the winner changes {len(view.crossings)} times over the {axis}")
    return "; ".join(parts)


_NAMED = 3
"""Up to so many workloads are named one by one, more are counted."""


def _won(view: ViewSummary, pair: Pair) -> list[str]:
    total = len(view.workloads)
    by = {
        outcome: [r.workload for r in view.workloads if r.outcome == outcome]
        for outcome in (*pair.both, "tie")
    }
    rest = [r.workload for r in view.workloads if r.outcome not in by]
    won = {pair.title(b): by[b] for b in sorted(pair.both, key=lambda b: -len(by[b])) if by[b]}
    if len(won) == 1 and len(next(iter(won.values()))) == total:
        return [f"{next(iter(won))} wins {_every(total)}"]
    if total <= _NAMED:
        wins = [f"{title} wins {f.join(names)}" for title, names in won.items()]
        said = [f.join(wins)] if wins else []
        said += [f"{f.join(by['tie'])} {_is(by['tie'])} not decisive"] if by["tie"] else []
        return said + ([f"{f.join(rest)} {_has(rest)} no winner"] if rest else [])
    counted = [
        f"{title} wins {len(names)}" + (f" of {total} workloads" if place == 0 else "")
        for place, (title, names) in enumerate(won.items())
    ] or [f"none of {total} workloads has a winner"]
    counted += [f"{len(by['tie'])} {_is(by['tie'])} not decisive"] if by["tie"] else []
    counted += [f"{len(rest)} {_has(rest)} no winner"] if rest and won else []
    return [f.join(counted)]


def _is(names: Sequence[str]) -> str:
    return "is" if len(names) == 1 else "are"


def _has(names: Sequence[str]) -> str:
    return "has" if len(names) == 1 else "have"


def _unrivalled(view: ViewSummary, pair: Pair) -> Iterator[str]:
    """Wins without an eligible rival, which say nothing about speed."""
    for backend in pair.both:
        rival = pair.title(pair.other(backend))
        names = [
            row.workload
            for row in view.workloads
            if row.outcome == backend and row.items_per_s is None
        ]
        if names:
            yield f"{rival} has no eligible cell in {f.join(names)}"


def sentences(view: ViewSummary, pair: Pair) -> list[str]:
    """What one view says over all workloads: who wins, where that changes, and the means."""
    return [
        f"{f.VIEW_NAMES[view.view].capitalize()} view: {clause(view, pair)}.",
        *_all_crossings(view, pair),
        *_means(view, pair),
    ]


def _means(view: ViewSummary, pair: Pair) -> Iterator[str]:
    names = f"{pair.candidate.title} / {pair.reference.title}"
    yield f"Geometric mean of {names} in items/s: {_mean(view.mean)}."
    for scenario, mean in view.mixes.items():
        weights = f.join([f"{name} {f.plain(weight)}" for name, weight in mean.weights.items()])
        yield f"Weighted as in mix {scenario} ({weights}): {_mean(mean)}."


def means_in_short(view: ViewSummary, pair: Pair) -> str:
    """Every change of the winner, and the means without their weights, for the first screen."""
    names = f"{pair.candidate.title} / {pair.reference.title}"
    mixes = [f"mix {name} {_mean(mean)}" for name, mean in view.mixes.items()]
    means = "; ".join([_mean(view.mean), *mixes])
    return " ".join(
        [*_all_crossings(view, pair), f"Geometric mean of {names} in items/s: {means}."]
    )


def _mean(mean: WeightedRatio) -> str:
    if mean.items_per_s is None:
        return (
            "not known, because in none of these workloads do both backends have an eligible cell"
        )
    text = f.bounded(mean.items_per_s, mean.items_per_s_interval, "x")
    if not mean.left_out:
        return text
    kept = f.join([name for name in mean.weights if name not in mean.left_out])
    return (
        f"{text} over {kept} alone, because in {f.join(mean.left_out)} a backend has no eligible"
        " cell"
    )


def _all_crossings(view: ViewSummary, pair: Pair) -> Iterator[str]:
    """Every change of the winner where there are several, or why none can be told."""
    if len(view.crossings) > 1:
        steps = [_step(one, pair) for one in view.crossings]
        axis = _AXES[view.crossings[0].axis]
        yield f"The winner changes {len(steps)} times over the {axis}: {'; '.join(steps)}."
    decided = {r.outcome for r in view.workloads if r.items_per_s is not None}
    if not view.crossings and decided.issuperset(pair.both):
        yield "The winners differ, but neither total tokens nor items tell them apart."


def _crossing(one: Crossing, view: ViewSummary, pair: Pair) -> str:
    between = [
        row.workload for row in view.workloads if one.below < getattr(row, one.axis) < one.above
    ]
    passed = f" (with {f.join(between)} between them undecided)" if between else ""
    return f"the winner changes {_step(one, pair)} {_AXES[one.axis]}{passed}"


def _step(one: Crossing, pair: Pair) -> str:
    return (
        f"from {pair.title(one.winner_below)} to {pair.title(one.winner_above)} between"
        f" {one.below:,} and {one.above:,}"
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


_FALLING: tuple[Confidence, ...] = ("high", "medium", "low", "none")


def confidences(found: ComparisonSet, view: View) -> tuple[str, Confidence]:
    """The confidence in the winner of each workload of a view in words, and the lowest.

    ``low``; ``low (many), none (few)``; ``low in 4, none in 2``.
    """
    named = {one.scope.workload: one.view(view).winner.confidence for one in found.workloads}
    by = {word: [name for name, one in named.items() if one == word] for word in _FALLING}
    known = {word: names for word, names in by.items() if names}
    lowest = list(known)[-1]
    if len(known) == 1:
        return lowest, lowest
    if len(named) <= _NAMED:
        return ", ".join(f"{word} ({f.join(names)})" for word, names in known.items()), lowest
    return ", ".join(f"{word} in {len(names)}" for word, names in known.items()), lowest


def gate_figures(found: ComparisonSet) -> Iterator[str]:
    """How many of the candidate's cells pass over all workloads, a sentence for each view."""
    first = found.workloads[0]
    for view in reversed(VIEWS):
        cells = (cell for one in found.workloads for cell in one.view(view).cells)
        gates = [cell.gate for cell in cells if cell.gate]
        passed = sum(gate.verdict == "pass" for gate in gates)
        largest = [gate.max_abs_diff for gate in gates if gate.max_abs_diff is not None]
        most = f", largest difference {f.difference(max(largest))}" if largest else ""
        name = f.VIEW_NAMES[view].capitalize()
        of = f.count(len(gates), f"{first.pair.candidate.title} cell")
        limit = f.plain(first.gate.max_abs_diff)
        yield f"{name}: {passed} of {of} pass{most} (limit {limit})."
