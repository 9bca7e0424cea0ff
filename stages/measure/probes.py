"""Probes a server: is it deterministic, and does an item's score depend on its neighbours?

They run in the server session of their matrix, after its timed passes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import chain, islice

from stages.contract import Probes
from stages.documents.probes import Layout, ProbeRecord
from stages.documents.workload import CanonicalWorkload, draw_ids
from stages.measure.faults import HANGING_AFTER, Bound
from stages.measure.http.client import ScoreConnection
from stages.measure.http.decode import Decoded
from stages.measure.http.exchange import encode_request, exchange

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


class Prober:
    """Sends probe requests and keeps their records.

    Args:
        connection: to the server under test.
        workload: whose items are probed, all of them at most; every request has the same salt.
        bound: requests of more items are not sent; ``None`` where none has failed.
    """

    def __init__(
        self,
        connection: ScoreConnection,
        workload: CanonicalWorkload,
        bound: Bound | None = None,
    ) -> None:
        self._connection = connection
        self._workload = workload
        self._bound = bound
        self._timeouts = 0
        self._query = workload.salted_query(workload.salt("probe", 0, 0))
        self.records: list[ProbeRecord] = []

    def run(self, probes: Probes, targets: list[int]) -> None:
        """Send all probes: first the repetitions, then every layout of every target.

        The repetitions hold as many items as may be sent. After a few timeouts in a row nothing
        more is sent.
        """
        most = self._bound.items if self._bound else None
        items = self._workload.items[:most]
        for run in range(probes.repeats):
            decoded = self._send(items)
            for item in range(len(items)):
                self._keep("repeat", ProbeRequest("original", items, item), run, item, decoded)
        for target, request in every_layout(self._workload, targets, most):
            self._keep("isolation", request, 0, target, self._send(request.items))

    def _send(self, items: list[list[int]]) -> Decoded:
        bound = self._bound
        if bound is not None and len(items) > bound.items:
            why = f"not sent: the server failed at requests of more than {bound.items} items"
            return Decoded(bound.kind, why, None)
        if self._timeouts >= HANGING_AFTER:
            return Decoded("timeout", f"not sent: {self._timeouts} timeouts in a row", None)
        request = encode_request(self._workload, self._query, items)
        decoded, _ = exchange(self._connection, request.prepare(self._connection))
        self._timeouts = self._timeouts + 1 if decoded.status == "timeout" else 0
        return decoded

    def _keep(
        self, kind: str, request: ProbeRequest, run: int, item: int, decoded: Decoded
    ) -> None:
        labels = len(self._workload.label_token_ids)
        at = request.place * labels
        scores = None if decoded.scores is None else decoded.scores[at : at + labels]
        self.records.append(
            ProbeRecord(
                kind="repeat" if kind == "repeat" else "isolation",
                layout=request.layout,
                run=run,
                item=item,
                place=request.place,
                items=len(request.items),
                status=decoded.status,
                detail=decoded.detail,
                scores=scores,
            )
        )
