"""Guardrail, selection and winner of one view. The names of backends never decide."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from stages.compare.intervals import ratio_interval
from stages.compare.sample_size import passes_to_decide
from stages.contract import Backend, Selection
from stages.documents.comparison import (
    SURE,
    VERY_SURE,
    Cell,
    Confidence,
    Flag,
    Interval,
    Outcome,
    Winner,
)

type Array = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Samples:
    """An eligible cell and the seconds of the passes its figures come from."""

    cell: Cell
    seconds: Array


def inside_guardrail(p95_s: Sequence[float], guardrail: float) -> list[bool]:
    """Which p95 are at most ``guardrail`` times the smallest."""
    if not p95_s:
        return []
    limit = guardrail * min(p95_s)
    return [value <= limit for value in p95_s]


def choose(cells: Sequence[Cell], guardrail: float) -> Cell | None:
    """The eligible cell with the most items/s inside the guardrail.

    An exact tie goes to the smaller chunk size. Equal chunk sizes give ``None``.
    """
    eligible = [c for c in cells if c.eligible]
    keep = inside_guardrail([_known(c.p95_s) for c in eligible], guardrail)
    inside = [c for c, kept in zip(eligible, keep, strict=True) if kept]
    if not inside:
        return None
    ranked = sorted(inside, key=_rank)
    if len(ranked) > 1 and _rank(ranked[0]) == _rank(ranked[1]):
        return None
    return ranked[0]


def _rank(cell: Cell) -> tuple[float, int]:
    return (-_known(cell.items_per_s), cell.chunk_size)


def _known(value: float | None) -> float:
    assert value is not None  # noqa: S101  an eligible cell has figures
    return value


def mark_guardrail(cells: Sequence[Cell], guardrail: float) -> list[Cell]:
    """The same cells with ``inside_guardrail`` set, judged over both backends of the view."""
    eligible = [c for c in cells if c.eligible]
    keep = inside_guardrail([_known(c.p95_s) for c in eligible], guardrail)
    inside = {id(c) for c, kept in zip(eligible, keep, strict=True) if kept}
    return [c.model_copy(update={"inside_guardrail": id(c) in inside}) for c in cells]


def selected(
    cells: Sequence[Cell], guardrail: float, both: Sequence[Backend]
) -> dict[Backend, Cell | None]:
    """The best cell of each backend, judged among its own cells."""
    return {b: choose([c for c in cells if c.backend == b], guardrail) for b in both}


def passed_over(cells: Sequence[Cell], both: Sequence[Backend]) -> dict[Backend, int]:
    """The chunk size of each backend's fastest measured cell, where that cell is ineligible."""
    found = {}
    for backend in both:
        measured = [c for c in cells if c.backend == backend and c.items_per_s is not None]
        fastest = min(measured, key=_rank, default=None)
        if fastest is not None and not fastest.eligible:
            found[backend] = fastest.chunk_size
    return found


def resampled_shares(
    samples: Sequence[Samples], leader: Cell, selection: Selection, both: Sequence[Backend]
) -> tuple[float, float]:
    """How often the leader still leads when the passes of all cells are resampled.

    The passes of every cell are drawn with replacement ``selection.resamples`` times. Each time
    the winner is chosen again, guardrail included.

    Returns:
        Share of resamples led by the leader's backend, and by the leading cell itself.
    """
    # Figures are compared per item, so the item count cancels out of items/s.
    draws = [_resample(s, selection, both.index(s.cell.backend)) for s in samples]
    mean = np.stack([d.mean(axis=1) for d in draws])
    p95 = np.stack([np.quantile(d, 0.95, axis=1) for d in draws])
    allowed = p95 <= selection.guardrail * p95.min(axis=0)
    leads = np.where(allowed, mean, np.inf).argmin(axis=0)
    backends = np.array([s.cell.backend == leader.backend for s in samples])
    cells = np.array([s.cell == leader for s in samples])
    return float(backends[leads].mean()), float(cells[leads].mean())


