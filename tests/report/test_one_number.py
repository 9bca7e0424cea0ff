"""One figure reads the same wherever the report prints it, and never contradicts a verdict."""

from __future__ import annotations

import re
from typing import Any

import comparisons as build
import pytest
from report_pages import html_of

from stages.documents.comparison import Comparison, Ratio, ViewComparison
from stages.report.conclusion import conclude
from stages.report.findings import find
from stages.report.first_screen import first_screen
from stages.report.render import render_all
from tools.diff.words import NamedComparison, changes_markdown

ONE = re.compile(r"(?<![\d.])1\.00x")


def view(name: Any, jax: float, pytorch: float, **changes: Any) -> ViewComparison:
    return build.speeds(name, {4: jax}, {4: pytorch}, **changes)


def both(jax: float, pytorch: float, **changes: Any) -> Comparison:
    return build.comparison(
        *(view(name, jax, pytorch, **changes) for name in ("portable", "best_native"))
    )


def narrow(ratio: float, low: float, high: float) -> list[Ratio]:
    interval = build.interval(low, high)
    return [Ratio(chunk_size=4, items_per_s=ratio, items_per_s_interval=interval, p95_s=1 / ratio)]


@pytest.mark.parametrize(("jax", "pytorch"), [(100.3, 100.0), (100.0, 100.3), (100.004, 100.0)])
def test_no_page_tells_a_lead_by_a_factor_of_one(jax: float, pytorch: float) -> None:
    ratio = jax / pytorch
    close = narrow(ratio, *sorted((ratio, 1 + (ratio - 1) * 1.1)))
    comparison = both(jax, pytorch, ratios=close)
    pages = render_all(comparison)
    html = html_of(comparison, pages["report.md"])

    for name, page in {**pages, "report.html": html}.items():
        # The builder's first pass takes exactly as long as the others.
        leads = [line for line in page.splitlines() if "first-run penalty" not in line]
        assert not ONE.findall("\n".join(leads)), name
    # The sides are taken, so their factors are there to be read.
    side = find(comparison).better if jax > pytorch else find(comparison).worse
    assert "PyTorch's items/s" in side[0]
    assert ("Throughput" in conclude(comparison).priorities[0]) is (jax < pytorch)


def test_an_interval_that_leaves_one_out_does_not_read_as_if_it_reached_it() -> None:
    (said,) = find(both(100.5, 100.0, ratios=narrow(1.005, 1.002, 1.008))).better[:1]

    assert "1.005x (1.002\N{EN DASH}1.01) PyTorch's items/s" in said


def test_two_that_are_level_are_said_to_be_level() -> None:
    comparison = both(100.0, 100.0)
    told = [*conclude(comparison).recommendation, *conclude(comparison).turning]

    assert any("are level with" in sentence for sentence in told)
    assert not any(ONE.search(sentence.split(" costs ")[0]) for sentence in told)


@pytest.mark.parametrize(
    ("share", "text"), [(0.9496, "94.96%"), (0.98996, "98.996%"), (0.81, "81%")]
)
def test_a_share_of_resamples_reads_the_same_everywhere(share: float, text: str) -> None:
    base = both(100.0, 200.0)
    tie = base.best_native.winner.model_copy(
        update={"outcome": "tie", "confidence": "none", "same_backend_share": share}
    )
    native = base.best_native.model_copy(update={"winner": tie})
    comparison = base.model_copy(update={"best_native": native})

    concluded = conclude(comparison)
    assert f"in {text} of the resamples" in concluded.confidence[-2]
    assert f"in only {text} of resamples" in concluded.recommendation[1]
    assert first_screen(comparison).views[0].share == f"PyTorch leads in {text} of the resamples."
    sides = (("A", base), ("B", comparison))
    named = (NamedComparison(name, build.comparison_set(one)) for name, one in sides)
    page = changes_markdown(*named, 0.05)
    assert f"(PyTorch leads in {text} of the resamples)" in page


def test_an_interval_without_an_upper_end_is_over_its_lower_one() -> None:
    wide = build.interval(360.96, 0.0).model_copy(update={"high": None})
    base = both(373.6, 500.0)
    cell = build.cell("jax", "portable", 4, 373.6, items_per_s_interval=wide)
    comparison = build.comparison(build.replaced(base.portable, cell), base.best_native)

    assert "373.6 (over 360.9)" in render_all(comparison)["report.md"]


def test_the_clients_share_is_at_most_what_is_told() -> None:
    base = both(100.0, 200.0)
    busy = build.cell("jax", "portable", 4, 100.0, client_share=0.0141, round_trip_share=0.0592)
    comparison = build.comparison(build.replaced(base.portable, busy), base.best_native)

    own, way = find(comparison).client
    assert "is at most 1.5% of a pass" in own
    assert "is at most 6% of the median pass" in way
