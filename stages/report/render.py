"""The report's pages as Markdown. A comparison in, text out.

Every value a template prints is escaped unless it is wrapped in :class:`Verbatim`, so a
host name or an error message cannot break a table or smuggle markup into the report.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import jinja2

from stages.documents.comparison import Comparison, Pair
from stages.report import format as f
from stages.report import modes, tables
from stages.report.conclusion import conclude, sureness
from stages.report.elsewhere import frozen
from stages.report.findings import find
from stages.report.latency import DESCRIPTIVE_BELOW
from stages.report.limitation import holds, masked
from stages.report.prose.winner import answer
from stages.report.ranking import ranking_gate, ranking_rows
from stages.report.trust import proves, trust

_MARKUP = re.compile(r"([\\`*_\[\]<>|~$#])")
# Characters that would start a list, a rule or a heading at the start of a line.
_OPENING = re.compile(r"^([-+=]|\d+(?=[.)](?: |$)))")


PAGES = ("report.md", "comparison.md")


class Verbatim(str):
    """Markdown that is printed as it stands."""

    __slots__ = ()


def one_line(text: str) -> str:
    """``text`` in one line.

    White space runs, newlines too, become one blank; control characters vanish.
    """
    return "".join(c for c in " ".join(text.split()) if c.isprintable())


def md(text: str) -> Verbatim:
    """``text`` as one line of Markdown that reads as the text itself."""
    escaped = _MARKUP.sub(r"\\\1", one_line(text).replace("&", "&amp;"))
    return Verbatim(_OPENING.sub(_disarmed, escaped))


def _disarmed(opening: re.Match[str]) -> str:
    # Markdown cannot escape a digit, so the dot after it is escaped.
    return f"{opening[1]}\\" if opening[1].isdigit() else f"\\{opening[1]}"


def code(text: str) -> Verbatim:
    """``text`` as a fenced block, whose fence is longer than any run of backticks in it."""
    printable = "".join(c for c in text if c.isprintable() or c == "\n")
    longest = max((len(run) for run in re.findall("`+", printable)), default=0)
    fence = "`" * max(3, longest + 1)
    return Verbatim(f"{fence}\n{printable}\n{fence}")


def span(text: str) -> Verbatim:
    """``text`` as a code span of a table's row (where a bar must be escaped in code too)."""
    line = one_line(text).replace("|", "\\|")
    longest = max((len(run) for run in re.findall("`+", line)), default=0)
    fence = "`" * (longest + 1)
    pad = " " if longest else ""
    return Verbatim(f"{fence}{pad}{line}{pad}{fence}")


def printed(value: object) -> str:
    """What a template prints for ``value``; anything but text and whole numbers is a bug."""
    if isinstance(value, Verbatim):
        return value
    if isinstance(value, jinja2.Undefined):
        return str(value)  # StrictUndefined raises here, naming what is undefined
    if isinstance(value, str):
        return md(value)
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    raise TypeError(f"a template prints {value!r}; format it first")


def templates(finalize: Callable[[object], object], *, html: bool = False) -> jinja2.Environment:
    """The report's templates; ``finalize`` makes text of every value and escapes Markdown."""
    return jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent / "templates"),
        undefined=jinja2.StrictUndefined,
        autoescape=html,  # noqa: S701  Markdown is no HTML: `finalize` escapes it
        finalize=finalize,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )


def question_of(pair: Pair) -> str:
    """The question that the report answers."""
    one, other = pair.candidate, pair.reference
    return (
        f"How well does {one.package} multi-item scoring perform next to a frozen {other.title}"
        f" {other.package} baseline?"
    )


def markdown_templates() -> jinja2.Environment:
    """The templates of the Markdown pages."""
    environment = templates(printed)
    environment.filters.update(code=code, span=span)
    return environment


def render_all(comparison: Comparison) -> dict[str, str]:
    """The pages of a result of one workload, by file name."""
    environment, context = markdown_templates(), _context(comparison)
    return {page: environment.get_template(f"{page}.j2").render(context) for page in PAGES}


def render_part(comparison: Comparison) -> str:
    """The page of one workload of several; what all of them share is in the report."""
    context = {**_context(comparison), "part_of_set": True, "up": "../"}
    return markdown_templates().get_template("report.md.j2").render(context)


def date_of(comparison: Comparison) -> str:
    """The day the latest measurement ended, in UTC."""
    finished = [f.instant(source.run.finished_at) for source in comparison.sources]
    return f"{max(finished):%Y-%m-%d}" if finished else f.ABSENT


def _context(comparison: Comparison) -> dict[str, object]:
    scope = comparison.scope
    view_tables = [tables.view_tables(view, comparison.gate) for view in comparison.views()]
    path = "data/compare/comparison.json, workload"
    return {
        "part_of_set": False,
        "over_all": False,
        "up": "",
        "source_of_view": {
            view.view: f"{path} {scope.workload}, {view.view}" for view in comparison.views()
        },
        "date": date_of(comparison),
        "question": question_of(comparison.pair),
        "pair": comparison.pair,
        "scope": scope,
        "frozen": frozen(comparison),
        "limitation": holds(comparison),
        "masked": masked(comparison.pair),
        "labels": ", ".join(map(str, scope.label_token_ids)),
        "chunk_sizes": ", ".join(map(str, scope.chunk_sizes)),
        "timeout": f.plain(scope.call_timeout_s),
        "limits": {
            "max": f.plain(comparison.gate.max_abs_diff),
            "mean": f.plain(comparison.gate.mean_abs_diff),
            "ranking": comparison.gate.ranking is not None,
        },
        "guardrail": f.plain(comparison.selection.guardrail),
        "resamples": comparison.selection.resamples,
        "portable": view_tables[0],
        "best_native": view_tables[1],
        "answer": answer(comparison.views()),
        "scoring": {
            "views": modes.of_both_views(comparison),
            "remarks": modes.remarks(comparison),
            "explained": modes.explained(comparison),
        },
        "answers": [
            (table.name, table.scored, table.sentence, sureness(view.winner, view.pair))
            for table, view in zip(view_tables, comparison.views(), strict=True)
        ],
        "trust": trust(comparison),
        "proves": proves(comparison),
        "ranking": list(ranking_rows(comparison)),
        "ranking_gate": ranking_gate(comparison),
        "findings": find(comparison),
        "conclusion": conclude(comparison),
        "time_rows": tables.time_rows(comparison),
        "provenance": tables.provenance_rows([comparison]),
        "commands": tables.commands(comparison),
        "artifacts": list(tables.artifacts(comparison)),
        "phases": tables.phases(comparison),
        "descriptive": tables.descriptive(comparison),
        "descriptive_below": DESCRIPTIVE_BELOW,
    }
