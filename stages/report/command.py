"""Stage ``report``: read the comparison and write the report, its short form and its figures.

Writes to ``data/report/``: ``report.md``, ``comparison.md``, ``report.html`` (the report as one
page) and ``figures/*.svg``; where several workloads were measured, also ``NAME/report.md`` and
``NAME/figures/*.svg`` for each.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import click

from stages.common.errors import one_line_errors
from stages.common.files import write_whole
from stages.documents.comparison import ComparisonSet, load_comparison
from stages.documents.matrix import COMPARISON_FILE
from stages.report.by_workload import sentences
from stages.report.figures import draw_set
from stages.report.format import VIEW_NAMES
from stages.report.html import PAGE, render_html
from stages.report.modes import of_view
from stages.report.prose.winner import result
from stages.report.render_set import render_set


@click.command()
@click.option("--comparison", type=click.Path(path_type=Path), default=COMPARISON_FILE)
@click.option("--output", type=click.Path(path_type=Path), default=Path("data") / "report")
@one_line_errors
def main(comparison: Path, output: Path) -> None:
    """Write the report."""
    found = load_comparison(comparison)
    # Everything is made before anything is written, so a bug leaves the old report whole.
    pages = render_set(found)
    figures = draw_set(found)
    pages[PAGE] = render_html(found, pages, figures)
    for name, text in pages.items():
        write_whole(output / name, text.encode())
    for name, drawing in figures.items():
        write_whole(output / name, drawing)
    for line in _results(found):
        click.echo(line)
    click.echo(f"{output / 'report.md'}: {len(pages)} pages, {len(figures)} figures")


def _results(found: ComparisonSet) -> Iterator[str]:
    """The result of every workload in both views, and what they say together."""
    several = len(found.workloads) > 1
    for one in found.workloads:
        where = f"{one.scope.workload}, " if several else ""
        for view in one.views():
            scored = f" (items scored: {of_view(view)})"
            yield f"{where}{VIEW_NAMES[view.view]} view{scored}: {result(view)}"
    if several:
        for summary in found.summary.views():
            yield from sentences(summary, found.workloads[0].pair)
