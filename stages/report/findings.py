"""What the figures say, in sentences. A comparison in, plain text out.

Rules (every number is one of the comparison's, or a count of them):

* Better, worse: see ``ratios``. A ratio stands with its interval where it has one. Open ratios
  follow those that are better. Where the candidate is nowhere better (or worse), one sentence
  says so and names where it comes closest in items/s. A faster cell of the candidate that is not
  eligible is named with the reason and does not count as better.
* p95 has no interval: its ratio describes these passes only.
* A finding that stands on unsteady cells (unstable, or compiling in a timed pass) says at
  which chunk sizes.
* How far the scores can be trusted: see ``correctness``.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from stages.documents.comparison import Comparison, Pair, Role
from stages.report import format as f
from stages.report.correctness import correctness
from stages.report.prose.reasons import reasons
from stages.report.ratios import QUANTITIES, AtOneSize, Factor, Group, Side, barred, groups, pairs
from stages.report.stability import client, stability

_OPENING: dict[Side, str] = {"better": "", "open": "not told apart, ", "worse": ""}


@dataclass(frozen=True, slots=True)
class Findings:
    """The key findings; no list is empty."""

    better: list[str]
    worse: list[str]
    correctness: list[str]
    stability: list[str]
    client: list[str]
    cost: list[str]


def find(comparison: Comparison) -> Findings:
    """Everything the report says about the figures."""
    return Findings(
        better=_compared(comparison, "better"),
        worse=_compared(comparison, "worse"),
        correctness=correctness(comparison),
        stability=stability(comparison),
        client=client(comparison),
        cost=cost(comparison),
    )


def _compared(comparison: Comparison, side: Literal["better", "worse"]) -> list[str]:
    """Where the candidate is better or worse, by view and figure."""
    pair, views = comparison.pair, [pairs(view) for view in comparison.views()]
    if not any(one.known for view in views for one in view):
        return ["No chunk size has figures of both backends, so there is nothing to compare."]
    said = [s for view in views for s in _grouped(view, pair, side)]
    said = said or [_nowhere(views, pair, side)]
    if side == "better":
        said += [s for view in views for s in _grouped(view, pair, "open")]
        said += [_barred(one, pair) for view in views for one in barred(view)]
    role: Role = "candidate" if side == "better" else "reference"
    return said + [s for view in views for s in _only(view, pair, role)]


def _grouped(view: Sequence[AtOneSize], of: Pair, side: Side) -> Iterator[str]:
    mine, other = of.candidate.title, of.reference.title
    every = [pair.chunk_size for pair in view]
    throughput, latency = (list(groups(view, quantity, side)) for quantity in QUANTITIES)
    for group in throughput:
        same = next((one for one in latency if one.chunk_sizes == group.chunk_sizes), None)
        text = f"{_OPENING[side]}{mine} scores {_span(group)} {other}'s items/s"
        text += f"; its p95 latency in these passes is {_span(same)} {other}'s" if same else ""
        yield _sentence(group, every, text)
    for group in latency:
        if group.chunk_sizes not in [one.chunk_sizes for one in throughput]:
            text = f"{mine}'s p95 latency in these passes is {_span(group)} {other}'s"
            yield _sentence(group, every, text + (", which is level" if side == "open" else ""))


def _span(group: Group) -> str:
    low, high = _factor(group.low), _factor(group.high)
    return low if low == high else f"{low} to {high}"


def _factor(factor: Factor) -> str:
    if factor.interval is None:
        return f.factor(factor.value)
    return f.bounded(factor.value, factor.interval, "x")


def _sentence(group: Group, every: Sequence[int], text: str) -> str:
    where = (
        f"{f.VIEW_NAMES[group.view].capitalize()} view, {f.chunk_sizes(group.chunk_sizes, every)}"
    )
    unsteady = f" (unsteady, †: {f.sizes(group.unsteady, every)})" if group.unsteady else ""
    return f"{where}: {text}{unsteady}."


def _nowhere(views: Sequence[Sequence[AtOneSize]], of: Pair, side: Side) -> str:
    mine, other = of.candidate.title, of.reference.title
    text = f"Nowhere: at no chunk size of either view is {mine} {side} in items/s or p95 latency"
    text += " with a cell that is eligible" if side == "better" else ""
    known = [
        (factor, pair)
        for view in views
        for pair in view
        if (pair.candidate.eligible or side == "worse")
        and (factor := pair.factor("items_per_s")) is not None
    ]
    if not known:
        return f"{text}."
    nearest = max if side == "better" else min
    factor, pair = nearest(known, key=lambda one: one[0].value)
    where = f"chunk size {pair.chunk_size} ({f.VIEW_NAMES[pair.view]} view)"
    return f"{text}; it comes closest at {where} with {_factor(factor)} {other}'s items/s."


def _barred(pair: AtOneSize, of: Pair) -> str:
    items, p95 = (pair.factor(quantity) for quantity in QUANTITIES)
    figures = [f"{_factor(items)} {of.reference.title}'s items/s"] if items else []
    figures += [f"{_factor(p95)} its p95 latency in these passes"] if p95 else []
    why = reasons(pair.candidate, "the cell is not eligible")
    return f"{f.at(pair.candidate, of)}: {', '.join(figures)}, but it does not count: {why}."


def _only(view: Sequence[AtOneSize], of: Pair, role: Role) -> Iterator[str]:
    """Where the backend in ``role`` alone has figures."""
    both = {"candidate": of.candidate, "reference": of.reference}
    sizes = [
        pair.chunk_size
        for pair in view
        if not pair.known and pair.cell(role).items_per_s is not None
    ]
    if sizes:
        where = f.chunk_sizes(sizes, [pair.chunk_size for pair in view])
        name = f.VIEW_NAMES[view[0].view].capitalize()
        yield f"{name} view, {where}: only {both[role].title} has figures."


def cost(comparison: Comparison) -> list[str]:
    """What the selected cells cost, where an hourly price is given."""
    said = []
    for view in comparison.views():
        for backend in comparison.pair.both:
            cell = view.selected_cell(backend)
            if cell and cell.usd_per_pass is not None and cell.items_per_usd is not None:
                said.append(
                    f"{f.at(cell, comparison.pair)}: {f.usd(cell.usd_per_pass)} USD per pass,"
                    f" {f.usd(cell.usd_per_million_items)} USD per million items,"
                    f" {f.number(cell.items_per_usd)} items per USD."
                )
    return said or ["No hourly price is given, so no cost is stated."]
