"""Can these scores be trusted: every check's answer, against cases worked out by hand."""

from __future__ import annotations

from typing import Any

import comparisons as build
import pytest
from report_words import plain_comparison

from stages.contract import VIEWS, View
from stages.documents.comparison import Comparison, FailedAlone, ViewComparison
from stages.documents.matrix import ShellVariables
from stages.report import tables
from stages.report.checks import Answer, prefix_cache_answer
from stages.report.conclusion import conclude
from stages.report.findings import find
from stages.report.render import render_all
from stages.report.trust import ineligible, trust

RATES = {1: 100.0, 4: 200.0, 8: 300.0}
LEAK = build.isolation(
    "leaks",
    largest_change=0.345,
    worst_target=15,
    worst_layout="before_5",
    leaking_targets=[3, 15],
    failed_probes=2,
)
NOT_PROBED = build.isolation(
    "not_probed",
    changes={},
    largest_change=None,
    worst_target=None,
    worst_layout=None,
    failed_probes=24,
)


def view(*cells: Any, **changes: Any) -> ViewComparison:
    """The portable view, steady and equal, with ``cells`` and ``changes`` in it."""
    base = build.speeds("portable", RATES, RATES, **changes)
    return build.replaced(base, *cells) if cells else base


def whole(portable: ViewComparison | None = None, **changes: Any) -> Comparison:
    native = build.speeds("best_native", RATES, RATES)
    return build.comparison(portable or view(), native, **changes)


def answer(portable: ViewComparison, name: str) -> Answer:
    (check,) = [one for one in trust(whole(portable)).checks if one.name == name]
    return check.answers[0]


def against(comparison: Comparison) -> list[str]:
    return trust(comparison).against


def against_times(comparison: Comparison) -> list[str]:
    return trust(comparison).against_times


def sided(portable: ViewComparison, side: Any) -> ViewComparison:
    """The oracle sides with ``side``; whom it does not side with is 0.4 off."""
    near, far = build.oracle(1e-7, 1e-8), build.oracle(0.4, 0.1, False)
    found = {b: near if side in (b, "both") else far for b in ("jax", "pytorch")}
    if side is None:
        found["jax"] = build.oracle(None, None, None)
    return portable.model_copy(update={"oracle_sides_with": side, "oracle": found})


def of_jax(value: Any, other: Any) -> dict[str, Any]:
    return {"jax": value, "pytorch": other}


def test_where_all_is_well_every_check_says_so_and_nothing_stands_against_it() -> None:
    found = trust(whole())

    words = {check.name: [one.word for one in check.answers] for check in found.checks}
    assert words == {
        "Gate": ["pass", "pass"],
        "Power": ["all caught", "all caught"],
        "Ranking": ["kept", "kept"],
        "Noise floor, JAX": ["none", "none"],
        "Noise floor, PyTorch": ["none", "none"],
        "Isolation, JAX": ["isolated", "isolated"],
        "Isolation, PyTorch": ["isolated", "isolated"],
        "Oracle, JAX": ["agrees", "agrees"],
        "Oracle, PyTorch": ["agrees", "agrees"],
        "Oracle's verdict": ["both agree", "both agree"],
        "Prefix cache, JAX": ["as allowed", "as allowed"],
        "Prefix cache, PyTorch": ["as allowed", "as allowed"],
        "Other work on the machine, JAX": ["quiet", "quiet"],
        "Other work on the machine, PyTorch": ["quiet", "quiet"],
    }
    assert found.against == []
    assert found.against_times == []
    for page in render_all(whole()).values():
        assert "Nothing stands against these scores." in page
        assert "against these times" not in page


def test_the_gate_counts_its_cells_and_gives_the_largest_differences_of_any() -> None:
    drift = build.cell("jax", "portable", 4, 200.0, gate=build.gate("pass", 0.00125, 2e-4))

    assert answer(view(drift), "Gate").figure == (
        "3 of 3 JAX cells pass (largest difference 0.00125, limit 0.02; mean 2.00e-04, limit 0.01)"
    )


