"""The sentences of the report, against figures worked out by hand."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import comparisons as build
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stages.documents.comparison import Comparison, Flag, Interval
from stages.report import format as f
from stages.report.conclusion import conclude
from stages.report.findings import find
from stages.report.format import TO
from stages.report.stability import stability
from stages.report.trust import trust

# items/s by chunk size: JAX / PyTorch is 0.40, 0.60, 0.55, 1.20.
JAX = {1: 40.0, 2: 90.0, 4: 110.0, 8: 300.0}
PYTORCH = {1: 100.0, 2: 150.0, 4: 200.0, 8: 250.0}
SLOWER = {size: rate / 2 for size, rate in PYTORCH.items()}


def mixed() -> Comparison:
    """JAX ahead at 8 in the portable view, half as fast everywhere in the other."""
    return build.comparison(
        build.speeds("portable", JAX, PYTORCH), build.speeds("best_native", SLOWER, PYTORCH)
    )


def with_portable(*cells: Any) -> Comparison:
    base = mixed()
    return build.comparison(build.replaced(base.portable, *cells), base.best_native)


def about(sentences: list[str], *words: str) -> list[str]:
    return [s for s in sentences if all(word in s for word in words)]


def test_neighbouring_chunk_sizes_are_told_together_with_the_factors_between_them() -> None:
    found = find(mixed())

    (worse,) = about(found.worse, "Portable view", "items/s")
    assert "chunk sizes 1 to 4" in worse
    # The intervals of these ratios reach a tenth of the ratio up and down.
    assert f"0.40x (0.36{TO}0.44) to 0.60x (0.54{TO}0.66) PyTorch's items/s" in worse
    # p95 is 32 / rate here, so the latency ratios are 1 / 0.60 = 1.67 and 1 / 0.40 = 2.50.
    assert "p95 latency in these passes is 1.67x to 2.50x PyTorch's" in worse
    (better,) = found.better
    assert "chunk size 8:" in better
    assert f"1.20x (1.08{TO}1.32)" in better
    assert "0.83x" in better
    (native,) = about(found.worse, "Best-native view")
    assert f"0.50x (0.45{TO}0.55) PyTorch's items/s" in native
    assert "2.00x" in native


def with_ratio(**changes: Any) -> Comparison:
    """JAX half as fast everywhere, but for the portable view's ratio at chunk size 4."""
    slow = build.speeds("portable", SLOWER, PYTORCH)
    ratios = [
        ratio.model_copy(update=changes if ratio.chunk_size == 4 else {}) for ratio in slow.ratios
    ]
    native = build.speeds("best_native", SLOWER, PYTORCH)
    return build.comparison(slow.model_copy(update={"ratios": ratios}), native)


def endless(low: float) -> Interval:
    return build.interval(low, 0.0).model_copy(update={"high": None})


@pytest.mark.parametrize(
    ("ratio", "interval", "side"),
    [
        (1.30, build.interval(1.01, 1.60), "better"),
        (1.30, build.interval(0.99, 1.60), "open"),
        (1.30, build.interval(1.00, 1.60), "open"),
        (0.70, build.interval(0.50, 0.99), "worse"),
        (0.70, build.interval(0.50, 1.01), "open"),
        # A small difference is one all the same where the passes show it.
        (1.005, build.interval(1.002, 1.008), "better"),
        (1.30, endless(1.1), "better"),
        (1.30, endless(0.9), "open"),
        # A single pass has none, and cannot tell a difference from noise.
        (3.00, None, "open"),
        (1.02, None, "open"),
        (0.98, None, "open"),
        (0.995, None, "open"),
        (0.30, None, "open"),
    ],
)
def test_a_side_is_taken_only_where_the_interval_excludes_one(
    ratio: float, interval: Interval | None, side: str
) -> None:
    # p95 at exactly 1 says nothing.
    found = find(with_ratio(items_per_s=ratio, items_per_s_interval=interval, p95_s=1.0))
    told = f.bounded(ratio, interval, "x") if interval else f"{f.factor(ratio)} PyTorch's"

    better = about(found.better, "Portable view, chunk size 4:", told, "PyTorch's items/s")
    worse = about(found.worse, "Portable view", told, "PyTorch's items/s")
    assert bool(worse) is (side == "worse")
    assert bool(better) is (side != "worse")
    assert bool(about(better, "not told apart")) is (side == "open")
    assert found.better[0].startswith("Nowhere") is (side != "better")


