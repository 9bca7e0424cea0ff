"""The report of several workloads: what holds over all of them, and a page for each."""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path
from typing import Any

import comparisons as build
from click.testing import CliRunner
from contracts import BACKENDS
from report_pages import html_of

from stages.contract import VIEWS
from stages.documents.comparison import Comparison, ComparisonSet, Flag
from stages.report import by_workload
from stages.report.command import main
from stages.report.figures import draw_by_workload, draw_set
from stages.report.first_screen import screen_of_set
from stages.report.html import render_html
from stages.report.render import render_all
from stages.report.render_set import merged, render_set

FAST, SLOW = {1: 40.0, 4: 80.0}, {1: 20.0, 4: 50.0}


def workload(
    name: str, jax: dict[int, float], pytorch: dict[int, float], tokens: int, **scope: Any
) -> Comparison:
    """A workload whose backends have these items/s by chunk size, in both views."""
    views = [build.speeds(view, jax, pytorch) for view in ("portable", "best_native")]
    return build.comparison(*views, workload=name, total_tokens=tokens, **scope)


def both_win() -> ComparisonSet:
    """JAX wins the small workload, PyTorch the large one."""
    return build.comparison_set(
        workload("small", FAST, SLOW, 100), workload("large", SLOW, FAST, 9000)
    )


def six() -> ComparisonSet:
    """The most workloads that a contract here has."""
    names = ["one", "two", "three", "four", "five", "six"]
    made = [workload(name, SLOW, FAST, 100 * 2**i) for i, name in enumerate(names)]
    return build.comparison_set(*made, mixes={"even": {"one": 1.0, "six": 3.0}})


@cache
def folded() -> str:
    """The page of two workloads."""
    found = both_win()
    return render_html(found, render_set(found), draw_set(found))


# With one workload the report reads as it always did.


def test_the_result_of_one_workload_has_the_pages_of_one_workload() -> None:
    alone = workload("only", FAST, SLOW, 100)
    assert render_set(build.comparison_set(alone)) == render_all(alone)
    page = html_of(alone)
    assert "<details" not in page
    assert "By workload" not in page


# The answer.


def test_the_answer_says_where_the_winner_changes() -> None:
    assert by_workload.answer(both_win()) == (
        "Both views: JAX wins small and PyTorch wins large; the winner changes from JAX to PyTorch"
        " between 100 and 9,000 total tokens."
    )


def test_one_winner_everywhere_is_told_with_the_mean_ratios() -> None:
    found = build.comparison_set(
        workload("small", SLOW, FAST, 100), workload("large", {4: 10.0}, {4: 40.0}, 9000)
    )
    # 80 / 50 and 40 / 10: the geometric mean is the root of 1.6 x 4.
    assert by_workload.answer(found) == (
        "PyTorch wins both workloads in both views, with on average 2.53x JAX's items/s in the"
        " portable view and 2.53x in the best-native view."
    )


def test_a_win_with_fewer_items_per_second_is_not_told_as_a_mean_lead() -> None:
    # The rival is faster, but outside the guardrail.
    slower = workload("small", SLOW, FAST, 100)
    winner = slower.portable.winner.model_copy(update={"outcome": "jax", "leader": "jax"})
    views = {v.view: v.model_copy(update={"winner": winner}) for v in slower.views()}
    found = build.comparison_set(
        slower.model_copy(update=views), workload("large", FAST, SLOW, 9000)
    )
    assert by_workload.answer(found) == "Both views: JAX wins both workloads."


def test_a_win_without_an_eligible_rival_is_named_and_changes_no_winner_by_size() -> None:
    barred = [
        build.cell("jax", "portable", size, rate, **build.BARRED) for size, rate in FAST.items()
    ]
    views = [
        build.view_of(
            view, [*barred, *(build.cell("pytorch", view, n, rate) for n, rate in SLOW.items())]
        )
        for view in ("portable", "best_native")
    ]
    wrong = build.comparison(*views, workload="wrong", total_tokens=9000)
    found = build.comparison_set(workload("small", FAST, SLOW, 100), wrong)
    assert by_workload.answer(found) == (
        "Both views: JAX wins small and PyTorch wins wrong; JAX has no eligible cell in wrong."
    )
    assert found.summary.portable.crossings == []
    (mean,) = (s for s in by_workload.sentences(found.summary.portable, build.PAIR) if "mean" in s)
    assert mean.endswith(" over small alone, because in wrong a backend has no eligible cell.")


def tied(name: str, tokens: int) -> Comparison:
    tie = build.no_winner(outcome="tie", leader="jax", chunk_size=4, items_per_s=80.0)
    level = workload(name, FAST, FAST, tokens)
    views = {v.view: v.model_copy(update={"winner": tie}) for v in level.views()}
    return level.model_copy(update=views)


def lost(name: str, tokens: int) -> Comparison:
    """Neither backend has an eligible cell."""
    views = [
        build.view_of(view, [build.cell(b, view, 4, 80.0, **build.BARRED) for b in BACKENDS])
        for view in ("portable", "best_native")
    ]
    return build.comparison(*views, workload=name, total_tokens=tokens)


