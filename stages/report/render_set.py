"""The report's pages where several workloads were measured. A result in, Markdown out.

``report.md`` says what holds over all of them and links to a page for each, ``NAME/report.md``.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from stages.contract import VIEWS, View
from stages.documents.comparison import Comparison, ComparisonSet
from stages.report import by_workload, modes, tables
from stages.report import format as f
from stages.report.conclusion import caveat, decision, partial
from stages.report.figures.titles import BY_WORKLOAD
from stages.report.prose.flags import flag
from stages.report.prose.winner import answer
from stages.report.ranking import ranking_gate
from stages.report.render import (
    PAGES,
    date_of,
    markdown_templates,
    question_of,
    render_all,
    render_part,
)
from stages.report.trust import proves, trust


@dataclass(frozen=True, slots=True)
class ChecksOfSet:
    """One check; ``words`` has its verdicts for each workload."""

    name: str
    words: list[str]


def render_set(found: ComparisonSet) -> dict[str, str]:
    """Every page, by its path below the report's folder."""
    if len(found.workloads) == 1:
        return render_all(found.workloads[0])
    environment, context = markdown_templates(), _context(found)
    names = dict(zip(PAGES, ("over_all.md.j2", "over_all_in_short.md.j2"), strict=True))
    pages = {
        page: environment.get_template(template).render(context) for page, template in names.items()
    }
    return pages | {f"{one.scope.workload}/report.md": render_part(one) for one in found.workloads}


def merged(found: ComparisonSet, said: dict[str, list[str]]) -> list[str]:
    """Sentences of all workloads: each once, with the workloads that it holds for.

    Args:
        found: the result.
        said: by workload.
    """
    by_sentence: dict[str, list[str]] = {}
    for name, every in said.items():
        for sentence in every:
            by_sentence.setdefault(sentence, []).append(name)
    total = len(found.workloads)
    return [
        sentence if len(names) == total else f"{f.join(names)}: {sentence}"
        for sentence, names in by_sentence.items()
    ]


def partial_of_set(found: ComparisonSet) -> list[str]:
    """What is missing, in sentences; empty when the result is complete."""
    return merged(found, {one.scope.workload: partial(one) for one in found.workloads})


def remarks_of_set(found: ComparisonSet) -> list[str]:
    """Remarks on how items were scored, in sentences."""
    return merged(found, {one.scope.workload: modes.remarks(one) for one in found.workloads})


def scored_of_set(found: ComparisonSet) -> str:
    """How the items of every workload were scored."""
    return tables.same_or_by_name(
        {one.scope.workload: modes.of_both_views(one) for one in found.workloads}
    )


@dataclass(frozen=True, slots=True)
class Against:
    """What stands against the scores, and what against the times, in sentences."""

    against: list[str]
    against_times: list[str]


def against_of_set(found: ComparisonSet) -> Against:
    """What stands against scores and times, with the workloads it holds for."""
    every = {one.scope.workload: trust(one) for one in found.workloads}
    return Against(
        merged(found, {name: one.against for name, one in every.items()}),
        merged(found, {name: one.against_times for name, one in every.items()}),
    )


def flags_of_set(found: ComparisonSet, name: View) -> list[str]:
    """What lowers the confidence in the winners of a view, with the workloads it holds for."""
    return merged(found, _flags(found, name))


def common_flags(found: ComparisonSet, name: View) -> list[str]:
    """What of it holds for every workload, and how much more there is, for the first screen."""
    said = _flags(found, name)
    common = [one for one in next(iter(said.values())) if all(one in of for of in said.values())]
    more = len(merged(found, said)) - len(common)
    also = " more" if common else ""
    rest = [f"{more}{also} in single workloads: see the conclusion"] if more else []
    return [*common, *rest]


def _flags(found: ComparisonSet, name: View) -> dict[str, list[str]]:
    return {
        one.scope.workload: [flag(each, one.pair) for each in one.view(name).winner.flags]
        for one in found.workloads
    }


def _confidence(found: ComparisonSet) -> list[str]:
    """How sure the winners of each view are, best-native view first, and what lowers it."""
    because = ["For a deployment: none."] if caveat(found.workloads[0]) else []
    for name in reversed(VIEWS):
        sure = by_workload.confidences(found, name)[0]
        lowered = "; ".join(flags_of_set(found, name))
        text = sure + (f". Lowered by: {lowered}" if lowered else "")
        because.append(f.in_view(name, text))
    return because


def _recommendation(found: ComparisonSet) -> list[str]:
    """What to deploy for each workload, or why nothing can be said."""
    because = caveat(found.workloads[0])
    if because:
        return [f"No deployment decision can be drawn from this run: it measures {because}."]
    return [f"{one.scope.workload}: {decision(one.best_native)}" for one in found.workloads]


def _checks(found: ComparisonSet) -> list[ChecksOfSet]:
    by_workload_ = [trust(one).checks for one in found.workloads]
    return [
        ChecksOfSet(same[0].name, [check.verdicts for check in same])
        for same in zip(*by_workload_, strict=True)
    ]


def _tables(one: Comparison) -> dict[str, object]:
    views = [tables.view_tables(view, one.gate) for view in one.views()]
    return {"name": one.scope.workload, "views": views}


def _pages(found: ComparisonSet) -> Iterator[tuple[str, str]]:
    for one in found.workloads:
        name = one.scope.workload
        yield f"data/report/{name}/report.md", f"tables, figures and findings of workload {name}"


def _context(found: ComparisonSet) -> dict[str, object]:
    first, summary = found.workloads[0], found.summary.views()
    return {
        "over_all": True,
        "descriptive": False,
        "up": "",
        "date": date_of(first),
        "question": question_of(first.pair),
        "pair": first.pair,
        "scope": first.scope,
        "partial": partial_of_set(found),
        "caveat": caveat(first),
        "remarks": remarks_of_set(found),
        "scored": scored_of_set(found),
        "answer": by_workload.answer(found),
        "sentences": [
            sentence for view in summary for sentence in by_workload.sentences(view, first.pair)
        ],
        "workload_names": f.join([one.scope.workload for one in found.workloads]),
        "workloads": by_workload.rows(found),
        "levels": by_workload.levels(found),
        "figure_title": BY_WORKLOAD,
        "names": [one.scope.workload for one in found.workloads],
        "checks": _checks(found),
        "trust": against_of_set(found),
        "proves": proves(first),
        "recommendation": _recommendation(found),
        "confidence": _confidence(found),
        "links": [(one.scope.workload, answer(one.views())) for one in found.workloads],
        "tables": [_tables(one) for one in found.workloads],
        "limits": {"ranking": first.gate.ranking is not None},
        "ranking_gate": ranking_gate(first),
        "resamples": first.selection.resamples,
        "time_rows": tables.time_rows(first),
        "provenance": tables.provenance_rows(found.workloads),
        "commands": tables.commands(first),
        "artifacts": [*tables.artifacts(first), *_pages(found)],
    }
