"""How the items were scored is said wherever a figure of it is, in every page of the report."""

from __future__ import annotations

import re
from typing import Any

import comparisons as build
import pytest
from report_words import plain_comparison

from stages.backends.declared import PassMode, ScoringMode
from stages.contract import Backend
from stages.documents.comparison import Cell, Comparison
from stages.documents.matrix import Scoring
from stages.report import modes
from stages.report.conclusion import conclude
from stages.report.first_screen import first_screen
from stages.report.render import render_all
from stages.report.tables import provenance_rows, view_tables
from tools.diff.conditions import ChangedCondition, changed_conditions

NEITHER = (
    "Neither server did multi-item scoring in this run:"
    " each item was scored as a prompt of its own."
)


def scored(
    portable: dict[Backend, Scoring | None], native: dict[Backend, Scoring | None], **changes: Any
) -> Comparison:
    """The plain comparison, had its servers scored this way."""
    base = plain_comparison(**changes)
    return base.model_copy(
        update={
            "portable": base.portable.model_copy(update={"scoring": portable}),
            "best_native": base.best_native.model_copy(update={"scoring": native}),
        }
    )


def pair(jax: ScoringMode, pytorch: ScoringMode) -> dict[Backend, Scoring | None]:
    return {"jax": build.scored(jax), "pytorch": build.scored(pytorch)}


UPSTREAM = scored(pair("packed", "separate"), pair("prefill_extend", "packed"))


def test_a_view_names_the_mode_of_both_or_of_each() -> None:
    assert modes.of_view(plain_comparison().portable) == "both separate"
    assert modes.of_view(UPSTREAM.best_native) == "JAX prefill_extend, PyTorch packed"
    assert modes.of_both_views(UPSTREAM) == (
        "portable view: JAX packed, PyTorch separate;"
        " best-native view: JAX prefill_extend, PyTorch packed"
    )


def test_nothing_is_said_of_a_backend_that_was_not_measured() -> None:
    alone: dict[Backend, Scoring | None] = {"jax": None, "pytorch": build.scored("packed")}
    nobody: dict[Backend, Scoring | None] = {"jax": None, "pytorch": None}
    found = scored(alone, nobody)

    assert modes.of_both_views(found) == "portable view: PyTorch packed; best-native view: —"
    assert modes.remarks(found) == []
    assert modes.remarks(scored(nobody, nobody)) == []
    row = next(row for row in provenance_rows([found]) if row[0] == "How items are scored")
    assert row[1:] == ["—", "packed, by the server's flags", "—", "—"]


@pytest.mark.parametrize(
    ("portable", "native"),
    [
        (pair("separate", "separate"), pair("cached", "cached")),
        (pair("separate", "separate"), pair("separate", "cached")),
        (pair("cached", "cached"), pair("cached", "cached")),
    ],
)
def test_a_run_without_multi_item_scoring_says_so_in_one_sentence(portable, native) -> None:
    assert modes.remarks(scored(portable, native)) == [NEITHER]


def test_multi_item_scoring_in_one_view_is_enough() -> None:
    both = pair("prefill_extend", "packed")
    assert modes.remarks(scored(pair("separate", "separate"), both)) == []
    assert modes.remarks(scored(pair("packed", "packed"), both)) == []


def test_the_backend_that_did_none_is_named() -> None:
    found = scored(pair("separate", "separate"), pair("cached", "packed"))
    assert modes.remarks(found) == [
        "JAX did no multi-item scoring in this run: each item was scored as a prompt of its own."
    ]
    found = scored(pair("separate", "separate"), pair("prefill_extend", "cached"))
    assert [one.split()[0] for one in modes.remarks(found)] == ["PyTorch"]


def test_portable_is_not_called_alike_where_the_servers_scored_in_different_ways() -> None:
    assert modes.remarks(UPSTREAM) == [
        "In the portable view the servers scored items in different ways (JAX packed, PyTorch"
        " separate), so it compares these ways as well as the backends."
    ]


OURS = build.scored("packed", detail="attention by this project", stand_in=True)


def test_a_speed_that_is_not_the_backends_own_is_told_before_any_figure() -> None:
    portable = {"jax": build.scored("packed"), "pytorch": OURS}
    once = scored(portable, pair("prefill_extend", "cached"))  # type: ignore[arg-type]
    (told,) = modes.remarks(once)
    assert told == (
        "PyTorch's speed in the portable view is not to be quoted: it scored packed (attention by"
        " this project), which is there for correct scores and is no part of the backend."
    )
    twice = scored(portable, portable)  # type: ignore[arg-type]
    (told,) = modes.remarks(twice)
    assert "PyTorch's speed in the portable and best-native views is not" in told
    assert told.count("attention by this project") == 1
    report = render_all(once)["report.md"]
    assert report.index("is not to be quoted") < report.index("## ")


