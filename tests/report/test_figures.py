"""The figures: what they draw, and that the same comparison gives the same bytes."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from functools import cache
from typing import Any
from xml.etree import ElementTree

import comparisons as build
import matplotlib as mpl
import pytest
from contracts import BACKENDS
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from stages.contract import Backend
from stages.documents.comparison import Comparison, ItemDifference, PassTime, ViewComparison
from stages.report import figures
from stages.report.figures.correctness import score_differences
from stages.report.figures.drawing import chunk_axis
from stages.report.figures.isolation import isolation_probe
from stages.report.figures.items import item_differences
from stages.report.figures.speed import latency, throughput
from stages.report.figures.theme import LIGHT, themed
from stages.report.figures.time_split import time_split
from stages.report.figures.timeline import relative, timeline
from stages.report.render import render_all

JAX = {1: 40.0, 2: 90.0, 4: 110.0}
PYTORCH = {1: 100.0, 2: 150.0, 4: 200.0}
OF_A_VIEW = ["throughput", "latency", "correctness", "items", "isolation", "timeline"]
NAMES = sorted(
    [f"{name}-{view}.svg" for name in OF_A_VIEW for view in ("portable", "best_native")]
    + ["time_split.svg"]
)
NOT_PROBED = {
    "targets": [],
    "changes": {},
    "largest_change": None,
    "worst_target": None,
    "worst_layout": None,
}


def comparison(portable: ViewComparison | None = None) -> Comparison:
    return build.comparison(
        portable or build.speeds("portable", JAX, PYTORCH),
        build.speeds("best_native", JAX, PYTORCH),
    )


type Draw = Callable[[Comparison, ViewComparison], Figure]


def drawn(draw: Draw, portable: ViewComparison | None = None) -> Axes:
    """The axes of a figure of the portable view."""
    found = comparison(portable)
    return draw(found, found.portable).axes[0]


def line(axes: Axes, label: str) -> Line2D:
    return next(one for one in axes.get_lines() if one.get_label() == label)


def labels(axes: Axes) -> set[str]:
    return {str(one.get_label()) for one in axes.get_lines() if len(one.get_xdata())}


def points(axes: Axes, label: str) -> dict[int, float]:
    """Height by chunk size; marks stand a little aside of it."""
    found = line(axes, label)
    return dict(
        zip(
            (round(float(x)) for x in found.get_xdata()), map(float, found.get_ydata()), strict=True
        )
    )


def words(drawing: Figure) -> str:
    """Everything a reader reads in a figure."""
    texts = [text for axes in drawing.axes for text in axes.texts]
    texts += [text for legend in drawing.legends for text in legend.get_texts()]
    return "\n".join(text.get_text() for text in texts)


def timed(size: int, seconds: float | None, **changes: Any) -> PassTime:
    fields: dict[str, Any] = {
        "chunk_size": size,
        "phase": "sweep",
        "run": 0,
        "session": 0,
        "started_s": 1.0,
        "seconds": seconds,
        "status": "ok" if seconds is not None else "timeout",
        "compiled": False,
    }
    return PassTime(**{**fields, **changes})


def awkward() -> Comparison:
    """Failures, an endless interval, a leak, a flat gate, a restart, and PyTorch absent."""
    base = build.speeds("portable", JAX, PYTORCH)
    endless = build.interval(60.0, 0.0).model_copy(update={"high": None})
    flat = build.inconclusive(build.control("labels_swapped", 0.0031, 0.0012, False))
    cells = [
        build.cell("jax", "portable", 2, 90.0, items_per_s_interval=endless, gate=flat),
        build.failed("jax", "portable", 4, "oom"),
    ]
    passes = [
        timed(1, 1.0, compiled=True),
        timed(1, None, session=1),
        timed(1, 9.0, session=1, phase="confirm"),
    ]
    leak = build.isolation("leaks", changes={"reversed": 0.3, "replaced": 0.0}, failed_probes=2)
    dead = [build.failed("pytorch", "best_native", size, "oom") for size in JAX]
    alone = [build.cell("jax", "best_native", size, rate, gate=None) for size, rate in JAX.items()]
    whole = build.comparison(
        build.replaced(base, *cells).model_copy(
            update={
                "passes": {"jax": passes, "pytorch": base.passes["pytorch"]},
                "isolation": {"jax": leak, "pytorch": build.isolation()},
            }
        ),
        build.view_of(
            "best_native",
            [*alone, *dead],
            passes={"jax": passes, "pytorch": []},
            item_differences=[],
            isolation={
                "jax": build.isolation(),
                "pytorch": build.isolation("not_probed", **NOT_PROBED),
            },
            noise={"jax": build.noise(0.0), "pytorch": build.noise(None, 0)},
        ),
        sources=[
            build.source("jax", "portable"),
            build.source("pytorch", "best_native", unavailable="no GPU"),
        ],
    )
    return build.without(whole, {"pytorch": "no GPU"}, ["best_native"])


def nothing() -> Comparison:
    """Neither backend could run."""

    def dead(view: Any) -> ViewComparison:
        return build.view_of(
            view,
            [build.failed(b, view, s, "oom") for b in BACKENDS for s in (1, 2, 4)],
            passes={"jax": [], "pytorch": []},
            item_differences=[],
            isolation=dict.fromkeys(BACKENDS, build.isolation("not_probed", **NOT_PROBED)),
            noise=dict.fromkeys(BACKENDS, build.noise(None, 0)),
        )

    absent: dict[Backend, str] = {"jax": "no TPU", "pytorch": "no GPU"}
    whole = build.comparison(dead("portable"), dead("best_native"), sources=[])
    return build.without(whole, absent)


@cache
def files(make: Callable[[], Comparison]) -> dict[str, bytes]:
    return figures.draw_all(make())


ALL = pytest.mark.parametrize("make", [comparison, awkward, nothing])


# The files.


@ALL
def test_equal_input_gives_equal_bytes_whatever_the_users_settings(
    make: Callable[[], Comparison],
) -> None:
    first = files(make)
    with mpl.rc_context({"axes.linewidth": 9, "svg.hashsalt": "other", "figure.dpi": 33}):
        second = figures.draw_all(make())

    assert first == second
    assert sorted(first) == NAMES
    assert list(first) == list(figures.TITLES)


@ALL
def test_a_figure_is_text_on_opaque_white_and_nothing_from_elsewhere(
    make: Callable[[], Comparison],
) -> None:
    for drawing in files(make).values():
        root = ElementTree.fromstring(drawing)
        tags = {element.tag.rpartition("}")[2] for element in root.iter()}
        background = next(e for e in root.iter() if e.get("id") == "patch_1")
        style = str(next(iter(background)).get("style"))

        assert root.tag.endswith("svg")
        assert "text" in tags
        assert tags.isdisjoint({"script", "image", "foreignObject", "metadata", "a"})
        assert b"DOCTYPE" not in drawing
        # Name spaces are addresses that nobody follows.
        assert set(re.findall(rb"\w+://[^\"]+", drawing)) <= {
            b"http://www.w3.org/1999/xlink",
            b"http://www.w3.org/2000/svg",
        }
        references = [v for e in root.iter() for k, v in e.attrib.items() if k.endswith("href")]
        assert all(one.startswith("#") for one in references)
        assert "fill: #ffffff" in style
        assert "opacity" not in style
        assert b"Verdana, Arial, sans-serif" in drawing


@ALL
def test_figures_inlined_together_share_no_id_and_keep_no_colour_of_their_own(
    make: Callable[[], Comparison],
) -> None:
    inlined = [
        themed(drawing, name.removesuffix(".svg"), figures.TITLES[name])
        for name, drawing in files(make).items()
    ]
    ids = re.findall(r'\bid="([^"]+)"', "".join(inlined))
    for one in inlined:
        mine = set(re.findall(r'\bid="([^"]+)"', one))
        assert set(re.findall(r'(?:url\(|href=")#([^)"]+)', one)) == mine

    assert len(ids) == len(set(ids))
    bare = re.sub(r"var\(--\w+, #[0-9a-f]{6}\)", "", "".join(inlined))
    assert not re.search(r"(?<![(\"])#[0-9a-fA-F]{3,8}\b", bare)
    assert not re.search(r"(?:fill|stroke): (?!none|url|;|\"|$)[a-z(]", bare)


def test_a_long_number_in_a_label_is_not_shortened() -> None:
    leak = build.isolation("leaks", changes={"at 0.12345": 0.3})
    base = build.speeds("portable", JAX, PYTORCH, isolation=dict.fromkeys(BACKENDS, leak))

    assert b">at 0.12345<" in figures.draw_all(comparison(base))["isolation-portable.svg"]


def test_every_figure_is_a_picture_of_the_markdown_report_under_its_title() -> None:
    report = render_all(comparison())["report.md"]

    assert sorted(re.findall(r"\(figures/([^)]+)\)", report)) == NAMES
    for name, title in figures.TITLES.items():
        assert f"![{title}](figures/{name})" in report


@pytest.mark.parametrize("name", OF_A_VIEW)
def test_both_views_of_a_figure_have_the_same_axis(name: str) -> None:
    slow = build.speeds("best_native", {1: 4.0, 2: 9.0, 4: 11.0}, PYTORCH)
    leak = build.isolation("leaks", changes={"reversed": 0.3})
    worst = ItemDifference(item=3, chunk_size=1, max_abs_diff=0.5, mean_abs_diff=0.1)
    passes = {"jax": [timed(1, 1.0), timed(1, 1.0), timed(1, 8.0)], "pytorch": [timed(1, 1.0)]}
    changes = {"isolation": dict.fromkeys(BACKENDS, leak), "item_differences": [worst]}
    other = slow.model_copy(update={**changes, "passes": passes})
    both = build.comparison(build.speeds("portable", JAX, PYTORCH), other)
    draw = {
        "throughput": throughput,
        "latency": latency,
        "correctness": score_differences,
        "items": item_differences,
        "isolation": isolation_probe,
        "timeline": timeline,
    }[name]
    first, second = (draw(both, view).axes[0] for view in both.views())

    assert first.get_ylim() == second.get_ylim()
    assert first.get_yscale() == second.get_yscale()
    # What the other view shows has room in it.
    marks = [one for one in second.get_lines() if one.get_label() != "_bar"]
    heights = [float(y) for one in marks for y in one.get_ydata()]
    low, high = sorted(second.get_ylim())
    assert all(low <= height <= high for height in heights)
    if name == "isolation":
        assert first.get_xlim() == second.get_xlim()
        assert max(max(one.get_xdata()) for one in marks) <= second.get_xlim()[1]
        assert [t.get_text() for t in first.get_yticklabels()] == [
            t.get_text() for t in second.get_yticklabels()
        ]


# What is not there is said.


@pytest.mark.parametrize(
    "draw", [throughput, latency, score_differences, item_differences, isolation_probe, timeline]
)
def test_a_backend_that_could_not_run_is_named(draw: Draw) -> None:
    found = awkward()

    assert "PyTorch: not measured" in words(draw(found, found.best_native))
    assert "JAX: not measured" not in words(draw(found, found.best_native))


@pytest.mark.parametrize(
    "draw", [throughput, latency, score_differences, item_differences, isolation_probe, timeline]
)
def test_without_either_backend_a_figure_says_so_and_has_no_empty_frame(draw: Draw) -> None:
    found = nothing()
    drawing = draw(found, found.portable)

    assert "JAX: not measured\nPyTorch: not measured" in words(drawing)
    assert [axes.axison for axes in drawing.axes] == [False]


@pytest.mark.parametrize(
    ("draw", "text"),
    [
        (throughput, "JAX: no figures"),
        (latency, "JAX: no figures"),
        (score_differences, "no scores compared"),
        (item_differences, "no scores compared"),
        (isolation_probe, "JAX: not probed"),
    ],
)
def test_a_backend_that_ran_without_success_is_not_called_unmeasured(draw: Draw, text: str) -> None:
    failed = [build.failed("jax", "portable", size, "oom") for size in JAX]
    base = build.replaced(build.speeds("portable", JAX, PYTORCH), *failed)
    isolation = {
        "jax": build.isolation("not_probed", **NOT_PROBED),
        "pytorch": build.isolation(),
    }
    view = base.model_copy(update={"item_differences": [], "isolation": isolation})
    found = comparison(view)

    assert text in words(draw(found, found.portable))
    assert "not measured" not in words(draw(found, found.portable))


# Speed.


def test_throughput_shows_both_backends_of_its_view() -> None:
    found = build.comparison(
        build.speeds("portable", JAX, PYTORCH), build.speeds("best_native", PYTORCH, JAX)
    )
    portable, native = (throughput(found, view).axes[0] for view in found.views())

    assert points(portable, "JAX") == points(native, "PyTorch") == JAX
    assert points(portable, "PyTorch") == points(native, "JAX") == PYTORCH
    assert "portable view" in portable.get_title()
    assert "best-native view" in native.get_title()


def test_latency_is_p95_in_milliseconds_with_the_range_of_the_passes() -> None:
    cell = build.cell("jax", "portable", 2, 90.0, min_s=0.2, p95_s=0.5, max_s=0.75)
    found = comparison(build.replaced(build.speeds("portable", JAX, PYTORCH), cell))
    drawing = latency(found, found.portable)
    axes = drawing.axes[0]
    blue = line(axes, "JAX").get_color()

    # 32 items at 40 items/s take 800 ms.
    assert points(axes, "JAX") == pytest.approx({1: 800.0, 2: 500.0, 4: 32 / 110 * 1e3})
    assert bars(axes)[2, blue] == pytest.approx((200.0, 750.0))
    assert "fastest to slowest pass" in words(drawing)


def test_the_axis_names_the_chunk_sizes_that_were_measured() -> None:
    axes = drawn(throughput)

    assert list(axes.get_xticks()) == [1, 2, 4]
    assert [text.get_text() for text in axes.get_xticklabels()] == ["1", "2", "4"]
    assert axes.get_xscale() == "log"


def test_chunk_sizes_too_near_for_their_names_keep_their_ticks() -> None:
    axes = Figure().subplots()
    chunk_axis(axes, [1, 5, 10, 20, 50, 100, 125, 250, 500])
    named = [text.get_text() for text in axes.get_xticklabels()]

    assert len(axes.get_xticks()) == len(named) == 9
    assert named == ["1", "5", "10", "20", "50", "100", "", "250", "500"]


def test_the_backends_differ_by_more_than_colour() -> None:
    axes = drawn(throughput)
    jax, pytorch = line(axes, "JAX"), line(axes, "PyTorch")

    assert jax.get_marker() != pytorch.get_marker()
    assert jax.get_linestyle() != pytorch.get_linestyle()
    assert jax.get_color() != pytorch.get_color()
    assert jax.get_markerfacecolor() != pytorch.get_markerfacecolor() == LIGHT["--page"]


def test_equal_figures_do_not_hide_one_another() -> None:
    axes = drawn(throughput, build.speeds("portable", JAX, JAX))
    jax, pytorch = (line(axes, name).get_xdata() for name in ("JAX", "PyTorch"))

    assert all(one < other for one, other in zip(jax, pytorch, strict=True))
    assert list(jax) == pytest.approx([1, 2, 4], rel=0.03)


def bars(axes: Axes) -> dict[tuple[int, str], tuple[float, ...]]:
    """Ends of every bar drawn, by chunk size and colour."""
    return {
        (round(float(one.get_xdata()[0])), str(one.get_color())): tuple(map(float, one.get_ydata()))
        for one in axes.get_lines()
        if one.get_label() == "_bar"
    }


def test_throughput_shows_the_interval_of_every_figure_and_its_levels() -> None:
    sure = build.interval(70.0, 115.0, level=0.95)
    jax = build.cell("jax", "portable", 2, 90.0, items_per_s_interval=sure)
    bare = build.cell("pytorch", "portable", 4, 200.0, items_per_s_interval=None)
    found = comparison(build.replaced(build.speeds("portable", JAX, PYTORCH), jax, bare))
    drawing, native = (throughput(found, view) for view in found.views())
    axes = drawing.axes[0]
    blue, orange = (line(axes, name).get_color() for name in ("JAX", "PyTorch"))

    assert bars(axes)[2, blue] == (70.0, 115.0)
    assert (4, orange) not in bars(axes)
    assert len(bars(axes)) == 5
    assert bars(native.axes[0])[4, orange] == pytest.approx((160.0, 250.0))
    # The tallest bar is inside the panel.
    assert axes.get_ylim()[1] > 250.0
    assert "90\N{EN DASH}95% interval" in words(drawing)
    assert "90% interval" in words(native)


def test_an_endless_interval_runs_out_of_the_panel_without_flattening_the_rest() -> None:
    endless = build.interval(60.0, 0.0).model_copy(update={"high": None})
    huge = build.interval(60.0, 1e6)
    base = build.speeds("portable", JAX, PYTORCH)
    for wide in (endless, huge):
        cell = build.cell("jax", "portable", 2, 90.0, items_per_s_interval=wide)
        axes = drawn(throughput, build.replaced(base, cell))
        top = axes.get_ylim()[1]
        assert 200.0 < top < 2 * 200.0
        blue = line(axes, "JAX").get_color()
        assert bars(axes)[2, blue][1] > top


def test_figures_far_apart_are_drawn_to_a_log_scale_that_says_so() -> None:
    axes = drawn(throughput, build.speeds("portable", {1: 2.0, 2: 90.0, 4: 110.0}, PYTORCH))

    assert axes.get_yscale() == "log"
    assert "log scale" in axes.get_ylabel()
    # The lowest interval reaches down to 1.6.
    assert 0 < axes.get_ylim()[0] < 1.6
    assert drawn(throughput).get_yscale() == "linear"
    assert drawn(throughput).get_ylim()[0] == 0


def test_a_missing_figure_is_a_gap_not_a_zero() -> None:
    base = build.speeds("portable", JAX, PYTORCH)
    gap = build.replaced(base, build.failed("jax", "portable", 2, "timeout"))
    shown = points(drawn(throughput, gap), "JAX")

    assert math.isnan(shown[2])
    assert (shown[1], shown[4]) == (40.0, 110.0)


def ring(axes: Axes) -> dict[int, float]:
    return points(axes, "_winner") if "_winner" in labels(axes) else {}


def test_the_winner_is_ringed_and_a_tie_is_not() -> None:
    won = build.speeds("portable", JAX, PYTORCH)
    tie = won.model_copy(update={"winner": won.winner.model_copy(update={"outcome": "tie"})})
    open_ = won.model_copy(update={"winner": won.winner.model_copy(update={"outcome": "deferred"})})
    found = comparison(won)

    assert ring(drawn(throughput, won)) == {4: 200.0}
    assert ring(drawn(latency, won)) == {4: pytest.approx(160.0)}
    assert "winner of the view" in words(throughput(found, won))
    assert ring(drawn(throughput, tie)) == ring(drawn(throughput, open_)) == {}


# Scores.


def test_score_differences_stand_against_the_limit_the_noise_and_wrong_answers() -> None:
    drift = build.cell("jax", "portable", 2, 90.0, gate=build.gate("pass", 0.00125, 2e-4))
    floors = {"jax": build.noise(1.5e-7), "pytorch": build.noise(0.0)}
    base = build.speeds("portable", JAX, PYTORCH, noise=floors)
    axes = drawn(score_differences, build.replaced(base, drift))

    assert points(axes, "JAX against PyTorch") == {1: 1e-6, 2: 0.00125, 4: 1e-6}
    assert set(line(axes, "gate's limit").get_ydata()) == {0.02}
    assert set(line(axes, "noise floor, JAX").get_ydata()) == {1.5e-7}
    # Nothing is the best there is, and is drawn as the foot of the axis.
    assert set(line(axes, "noise floor, PyTorch").get_ydata()) == {0.0}
    assert axes.get_ylim()[0] == 0.0
    wrong = ["items rotated", "labels swapped", "mean for every item"]
    heights = [set(line(axes, f"wrong: {name}").get_ydata()) for name in wrong]
    assert heights == [{0.62}, {0.82}, {0.52}]
    assert len({line(axes, f"wrong: {name}").get_marker() for name in wrong}) == 3
    assert "_passing" not in labels(axes)


def test_a_wrong_answer_that_passes_is_ringed_and_missing_figures_are_not_drawn() -> None:
    flat = build.inconclusive(build.control("labels_swapped", 0.0031, 0.0012, False))
    floors = dict.fromkeys(BACKENDS, build.noise(None, 1))
    base = build.speeds("portable", JAX, PYTORCH, noise=floors)
    changed = build.replaced(
        base,
        build.cell("jax", "portable", 2, 90.0, gate=flat),
        build.failed("jax", "portable", 4, "oom"),
    )
    found = comparison(changed)
    drawing = score_differences(found, changed)
    axes = drawing.axes[0]

    assert points(axes, "_passing") == {2: 0.0031}
    assert "wrong, and passes the gate" in words(drawing)
    assert math.isnan(points(axes, "JAX against PyTorch")[4])
    assert points(axes, "wrong: labels swapped") == {1: 0.82, 2: 0.0031}
    assert "noise floor, JAX" not in labels(axes)


def test_every_item_has_its_largest_and_its_mean_difference_against_both_limits() -> None:
    items = [
        ItemDifference(item=0, chunk_size=4, max_abs_diff=0.0, mean_abs_diff=0.0),
        ItemDifference(item=7, chunk_size=1, max_abs_diff=0.25, mean_abs_diff=0.125),
    ]
    axes = drawn(item_differences, build.speeds("portable", JAX, PYTORCH, item_differences=items))

    assert points(axes, "largest of the item") == {0: 0.0, 7: 0.25}
    assert points(axes, "mean of the item") == {0: 0.0, 7: 0.125}
    assert set(line(axes, "gate's limit, largest").get_ydata()) == {0.02}
    assert set(line(axes, "gate's limit, mean of a pass").get_ydata()) == {0.01}
    low, high = axes.get_ylim()
    assert (low, high > 0.25) == (0.0, True)
    assert axes.get_xlim()[0] < 0
    assert axes.get_xlim()[1] > 31


def test_the_isolation_probe_shows_every_layout_of_both_backends_zero_too() -> None:
    probes = {
        "jax": build.isolation(changes={"original": 0.0, "before_5": 2e-7, "reversed": 1e-7}),
        "pytorch": build.isolation("leaks", changes={"reversed": 0.5}, failed_probes=1),
    }
    found = comparison(build.speeds("portable", JAX, PYTORCH, isolation=probes))
    drawing = isolation_probe(found, found.portable)
    axes = drawing.axes[0]
    names = [text.get_text() for text in axes.get_yticklabels()]

    def changes(backend: str) -> dict[str, float]:
        shown = line(axes, backend)
        rows = [names[round(float(y))] for y in shown.get_ydata()]
        return dict(zip(rows, map(float, shown.get_xdata()), strict=True))

    assert names == ["in its pass", "reversed order", "5 items before"]
    assert changes("JAX") == {"in its pass": 0.0, "reversed order": 1e-7, "5 items before": 2e-7}
    assert changes("PyTorch") == {"reversed order": 0.5}
    assert set(line(axes, "limit").get_xdata()) == {1e-4}
    low, high = axes.get_xlim()
    assert (low, high > 0.5) == (0.0, True)
    assert "PyTorch: 1 probe failed" in words(drawing)


def test_each_backend_is_drawn_beside_its_own_limit() -> None:
    probes = {
        "jax": build.isolation(limit=0.003, changes={"shorter": 0.002, "longer": 1e-7}),
        "pytorch": build.isolation(limit=1e-4),
    }
    axes = drawn(isolation_probe, build.speeds("portable", JAX, PYTORCH, isolation=probes))
    assert set(line(axes, "limit, JAX").get_xdata()) == {0.003}
    assert set(line(axes, "limit, PyTorch").get_xdata()) == {1e-4}
    names = [text.get_text() for text in axes.get_yticklabels()]
    assert names == ["in its pass", "reversed order", "shorter items", "longer items"]


def test_without_neighbours_the_probe_is_not_called_a_failure() -> None:
    single = build.isolation("no_neighbours", **NOT_PROBED)
    view = build.speeds("portable", JAX, PYTORCH, isolation={"jax": single, "pytorch": single})
    found = comparison(view)
    assert "JAX: one item, no neighbours" in words(isolation_probe(found, found.portable))


# Time.


def test_a_pass_is_drawn_relative_to_the_median_of_its_chunk_size() -> None:
    passes = [
        timed(1, 2.0),
        timed(8, 0.5),
        timed(8, None),
        timed(1, 4.0, phase="confirm"),
        timed(1, 20.0, phase="confirm"),
    ]

    # Medians: 4 s at chunk 1, sweep and confirm together, and 0.5 s at chunk 8.
    assert relative(passes) == [0.5, 1.0, None, 1.0, 5.0]


def test_every_pass_stands_in_measuring_order_with_failures_and_compilations_marked() -> None:
    passes = [
        timed(1, 4.0, compiled=True),
        timed(1, 4.0),
        timed(1, None, session=1, started_s=None, compiled=None),
        timed(1, 20.0, session=1, phase="confirm"),
    ]
    base = build.speeds("portable", JAX, PYTORCH)
    view = base.model_copy(update={"passes": {"jax": passes, "pytorch": base.passes["pytorch"]}})
    found = comparison(view)
    drawing = timeline(found, view)
    axes, other = drawing.axes
    edge = axes.get_ylim()[1]

    assert points(axes, "_passes") == {1: 1.0, 2: 1.0, 4: 5.0}
    assert points(axes, "server compiled") == {1: 1.0}
    (at,) = points(axes, "failed")
    assert at == 3
    assert 5.0 < points(axes, "failed")[3] < edge
    assert set(line(axes, "server restarted").get_xdata()) == {2.5}
    marks = {line(axes, label).get_marker() for label in ("_passes", "server compiled", "failed")}
    assert len(marks) == 3
    (band,) = axes.patches
    assert (band.get_x(), band.get_width()) == (3.5, 1.0)
    assert "chunk 1: 5.00x" in words(drawing)
    # Two passes of each of three chunk sizes; nothing else is said of them.
    assert len(points(other, "_passes")) == 6
    assert labels(other) == {"_median", "_passes"}


def test_a_backend_whose_server_does_not_report_compilations_is_said_not_to() -> None:
    found = comparison()
    jax, pytorch = (axes.get_title() for axes in timeline(found, found.portable).axes)

    assert "does not report compilations" not in jax
    assert "does not report compilations" in pytorch


def test_the_time_split_stacks_to_the_whole_measurement() -> None:
    (axes,) = time_split(comparison()).axes
    first = [bars[0] for bars in axes.containers]

    # Server start, warm-up, sweep, confirm, other, as the builder gives them.
    assert [bar.get_width() for bar in first] == [20.0, 10.0, 30.0, 15.0, 5.0]
    assert [bar.get_x() for bar in first] == [0.0, 20.0, 30.0, 60.0, 75.0]
    hatches = [bar.get_hatch() for bar in first]
    assert len(set(hatches)) == len(hatches)


def test_the_time_split_names_a_measurement_that_was_not_made() -> None:
    drawing = time_split(awkward())

    assert [text.get_text() for text in drawing.axes[0].get_yticklabels()] == [
        "JAX\nportable",
        "PyTorch\nbest-native",
    ]
    assert words(drawing).splitlines()[:2] == ["80.0 s", "not measured"]