def test_a_p95_of_few_passes_is_told_as_of_these_passes_with_no_interval() -> None:
    open_rate = {"items_per_s": 1.0, "items_per_s_interval": build.interval(0.9, 1.1)}
    (said,) = about(find(with_ratio(**open_rate, p95_s=0.8)).better, "p95")

    assert said == (
        "Portable view, chunk size 4: JAX's p95 latency in these passes is 0.80x PyTorch's."
    )


def test_an_interrupted_run_of_chunk_sizes_is_not_told_as_one() -> None:
    view = build.speeds(
        "portable", {1: 2.0, 2: 1.0, 4: 2.0, 8: 2.0}, dict.fromkeys((1, 2, 4, 8), 1.5)
    )
    better = find(build.comparison(view, mixed().best_native)).better

    assert [s.split(":")[0] for s in better] == [
        "Portable view, chunk size 1",
        "Portable view, chunk sizes 4 and 8",
    ]


def test_nowhere_better_is_one_sentence_with_the_closest_it_comes() -> None:
    behind = build.speeds("portable", {1: 40.0, 2: 90.0, 4: 110.0}, {1: 100.0, 2: 120.0, 4: 200.0})
    native = build.speeds("best_native", {1: 50.0, 2: 60.0, 4: 100.0}, dict(behind_rates()))
    (sentence,) = find(build.comparison(behind, native)).better

    assert sentence.startswith("Nowhere")
    assert "chunk size 2 (portable view)" in sentence
    assert f"with 0.75x (0.68{TO}" in sentence


def behind_rates() -> Iterator[tuple[int, float]]:
    yield from {1: 100.0, 2: 120.0, 4: 200.0}.items()


def test_ratios_that_are_not_told_apart_are_told_together_with_their_intervals() -> None:
    # p95 is 32 / rate here, and both of its ratios are within a percent of 1.
    level = build.speeds("portable", {1: 100.9, 2: 99.2}, {1: 100.0, 2: 100.0})
    native = build.speeds("best_native", {1: 50.0, 2: 50.0}, {1: 100.0, 2: 100.0})
    found = find(build.comparison(level, native))

    assert found.better[0].startswith("Nowhere")
    assert f"chunk size 1 (portable view) with 1.01x (0.91{TO}1.11)" in found.better[0]
    (said,) = about(found.better, "Portable view, chunk sizes 1 and 2: not told apart, ")
    assert f"JAX scores 0.99x (0.89{TO}1.09) to 1.01x (0.91{TO}1.11) PyTorch's items/s" in said
    assert "0.99x to 1.01x PyTorch's." in said
    assert not about(found.worse, "Portable")


def test_a_faster_cell_that_fails_the_gate_is_named_and_does_not_count() -> None:
    wrong = build.cell(
        "jax",
        "portable",
        8,
        300.0,
        gate=build.gate("fail", 0.03125, 0.004),
        eligible=False,
        reasons=[build.reason("gate_failed")],
    )
    comparison = with_portable(wrong)
    found = find(comparison)

    assert found.better[0].startswith("Nowhere")
    (named,) = about(found.better, "chunk size 8", "1.20x")
    assert "does not count" in named
    assert "fail the correctness gate" in named
    assert about(found.correctness, "chunk size 8", "0.0313", "0.004")
    assert about(found.correctness, "3 of 4 JAX cells pass; fail at chunk size 8 (")
    assert about(found.correctness, "Best-native view: 4 of 4 JAX cells pass (")
    assert conclude(comparison).priorities[0].startswith("Correct scores")
    assert "0.02" in conclude(comparison).priorities[0]


def test_unsteady_cells_are_named_in_the_finding_that_stands_on_them() -> None:
    shaky = build.cell(
        "pytorch", "portable", 2, 150.0, instability=[build.unsteady(0.6, "slowest")]
    )
    compiled = build.cell("jax", "portable", 4, 110.0, compiled_passes=3)
    found = find(with_portable(shaky, compiled))

    assert about(found.worse, "chunk sizes 1 to 4", "†: 2 and 4")
    assert about(found.stability, "PyTorch, portable view", "chunk size 2", "60%")
    assert about(
        found.stability, "JAX, portable view", "compiled in 3 timed passes at chunk size 4"
    )


def test_agreement_in_every_cell_is_claimed_only_when_every_cell_was_compared() -> None:
    largest = build.cell("jax", "portable", 4, 110.0, gate=build.gate("pass", 0.00125, 2e-4))
    assert about(find(with_portable(largest)).correctness, "agree within 0.00125 in every cell")

    missing = build.failed("jax", "portable", 2, "timeout")
    correctness = find(with_portable(largest, missing)).correctness
    assert not about(correctness, "in every cell")
    assert about(correctness, "Portable view: ", "not compared at chunk size 2")


