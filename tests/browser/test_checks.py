"""Each check of the browser tests complains of a page that is broken in just its way."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from browsing import Shown, chromium, shown
from patience import PATIENCE_S
from playwright.sync_api import Browser

type Check = Callable[[Shown], list[str]]

PAGE = """<!DOCTYPE html><html lang="en"><head><meta charset="utf-8"><title>t</title>
<style>body{{margin:0; background:#fff; color:#222}} @media print{{{print}}}</style></head>
<body>{body}</body></html>"""
FIGURE = """<figure><svg viewBox="0 0 200 100" width="400" height="200">
<path d="M0 0H200V100H0Z" fill="{fill}"/><text x="{x}" y="50" fill="#222">word</text>
</svg></figure>"""
SOUND = (
    FIGURE.format(fill="#eee", x=50)
    + '<div tabindex="0" style="overflow-x:auto"><p style="width:3000px">long</p></div>'
    + '<p id="one" style="color:#767676">just dark enough</p><p id="two">text</p>'
)

SAID: Check = lambda page: page.said  # noqa: E731
ASKED: Check = lambda page: page.asked  # noqa: E731

BROKEN: dict[str, tuple[Check, str, str]] = {
    "console error": (SAID, "<script>console.error('boom')</script>", "boom"),
    "console warning": (SAID, "<script>console.warn('boom')</script>", "boom"),
    "page error": (SAID, "<script>throw new Error('boom')</script>", "boom"),
    "dialog": (SAID, "<script>alert(1)</script>", "dialog"),
    "refused by its policy": (
        SAID,
        '<meta http-equiv="Content-Security-Policy" content="default-src \'none\'">'
        "<script>1</script>",
        "Content Security Policy",
    ),
    "a file beside it": (ASKED, '<img src="other.png" alt="">', "other.png"),
    "an address": (ASKED, '<img src="http://127.0.0.1:9/x.png" alt="">', "127.0.0.1:9"),
    "no figure": (Shown.unseen, "<p>text</p>", "no figure"),
    "figure without a drawing": (Shown.unseen, "<figure>gone</figure>", "gone"),
    "figure without a size": (
        Shown.unseen,
        '<figure><svg width="0" height="0"></svg>gone</figure>',
        "gone",
    ),
    "blank figure": (
        Shown.unseen,
        '<figure><svg width="300" height="300"></svg>blank</figure>',
        "blank",
    ),
    "clipped text": (Shown.clipped, FIGURE.format(fill="#eee", x=190), "word"),
    "wide page": (Shown.overflowing, '<p style="width:3000px">wide</p>', "the page is 3000 px"),
    "wide element": (Shown.overflowing, '<p style="width:3000px">wide</p>', "wide"),
    "off the left edge": (Shown.overflowing, '<p style="margin-left:-50px">left</p>', "left"),
    "cut off": (
        Shown.overflowing,
        '<div style="overflow:hidden"><p style="width:3000px">hidden</p></div>',
        "hidden",
    ),
    "pale text": (Shown.illegible, '<p style="color:#777">pale</p>', "contrast 4.48: pale"),
    "pale by opacity": (Shown.illegible, '<div style="opacity:.4"><p>faint</p></div>', "faint"),
    "pale by alpha": (Shown.illegible, '<p style="color:#0006">thin</p>', "thin"),
    "dark on a dark layer": (
        Shown.illegible,
        '<div style="background:#333"><p style="background:#fff1">dim</p></div>',
        "dim",
    ),
    "text on a dark shape": (Shown.illegible, FIGURE.format(fill="#444", x=50), "word"),
    "the same id twice": (Shown.repeated, '<p id="a">1</p><p id="a">2</p>', "a"),
    "scrolls by the mouse alone": (
        Shown.unfocusable,
        '<p style="overflow-x:auto; white-space:nowrap; width:9px">out of reach</p>',
        "out of reach",
    ),
    "pale on paper": (Shown.dark_on_paper, '<p style="color:#ccc">ink</p>', "ink"),
}
CHECKS: list[Check] = list(dict.fromkeys(check for check, _, _ in BROKEN.values()))


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as started:
        yield started


def write(folder: Path, body: str, paper: str = "") -> Path:
    path = folder / "page.html"
    path.write_text(PAGE.format(body=body, print=paper))
    return path


@pytest.mark.parametrize("name", BROKEN)
def test_a_check_complains(browser: Browser, tmp_path: Path, name: str) -> None:
    check, body, complaint = BROKEN[name]
    with shown(browser, write(tmp_path, body)) as page:
        # A browser on a busy machine may tell what a page said some time after it was loaded.
        deadline = time.monotonic() + PATIENCE_S
        while not any(complaint in one for one in check(page)):
            assert time.monotonic() < deadline, check(page)
            page.page.wait_for_timeout(50)


def test_a_sound_page_is_complained_of_by_none(browser: Browser, tmp_path: Path) -> None:
    with shown(browser, write(tmp_path, SOUND)) as page:
        assert [check(page) for check in CHECKS] == [[]] * len(CHECKS)


def test_pale_text_on_dark_layers_is_legible(browser: Browser, tmp_path: Path) -> None:
    layers = '<p style="background:#000"><b style="background:#fff2; color:#ccc">pale</b></p>'
    with shown(browser, write(tmp_path, layers)) as page:
        assert page.illegible() == []


def test_dark_paper_is_seen(browser: Browser, tmp_path: Path) -> None:
    dark = write(tmp_path, "<p>text</p>", "body{background:#14171a}")
    with shown(browser, dark) as page:
        assert page.illegible() == []
        assert any("the paper is rgb(20,23,26)" in one for one in page.dark_on_paper())


def test_text_that_a_script_writes_is_missed_without_scripts(
    browser: Browser, tmp_path: Path
) -> None:
    path = write(tmp_path, "<p>one</p><script>document.body.append('two')</script>")
    with shown(browser, path) as page, shown(browser, path, scripts=False) as bare:
        assert page.text() != bare.text() == "one"