WRONG = build.scored("packed", detail="items see each other", known_wrong=True)


def test_scores_that_are_known_to_be_wrong_are_told_before_any_figure() -> None:
    native = pair("score_from_cache", "packed")
    once = scored({"jax": WRONG, "pytorch": build.scored("packed")}, native)
    sentence = (
        "JAX's scores in the portable view are known to be wrong: it scored packed (items see each"
        " other), and this run measured it all the same."
    )
    assert modes.remarks(once) == [sentence]
    assert first_screen(once).scored == [sentence]
    report = render_all(once)["report.md"]
    assert report.index(sentence) < report.index("## ")
    both = {"jax": WRONG, "pytorch": WRONG}
    first, second = modes.remarks(scored(both, both))  # type: ignore[arg-type]
    assert first.startswith("JAX's scores in the portable and best-native views are known to be")
    assert second.startswith("PyTorch's scores in the portable and best-native views are known")
    assert first.count("items see each other") == 1


def test_what_a_reader_cannot_guess_stands_in_the_provenance() -> None:
    native = {
        "jax": build.scored("score_from_cache", detail="label-only logprobs", fallbacks=12),
        "pytorch": build.scored("packed", told_by="server"),
    }
    found = scored(pair("separate", "separate"), native)  # type: ignore[arg-type]
    row = next(row for row in provenance_rows([found]) if row[0] == "How items are scored")
    # JAX and PyTorch in the portable view, then in the best-native one.
    assert row[1:] == [
        "separate, by the server's flags",
        "separate, by the server's flags",
        "score_from_cache (label-only logprobs), by the server's flags; its log says that it fell"
        " back from this mode for 12 requests",
        "packed, as the server reports",
    ]


def test_the_first_screen_has_a_row_and_both_cards_and_the_sentence() -> None:
    screen = first_screen(plain_comparison())
    assert screen.scored == [NEITHER]
    assert dict(screen.measured)["How items are scored"] == [
        "portable view: both separate; best-native view: both cached"
    ]
    assert [card.scored for card in screen.views] == ["both cached", "both separate"]
    assert first_screen(scored(pair("packed", "packed"), pair("packed", "packed"))).scored == []


@pytest.mark.parametrize("page", ["report.md", "comparison.md"])
def test_the_pages_open_with_it(page: str) -> None:
    opening = render_all(plain_comparison())[page].split("\n## ")[0]
    assert f"> **How items were scored.** {NEITHER}" in opening
    assert "- **Portable view** (items scored: both separate). " in opening
    assert "- **Best-native view** (items scored: both cached). " in opening


@pytest.mark.parametrize("page", ["report.md", "comparison.md"])
def test_every_table_of_speeds_names_them_or_stands_right_under_them(page: str) -> None:
    blocks = render_all(UPSTREAM)[page].replace("\\", "").split("\n\n")
    speeds = [i for i, block in enumerate(blocks) if re.match(r"\|.*(items/s|p95|p50)", block)]
    named = re.compile(r"JAX (packed|prefill_extend), PyTorch|JAX \| (packed|prefill_extend) \|")
    assert len(speeds) >= 4
    assert [blocks[i] for i in speeds if not named.search(blocks[i - 1] + blocks[i])] == []


def test_the_selected_cells_have_it_in_a_column() -> None:
    selected = view_tables(UPSTREAM.best_native, UPSTREAM.gate).selected
    assert [(row.backend, row.scored) for row in selected] == [
        ("JAX", "prefill_extend"),
        ("PyTorch", "packed"),
    ]


def test_the_report_says_what_the_modes_that_occur_are() -> None:
    text = render_all(UPSTREAM)["report.md"].replace("\\", "")
    assert "| packed | one sequence, items behind delimiters, a mask keeps them apart |" in text
    assert "| separate | n prompts" in text
    assert "| cached |" not in text


def test_the_recommendation_names_it_beside_who_leads() -> None:
    said = " ".join(conclude(UPSTREAM).recommendation)
    assert "Best-native view (items scored: JAX prefill_extend, PyTorch packed): PyTorch" in said
    assert "Portable view (items scored: JAX packed, PyTorch separate): PyTorch" in said


def changed(old: Comparison, new: Comparison) -> list[ChangedCondition]:
    return changed_conditions(build.comparison_set(old), build.comparison_set(new))


def test_another_way_of_scoring_is_another_condition() -> None:
    old = plain_comparison()
    new = scored(pair("separate", "separate"), pair("prefill_extend", "cached"))
    found = [d for d in changed(old, new) if d.name == "how items are scored"]
    assert [(d.where, d.before, d.after, d.host) for d in found] == [
        ("JAX, best-native view", "cached", "prefill_extend", False)
    ]
    assert not [d for d in changed(old, old) if d.name == "how items are scored"]


