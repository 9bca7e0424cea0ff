"""Which rules would change the leader: worked by hand, and as a property."""

from __future__ import annotations

import re

import pytest
from comparisons import cell, view_of
from comparisons import comparison as whole
from hypothesis import assume, given
from hypothesis import strategies as st

from stages.compare.selection import choose
from stages.compare.turning import turning
from stages.contract import Backend
from stages.documents.comparison import Cell
from stages.report.turning import turning_points


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


def test_a_guardrail_that_lets_the_leader_back_in_ends_the_range() -> None:
    # JAX leads from 1.5 times the smallest p95 on, and PyTorch again from twice it on.
    cells = [
        made("pytorch", 4, 100, 1.0),
        made("jax", 8, 200, 1.5),
        made("jax", 16, 150, 1.6),
        made("pytorch", 8, 300, 2.0),
    ]
    found = turning(cells, 1.25).guardrail
    assert found is not None
    assert (found.guardrail, found.guardrail_end) == (1.5, 2.0)
    # From the other side: PyTorch at 8 leads now, JAX between 1.5 and 2.
    found = turning(cells, 2.5).guardrail
    assert found is not None
    assert (found.guardrail, found.guardrail_end) == (2.0, 1.5)


@pytest.mark.parametrize(
    ("p95", "guardrail", "words"),
    [
        # A threshold of 1.03296 read "1.03 or more", and 1.03 changed nothing.
        ({"pytorch": 1.0, "jax": 1.03296}, 1.01, "a guardrail of 1.04 or more (now 1.01)"),
        ({"pytorch": 1.0, "jax": 1.5}, 1.25, "a guardrail of 1.50 or more (now 1.25)"),
        ({"pytorch": 1.0396, "jax": 1.0}, 1.25, "a guardrail below 1.03 (now 1.25)"),
        ({"pytorch": 1.0049, "jax": 1.0}, 1.25, "a guardrail below 1.004 (now 1.25)"),
    ],
)
def test_the_sentence_names_a_guardrail_on_the_right_side(
    p95: dict[Backend, float], guardrail: float, words: str
) -> None:
    rates: dict[Backend, float] = (
        {"pytorch": 100, "jax": 200} if p95["jax"] > 1 else {"pytorch": 200, "jax": 100}
    )
    cells = [made(backend, 4, rates[backend], tail) for backend, tail in p95.items()]
    assert any(words in said for said in sentences(cells, guardrail))


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


def cells_of_a_view(tails: st.SearchStrategy[float]) -> st.SearchStrategy[list[Cell]]:
    backends = st.sampled_from(["jax", "pytorch"])
    return st.lists(
        st.builds(made, backends, st.integers(1, 64), st.floats(1, 1000), tails),
        min_size=2,
        max_size=6,
        unique_by=lambda c: (c.backend, c.chunk_size),
    )


# Steps far apart next to rounding: a guardrail is not given to fifteen digits.
round_cells = cells_of_a_view(st.integers(1, 100).map(lambda tenths: tenths / 10))


@given(round_cells, st.integers(100, 300).map(lambda percent: percent / 100 + 1e-5))
def test_the_named_guardrail_changes_the_leader(cells: list[Cell], guardrail: float) -> None:
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


def sentences(cells: list[Cell], guardrail: float) -> list[str]:
    """What the report says of the guardrail, in the portable view of ``cells``."""
    view = view_of("portable", cells, turning=turning(cells, guardrail))
    found = whole(view, view_of("best_native", cells))
    selection = found.selection.model_copy(update={"guardrail": guardrail})
    said = turning_points(found.model_copy(update={"selection": selection}))
    return [one for one in said if "portable" in one and "a guardrail " in one]


RANGE = re.compile(
    r"a guardrail (?:of (?P<least>[\d.]+) or more|below (?P<below>[\d.]+)"
    r"|from (?P<low>[\d.]+) to below (?P<high>[\d.]+)) \(now .*\) would let"
    r" (?P<backend>JAX|PyTorch) at chunk size (?P<chunk>\d+) "
)


def named(sentence: str) -> tuple[list[float], str, int]:
    """Guardrails that the sentence promises to do it, and the cell that is to lead."""
    found = RANGE.search(sentence)
    assert found is not None, sentence
    if found["least"]:
        tried = [float(found["least"]) * more for more in (1, 1.001, 1.5, 100)]
    else:
        low, high = float(found["low"] or 1), float(found["below"] or found["high"])
        # Below the upper end: in a range of a few bits a value between the ends may round up to it.
        between = ((low + high) / 2, low + 0.999 * (high - low))
        tried = [low, *(value for value in between if value < high)]
    return tried, found["backend"].lower(), int(found["chunk"])


# As measured: nothing is a round number, and two tails may lie close together.
measured_cells = cells_of_a_view(st.one_of(st.floats(0.5, 2), st.floats(0.999, 1.001)))


@given(measured_cells, st.integers(100, 300).map(lambda percent: percent / 100))
def test_the_printed_guardrail_changes_the_leader_as_printed(
    cells: list[Cell], guardrail: float
) -> None:
    assume(turning(cells, guardrail).guardrail is not None)
    (sentence,) = sentences(cells, guardrail)
    tried, backend, chunk = named(sentence)
    for value in tried:
        then = choose(cells, value)
        assert then is not None
        assert (then.backend, then.chunk_size) == (backend, chunk), (sentence, value)
