"""What changed from one comparison to another, cell by cell.

Rules:

* A cell's passes are those its figures come from: the good ones of its own phase.
* A cell is called changed where the change is significant (Welch's t on the logarithms of the
  means, with Holm's correction over all cells compared, at 5 %) and at least as large as asked for.
* A cell works where every planned timed pass succeeded; only two that work are compared.
* A cell whose passes are the very same on both sides was not measured anew. It is not compared
  and not counted in the correction.
* A backend has no cells in a view in which it is unavailable.
* Only a workload that both sides have is compared, each with its own: the hash covers its name.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from stages.contract import Backend, View
from stages.documents.comparison import (
    Cell,
    Comparison,
    ComparisonSet,
    GateResult,
    Ranking,
    ViewComparison,
)
from tools.diff.welch import Contrast, contrast, holm

LEVEL = 0.05
"""Family-wise error rate: how often two equal runs may have any cell called changed."""
GROWN = 10
"""How many times the old score difference a new one must exceed to be reported."""

type Word = Literal[
    "faster",
    "slower",
    "too small to count",
    "within the noise",
    "same passes",
    "too few passes",
    "new",
    "gone",
    "failed now",
    "works now",
    "fails in both",
    "not comparable",
]

CHANGED: tuple[Word, ...] = ("faster", "slower")
COMPARED: tuple[Word, ...] = (*CHANGED, "too small to count", "within the noise")


@dataclass(frozen=True, slots=True)
class SameCell:
    """One cell before and after; ``None`` where that side has no such cell."""

    workload: str
    backend: Backend
    view: View
    chunk_size: int
    before: Cell | None
    after: Cell | None


@dataclass(frozen=True, slots=True)
class CellChange:
    """What became of one cell.

    Attributes:
        change: change of items/s as a share of the old ones: 0.3 is 30 % faster. ``None``
            where the passes were not compared.
        low, high: ends of its interval.
    """

    pair: SameCell
    word: Word
    change: float | None = None
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True, slots=True)
class ScoreChange:
    """A gated cell whose scores are worth a look: another verdict, or a much larger difference."""

    before: Cell
    after: Cell
    was: GateResult
    now: GateResult


@dataclass(frozen=True, slots=True)
class RankingChange:
    """A gated cell whose items are further from the reference's order than before."""

    after: Cell
    was: Ranking
    now: Ranking


@dataclass(frozen=True, slots=True)
class Common:
    """The result of one workload, before and after."""

    workload: str
    before: Comparison
    after: Comparison


def common(old: ComparisonSet, new: ComparisonSet) -> list[Common]:
    """The workloads that both have, in the new one's order."""
    found = ((one.scope.workload, one) for one in new.workloads)
    return [Common(name, before, one) for name, one in found if (before := old.of(name))]


def only_in(one: ComparisonSet, other: ComparisonSet) -> list[str]:
    """The names of the workloads that ``one`` has and ``other`` has not."""
    names = (compared.scope.workload for compared in one.workloads)
    return [name for name in names if other.of(name) is None]


def obstacles(old: Comparison, new: Comparison) -> list[str]:
    """Why the speed at one workload cannot be compared, in words; empty where it can."""
    one, other = old.scope, new.scope
    said = []
    if old.pair.both != new.pair.both:
        before, after = (" and ".join(c.pair.titles(c.pair.both)) for c in (old, new))
        said.append(f"other backends ({before} before, {after} now)")
    if one.items != other.items:
        said.append(f"another number of items ({one.items:,} and {other.items:,})")
    if one.workload_sha256 != other.workload_sha256:
        hashes = f"{one.workload_sha256[:12]} and {other.workload_sha256[:12]}"
        said.append(f"another workload (hash {hashes})")
    if one.model.sha256 != other.model.sha256:
        models = one.model.title, other.model.title
        hashes = f"{one.model.sha256[:12]} and {other.model.sha256[:12]}"
        alike = f"both called {models[0]}, hash {hashes}"
        said.append(f"another model ({alike if models[0] == models[1] else ' and '.join(models)})")
    return said


def shared(old: Comparison, new: Comparison) -> list[Backend]:
    """The backends that both compare."""
    return [backend for backend in new.pair.both if backend in old.pair.both]


