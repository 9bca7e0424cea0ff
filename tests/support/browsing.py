"""A real browser, and what a page must be in it. Every check returns its complaints."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import cast

from patience import PATIENCE_S
from playwright.sync_api import Browser, ConsoleMessage, Page, sync_playwright
from programs import find_program

NAMES = ("chromium", "chromium-browser", "google-chrome-stable", "google-chrome")
CONTRAST = 4.5
"""The least contrast of text to what is behind it (WCAG 2.2, 1.4.3)."""

_SOURCE = (Path(__file__).parent / "checks.js").read_text()


@contextmanager
def chromium() -> Iterator[Browser]:
    """A browser without a window, which ends with the block, its driver too."""
    path = find_program(*NAMES)
    root = ["--no-sandbox"] if os.geteuid() == 0 else []
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=path, args=root, timeout=1000 * PATIENCE_S
        )
        try:
            yield browser
        finally:
            browser.close()


class Shown:
    """A page as a browser shows it, and what it said and asked for meanwhile."""

    def __init__(self, page: Page, path: Path, *, unfolded: bool) -> None:
        self.page = page
        self.said: list[str] = []
        self.asked: list[str] = []
        page.on("console", self._hear)
        page.on("pageerror", lambda error: self.said.append(f"error: {error.message}"))
        page.on("dialog", lambda dialog: (self.said.append("a dialog"), dialog.dismiss()))
        page.on("request", lambda request: self.asked.append(request.url))
        page.goto(path.as_uri())
        self.asked.remove(path.as_uri())
        if unfolded:
            for summary in page.locator("summary").all():
                summary.click()

    def _hear(self, message: ConsoleMessage) -> None:
        if message.type in ("error", "warning"):
            self.said.append(f"{message.type}: {message.text}")

    def _complaints(self, question: str) -> list[str]:
        return cast("list[str]", self.page.evaluate(f"{_SOURCE}.{question}"))

    def illegible(self) -> list[str]:
        """Texts too close to the colour behind them."""
        return self._complaints(f"illegible({CONTRAST})")

    def overflowing(self) -> list[str]:
        """What reaches beyond the left or right edge, unless it is in a box that scrolls."""
        return self._complaints("overflowing()")

    def unseen(self) -> list[str]:
        """Figures without a drawing."""
        return self._complaints("unseen()")

    def clipped(self) -> list[str]:
        """Texts of figures that reach out of their figure."""
        return self._complaints("clipped()")

    def repeated(self) -> list[str]:
        """Ids of more than one element."""
        return self._complaints("repeated()")

    def unfocusable(self) -> list[str]:
        """What scrolls sideways but not by the keyboard."""
        return self._complaints("unfocusable()")

    def dark_on_paper(self) -> list[str]:
        """What would be printed in the colours of a dark screen."""
        self.page.emulate_media(media="print")
        return self._complaints("dark()")

    def text(self) -> str:
        """All a reader sees."""
        return self.page.inner_text("body")


@contextmanager
def shown(
    browser: Browser,
    path: Path,
    *,
    width: int = 1280,
    dark: bool = False,
    scripts: bool = True,
    unfolded: bool = True,
) -> Iterator[Shown]:
    """``path`` in a window of this width, with everything that is folded opened by a reader."""
    context = browser.new_context(
        viewport={"width": width, "height": 900},
        color_scheme="dark" if dark else "light",
        java_script_enabled=scripts,
    )
    context.set_default_timeout(1000 * PATIENCE_S)
    try:
        yield Shown(context.new_page(), path, unfolded=unfolded)
    finally:
        context.close()
