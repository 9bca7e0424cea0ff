"""The figures: what they draw, and that the same comparison gives the same bytes."""

from __future__ import annotations

import math
from xml.etree import ElementTree

import comparisons as build
import matplotlib as mpl
import pytest
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from stages.comparison import Comparison
from stages.report import figures

JAX = {1: 40.0, 2: 90.0, 4: 110.0}
PYTORCH = {1: 100.0, 2: 150.0, 4: 200.0}
NAMES = ["correctness.svg", "latency.svg", "throughput.svg", "time_split.svg"]


def comparison(portable: build.ViewComparison | None = None) -> Comparison:
    return build.comparison(
        portable or build.speeds("portable", JAX, PYTORCH),
        build.speeds("best_native", JAX, PYTORCH),
    )


def line(axes: Axes, label: str) -> Line2D:
    return next(one for one in axes.get_lines() if one.get_label() == label)


def points(axes: Axes, label: str) -> dict[int, float]:
    drawn = line(axes, label)
    return dict(zip(map(int, drawn.get_xdata()), map(float, drawn.get_ydata()), strict=True))


def test_equal_input_gives_equal_bytes_whatever_the_users_settings() -> None:
    first = figures.draw_all(comparison())
    with mpl.rc_context({"axes.linewidth": 9, "svg.hashsalt": "other", "figure.dpi": 33}):
        second = figures.draw_all(comparison())

    assert first == second
    assert sorted(first) == NAMES


@pytest.mark.parametrize("name", NAMES)
def test_a_figure_is_an_svg_on_opaque_white_without_a_date(name: str) -> None:
    drawing = figures.draw_all(comparison())[name]
    root = ElementTree.fromstring(drawing)

    assert root.tag.endswith("svg")
    assert b"<dc:date>" not in drawing
    background = next(e for e in root.iter() if e.get("id") == "patch_1")
    style = str(next(iter(background)).get("style"))
    assert "fill: #ffffff" in style
    assert "opacity" not in style


def test_throughput_shows_both_backends_in_both_views() -> None:
    left, right = figures.throughput(comparison()).axes

    for axes in (left, right):
        assert points(axes, "JAX") == JAX
        assert points(axes, "PyTorch") == PYTORCH
    assert left.get_title() == "portable view"
    assert right.get_title() == "best-native view"


def test_latency_is_p95_in_milliseconds() -> None:
    left, _ = figures.latency(comparison()).axes

    # 32 items at 40 items/s take 800 ms.
    assert points(left, "JAX")[1] == pytest.approx(800.0)


def test_the_axis_names_the_chunk_sizes_that_were_measured() -> None:
    (axes, _) = figures.throughput(comparison()).axes

    assert list(axes.get_xticks()) == [1, 2, 4]
    assert axes.get_xscale() == "log"


def test_the_backends_differ_by_more_than_colour() -> None:
    (axes, _) = figures.throughput(comparison()).axes
    jax, pytorch = line(axes, "JAX"), line(axes, "PyTorch")

    assert jax.get_marker() != pytorch.get_marker()
    assert jax.get_linestyle() != pytorch.get_linestyle()
    assert jax.get_color() != pytorch.get_color()


def bars(axes: Axes) -> dict[tuple[int, str], tuple[float, float]]:
    """Ends of every interval drawn, by chunk size and colour."""
    return {
        (int(one.get_xdata()[0]), str(one.get_color())): tuple(map(float, one.get_ydata()))
        for one in axes.get_lines()
        if one.get_label() == "_interval"
    }


def test_throughput_shows_the_interval_of_every_figure() -> None:
    jax = build.cell("jax", "portable", 2, 90.0, items_per_s_interval=build.interval(70.0, 115.0))
    bare = build.cell("pytorch", "portable", 4, 200.0, items_per_s_interval=None)
    drawn = figures.throughput(
        comparison(build.replaced(build.speeds("portable", JAX, PYTORCH), jax, bare))
    )
    left, right = (bars(axes) for axes in drawn.axes)
    blue, orange = (line(drawn.axes[0], name).get_color() for name in ("JAX", "PyTorch"))

    assert left[2, blue] == (70.0, 115.0)
    assert (4, orange) not in left
    assert len(left) == 5
    assert right[4, orange] == pytest.approx((160.0, 250.0))
    # The tallest bar is inside the panel.
    assert drawn.axes[0].get_ylim()[1] > 250.0
    assert "_interval" not in [text.get_text() for text in drawn.legends[0].get_texts()]


