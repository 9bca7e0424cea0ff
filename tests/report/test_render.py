"""The report's pages: complete, escaped, and the same every time."""

from __future__ import annotations

import re
from pathlib import Path

import comparisons as build
import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st
from markdown_it import MarkdownIt
from report_words import plain_comparison

from stages.documents.comparison import Comparison
from stages.documents.matrix import folder_of
from stages.documents.oracle import ORACLE_FILE
from stages.documents.probes import PROBES_FILE
from stages.report.command import main
from stages.report.prose.winner import result
from stages.report.render import code, md, render_all
from stages.report.tables import artifacts

PARSER = MarkdownIt("commonmark").enable("table")

HOSTILE = "a|b\nc `d` <img src=x> **e** _f_ [g](h) &amp; \x1b[0m \\| $k$"

SECTIONS = [
    "Can these scores be trusted?",
    "Scope",
    "Known TPU limitation",
    "Workload contract",
    "Artifact locations",
    "Portable view results",
    "Best-native view results",
    "Key findings",
    "Final conclusion",
    "Where the time went",
    "Provenance",
    "Notes",
]


def report(comparison: Comparison) -> str:
    return render_all(comparison)["report.md"]


def tables(markdown: str) -> list[list[list[str]]]:
    """Every table of a page as a Markdown parser reads it: rows of cells' source text."""
    found: list[list[list[str]]] = []
    cell = False
    for token in PARSER.parse(markdown):
        if token.type == "table_open":
            found.append([])
        elif token.type == "tr_open":
            found[-1].append([])
        elif token.type in ("td_open", "th_open"):
            cell = True
        elif token.type == "inline" and cell:
            found[-1][-1].append(token.content)
            cell = False
    return found


def table_after(markdown: str, heading: str) -> list[list[str]]:
    return tables(markdown[markdown.index(heading) :])[0]


def read_back(markdown: str) -> str:
    """The text of the one paragraph of ``markdown``, as a reader sees it."""
    (inline,) = [token for token in PARSER.parse(markdown) if token.type == "inline"]
    assert {child.type for child in inline.children or []} <= {"text"}
    return "".join(child.content for child in inline.children or [])


def test_the_report_has_every_section_in_order() -> None:
    headings = re.findall(r"^## (.+)$", report(plain_comparison()), re.MULTILINE)

    assert headings == SECTIONS


@pytest.mark.parametrize("page", ["report.md", "comparison.md"])
def test_nothing_is_left_open(page: str) -> None:
    text = render_all(plain_comparison())[page]

    assert "TBD" not in text
    assert "None" not in text
    assert "nan" not in text.lower().split()


def test_a_chunk_size_is_a_row_with_its_figures() -> None:
    heading, one, four = table_after(report(plain_comparison()), "## Portable view results")

    assert heading[0] == "Chunk"
    assert heading[-1] == "Correctness Pass"
    # 32 items at 40 and 100 items/s take 800 and 320 ms.
    jax, pytorch = "40.0 (32.0\N{EN DASH}50.0)", "100.0 (80.0\N{EN DASH}125.0)"
    assert one == ["1", "800.0", jax, "320.0", pytorch, "1.00e-06", "1.00e-07", "yes"]
    # The winner of the view, 32 items at 200 items/s, is bold.
    jax, pytorch = "110.0 (88.0\N{EN DASH}137.5)", "**200.0 (160.0\N{EN DASH}250.0)**"
    assert four[1:5] == ["290.9", jax, "**160.0**", pytorch]


def test_the_line_under_the_table_tells_the_level_of_the_intervals_by_passes() -> None:
    base = plain_comparison()
    seven = build.cell(
        "jax",
        "portable",
        4,
        110.0,
        good_passes=7,
        items_per_s_interval=build.interval(100.0, 120.0, level=0.95),
    )
    text = report(build.comparison(build.replaced(base.portable, seven), base.best_native))
    told = "In brackets: the interval of items/s, 90% with 5 passes"

    assert f"{told} and 95% with 7 passes." in text[: text.index("## Best-native view results")]
    assert f"{told}." in text[text.index("## Best-native view results") :]


def test_an_interval_without_an_upper_end_and_a_missing_one_are_said_as_such() -> None:
    base = plain_comparison()
    wide = build.interval(12.0, 0.0).model_copy(update={"high": None})
    portable = build.replaced(
        base.portable,
        build.cell("jax", "portable", 1, 40.0, items_per_s_interval=wide),
        build.cell("pytorch", "portable", 1, 100.0, good_passes=1, items_per_s_interval=None),
    )
    row = table_after(report(build.comparison(portable, base.best_native)), "## Portable view")[1]

    assert (row[2], row[4]) == ("40.0 (over 12.0)", "100.0 (—)")