def test_the_gate_names_the_cells_that_do_not_pass_and_takes_the_worst_word() -> None:
    wrong = build.cell("jax", "portable", 1, 100.0, gate=build.gate("fail", None, None))
    flat = build.cell("jax", "portable", 4, 200.0, gate=build.inconclusive())
    dead = build.failed("jax", "portable", 8, "oom")

    said = answer(view(wrong, flat, dead), "Gate")
    assert said.word == "fail"
    assert said.figure.startswith(
        "0 of 3 JAX cells pass; fail at chunk size 1; inconclusive at chunk size 4;"
        " not compared at chunk size 8 ("
    )
    # A score that is not a number has no difference: the other cells' must not hide it.
    assert "no finite difference at chunk size 1" in said.figure
    assert answer(view(flat, dead), "Gate").word == "inconclusive"
    assert answer(view(dead), "Gate").word == "not compared"


def test_passes_without_a_counterpart_are_told() -> None:
    gate = build.PASSED.model_copy(update={"uncompared_passes": 2})
    portable = view(build.cell("jax", "portable", 4, 200.0, gate=gate))

    assert answer(portable, "Gate").figure.endswith("; 2 passes not compared")
    (sentence,) = against(whole(portable))
    assert sentence.startswith("JAX, portable view, chunk size 4: 2 passes could not be compared")


def test_of_the_wrong_answers_caught_the_closest_to_passing_is_named() -> None:
    # 0.52 of 0.02 is 26 times the limit, 0.0625 of 0.01 is 6.25; the closest is caught by
    # its mean alone, at 1.5 times the limit.
    near = build.PASSED.model_copy(
        update={"controls": [build.control("labels_swapped", 0.019, 0.015), *build.CAUGHT[:1]]}
    )
    cell = build.cell("jax", "portable", 4, 200.0, gate=near)

    said = answer(view(cell), "Power")
    assert (said.word, said.figure) == (
        "all caught",
        "8 wrong answers (the closest to passing:"
        " labels swapped at chunk size 4, mean 0.0150 against the limit 0.01)",
    )
    assert "chunk size 1, 0.520 against the limit 0.02" in answer(view(), "Power").figure


def flat_view() -> ViewComparison:
    """At chunk sizes 4 and 8 the gate would also pass items rotated by one."""

    def flat(size: int, largest: float) -> Any:
        return build.cell(
            "jax",
            "portable",
            size,
            RATES[size],
            gate=build.inconclusive(build.control("items_rotated", largest, 0.0012, False)),
            eligible=False,
            reasons=[build.reason("gate_inconclusive", controls=["items_rotated"])],
        )

    return view(flat(4, 0.0031), flat(8, 0.0047))


def test_a_wrong_answer_that_passes_is_named_with_its_cells_and_what_follows() -> None:
    said = answer(flat_view(), "Power")

    assert said.word == "not all caught"
    assert said.figure == (
        "2 of 9 wrong answers pass the gate, so a pass there means nothing: items rotated by one"
        " at chunk sizes 4 and 8 (largest difference 0.00470, mean 0.00120)"
    )
    assert against(whole(flat_view())) == [
        "JAX, portable view, chunk sizes 4 and 8: the gate is inconclusive: the scores are"
        " so flat that it would also pass items rotated by one."
    ]


def test_an_inconclusive_cell_reaches_the_findings_the_table_and_the_priorities() -> None:
    comparison = whole(flat_view())

    correctness = find(comparison).correctness
    assert correctness[0].startswith(
        "Portable view: 1 of 3 JAX cells passes; inconclusive at chunk sizes 4 and 8 ("
    )
    assert correctness[1].startswith("Best-native view: 3 of 3 JAX cells pass (")
    assert (
        "Inconclusive: JAX, portable view, chunk size 4"
        " (the gate would also pass items rotated by one)." in correctness
    )
    assert "| inconclusive |" in render_all(comparison)["report.md"]
    first = conclude(comparison).priorities[0]
    assert first.startswith("Distinct scores: JAX, portable view, chunk size 4 cannot be judged")
    assert "items rotated by one" in first


def test_without_a_compared_pass_no_wrong_answer_could_be_tried() -> None:
    dead = [build.failed("jax", "portable", size, "oom") for size in RATES]

    assert answer(view(*dead), "Power").word == "not tried"
    some = answer(view(dead[0]), "Power")
    assert some.word == "all caught"
    assert some.figure.startswith("6 wrong answers")
    assert some.figure.endswith("; none could be made at chunk size 1")


