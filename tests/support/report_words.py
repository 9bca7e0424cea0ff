"""Comparisons whose report is looked at, and hostile words in every field that takes words."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import comparisons as build
import pydantic

from stages.documents.comparison import Comparison
from stages.documents.matrix import TimeSplit

HOSTILE = (
    "a|b\nc `d` <script>alert(1)</script> **e** [g](javascript:alert(2)) &amp;<img src=x"
    " onerror=alert(3)> \"' onload='alert(4) --> ]]> </style></svg></pre></td> {{ 7*7 }} {% x %}"
    " \x1b[0m \u202e ```` ~~~ $k$ \\"
)
# What must be read as a time for the report to be written at all.
TIMES = {"started_at", "finished_at"}


def plain_comparison(**changes: Any) -> Comparison:
    """PyTorch leads at chunk 4 in both views."""
    return build.comparison(
        build.speeds("portable", {1: 40.0, 4: 110.0}, {1: 100.0, 4: 200.0}),
        build.speeds("best_native", {1: 50.0, 4: 120.0}, {1: 100.0, 4: 240.0}),
        **changes,
    )


type Path = tuple[str | int, ...]


def leaves(node: object, path: Path = ()) -> Iterator[Path]:
    """The path of every text of a document."""
    if isinstance(node, dict):
        for key, value in node.items():
            yield from leaves(value, (*path, key))
    elif isinstance(node, list):
        for place, value in enumerate(node):
            yield from leaves(value, (*path, place))
    elif isinstance(node, str):
        yield path


def put(document: dict[str, Any], path: Path, value: str) -> str:
    """Replace what stands at ``path``; returns what stood there."""
    node: Any = document
    for step in path[:-1]:
        node = node[step]
    before: str = node[path[-1]]
    node[path[-1]] = value
    return before


def everywhere(comparison: Comparison, text: str) -> tuple[Comparison, set[Path]]:
    """``comparison`` with ``text`` wherever its schema takes any text at all, and where that is."""
    document = comparison.model_dump(mode="json")
    free: dict[Path, bool] = {}
    for path in list(leaves(document)):
        kind = tuple(step for step in path if isinstance(step, str))
        if TIMES & set(kind):
            continue
        before = put(document, path, text)
        if kind not in free:
            free[kind] = _is_valid(document)
        if not free[kind]:
            put(document, path, before)
    return Comparison.model_validate(document), {
        kind for kind, free_text in free.items() if free_text
    }


def _is_valid(document: dict[str, Any]) -> bool:
    try:
        Comparison.model_validate(document)
    except pydantic.ValidationError:
        return False
    return True


# What is unavailable took no time.
NO_TIME = TimeSplit(server_start=0.0, warmup=0.0, sweep=0.0, confirm=0.0, other=0.0)


def talkative() -> Comparison:
    """A comparison with something in every field that may hold words."""
    base = plain_comparison(
        model=build.UNTRAINED.model_copy(update={"revision": "main"}),
        sources=[
            build.source("jax", "portable", unavailable="no quota", seconds=NO_TIME),
            build.source("jax", "best_native"),
            build.source("pytorch", "portable"),
        ],
    )
    shaky = build.cell(
        "jax",
        "portable",
        1,
        40.0,
        eligible=False,
        reasons=[build.reason("unavailable", detail="so")],
    )
    dead = build.failed("jax", "portable", 4, "timeout").model_copy(update={"gate": build.PASSED})
    portable = build.replaced(base.portable, shaky, dead)
    changes = {"passed_over": {"jax": 1}, "unavailable": {"jax": "no quota"}}
    return base.model_copy(update={"portable": portable.model_copy(update=changes)})
