"""What follows from the findings, by stated rules. A comparison in, plain text out.

Rules:

* A deployment decision can be drawn only from a trained model that neither backend ran on a
  CPU. Elsewhere the recommendation says so first, then which backend leads there.
* The best-native winner decides, for that is what would be deployed; the portable winner
  explains: where both views agree the backend itself is faster, where they do not the
  native settings make the difference.
* A tie or the absence of a winner is stated; with a tie, items per USD decides
  where a cost is given for both backends, else nothing is preferred.
* The confidence is that of the best-native winner, and none where no decision can be drawn.
* What would change it: see ``turning``. The candidate's priorities: see ``priorities``.
* A backend without one good pass in a view makes the whole result partial.
"""

from __future__ import annotations

from dataclasses import dataclass

from stages.contract import Backend
from stages.documents.cell import MatrixKey
from stages.documents.comparison import Comparison, Pair, ViewComparison, Winner
from stages.report import format as f
from stages.report import modes
from stages.report.devices import measured, ran_on, undeployed
from stages.report.priorities import priorities
from stages.report.prose.flags import flag
from stages.report.prose.server import is_unavailable_where
from stages.report.prose.winner import leads, result
from stages.report.turning import turning_points


@dataclass(frozen=True, slots=True)
class Conclusion:
    """What follows.

    Attributes:
        partial: what is missing; empty when the result is complete.
        caveat: what makes a deployment decision impossible, or ``None``.
        recommendation: sentences.
        confidence: sentences, best-native view first.
        turning: what would change the conclusion.
        priorities: for optimising the candidate, the most urgent first.
    """

    partial: list[str]
    caveat: str | None
    recommendation: list[str]
    confidence: list[str]
    turning: list[str]
    priorities: list[str]


def conclude(comparison: Comparison) -> Conclusion:
    """Everything the report concludes."""
    return Conclusion(
        partial=partial(comparison),
        caveat=caveat(comparison),
        recommendation=recommendation(comparison),
        confidence=confidence(comparison),
        turning=turning_points(comparison),
        priorities=list(priorities(comparison)),
    )


def partial(comparison: Comparison) -> list[str]:
    """What is unavailable and how to complete the report; which backend has no good pass."""
    by_reason: dict[tuple[Backend, str], list[MatrixKey]] = {}
    for key, reason in comparison.unavailable.items():
        by_reason.setdefault((key.backend, reason), []).append(key)
    missing = [
        f"{is_unavailable_where(keys, comparison.pair)}: {reason.rstrip('.')}. Where it can run,"
        f" two commands complete the report: make doctor CLEAR=1 BACKEND={backend}, then make repro"
        " (with two machines: docs/two-machines.md)"
        for (backend, reason), keys in by_reason.items()
    ]
    return missing + [
        f"{f.backend_view(backend, view.view, comparison.pair)}: no timed pass succeeded."
        for view in comparison.views()
        for backend in comparison.pair.both
        if backend not in view.unavailable
        and not any(c.mean_s is not None for c in view.cells if c.backend == backend)
    ]


def caveat(comparison: Comparison) -> str | None:
    """Why no deployment decision can be drawn from what was measured, if none can."""
    sources = measured(comparison)
    if not comparison.scope.model.trained:
        return f"an untrained small model {ran_on(sources, comparison.pair)}".rstrip()
    because = undeployed(sources, comparison.pair)
    return f"a trained model {ran_on(sources, comparison.pair)}, {because}" if because else None


def recommendation(comparison: Comparison) -> list[str]:
    """What to deploy, and why."""
    native, portable = comparison.best_native, comparison.portable
    because = caveat(comparison)
    if because:
        decided = f"No deployment decision can be drawn from this run: it measures {because}."
    else:
        decided = decision(native)
    return [
        decided,
        _standing(native),
        *_explanation(native, portable),
        _standing(portable),
    ]


def decision(view: ViewComparison) -> str:
    """What to deploy by the result of the best-native view."""
    winner = view.winner
    if winner.outcome == "none" or winner.outcome == "deferred":
        waiting = " until both backends are measured" if winner.outcome == "deferred" else ""
        return f"No recommendation can be given{waiting}."
    if winner.outcome == "tie":
        return _decision_by_cost(view)
    backend: Backend = winner.outcome
    cell = f.cell(view.pair.title(backend), winner.chunk_size)
    verb = "Deploy" if backend == view.pair.candidate.key else "Stay with"
    if winner.confidence == "low":
        return (
            f"{verb} {cell}, provisionally: the confidence is low, so"
            " settle what lowers it and measure again before relying on it."
        )
    return f"{verb} {cell}."


def _decision_by_cost(view: ViewComparison) -> str:
    chosen = [cell for b in view.pair.both if (cell := view.selected_cell(b)) is not None]
    priced = sorted(
        ((cell.items_per_usd, cell) for cell in chosen if cell.items_per_usd is not None),
        key=lambda one: -one[0],
    )
    if len(priced) < len(view.pair.both) or priced[0][0] == priced[1][0]:
        return "Speed gives no reason to prefer either backend; choose on cost or operations."
    (more, cheaper), (less, _) = priced
    return (
        f"Speed gives no reason to prefer either backend; cost does:"
        f" {view.pair.title(cheaper.backend)} scores {f.number(more)} items per USD,"
        f" {f.factor(more / less)} the other's {f.number(less)}."
    )


def _standing(view: ViewComparison) -> str:
    """The result of ``view``, and how its items were scored."""
    name = f.VIEW_NAMES[view.view].capitalize()
    return f"{name} view (items scored: {modes.of_view(view)}): {result(view)}"


def _explanation(native: ViewComparison, portable: ViewComparison) -> list[str]:
    if any(view.winner.outcome not in view.pair.both for view in (native, portable)):
        return []
    if native.winner.outcome == portable.winner.outcome:
        return ["The portable view agrees, so the lead does not hang on native settings."]
    return ["The portable view disagrees, so native settings make the difference."]


def confidence(comparison: Comparison) -> list[str]:
    """How sure the result is, best-native view first."""
    said = ["For a deployment: none."] if caveat(comparison) else []
    return said + [
        f"{f.VIEW_NAMES[view.view].capitalize()} view: {sureness(view.winner, view.pair)}."
        for view in (comparison.best_native, comparison.portable)
    ]


def sureness(winner: Winner, pair: Pair) -> str:
    """A winner's confidence, the resamples behind it and what lowers it."""
    behind = []
    if often := leads(winner, pair):
        behind.append(often)
    if winner.flags:
        behind.append(f"lowered by: {'; '.join(flag(one, pair) for one in winner.flags)}")
    return f"{winner.confidence} ({'; '.join(behind)})" if behind else winner.confidence