@pytest.mark.parametrize(
    ("difference", "repeats", "word", "figure", "stands_against"),
    [
        (0.0, 5, "none", "5 answers to the same request are identical", False),
        (1.2e-7, 5, "small", "5 answers to the same request differ by up to 1.20e-07", False),
        (0.01, 5, "small", "5 answers to the same request differ by up to 0.0100", False),
        (0.011, 5, "large", "differ by up to 0.0110 (the gate's limit is 0.02)", True),
        (0.03, 5, "large", "differ by up to 0.0300 (the gate's limit is 0.02)", True),
        (None, 1, "not known", "1 answer to the same request, too few", True),
        (None, 0, "not known", "no answers to the same request, too few", True),
    ],
)
def test_the_noise_floor_is_that_of_each_backend(
    difference: float | None, repeats: int, word: str, figure: str, stands_against: bool
) -> None:
    portable = view(noise=of_jax(build.noise(0.0), build.noise(difference, repeats)))

    said = answer(portable, "Noise floor, PyTorch")
    assert said.word == word
    assert figure in said.figure
    assert answer(portable, "Noise floor, JAX").word == "none"
    sentences = against(whole(portable))
    assert len(sentences) == stands_against
    assert all(one.startswith("PyTorch, portable view: ") for one in sentences)


@pytest.mark.parametrize(
    ("floors", "expected"),
    [
        # The builder's drift is 1e-6.
        (
            (2.5e-7, 1e-7),
            ["JAX's answers to", "up to 2.50e-07; ", "up to 1.00e-06, 4.00x the noise"],
        ),
        ((1e-7, 1e-6), ["PyTorch's answers", "1.00e-06; the", "which is no more than the noise"]),
        ((0.0, 0.0), ["answers to the same request are identical; the backends' scores"]),
        ((None, 0.0), ["PyTorch's answers to the same request are identical"]),
        ((None, 0.0), ["JAX, portable view: the noise floor is not known"]),
        ((None, None), ["JAX, portable view: the noise floor is not known"]),
        ((None, None), ["PyTorch, portable view: the noise floor is not known"]),
    ],
)
def test_the_drift_is_told_beside_the_noise_floor(floors: Any, expected: list[str]) -> None:
    portable = view(noise=of_jax(*map(build.noise, floors)))
    said = find(whole(portable)).correctness

    assert any("ortable view: " in one and all(words in one for words in expected) for one in said)


def leaking_view() -> ViewComparison:
    reason = build.reason("leaks", items=[3, 15], change=0.345, limit=1e-4)
    cells = [
        build.cell("jax", "portable", size, rate, eligible=False, reasons=[reason])
        for size, rate in RATES.items()
    ]
    return build.view_of(
        "portable",
        [*cells, *(c for c in view().cells if c.backend == "pytorch")],
        isolation=of_jax(LEAK, build.isolation()),
    )


def test_a_leaking_backend_is_named_with_its_items_the_size_and_the_place() -> None:
    said = answer(leaking_view(), "Isolation, JAX")

    assert said.word == "leaks"
    assert said.figure == (
        "scores depend on neighbouring items: those of items 3 and 15 moved by up to 0.345 (limit"
        " 1.00e-04); most: item 15 with 5 items before it; 2 probe requests failed"
    )
    assert answer(leaking_view(), "Isolation, PyTorch").word == "isolated"
    # Three cells with one reason are one sentence.
    assert against(whole(leaking_view())) == [
        "JAX, portable view, chunk sizes 1 to 8: scores depend on neighbouring items:"
        " those of items 3 and 15 moved by up to 0.345 (limit 1.00e-04)."
    ]


def test_a_leak_reaches_the_findings_and_the_priorities() -> None:
    comparison = whole(leaking_view())

    leak = (
        "JAX, portable view: scores depend on neighbouring items: those of items 3 and 15 moved by"
        " up to 0.345 (limit 1.00e-04)."
    )
    assert leak in find(comparison).correctness
    assert not any(one.startswith("No probed score") for one in find(comparison).correctness)
    first = conclude(comparison).priorities[0]
    assert first.startswith("Isolation: JAX, portable view")
    assert first.endswith("(limit 1.00e-04).")


@pytest.mark.parametrize(
    ("layout", "words"),
    [
        ("original", "among its own neighbours"),
        ("reversed", "with the order reversed"),
        ("replaced", "with all other items replaced"),
        ("before_1", "with 1 item before it"),
        ("before_20", "with 20 items before it"),
        ("before_all", "with all other items before it"),
        ("shorter", "with all other items shorter"),
        ("longer", "with all other items longer"),
    ],
)
def test_the_layout_of_the_largest_change_is_told_in_words(layout: str, words: str) -> None:
    found = build.isolation(worst_layout=layout)

    assert (
        f"(item 31 {words})"
        in answer(view(isolation=of_jax(found, found)), "Isolation, JAX").figure
    )


