"""The figures of a cell, worked by hand."""

from __future__ import annotations

import polars as pl
import pytest
from contracts import WORKLOAD
from matrices import matrix, one_pass, passes

from stages.backends.declared import PassMode
from stages.compare.cells import build_cell, instability, latency
from stages.compare.passes import passes_of
from stages.documents.comparison import (
    Cell,
    ControlResult,
    FailedAlone,
    GateResult,
    Interval,
    Isolation,
    Reason,
)
from stages.documents.matrix import CallRecord

PASSED = GateResult(
    verdict="pass",
    compared_passes=5,
    uncompared_passes=0,
    max_abs_diff=0.0,
    mean_abs_diff=0.0,
    worst_pass="sweep 0",
    controls=[],
)
ISOLATED = Isolation(
    verdict="isolated",
    limit=1e-4,
    targets=[1],
    changes={"reversed": 0.0},
    largest_change=0.0,
    worst_target=1,
    worst_layout="reversed",
    leaking_targets=[],
    failed_probes=0,
)


def cell(
    records: list[CallRecord],
    confirmed: tuple[int, ...] = (),
    gate: GateResult | None = PASSED,
    usd: float | None = None,
    chunk: int = 2,
    isolation: Isolation = ISOLATED,
) -> Cell:
    made = matrix("jax", "portable", records, confirmed=confirmed)
    mine = passes_of(made.calls).filter(pl.col("chunk_size") == chunk)
    return build_cell(mine, made.of(WORKLOAD), chunk, gate, isolation, usd, 0)


def test_figures_of_five_passes_by_hand() -> None:
    made = cell(passes({2: [1.0, 2.0, 3.0, 4.0, 5.0]}))
    assert made.mean_s == pytest.approx(3.0)
    assert made.p50_s == pytest.approx(3.0)
    # Linear interpolation: rank 0.95 * 4 = 3.8 lies at 4 + 0.8 * (5 - 4).
    assert made.p95_s == pytest.approx(4.8)
    assert made.std_s == pytest.approx(2.5**0.5)
    assert (made.min_s, made.max_s) == (1.0, 5.0)
    # 4 items in 3 seconds on average.
    assert made.items_per_s == pytest.approx(4 / 3)
    assert made.client_share == pytest.approx(0.01 / 3)
    # t at 98.5 % with 4 degrees of freedom is 3.298, the mean's half-width 3.298 * sqrt(2.5 / 5).
    mean, rate, median = made.mean_s_interval, made.items_per_s_interval, made.p50_s_interval
    assert mean is not None
    assert rate is not None
    assert (mean.low, mean.high) == pytest.approx((0.668, 5.332), abs=1e-3)
    assert (rate.low, rate.high) == pytest.approx((4 / 5.332, 4 / 0.668), rel=1e-3)
    assert median == Interval(low=1.0, high=5.0, level=0.9, method="order statistics")
    assert made.eligible


def test_a_pass_runs_from_its_first_byte_to_its_last_answer() -> None:
    records = one_pass("sweep", 1, 0, 2.5)
    assert len(records) == 4
    (seconds,) = passes_of(matrix("jax", "portable", records).calls)["seconds"]
    assert seconds == pytest.approx(2.5)


def test_confirm_figures_replace_sweep_figures_but_every_pass_counts_for_success() -> None:
    records = passes({2: 9.0}) + passes({2: 1.0}, phase="confirm", runs=7)
    made = cell(records, confirmed=(2,))
    assert (made.phase, made.planned_passes, made.good_passes) == ("confirm", 7, 7)
    assert made.mean_s == pytest.approx(1.0)
    assert made.success_rate == 1.0
    failed = one_pass("sweep", 2, 4, 1.0, status="timeout", position=99)
    made = cell(records[:8] + failed + records[10:], confirmed=(2,))
    assert made.success_rate == pytest.approx(11 / 12)
    assert not made.eligible
    assert made.failures == {"timeout": 1}