def test_without_any_interval_the_line_says_so() -> None:
    base = plain_comparison()
    bare = [c.model_copy(update={"items_per_s_interval": None}) for c in base.portable.cells]
    text = report(build.comparison(build.replaced(base.portable, *bare), base.best_native))

    assert "No cell has passes enough for an interval of its items/s." in text


def test_the_best_native_section_shows_the_selected_cells_and_their_gate() -> None:
    text = report(plain_comparison())
    _, jax, pytorch = table_after(text, "## Best-native view results")

    assert jax == ["JAX", "cached", "4", "266.7", "120.0", "100%"]
    assert pytorch == ["PyTorch", "cached", "4", "133.3", "240.0", "100%"]
    assert "- Max abs diff: **1.00e-06 (limit 0.02)**" in text
    assert "- Pass/fail: **pass**" in text


def test_the_first_lines_say_what_a_cpu_run_of_an_untrained_model_is() -> None:
    for page in render_all(plain_comparison()).values():
        opening = "\n".join(page.splitlines()[1:6])
        assert "untrained small model on a CPU" in opening
        assert "not a deployment decision" in opening


def test_accelerators_carry_no_such_notice() -> None:
    text = report(plain_comparison(sources=build.on("tpu", "cuda"), model=build.TRAINED))

    assert "not a deployment decision" not in text
    assert "It holds for this run" in text
    assert "1234abc" in text


def test_the_answer_of_each_view_precedes_every_table() -> None:
    comparison = plain_comparison()
    head = report(comparison).split("| | |")[0]

    for view in comparison.views():
        assert result(view) in head
    assert head.count("Confidence: high") == 2


def test_every_check_is_a_row_with_its_verdict_first_in_both_views() -> None:
    rows = table_after(report(plain_comparison()), "## Can these scores be trusted?")

    assert rows[0] == ["Check", "Portable view", "Best-native view"]
    assert len(rows) == 15
    gate, power, ranking = rows[1:4]
    assert gate[0] == "Gate"
    assert all(cell.startswith("**pass**: 2 of 2 JAX cells pass") for cell in gate[1:])
    assert all(cell.startswith("**all caught**: 6 wrong answers") for cell in power[1:])
    kept = "**kept**: the order is kept in 2 of 2 JAX cells"
    assert all(cell.startswith(kept) for cell in ranking[1:])


def test_the_files_of_the_probes_and_the_oracle_are_where_their_stages_put_them() -> None:
    listed = {path for path, _ in artifacts(plain_comparison())}

    assert str(ORACLE_FILE) in listed
    probes = [path for path in listed if path.endswith(PROBES_FILE)]
    assert str(folder_of("jax", "best_native") / PROBES_FILE) in probes
    assert len(probes) == 4


def test_a_failed_cell_is_a_dash_with_the_failure_underneath() -> None:
    base = plain_comparison()
    failed = build.failed("jax", "portable", 1, "timeout")
    portable = build.replaced(base.portable, failed)
    text = report(build.comparison(portable, base.best_native))

    row = table_after(text, "## Portable view results")[1]
    pytorch = "100.0 (80.0\N{EN DASH}125.0)"
    assert row == ["1", "—", "—", "320.0", pytorch, "—", "—", "not compared"]
    underneath = text[text.index("## Portable view results") : text.index("Portable winner")]
    assert "JAX, portable view, chunk size 1: only 0 of 5" in underneath
    assert "timeout in 5 passes" in underneath


def test_no_eligible_cell_leaves_dashes_and_no_winner_in_bold() -> None:
    dead = [build.failed(b, "best_native", s, "oom") for b in ("jax", "pytorch") for s in (1, 4)]
    portable = plain_comparison().portable
    text = report(build.comparison(portable, build.view_of("best_native", dead)))

    _, jax, pytorch = table_after(text, "## Best-native view results")
    assert jax == ["JAX", "cached", "—", "—", "—", "—"]
    assert pytorch == ["PyTorch", "cached", "—", "—", "—", "—"]
    assert "no JAX cell is eligible" in text
    assert text.splitlines()[0].endswith("PARTIAL")
    assert "**Partial**" in text


def test_the_definition_of_an_eligible_cell_holds_every_condition() -> None:
    (definition,) = [
        line
        for line in report(plain_comparison()).splitlines()
        if "A cell is eligible when" in line
    ]
    conditions = (
        "every timed pass succeeded, all were scored in one way, no score depends on its neighbours"
        " and, for JAX, the gate passes."
    )
    assert conditions in definition