@pytest.mark.parametrize(("drift", "stands_out"), [(1.9e-4, False), (2.1e-4, True)])
def test_drift_below_a_hundredth_of_the_gate_is_never_an_outlier(
    drift: float, stands_out: bool
) -> None:
    # Both are far over 10 times the median of 1e-6; a hundredth of the gate is 2e-4.
    cell = build.cell("jax", "portable", 4, 110.0, gate=build.gate("pass", drift, 1e-7))
    correctness = find(with_portable(cell)).correctness

    assert bool(about(correctness, "Outliers", "chunk size 4")) is stands_out
    assert bool(about(correctness, "No chunk size stands out")) is not stands_out


def test_stability_counts_failures_by_kind_chunk_size_and_backend() -> None:
    some = build.cell("jax", "portable", 1, 40.0, failures={"oom": 1, "timeout": 2})
    every = build.failed("pytorch", "portable", 4, "server_died")
    stability = find(with_portable(some, every)).stability

    kinds = "oom in 1 pass and timeout in 2 passes at chunk size 1"
    assert about(stability, "JAX, portable view", kinds)
    assert about(stability, "PyTorch, portable view", "server_died in 5 passes at chunk size 4")
    assert not about(stability, "No timeouts")


def test_a_quiet_run_says_so() -> None:
    stability = find(mixed()).stability

    assert about(stability, "No timeouts, no OOM, no partial failures", "60 of 60")
    assert about(stability, "No server was restarted")
    assert about(stability, "No timed pass of JAX compiled")
    assert about(stability, "PyTorch's server reports no compilations")


def test_restarts_and_first_runs_and_the_clients_share_are_told_where_they_are_largest() -> None:
    slow = build.cell("jax", "portable", 2, 90.0, first_run_penalty=44.0, client_share=0.125)
    base = with_portable(slow)
    crashed = build.source("pytorch", "best_native", restarts=2)
    found = find(base.model_copy(update={"sources": [*base.sources[:3], crashed]}))

    assert about(found.stability, "restarted", "PyTorch, best-native view (2)")
    assert about(found.stability, "JAX", "44.0x", "portable view, chunk size 2")
    assert about(found.client, "12.5%", "JAX, portable view, chunk size 2")


def test_cost_is_told_where_a_price_is_given() -> None:
    # 32 items for 0.000125 USD: a million of them cost 31,250 times as much.
    cost = {
        "usd_per_pass": 0.000125,
        "items_per_usd": 256_000.0,
        "usd_per_million_items": 3.90625,
    }
    priced = build.cell("jax", "portable", 8, 300.0, **cost)
    said = about(find(with_portable(priced)).cost, "0.000125 USD per pass", "256,000 items per USD")

    assert about(said, "3.91 USD per million items")
    assert about(find(mixed()).cost, "No hourly price")


def test_no_decision_is_drawn_from_an_untrained_model_on_a_cpu_but_the_leader_is_named() -> None:
    decision, standing, explanation, portable = conclude(mixed()).recommendation

    assert "No deployment decision" in decision
    assert "untrained" in decision
    assert "CPU" in decision
    # 250 items/s against half of it.
    assert all(words in standing for words in ("PyTorch", "Best-native", "250.0", "2.00x", "125.0"))
    assert "disagrees" in explanation
    assert portable.startswith(
        "Portable view (items scored: both separate): JAX at chunk size 8 wins"
    )
    assert about(conclude(mixed()).confidence, "For a deployment: none")


@pytest.mark.parametrize(
    ("target", "jax", "pytorch", "model", "decides"),
    [
        ("cpu", "cpu", "cpu", build.TRAINED, False),
        # What a target is called says nothing: the laptop of `smollm2_cpu` must not deploy.
        ("smollm2_cpu", "cpu", "cpu", build.TRAINED, False),
        ("tpu_vs_gpu", "cpu", "cpu", build.TRAINED, False),
        ("tpu_vs_gpu", "cpu:0", "CPU:1", build.TRAINED, False),
        ("cpu", "tpu", "cuda", build.TRAINED, True),
        ("tpu_vs_gpu", "tpu", "cuda", build.UNTRAINED, False),
        ("tpu_vs_gpu", "tpu", "cuda", build.TRAINED, True),
        # One half on a CPU is no deployment either.
        ("tpu_vs_gpu", "tpu", "cpu", build.TRAINED, False),
        ("tpu_vs_gpu", "cpu", "cuda", build.TRAINED, False),
    ],
)
def test_only_a_trained_model_on_accelerators_decides_whatever_the_target_is_called(
    target: str, jax: str, pytorch: str, model: Any, decides: bool
) -> None:
    base = mixed()
    concluded = conclude(
        build.comparison(
            base.portable,
            base.best_native,
            target=target,
            model=model,
            sources=build.on(jax, pytorch),
        )
    )

    assert (concluded.caveat is None) is decides
    assert (concluded.recommendation[0] == "Stay with PyTorch at chunk size 8.") is decides


