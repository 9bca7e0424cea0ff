"""The HTML page of a comparison of one workload."""

from __future__ import annotations

from collections.abc import Mapping

from comparisons import comparison_set

from stages.documents.comparison import Comparison
from stages.report.figures import draw_all
from stages.report.html import render_html
from stages.report.render import render_all


def html_of(
    comparison: Comparison,
    markdown: str | None = None,
    figures: Mapping[str, bytes] | None = None,
) -> str:
    """The page; ``markdown`` and ``figures`` (by file name) are made unless they are given."""
    drawn = draw_all(comparison) if figures is None else figures
    text = render_all(comparison)["report.md"] if markdown is None else markdown
    below = {f"figures/{name}": drawing for name, drawing in drawn.items()}
    return render_html(comparison_set(comparison), {"report.md": text}, below)