def test_isolated_says_how_far_scores_moved_and_which_probes_failed() -> None:
    still = build.isolation(largest_change=0.0, failed_probes=1)
    portable = view(isolation=of_jax(still, build.isolation()))

    assert answer(portable, "Isolation, JAX").figure == (
        "scores of 3 probed items do not move; 1 probe request failed"
    )
    assert "move by at most 2.00e-07 (item 31" in answer(portable, "Isolation, PyTorch").figure
    (sentence,) = against(whole(portable))
    assert sentence == "JAX, portable view: 1 probe request of the isolation check failed."
    assert (
        "No probed score moved by more than 2.00e-07 (PyTorch, portable view)"
        " when only its neighbours changed." in find(whole(portable)).correctness
    )


def test_the_probes_own_limit_is_shown_and_not_the_gates() -> None:
    found = build.isolation(limit=0.0003, largest_change=0.0002)
    figure = answer(view(isolation=of_jax(found, build.isolation())), "Isolation, JAX").figure
    assert "limit 0.0003" in figure
    assert "0.02" not in figure


LENGTHS_NOT_PROBED = build.isolation(
    "lengths_not_probed", failed_probes=6, failed_layouts=["shorter", "longer"]
)


def test_a_server_without_room_for_longer_items_is_not_called_isolated() -> None:
    portable = view(isolation=of_jax(LENGTHS_NOT_PROBED, build.isolation()))
    said = answer(portable, "Isolation, JAX")
    assert said.word == "not probed with other lengths"
    assert said.figure == (
        "among items of the same lengths, scores of 3 probed items move by at most 2.00e-07 (item"
        " 31 with the order reversed), limit 0.0001; 6 probe requests failed (with all other items"
        " shorter and with all other items longer)"
    )
    correctness = find(whole(portable)).correctness
    assert (
        "Isolation from items of other lengths could not be probed: JAX, portable view."
        in correctness
    )
    assert not any(one.startswith("No probed score") for one in correctness)


def test_what_an_isolated_verdict_does_not_cover_is_said_beside_it() -> None:
    found = build.isolation(failed_probes=3, failed_layouts=["longer"], left_out=["shorter"])
    portable = view(isolation=of_jax(found, build.isolation()))
    said = answer(portable, "Isolation, JAX")
    assert said.word == "isolated"
    assert said.figure.endswith(
        "; 3 probe requests failed (with all other items longer);"
        " not tried with shorter items where all others have one token"
    )
    assert against(whole(portable)) == [
        "JAX, portable view: 3 probe requests of the isolation check failed (with all other items"
        " longer)."
    ]
    short = build.isolation(left_out=["shorter"])
    assert against(whole(view(isolation=of_jax(short, short)))) == []


SINGLE = build.isolation(
    "no_neighbours", changes={}, largest_change=None, worst_target=None, worst_layout=None
)


def test_a_single_item_has_nothing_to_probe_and_nothing_stands_against_it() -> None:
    portable = view(isolation=of_jax(SINGLE, SINGLE))
    said = answer(portable, "Isolation, JAX")
    assert (said.word, said.against) == ("nothing to probe", [])
    native = build.speeds("best_native", RATES, RATES, isolation=of_jax(SINGLE, SINGLE))
    comparison = build.comparison(portable, native)
    assert against(comparison) == []
    (sentence,) = [one for one in find(comparison).correctness if "neighbouring" in one]
    assert sentence == ("The workload has one item, so no score can depend on neighbouring items.")


def without_controls(*kept: Any, **left_out: str) -> ViewComparison:
    gate = build.PASSED.model_copy(update={"controls": list(kept), "left_out": left_out})
    return view(*(build.cell("jax", "portable", n, rate, gate=gate) for n, rate in RATES.items()))


def test_a_control_that_would_change_nothing_is_named_with_the_reason() -> None:
    portable = without_controls(build.CAUGHT[0], build.CAUGHT[2], labels_swapped="label")
    said = answer(portable, "Power")
    assert said.word == "all caught"
    assert said.figure.startswith("6 wrong answers (")
    assert said.figure.endswith(
        "; left out, for they would change nothing: labels swapped (there is one label)"
    )
    assert against(whole(portable)) == []
    assert (
        "Not among the wrong answers that the gate must catch: labels swapped (there is one label)."
        in find(whole(portable)).correctness
    )