def decided(**changes: Any) -> list[str]:
    """The recommendation on accelerators with the best-native winner changed."""
    base = mixed()
    winner = base.best_native.winner.model_copy(update=changes)
    native = base.best_native.model_copy(update={"winner": winner})
    return conclude(
        build.comparison(
            base.portable, native, sources=build.on("tpu", "cuda"), model=build.TRAINED
        )
    ).recommendation


def test_low_confidence_makes_the_recommendation_provisional() -> None:
    assert "provisionally" in decided(confidence="low", flags=[Flag(code="untrained_model")])[0]
    assert "provisionally" not in decided()[0]


def test_a_tie_is_said_as_such() -> None:
    decision, standing, _ = decided(outcome="tie", confidence="none", same_backend_share=0.81)

    assert "no reason to prefer" in decision
    assert "Not decisive" in standing
    assert "81%" in standing


def test_a_faster_backend_outside_the_guardrail_is_named_with_its_speed() -> None:
    standing = decided(ratio=None, other_items_per_s=912.0)[1]

    assert "912" in standing
    assert "outside the guardrail" in standing
    assert "no eligible cell" not in standing


def test_an_exact_tie_has_no_leader_to_name() -> None:
    exact = build.no_winner(outcome="tie").model_dump()

    assert decided(**exact)[1] == (
        "Best-native view (items scored: both cached): A tie: both backends score exactly 250.0"
        " items/s at chunk size 8."
    )


def test_a_tie_is_decided_by_cost_where_both_have_one() -> None:
    def at(backend: Any, per_usd: float) -> Any:
        return build.cell(
            backend, "best_native", 8, 250.0, items_per_usd=per_usd, usd_per_pass=0.01
        )

    native = build.view_of("best_native", [at("jax", 3000.0), at("pytorch", 2000.0)])
    tie = native.winner.model_copy(update={"outcome": "tie", "confidence": "none"})
    native = native.model_copy(update={"winner": tie})
    real = build.comparison(
        mixed().portable, native, sources=build.on("tpu", "cuda"), model=build.TRAINED
    )
    decision = conclude(real).recommendation[0]

    assert all(words in decision for words in ("JAX", "3,000", "1.50x", "2,000"))


def test_without_a_winner_nothing_is_recommended() -> None:
    decision, standing, _ = decided(**build.no_winner().model_dump())

    assert decision == "No recommendation can be given."
    assert "No winner: " in standing


def test_priorities_put_failures_before_throughput_and_first_runs() -> None:
    dead = build.failed("jax", "portable", 2, "oom")
    cold = build.cell("jax", "portable", 1, 40.0, first_run_penalty=30.0)
    priorities = conclude(with_portable(dead, cold)).priorities

    kinds = [sentence.split(":")[0] for sentence in priorities]
    assert kinds == ["Failures", *["Throughput"] * 4, "First runs"]
    # The portable view's worst ratio is 0.40 at 1, then 0.55 at 4.
    assert "chunk size 1" in priorities[1]
    assert "0.40x" in priorities[1]
    assert "chunk size 4" in priorities[2]
    assert "0.55x" in priorities[2]


def test_nothing_to_do_is_said() -> None:
    fast = {size: 2 * rate for size, rate in PYTORCH.items()}
    comparison = build.comparison(
        build.speeds("portable", fast, PYTORCH), build.speeds("best_native", fast, PYTORCH)
    )

    assert conclude(comparison).priorities == ["Nothing measured here calls for work on JAX."]
    assert find(comparison).worse[0].startswith("Nowhere")


def test_a_backend_without_a_single_good_pass_makes_the_result_partial() -> None:
    dead = [build.failed("pytorch", "portable", size, "connection_error") for size in PYTORCH]
    comparison = with_portable(*dead)

    assert conclude(mixed()).partial == []
    assert about(conclude(comparison).partial, "PyTorch, portable view")
    assert about(find(comparison).better, "Portable view", "only JAX has figures")


_NUMBER = re.compile(r"(?<![\w.])\d[\d,]*(?:\.\d+)?(?:e-?\d+)?")


