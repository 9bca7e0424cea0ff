"""Can the scores be trusted? Every check on them, for both views. Text out.

What stands against the scores is listed once: from the reasons of the ineligible cells, else
from the check whose answer is not the good one (see ``checks``). Two checks judge the times alone:
work of others, and tokens that a prefix cache kept for a later pass, slow a server down or speed it
up and leave its scores as they are. What they find is listed apart.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal

from stages.contract import Backend
from stages.documents.cell import MatrixKey
from stages.documents.comparison import Cell, Comparison, ViewComparison
from stages.report import checks as say
from stages.report import format as f
from stages.report import starts
from stages.report.checks import Answer
from stages.report.prose.reasons import PLAIN, reason
from stages.report.prose.server import failures, is_unavailable, is_unavailable_where
from stages.report.ranking import ranking_answer

_PROVES = [
    (
        "Power",
        "the same gate must catch wrong answers made from the measured scores, or passing it"
        " means nothing.",
    ),
    (
        "Ranking",
        "users sort by scores, so no two items that the reference tells apart may change places.",
    ),
    (
        "Noise floor",
        "how far a server's answers to the same request differ; less than that means nothing.",
    ),
    (
        "Isolation",
        "an item's score must not move when only its neighbours change: their order, tokens,"
        " number or lengths. What is not more than the noise and rounding does not count.",
    ),
    (
        "Oracle",
        "plain forward passes without a server, one prompt at a time, say which backend is"
        " right where they differ.",
    ),
    (
        "Prefix cache",
        "a timed pass may share prompt tokens with itself where its view has a prefix cache, and"
        " take nothing that an earlier pass left there.",
    ),
    ("Other work on the machine", "a busy machine disturbs the times, not the scores."),
]
_AFTER_ISOLATION = 1 + [name for name, _ in _PROVES].index("Isolation")


def proves(comparison: Comparison) -> list[tuple[str, str]]:
    """Each check, and what it proves."""
    mine = comparison.pair.candidate.title
    sentence = f"{mine} must give the frozen reference's scores for the identical requests."
    more = [(starts.NAME, starts.PROVES)] if comparison.scope.probe_starts else []
    return [("Gate", sentence), *_PROVES[:_AFTER_ISOLATION], *more, *_PROVES[_AFTER_ISOLATION:]]


type Judged = Literal["scores", "times"]


@dataclass(frozen=True, slots=True)
class Check:
    """One check in both views, portable first, and what it judges."""

    name: str
    answers: list[Answer]
    judges: Judged = "scores"

    @property
    def short(self) -> str:
        """The verdicts alone: ``Gate: pass in both views.``."""
        return f"{self.name}: {self.verdicts}."

    @property
    def verdicts(self) -> str:
        """The verdicts of both views: ``pass in both views``."""
        portable, native = (answer.word for answer in self.answers)
        if portable == native:
            return f"{portable} in both views"
        return f"{portable} in the portable view, {native} in the best-native view"


@dataclass(frozen=True, slots=True)
class Trust:
    """Every check, and a sentence for each thing that stands against scores or times."""

    checks: list[Check]
    against: list[str]
    against_times: list[str]


def trust(comparison: Comparison) -> Trust:
    """Everything the report says about how far the scores can be trusted."""
    limits, views = comparison.gate, comparison.views()

    def each(
        name: str,
        answer: Callable[[ViewComparison, Backend], Answer],
        judges: Judged = "scores",
    ) -> Iterator[Check]:
        for b in comparison.pair.both:
            found = [
                Answer("unavailable", view.unavailable[b])
                if b in view.unavailable
                else answer(view, b)
                for view in views
            ]
            yield Check(f"{name}, {comparison.pair.title(b)}", found, judges)

    def between(name: str, answer: Callable[[ViewComparison], Answer]) -> Check:
        return Check(
            name,
            [
                Answer("not compared", is_unavailable(view.unavailable, view.pair))
                if view.unavailable
                else answer(view)
                for view in views
            ],
        )

    sources = {MatrixKey(source.backend, source.view): source for source in comparison.sources}
    checks = [
        between("Gate", lambda view: say.gate_answer(view, limits)),
        between("Power", lambda view: say.power_answer(view, limits)),
        between("Ranking", ranking_answer),
        *each("Noise floor", lambda view, b: say.noise_answer(view, b, limits)),
        *each("Isolation", say.isolation_answer),
        *(each(starts.NAME, starts.starts_answer) if comparison.scope.probe_starts else []),
        *each("Oracle", lambda view, b: say.oracle_answer(view, b, limits)),
        between("Oracle's verdict", say.verdict_answer),
        *each("Prefix cache", say.prefix_cache_answer, "times"),
        *each(
            "Other work on the machine",
            lambda view, b: say.load_answer(view, b, sources.get(MatrixKey(b, view.view))),
            "times",
        ),
    ]
    against = [s for view in views for s in ineligible(view, view.unavailable)]
    if comparison.unavailable:
        why = is_unavailable_where(comparison.unavailable, comparison.pair)
        there = "" if all(view.unavailable for view in views) else " there"
        against.insert(0, f"{why}, so no scores were compared{there}.")
    return Trust(checks, against + _against(checks, "scores"), _against(checks, "times"))


def _against(checks: list[Check], judged: Judged) -> list[str]:
    """What the checks on scores or times found against them."""
    return [
        sentence
        for check in checks
        if check.judges == judged
        for answer in check.answers
        for sentence in answer.against
    ]


def ineligible(
    view: ViewComparison, unavailable: Mapping[Backend, str] = MappingProxyType({})
) -> list[str]:
    """Why cells may not be selected; chunk sizes with the same reasons in one sentence.

    What follows from the absence of an ``unavailable`` backend alone is left out.
    """
    found: dict[tuple[Backend, str], list[int]] = {}
    for cell in view.cells:
        alone = unavailable and cell.gate is not None and cell.gate.verdict == "not_compared"
        if cell.backend in unavailable or (alone and len(cell.reasons) == 1):
            continue
        if reasons := _why_not(cell):
            found.setdefault((cell.backend, reasons), []).append(cell.chunk_size)
    every = sorted({cell.chunk_size for cell in view.cells})
    return [
        f"{f.backend_view(backend, view.view, view.pair)},"
        f" {f.chunk_sizes(sizes, every)}: {reasons}."
        for (backend, reasons), sizes in found.items()
    ]


def _why_not(cell: Cell) -> str:
    parts = [*map(reason, cell.reasons), *([failures(cell.failures)] if cell.failures else [])]
    if not parts and cell.items_per_s is None:
        parts = [PLAIN["no_figures"]]
    return "; ".join(parts)
