"""Who wins, and how sure that is: situations with a known answer."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from contracts import BACKENDS
from hypothesis import given
from hypothesis import strategies as st

from stages.compare.selection import (
    Samples,
    choose,
    decide,
    inside_guardrail,
    mark_guardrail,
    passed_over,
    selected,
)
from stages.contract import Backend, Selection
from stages.documents.comparison import Cell, Flag, Reason, Winner

RULES = Selection(guardrail=1.25, resamples=1000, seed=1)


def cell(
    backend: Backend,
    chunk: int,
    items_per_s: float,
    p95_s: float | None = None,
    reasons: Sequence[str] = (),
) -> Cell:
    mean = 100 / items_per_s
    return Cell(
        backend=backend,
        view="portable",
        chunk_size=chunk,
        phase="sweep",
        planned_passes=5,
        good_passes=5,
        timed_planned=5,
        timed_good=5,
        success_rate=1.0,
        failures={},
        mean_s=mean,
        p50_s=mean,
        p95_s=p95_s if p95_s is not None else mean,
        std_s=0.0,
        min_s=mean,
        max_s=mean,
        items_per_s=items_per_s,
        mean_s_interval=None,
        p50_s_interval=None,
        items_per_s_interval=None,
        first_run_penalty=1.0,
        warmup_passes=1,
        compiled_passes=0,
        excess_passes=0,
        instability=[],
        client_share=0.01,
        round_trip_share=0.002,
        gate=None,
        eligible=not reasons,
        reasons=list(reasons),
        inside_guardrail=False,
        usd_per_pass=None,
        items_per_usd=None,
        usd_per_million_items=None,
    )


WRONG = Reason(code="gate_failed")


def samples(made: Cell, spread: float = 0.0, passes: int = 7) -> Samples:
    assert made.mean_s is not None
    return Samples(made, made.mean_s * (1 + np.linspace(-spread, spread, passes)))


def winner(*cells: Samples, flags: Sequence[Flag] = ()) -> Winner:
    return decide(cells, RULES, BACKENDS, lambda _: list(flags))


def test_a_clear_winner_is_named_with_ratio_and_confidence() -> None:
    won = winner(samples(cell("jax", 8, 200), 0.02), samples(cell("pytorch", 4, 100), 0.02))
    assert (won.outcome, won.chunk_size, won.confidence) == ("jax", 8, "high")
    assert won.ratio == pytest.approx(2.0)
    assert (won.other, won.other_chunk_size) == ("pytorch", 4)
    assert won.same_backend_share == 1.0


def test_a_lead_within_the_noise_is_a_tie_and_says_not_decisive() -> None:
    won = winner(samples(cell("jax", 8, 101), 0.3), samples(cell("pytorch", 8, 100), 0.3))
    assert won.outcome == "tie"
    assert won.leader == "jax"
    assert won.confidence == "none"
    assert won.same_backend_share is not None
    assert won.same_backend_share < 0.95


def test_a_tie_says_how_many_passes_would_settle_it() -> None:
    fast, slow = (
        cell(b, 8, rate).model_copy(update={"std_s": 0.1})
        for b, rate in (("jax", 105), ("pytorch", 100))
    )
    tie = winner(samples(fast, 0.3), samples(slow, 0.3))
    assert tie.outcome == "tie"
    # Means of 1 and 100/105 seconds: 7.8489 * (0.1^2 + 0.1^2) / (5/105)^2 = 69.2.
    assert tie.passes_to_decide == 70


def test_a_decisive_result_and_an_exact_tie_ask_for_no_passes() -> None:
    won = winner(samples(cell("jax", 8, 200), 0.02), samples(cell("pytorch", 4, 100), 0.02))
    level = winner(*[samples(cell(b, 8, 100), 0.3) for b in ("jax", "pytorch")])
    assert (won.outcome, won.passes_to_decide) == ("jax", None)
    assert (level.outcome, level.passes_to_decide) == ("tie", None)


def test_doubt_between_chunk_sizes_of_one_backend_is_no_doubt_about_the_backend() -> None:
    won = winner(
        samples(cell("jax", 8, 201), 0.1),
        samples(cell("jax", 16, 200), 0.1),
        samples(cell("pytorch", 8, 100), 0.1),
    )
    assert won.outcome == "jax"
    assert won.same_backend_share == 1.0
    assert won.same_cell_share is not None
    assert won.same_cell_share < 0.95


@pytest.mark.parametrize("backends", [("jax", "pytorch"), ("pytorch", "jax")])
def test_an_exact_tie_goes_to_the_smaller_chunk_whatever_the_name(
    backends: tuple[Backend, Backend],
) -> None:
    chosen = choose([cell(backends[0], 8, 100), cell(backends[1], 4, 100)], 1.25)
    assert chosen is not None
    assert (chosen.backend, chosen.chunk_size) == (backends[1], 4)


def test_an_exact_tie_at_the_same_chunk_has_no_winner() -> None:
    cells = [cell("jax", 8, 100), cell("pytorch", 8, 100)]
    assert choose(cells, 1.25) is None
    assert choose(cells[::-1], 1.25) is None
    won = winner(*[samples(c) for c in cells])
    assert won.outcome == "tie"
    assert won.leader is None


def test_the_guardrail_excludes_the_fastest_when_its_tail_is_long() -> None:
    cells = [cell("jax", 32, 120, p95_s=1.3), cell("jax", 8, 100, p95_s=1.0)]
    chosen = choose(cells, 1.25)
    assert chosen is not None
    assert chosen.chunk_size == 8
    marked = mark_guardrail(cells, 1.25)
    assert [c.inside_guardrail for c in marked] == [False, True]


def test_a_faster_rival_outside_the_guardrail_has_no_ratio() -> None:
    erratic = samples(cell("pytorch", 8, 250, p95_s=2.0), 0.01)
    for spread in (0.01, 0.4):
        won = winner(samples(cell("jax", 8, 200), spread), erratic)
        assert won.leader == "jax"
        assert (won.other, won.other_chunk_size, won.ratio) == ("pytorch", 8, None)
        assert won.other_items_per_s == pytest.approx(250)


def test_the_rival_is_the_other_backends_best_inside_the_guardrail() -> None:
    won = winner(
        samples(cell("jax", 8, 200, p95_s=0.5), 0.01),
        samples(cell("pytorch", 32, 300, p95_s=0.9), 0.01),
        samples(cell("pytorch", 4, 190, p95_s=0.52), 0.01),
    )
    assert (won.other, won.other_chunk_size) == ("pytorch", 4)
    assert won.ratio == pytest.approx(200 / 190)


def test_a_rival_that_is_slower_and_outside_the_guardrail_is_compared_as_ever() -> None:
    won = winner(samples(cell("jax", 8, 300), 0.01), samples(cell("pytorch", 4, 100), 0.01))
    assert won.ratio == pytest.approx(3)


def test_the_guardrail_itself_is_allowed_and_an_ineligible_cell_does_not_set_it() -> None:
    assert inside_guardrail([1.0, 1.25, 1.26], 1.25) == [True, True, False]
    cells = [
        cell("jax", 1, 500, p95_s=0.1, reasons=[WRONG]),
        cell("jax", 8, 100, p95_s=1.0),
    ]
    assert [c.inside_guardrail for c in mark_guardrail(cells, 1.25)] == [False, True]


def test_a_fast_but_wrong_jax_loses_and_the_reference_keeps_its_best() -> None:
    wrong = cell("jax", 8, 900, reasons=[WRONG])
    right, reference = cell("jax", 4, 50), cell("pytorch", 8, 100)
    won = winner(samples(right), samples(reference))
    assert (won.outcome, won.chunk_size) == ("pytorch", 8)
    assert passed_over([wrong, right, reference], BACKENDS) == {"jax": 8}


def test_the_only_backend_left_wins_with_low_confidence_and_says_why() -> None:
    won = winner(samples(cell("pytorch", 8, 100)))
    assert (won.outcome, won.confidence) == ("pytorch", "low")
    assert won.ratio is None
    assert [flag.code for flag in won.flags] == ["no_rival"]


def test_nothing_eligible_means_no_winner() -> None:
    won = winner()
    assert (won.outcome, won.confidence) == ("none", "none")


def test_any_standing_flag_lowers_the_confidence_to_low() -> None:
    fast, slow = samples(cell("jax", 8, 200)), samples(cell("pytorch", 4, 100))
    assert winner(fast, slow, flags=[Flag(code="untrained_model")]).confidence == "low"


def test_each_backend_is_selected_among_its_own_cells() -> None:
    cells = [cell("jax", 8, 10), cell("jax", 4, 9), cell("pytorch", 8, 100)]
    chosen = selected(cells, 1.25, BACKENDS)
    assert {b: c and c.chunk_size for b, c in chosen.items()} == {"jax": 8, "pytorch": 8}


@given(
    st.lists(
        st.tuples(st.sampled_from(["jax", "pytorch"]), st.integers(1, 64), st.floats(1, 1000)),
        min_size=1,
        max_size=8,
        unique_by=lambda c: c[:2],
    ),
    st.randoms(use_true_random=False),
)
def test_the_choice_does_not_depend_on_the_order_or_the_names(specs, random) -> None:
    cells = [cell(b, c, v) for b, c, v in specs]
    chosen = choose(cells, 1.25)
    shuffled = cells[:]
    random.shuffle(shuffled)
    assert choose(shuffled, 1.25) == chosen
    other: dict[str, Backend] = {"jax": "pytorch", "pytorch": "jax"}
    renamed = choose([cell(other[b], c, v) for b, c, v in specs], 1.25)
    if chosen is None:
        assert renamed is None
    else:
        assert renamed is not None
        assert (renamed.backend, renamed.chunk_size) == (other[chosen.backend], chosen.chunk_size)


def test_the_shares_are_the_same_on_every_run() -> None:
    cells = [samples(cell("jax", 8, 103), 0.2), samples(cell("pytorch", 8, 100), 0.2)]
    assert winner(*cells) == winner(*cells)


def test_a_lead_whose_interval_includes_one_is_held_with_low_confidence() -> None:
    # Resampling hardly ever turns five fast passes and one slow one round, but so few passes
    # with such a spread leave the ratio of the means open.
    fast, slow = cell("jax", 8, 100), cell("pytorch", 8, 40)
    wild = Samples(fast, np.array([0.1, 0.1, 0.1, 0.1, 0.1, 0.1, 2.0]))
    calm = Samples(slow, np.array([0.9, 1.0, 1.1, 1.0, 1.0, 1.0, 1.0]))
    won = decide([wild, calm], RULES.model_copy(update={"guardrail": 99.0}), BACKENDS, no_flags)
    assert won.outcome == "jax"
    assert won.ratio_interval is not None
    assert won.ratio_interval.low < 1 < (won.ratio_interval.high or 99)
    assert won.confidence == "low"
    (flag,) = won.flags
    assert (flag.code, flag.low) == ("lead_includes_one", won.ratio_interval.low)
    assert flag.high == won.ratio_interval.high


def no_flags(_: list[Cell]) -> list[Flag]:
    return []