def test_workloads_without_a_winner_are_named_by_why() -> None:
    found = build.comparison_set(
        workload("small", FAST, SLOW, 100), tied("level", 500), lost("barred", 700)
    )
    assert by_workload.answer(found) == (
        "Both views: JAX wins small; level is not decisive; barred has no winner."
    )


def test_more_than_three_workloads_are_counted() -> None:
    made = [workload(name, SLOW, FAST, n) for n, name in enumerate(("a", "b", "c"), 1)]
    found = build.comparison_set(*made, workload("d", FAST, SLOW, 50), tied("e", 60), lost("f", 70))
    assert by_workload.answer(found) == (
        "Both views: PyTorch wins 3 of 6 workloads, JAX wins 1, 1 is not decisive and 1 has no"
        " winner; the winner changes from PyTorch to JAX between 3 and 50 total tokens."
    )


def test_a_workload_that_is_not_decisive_between_two_winners_is_named() -> None:
    found = build.comparison_set(
        workload("small", FAST, SLOW, 100), tied("level", 500), workload("large", SLOW, FAST, 900)
    )
    assert by_workload.answer(found).endswith(
        "from JAX to PyTorch between 100 and 900 total tokens (with level between them undecided)."
    )


def test_both_views_are_not_put_together_where_other_workloads_are_won() -> None:
    small, large = workload("small", FAST, SLOW, 100), workload("large", SLOW, FAST, 9000)
    found = build.comparison_set(
        small.model_copy(update={"best_native": build.speeds("best_native", SLOW, FAST)}),
        large.model_copy(update={"best_native": build.speeds("best_native", FAST, SLOW)}),
    )
    said = by_workload.answer(found)
    assert said.startswith("Portable view: JAX wins small and PyTorch wins large;")
    assert "Best-native view: JAX wins large and PyTorch wins small;" in said


def test_no_winner_anywhere_claims_nothing() -> None:
    found = build.comparison_set(lost("a", 1), lost("b", 2))
    assert by_workload.answer(found) == "Both views: a and b have no winner."
    assert "workload has a ratio" in draw_by_workload(found).decode()


def test_every_change_of_the_winner_is_told() -> None:
    found = build.comparison_set(
        workload("a", FAST, SLOW, 1), workload("b", SLOW, FAST, 2), workload("c", FAST, SLOW, 5)
    )
    assert by_workload.answer(found).endswith("the winner changes 2 times over the total tokens.")
    said = by_workload.sentences(found.summary.portable, build.PAIR)
    assert said[1] == (
        "The winner changes 2 times over the total tokens: from JAX to PyTorch between 1 and 2;"
        " from PyTorch to JAX between 2 and 5."
    )


def test_winners_that_no_size_tells_apart_are_told_as_that() -> None:
    found = build.comparison_set(workload("a", FAST, SLOW, 9), workload("b", SLOW, FAST, 9))
    said = by_workload.sentences(found.summary.portable, build.PAIR)
    assert said[1] == "The winners differ, but neither total tokens nor items tell them apart."


def test_a_mix_is_told_with_its_weights() -> None:
    said = by_workload.sentences(six().summary.portable, build.PAIR)
    assert said[-1].startswith("Weighted as in mix even (one 1 and six 3): 0.62x ")


def test_what_lowers_the_confidence_is_told_with_its_workloads() -> None:
    small, large = workload("small", FAST, SLOW, 100), workload("large", SLOW, FAST, 9000)
    flags = [Flag(code="untrained_model")]
    own = [Flag(code="compiled", backend="jax", chunk_size=4, passes=2)]

    def flagged(one: Comparison, more: list[Flag]) -> Comparison:
        winner = one.portable.winner.model_copy(
            update={"flags": [*flags, *more], "confidence": "low"}
        )
        view = one.portable.model_copy(update={"winner": winner})
        return one.model_copy(update={"portable": view})

    found = build.comparison_set(flagged(small, []), flagged(large, own))
    report = render_set(found)["report.md"]
    assert (
        "Portable view: low. Lowered by: the model is small and untrained; large: JAX at chunk size"
        " 4 compiled in 2 timed passes." in report
    )
    assert screen_of_set(found).views[1].flags == [
        "the model is small and untrained",
        "1 more in single workloads: see the conclusion",
    ]


# The pages.


def test_every_link_and_picture_leads_to_a_page_or_a_figure_that_is_written(
    tmp_path: Path,
) -> None:
    document, out = tmp_path / "comparison.json", tmp_path / "data" / "report"
    document.write_text(both_win().model_dump_json())
    done = CliRunner().invoke(main, ["--comparison", str(document), "--output", str(out)])
    assert done.exit_code == 0, done.output
    for page in out.rglob("*.md"):
        for link in re.findall(r"\]\(([^)#]+)[^)]*\)", page.read_text()):
            target = (page.parent / link).resolve()
            if "docs" in target.parts or target.name == "README.md":
                # The report lies in data/report of the project.
                assert target.parent in (tmp_path / "docs", tmp_path)
            else:
                assert target.is_file(), f"{page}: {link}"
    assert {path.name for path in out.iterdir()} == {
        *("report.md", "comparison.md", "report.html", "figures", "small", "large"),
    }


