"""The changes from one result to another as Markdown. Two results in, text out."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from stages.contract import Backend
from stages.documents.comparison import (
    Comparison,
    ComparisonSet,
    GateResult,
    Pair,
    ViewComparison,
    ViewSummary,
    WeightedRatio,
)
from stages.report import format as f
from stages.report.checks import (
    Answer,
    gate_answer,
    isolation_answer,
    oracle_answer,
    prefix_cache_answer,
)
from stages.report.prose.ranking import changed
from stages.report.prose.scores import verdict
from stages.report.prose.winner import in_short, leads, outcome
from stages.report.ranking import ranking_answer
from stages.report.render import Verbatim, printed, span, templates
from stages.report.starts import starts_answer
from tools.diff.changes import (
    COMPARED,
    CellChange,
    Common,
    RankingChange,
    ScoreChange,
    Word,
    cell_changes,
    common,
    obstacles,
    only_in,
    ranking_changes,
    score_changes,
    shared,
)
from tools.diff.conditions import (
    ChangedCondition,
    changed_conditions,
    measured,
    measured_once,
    other_commits,
)
from tools.diff.sentences import Naming, barred_ones, besides, headline, needed, size


@dataclass(frozen=True, slots=True)
class NamedComparison:
    """A result, and where it was read from.

    Attributes:
        name: the revision, experiment or path it was asked for by; ``None`` for the work tree.
    """

    name: str | None
    comparison: ComparisonSet

    @property
    def label(self) -> Verbatim:
        """Its name as a code span, since `HEAD~1` and `HEAD~2` in plain text would strike out."""
        return Verbatim("the work tree") if self.name is None else span(self.name)


@dataclass(frozen=True, slots=True)
class _Section:
    """The tables of one workload.

    Attributes:
        name: of the workload; ``None`` where there is only one.
        views: winner and correctness, by view.
        scores: the cells whose scores are worth a look.
        speeds: every cell's items/s, by view; empty where they cannot be compared.
        comparable: whether they can.
    """

    name: Verbatim | None
    views: list[tuple[str, list[tuple[str, str, str]]]]
    scores: list[tuple[str, str, str, str]]
    speeds: list[tuple[str, list[tuple[object, ...]]]]
    comparable: bool


def changes_markdown(old: NamedComparison, new: NamedComparison, at_least: float) -> str:
    """The section "Changes from OLD to NEW".

    Args:
        old: the one before.
        new: the one after.
        at_least: the smallest change of items/s that counts, as a share: 0.05 is 5 %.
    """
    one, other = old.comparison, new.comparison
    both = common(one, other)
    cells = cell_changes(one, other, at_least)
    conditions = changed_conditions(one, other)
    barred = {pair.workload: obstacles(pair.before, pair.after) for pair in both}
    naming = Naming(other.workloads[0].pair, len({*_names(one), *_names(other)}) > 1)
    return (
        templates(printed)
        .get_template("diff.md.j2")
        .render(
            old=old.label,
            new=new.label,
            answer=headline(cells, naming, barred, at_least),
            also=[
                *other_commits(one, other),
                *_only(old, new),
                *barred_ones(barred),
                *needed(cells),
                *besides(cells, naming),
                *(said for pair in both for said in _sentences(pair, naming)),
            ],
            machines=_machines(conditions),
            measured=[(side.label, measured(side.comparison)) for side in (old, new)],
            once=_once(one, other),
            conditions=[_condition(row) for row in conditions],
            ratios=_ratios(one, other, naming, barred),
            workloads=[_section(pair, cells, naming, at_least) for pair in both],
            several=naming.several,
            over=" / ".join(naming.pair.titles(naming.pair.both)),
            comparable=not all(barred.values()),
            at_least=f.plain_percent(at_least),
            compared=sum(c.word in COMPARED for c in cells),
        )
    )


def _names(of: ComparisonSet) -> list[str]:
    return [one.scope.workload for one in of.workloads]


def _only(old: NamedComparison, new: NamedComparison) -> Iterator[Verbatim]:
    """The workloads that one side alone has."""
    for one, other in ((old, new), (new, old)):
        if names := only_in(one.comparison, other.comparison):
            noun = "workload" if len(names) == 1 else "workloads"
            listed = f.join([span(name) for name in names])
            yield Verbatim(f"Only in {one.label}, and not compared: the {noun} {listed}.")


def _sentences(of: Common, naming: Naming) -> Iterator[str]:
    """What else changed at one workload: the winners, the gate, the order of the items."""
    pair = naming.pair
    for said in (
        *_winners(of.before, of.after),
        *(_score_sentence(score, pair) for score in score_changes(of.before, of.after)),
        *(_ranking_sentence(one, pair) for one in ranking_changes(of.before, of.after)),
    ):
        yield f"{of.workload}: {said}" if naming.several else said


def _ratios(
    old: ComparisonSet, new: ComparisonSet, naming: Naming, barred: Mapping[str, list[str]]
) -> list[tuple[str, str, str, str]]:
    """The mean ratios over the same workloads, before and after, by view."""
    if not naming.several or {*_names(old)} != {*_names(new)} or any(barred.values()):
        return []
    return [
        (f.VIEW_NAMES[one.view].capitalize(), name, _mean(before), _mean(after))
        for one, other in zip(old.summary.views(), new.summary.views(), strict=True)
        for name, before, after in _means(one, other)
    ]


def _means(
    one: ViewSummary, other: ViewSummary
) -> Iterator[tuple[str, WeightedRatio, WeightedRatio]]:
    yield "all workloads alike", one.mean, other.mean
    for name, before in one.mixes.items():
        after = other.mixes.get(name)
        if after is not None and before.weights == after.weights:
            yield f"mix {name}", before, after


def _mean(of: WeightedRatio) -> str:
    without = f", without {f.join(of.left_out)}" if of.left_out and of.items_per_s else ""
    return f"{f.bounded(of.items_per_s, of.items_per_s_interval, 'x')}{without}"


def _section(of: Common, cells: list[CellChange], naming: Naming, at_least: float) -> _Section:
    """The tables of one workload."""
    one, other = of.before, of.after
    mine = [change for change in cells if change.pair.workload == of.workload]
    return _Section(
        name=span(of.workload) if naming.several else None,
        views=[
            _view_rows(*views, one, other) for views in zip(one.views(), other.views(), strict=True)
        ],
        scores=[_score_row(change, one, other) for change in score_changes(one, other)],
        speeds=[
            (f.VIEW_NAMES[view.view].capitalize(), rows)
            for view in one.views()
            if (
                rows := [
                    _speed_row(change, view.pair, at_least)
                    for change in mine
                    if change.pair.view == view.view
                ]
            )
        ],
        comparable=not obstacles(one, other),
    )


def _winners(old: Comparison, new: Comparison) -> Iterator[str]:
    for one, other in zip(old.views(), new.views(), strict=True):
        before, after = one.winner.outcome, other.winner.outcome
        if before != after:
            view = f"{f.VIEW_NAMES[one.view].capitalize()} view"
            yield f"{view}: the winner was {outcome(one)} and now is {outcome(other)}."


def _machines(conditions: list[ChangedCondition]) -> str:
    """A warning where the machine is not the same; else empty."""
    found = [
        f"{row.name} {row.before} before, {row.after} now{f' ({row.where})' if row.where else ''}"
        for row in conditions
        if row.host
    ]
    if not found:
        return ""
    return (
        f"NOT THE SAME MACHINE: {'; '.join(found)}."
        " A change of speed may be the machine's and not yours."
    )


def _once(old: ComparisonSet, new: ComparisonSet) -> str:
    found = measured_once(old, new)
    every = old.workloads[0].sources
    return "all of them" if len(found) == len(every) else "; ".join(found)


def _condition(row: ChangedCondition) -> tuple[object, str, str, str]:
    name = span(row.name) if row.name.startswith("--") else row.name
    return name, row.where or "all", row.before, row.after


def _view_rows(
    one: ViewComparison, other: ViewComparison, old: Comparison, new: Comparison
) -> tuple[str, list[tuple[str, str, str]]]:
    """Winner, confidence and gate of a view; other checks only where their verdict changed."""
    rows = [
        ("winner", in_short(one), in_short(other)),
        ("confidence", _confidence(one), _confidence(other)),
        ("gate", gate_answer(one, old.gate).figure, gate_answer(other, new.gate).figure),
    ]
    rows += _changed("ranking", ranking_answer(one), ranking_answer(other))
    for backend in shared(old, new):
        for name, before, after in _checks(backend, one, other, old, new):
            rows += _changed(f"{name}, {old.pair.title(backend)}", before, after)
    return f.VIEW_NAMES[one.view].capitalize(), rows


def _changed(name: str, before: Answer, after: Answer) -> Iterator[tuple[str, str, str]]:
    """The row of a check, if its verdict changed."""
    if before.word != after.word:
        yield name, f"{before.word}: {before.figure}", f"{after.word}: {after.figure}"


def _checks(
    backend: Backend, one: ViewComparison, other: ViewComparison, old: Comparison, new: Comparison
) -> Iterator[tuple[str, Answer, Answer]]:
    """The answers of the checks on one backend, before and now."""
    yield "isolation", isolation_answer(one, backend), isolation_answer(other, backend)
    yield "extra starts", starts_answer(one, backend), starts_answer(other, backend)
    before, after = (oracle_answer(v, backend, c.gate) for v, c in ((one, old), (other, new)))
    yield "oracle", before, after
    yield (
        "prefix cache",
        prefix_cache_answer(one, backend),
        prefix_cache_answer(other, backend),
    )


def _confidence(view: ViewComparison) -> str:
    often = leads(view.winner, view.pair)
    return f"{view.winner.confidence} ({often})" if often else view.winner.confidence


def _score_sentence(change: ScoreChange, pair: Pair) -> str:
    was, now = (verdict(gate.verdict) for gate in (change.was, change.now))
    if change.was.verdict != change.now.verdict:
        return f"Gate, {f.at(change.after, pair)}: {was} before, {now} now."
    where = f.at(change.after, pair)
    return f"Scores of {where} are more than ten times further from the reference's."


def _ranking_sentence(change: RankingChange, pair: Pair) -> str:
    was, now = changed(change.was), changed(change.now)
    return f"Order of the items, {f.at(change.after, pair)}: {now} (before: {was})."


def _score_row(change: ScoreChange, old: Comparison, new: Comparison) -> tuple[str, str, str, str]:
    limits = {f.plain(of.gate.max_abs_diff): None for of in (old, new)}
    return (
        f.at(change.after, old.pair),
        _largest(change.was),
        _largest(change.now),
        ", then ".join(limits),
    )


def _largest(gate: GateResult) -> str:
    return f"{f.difference(gate.max_abs_diff)} ({verdict(gate.verdict)})"


def _speed_row(change: CellChange, of: Pair, at_least: float) -> tuple[object, ...]:
    pair = change.pair
    rates = [f.number(cell.items_per_s if cell else None) for cell in (pair.before, pair.after)]
    word = f"**{change.word}**" if change.word not in _QUIET else change.word
    return (
        of.title(pair.backend),
        pair.chunk_size,
        *rates,
        signed(change.change, at_least),
        _between(change),
        Verbatim(word),
    )


_QUIET: tuple[Word, ...] = ("within the noise", "too small to count", "same passes")


def _between(change: CellChange) -> Verbatim:
    if change.low is None or change.high is None:
        return Verbatim(f.ABSENT)
    return Verbatim(f"{signed(change.low)} to {signed(change.high)}")


def signed(share: float | None, *limits: float) -> Verbatim:
    """A change with its sign, rounded so that it stays on its side of each limit."""
    if share is None:
        return Verbatim(f.ABSENT)
    if share > 99.99:
        return Verbatim("over +9999%")
    sign = "+" if share > 0 else "-" if share < 0 else ""
    return Verbatim(f"{sign}{size(abs(share), *limits)}")
