"""The number of passes that would settle a tie, checked against common rules of thumb."""

from __future__ import annotations

import comparisons as build
import pytest

from stages.compare.sample_size import passes_to_decide
from stages.documents.comparison import Cell


def cell(mean_s: float, std_s: float, passes: int = 7) -> Cell:
    return build.cell("jax", "portable", 8, build.ITEMS / mean_s).model_copy(
        update={"mean_s": mean_s, "std_s": std_s, "good_passes": passes}
    )


@pytest.mark.parametrize(
    ("effect", "passes"),
    # (1.96 + 0.8416)^2 * 2 / effect^2, Lehr's 16 / effect^2.
    [(1.0, 16), (0.5, 63), (0.2, 393)],
)
def test_equal_noise_is_lehrs_rule(effect: float, passes: int) -> None:
    assert passes_to_decide(cell(10.0, 1.0), cell(10.0 + effect, 1.0)) == passes


def test_unequal_noise_by_hand() -> None:
    # 7.8489 * (0.3^2 + 0.4^2) / 0.25^2 = 31.4.
    assert passes_to_decide(cell(2.0, 0.3), cell(2.25, 0.4)) == 32
    assert passes_to_decide(cell(2.25, 0.4), cell(2.0, 0.3)) == 32


def test_no_number_of_passes_separates_equal_means() -> None:
    assert passes_to_decide(cell(2.0, 0.3), cell(2.0, 0.4)) is None


def test_passes_already_made_would_not_settle_anything() -> None:
    # 7.8489 * 2 * 0.1^2 / 0.2^2 = 3.9.
    assert passes_to_decide(cell(2.0, 0.1, passes=5), cell(2.2, 0.1)) is None
    assert passes_to_decide(cell(2.0, 0.1, passes=3), cell(2.2, 0.1)) == 4


def test_absent_figures_have_no_answer() -> None:
    failed = build.failed("jax", "portable", 8, "oom")

    assert passes_to_decide(failed, cell(2.0, 0.3)) is None
    assert passes_to_decide(cell(2.0, 0.3), failed) is None