def test_where_no_control_is_left_the_power_is_not_claimed() -> None:
    only = {"items_rotated": "item", "labels_swapped": "label", "mean_score": "item"}
    portable = without_controls(**only)
    said = answer(portable, "Power")
    assert said.word == "could not be tested"
    assert said.figure == (
        "no wrong answer would differ from the right one: items rotated by one (there is one item),"
        " labels swapped (there is one label) and the mean score for every item (there is one item)"
    )
    assert against(whole(portable)) == [
        "JAX, portable view: nothing could test the gate's power, so its pass is worth less."
    ]
    assert answer(portable, "Gate").word == "pass"


@pytest.mark.parametrize("found", [LEAK, NOT_PROBED, LENGTHS_NOT_PROBED])
def test_what_no_cells_reason_says_is_still_said(found: Any) -> None:
    (sentence,) = against(whole(view(isolation=of_jax(found, build.isolation()))))

    said = answer(view(isolation=of_jax(found, found)), "Isolation, JAX")
    assert sentence == f"JAX, portable view: {said.word}, {said.figure}."


def test_an_isolation_that_was_not_probed_is_said_as_such() -> None:
    portable = view(isolation=of_jax(build.isolation(), NOT_PROBED))
    said = answer(portable, "Isolation, PyTorch")

    assert (said.word, said.figure) == ("not probed", "24 probe requests failed")
    some = build.isolation("not_probed", failed_probes=8)
    seen = answer(view(isolation=of_jax(some, some)), "Isolation, JAX").figure
    assert seen.startswith("8 probe requests failed; the others move a score by at most 2.00e-07")
    none = NOT_PROBED.model_copy(update={"failed_probes": 0})
    assert answer(view(isolation=of_jax(none, none)), "Isolation, JAX").figure == (
        "no complete probe"
    )
    assert (
        "Isolation between items could not be probed: PyTorch, portable view."
        in find(whole(portable)).correctness
    )


def test_the_failed_request_of_one_item_is_named() -> None:
    why = FailedAlone(item=3, status="http_5xx", detail="HTTP 500")
    broken = NOT_PROBED.model_copy(update={"alone": why})
    portable = view(isolation=of_jax(build.isolation(), broken))
    said = answer(portable, "Isolation, PyTorch")
    failed = "the request with item 3 alone failed (http_5xx: HTTP 500)"
    assert (said.word, said.figure) == ("not probed", f"{failed}; 24 probe requests failed")
    assert (
        f"Isolation between items could not be probed: PyTorch, portable view ({failed})."
        in find(whole(portable)).correctness
    )


@pytest.mark.parametrize(
    ("side", "word", "told"),
    [
        (
            "jax",
            "sides with JAX",
            "sides with JAX: JAX differs from the oracle by up to 1.00e-07, PyTorch by up to 0.400",
        ),
        (
            "pytorch",
            "sides with PyTorch",
            "sides with PyTorch: JAX differs from the oracle by up to 0.400, PyTorch by up to"
            " 1.00e-07",
        ),
        (
            "neither",
            "neither agrees",
            "agrees with neither backend: JAX differs from the oracle by up to 0.400, PyTorch by"
            " up to 0.400",
        ),
        (None, "not known", "has nothing to compare JAX with"),
    ],
)
def test_anything_but_the_oracles_agreement_with_both_stands_against_the_scores(
    side: Any, word: str, told: str
) -> None:
    portable = sided(view(), side)
    said = answer(portable, "Oracle's verdict")

    assert (said.word, said.figure) == (word, f"the oracle {told}")
    assert against(whole(portable)) == [f"Portable view: the oracle {told}."]
    assert f"Portable view: the oracle {told}." in find(whole(portable)).correctness


def test_each_backend_stands_beside_the_oracle_with_its_figures() -> None:
    off = build.oracle(0.41, 0.1, False).model_copy(update={"compared": 20, "missing": 4})
    portable = view(oracle=of_jax(build.oracle(None, None, None), off))

    said = answer(portable, "Oracle, PyTorch")
    assert said.word == "differs"
    assert said.figure == (
        "20 sampled items (largest difference 0.410, limit 0.02; mean 0.100, limit 0.01);"
        " no answer to 4 sampled items more"
    )
    nothing = answer(portable, "Oracle, JAX")
    assert (nothing.word, nothing.figure) == ("not compared", "no answer to 24 sampled items")


