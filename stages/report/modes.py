"""How the items of a request were scored, in the report's words. A comparison in, text out.

The modes are named as the contract names them; ``MEANS`` says what each is. A cell has the mode
that the server's log tells of its passes, else the one that its settings ask for. Where a backend
was not measured, the report says nothing of it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from stages.backends.declared import PassMode, ScoringMode
from stages.contract import Backend
from stages.documents.comparison import Cell, Comparison, ViewComparison
from stages.documents.matrix import MULTI_ITEM_MODES, Scoring
from stages.report import format as f
from stages.report.prose.oracle import other_prompt

MEANS: dict[ScoringMode, str] = {
    "separate": "n prompts, the query repeated in each",
    "cached": "n prompts, the query's keys and values from a prefix cache",
    "packed": "one sequence, items behind delimiters, a mask keeps them apart",
    "prefill_extend": "the query computed once and kept, items continue it in batches",
    "score_from_cache": "the query computed once and kept, items scored from its cache in one step",
}


def of_view(view: ViewComparison) -> str:
    """``both separate``; ``JAX packed, PyTorch separate``; ``—`` where nothing was measured."""
    found = {b: _of_cells(view, b) for b in view.pair.both if view.scoring[b] is not None}
    if len(found) == len(view.pair.both) and len(set(found.values())) == 1:
        return f"both {next(iter(found.values()))}"
    return ", ".join(f"{view.pair.title(b)} {modes}" for b, modes in found.items()) or f.ABSENT


def of_backend(view: ViewComparison, backend: Backend) -> str:
    """The mode of its selected cell, else those of all; ``—`` where nothing was measured."""
    if view.scoring[backend] is None:
        return f.ABSENT
    chosen = view.selected_cell(backend)
    return (chosen.mode if chosen else None) or _of_cells(view, backend)


def other(view: ViewComparison, cell: Cell) -> str:
    """`` (prefill_extend)`` after the figure of a cell that was not scored as its server was asked.

    Empty for any other cell.
    """
    scoring = view.scoring[cell.backend]
    used = _used_in(cell)
    return "" if scoring is None or used in (None, scoring.mode) else f" ({used})"


def _used_in(cell: Cell) -> PassMode | None:
    """The mode of a cell; ``mixed`` where there is more than one, ``None`` without a good pass."""
    return (cell.mode or "mixed") if cell.modes else None


def _by_mode(view: ViewComparison, backend: Backend) -> dict[PassMode, list[int]]:
    """The chunk sizes of each mode: that which was asked for first, the mixed cells last."""
    scoring = view.scoring[backend]
    if scoring is None:
        return {}
    found: dict[PassMode, list[int]] = {}
    for cell in view.cells:
        if cell.backend == backend and (used := _used_in(cell)) is not None:
            found.setdefault(used, []).append(cell.chunk_size)
    order = sorted(found, key=lambda mode: (mode != scoring.mode, mode == "mixed", mode))
    return {mode: sorted(found[mode]) for mode in order} or {scoring.mode: []}


def _of_cells(view: ViewComparison, backend: Backend) -> str:
    """``packed``; ``score_from_cache, but prefill_extend at chunk size 16``."""
    found = _by_mode(view, backend)
    (most, _), *rest = found.items()
    if not rest:
        return most
    at = f.join([f"{mode} at {_sizes(view, backend, sizes)}" for mode, sizes in rest])
    return f"{most}, but {at}"


def _sizes(view: ViewComparison, backend: Backend, some: list[int]) -> str:
    every = sorted(cell.chunk_size for cell in view.cells if cell.backend == backend)
    return f.chunk_sizes(some, every)


def of_both_views(comparison: Comparison) -> str:
    """``portable view: both separate; best-native view: both cached``."""
    return "; ".join(
        f"{f.VIEW_NAMES[view.view]} view: {of_view(view)}" for view in comparison.views()
    )


def remarks(comparison: Comparison) -> list[str]:
    """What a reader must know before any figure.

    Who did no multi-item scoring, what differs, whose scores are known to be wrong, and whose speed
    is not the backend's own.
    """
    prompts = ((view.view, other_prompt(view)) for view in comparison.views())
    unlike = [f.in_view(view, clause) for view, clause in prompts if clause is not None]
    return [
        *_without(comparison),
        *_unlike(comparison.portable),
        *unlike,
        *(sentence for view in comparison.views() for sentence in _left(view)),
        *_known_wrong(comparison),
        *_stand_ins(comparison),
    ]


def _without(comparison: Comparison) -> Iterator[str]:
    plain = [
        b for b in comparison.pair.both if (used := _used(comparison, b)) and not _multi_item(used)
    ]
    if not plain:
        return
    who = (
        "Neither server did"
        if len(plain) == len(comparison.pair.both)
        else f"{comparison.pair.title(plain[0])} did no"
    )
    yield f"{who} multi-item scoring in this run: each item was scored as a prompt of its own."


def _used(comparison: Comparison, backend: Backend) -> set[PassMode]:
    """Every mode of its cells; of mixed cells each mode that occurs."""
    found = {mode for view in comparison.views() for mode in _by_mode(view, backend)}
    cells = (cell for view in comparison.views() for cell in view.cells)
    return found | {mode for cell in cells if cell.backend == backend for mode in cell.modes}


def _multi_item(used: set[PassMode]) -> bool:
    return not used.isdisjoint({*MULTI_ITEM_MODES, "mixed"})


def _left(view: ViewComparison) -> Iterator[str]:
    """Where a server did not score in the mode that its settings ask for."""
    for backend in view.pair.both:
        scoring = view.scoring[backend]
        found = _by_mode(view, backend)
        left = {mode: sizes for mode, sizes in found.items() if scoring and mode != scoring.mode}
        if scoring is None or not left:
            continue
        ways = {"mixed": "in more than one way"}
        at = f.join(
            [
                f"{ways.get(mode, mode)} at {_sizes(view, backend, sizes)}"
                for mode, sizes in left.items()
            ]
        )
        mixed = "; a cell scored in more than one way is not eligible" if "mixed" in left else ""
        yield (
            f"In the {f.VIEW_NAMES[view.view]} view {view.pair.title(backend)}'s settings ask for"
            f" {scoring.mode}, but its log says that it scored {at}{mixed}."
        )


def _unlike(portable: ViewComparison) -> Iterator[str]:
    found = {_of_cells(portable, b) for b, one in portable.scoring.items() if one is not None}
    if len(found) > 1:
        yield (
            f"In the portable view the servers scored items in different ways"
            f" ({of_view(portable)}), so it compares these ways as well as the backends."
        )


def _known_wrong(comparison: Comparison) -> Iterator[str]:
    for name, where, variants in _variants(comparison, lambda scoring: scoring.known_wrong):
        yield (
            f"{name}'s scores in the {where} are known to be wrong: it scored {variants}, and this"
            " run measured it all the same."
        )


def _stand_ins(comparison: Comparison) -> Iterator[str]:
    for name, where, variants in _variants(comparison, lambda scoring: scoring.stand_in):
        yield (
            f"{name}'s speed in the {where} is not to be quoted: it scored {variants},"
            " which is there for correct scores and is no part of the backend."
        )


def _variants(
    comparison: Comparison, wanted: Callable[[Scoring], bool]
) -> Iterator[tuple[str, str, str]]:
    """Whose scoring is ``wanted``, in which views, and its variants there."""
    for backend in comparison.pair.both:
        found = {v.view: v.scoring[backend] for v in comparison.views()}
        mine = {view: scoring for view, scoring in found.items() if scoring and wanted(scoring)}
        if not mine:
            continue
        views = " and ".join(f.VIEW_NAMES[view] for view in mine)
        variants = f.join(list(dict.fromkeys(scoring.named for scoring in mine.values())))
        where = f"{views} {'view' if len(mine) == 1 else 'views'}"
        yield comparison.pair.title(backend), where, variants


def explained(comparison: Comparison) -> list[tuple[str, str]]:
    """Every mode that occurs or is asked for, and what it is."""
    used = {mode for backend in comparison.pair.both for mode in _used(comparison, backend)}
    used |= {one.mode for view in comparison.views() for one in view.scoring.values() if one}
    return [(mode, means) for mode, means in MEANS.items() if mode in used]


def named(view: ViewComparison, backend: Backend) -> str:
    """The modes with the variant; ``—`` where nothing was measured."""
    scoring = view.scoring[backend]
    if scoring is None:
        return f.ABSENT
    found = _of_cells(view, backend)
    return scoring.named if found == scoring.mode else found


def recorded(view: ViewComparison, backend: Backend) -> str:
    """The mode that was asked for, what asks for it, and what the server's log says of it."""
    scoring = view.scoring[backend]
    if scoring is None:
        return f.ABSENT
    by = "by the server's flags" if scoring.told_by == "flags" else "as the server reports"
    parts = [f"{scoring.named}, {by}", *_account(view, backend)]
    if scoring.fallbacks:
        requests = f.count(scoring.fallbacks, "request")
        parts.append(f"its log says that it fell back from this mode for {requests}")
    return "; ".join(parts)


def _account(view: ViewComparison, backend: Backend) -> Iterator[str]:
    """For how many good timed passes the log tells the mode, and which."""
    scoring = view.scoring[backend]
    mine = [cell for cell in view.cells if cell.backend == backend and cell.told_passes]
    if scoring is None or not mine:
        return
    told = sum(cell.told_passes for cell in mine)
    # Those of which the log does not tell count for the mode that was asked for.
    untold = sum(sum(cell.modes.values()) - cell.told_passes for cell in mine)
    as_asked = sum(cell.modes.get(scoring.mode, 0) for cell in mine) - untold
    yield f"its log confirms it for {as_asked} of {f.count(told, 'timed pass', 'timed passes')}"
