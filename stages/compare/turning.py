"""What would change the leading backend of a view: another guardrail, or eligible cells."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

from stages.compare.selection import choose
from stages.documents.comparison import Alternative, Cell, Turning


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


@dataclass(frozen=True, slots=True)
class _Step:
    """The leading cell for guardrails from ``begin`` to below ``end`` (``None``: no upper end)."""

    begin: float
    end: float | None
    cell: Cell


def _other_guardrail(
    eligible: Sequence[Cell], leader: Cell | None, guardrail: float
) -> Alternative | None:
    if leader is None:
        return None
    turns = [step for step in _steps(eligible) if step.cell.backend != leader.backend]
    if not turns:
        return None
    nearest = min(turns, key=lambda step: abs(_ends(step, guardrail)[0] - guardrail))
    return _alternative(nearest.cell, *_ends(nearest, guardrail))


def _ends(step: _Step, guardrail: float) -> tuple[float, float | None]:
    """The end of ``step`` nearest to ``guardrail``, which lies outside it, and the other one."""
    if step.begin > guardrail:
        return step.begin, step.end
    assert step.end is not None  # noqa: S101  it ends below the guardrail
    return step.end, step.begin if step.begin > 1 else None


def _steps(eligible: Sequence[Cell]) -> list[_Step]:
    """The leading cell at every guardrail, by rising guardrail.

    The choice can change only where the p95 of another cell comes inside. Adjacent ranges with
    the same leading cell are merged.
    """
    known = sorted((c for c in eligible if c.p95_s), key=lambda c: c.p95_s or 0.0)
    if not known:
        return []
    smallest = known[0].p95_s or 1.0
    begins = sorted({_reaching(c.p95_s or 0.0, smallest) for c in known})
    steps: list[_Step] = []
    open_ended: list[float | None] = [*begins[1:], None]
    for begin, end in zip(begins, open_ended, strict=True):
        found = choose(known, begin)
        if found is None:
            continue
        last = steps[-1] if steps else None
        if last and last.end == begin and last.cell == found:
            steps[-1] = replace(last, end=end)
        else:
            steps.append(_Step(begin, end, found))
    return steps


def _reaching(p95_s: float, smallest: float) -> float:
    """The smallest guardrail, to the last bit, that has ``p95_s`` inside."""
    found = p95_s / smallest
    while found * smallest < p95_s:
        found = math.nextafter(found, math.inf)
    while (below := math.nextafter(found, 0.0)) * smallest >= p95_s:
        found = below
    return max(found, 1.0)


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
    return _alternative(found)


def _alternative(
    cell: Cell, guardrail: float | None = None, end: float | None = None
) -> Alternative:
    assert cell.items_per_s is not None  # noqa: S101  only measured cells are chosen
    return Alternative(
        backend=cell.backend,
        chunk_size=cell.chunk_size,
        items_per_s=cell.items_per_s,
        guardrail=guardrail,
        guardrail_end=end,
    )
