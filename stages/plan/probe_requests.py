"""The requests of the probes: which items are sent, and around which target.

Servers get room for the longest of them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import chain, islice

from stages.contract import Probes
from stages.documents.probes import Layout
from stages.documents.workload import CanonicalWorkload, draw_ids

_BEFORE: dict[Layout, int] = {"before_1": 1, "before_5": 5, "before_20": 20}


@dataclass(frozen=True, slots=True)
class ProbeRequest:
    """One request around a target item.

    Attributes:
        layout: how it was built.
        items: token ids of every item sent.
        place: where the target stands among them.
    """

    layout: Layout
    items: list[list[int]]
    place: int


def probed_part(workload: CanonicalWorkload, probes: Probes) -> CanonicalWorkload:
    """The workload with as many of its first items as a probe request may hold."""
    return workload.model_copy(update={"items": workload.items[: probes.most_items]})


def choose_targets(workload: CanonicalWorkload, probes: Probes) -> list[int]:
    """The target items: seeded, distinct, in rising order; all items where fewer exist.

    Only items that a probe request may hold are chosen.
    """
    count = len(probed_part(workload, probes).items)
    draws = draw_ids(f"targets/{probes.seed}", [(0, count)])
    chosen: dict[int, None] = {}
    while len(chosen) < min(probes.targets, count):
        chosen[next(draws)] = None
    return sorted(chosen)


def shorter(tokens: int) -> int:
    """Length of a shorter item: half, and at least one token."""
    return max(1, tokens // 2)


def longer(tokens: int) -> int:
    """Length of a longer item: half as long again, and at least one token more."""
    return tokens + max(1, tokens // 2)


def longest_probe_tokens(workload: CanonicalWorkload, probes: Probes) -> int:
    """Tokens of the longest prompt that the probes make; servers need room for it.

    Zero where the workload has a single item, around which nothing is probed.
    """
    lengths = [len(item) for item in probed_part(workload, probes).items]
    targets = choose_targets(workload, probes)
    replaced = (longer(n) for t in targets for i, n in enumerate(lengths) if i != t)
    longest = max(replaced, default=None)
    return 0 if longest is None else len(workload.query) + longest


def packed_probe_tokens(workload: CanonicalWorkload, probes: Probes) -> int:
    """Tokens that hold the longest probe request with all its items in one sequence.

    Each item brings a delimiter with it.
    """
    items = probed_part(workload, probes).items
    return len(workload.query) + sum(longer(len(item)) + 1 for item in items)


def packed_tokens(workload: CanonicalWorkload, probes: Probes) -> int:
    """Tokens that hold every request, of a pass or a probe, with its items in one sequence."""
    passes = len(workload.query) + sum(len(item) + 1 for item in workload.items)
    return max(passes, packed_probe_tokens(workload, probes))


def layouts(workload: CanonicalWorkload, target: int) -> Iterator[ProbeRequest]:
    """The requests around ``target`` in which no item's length changes.

    Only the neighbours change, never the target. It is sent alone, as in a pass of one call, in
    the reverse order, with all neighbours replaced, and with 1, 5, 20 and all other items before
    it, where the workload has as many. A workload of one item yields no request.
    """
    items = workload.items
    others = [item for i, item in enumerate(items) if i != target]
    if not others:
        return
    yield ProbeRequest("alone", [items[target]], 0)
    yield ProbeRequest("original", items, target)
    yield ProbeRequest("reversed", items[::-1], len(items) - 1 - target)
    replaced = _replacements(workload)
    replaced[target] = items[target]
    yield ProbeRequest("replaced", replaced, target)
    for layout, count in _BEFORE.items():
        if count < len(others):
            yield ProbeRequest(layout, [*others[:count], items[target]], count)
    yield ProbeRequest("before_all", [*others, items[target]], len(others))


def length_layouts(
    workload: CanonicalWorkload, target: int, most: int | None = None
) -> Iterator[ProbeRequest]:
    """The requests around ``target`` in which all its neighbours are shorter, then longer.

    An item of one token has no shorter one. Where all neighbours are that short, the request is
    left out.

    Args:
        workload: whose items are probed.
        target: the item that does not change.
        most: the most items a request may hold, ``None`` for any number. One neighbour is
            always sent.
    """
    others = [item for i, item in enumerate(workload.items) if i != target]
    others = others[: None if most is None else max(1, most - 1)]
    place = min(target, len(others))
    changes: list[tuple[Layout, Callable[[int], int]]] = [("shorter", shorter), ("longer", longer)]
    for layout, length in changes:
        lengths = [length(len(item)) for item in others]
        if lengths != [len(item) for item in others]:
            drawn = _drawn(workload, layout, lengths)
            yield ProbeRequest(
                layout, [*drawn[:place], workload.items[target], *drawn[place:]], place
            )


def every_layout(
    workload: CanonicalWorkload, targets: list[int], most: int | None = None
) -> Iterator[tuple[int, ProbeRequest]]:
    """Every target with every request around it, in the order in which they are sent.

    Longer items need more of a server than any pass did. They come last, so that a failure there
    leaves the other probes complete.
    """
    same = ((t, request) for t in targets for request in layouts(workload, t))
    other = [(t, request) for t in targets for request in length_layouts(workload, t, most)]
    return chain(same, sorted(other, key=lambda one: one[1].layout == "longer"))


def _replacements(workload: CanonicalWorkload) -> list[list[int]]:
    """As many new items of the same lengths, none of them in the workload where possible."""
    return _drawn(workload, "replacements", [len(item) for item in workload.items])


def _drawn(workload: CanonicalWorkload, name: str, lengths: list[int]) -> list[list[int]]:
    """Items of these lengths, drawn from the workload's seed and ``name``."""
    draws = draw_ids(f"{name}/{workload.seed}", workload.pool)
    return [list(islice(draws, length)) for length in lengths]
