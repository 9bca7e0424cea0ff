"""How the items of a request were scored, in the report's words. A comparison in, text out.

The modes are named as the contract names them; ``MEANS`` says what each is. Where a backend was
not measured, the report says nothing of it.
"""

from __future__ import annotations

from collections.abc import Iterator

from stages.backends.declared import ScoringMode
from stages.contract import Backend
from stages.documents.comparison import Comparison, ViewComparison
from stages.documents.matrix import MULTI_ITEM_MODES, Scoring
from stages.report import format as f
from stages.report.prose.oracle import other_prompt

MEANS: dict[ScoringMode, str] = {
    "separate": "n prompts, the query repeated in each",
    "cached": "n prompts, the query's keys and values from a prefix cache",
    "packed": "one sequence, items behind delimiters, a mask keeps them apart",
    "prefill_extend": "the query computed once and kept, items continue it in batches",
}


def of_view(view: ViewComparison) -> str:
    """``both separate``; ``JAX packed, PyTorch separate``; ``—`` where nothing was measured."""
    found = {b: scoring.mode for b in view.pair.both if (scoring := view.scoring[b]) is not None}
    if len(found) == len(view.pair.both) and len(set(found.values())) == 1:
        return f"both {next(iter(found.values()))}"
    return ", ".join(f"{view.pair.title(b)} {mode}" for b, mode in found.items()) or f.ABSENT


def of_backend(view: ViewComparison, backend: Backend) -> str:
    """The mode alone; ``—`` where nothing was measured."""
    scoring = view.scoring[backend]
    return f.ABSENT if scoring is None else scoring.mode


def of_both_views(comparison: Comparison) -> str:
    """``portable view: both separate; best-native view: both cached``."""
    return "; ".join(
        f"{f.VIEW_NAMES[view.view]} view: {of_view(view)}" for view in comparison.views()
    )


def remarks(comparison: Comparison) -> list[str]:
    """What a reader must know before any figure.

    Who did no multi-item scoring, what differs, and whose speed is not the backend's own.
    """
    prompts = ((view.view, other_prompt(view)) for view in comparison.views())
    unlike = [f.in_view(view, clause) for view, clause in prompts if clause is not None]
    return [
        *_without(comparison),
        *_unlike(comparison.portable),
        *unlike,
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


def _used(comparison: Comparison, backend: Backend) -> set[ScoringMode]:
    found = [view.scoring[backend] for view in comparison.views()]
    return {scoring.mode for scoring in found if scoring is not None}


def _multi_item(used: set[ScoringMode]) -> bool:
    return not used.isdisjoint(MULTI_ITEM_MODES)


def _unlike(portable: ViewComparison) -> Iterator[str]:
    found = {scoring.mode for scoring in portable.scoring.values() if scoring is not None}
    if len(found) > 1:
        yield (
            f"In the portable view the servers scored items in different ways"
            f" ({of_view(portable)}), so it compares these ways as well as the backends."
        )


def _stand_ins(comparison: Comparison) -> Iterator[str]:
    for backend in comparison.pair.both:
        found = {v.view: v.scoring[backend] for v in comparison.views()}
        ours = {view: scoring for view, scoring in found.items() if scoring and scoring.stand_in}
        if not ours:
            continue
        views = " and ".join(f.VIEW_NAMES[view] for view in ours)
        variants = f.join(list(dict.fromkeys(named(scoring) for scoring in ours.values())))
        yield (
            f"{comparison.pair.title(backend)}'s speed in the {views}"
            f" {'view' if len(ours) == 1 else 'views'} is not to be quoted: it scored {variants},"
            " which is there for correct scores and is no part of the backend."
        )


def explained(comparison: Comparison) -> list[tuple[str, str]]:
    """Every mode that occurs, and what it is."""
    used = {mode for backend in comparison.pair.both for mode in _used(comparison, backend)}
    return [(mode, means) for mode, means in MEANS.items() if mode in used]


def named(scoring: Scoring | None) -> str:
    """The mode with its variant; ``—`` where nothing was measured."""
    return f.ABSENT if scoring is None else scoring.named


def recorded(scoring: Scoring | None) -> str:
    """The same with what it follows from, and how often the server fell back from the variant."""
    if scoring is None:
        return f.ABSENT
    by = "by the server's flags" if scoring.told_by == "flags" else "as the server reports"
    left = ""
    if scoring.fallbacks:
        requests = f.count(scoring.fallbacks, "request")
        left = f"; its log says that it fell back from this variant for {requests}"
    return f"{scoring.named}, {by}{left}"
