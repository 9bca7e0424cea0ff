"""The report as one HTML page: the same content, nothing from elsewhere, nothing smuggled in."""

from __future__ import annotations

import html
import re
from collections import Counter
from collections.abc import Iterator
from html.parser import HTMLParser

import comparisons as build
import pytest
from markdown_it import MarkdownIt
from report_pages import html_of
from report_words import HOSTILE, everywhere, plain_comparison, talkative

from stages.documents.comparison import Comparison, Flag
from stages.report.figures import draw_all
from stages.report.figures.theme import DARK, LIGHT
from stages.report.prose.winner import answer, result
from stages.report.render import one_line, render_all

_DRAWN: dict[str, dict[str, bytes]] = {}


def figures_of(comparison: Comparison) -> dict[str, bytes]:
    """Its figures, drawn once, because that takes seconds."""
    key = comparison.model_dump_json()
    if key not in _DRAWN:
        _DRAWN[key] = draw_all(comparison)
    return _DRAWN[key]


def page(comparison: Comparison) -> str:
    return html_of(comparison, figures=figures_of(comparison))


def words_page(comparison: Comparison) -> str:
    """A page of which only the words are looked at: its figures are those of the plain one."""
    drawn = figures_of(plain_comparison())
    return html_of(comparison, figures=drawn)


