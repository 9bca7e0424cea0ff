"""Latency in detail, ratios with intervals, and the level told under each table."""

from __future__ import annotations

import re
from collections.abc import Sequence

import comparisons as build
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stages.compare.intervals import SUPPORTED_LEVELS, supported
from stages.documents.comparison import Cell, Comparison, Interval, ViewComparison
from stages.report.format import ABSENT, TO
from stages.report.latency import DESCRIPTIVE_BELOW, latency_table
from stages.report.levels import levels, of_latency, of_ratio
from stages.report.render import render_all
from stages.report.tables import view_tables

RATES = {1: 40.0, 4: 100.0}


def whole(view: ViewComparison) -> Comparison:
    return build.comparison(view, build.speeds("best_native", RATES, RATES))


def view_with(*cells: Cell) -> ViewComparison:
    return build.replaced(build.speeds("portable", RATES, RATES), *cells)


def rows_under(markdown: str, heading: str) -> list[list[str]]:
    """The cells of the first table after ``heading``, the line of dashes left out."""
    lines = markdown[markdown.index(heading) :].splitlines()
    first = next(i for i, line in enumerate(lines) if line.startswith("|"))
    table = []
    for line in lines[first:]:
        if not line.startswith("|"):
            break
        table.append([cell.strip() for cell in line.strip("|").split("|")])
    return [row for row in table if not set(row[0]) <= set("-:")]


def test_latency_in_detail_gives_the_median_and_the_mean_with_their_intervals() -> None:
    jax = build.cell(
        "jax",
        "portable",
        1,
        40.0,
        p50_s=0.75,
        p50_s_interval=build.interval(0.7, 0.9),
        mean_s=0.8,
        mean_s_interval=build.interval(0.6, 1.0),
        p95_s=0.95,
    )
    report = render_all(whole(view_with(jax)))["report.md"]
    heading, one, four = rows_under(report, "Latency of a pass in detail, portable view")

    assert heading == [
        "Chunk",
        "JAX p50 (ms)",
        "JAX mean (ms)",
        "JAX p95 (ms), descriptive",
        "PyTorch p50 (ms)",
        "PyTorch mean (ms)",
        "PyTorch p95 (ms), descriptive",
    ]
    assert one[:4] == ["1", f"750.0 (700.0{TO}900.0)", f"800.0 (600.0{TO}1,000)", "950.0"]
    # 32 items at 100 items/s take 320 ms, and lie from 4/5 to 5/4 of it.
    assert four[4:] == [f"320.0 (256.0{TO}400.0)", f"320.0 (256.0{TO}400.0)", "320.0"]
    assert "Latency of a pass in detail, best-native view" in report


def test_a_cell_without_figures_or_intervals_has_none_in_the_detail() -> None:
    single = build.cell(
        "pytorch", "portable", 1, 40.0, good_passes=1, mean_s_interval=None, p50_s_interval=None
    )
    dead = build.failed("jax", "portable", 1, "oom")
    (_, jax, pytorch), _ = latency_table(view_with(single, dead)).rows

    assert (jax.p50_ms, jax.mean_ms, jax.p95_ms) == (ABSENT, ABSENT, ABSENT)
    assert (pytorch.mean_ms, pytorch.p95_ms) == (f"800.0 ({ABSENT})", "800.0")


@pytest.mark.parametrize(
    ("passes", "heading"),
    [(DESCRIPTIVE_BELOW - 1, "p95 (ms), descriptive"), (DESCRIPTIVE_BELOW, "p95 (ms)")],
)
def test_p95_is_headed_as_descriptive_until_an_interval_of_it_could_exist(
    passes: int, heading: str
) -> None:
    many = [
        build.cell(backend, "portable", size, rate, good_passes=DESCRIPTIVE_BELOW)
        for backend in ("jax", "pytorch")
        for size, rate in RATES.items()
    ]
    few = build.cell("jax", "portable", 4, 100.0, good_passes=passes)

    assert latency_table(build.replaced(view_with(*many), few)).p95 == heading
    # The largest of 72 passes is above the true p95 with more than 97.5 %, of 71 it is not.
    assert 0.95**72 <= 0.025 < 0.95**71


