"""A comparison names its two backends once, and no others."""

from __future__ import annotations

import json
from typing import Any

import comparisons as made
import pydantic
import pytest

from stages.contract import VIEWS
from stages.documents.comparison import Comparison, Named

WHOLE = made.comparison(*(made.speeds(view, {1: 10.0}, {1: 5.0}) for view in VIEWS))


def document() -> dict[str, Any]:
    found: dict[str, Any] = json.loads(WHOLE.model_dump_json())
    return found


def test_the_pair_is_written_once_and_every_view_has_it_again() -> None:
    written = document()
    assert "pair" not in written["portable"]
    read = Comparison.model_validate(written)
    assert [view.pair for view in read.views()] == [WHOLE.pair, WHOLE.pair]
    assert read == WHOLE


@pytest.mark.parametrize(
    "place",
    [
        ("portable", "cells", 0, "backend"),
        ("portable", "winner", "leader"),
        ("portable", "winner", "outcome"),
        ("best_native", "oracle_sides_with"),
        ("sources", 0, "backend"),
        ("pair", "reference", "key"),
    ],
)
def test_a_backend_that_is_not_of_the_pair_is_refused(place: tuple[str | int, ...]) -> None:
    changed = document()
    section: Any = changed
    for step in place[:-1]:
        section = section[step]
    section[place[-1]] = "toy"
    with pytest.raises(pydantic.ValidationError, match="is none of the backends"):
        Comparison.model_validate(changed)


@pytest.mark.parametrize("title", ["", "a" * 25, "<b>JAX</b>", "J|X", " JAX", "J\nX"])
def test_a_title_that_no_figure_has_room_for_or_that_is_markup_is_damaged(title: str) -> None:
    with pytest.raises(pydantic.ValidationError, match="title"):
        Named(key="jax", title=title, package="sglang-jax")
