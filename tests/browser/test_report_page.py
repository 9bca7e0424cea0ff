"""The report as a browser shows it: readable, whole and quiet, in light, in dark and on paper."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from browsing import Shown, chromium, shown
from contracts import ROOT
from playwright.sync_api import Browser
from specimens import COMPARISONS, page

COMMITTED = ROOT / "data" / "report" / "report.html"
PAGES = [*(["committed"] if COMMITTED.exists() else []), *COMPARISONS]
WIDTHS = [1280, 390]
A4 = 680
"""Pixels between the margins of a sheet, 180 mm at 96 dpi."""


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as started:
        yield started


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("pages")


def file_of(name: str, folder: Path) -> Path:
    if name == "committed":
        return COMMITTED
    path = folder / f"{name}.html"
    if not path.exists():
        path.write_text(page(name))
    return path


@pytest.fixture(
    scope="module",
    params=[(name, width, dark) for name in PAGES for width in WIDTHS for dark in (False, True)],
    ids=lambda one: f"{one[0]}-{one[1]}-{'dark' if one[2] else 'light'}",
)
def report(request: pytest.FixtureRequest, browser: Browser, folder: Path) -> Iterator[Shown]:
    name, width, dark = request.param
    with shown(browser, file_of(name, folder), width=width, dark=dark) as opened:
        yield opened


def test_the_browser_has_nothing_to_complain_of(report: Shown) -> None:
    assert report.said == []


def test_nothing_but_the_page_itself_is_asked_for(report: Shown) -> None:
    assert report.asked == []


def test_every_figure_is_drawn(report: Shown) -> None:
    assert report.unseen() == []


def test_no_text_of_a_figure_is_cut_off(report: Shown) -> None:
    assert report.clipped() == []


def test_nothing_reaches_beyond_the_edge_of_the_window(report: Shown) -> None:
    assert report.overflowing() == []


def test_what_scrolls_can_be_scrolled_by_the_keyboard(report: Shown) -> None:
    assert report.unfocusable() == []


def test_every_text_stands_out_from_what_is_behind_it(report: Shown) -> None:
    assert report.illegible() == []


def test_no_id_is_given_twice(report: Shown) -> None:
    assert report.repeated() == []


@pytest.mark.parametrize("name", PAGES)
def test_without_scripts_the_page_says_the_same(browser: Browser, folder: Path, name: str) -> None:
    path = file_of(name, folder)
    with shown(browser, path) as usual, shown(browser, path, scripts=False) as bare:
        assert bare.text() == usual.text() != ""


@pytest.mark.parametrize("name", PAGES)
def test_a_dark_screen_prints_on_white_paper(browser: Browser, folder: Path, name: str) -> None:
    with shown(browser, file_of(name, folder), dark=True) as opened:
        assert opened.dark_on_paper() == []
        assert opened.illegible() == []


@pytest.mark.parametrize("name", PAGES)
def test_nothing_reaches_beyond_the_edge_of_the_paper(
    browser: Browser, folder: Path, name: str
) -> None:
    with shown(browser, file_of(name, folder), width=A4) as opened:
        opened.page.emulate_media(media="print")
        assert opened.overflowing() == []


def test_paper_holds_what_is_folded_on_a_screen(browser: Browser, folder: Path) -> None:
    with shown(browser, file_of("several", folder), unfolded=False) as opened:
        folded = opened.page.get_by_text("Workload contract").first
        assert not folded.is_visible()
        opened.page.emulate_media(media="print")
        assert folded.is_visible()


def test_the_first_screen_of_a_desk_holds_the_answer_of_six_workloads(
    browser: Browser, folder: Path
) -> None:
    with shown(browser, file_of("several", folder), unfolded=False) as opened:
        for text in (
            "PyTorch wins all 6 workloads in both views",
            "Geometric mean of JAX / PyTorch in items/s",
            "mix all",
            "Neither server did multi-item scoring in this run",
            "Confidence: low",
            "Gate: fail in the portable view (small)",
            "Are the scores right?",
            "Are the times undisturbed?",
            "portable view: both separate; best-native view: both cached",
        ):
            box = opened.page.get_by_text(text).first.bounding_box()
            assert box is not None, text
            assert box["y"] + box["height"] <= 900, text
        found = opened.page.get_by_text("1 finding stands against them.")
        boxes = [found.nth(i).bounding_box() for i in range(2)]
        assert all(box and box["y"] + box["height"] <= 900 for box in boxes), boxes


def test_the_first_screen_of_a_desk_holds_the_answer_what_it_is_about_and_how_far_to_trust_it(
    browser: Browser, folder: Path
) -> None:
    with shown(browser, file_of("normal", folder)) as opened:
        for text in (
            "PyTorch is faster in both views",
            "Neither server did multi-item scoring in this run",
            "Confidence: low",
            "Gate: pass",
            "portable view: both separate; best-native view: both cached",
        ):
            box = opened.page.get_by_text(text).first.bounding_box()
            assert box is not None
            assert box["y"] + box["height"] <= 900
