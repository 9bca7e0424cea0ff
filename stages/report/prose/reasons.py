"""Why a cell may not be selected, and why its figures are called unstable."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from stages.contract import Backend
from stages.documents.comparison import (
    Cell,
    ControlName,
    FailedAlone,
    Isolation,
    Reason,
    Unsteady,
    ViewComparison,
)
from stages.report import format as f
from stages.report.prose import ranking, starts

PLAIN: Mapping[str, str] = {
    "no_figures": "no figures",
    "not_finite": "figures are not finite",
    "gate_failed": "the scores fail the correctness gate",
    "not_compared": "no pass could be compared with the reference",
    "not_probed": "isolation between items could not be probed",
    "lengths_not_probed": "isolation from items of other lengths could not be probed",
    "ranking_unknown": f"the ranking cannot be judged: {ranking.UNTOLD}",
}
_MIXED = "the server scored items in more than one way, so there is no one figure"
_COUNTED = ("failed_passes", "gate_inconclusive", "mixed_modes", "ranking_failed")
_FLAT = "the gate is inconclusive: the scores are so flat that it would also pass"


def reason(of: Reason) -> str:
    """One reason with its figures."""
    match of.code:
        case "unavailable":
            return f"unavailable: {of.detail}"
        case "failed_passes":
            return f"only {of.good} of {of.planned} timed passes succeeded"
        case "gate_inconclusive":
            return f"{_FLAT} {controls(of.controls)}"
        case "mixed_modes":
            return f"{_MIXED}: {_by_mode(of)}"
        case "leaks":
            return _leak(of.items, of.change, of.limit)
        case "starts_differ":
            return starts.otherwise(of)
        case "ranking_failed":
            return ranking.failed(of)
        case "not_probed" if of.alone is not None:
            return f"{PLAIN['not_probed']}: {failed_alone(of.alone)}"
        case code:
            return PLAIN[code]


def _by_mode(of: Reason) -> str:
    """``9 timed passes score_from_cache, 3 in several ways within the pass``."""
    named = {"mixed": "in several ways within the pass"}
    return f.join(
        [
            f"{f.count(number, 'timed pass', 'timed passes')} {named.get(mode, mode)}"
            for mode, number in of.modes.items()
        ]
    )


def failed_alone(of: FailedAlone) -> str:
    """Which request of one item failed; every other answer is compared with such a one."""
    why = f"{of.status}: {of.detail}" if of.detail else of.status
    return f"the request with item {of.item} alone failed ({why})"


def leak(found: Isolation) -> str:
    """Which items' scores depend on their neighbours, and how far."""
    return _leak(found.leaking_targets, found.largest_change, found.limit)


def _leak(items: Sequence[int], change: float | None, limit: float | None) -> str:
    return (
        f"scores depend on neighbouring items: those of {f.items(items)} moved by up to"
        f" {f.difference(change)} (limit {f.difference(limit)})"
    )


def controls(names: Sequence[ControlName]) -> str:
    """Wrong answers by their names."""
    return f.join([f.CONTROL_NAMES[name] for name in names])


def reasons(cell: Cell, otherwise: str = "") -> str:
    """Every reason of a cell; ``otherwise`` where it has none."""
    return "; ".join(map(reason, cell.reasons)) or otherwise


def none_eligible(backend: Backend, cells: Sequence[Cell]) -> str:
    """Why none of a backend's ``cells`` is eligible: each kind of reason, the most frequent first.

    The first reason of a cell is the one that decided.
    """
    kinds: dict[str, list[Reason]] = {}
    mine = [cell for cell in cells if cell.backend == backend]
    for first in (cell.reasons[0] for cell in mine if cell.reasons):
        kinds.setdefault(_kind(first), []).append(first)
    if not kinds:
        return "none was measured"
    ranked = sorted(kinds.values(), key=lambda some: -len(some))
    return " and ".join(
        f"{_ranged(some)} at {len(some)} of {len(mine)} chunk sizes" for some in ranked
    )


def _kind(of: Reason) -> str:
    """The key under which reasons that differ in their figures alone are counted."""
    return of.code if of.code in _COUNTED else reason(of)


def _ranged(some: Sequence[Reason]) -> str:
    """Reasons of one kind, with the range of their figures."""
    if len({reason(one) for one in some}) == 1:
        return reason(some[0])
    if some[0].code == "gate_inconclusive":
        return f"{_FLAT} wrong answers"
    if some[0].code == "mixed_modes":
        return _MIXED
    if some[0].code == "ranking_failed":
        return ranking.OTHER_ORDER
    passes = [(one.good or 0, one.planned or 0) for one in some]
    (fewest, of), *_, (most, planned) = sorted(passes, key=lambda one: one[0] / one[1])
    between = f"{fewest}{'' if of == planned else f' of {of}'} to {most} of {planned}"
    return f"only {between} timed passes succeeded"


def instability(found: Sequence[Unsteady]) -> str:
    """Every sign that figures are unstable."""
    return ", ".join(
        f"standard deviation {one.share:.0%} of the mean"
        if one.code == "deviation"
        else f"{one.code} pass {one.share:.0%} from the mean"
        for one in found
    )


def passed_over(view: ViewComparison) -> Iterator[str]:
    """A sentence for each backend whose fastest cell is not eligible."""
    for backend, chunk_size in view.passed_over.items():
        chosen = view.selected[backend]
        instead = (
            f"chunk size {chosen} was taken instead"
            if chosen
            else "no other chunk size is eligible"
        )
        yield (
            f"{view.pair.title(backend)}: its fastest chunk size, {chunk_size}, is not eligible"
            f" ({reasons(view.cell(backend, chunk_size))}); {instead}."
        )