def test_requests_that_fell_back_are_no_condition_of_their_own() -> None:
    """Their number differs from run to run by itself."""

    def run(fallbacks: int) -> Comparison:
        v2 = build.scored("score_from_cache", fallbacks=fallbacks)
        return scored(pair("separate", "separate"), {"jax": v2, "pytorch": build.scored("packed")})

    assert changed(run(3), run(4)) == []


def left(modes_at: dict[int, dict[PassMode, int]]) -> Comparison:
    """The plain comparison, had JAX's log told this of its best-native passes."""
    base = scored(pair("separate", "separate"), pair("score_from_cache", "packed"))

    def of(cell: Cell) -> Cell:
        found = modes_at.get(cell.chunk_size) if cell.backend == "jax" else None
        if found is None:
            return cell
        return cell.model_copy(update={"modes": found, "told_passes": sum(found.values())})

    view = base.best_native
    told = view.model_copy(update={"cells": [of(cell) for cell in view.cells]})
    return base.model_copy(update={"best_native": told})


def native_cells() -> list[int]:
    return sorted(c.chunk_size for c in plain_comparison().best_native.cells if c.backend == "jax")


def test_a_mode_that_the_log_confirms_is_told_as_asked_for() -> None:
    found = left({size: {"score_from_cache": 5} for size in native_cells()})
    assert modes.of_view(found.best_native) == "JAX score_from_cache, PyTorch packed"
    assert not [said for said in modes.remarks(found) if "settings ask" in said]
    row = next(row for row in provenance_rows([found]) if row[0] == "How items are scored")
    passes = 5 * len(native_cells())
    assert row[3] == (
        "score_from_cache, by the server's flags; its log confirms it for"
        f" {passes} of {passes} timed passes"
    )


def test_a_chunk_size_that_left_its_mode_is_named_by_the_mode_it_used() -> None:
    sizes = native_cells()
    found = left(
        {size: {"score_from_cache": 5} for size in sizes} | {sizes[-1]: {"prefill_extend": 5}}
    )
    told = f"JAX score_from_cache, but prefill_extend at chunk size {sizes[-1]}, PyTorch packed"
    assert modes.of_view(found.best_native) == told
    remark = (
        "In the best-native view JAX's settings ask for score_from_cache, but its log says that it"
        f" scored prefill_extend at chunk size {sizes[-1]}."
    )
    assert remark in modes.remarks(found)
    assert remark in first_screen(found).scored
    rows = view_tables(found.best_native, found.gate).rows
    assert [row.chunk_size for row in rows if "(prefill_extend)" in row.candidate.items_per_s] == [
        sizes[-1]
    ]
    for page in ("report.md", "comparison.md"):
        assert told in render_all(found)[page].replace("\\", "")
    assert ("prefill_extend", modes.MEANS["prefill_extend"]) in modes.explained(found)


def test_a_server_that_left_its_mode_everywhere_is_named_by_the_other_alone() -> None:
    found = left({size: {"prefill_extend": 5} for size in native_cells()})
    assert modes.of_view(found.best_native) == "JAX prefill_extend, PyTorch packed"
    (remark,) = [said for said in modes.remarks(found) if "settings ask" in said]
    assert "prefill_extend at chunk sizes" in remark
    row = next(row for row in provenance_rows([found]) if row[0] == "How items are scored")
    assert "its log confirms it for 0 of" in row[3]


def test_a_mixed_cell_is_told_and_is_no_mode() -> None:
    sizes = native_cells()
    found = left(
        {size: {"score_from_cache": 5} for size in sizes}
        | {sizes[0]: {"score_from_cache": 4, "mixed": 1}}
    )
    assert modes.of_view(found.best_native) == (
        f"JAX score_from_cache, but mixed at chunk size {sizes[0]}, PyTorch packed"
    )
    (remark,) = [said for said in modes.remarks(found) if "settings ask" in said]
    assert remark.endswith(
        f"scored in more than one way at chunk size {sizes[0]}; a cell scored in more than one way"
        " is not eligible."
    )


def test_another_mode_at_one_chunk_size_is_another_condition() -> None:
    sizes = native_cells()
    as_asked = {size: {"score_from_cache": 5} for size in sizes}
    found = changed(left(as_asked), left(as_asked | {sizes[0]: {"prefill_extend": 5}}))
    assert [d.after for d in found if d.name == "how items are scored"] == [
        f"score_from_cache, but prefill_extend at chunk size {sizes[0]}"
    ]