def test_planned_passes_that_never_ran_count_as_missing() -> None:
    made = cell(passes({2: 1.0}, runs=3))
    assert made.success_rate == pytest.approx(3 / 5)
    assert made.reasons == [Reason(code="failed_passes", good=3, planned=5)]
    assert (made.timed_good, made.timed_planned) == (3, 5)


def test_a_cell_with_no_good_pass_has_no_figures_rather_than_zero() -> None:
    records = [
        r for run in range(5) for r in one_pass("sweep", 2, run, 1.0, status="oom", position=run)
    ]
    made = cell(records)
    assert made.mean_s is None
    assert made.p95_s is None
    assert made.items_per_s is None
    assert made.mean_s_interval is made.p50_s_interval is made.items_per_s_interval is None
    assert made.failures == {"oom": 5}
    assert not made.eligible


def test_one_good_pass_has_figures_but_no_interval() -> None:
    made = cell(passes({2: 1.0}, runs=1))
    assert made.mean_s == pytest.approx(1.0)
    assert made.mean_s_interval is made.p50_s_interval is made.items_per_s_interval is None


def test_intervals_stand_on_the_passes_the_figures_come_from() -> None:
    records = passes({2: [1.0, 9.0, 1.0, 9.0, 1.0]}) + passes({2: 2.0}, phase="confirm", runs=7)
    made = cell(records, confirmed=(2,)).mean_s_interval
    assert made is not None
    assert (made.low, made.high, made.level) == (2.0, 2.0, 0.95)


def test_warm_up_passes_count_for_nothing_but_the_first_run_penalty() -> None:
    records = [
        *one_pass("warmup", 2, 0, 6.0, position=0, compiles=3),
        *one_pass("warmup", 2, 1, 3.0, position=1),
        *[r for i in range(5) for r in one_pass("sweep", 2, i, 2.0, position=2 + i)],
    ]
    made = cell(records)
    assert made.mean_s == pytest.approx(2.0)
    assert made.warmup_passes == 2
    assert made.first_run_penalty == pytest.approx(3.0)
    assert made.compiled_passes == 0


def test_a_compile_inside_a_timed_pass_is_counted() -> None:
    records = [
        r
        for i in range(5)
        for r in one_pass("sweep", 2, i, 1.0, position=i, compiles=2 if i in (1, 3) else 0)
    ]
    assert cell(records).compiled_passes == 2


def test_a_server_that_does_not_report_compiles_has_no_count_of_them() -> None:
    records = [r for i in range(5) for r in one_pass("sweep", 2, i, 1.0, position=i, compiles=None)]
    assert cell(records).compiled_passes is None


def test_the_gate_gates_and_its_absence_does_not() -> None:
    failed = PASSED.model_copy(update={"verdict": "fail"})
    nothing = PASSED.model_copy(update={"verdict": "not_compared"})
    records = passes({2: 1.0})
    assert cell(records, gate=None).eligible
    assert cell(records, gate=failed).reasons == [Reason(code="gate_failed")]
    assert not cell(records, gate=nothing).eligible


def test_cost_by_hand() -> None:
    # 7.2 USD an hour is 0.002 USD a second; a pass of 2 s costs 0.004 and scores 4 items.
    made = cell(passes({2: 2.0}), usd=7.2)
    assert made.usd_per_pass == pytest.approx(0.004)
    assert made.items_per_usd == pytest.approx(1000)
    assert made.usd_per_million_items == pytest.approx(1000)
    assert cell(passes({2: 2.0})).usd_per_pass is None


def test_instability_begins_at_ten_percent_deviation_or_fifty_percent_extremes() -> None:
    import numpy as np

    assert instability(latency(np.array([1.0, 1.0, 1.0, 1.01]))) == []
    assert instability(latency(np.array([1.0, 1.3, 1.0, 1.3])))
    lone = latency(np.array([1.0] * 40 + [1.6]))
    assert lone.std_s < 0.1 * lone.mean_s
    assert [one.code for one in instability(lone)] == ["slowest"]


