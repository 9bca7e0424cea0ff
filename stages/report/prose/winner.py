"""The result in sentences: of one view, and of the whole question.

Every sentence has its figure, and every figure is the comparison's.
"""

from __future__ import annotations

from collections.abc import Sequence

from stages.contract import Backend
from stages.documents.comparison import Cell, Pair, ViewComparison, Winner
from stages.report import format as f
from stages.report.prose.reasons import none_eligible
from stages.report.prose.server import is_unavailable


def result(view: ViewComparison) -> str:
    """The result of one view."""
    won = view.winner
    if won.leader is None:
        return _deferred(view) if won.outcome == "deferred" else _nobody_leads(view)
    leader = f.cell(view.pair.title(won.leader), won.chunk_size)
    speed = f"{f.number(won.items_per_s)} items/s"
    if won.other is None:
        return f"{leader} wins with {speed}: {_no_rival(won.leader, view)}."
    tie, share = won.outcome == "tie", f.resamples(won.same_backend_share)
    against = (
        f"{f.cell(view.pair.title(won.other), won.other_chunk_size)}"
        f" ({f.number(won.other_items_per_s)} items/s)"
    )
    if won.ratio is None:
        verdict = f"but in only {share} of resamples" if tie else "and wins"
        opening = "Not decisive: " if tie else ""
        return (
            f"{opening}{leader} ({speed}) leads, since {against} is outside the guardrail,"
            f" {verdict}."
        )
    if tie:
        needed = won.passes_to_decide
        settle = f"; about {f.about(needed)} passes per cell would settle it" if needed else ""
        return (
            f"Not decisive: {leader} ({speed}) leads {against} by {_margin(won.ratio)},"
            f" but in only {share} of resamples{settle}."
        )
    if won.ratio == 1:
        return f"{leader} wins by the smaller chunk size: its {speed} are level with {against}."
    return f"{leader} wins with {speed}, {f.factor(won.ratio)} {against}."


def _nobody_leads(view: ViewComparison) -> str:
    eligible = [cell for cell in view.cells if cell.eligible]
    level = _fastest([cell for cell in eligible if cell.inside_guardrail] or eligible)
    if view.winner.outcome == "tie" and level is not None:
        return (
            f"A tie: both backends score exactly {f.number(level.items_per_s)} items/s"
            f" at chunk size {level.chunk_size}."
        )
    why = "; ".join(
        f"{view.pair.title(b)}: {none_eligible(b, view.cells)}"
        for b in view.pair.both
        if any(cell.backend == b for cell in view.cells)
    )
    return f"No winner: none of the {len(view.cells)} cells is eligible ({why})."


def _deferred(view: ViewComparison) -> str:
    """The fastest cell of the backend that could run."""
    fastest = _fastest(view.cells)
    if fastest is None:
        return f"Winner deferred: {_missing(view)}."
    return (
        f"Winner deferred: {_missing(view)};"
        f" {f.cell(view.pair.title(fastest.backend), fastest.chunk_size)} is the fastest of what"
        " was measured, with"
        f" {f.number(fastest.items_per_s)} items/s."
    )


def answer(views: Sequence[ViewComparison]) -> str:
    """The answer to the question, over the portable and the best-native view, in one sentence."""
    if views[0].unavailable and views[0].unavailable == views[1].unavailable:
        return _no_answer(views)
    pair = views[0].pair
    first, second = (view.winner for view in views)
    if first.outcome == second.outcome and first.outcome in pair.both:
        name, other = _names(first, pair)
        by = [winner.ratio for winner in (first, second)]
        if by[0] is not None and by[1] is not None and 1 not in by:
            return (
                f"{name} is faster in both views: {f.factor(by[0])} {other}'s items/s in the"
                f" portable view and {f.factor(by[1])} in the best-native view."
            )
    clauses = [_clause(view) for view in views]
    if clauses[0] == clauses[1]:
        return f"In both views, {clauses[0]}."
    text = "; ".join(
        f"in the {f.VIEW_NAMES[view.view]} view, {clause}"
        for view, clause in zip(views, clauses, strict=True)
    )
    return f.sentence(text)


