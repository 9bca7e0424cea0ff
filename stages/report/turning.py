"""What would change the conclusion, view by view. A comparison in, plain text out.

Rules, in each view, best-native first:

* Deferred: the measurement of the missing backend.
* A tie: the passes that would settle it, where that is known.
* Speed: how many times as fast as it is the backend behind draws level.
* Guardrail: the nearest one with which another backend leads.
* Eligibility: the cell that would lead if its scores were right and its passes complete.
* Cost: the ratio of hourly prices at which both score as many items per USD.
"""

from __future__ import annotations

from collections.abc import Iterator

from stages.documents.comparison import Alternative, Comparison, Pair, ViewComparison
from stages.report import format as f
from stages.report.prose.reasons import reasons


def turning_points(comparison: Comparison) -> list[str]:
    """What would change the conclusion; at least one sentence."""
    if all(view.unavailable for view in comparison.views()):
        names = f.join(comparison.pair.titles({key.backend for key in comparison.unavailable}))
        return [f"Everything: without {names} there is nothing to compare with."]
    said = [
        f"In the {f.VIEW_NAMES[view.view]} view, {clause}."
        for view in (comparison.best_native, comparison.portable)
        for clause in _of(view, comparison.selection.guardrail)
    ]
    return said or ["Nothing that was measured here: no cell leads, and none would."]


def _of(view: ViewComparison, guardrail: float) -> Iterator[str]:
    if view.unavailable:
        names = f.join(view.pair.titles(view.unavailable))
        yield f"everything: without {names} there is nothing to compare with"
        return
    yield from _passes(view)
    yield from _speed(view)
    yield from _guardrail(view, guardrail)
    yield from _eligibility(view)
    yield from _cost(view)


def _passes(view: ViewComparison) -> Iterator[str]:
    needed = view.winner.passes_to_decide
    if needed is not None:
        yield (
            f"about {f.about(needed)} passes per cell, at the noise of these, would tell the two"
            " leading cells apart"
        )


def _speed(view: ViewComparison) -> Iterator[str]:
    winner = view.winner
    if winner.outcome not in view.pair.both or winner.ratio is None or winner.other is None:
        return
    assert winner.leader is not None  # noqa: S101  a ratio has two sides
    behind = f.cell(view.pair.title(winner.other), winner.other_chunk_size)
    ahead = f"{f.number(winner.items_per_s)} items/s of {view.pair.title(winner.leader)}"
    if winner.ratio == 1:
        yield f"{behind} is level with the {ahead}: any more would let it lead"
        return
    yield (
        f"{behind} draws level with the {ahead} at"
        f" {f.bounded(winner.ratio, winner.ratio_interval, 'x')} its own"
        f" {f.number(winner.other_items_per_s)}"
    )


def _guardrail(view: ViewComparison, guardrail: float) -> Iterator[str]:
    found = view.turning.guardrail
    if found is None or found.guardrail is None:
        if view.winner.leader is not None and view.winner.other is not None:
            yield f"no other guardrail than {f.plain(guardrail)} lets the other backend lead"
        return
    reach = _reach(found.guardrail, found.guardrail_end, guardrail)
    who = _named(found, view.pair)
    yield f"a guardrail {reach} (now {f.plain(guardrail)}) would let {who} lead"


def _reach(near: float, far: float | None, guardrail: float) -> str:
    """The range of guardrails in words, rounded into the range."""
    if near > guardrail:
        low, high = f.between(near, far)
        return f"of {low} or more" if high is None else f"from {low} to below {high}"
    low, high = f.between(1.0 if far is None else far, near)
    return f"below {high}" if far is None else f"from {low} to below {high}"


def _eligibility(view: ViewComparison) -> Iterator[str]:
    found = view.turning.eligibility
    if found is not None:
        cell = view.cell(found.backend, found.chunk_size)
        why = reasons(cell, "a cell that set the guardrail is not eligible")
        yield f"{_named(found, view.pair)} would lead if every cell were eligible; it is not: {why}"


def _cost(view: ViewComparison) -> Iterator[str]:
    winner = view.winner
    if winner.outcome not in view.pair.both or winner.ratio is None or winner.other is None:
        return
    assert winner.leader is not None  # noqa: S101  a ratio has two sides
    yield (
        f"{view.pair.title(winner.other)} scores as many items per USD where an hour of"
        f" {view.pair.title(winner.leader)}'s host costs {f.factor(winner.ratio)} an hour of its"
        " own"
    )


def _named(found: Alternative, pair: Pair) -> str:
    return (
        f"{f.cell(pair.title(found.backend), found.chunk_size)}"
        f" ({f.number(found.items_per_s)} items/s)"
    )
