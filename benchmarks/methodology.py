"""Tables of ``docs/methodology.md`` that a benchmark writes, each between markers with its name."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import click

from stages.common.files import write_whole

METHODOLOGY = Path("docs/methodology.md")


def markers(name: str) -> tuple[str, str]:
    """What stands before and after the text of that name."""
    return f"<!-- {name}: begin -->", f"<!-- {name}: end -->"


def as_markdown(table: Sequence[Sequence[str]], text_columns: int = 1) -> str:
    """A Markdown table, the heading first; columns after those of text are right-aligned."""
    heading, *body = table
    rule = ["---"] * text_columns + ["---:"] * (len(heading) - text_columns)
    return "\n".join(f"| {' | '.join(line)} |" for line in [heading, rule, *body])


def between_markers(page: str, text: str, name: str) -> str:
    """``page`` with ``text`` between the two markers of that name.

    Raises:
        ClickException: they are not there.
    """
    begin, end = markers(name)
    before, found, rest = page.partition(begin)
    _, ended, after = rest.partition(end)
    if not found or not ended:
        raise click.ClickException(
            f"{METHODOLOGY}: no {begin} ... {end} to replace the text between"
        )
    return f"{before}{begin}\n{text}\n{end}{after}"


def write_section(text: str, name: str) -> None:
    """Put ``text`` between the markers of that name."""
    page = between_markers(METHODOLOGY.read_text("utf-8"), text, name)
    write_whole(METHODOLOGY, page.encode())