def _no_answer(views: Sequence[ViewComparison]) -> str:
    """Where both views lack the same."""
    alone = [
        f"{f.number(cell.items_per_s)} items/s in the {f.VIEW_NAMES[view.view]} view"
        f" (chunk size {cell.chunk_size})"
        for view in views
        if (cell := _fastest(view.cells)) is not None
    ]
    others = _there(views[0])
    measured = f"; {others} alone reaches {' and '.join(alone)}" if others and alone else ""
    return f"No answer yet: {_missing(views[0])}{measured}."


def _clause(view: ViewComparison) -> str:
    winner = view.winner
    if view.unavailable:
        alone, others = _fastest(view.cells), _there(view)
        reached = (
            f", and {others} alone reaches {f.number(alone.items_per_s)} items/s" if alone else ""
        )
        return f"there is no answer yet: {_missing(view)}{reached}"
    if winner.leader is None:
        sentence = result(view)
        return sentence[0].lower() + sentence[1:].removesuffix(".")
    name, other = _names(winner, view.pair)
    if winner.outcome == "tie":
        by = "" if winner.ratio is None else f" by {_margin(winner.ratio)}, but"
        share = f.resamples(winner.same_backend_share)
        return f"not decisive ({name} leads{by} in only {share} of resamples)"
    wins = f"{name} wins with {f.number(winner.items_per_s)} items/s, as"
    if winner.other is None:
        return f"{wins} {_no_rival(winner.leader, view)}"
    if winner.ratio is None:
        return (
            f"{wins} {other}'s {f.number(winner.other_items_per_s)} items/s are outside the"
            " guardrail"
        )
    if winner.ratio == 1:
        return f"{name} wins by the smaller chunk size, level with {other} in items/s"
    return f"{name} is faster with {f.factor(winner.ratio)} {other}'s items/s"


def outcome(view: ViewComparison, tie: str = "a tie") -> str:
    """The winning backend; ``tie``, ``none`` or ``deferred`` where there is none."""
    found = view.winner.outcome
    if found not in view.pair.both:
        return tie if found == "tie" else found
    return view.pair.title(found)


def in_short(view: ViewComparison, tie: str = "a tie") -> str:
    """The winning cell, or the outcome and the leading cell; ``tie`` is the word for one."""
    winner = view.winner
    if winner.leader is None:
        return outcome(view, tie)
    cell = f.cell(view.pair.title(winner.leader), winner.chunk_size)
    return cell if winner.outcome == winner.leader else f"{outcome(view, tie)} ({cell} leads)"


def leads(winner: Winner, pair: Pair) -> str | None:
    """How often the leader leads; ``None`` without a leader."""
    if winner.same_backend_share is None or winner.leader is None:
        return None
    share = f.resamples(winner.same_backend_share)
    return f"{pair.title(winner.leader)} leads in {share} of the resamples"


def _margin(ratio: float) -> str:
    """By how much the leader leads; between equals the smaller chunk size leads."""
    return "the smaller chunk size" if ratio == 1 else f.factor(ratio)


def _names(winner: Winner, pair: Pair) -> tuple[str, str]:
    return (
        pair.title(winner.leader) if winner.leader else "",
        pair.title(winner.other) if winner.other else "",
    )


def _fastest(cells: Sequence[Cell]) -> Cell | None:
    measured = [c for c in cells if c.items_per_s is not None]
    return max(measured, key=lambda c: (c.items_per_s or 0, -c.chunk_size), default=None)


def _missing(view: ViewComparison) -> str:
    return " and ".join(
        f"{is_unavailable([b], view.pair)} ({view.unavailable[b]})"
        for b in view.pair.both
        if b in view.unavailable
    )


def _there(view: ViewComparison) -> str:
    """The backends that could run."""
    return " and ".join(view.pair.titles(set(view.pair.both) - set(view.unavailable)))


def _no_rival(leader: Backend, view: ViewComparison) -> str:
    """Why the backend that does not lead has no eligible cell."""
    other = view.pair.other(leader)
    return f"{view.pair.title(other)} has no eligible cell ({none_eligible(other, view.cells)})"