def test_the_ratio_table_tells_the_interval_of_each_ratio_and_its_level() -> None:
    view = view_with(build.cell("jax", "portable", 4, 50.0, p95_s=0.48))
    report = render_all(whole(view))["report.md"]
    heading, one, four = rows_under(report, "JAX / PyTorch at each chunk size")

    assert heading == ["Portable view, chunk", "items/s ratio", "p95 ratio"]
    assert one == ["1", f"1.00x (0.90{TO}1.10)", "1.00x"]
    # 0.48 s against 0.32 s.
    assert four == ["4", f"0.50x (0.45{TO}0.55)", "1.50x"]
    assert (
        "In brackets: the interval of the items/s ratio, by the passes of the backend that has"
        " fewer: 90% with 5 passes."
    ) in report


def test_a_ratio_without_an_interval_is_told_without_one() -> None:
    view = view_with()
    bare = [r.model_copy(update={"items_per_s_interval": None}) for r in view.ratios]
    view = view.model_copy(update={"ratios": bare})
    tables = view_tables(view, whole(view).gate)

    assert [row.items_ratio for row in tables.rows] == [f"1.00x ({ABSENT})"] * 2
    assert tables.ratio_intervals.startswith("No chunk size has passes enough")


def test_the_backend_with_fewer_passes_names_the_level_of_a_ratio() -> None:
    view = view_with(build.cell("pytorch", "portable", 4, 100.0, good_passes=7))
    ratios = [
        r.model_copy(update={"items_per_s_interval": build.interval(0.9, 1.1, level)})
        for r, level in zip(view.ratios, (0.9, 0.85), strict=True)
    ]
    # Both ratios stand on five passes of JAX, whatever PyTorch has.
    assert of_ratio(view.model_copy(update={"ratios": ratios[:1]})).endswith("90% with 5 passes.")
    assert of_ratio(view.model_copy(update={"ratios": ratios[1:]})).endswith("85% with 5 passes.")


def test_the_median_and_the_mean_are_told_apart_where_their_levels_differ() -> None:
    same = view_with()
    wider = build.cell("jax", "portable", 1, 40.0, p50_s_interval=build.interval(0.7, 0.9, 0.5))
    # Every cell in turn, so that no other interval stands on five passes.
    other = [
        build.cell(c.backend, "portable", c.chunk_size, 40.0, p50_s_interval=wider.p50_s_interval)
        for c in same.cells
    ]

    assert of_latency(same).endswith("the intervals of p50 and of the mean, 90% with 5 passes.")
    assert of_latency(view_with(*other)).endswith(
        "the interval of p50, 50% with 5 passes; of the mean, 90% with 5 passes."
    )


def of(passes: int) -> tuple[int, Interval]:
    return passes, build.interval(1.0, 2.0, supported(passes).mean)


def test_passes_with_the_same_level_are_told_together() -> None:
    found = [of(12), of(5), of(7), (1, None), of(7), of(3)]

    assert levels(found) == "80% with 3 passes, 90% with 5 passes and 95% with 7 and 12 passes"
    assert levels([(1, None)]) == ""


@given(st.lists(st.integers(2, 40), min_size=1, max_size=6))
def test_every_number_of_passes_in_a_table_is_told_with_its_own_level(
    counts: Sequence[int],
) -> None:
    told: dict[int, float] = {}
    for level, passes in re.findall(r"(\d+)% with ([\d, and]+) passes", levels(map(of, counts))):
        told |= {int(n): int(level) / 100 for n in re.findall(r"\d+", passes)}

    assert told == {n: SUPPORTED_LEVELS[min(n, 12)].mean for n in set(counts)}