def leaves(value: Any) -> Iterator[float | str]:
    if isinstance(value, dict):
        for key, inner in value.items():
            yield str(key)
            yield from leaves(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from leaves(inner)
    elif isinstance(value, str):
        yield value
    elif isinstance(value, (int, float)) and not isinstance(value, bool):
        yield float(value)


def known_numbers(comparison: Comparison) -> list[float]:
    """The document's numbers, as they stand and in percent."""
    known: list[float] = []
    for leaf in leaves(comparison.model_dump()):
        if isinstance(leaf, str):
            known += [float(text.replace(",", "")) for text in _NUMBER.findall(leaf)]
        else:
            known += [leaf, leaf * 100]
    return known


def is_known(text: str, known: list[float]) -> bool:
    digits = text.replace(",", "")
    mantissa, _, exponent = digits.partition("e")
    step = 10.0 ** (int(exponent or 0) - len(mantissa.partition(".")[2]))
    return any(abs(float(digits) - value) <= step for value in known)


def test_every_number_in_a_sentence_is_the_documents_or_a_ratio_or_a_count() -> None:
    odd = build.cell(
        "jax", "portable", 2, 90.123, first_run_penalty=37.77, instability=[build.unsteady(0.23)]
    )
    wrong = build.cell("jax", "portable", 4, 113.7, gate=build.gate("fail", 0.0777, 0.0333))
    comparison = with_portable(odd, wrong, build.failed("pytorch", "portable", 1, "timeout"))
    noisy = {"jax": build.noise(1.37e-7), "pytorch": build.noise(0.0451, 4)}
    moved = build.isolation(
        "leaks", largest_change=0.217, worst_layout="before_5", leaking_targets=[31]
    )
    changed = {"noise": noisy, "isolation": {"jax": moved, "pytorch": build.isolation()}}
    portable = comparison.portable.model_copy(update=changed)
    comparison = comparison.model_copy(update={"portable": portable})
    checked = trust(comparison)
    found, concluded = find(comparison), conclude(comparison)
    sentences = [
        *(s for group in (found.better, found.worse, found.correctness) for s in group),
        *(s for group in (found.stability, found.client, found.cost) for s in group),
        *concluded.recommendation,
        *concluded.confidence,
        *concluded.priorities,
        *checked.against,
        *checked.against_times,
        *(answer.figure for check in checked.checks for answer in check.answers),
    ]
    known = known_numbers(comparison)
    # Counts of cells (8 gated, 16 in all) and of passes, and the outlier's multiple.
    known += [*map(float, range(17)), 60.0]
    # The neighbours of a probe's layout, the drift over the noise, and wrong answers tried.
    known += [5.0, 0.0777 / 0.0451, 12.0]

    numbers = [(n, s) for s in sentences for n in _NUMBER.findall(s)]
    assert len(numbers) > 40
    assert [(n, s) for n, s in numbers if not is_known(n, known)] == []
    assert not is_known("73.91", known)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "—"),
        (0.0, "0"),
        (0.02, "0.0200"),
        (0.020000001, "0.0201"),  # over the gate's limit, so it must not read as the limit
        (0.002, "0.00200"),
        (1.234e-6, "1.24e-06"),
    ],
)
def test_score_differences_have_three_digits(value: float | None, text: str) -> None:
    assert f.difference(value) == text


@given(st.floats(1e-12, 1.0))
def test_a_score_difference_never_reads_smaller_than_it_is(value: float) -> None:
    said = float(f.difference(value))

    assert value <= said <= value * 1.01


@pytest.mark.parametrize(
    ("share", "text"),
    [
        (0.0, "0%"),
        (0.0004, "under 0.1%"),
        (0.125, "12.5%"),
        (0.9996, "over 99.9%"),
        (1.0, "100%"),
    ],
)
def test_only_a_whole_reads_as_one(share: float, text: str) -> None:
    assert f.percent(share) == text


def test_milliseconds_keep_sensible_digits() -> None:
    assert [f.milliseconds(s) for s in (0.0004321, 0.01234, 0.3456, 12.3456)] == [
        "0.43",
        "12.3",
        "345.6",
        "12,346",
    ]


def test_a_matrix_of_several_server_sessions_says_so() -> None:
    sources = [
        build.source("jax", "portable", sessions=3, restarts=1, interruptions=1),
        build.source("pytorch", "portable"),
    ]
    view = build.speeds("portable", {4: 100.0}, {4: 50.0})
    native = build.speeds("best_native", {4: 100.0}, {4: 50.0})
    said = stability(build.comparison(view, native, sources=sources))
    assert [s for s in said if "sessions" in s] == [
        "JAX, portable view: its passes come from 3 server sessions (1 restart, 1 interruption),"
        " each warmed up anew."
    ]