def pairs(old: Comparison, new: Comparison) -> list[SameCell]:
    """Every cell of either side at one workload, by view, backend and rising chunk size."""
    found = []
    for one, other in zip(old.views(), new.views(), strict=True):
        for backend in shared(old, new):
            before, after = _cells(one, backend), _cells(other, backend)
            found += [
                SameCell(
                    new.scope.workload, backend, one.view, size, before.get(size), after.get(size)
                )
                for size in sorted({*before, *after})
            ]
    return found


def _cells(view: ViewComparison, backend: Backend) -> dict[int, Cell]:
    if backend in view.unavailable:
        return {}
    return {c.chunk_size: c for c in view.cells if c.backend == backend}


def cell_changes(old: ComparisonSet, new: ComparisonSet, at_least: float) -> list[CellChange]:
    """What became of every cell, by workload, in the order of :func:`pairs`.

    Args:
        old: the comparison before.
        new: the comparison after.
        at_least: the smallest change of items/s that counts, as a share: 0.05 is 5 %.
    """
    found = [judged for one in common(old, new) for judged in _all_judged(one.before, one.after)]
    levels = iter(holm([how.p for _, how in found if isinstance(how, Contrast)], LEVEL))
    return [
        _worded(pair, how, next(levels), at_least)
        if isinstance(how, Contrast)
        else CellChange(pair, how)
        for pair, how in found
    ]


def _all_judged(old: Comparison, new: Comparison) -> list[tuple[SameCell, Word | Contrast]]:
    comparable = not obstacles(old, new)
    return [(pair, _judged(pair, old, new, comparable)) for pair in pairs(old, new)]


def _judged(pair: SameCell, old: Comparison, new: Comparison, comparable: bool) -> Word | Contrast:
    before, after = pair.before, pair.after
    if before is None or after is None:
        return "new" if before is None else "gone"
    if not (works(before) and works(after)):
        if works(before) or works(after):
            return "failed now" if works(before) else "works now"
        return "fails in both"
    if not comparable:
        return "not comparable"
    seconds = _seconds(old, before), _seconds(new, after)
    if seconds[0] and seconds[0] == seconds[1]:
        return "same passes"
    return contrast(*seconds) or "too few passes"


def works(cell: Cell) -> bool:
    """Whether every planned timed pass succeeded."""
    return cell.items_per_s is not None and cell.success_rate == 1


def _seconds(of: Comparison, cell: Cell) -> list[float]:
    """Seconds of the passes a cell's figures come from."""
    view = of.view(cell.view)
    return [
        one.seconds
        for one in view.passes.get(cell.backend, [])
        if one.chunk_size == cell.chunk_size
        and one.phase == cell.phase
        and one.status == "ok"
        and one.seconds is not None
    ]


def _worded(pair: SameCell, found: Contrast, level: float, at_least: float) -> CellChange:
    change = found.ratio - 1
    low, high = found.bounds(level)
    word: Word
    if found.p > level:
        word = "within the noise"
    elif abs(change) < at_least:
        word = "too small to count"
    else:
        word = "faster" if change > 0 else "slower"
    return CellChange(pair, word, change, low - 1, high - 1)


def score_changes(old: Comparison, new: Comparison) -> list[ScoreChange]:
    """Gated cells of a workload with another verdict now, or a difference that grew tenfold."""
    return [
        ScoreChange(before, after, before.gate, after.gate)
        for pair in pairs(old, new)
        if (before := pair.before) and (after := pair.after)
        if before.gate and after.gate and _noteworthy(before.gate, after.gate)
    ]


def _noteworthy(was: GateResult, now: GateResult) -> bool:
    if was.verdict != now.verdict:
        return True
    old, new = was.max_abs_diff, now.max_abs_diff
    return old is not None and new is not None and new > GROWN * old


def ranking_changes(old: Comparison, new: Comparison) -> list[RankingChange]:
    """Gated cells of a workload with a worse order now.

    That is: more flipped pairs, a lower tau-b or fewer right items at the top.
    """
    return [
        RankingChange(after, before.ranking, after.ranking)
        for pair in pairs(old, new)
        if (before := pair.before) and (after := pair.after)
        if before.ranking and after.ranking and _is_worse(before.ranking, after.ranking)
    ]


def _is_worse(was: Ranking, now: Ranking) -> bool:
    figures = ((-(r.flipped_pairs or 0), r.tau, r.top_1, r.top_10) for r in (was, now))
    return any(
        old is not None and new is not None and new < old for old, new in zip(*figures, strict=True)
    )