def test_where_the_oracle_sides_with_jax_a_failed_gate_points_at_the_reference() -> None:
    wrong = build.cell("jax", "portable", 4, 200.0, gate=build.gate("fail", 0.41, 0.1))
    right = sided(view(wrong), "jax")
    drifted = sided(view(wrong), "pytorch")

    assert "look at PyTorch's scores first" in conclude(whole(right)).priorities[0]
    first, second, *_ = conclude(whole(drifted)).priorities
    assert "look at PyTorch" not in first
    assert second == ("Correct scores: JAX, portable view differs from the oracle by up to 0.400.")


NONE_MAY = "of a pass's 4,352 prompt tokens none may come from it; "
MOST_MAY = "of a pass's 4,352 prompt tokens at most 3,976 may come from it; "
SILENT = "the server does not report how many did"
UNREPORTED = {"most_tokens": None, "told_passes": 0}


@pytest.mark.parametrize(
    ("of", "changes", "word", "figure"),
    [
        ("portable", {}, "as allowed", f"{NONE_MAY}the most in one pass was 0"),
        ("best_native", {}, "as allowed", f"{MOST_MAY}the most in one pass was 3,968"),
        (
            "best_native",
            {"told_passes": 14},
            "as allowed",
            f"{MOST_MAY}the most in one pass was 3,968; not reported for 1 timed pass",
        ),
        (
            "portable",
            {"most_tokens": 4320, "excess_passes": 10},
            "too much",
            f"{NONE_MAY}the most in one pass was 4,320; more than allowed in 10 timed passes",
        ),
        ("portable", UNREPORTED, "not reported", f"{NONE_MAY}{SILENT}"),
        ("best_native", UNREPORTED, "not known", f"{MOST_MAY}{SILENT}"),
    ],
)
def test_the_prefix_cache_is_told_with_what_was_allowed_and_what_was_found(
    of: View, changes: dict[str, Any], word: str, figure: str
) -> None:
    said = prefix_cache_answer(with_cache(of, **changes), "jax")
    assert (said.word, said.figure) == (word, figure)
    assert bool(said.against) == (word in ("too much", "not known"))


def with_cache(of: View, *cells: Any, **changes: Any) -> ViewComparison:
    """A view in which JAX's server took this much from its prefix cache."""
    caches = of_jax(build.prefix_cache(of, **changes), build.prefix_cache(of))
    base = build.speeds(of, RATES, RATES, prefix_cache=caches)
    return build.replaced(base, *cells) if cells else base


def test_too_much_from_the_prefix_cache_stands_against_the_times_with_its_chunk_sizes() -> None:
    cells = [build.cell("jax", "portable", size, RATES[size], excess_passes=5) for size in (1, 8)]
    portable = with_cache("portable", *cells, most_tokens=4320, excess_passes=10)
    assert against_times(whole(portable)) == [
        "JAX, portable view, chunk sizes 1 and 8: took more from its prefix cache than allowed"
        " in 10 timed passes."
    ]
    assert against(whole(portable)) == []


def test_a_prefix_cache_that_nobody_tells_of_stands_against_the_times_where_there_is_one() -> None:
    native = with_cache("best_native", **UNREPORTED)
    portable = with_cache("portable", **UNREPORTED)
    assert against_times(build.comparison(portable, native)) == [
        "JAX, best-native view: how much came from the prefix cache is not known."
    ]
    assert against(build.comparison(portable, native)) == []


@pytest.mark.parametrize(
    ("share", "restarts", "word", "figure"),
    [
        (0.0999, 0, "quiet", "9.99% of the machine's CPU time"),
        (0.1, 0, "busy", "10% of the machine's CPU time"),
        (0.234, 0, "busy", "23.4% of the machine's CPU time"),
        (None, 0, "not known", "it was not measured"),
        (None, 2, "not known", "the server was restarted"),
    ],
)
def test_other_work_on_the_machine_is_told_for_each_backend(
    share: float | None, restarts: int, word: str, figure: str
) -> None:
    calm = [s for s in whole().sources if (s.backend, s.view) != ("jax", "portable")]
    loaded = build.source("jax", "portable", foreign_cpu=share, restarts=restarts)
    comparison = whole(sources=[loaded, *calm])
    checked = {check.name: check.answers for check in trust(comparison).checks}

    said = checked["Other work on the machine, JAX"]
    assert (said[0].word, said[0].figure) == (word, figure)
    assert said[1].word == "quiet"
    sentences = against_times(comparison)
    assert len(sentences) == (word != "quiet")
    assert against(comparison) == [], "a busy machine disturbs no score"
    assert all(one.startswith("JAX, portable view: ") for one in sentences)


