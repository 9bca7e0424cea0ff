"""The result in sentences: of one view, and of the whole question. Pure.

No sentence without its number, and no number that the comparison does not hold.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from stages.common.numbers import about, factor, number, resamples
from stages.contract import BACKEND_NAMES, BACKENDS, Backend, View
from stages.documents.comparison import Cell, ViewComparison, Winner

_VIEWS: dict[View, str] = {"portable": "portable", "best_native": "best-native"}


def winner_sentence(
    leader: Cell,
    rival: Cell | None,
    ratio: float | None,
    share: float,
    tie: bool,
    needed: int | None,
    everyone: Sequence[Cell],
) -> str:
    """The result of a view that has a leader.

    Args:
        leader: the leading cell.
        rival: the other backend's, if it has an eligible one.
        ratio: of their items/s; ``None`` where the guardrail decided.
        share: of resamples in which the leader's backend leads.
        tie: whether that is too few.
        needed: passes that would settle it, if that can be told.
        everyone: every cell of the view, eligible or not.
    """
    name = _at(leader)
    speed = f"{number(leader.items_per_s)} items/s"
    if rival is None:
        return f"{name} wins with {speed}: {_why_none(leader.backend, everyone)}."
    against = f"{_at(rival)} ({number(rival.items_per_s)} items/s)"
    if ratio is None:
        verdict = f"but in only {resamples(share)} of resamples" if tie else "and wins"
        opening = "Not decisive: " if tie else ""
        return (
            f"{opening}{name} ({speed}) leads, since {against} is outside the guardrail, {verdict}."
        )
    if tie:
        settle = f"; about {about(needed)} passes per cell would settle it" if needed else ""
        return (
            f"Not decisive: {name} ({speed}) leads {against} by {_margin(ratio)},"
            f" but in only {resamples(share)} of resamples{settle}."
        )
    if ratio == 1:
        return f"{name} wins by the smaller chunk size: its {speed} are level with {against}."
    return f"{name} wins with {speed}, {factor(ratio)} {against}."


def no_winner_sentence(everyone: Sequence[Cell]) -> str:
    """The result of a view in which no cell leads."""
    eligible = [c for c in everyone if c.eligible]
    level = _fastest([c for c in eligible if c.inside_guardrail] or eligible)
    if level is not None:
        return (
            f"A tie: both backends score exactly {number(level.items_per_s)} items/s"
            f" at chunk {level.chunk_size}."
        )
    reasons = "; ".join(
        f"{BACKEND_NAMES[b]}: {_reason(b, everyone)}"
        for b in BACKENDS
        if any(c.backend == b for c in everyone)
    )
    return f"No winner: none of the {len(everyone)} cells is eligible ({reasons})."


def deferred_sentence(unavailable: Mapping[Backend, str], everyone: Sequence[Cell]) -> str:
    """The result of a view while a backend is unavailable: how far the other one came."""
    missing = _missing(unavailable)
    fastest = _fastest(everyone)
    if fastest is None:
        return f"Winner deferred: {missing}."
    return (
        f"Winner deferred: {missing}; {_at(fastest)} is the fastest of what was measured,"
        f" with {number(fastest.items_per_s)} items/s."
    )


def answer(views: Sequence[ViewComparison], unavailable: Mapping[Backend, str]) -> str:
    """The answer to the question, over both views, in one sentence.

    Args:
        views: the portable view, then the best-native view.
        unavailable: backend -> why it could not run.
    """
    if unavailable:
        alone = [
            f"{number(cell.items_per_s)} items/s in the {_VIEWS[view.view]} view"
            f" (chunk {cell.chunk_size})"
            for view in views
            if (cell := _fastest(view.cells)) is not None
        ]
        others = " and ".join(BACKEND_NAMES[b] for b in BACKENDS if b not in unavailable)
        measured = f"; {others} alone reaches {' and '.join(alone)}" if others and alone else ""
        return f"No answer yet: {_missing(unavailable)}{measured}."
    first, second = (view.winner for view in views)
    if first.outcome == second.outcome and first.outcome in BACKENDS:
        name, other = _names(first)
        by = [winner.ratio for winner in (first, second)]
        if by[0] is not None and by[1] is not None and 1 not in by:
            return (
                f"{name} is faster in both views: {factor(by[0])} {other}'s items/s in the"
                f" portable view and {factor(by[1])} in the best-native view."
            )
    told = [_clause(view) for view in views]
    if told[0] == told[1]:
        return f"In both views, {told[0]}."
    clauses = [
        f"in the {_VIEWS[view.view]} view, {clause}"
        for view, clause in zip(views, told, strict=True)
    ]
    text = "; ".join(clauses)
    return f"{text[0].upper()}{text[1:]}."


def _clause(view: ViewComparison) -> str:
    winner = view.winner
    if winner.leader is None:
        return winner.sentence[0].lower() + winner.sentence[1:].removesuffix(".")
    name, other = _names(winner)
    if winner.outcome == "tie":
        by = "" if winner.ratio is None else f" by {_margin(winner.ratio)}, but"
        share = resamples(winner.same_backend_share)
        return f"not decisive ({name} leads{by} in only {share} of resamples)"
    if winner.other is None:
        why = _why_none(winner.leader, view.cells)
        return f"{name} wins with {number(winner.items_per_s)} items/s, as {why}"
    if winner.ratio is None:
        return (
            f"{name} wins with {number(winner.items_per_s)} items/s, as {other}'s"
            f" {number(winner.other_items_per_s)} items/s are outside the latency guardrail"
        )
    if winner.ratio == 1:
        return f"{name} wins by the smaller chunk size, level with {other} in items/s"
    return f"{name} is faster with {factor(winner.ratio)} {other}'s items/s"


def _margin(ratio: float) -> str:
    """By how much the leader leads; of two that are level the smaller chunk size does."""
    return "the smaller chunk size" if ratio == 1 else factor(ratio)


def _names(winner: Winner) -> tuple[str, str]:
    return (
        BACKEND_NAMES[winner.leader] if winner.leader else "",
        BACKEND_NAMES[winner.other] if winner.other else "",
    )


def _at(cell: Cell) -> str:
    return f"{BACKEND_NAMES[cell.backend]} at chunk {cell.chunk_size}"


def _fastest(cells: Sequence[Cell]) -> Cell | None:
    measured = [c for c in cells if c.items_per_s is not None]
    return max(measured, key=lambda c: (c.items_per_s or 0, -c.chunk_size), default=None)


def _missing(unavailable: Mapping[Backend, str]) -> str:
    return " and ".join(
        f"{BACKEND_NAMES[b]} is unavailable ({unavailable[b]})"
        for b in BACKENDS
        if b in unavailable
    )


def _why_none(leader: Backend, everyone: Sequence[Cell]) -> str:
    """Why the backend that does not lead has no eligible cell."""
    (other,) = (b for b in BACKENDS if b != leader)
    return f"{BACKEND_NAMES[other]} has no eligible cell ({_reason(other, everyone)})"


def _reason(backend: Backend, everyone: Sequence[Cell]) -> str:
    """Why a backend's cells are not eligible: each kind of first reason, and how frequent it is."""
    mine = [c for c in everyone if c.backend == backend]
    # The first reason is the one that decided.
    kinds: dict[str, list[Cell]] = {}
    for cell in (c for c in mine if c.reasons):
        kinds.setdefault(_kind(cell), []).append(cell)
    if not kinds:
        return "none was measured"
    ranked = sorted(kinds.items(), key=lambda one: -len(one[1]))
    return " and ".join(
        f"{_told(kind, cells)} at {len(cells)} of {len(mine)} chunk sizes" for kind, cells in ranked
    )


_FAILED = "failed passes"
_FLAT = "the gate is inconclusive: the scores are so flat that it would also pass wrong answers"


def _kind(cell: Cell) -> str:
    """What cells have in common whose first reasons differ in their figures alone."""
    if cell.timed_good < cell.timed_planned:
        return _FAILED
    if cell.gate is not None and cell.gate.verdict == "inconclusive":
        return _FLAT
    return cell.reasons[0]


def _told(kind: str, cells: Sequence[Cell]) -> str:
    """A kind of reason with the range of its figures over ``cells``."""
    reasons = {cell.reasons[0] for cell in cells}
    if len(reasons) == 1:
        return cells[0].reasons[0]
    if kind != _FAILED:
        return kind
    fewest, *_, most = sorted(cells, key=lambda cell: cell.timed_good / cell.timed_planned)
    planned = "" if fewest.timed_planned == most.timed_planned else f" of {fewest.timed_planned}"
    return (
        f"only {fewest.timed_good}{planned} to {most.timed_good} of {most.timed_planned}"
        " timed passes succeeded"
    )
