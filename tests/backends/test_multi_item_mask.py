"""The attention between packed items on a CPU: who sees whom, against a definition in words."""

from __future__ import annotations

import json
import random
import subprocess
from functools import cache
from itertools import accumulate

import pytest
from contracts import ROOT

from stages.common.shell import clean_environ
from stages.environments.build import ensure_environment

pytestmark = pytest.mark.servers

# It runs where torch is: in the server's environment.
ASK = """
import json, sys
sys.path.insert(0, sys.argv[1])
import scoreparity_multi_item as multi_item, torch
answers = []
for delimiters, length in json.load(sys.stdin):
    of = torch.tensor(delimiters), length
    answers.append([multi_item.visible(*of).int().tolist(), multi_item.positions(*of).tolist()])
json.dump(answers, sys.stdout)
"""

type Answer = tuple[list[list[int]], list[int]]


def drawn() -> list[tuple[int, list[int]]]:
    """Query and item lengths: by hand at the edges, and at random."""
    draw = random.Random(3)
    by_hand = [(3, [2, 1]), (1, [1]), (0, [2, 2]), (5, [1, 1, 1, 1]), (2, [7])]
    at_random = [
        (draw.randrange(12), [draw.randrange(1, 9) for _ in range(draw.randrange(1, 7))])
        for _ in range(20)
    ]
    return by_hand + at_random


@cache
def answers() -> dict[tuple[int, tuple[int, ...]], Answer]:
    cases = drawn()
    asked = []
    for query, items in cases:
        # One delimiter before each item, and one behind the last.
        delimiters = list(accumulate((length + 1 for length in items), initial=query))
        asked.append((delimiters, delimiters[-1] + 1))
    done = subprocess.run(
        [ensure_environment("sglang_pytorch"), "-c", ASK, str(ROOT / "backends/pytorch/platform")],
        input=json.dumps(asked),
        env=clean_environ(),
        capture_output=True,
        text=True,
        check=True,
    )
    keys = [(query, tuple(items)) for query, items in cases]
    return dict(zip(keys, map(tuple, json.loads(done.stdout)), strict=True))


def named(query: int, items: list[int]) -> list[tuple[str, int, int]]:
    """Every token of the sequence: what it is, of which item, and which of it."""
    tokens = [("query", 0, place) for place in range(query)]
    for number, length in enumerate(items):
        tokens.append(("delimiter", number, 0))
        tokens += [("item", number, place) for place in range(length)]
    return [*tokens, ("delimiter", len(items), 0)]


@pytest.mark.parametrize(("query", "items"), drawn())
def test_an_item_sees_the_query_and_itself_and_stands_where_it_would_stand_alone(
    query: int, items: list[int]
) -> None:
    seen, positions = answers()[query, tuple(items)]
    tokens = named(query, items)
    assert len(seen) == len(positions) == len(tokens)
    for at, (kind, number, place) in enumerate(tokens):
        sees = [tokens[other] for other, visible in enumerate(seen[at]) if visible]
        whole_query = [("query", 0, before) for before in range(query)]
        if kind == "query":
            assert (sees, positions[at]) == (whole_query[: place + 1], place)
        elif kind == "item":
            itself = [("item", number, before) for before in range(place + 1)]
            assert (sees, positions[at]) == (whole_query + itself, query + place)
        else:
            # A row that sees nothing would have no number, and spoil every other.
            assert sees == (whole_query or [tokens[at]])
            assert positions[at] == max(query - 1, 0)


def test_the_first_case_by_hand() -> None:
    """Three tokens of query, then an item of two and one of one: ``q q q D i i D j D``."""
    seen, positions = answers()[3, (2, 1)]
    assert ["".join(map(str, row)) for row in seen] == [
        "100000000",
        "110000000",
        "111000000",
        "111000000",
        "111010000",
        "111011000",
        "111000000",
        "111000010",
        "111000000",
    ]
    assert positions == [0, 1, 2, 2, 3, 4, 2, 3, 2]