def _resample(samples: Samples, selection: Selection, place: int) -> Array:
    cell = samples.cell
    seed = [selection.seed, place, len(cell.view), cell.chunk_size]
    random = np.random.Generator(np.random.PCG64(seed))
    count = samples.seconds.size
    drawn = samples.seconds[random.integers(0, count, (selection.resamples, count))]
    return np.asarray(drawn, dtype=np.float64)


def decide(
    samples: Sequence[Samples],
    selection: Selection,
    both: Sequence[Backend],
    standing_flags: Callable[[list[Cell]], list[Flag]],
) -> Winner:
    """The winner of one view.

    Args:
        samples: every eligible cell of the view with its passes.
        selection: guardrail and resampling.
        both: the candidate and the reference.
        standing_flags: what lowers the confidence in a decision between these cells.
    """
    cells = [s.cell for s in samples]
    leader = choose(cells, selection.guardrail)
    if leader is None:
        return without_winner("tie" if cells else "none")
    rival = _rival(cells, leader, selection.guardrail)
    same_backend, same_cell = resampled_shares(samples, leader, selection, both)
    flags = standing_flags([leader, *([rival] if rival else [])])
    if rival is None:
        flags = [Flag(code="no_rival"), *flags]
    tie = same_backend < SURE
    outcome: Outcome = "tie" if tie else leader.backend
    ratio = _known(leader.items_per_s) / _known(rival.items_per_s) if rival else None
    if ratio is not None and ratio < 1:
        # The guardrail excluded a rival with more items/s, so their ratio is meaningless.
        ratio = None
    interval = _ratio_interval(samples, leader, rival) if ratio is not None else None
    if interval is not None and interval.low <= 1 and not tie:
        flags = [Flag(code="lead_includes_one", low=interval.low, high=interval.high), *flags]
    single = [c for c in (leader, rival) if c is not None and c.good_passes < 2 and not tie]
    flags = [
        *(Flag(code="single_pass", backend=c.backend, chunk_size=c.chunk_size) for c in single),
        *flags,
    ]
    # Where the guardrail excluded the rival, more passes would not decide between the means.
    needed = passes_to_decide(leader, rival) if tie and rival and ratio is not None else None
    return Winner(
        outcome=outcome,
        leader=leader.backend,
        chunk_size=leader.chunk_size,
        items_per_s=leader.items_per_s,
        other=rival.backend if rival else None,
        other_chunk_size=rival.chunk_size if rival else None,
        other_items_per_s=rival.items_per_s if rival else None,
        ratio=ratio,
        ratio_interval=interval,
        same_backend_share=same_backend,
        same_cell_share=same_cell,
        passes_to_decide=needed,
        confidence=_confidence(same_backend, flags),
        flags=flags,
    )


def _ratio_interval(
    samples: Sequence[Samples], leader: Cell, rival: Cell | None
) -> Interval | None:
    if rival is None:
        return None
    seconds = {sample.cell.key: sample.seconds for sample in samples}
    return ratio_interval(seconds[rival.key], seconds[leader.key])


def _rival(cells: Sequence[Cell], leader: Cell, guardrail: float) -> Cell | None:
    """The other backend's best cell: inside the view's guardrail if it has one there."""
    theirs = [c for c in mark_guardrail(cells, guardrail) if c.backend != leader.backend]
    inside = [c for c in theirs if c.inside_guardrail]
    return choose(inside or theirs, guardrail)


def _confidence(share: float, flags: list[Flag]) -> Confidence:
    if share < SURE:
        return "none"
    if flags:
        return "low"
    return "high" if share >= VERY_SURE else "medium"


def without_winner(outcome: Outcome) -> Winner:
    """No backend leads: ``outcome`` is ``tie``, ``none`` or ``deferred``."""
    return Winner(
        outcome=outcome,
        leader=None,
        chunk_size=None,
        items_per_s=None,
        other=None,
        other_chunk_size=None,
        other_items_per_s=None,
        ratio=None,
        ratio_interval=None,
        same_backend_share=None,
        same_cell_share=None,
        passes_to_decide=None,
        confidence="none",
        flags=[],
    )