def test_the_table_has_every_workload_in_both_views() -> None:
    report = render_set(both_win())["report.md"]
    rows = re.findall(r"^\| (portable|best-native) \| (\w+) \| .*$", report, re.MULTILINE)
    assert rows == [
        *(("portable", name) for name in ("small", "large")),
        *(("best-native", name) for name in ("small", "large")),
    ]
    assert "| portable | small | 128 + 32 x 8 | 100 | 80.0 at 4 | 50.0 at 4 | 1.60x " in report


def test_every_workload_has_the_tables_of_the_report_under_its_own_name() -> None:
    page = render_set(both_win())["large/report.md"]
    assert page.startswith("# Workload large: JAX vs PyTorch")
    for heading in ("Can these scores be trusted?", "Workload contract", "Key findings"):
        assert f"\n## {heading}\n" in page
    for heading in ("Provenance", "Where the time went"):
        assert f"\n## {heading}\n" not in page, "told once, in the report"


def test_a_sentence_names_the_workloads_that_it_holds_for() -> None:
    found = both_win()
    said = {"small": ["both", "one"], "large": ["both"]}
    assert merged(found, said) == ["both", "small: one"]


def test_what_stands_against_one_workload_is_told_under_its_name() -> None:
    failing = build.cell(
        "jax", "portable", 4, 50.0, gate=build.gate("fail", 0.5, 0.1), **build.BARRED
    )
    large = workload("large", SLOW, FAST, 9000)
    large = large.model_copy(update={"portable": build.replaced(large.portable, failing)})
    found = build.comparison_set(workload("small", FAST, SLOW, 100), large)
    report = render_set(found)["report.md"]
    against = report[report.index("What stands against these scores:") :]
    assert re.search(r"^- large: JAX, portable view, chunk size 4: ", against, re.MULTILINE)
    screen = screen_of_set(found)
    assert [badge.word for badge in screen.gate.verdicts] == ["fail in the portable view (large)"]
    assert screen.against == 1
    assert screen.against_times == 0


def test_a_busy_machine_stands_once_against_the_times_of_all_workloads_and_not_their_scores() -> (
    None
):
    sources = [
        build.source(b, v, foreign_cpu=0.25 if (b, v) == ("jax", "portable") else 0.03)
        for v in VIEWS
        for b in BACKENDS
    ]
    found = build.comparison_set(
        workload("small", FAST, SLOW, 100, sources=sources),
        workload("large", SLOW, FAST, 9000, sources=sources),
    )
    pages = render_set(found)
    assert (
        "Nothing stands against these scores.\n\nWhat stands against these times:\n\n"
        "- JAX, portable view: other work took 25% of the machine's CPU time" in pages["report.md"]
    )
    screen = screen_of_set(found)
    assert (screen.against, screen.against_times) == (0, 1)
    opening = render_html(found, pages, draw_set(both_win())).split("<nav")[0]
    scores, times = opening.split("Are the times undisturbed?")
    assert "Nothing stands against them." in scores
    assert "<strong>1 finding stands against them.</strong>" in times


def test_one_partial_workload_makes_the_whole_report_partial() -> None:
    small, large = workload("small", FAST, SLOW, 100), workload("large", SLOW, FAST, 9000)
    absent: Any = {"jax": "no TPU"}
    found = build.comparison_set(*(build.without(one, absent) for one in (small, large)))
    pages = render_set(found)
    for name in ("report.md", "comparison.md"):
        assert pages[name].splitlines()[0].endswith(": PARTIAL")
    # It holds for every workload, so it is said once.
    assert pages["report.md"].count("> **PARTIAL.**") == 1


# The page.


def test_every_workload_is_folded_and_nothing_needs_a_script() -> None:
    page = folded()
    names = re.findall(r'<details id="(\w+)">\s*<summary><strong>(\w+)</strong>: ', page)
    assert names == [("small", "small"), ("large", "large")]
    assert "<script" not in page
    ids = re.findall(r'\bid="([^"]+)"', page)
    assert len(ids) == len(set(ids))
    for target in re.findall(r'href="#([^"]+)"', page):
        assert target in ids, target


def test_the_first_screen_tells_both_views_over_all_workloads() -> None:
    screen = screen_of_set(both_win())
    assert [card.name for card in screen.views] == ["Best-native view", "Portable view"]
    assert "the winner changes from JAX to PyTorch" in screen.views[0].sentence
    assert screen.gate.verdicts[0].word == "pass in all workloads"
    assert ("Timed passes", ["120 of 120 succeeded"]) in screen.measured


def test_the_same_result_gives_the_same_bytes() -> None:
    assert render_set(both_win()) == render_set(both_win())
    assert draw_by_workload(six()) == draw_by_workload(six())