def test_an_endless_interval_runs_out_of_the_panel_without_flattening_the_rest() -> None:
    endless = build.interval(60.0, 0.0).model_copy(update={"high": None})
    huge = build.interval(60.0, 1e6)
    base = build.speeds("portable", JAX, PYTORCH)
    for wide in (endless, huge):
        cell = build.cell("jax", "portable", 2, 90.0, items_per_s_interval=wide)
        drawn = figures.throughput(comparison(build.replaced(base, cell)))
        axes = drawn.axes[0]
        top = axes.get_ylim()[1]
        assert 200.0 < top < 2 * 200.0
        blue = line(axes, "JAX").get_color()
        assert bars(axes)[2, blue][1] > top


def test_latency_is_drawn_without_intervals() -> None:
    assert [bars(axes) for axes in figures.latency(comparison()).axes] == [{}, {}]


def test_a_missing_figure_is_a_gap_not_a_zero() -> None:
    base = build.speeds("portable", JAX, PYTORCH)
    gap = build.replaced(base, build.failed("jax", "portable", 2, "timeout"))
    drawn = points(figures.throughput(comparison(gap)).axes[0], "JAX")

    assert math.isnan(drawn[2])
    assert (drawn[1], drawn[4]) == (40.0, 110.0)


def ring(drawing: Figure) -> dict[int, float]:
    axes = drawing.axes[0]
    labels = [one.get_label() for one in axes.get_lines()]
    return points(axes, "winner of the view") if "winner of the view" in labels else {}


def test_the_winner_is_ringed_and_a_tie_is_not() -> None:
    won = build.speeds("portable", JAX, PYTORCH)
    tie = won.winner.model_copy(update={"outcome": "tie"})

    assert ring(figures.throughput(comparison(won))) == {4: 200.0}
    assert ring(figures.throughput(comparison(won.model_copy(update={"winner": tie})))) == {}


def test_score_differences_stand_against_the_limit_the_noise_and_wrong_answers() -> None:
    drift = build.cell("jax", "portable", 2, 90.0, gate=build.gate("pass", 0.00125, 2e-4))
    floors = {"jax": build.noise(1.5e-7), "pytorch": build.noise(0.0)}
    base = build.speeds("portable", JAX, PYTORCH, noise=floors)
    left, right = figures.score_differences(comparison(build.replaced(base, drift))).axes

    assert points(left, "JAX against PyTorch") == {1: 1e-6, 2: 0.00125, 4: 1e-6}
    assert set(line(left, "gate's limit").get_ydata()) == {0.02}
    assert set(line(left, "noise floor, JAX").get_ydata()) == {1.5e-7}
    # Nothing is the best there is, and is drawn as the foot of the axis.
    assert set(line(left, "noise floor, PyTorch").get_ydata()) == {0.0}
    assert left.get_ylim()[0] == 0.0
    wrong = ["items rotated by one", "labels swapped", "the mean score for every item"]
    heights = [set(line(left, f"wrong: {name}").get_ydata()) for name in wrong]
    assert heights == [{0.62}, {0.82}, {0.52}]
    assert len({line(left, f"wrong: {name}").get_marker() for name in wrong}) == 3
    assert "wrong, and passes the gate" not in [one.get_label() for one in left.get_lines()]
    assert right.get_title() == "best-native view"


def test_a_wrong_answer_that_passes_is_ringed_and_missing_figures_are_not_drawn() -> None:
    flat = build.inconclusive(build.control("labels_swapped", 0.0031, 0.0012, False))
    base = build.speeds(
        "portable", JAX, PYTORCH, noise=dict.fromkeys(("jax", "pytorch"), build.noise(None, 1))
    )
    changed = build.replaced(
        base,
        build.cell("jax", "portable", 2, 90.0, gate=flat),
        build.failed("jax", "portable", 4, "oom"),
    )
    left, _ = figures.score_differences(comparison(changed)).axes

    assert points(left, "wrong, and passes the gate") == {2: 0.0031}
    assert math.isnan(points(left, "JAX against PyTorch")[4])
    assert points(left, "wrong: labels swapped") == {1: 0.82, 2: 0.0031}
    assert all(math.isnan(y) for y in line(left, "noise floor, JAX").get_ydata())


def test_a_view_without_any_figure_still_draws() -> None:
    dead = [build.failed(b, "portable", s, "oom") for b in ("jax", "pytorch") for s in (1, 2, 4)]
    nothing = build.comparison(
        build.view_of("portable", dead),
        build.view_of("best_native", [c.model_copy(update={"view": "best_native"}) for c in dead]),
        sources=[],
    )

    assert sorted(figures.draw_all(nothing)) == NAMES


def test_the_time_split_stacks_to_the_whole_measurement() -> None:
    (axes,) = figures.time_split(comparison()).axes
    first = [bars[0] for bars in axes.containers]

    # Server start, warm-up, sweep, confirm, other, as the builder gives them.
    assert [bar.get_width() for bar in first] == [20.0, 10.0, 30.0, 15.0, 5.0]
    assert [bar.get_x() for bar in first] == [0.0, 20.0, 30.0, 60.0, 75.0]
