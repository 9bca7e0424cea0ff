"""What would change the leading backend of a view: another guardrail, or eligible cells. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from stages.compare.selection import choose
from stages.comparison import Alternative, Cell, Turning


def turning(cells: Sequence[Cell], guardrail: float) -> Turning:
    """What would put another backend in the lead.

    Args:
        cells: every cell of the view, eligible or not.
        guardrail: in force, times the smallest eligible p95.
    """
    leader = choose(cells, guardrail)
    return Turning(
        guardrail=_other_guardrail([c for c in cells if c.eligible], leader, guardrail),
        eligibility=_if_all_were_eligible(cells, leader, guardrail),
    )


def _other_guardrail(
    eligible: Sequence[Cell], leader: Cell | None, guardrail: float
) -> Alternative | None:
    if leader is None:
        return None
    turns = [
        (at, found)
        for at, found in _by_guardrail(eligible, guardrail)
        if found is not None and found.backend != leader.backend
    ]
    if not turns:
        return None
    at, found = min(turns, key=lambda turn: abs(turn[0] - guardrail))
    return _alternative(found, at)


def _by_guardrail(
    eligible: Sequence[Cell], guardrail: float
) -> Iterator[tuple[float, Cell | None]]:
    """The choice on each step of the guardrail, and the step's end nearest to ``guardrail``.

    A step begins where one more cell comes inside. A wider guardrail must reach a step's
    beginning; a narrower one must fall below the beginning of the step after it.
    """
    known = sorted((c for c in eligible if c.p95_s), key=lambda c: c.p95_s or 0.0)
    if not known:
        return
    smallest = known[0].p95_s or 1.0
    begins = [(c.p95_s or 0.0) / smallest for c in known]
    for i, begin in enumerate(begins):
        after = begins[i + 1] if i + 1 < len(begins) else None
        if after == begin:
            continue
        inside = [c.model_copy(update={"p95_s": smallest}) for c in known[: i + 1]]
        end = begin if begin > guardrail else after
        if end is not None:
            yield end, choose(inside, 1.0)


def _if_all_were_eligible(
    cells: Sequence[Cell], leader: Cell | None, guardrail: float
) -> Alternative | None:
    measured = [
        c.model_copy(update={"eligible": True})
        for c in cells
        if c.items_per_s is not None and c.p95_s is not None
    ]
    found = choose(measured, guardrail)
    if found is None or (leader is not None and found.backend == leader.backend):
        return None
    return _alternative(found, None)


def _alternative(cell: Cell, guardrail: float | None) -> Alternative:
    assert cell.items_per_s is not None  # noqa: S101  only measured cells are chosen
    return Alternative(
        backend=cell.backend,
        chunk_size=cell.chunk_size,
        items_per_s=cell.items_per_s,
        guardrail=guardrail,
    )
