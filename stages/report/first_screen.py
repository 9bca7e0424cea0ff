"""The first screen of the HTML report: result, confidence, gate and what was measured.

It replaces the opening of ``report.md`` up to its first figure, and omits nothing of it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from stages.contract import Backend
from stages.documents.comparison import (
    Comparison,
    ComparisonSet,
    Confidence,
    MatrixSource,
    Pair,
    ViewComparison,
    ViewSummary,
)
from stages.report import by_workload, modes
from stages.report import format as f
from stages.report.checks import gate_answer
from stages.report.conclusion import conclude
from stages.report.devices import whose
from stages.report.prose.flags import flag
from stages.report.prose.winner import answer, leads, result
from stages.report.render import date_of
from stages.report.render_set import (
    against_of_set,
    common_flags,
    partial_of_set,
    remarks_of_set,
    scored_of_set,
)
from stages.report.tables import same_or_by_name, whole_sources
from stages.report.trust import trust

_CONFIDENCE_TONES: dict[Confidence, str] = {
    "high": "good",
    "medium": "fair",
    "low": "poor",
    "none": "poor",
}


@dataclass(frozen=True, slots=True)
class Badge:
    """A verdict in a word or two; ``tone`` is ``good``, ``fair``, ``poor`` or ``bad``."""

    word: str
    tone: str


@dataclass(frozen=True, slots=True)
class ViewCard:
    """The result of one view.

    Attributes:
        scored: how both backends scored the items of a request.
        share: how often the leader leads, in a sentence; ``None`` without a leader.
        flags: what lowers the confidence.
    """

    name: str
    scored: str
    sentence: str
    confidence: Badge
    share: str | None
    flags: list[str]


@dataclass(frozen=True, slots=True)
class GateCard:
    """The gate.

    Attributes:
        verdicts: one for both views where they agree, else one a view.
        figures: the figures behind the verdicts, a sentence a view.
    """

    verdicts: list[Badge]
    figures: list[str]


@dataclass(frozen=True, slots=True)
class FirstScreen:
    """The content of the first screen.

    Attributes:
        partial: what is missing, in sentences; empty when the result is complete.
        caveat: what makes a deployment decision impossible, or ``None``.
        scored: remarks on how items were scored, in sentences.
        views: best-native first, for that is what would be deployed.
        against, against_times: how many things stand against the scores, and against the times.
        measured: what was measured on what: a term and its lines.
    """

    date: str
    partial: list[str]
    caveat: str | None
    scored: list[str]
    model: str
    answer: str
    views: list[ViewCard]
    gate: GateCard
    against: int
    against_times: int
    measured: list[tuple[str, list[str]]]


def first_screen(comparison: Comparison) -> FirstScreen:
    """The first screen of ``comparison``."""
    conclusion, found = conclude(comparison), trust(comparison)
    native_first = (comparison.best_native, comparison.portable)
    return FirstScreen(
        date=date_of(comparison),
        partial=conclusion.partial,
        caveat=conclusion.caveat,
        scored=modes.remarks(comparison),
        model=comparison.scope.model.title,
        answer=answer(comparison.views()),
        views=[_view_card(view) for view in native_first],
        gate=_gate_card(comparison, native_first),
        against=len(found.against),
        against_times=len(found.against_times),
        measured=_measured(comparison),
    )


def screen_of_set(found: ComparisonSet) -> FirstScreen:
    """The first screen of several workloads."""
    first, (portable, native) = found.workloads[0], found.summary.views()
    against = against_of_set(found)
    return FirstScreen(
        date=date_of(first),
        partial=partial_of_set(found),
        caveat=conclude(first).caveat,
        scored=remarks_of_set(found),
        model=first.scope.model.title,
        answer=by_workload.answer(found),
        views=[
            _card_of_set(native, found),
            _card_of_set(portable, found),
        ],
        gate=_gate_of_set(found),
        against=len(against.against),
        against_times=len(against.against_times),
        measured=_measured_of_set(found),
    )


def _card_of_set(summary: ViewSummary, found: ComparisonSet) -> ViewCard:
    pair = found.workloads[0].pair
    word, lowest = by_workload.confidences(found, summary.view)
    views = {one.scope.workload: one.view(summary.view) for one in found.workloads}
    scored = {name: modes.of_view(view) for name, view in views.items()}
    return ViewCard(
        name=_heading(summary),
        scored=same_or_by_name(scored),
        sentence=f"{by_workload.clause(summary, pair)}.",
        confidence=Badge(word, _CONFIDENCE_TONES[lowest]),
        share=by_workload.means_in_short(summary, pair),
        flags=common_flags(found, summary.view),
    )


def _gate_of_set(found: ComparisonSet) -> GateCard:
    """The gate over all workloads: the verdict of each that does not pass."""
    cards = [_gate_card(one, (one.best_native, one.portable)) for one in found.workloads]
    passing = all(badge.tone == "good" for card in cards for badge in card.verdicts)
    if passing:
        verdicts = [Badge("pass in all workloads", "good")]
    else:
        verdicts = [
            Badge(f"{badge.word} ({one.scope.workload})", badge.tone)
            for one, card in zip(found.workloads, cards, strict=True)
            for badge in card.verdicts
            if badge.tone != "good"
        ]
    return GateCard(verdicts, list(by_workload.gate_figures(found)))


def _view_card(view: ViewComparison) -> ViewCard:
    winner, often = view.winner, leads(view.winner, view.pair)
    return ViewCard(
        name=_heading(view),
        scored=modes.of_view(view),
        sentence=result(view),
        confidence=Badge(winner.confidence, _CONFIDENCE_TONES[winner.confidence]),
        share=often and f"{often}.",
        flags=[flag(one, view.pair) for one in winner.flags],
    )


def _gate_card(comparison: Comparison, views: Sequence[ViewComparison]) -> GateCard:
    answers = {f.VIEW_NAMES[view.view]: gate_answer(view, comparison.gate) for view in views}
    words = {name: found.word for name, found in answers.items()}
    return GateCard(
        verdicts=[
            Badge(f"{word} in {where}", {"pass": "good", "fail": "bad"}.get(word, "poor"))
            for word, where in _where(words)
        ],
        figures=[f"{name.capitalize()}: {found.figure}." for name, found in answers.items()],
    )


def _where(words: Mapping[str, str]) -> list[tuple[str, str]]:
    """Each word, and the views it holds in."""
    if len(set(words.values())) == 1:
        return [(next(iter(words.values())), "both views")]
    return [(word, f"the {name} view") for name, word in words.items()]


def _heading(view: ViewComparison | ViewSummary) -> str:
    return f"{f.VIEW_NAMES[view.view].capitalize()} view"


def _measured(comparison: Comparison) -> list[tuple[str, list[str]]]:
    workload = ("Workload", [_workload(comparison)])
    scored = modes.of_both_views(comparison)
    return _measured_on(comparison, comparison.sources, scored, workload)


def _measured_of_set(found: ComparisonSet) -> list[tuple[str, list[str]]]:
    lines = [f"{one.scope.workload}: {by_workload.size(one)} tokens" for one in found.workloads]
    workloads = ("Workloads (query + items x tokens)", lines)
    sources = whole_sources(found.workloads)
    return _measured_on(found.workloads[0], sources, scored_of_set(found), workloads)


def _workload(comparison: Comparison) -> str:
    scope = comparison.scope
    return (
        f"{f.count(scope.items, 'item')} of {f.count(scope.item_tokens, 'token')},"
        f" query of {f.count(scope.query_tokens, 'token')};"
        f" {f.chunk_sizes(scope.chunk_sizes, sorted(scope.chunk_sizes))}"
    )


def _measured_on(
    comparison: Comparison,
    sources: list[MatrixSource],
    scored: str,
    workload: tuple[str, list[str]],
) -> list[tuple[str, list[str]]]:
    scope, pair = comparison.scope, comparison.pair
    good, planned = (
        sum(getattr(source, name) for source in sources)
        for name in ("good_passes", "planned_passes")
    )
    return [
        ("Model", [scope.model.title]),
        ("How items are scored", [scored]),
        (
            "Versions",
            [f"{whose(of, sources, pair)}: {text}" for text, of in _by(sources, _version)],
        ),
        ("Host", _hosts(sources, pair)),
        ("Target and contract", [f"{scope.identity.target}, {scope.identity.contract}"]),
        workload,
        ("Timed passes", [f"{good} of {planned} succeeded"]),
    ]


def _by(
    sources: list[MatrixSource], describe: Callable[[MatrixSource], str]
) -> Iterator[tuple[str, list[MatrixSource]]]:
    """Each description, and the sources of one backend that share it."""
    found: dict[tuple[Backend, str], list[MatrixSource]] = {}
    for source in sources:
        found.setdefault((source.backend, describe(source)), []).append(source)
    return ((text, of) for (_, text), of in found.items())


def _hosts(sources: list[MatrixSource], pair: Pair) -> list[str]:
    """One line where every measurement has the same host."""
    every = list(dict.fromkeys(map(_host, sources)))
    if len(every) == 1:
        return every
    return [f"{whose(of, sources, pair)}: {text}" for text, of in _by(sources, _host)]


def _version(source: MatrixSource) -> str:
    repaired = " (repaired at launch)" if source.run.repaired else ""
    started = "" if source.base_url is None else f", started elsewhere, at {source.base_url}"
    return f"{source.run.backend_version or 'not available'}{repaired}{started}"


def _host(source: MatrixSource) -> str:
    host = source.run.host
    return (
        f"{host.name}: {host.processor}, {host.cpus} CPUs in use,"
        f" {f.gibibytes(host.memory_bytes)}, {host.system}"
    )
