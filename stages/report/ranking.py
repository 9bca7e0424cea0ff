"""Whether the candidate's order of the items is the reference's. A comparison's parts in, text out.

Rules:

* The order of a cell is kept where every pair of items that the reference tells apart is in its
  order in every compared pass.
* A cell whose order changed stands against the scores where it may be selected all the same. One
  that may not is named there with its own reasons.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from stages.documents.comparison import Cell, Comparison, Ranking, ViewComparison
from stages.report import format as f
from stages.report.checks import Answer
from stages.report.prose import ranking as say
from stages.report.prose.reasons import PLAIN


@dataclass(frozen=True, slots=True)
class RankingRow:
    """The order of one cell, as text; the flipped pairs are those of its worst pass."""

    view: str
    chunk_size: int
    tau: str
    top_1: str
    top_10: str
    flipped: str
    widest: str


type _Ranked = list[tuple[Cell, Ranking]]


def ranked(view: ViewComparison) -> _Ranked:
    """The candidate's cells with a compared pass, by rising chunk size."""
    found = [(c, c.ranking) for c in view.cells if c.ranking and c.ranking.compared_passes]
    return sorted(found, key=lambda one: one[0].chunk_size)


def reordered(view: ViewComparison) -> _Ranked:
    """Those whose order is not the reference's."""
    return [(cell, found) for cell, found in ranked(view) if found.kept is False]


def ranking_answer(view: ViewComparison) -> Answer:
    """In how many cells of the candidate the order is kept, and how far it is off in the others."""
    every = ranked(view)
    if not every:
        return Answer("not compared", PLAIN["not_compared"])
    if all(found.items == 1 for _, found in every):
        return Answer("nothing to rank", say.ONE_ITEM)
    told = [found for _, found in every if found.kept is not None]
    ties = say.tied(every[0][1].noise)
    if not told:
        return _answer("no order", f"{say.UNTOLD}; {ties}", every, view)
    changed = reordered(view)
    cells = f.count(len(every), f"{view.pair.candidate.title} cell")
    kept = sum(found.kept is True for found in told)
    rest = f"; {say.UNTOLD} in {len(every) - len(told)}" if len(told) < len(every) else ""
    text = f"the order is kept in {kept} of {cells}{rest}"
    if not changed:
        return Answer("kept", f"{text} ({_same(told)}); {ties}")
    return _answer("changed", f"{text}; changed at {where_changed(view)}; {ties}", changed, view)


def where_changed(view: ViewComparison) -> str:
    """At which chunk sizes the order changed, and how far it is off where it is off most."""
    changed, every = reordered(view), [cell.chunk_size for cell, _ in ranked(view)]
    sizes = f.chunk_sizes([cell.chunk_size for cell, _ in changed], every)
    cell, worst = max(changed, key=lambda one: (one[1].flipped_pairs or 0, -(one[1].tau or 0.0)))
    most = f", most at chunk size {cell.chunk_size}" if len(changed) > 1 else ""
    return f"{sizes}{most}: {say.changed(worst)}"


def _same(told: list[Ranking]) -> str:
    """What is the same in cells whose order is kept."""
    same = "the first item and the first 10" if told[0].top_10 is not None else "the first item"
    return f"{say.tau(told[0])}, {same} the same"


def _answer(word: str, figure: str, bad: _Ranked, view: ViewComparison) -> Answer:
    """A bad answer, with a sentence for each of its cells that may be selected all the same."""
    against = [
        f"{f.at(cell, view.pair)}: "
        + (say.UNTOLD if found.kept is None else f"{say.OTHER_ORDER}: {say.changed(found)}")
        + "."
        for cell, found in bad
        if cell.eligible
    ]
    return Answer(word, figure, against)


def ranking_rows(comparison: Comparison) -> Iterator[RankingRow]:
    """A row for each compared cell of the candidate, except where there is one item alone."""
    for view in comparison.views():
        for cell, found in ranked(view):
            if found.items == 1:
                continue
            yield RankingRow(
                view=f.VIEW_NAMES[view.view],
                chunk_size=cell.chunk_size,
                tau=f.correlation(found.tau),
                top_1={True: "the same", False: "another", None: f.ABSENT}[found.top_1],
                top_10=f.ABSENT if found.top_10 is None else f"{found.top_10} of 10",
                flipped=f"{found.flipped_pairs:,} of {found.pairs:,}",
                widest=f.ABSENT if found.widest_flip is None else say.flip(found.widest_flip),
            )


def ranking_gate(comparison: Comparison) -> str:
    """What the contract asks of the order, for the table of the contract."""
    limits = comparison.gate.ranking
    if limits is None:
        return "reported, bars no cell"
    pairs = "no pair" if not limits.max_flips else f"at most {f.count(limits.max_flips, 'pair')}"
    return f"Kendall's tau-b at least {f.plain(limits.min_tau)} and {pairs} flipped"