def test_a_measurement_without_a_source_has_an_unknown_load() -> None:
    assert sum("other work" in one for one in against_times(whole(sources=[]))) == 4


def test_reasons_are_told_together_only_where_backend_and_reasons_are_the_same() -> None:
    def barred(backend: Any, size: int, detail: str) -> Any:
        reason = build.reason("unavailable", detail=detail)
        return build.cell(backend, "portable", size, 1.0, eligible=False, reasons=[reason])

    found = ineligible(
        view(
            barred("jax", 1, "a"),
            barred("jax", 4, "b"),
            barred("jax", 8, "a"),
            barred("pytorch", 1, "a"),
        )
    )

    assert found == [
        "JAX, portable view, chunk sizes 1 and 8: unavailable: a.",
        "JAX, portable view, chunk size 4: unavailable: b.",
        "PyTorch, portable view, chunk size 1: unavailable: a.",
    ]


def test_barred_cells_of_both_views_are_told() -> None:
    native = build.speeds("best_native", RATES, RATES)
    dead = build.failed("pytorch", "best_native", 4, "oom")
    comparison = build.comparison(flat_view(), build.replaced(native, dead))

    assert [one.split(":")[0] for one in against(comparison)] == [
        "JAX, portable view, chunk sizes 4 and 8",
        "PyTorch, best-native view, chunk size 4",
    ]


def test_the_short_form_has_a_line_a_check_and_what_stands_against_the_scores() -> None:
    short = render_all(whole(flat_view()))["comparison.md"]

    assert "- Gate: inconclusive in the portable view, pass in the best-native view." in short
    assert "- Isolation, PyTorch: isolated in both views." in short
    assert "What stands against these scores:\n\n- JAX, portable view, chunk sizes 4 and 8" in short
    assert "Nothing stands against" not in short


@pytest.mark.parametrize("page", ["report.md", "comparison.md"])
def test_what_stands_against_the_times_is_listed_apart_from_the_scores(page: str) -> None:
    busy = [build.source("jax", view, foreign_cpu=0.25) for view in VIEWS]
    text = render_all(whole(sources=busy))[page]

    _, _, listed = text.partition("Nothing stands against these scores.\n\n")
    assert listed.startswith(
        "What stands against these times:\n\n"
        "- JAX, portable view: other work took 25% of the machine's CPU time while JAX was timed.\n"
        "- JAX, best-native view: other work took 25% of"
    )


def test_the_provenance_table_shows_the_load() -> None:
    sources = [
        build.source("jax", "portable", foreign_cpu=0.125),
        build.source("pytorch", "portable", foreign_cpu=None),
    ]

    rows = tables.provenance_rows([plain_comparison(sources=sources)])
    assert ["CPU time taken by other work", "12.5%", "not known"] in rows


def test_the_provenance_table_shows_what_the_servers_had_of_the_shell_and_what_not() -> None:
    names = ("Variables of the machine", "Variables of the shell left out")
    shells = [
        ShellVariables(
            passed={"CUDA_VISIBLE_DEVICES": "3", "TPU_NAME": "v6"}, left_out=["XLA_FLAGS"]
        ),
        ShellVariables(passed={}, left_out=[]),
        None,
    ]
    rows = tables.provenance_rows(
        [plain_comparison(sources=[build.source("jax", "portable", shell=s) for s in shells])]
    )
    assert [names[0], "CUDA_VISIBLE_DEVICES=3 and TPU_NAME=v6", "—", "—"] in rows
    assert [names[1], "XLA_FLAGS", "—", "—"] in rows
    quiet = tables.provenance_rows(
        [plain_comparison(sources=[build.source("jax", "portable", shell=s) for s in shells[1:]])]
    )
    assert not {row[0] for row in quiet} & {*names}, "no rows about nothing"