def test_an_inconclusive_gate_names_the_wrong_answers_it_would_have_passed() -> None:
    controls = [
        ControlResult(name="items_rotated", caught=False, max_abs_diff=0.001, mean_abs_diff=0.001),
        ControlResult(name="labels_swapped", caught=True, max_abs_diff=0.8, mean_abs_diff=0.5),
    ]
    blunt = PASSED.model_copy(update={"verdict": "inconclusive", "controls": controls})
    made = cell(passes({2: 1.0}), gate=blunt)
    assert not made.eligible
    assert made.reasons == [Reason(code="gate_inconclusive", controls=["items_rotated"])]


def test_a_leak_makes_the_backend_ineligible_and_names_items_and_size() -> None:
    leak = {"verdict": "leaks", "leaking_targets": [7, 12], "largest_change": 0.31}
    made = cell(passes({2: 1.0}), gate=None, isolation=ISOLATED.model_copy(update=leak))
    assert made.reasons == [Reason(code="leaks", items=[7, 12], change=0.31, limit=1e-4)]


def test_the_reason_names_the_failed_request_of_one_item() -> None:
    alone = FailedAlone(item=3, status="http_5xx", detail="HTTP 500")
    failed = {"verdict": "not_probed", "alone": alone}
    made = cell(passes({2: 1.0}), isolation=ISOLATED.model_copy(update=failed))
    assert made.reasons == [Reason(code="not_probed", alone=alone)]


@pytest.mark.parametrize(
    ("verdict", "reasons"),
    [
        ("not_probed", [Reason(code="not_probed")]),
        ("lengths_not_probed", [Reason(code="lengths_not_probed")]),
        # What cannot exist cannot leak: a workload of one item is not barred for ever.
        ("no_neighbours", []),
    ],
)
def test_what_was_not_probed_is_not_eligible_unless_there_was_nothing_to_probe(
    verdict: str, reasons: list[Reason]
) -> None:
    made = cell(passes({2: 1.0}), isolation=ISOLATED.model_copy(update={"verdict": verdict}))
    assert made.reasons == reasons
    assert made.eligible == (not reasons)


def scored(*modes: PassMode | None) -> Cell:
    """A cell with a pass of one second in each of these modes; its settings ask for separate."""
    records: list[CallRecord] = []
    for run, mode in enumerate(modes):
        records += one_pass("sweep", 2, run, 1.0, position=run, mode=mode, fallbacks=run % 2)
    return cell(records)


def test_a_cell_has_the_mode_that_the_servers_log_tells_of_its_passes() -> None:
    made = scored(*5 * ["score_from_cache"])
    assert (made.mode, made.modes, made.told_passes) == (
        *("score_from_cache", {"score_from_cache": 5}, 5),
    )
    assert made.fallbacks == 2  # calls of a pass share its number
    assert made.eligible


def test_a_cell_has_the_mode_that_its_settings_ask_for_where_no_log_tells() -> None:
    made = scored(*5 * [None])
    assert (made.mode, made.modes, made.told_passes) == ("separate", {"separate": 5}, 0)
    assert made.eligible


@pytest.mark.parametrize(
    ("modes", "counted"),
    [
        (["packed"] * 3 + ["cached"] * 2, {"packed": 3, "cached": 2}),
        (["packed"] * 4 + ["mixed"], {"packed": 4, "mixed": 1}),
        (["mixed"] * 5, {"mixed": 5}),
        # Nothing is told of two passes, so they count for what the settings ask for.
        (["cached"] * 3 + [None] * 2, {"cached": 3, "separate": 2}),
    ],
)
def test_a_cell_of_mixed_modes_is_never_one_figure(
    modes: list[PassMode | None], counted: dict[PassMode, int]
) -> None:
    made = scored(*modes)
    assert made.mode is None
    assert not made.eligible
    assert made.reasons == [Reason(code="mixed_modes", modes=counted)]
