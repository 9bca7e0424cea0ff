"""The report as one self-contained HTML page.

It is made from the text of ``report.md``, so both say the same: a first screen of its own (see
``first_screen``) stands for what precedes the Markdown's first figure, the rest is parsed and
dressed. Whatever comes from outside is escaped twice over: for Markdown when ``report.md`` was
made, for HTML here. Raw HTML in the Markdown stays text.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import pairwise
from pathlib import PurePosixPath

import jinja2
from markdown_it import MarkdownIt
from markdown_it.token import Token
from markupsafe import Markup, escape

from stages.documents.comparison import Comparison, ComparisonSet
from stages.report.figures.theme import DARK, LIGHT, themed
from stages.report.first_screen import first_screen, screen_of_set
from stages.report.prose.winner import answer
from stages.report.render import one_line, question_of, templates

PAGE = "report.html"

_PARSER = MarkdownIt("commonmark", {"html": False}).enable("table")
_RIGHT = "text-align:right"

FOLDED = "the-workloads"
"""The anchor of the section in which the page of each workload is folded."""


@dataclass(frozen=True, slots=True)
class Section:
    """A heading of the second level and what follows it; the first section has none.

    Attributes:
        anchor: the heading's id; empty in the first section.
    """

    anchor: str
    title: str
    body: Markup


@dataclass(frozen=True, slots=True)
class Part:
    """One workload of several, folded: its name, its result, and the sections of its own page."""

    name: str
    result: str
    sections: list[Section]


def render_html(
    found: ComparisonSet, pages: Mapping[str, str], figures: Mapping[str, bytes]
) -> str:
    """The page.

    Args:
        found: the source of the first screen.
        pages: path -> Markdown, ``report.md`` and the page of each workload.
        figures: path -> SVG, every one that these pages show.
    """
    tokens = _PARSER.parse(pages["report.md"])
    several = len(found.workloads) > 1
    return (
        templates(_printed, html=True)
        .get_template(f"{PAGE}.j2")
        .render(
            title=_title(tokens),
            question=question_of(found.workloads[0].pair),
            screen=screen_of_set(found) if several else first_screen(found.workloads[0]),
            sections=list(_sections(tokens, _in_folder("figures", figures))),
            parts=[_part(one, pages, figures) for one in found.workloads] if several else [],
            folded=FOLDED,
            light=_variables(LIGHT),
            dark=_variables(DARK),
        )
    )


def _part(one: Comparison, pages: Mapping[str, str], figures: Mapping[str, bytes]) -> Part:
    name = one.scope.workload
    tokens = _PARSER.parse(pages[f"{name}/report.md"])
    drawn = _in_folder(f"{name}/figures", figures)
    return Part(name, answer(one.views()), list(_sections(tokens, drawn, name)))


def _in_folder(folder: str, figures: Mapping[str, bytes]) -> dict[str, bytes]:
    """File name -> SVG of one folder."""
    found = {PurePosixPath(path): drawing for path, drawing in figures.items()}
    return {path.name: one for path, one in found.items() if str(path.parent) == folder}


def _printed(value: object) -> object:
    """What a template prints for ``value``, before it is escaped."""
    if isinstance(value, Markup | jinja2.Undefined):
        return value  # printing what is undefined raises, and names it
    if isinstance(value, str):
        return one_line(value)
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    raise TypeError(f"a template prints {value!r}; format it first")


def _variables(colours: Mapping[str, str]) -> Markup:
    # Escaping would break a style sheet; these names and colours are constants of the palette.
    return Markup("".join(f"{name}:{colour};" for name, colour in colours.items()))  # noqa: S704


def _title(tokens: list[Token]) -> str:
    heading = next(i for i, token in enumerate(tokens) if token.type == "heading_open")
    return _text(tokens[heading + 1])


def _text(inline: Token) -> str:
    """What a reader sees of ``inline``."""
    return "".join(
        " " if child.type == "softbreak" else child.content for child in inline.children or []
    )


def _sections(
    tokens: list[Token], figures: Mapping[str, bytes], part: str = ""
) -> Iterator[Section]:
    """The page below its first screen, heading by heading.

    Args:
        tokens: of the Markdown.
        figures: file name -> SVG.
        part: begins every anchor and every id of a figure, where the page is a part of another.
    """
    starts = [i for i, one in enumerate(tokens) if one.type == "heading_open" and one.tag == "h2"]
    first = next((i - 1 for i, one in enumerate(tokens) if _pictures(one)), starts[0])
    anchors, prefixes = _Names(part), _Names(part)
    for start, end in pairwise(sorted({min(first, starts[0]), *starts, len(tokens)})):
        own = tokens[start:end]
        title = _text(own[1]) if start in starts else ""
        anchor = anchors.of(title) if title else ""
        dressed = _with_figures(own[3:] if title else own, figures, prefixes)
        dressed = _with_anchors(dressed, anchors)
        dressed = _with_tables(dressed, title)
        yield Section(anchor, title, _rendered(dressed))


def _rendered(tokens: list[Token]) -> Markup:
    html = _PARSER.renderer.render(tokens, _PARSER.options, {})
    return Markup(html)  # noqa: S704  markdown-it escapes what it renders


class _Names:
    """Names made of headings, and a number where one comes again."""

    def __init__(self, part: str = "") -> None:
        self._part = f"{part}-" if part else ""
        self._seen: Counter[str] = Counter()

    def of(self, text: str) -> str:
        """``Can these be trusted?`` is ``can-these-be-trusted``."""
        name = self._part + (re.sub(r"[^\w]+", "-", text.lower()).strip("-") or "part")
        self._seen[name] += 1
        return name if self._seen[name] == 1 else f"{name}-{self._seen[name]}"


def _raw(html: str) -> Token:
    """HTML that is printed as it stands."""
    return Token("html_block", "", 0, content=html)


def _with_anchors(tokens: list[Token], anchors: _Names) -> list[Token]:
    for heading, inline in pairwise(tokens):
        if heading.type == "heading_open":
            heading.attrSet("id", anchors.of(_text(inline)))
    return tokens


def _pictures(token: Token) -> list[Token]:
    """The images of ``token``, where it holds images only."""
    shown = [child for child in token.children or [] if child.type != "softbreak"]
    shown = [child for child in shown if child.type != "text" or child.content.strip()]
    return shown if all(child.type == "image" for child in shown) else []


def _with_figures(
    tokens: list[Token], figures: Mapping[str, bytes], prefixes: _Names
) -> list[Token]:
    """Paragraphs of pictures as figures, which lie side by side where there is room."""
    made: list[Token] = []
    for token in tokens:
        made.append(token)
        if token.type == "paragraph_close" and (pictures := _pictures(made[-2])):
            inside = "".join(_figure(picture, figures, prefixes) for picture in pictures)
            kind = "figures" if len(pictures) == 1 else "figures abreast"
            made[-3:] = [_raw(f'<div class="{kind}">\n{inside}</div>\n')]
    return made


def _figure(picture: Token, figures: Mapping[str, bytes], prefixes: _Names) -> str:
    path = PurePosixPath(str(picture.attrs["src"]))
    drawing = themed(figures[path.name], prefixes.of(path.stem), picture.content)
    return f"<figure>\n{drawing}\n<figcaption>{escape(picture.content)}</figcaption>\n</figure>\n"


def _with_tables(tokens: list[Token], title: str) -> list[Token]:
    """Tables in a box that scrolls, with columns of figures and headings marked as such."""
    made: list[Token] = []
    number, start = 0, 0
    for token in tokens:
        if token.type == "table_open":
            number += 1
            label = escape(f"{title or 'Summary'}, table {number}")
            box = f'<div class="table" role="region" tabindex="0" aria-label="{label}">\n'
            made.append(_raw(box))
            start = len(made)
        made.append(token)
        if token.type == "table_close":
            made[start:] = _dressed(made[start:])
            made.append(_raw("</div>\n"))
    return made


def _dressed(table: list[Token]) -> list[Token]:
    """One table: scopes of its headings, numeric columns, the winner's cells."""
    kinds = [token.type for token in table]
    head, body = kinds.index("thead_open"), kinds.index("thead_close") + 1
    for i, token in enumerate(table):
        if token.type in ("td_open", "th_open"):
            _dress_cell(token, table[i + 1], table[i + 2], opens=kinds[i - 1] == "tr_open")
    if not any(token.content for token in table[head:body] if token.type == "inline"):
        return table[:head] + table[body:]
    return table


def _dress_cell(cell: Token, inline: Token, close: Token, *, opens: bool) -> None:
    """Mark one cell; ``opens`` says whether it is the first of its row."""
    numeric = cell.attrs.pop("style", None) == _RIGHT
    if numeric:
        cell.attrJoin("class", "num")
    if cell.type == "th_open":
        cell.attrSet("scope", "col")
        return
    if opens:
        cell.tag = close.tag = "th"
        cell.attrSet("scope", "row")
    # Only the winner's figures are bold, see `_view.md.j2`.
    if numeric and re.fullmatch(r"\*\*.+\*\*", inline.content):
        cell.attrJoin("class", "won")