class Reader(HTMLParser):
    """A page as a list of tags with their attributes, and its text outside of figures."""

    INLINE = frozenset({"a", "code", "em", "span", "strong"})
    VOID = frozenset({"meta", "br", "hr", "img", "link", "input"})

    def __init__(self, source: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.pieces: list[str] = []
        self.wrongly_closed: list[str] = []
        self.feed(source)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in self.INLINE:
            self.pieces.append(" ")
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        if not self.open or self.open.pop() != tag:
            self.wrongly_closed.append(tag)

    def handle_data(self, data: str) -> None:
        if not {"svg", "style", "head"} & set(self.open):
            self.pieces.append(data)

    @property
    def text(self) -> str:
        return " ".join("".join(self.pieces).split())

    def of(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.tags if name == tag]


def shape(source: str) -> list[tuple[str, frozenset[str]]]:
    """Every tag outside of figures, with the names of its attributes."""
    without = re.sub(r"<svg.*?</svg>", "", source, flags=re.DOTALL)
    return [(tag, frozenset(attributes)) for tag, attributes in Reader(without).tags]


def blocks(markdown: str) -> Iterator[str]:
    """The text of every paragraph, list item, cell, heading and code block, as a reader sees it."""
    for token in MarkdownIt("commonmark").enable("table").parse(markdown):
        if token.type == "inline":
            # What is emphasised may stand in an element of its own.
            kinds = ("text", "code_inline", "image")
            yield from (c.content for c in token.children or [] if c.type in kinds)
        elif token.type == "fence":
            yield token.content


@pytest.mark.parametrize("broken", [False, True])
def test_the_page_says_everything_the_markdown_says(broken: bool) -> None:
    comparison = plain_comparison()
    if broken:
        dead = build.failed("jax", "portable", 1, "timeout")
        portable = build.replaced(comparison.portable, dead)
        comparison = comparison.model_copy(update={"portable": portable})
    markdown = render_all(comparison)["report.md"]
    # Its first screen says the opening in its own layout: see the tests of the first screen.
    body = markdown[markdown.index("\n![") :]
    text = Reader(words_page(comparison)).text
    said = [" ".join(block.split()) for block in blocks(body)]
    assert len(said) > 200
    assert [block for block in said if block not in text] == []


def test_the_first_screen_says_the_opening_of_the_markdown() -> None:
    flags = [Flag(code="untrained_model"), Flag(code="other_work", backend="jax", share=0.12)]
    base = plain_comparison()
    lead = base.best_native.winner.model_copy(update={"flags": flags, "confidence": "low"})
    native = base.best_native.model_copy(update={"winner": lead})
    comparison = base.model_copy(update={"best_native": native})
    opening = Reader(words_page(comparison)).text.split("Contents")[0]

    markdown = render_all(comparison)["report.md"]
    table = markdown[markdown.index("| | |") : markdown.index("\n![")]
    # The question needs no label here.
    said = {block.strip() for block in blocks(table)} - {"Question"}
    assert [block for block in said if block not in opening] == []
    for one in [
        "Report: JAX vs PyTorch multi-item comparison (2026-02-11)",
        answer(comparison.views()),
        "an untrained small model on a CPU (untrained toy)",
        "not a deployment decision",
        result(native),
        "Confidence: low",
        "Confidence: high",
        "PyTorch leads in 100% of the resamples",
        "the model is small and untrained",
        "other work took 12% of the machine's CPU time while JAX was timed",
        "Gate: pass in both views",
        "2 of 2 JAX cells pass",
        "JAX: 1.2.3 (repaired at launch) PyTorch: 1.2.3",
        "lab: CPU, 2 CPUs in use, 8.0 GiB, Linux 6.1",
        "cpu, quick",
        "32 items of 8 tokens, query of 128 tokens; chunk sizes 1 and 4",
        "60 of 60 succeeded",
    ]:
        assert one in opening


def test_the_first_screen_says_how_the_items_were_scored() -> None:
    read = Reader(page(plain_comparison())).text.split("Contents")[0]
    assert (
        "How items were scored. Neither server did multi-item scoring in this run: each item was"
        " scored as a prompt of its own."
    ) in read
    assert (
        "How items are scored portable view: both separate; best-native view: both cached" in read
    )
    native = read[read.index("Best-native view") :]
    assert "Items scored: both cached." in native[: native.index("Portable view")]

    packed = {"scoring": dict.fromkeys(("jax", "pytorch"), build.scored("packed"))}
    base = plain_comparison(model=build.TRAINED, sources=build.on("tpu", "cuda"))
    views = {view.view: view.model_copy(update=packed) for view in base.views()}
    source = words_page(base.model_copy(update=views))
    assert "How items were scored." not in source
    assert 'class="notice"' not in source
    assert "portable view: both packed; best-native view: both packed" in source


def test_a_gate_that_fails_in_one_view_is_said_for_that_view() -> None:
    base = plain_comparison()
    wrong = build.gate("fail", 0.5, 0.25)
    drifted = build.cell(
        "jax",
        "portable",
        1,
        40.0,
        gate=wrong,
        eligible=False,
        reasons=[build.reason("gate_failed")],
    )
    portable = build.replaced(base.portable, drifted)
    found = base.model_copy(update={"portable": portable})
    opening = Reader(words_page(found)).text.split("Contents")[0]

    assert "Gate: pass in the best-native view" in opening
    assert "Gate: fail in the portable view" in opening
    assert "1 finding stands against them." in opening


def test_the_first_screen_counts_what_stands_against_the_times_apart_from_the_scores() -> None:
    base = plain_comparison()
    busy = [
        build.source(one.backend, one.view, foreign_cpu=0.25 if one.backend == "jax" else 0.03)
        for one in base.sources
    ]
    source = words_page(base.model_copy(update={"sources": busy}))
    opening = Reader(source).text.split("Contents")[0]
    scores, times = opening.split("Are the times undisturbed?")

    assert "Nothing stands against them. Every check" in scores
    assert times.strip().startswith("2 findings stand against them. Every check")
    assert source.split("<nav")[0].count('href="#can-these-scores-be-trusted"') == 2

    one_view = [s if s.view == "portable" else build.source(s.backend, s.view) for s in busy]
    source = words_page(base.model_copy(update={"sources": one_view}))
    assert "1 finding stands against them." in Reader(source).text
    assert "Are the times undisturbed?" not in Reader(page(base)).text


def test_what_is_missing_is_said_before_everything_else() -> None:
    dead = [build.failed(b, "best_native", s, "oom") for b in ("jax", "pytorch") for s in (1, 4)]
    portable = plain_comparison().portable
    comparison = build.comparison(portable, build.view_of("best_native", dead))
    text = Reader(words_page(comparison)).text.removeprefix("Skip to the report").strip()

    assert text.startswith("PARTIAL. JAX, best-native view: no timed pass succeeded.")
    assert "Status Partial" in text
    assert not Reader(page(plain_comparison())).text.count("PARTIAL")


def test_two_hosts_and_two_versions_are_told_apart() -> None:
    other = build.source("jax", "portable").run.host.model_copy(update={"name": "tpu-lab"})
    sources = [
        build.source("jax", "portable", host=other, backend_version="9.9"),
        build.source("jax", "best_native", host=other),
        build.source("pytorch", "portable"),
        build.source("pytorch", "best_native"),
    ]
    opening = Reader(words_page(plain_comparison(sources=sources))).text.split("Contents")[0]

    assert "JAX, portable view: 9.9 (repaired at launch)" in opening
    assert "JAX, best-native view: 1.2.3 (repaired at launch)" in opening
    assert "PyTorch: 1.2.3" in opening
    assert "JAX: tpu-lab: CPU" in opening
    assert "PyTorch: lab: CPU" in opening


def test_the_page_needs_nothing_beside_itself() -> None:
    source = page(plain_comparison())
    read = Reader(source)
    (policy,) = [m["content"] for m in read.of("meta") if "http-equiv" in m]

    assert policy == "default-src 'none'; style-src 'unsafe-inline'"
    assert {"script", "link", "img", "iframe", "object", "base"} & {
        t for t, _ in read.tags
    } == set()
    assert not re.search(r"@import|url\((?!#)", source)
    linked = [
        value for _, a in read.tags for n in ("href", "src", "xlink:href") if (value := a.get(n))
    ]
    assert {link for link in linked if not link.startswith("#")} == {
        "../../docs/methodology.md",
        "../../README.md",
        "report.md",
        "comparison.md",
    }


def test_every_link_inside_the_page_leads_somewhere_and_every_id_is_one() -> None:
    read = Reader(page(plain_comparison()))
    ids = Counter(a["id"] for _, a in read.tags if "id" in a)
    inside = {a["href"] for a in read.of("a") if (a["href"] or "").startswith("#")}

    assert [one for one, count in ids.items() if count > 1] == []
    assert {f"#{one}" for one in ids} >= inside
    assert "#portable-view-results" in inside


def test_the_page_is_one_document_with_its_landmarks() -> None:
    source = page(plain_comparison())
    read = Reader(source)

    assert source.startswith("<!DOCTYPE html>\n")
    assert read.of("html") == [{"lang": "en"}]
    assert (read.open, read.wrongly_closed) == ([], [])
    count = Counter(tag for tag, _ in read.tags)
    assert [count[one] for one in ("h1", "main", "header", "nav", "footer")] == [1] * 5
    first = next(attributes for tag, attributes in read.tags if tag == "a")
    assert first["href"] == "#report"
    assert {"name": "color-scheme", "content": "light dark"} in read.of("meta")


def test_figures_stand_in_the_page_with_a_caption_each() -> None:
    comparison = plain_comparison()
    source = page(comparison)
    shown = re.findall(r"!\[([^\]]+)\]\(figures/", render_all(comparison)["report.md"])
    figures = re.findall(r"<figure>\s*<svg.*?</figure>", source, flags=re.DOTALL)
    captions = re.findall(r"<figcaption>(.*?)</figcaption>", "".join(figures))

    assert len(shown) >= 4
    assert [html.unescape(one) for one in captions] == shown
    assert "![" not in source


def test_the_figures_colours_are_declared_for_light_and_for_dark() -> None:
    source = page(plain_comparison())
    light, dark = re.findall(r":root\{(--page[^}]*)\}", source)

    assert light == "".join(f"{name}:{colour};" for name, colour in LIGHT.items())
    assert dark == "".join(f"{name}:{colour};" for name, colour in DARK.items())


def test_tables_scroll_in_a_box_of_their_own_and_have_headings() -> None:
    read = Reader(page(plain_comparison()))
    boxes = [a for a in read.of("div") if a.get("class") == "table"]

    assert len(boxes) == len(read.of("table")) > 10
    assert {(a["role"], a["tabindex"]) for a in boxes} == {("region", "0")}
    assert len({a["aria-label"] for a in boxes}) == len(boxes)
    assert {a["scope"] for a in read.of("th")} == {"col", "row"}
    assert not [a for _, a in read.tags if "text-align" in (a.get("style") or "")]


def test_only_the_winners_figures_are_marked() -> None:
    """p95 and items/s of the winner of either view."""
    source = page(plain_comparison())
    won = re.findall(r'<td class="num won"><strong>([^<]+)</strong></td>', source)

    # 32 items at 200 and 240 items/s take 160 and 133.3 ms.
    assert [figure.split()[0] for figure in won] == ["160.0", "200.0", "133.3", "240.0"]
    assert source.count(" won") == 4


def test_without_a_winner_nothing_is_marked() -> None:
    comparison = plain_comparison()
    views = {
        view.view: view.model_copy(update={"winner": build.no_winner()})
        for view in comparison.views()
    }

    assert " won" not in words_page(comparison.model_copy(update=views))


def test_the_same_comparison_gives_the_same_bytes() -> None:
    def anew() -> str:
        comparison = plain_comparison()
        return html_of(comparison)

    assert anew() == page(plain_comparison())


def test_no_text_from_outside_becomes_markup() -> None:
    harmless, fields = everywhere(talkative(), "harmless")
    hostile, _ = everywhere(talkative(), HOSTILE)
    source = page(hostile)
    read = Reader(source)

    # So many kinds of field can hold words: a field that escapes this test is missed here.
    assert len(fields) > 30
    assert shape(source) == shape(page(harmless))
    assert (read.open, read.wrongly_closed) == ([], [])
    assert not [a for _, a in read.tags if any(name.startswith("on") for name in a)]
    assert "script" not in {tag for tag, _ in read.tags}
    assert "javascript:" not in "".join(a.get("href") or "" for a in read.of("a"))
    assert " ".join(one_line(HOSTILE).split()) in read.text
    assert not {"\x1b", "\u202e"} & set(source)


def test_raw_html_in_the_markdown_stays_text() -> None:
    comparison = plain_comparison()
    markdown = render_all(comparison)["report.md"] + "\n<script>alert(1)</script>\n"
    source = html_of(comparison, markdown, figures_of(comparison))

    assert "<script" not in source
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in source
