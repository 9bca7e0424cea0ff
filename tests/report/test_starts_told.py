"""What the report says of further starts of a server, in every place where it says something."""

from __future__ import annotations

from typing import Any

import comparisons as build
from contracts import BACKENDS

from stages.documents.comparison import Comparison, FailedStart, Starts, ViewComparison
from stages.report.conclusion import conclude
from stages.report.correctness import correctness
from stages.report.render import render_all
from stages.report.starts import NAME
from stages.report.trust import Trust, proves, trust

RATES = {1: 100.0, 4: 200.0, 8: 300.0}
DIFFER = build.starts(
    "differ",
    differing=[1, 3],
    largest_difference=0.38,
    worst_start=3,
    failed=[FailedStart(start=2, status="server_died", detail="ended while starting")],
)
SAID = (
    "scores depend on the server's start: 2 of 3 extra starts answered otherwise (item 5 by 0.380,"
    " limit 1.00e-04)"
)


def view(jax: Starts, barred: bool = False, **changes: Any) -> ViewComparison:
    """The portable view with these starts of JAX's server, and agreeing ones of PyTorch's."""
    why = [build.reason("starts_differ", starts=2, of_starts=3, items=[5], change=0.38, limit=1e-4)]
    cells = [
        build.cell("jax", "portable", size, rate, eligible=not barred, reasons=why * barred)
        for size, rate in RATES.items()
    ]
    cells += [build.cell("pytorch", "portable", size, rate) for size, rate in RATES.items()]
    starts = {"jax": jax, "pytorch": build.starts(largest_difference=0.0)}
    return build.view_of("portable", cells, starts=starts, **changes)


def whole(portable: ViewComparison) -> Comparison:
    native = build.speeds("best_native", RATES, RATES, starts={b: build.starts() for b in BACKENDS})
    return build.comparison(portable, native, probe_starts=3)


def answers(found: Trust) -> dict[str, tuple[str, str]]:
    """The answers of the portable view, by backend."""
    return {
        check.name.removeprefix(f"{NAME}, "): (check.answers[0].word, check.answers[0].figure)
        for check in found.checks
        if check.name.startswith(NAME)
    }


def test_starts_that_differ_are_told_in_the_table_against_the_scores_and_as_work_to_do() -> None:
    comparison = whole(view(DIFFER, barred=True))
    found = trust(comparison)
    assert answers(found)["JAX"] == (
        "differ",
        f"{SAID}; most: among its own neighbours, in extra start 3; extra start 2 of 3 did not"
        " answer every probe (server_died: ended while starting)",
    )
    assert answers(found)["PyTorch"] == (
        "agree",
        "3 extra starts gave the measured session's answers",
    )
    # Three cells with one reason are one sentence.
    assert found.against == [f"JAX, portable view, chunk sizes 1 to 8: {SAID}."]
    # Who is told that 2 of 3 answered otherwise must not think that the third one agreed.
    said = next(one for one in correctness(comparison) if SAID in one)
    assert said == (
        f"JAX, portable view: {SAID}; extra start 2 of 3 did not answer every probe (server_died:"
        " ended while starting)."
    )
    first = conclude(comparison).priorities[0]
    assert first == f"The same scores from every start: JAX, portable view, {SAID}."


def test_what_no_cells_reason_says_is_still_said() -> None:
    (against,) = trust(whole(view(DIFFER))).against
    assert against.startswith(f"JAX, portable view: differ, {SAID}; most: ")


def test_agreeing_starts_are_told_with_the_largest_difference_of_any() -> None:
    comparison = whole(view(build.starts(largest_difference=5e-5)))
    assert answers(trust(comparison))["JAX"] == (
        "agree",
        "3 extra starts: answers differ from the measured session's by at most 5.00e-05, limit"
        " 1.00e-04",
    )
    assert trust(comparison).against == []
    assert correctness(comparison)[-3] == (
        "Extra starts of the servers gave the same scores (JAX, portable view: 3 extra starts:"
        " answers differ from the measured session's by at most 5.00e-05, limit 1.00e-04)."
    )
    short = render_all(comparison)["comparison.md"]
    assert "- Extra starts, JAX: agree in both views." in short


def test_a_session_that_answered_no_probe_says_why_no_start_was_compared() -> None:
    nothing = build.starts(
        "not_probed",
        missing="unanswered",
        largest_difference=None,
        worst_start=None,
        worst_item=None,
        worst_layout=None,
    )
    found = trust(whole(view(nothing)))
    why = "the measured session answered no probe"
    assert answers(found)["JAX"] == ("not probed", why)
    assert found.against == [f"JAX, portable view: {why}."]


def test_what_further_starts_prove_is_told_only_where_there_are_any() -> None:
    assert NAME in dict(proves(whole(view(DIFFER))))
    without = build.comparison(
        *(build.speeds(v, RATES, RATES) for v in ("portable", "best_native"))
    )
    assert NAME not in dict(proves(without))
    assert answers(trust(without)) == {}
    assert "xtra start" not in "".join(render_all(without).values())
