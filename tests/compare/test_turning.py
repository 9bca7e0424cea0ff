"""What would change the leader: worked by hand, and as a property."""

from __future__ import annotations

import pytest
from comparisons import cell
from hypothesis import assume, given
from hypothesis import strategies as st

from stages.compare.selection import choose
from stages.compare.turning import turning
from stages.comparison import Cell
from stages.contract import Backend


def made(backend: Backend, chunk: int, rate: float, p95: float, eligible: bool = True) -> Cell:
    return cell(backend, "portable", chunk, rate, p95_s=p95, eligible=eligible)


def test_a_wider_guardrail_that_lets_the_faster_rival_in() -> None:
    found = turning([made("pytorch", 4, 100, 1.0), made("jax", 8, 200, 1.5)], 1.25).guardrail
    assert found is not None
    assert (found.backend, found.chunk_size, found.items_per_s) == ("jax", 8, 200)
    assert found.guardrail == pytest.approx(1.5)


def test_a_narrower_guardrail_that_shuts_the_leader_out() -> None:
    # PyTorch leads with 1.2 times the smallest p95; below 1.2 only JAX is left.
    found = turning([made("jax", 4, 100, 1.0), made("pytorch", 8, 200, 1.2)], 1.25).guardrail
    assert found is not None
    assert (found.backend, found.chunk_size) == ("jax", 4)
    assert found.guardrail == pytest.approx(1.2)


def test_no_guardrail_helps_a_rival_that_is_slower_in_both() -> None:
    assert turning([made("pytorch", 4, 100, 1.0), made("jax", 8, 50, 2.0)], 1.25).guardrail is None


def test_the_nearest_guardrail_is_named() -> None:
    cells = [made("pytorch", 4, 100, 1.0), made("jax", 8, 200, 1.5), made("jax", 16, 300, 2.0)]
    found = turning(cells, 1.25).guardrail
    assert found is not None
    assert (found.chunk_size, found.guardrail) == (8, pytest.approx(1.5))


def test_a_faster_cell_that_is_not_eligible_would_lead_if_it_were() -> None:
    cells = [made("pytorch", 4, 100, 1.0), made("jax", 8, 300, 0.9, eligible=False)]
    found = turning(cells, 1.25).eligibility
    assert found is not None
    assert (found.backend, found.chunk_size, found.items_per_s) == ("jax", 8, 300)
    assert found.guardrail is None


def test_a_slower_cell_that_is_not_eligible_changes_nothing() -> None:
    cells = [made("pytorch", 4, 100, 1.0), made("jax", 8, 30, 0.9, eligible=False)]
    assert turning(cells, 1.25).eligibility is None


def test_with_nothing_measured_nothing_turns() -> None:
    nothing = turning([], 1.25)
    assert (nothing.guardrail, nothing.eligibility) == (None, None)


cells_of_a_view = st.lists(
    st.builds(
        made,
        st.sampled_from(["jax", "pytorch"]),
        st.integers(1, 64),
        st.floats(1, 1000),
        # Steps far apart next to rounding: a guardrail is not given to fifteen digits.
        st.integers(1, 100).map(lambda tenths: tenths / 10),
    ),
    min_size=2,
    max_size=6,
    unique_by=lambda c: (c.backend, c.chunk_size),
)


@given(cells_of_a_view, st.integers(100, 300).map(lambda percent: percent / 100 + 1e-5))
def test_the_named_guardrail_does_what_it_says(cells: list[Cell], guardrail: float) -> None:
    leader = choose(cells, guardrail)
    assume(leader is not None)
    assert leader is not None
    found = turning(cells, guardrail).guardrail
    widths = [c.p95_s / min(d.p95_s for d in cells) for c in cells]  # type: ignore[operator, type-var]
    if found is None:
        assert all(
            (other := choose(cells, max(1.0, width * (1 + 1e-9)))) is None
            or other.backend == leader.backend
            for width in widths
        )
        return
    assert found.guardrail is not None
    just = 1 + 1e-9 if found.guardrail > guardrail else 1 - 1e-9
    then = choose(cells, found.guardrail * just)
    assert then is not None
    assert (then.backend, then.chunk_size) == (found.backend, found.chunk_size)
    assert then.backend != leader.backend
