"""Stage ``report``: read the comparison and write the report, its short form and its figures.

Writes to ``data/report/``: ``report.md``, ``comparison.md``, ``report.html`` (the report as one
page) and ``figures/*.svg``.
"""

from __future__ import annotations

from pathlib import Path

import click

from stages.common.errors import one_line_errors
from stages.common.files import write_whole
from stages.documents.comparison import load_comparison
from stages.documents.matrix import COMPARISON_FILE
from stages.report.figures import draw_all
from stages.report.format import VIEW_NAMES
from stages.report.html import PAGE, render_html
from stages.report.modes import of_view
from stages.report.prose.winner import result
from stages.report.render import render_all


@click.command()
@click.option("--comparison", type=click.Path(path_type=Path), default=COMPARISON_FILE)
@click.option("--output", type=click.Path(path_type=Path), default=Path("data") / "report")
@one_line_errors
def main(comparison: Path, output: Path) -> None:
    """Write the report."""
    found = load_comparison(comparison)
    # Everything is made before anything is written, so a bug leaves the old report whole.
    pages = render_all(found)
    figures = draw_all(found)
    pages[PAGE] = render_html(found, pages["report.md"], figures)
    for name, text in pages.items():
        write_whole(output / name, text.encode())
    for name, drawing in figures.items():
        write_whole(output / "figures" / name, drawing)
    for view in found.views():
        scored = f" (items scored: {of_view(view)})"
        click.echo(f"{VIEW_NAMES[view.view]} view{scored}: {result(view)}")
    click.echo(f"{output / 'report.md'}: {len(pages)} pages, {len(figures)} figures")