@pytest.mark.parametrize("why", ["compiled_passes", "excess_passes"])
def test_a_figure_that_may_not_be_the_servers_own_carries_a_dagger(why: str) -> None:
    base = plain_comparison()
    shaky = build.cell("jax", "portable", 1, 40.0, **{why: 1})
    text = report(build.comparison(build.replaced(base.portable, shaky), base.best_native))

    assert table_after(text, "## Portable view results")[1][2] == "40.0 (32.0\N{EN DASH}50.0) †"
    assert "† unstable" in text
    assert "†" not in report(base)


def test_the_date_is_that_of_the_latest_measurement() -> None:
    sources = [
        build.source("jax", "portable", finished_at="2026-02-13T00:30:00+02:00"),
        build.source("pytorch", "portable", finished_at="2026-02-11T08:00:00+00:00"),
    ]

    assert "| **Date** | 2026-02-12 |" in report(plain_comparison(sources=sources))


def hostile_comparison(text: str) -> Comparison:
    """Every place a server, a host or another stage may put words into."""
    host = build.source("jax", "portable").run.host.model_copy(
        update={"name": text, "processor": text, "system": text}
    )
    said = {"backend_version": text, "devices": [text], "argv": ["python", text], "host": host}
    base = plain_comparison(
        model=build.UNTRAINED.model_copy(update={"title": text, "revision": text}),
        sources=[build.source("jax", "portable", **said), build.source("pytorch", "portable")],
    )
    cell = build.cell(
        "jax",
        "portable",
        1,
        40.0,
        eligible=False,
        reasons=[build.reason("unavailable", detail=text)],
    )
    portable = build.replaced(base.portable, cell)
    probed = build.isolation(worst_layout=text)
    changed = {
        "passed_over": {"jax": 1},
        "isolation": {"jax": probed, "pytorch": probed},
    }
    portable = portable.model_copy(update=changed)
    return base.model_copy(update={"portable": portable})


@pytest.mark.parametrize("page", ["report.md", "comparison.md"])
def test_no_text_from_outside_breaks_a_table_or_becomes_markup(page: str) -> None:
    harmless = render_all(hostile_comparison("harmless"))[page]
    hostile = render_all(hostile_comparison(HOSTILE))[page]

    def shape(markdown: str) -> list[list[int]]:
        return [[len(row) for row in table] for table in tables(markdown)]

    assert shape(hostile) == shape(harmless)
    kinds = [token.type for token in PARSER.parse(hostile)]
    assert kinds == [token.type for token in PARSER.parse(harmless)]
    assert "<img src=x>" not in PARSER.render(hostile).replace("&lt;img src=x&gt;", "")
    assert "\x1b" not in hostile


def test_a_command_line_with_backticks_stays_inside_its_block() -> None:
    (fence,) = [t for t in PARSER.parse(code("run ```` it\n```\nnow")) if t.type == "fence"]

    assert fence.content == "run ```` it\n```\nnow\n"


@given(st.text())
def test_escaped_text_reads_as_the_text_itself(text: str) -> None:
    expected = "".join(c for c in " ".join(text.split()) if c.isprintable())
    if not expected.strip():
        return

    assert read_back(f"- {md(text)}").strip() == expected.strip()


@pytest.mark.parametrize(
    "text", [HOSTILE, "# x", "- x", "12. x", "1) x", "---", "> x", "+ x", "=="]
)
def test_escaped_markup_reads_as_the_text_itself(text: str) -> None:
    expected = "".join(c for c in " ".join(text.split()) if c.isprintable())

    assert read_back(f"- {md(text)}") == expected


def test_the_same_comparison_gives_the_same_pages() -> None:
    assert render_all(plain_comparison()) == render_all(plain_comparison())


def test_the_command_writes_the_pages_and_figures(tmp_path: Path) -> None:
    document = tmp_path / "comparison.json"
    document.write_text(build.comparison_set(plain_comparison()).model_dump_json())
    out = tmp_path / "out"
    done = CliRunner().invoke(main, ["--comparison", str(document), "--output", str(out)])

    assert done.exit_code == 0, done.output
    written = {str(path.relative_to(out)) for path in out.rglob("*") if path.is_file()}
    linked = set(re.findall(r"\((figures/[\w-]+\.svg)\)", (out / "report.md").read_text()))
    assert len(linked) >= 4
    assert written == {"report.md", "comparison.md", "report.html", *linked}


def test_a_missing_comparison_is_one_line_and_writes_nothing(tmp_path: Path) -> None:
    arguments = ["--comparison", str(tmp_path / "none.json"), "--output", str(tmp_path / "out")]
    done = CliRunner().invoke(main, arguments)

    assert done.exit_code == 1
    assert done.output.count("\n") == 1
    assert "none.json" in done.output
    assert not (tmp_path / "out").exists()
