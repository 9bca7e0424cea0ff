"""Which prompt each server scored, in words: once, and wherever the scores are spoken of."""

from __future__ import annotations

import comparisons as build
import pytest

from stages.documents.comparison import Comparison, OracleResult, ViewComparison
from stages.report import modes
from stages.report.checks import oracle_answer, verdict_answer
from stages.report.conclusion import conclude
from stages.report.findings import find
from stages.report.prose.oracle import other_prompt
from stages.report.render import render_all
from stages.report.trust import trust

RIGHT = build.oracle(1e-7, 1e-8)
WRONG = build.oracle(0.4, 0.1, False).model_copy(
    update={"delimited": build.delimited(0.3, 0.1, False)}
)
NOTHING = build.oracle(None, None, None)
DIFFERENT = (
    "the servers scored different prompts (JAX: query + delimiter 9999 + item; PyTorch: query +"
    " item), so this view does not compare them"
)


def view(jax: OracleResult, pytorch: OracleResult) -> ViewComparison:
    agreeing = [b for b, found in (("jax", jax), ("pytorch", pytorch)) if found.agrees]
    side = "both" if len(agreeing) == 2 else agreeing[0] if agreeing else "neither"
    rates = {1: 100.0, 4: 200.0}
    changes = {"oracle": {"jax": jax, "pytorch": pytorch}, "oracle_sides_with": side}
    return build.speeds("portable", rates, rates, **changes)


def whole(portable: ViewComparison) -> Comparison:
    rates = {1: 100.0, 4: 200.0}
    return build.comparison(portable, build.speeds("best_native", rates, rates))


@pytest.mark.parametrize(
    ("jax", "pytorch", "sentence"),
    [
        (RIGHT, RIGHT, None),
        (WRONG, RIGHT, None),
        (WRONG, NOTHING, None),
        (build.other_prompt(), RIGHT, DIFFERENT),
        (
            RIGHT,
            build.other_prompt(2),
            "the servers scored different prompts (JAX: query + item; PyTorch: query + delimiter 2"
            " + item), so this view does not compare them",
        ),
        (
            build.other_prompt(2),
            build.other_prompt(9999),
            "the servers scored different prompts (JAX: query + delimiter 2 + item; PyTorch: query"
            " + delimiter 9999 + item), so this view does not compare them",
        ),
        (
            build.other_prompt(),
            build.other_prompt(),
            "the scores of both servers are those of another prompt: query + delimiter 9999 + item",
        ),
        # What the other one scored is not known, so nothing is said of the comparison.
        (
            build.other_prompt(),
            WRONG,
            "the scores of JAX are those of another prompt: query + delimiter 9999 + item",
        ),
        (
            NOTHING,
            build.other_prompt(),
            "the scores of PyTorch are those of another prompt: query + delimiter 9999 + item",
        ),
    ],
)
def test_what_was_scored_is_one_sentence(
    jax: OracleResult, pytorch: OracleResult, sentence: str | None
) -> None:
    assert other_prompt(view(jax, pytorch)) == sentence


def test_it_stands_in_the_trust_block_among_the_findings_and_on_the_first_screen() -> None:
    found = whole(view(build.other_prompt(), RIGHT))
    sentence = f"Portable view: {DIFFERENT}."
    assert sentence in trust(found).against
    assert sentence in find(found).correctness
    assert sentence in modes.remarks(found)
    assert verdict_answer(found.portable).figure.endswith(DIFFERENT)
    assert conclude(found).priorities[0] == (
        "Correct scores: JAX, portable view, scored another prompt: query + delimiter 9999 + item."
    )
    for name, page in render_all(found).items():
        if name.startswith("report."):
            assert "servers scored different prompts" in page


def test_where_both_scored_the_prompt_nothing_of_the_kind_is_said() -> None:
    for page in render_all(whole(view(RIGHT, RIGHT))).values():
        assert "another prompt" not in page
        assert "different prompts" not in page


FAR = (
    "24 sampled items (largest difference 0.400, limit 0.02; mean 0.100, limit 0.01);"
    " from query + delimiter 9999 + item: largest difference"
)


@pytest.mark.parametrize(
    ("found", "word", "figure"),
    [
        (
            build.other_prompt(),
            "scores another prompt",
            f"{FAR} 3.00e-07, mean 4.00e-08",
        ),
        (WRONG, "wrong", f"{FAR} 0.300, mean 0.100, so they are neither prompt's scores"),
        (
            build.other_prompt().model_copy(update={"verdict": "wrong"}),
            "wrong",
            f"{FAR} 3.00e-07, mean 4.00e-08, but the scores depend on neighbouring items",
        ),
        (
            WRONG.model_copy(update={"delimited": build.delimited(0.01, 0.005, False)}),
            "wrong",
            f"{FAR} 0.0100, mean 0.00500, but the gate does not tell the two prompts apart",
        ),
        (
            build.oracle(0.4, 0.1, False),
            "differs",
            "24 sampled items (largest difference 0.400, limit 0.02; mean 0.100, limit 0.01)",
        ),
        (
            RIGHT.model_copy(update={"delimited": build.delimited(0.4, 0.1, False)}),
            "agrees",
            "24 sampled items (largest difference 1.00e-07, limit 0.02; mean 1.00e-08, limit 0.01)",
        ),
    ],
)
def test_each_verdict_has_its_word_and_both_prompts_figures(
    found: OracleResult, word: str, figure: str
) -> None:
    portable = view(found, RIGHT)
    said = oracle_answer(portable, "jax", whole(portable).gate)
    assert (said.word, said.figure) == (word, figure)
