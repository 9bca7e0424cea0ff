"""Tokens that may come from a prefix cache: worked by hand, and against servers that have one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
from contracts import contract
from hypothesis import given
from hypothesis import strategies as st
from matrices import matrix, one_pass
from scoring_server import PrefixMemory

from stages.compare.passes import passes_of
from stages.compare.prefix_cache import (
    allowed_tokens,
    distinct_prefixes,
    prefix_cache,
    prompt_tokens,
    shareable_tokens,
)
from stages.contract import SALT_TOKENS, MultiItem
from stages.documents.matrix import Measured
from stages.documents.workload import CanonicalWorkload
from stages.workload import build_workloads

# Ten tokens of query, the first eight of which are the salt's place.
QUERY = list(range(100, 110))


def workload(items: Sequence[Sequence[int]], *, item_first: bool = False) -> CanonicalWorkload:
    return CanonicalWorkload(
        name="w",
        seed=1,
        query=QUERY,
        items=[list(item) for item in items],
        label_token_ids=[1, 2],
        apply_softmax=True,
        item_first=item_first,
        pool=[(100, 102)],
    )


def measured(**flags: Any) -> Measured:
    found = matrix("jax", "best_native", []).provenance.contract
    named = {name.replace("_", "-"): value for name, value in flags.items()}
    return found.model_copy(update={"flags": named})


PACKED = MultiItem(delimiter_token_id=9999)


def test_three_items_behind_one_query_by_hand() -> None:
    # 3 x (10 + 2) tokens. Computed at least once: 2 tokens of query behind the salt, then 7 and
    # its two ends, and 8 with one: 2 + 3 + 2 = 7. The 8 of the salt may have been there by chance.
    made = workload([[7, 1], [7, 2], [8, 1]])
    assert prompt_tokens(made) == 36
    assert shareable_tokens(made) == 36 - 7


def test_one_item_can_share_no_more_than_the_salts_of_two_passes_may_by_chance() -> None:
    assert shareable_tokens(workload([[7, 1]])) == SALT_TOKENS == 8


def test_items_before_the_query_share_only_what_they_begin_with() -> None:
    # Prompts 7 1 QUERY, 7 2 QUERY, 8 1 QUERY: only the 7 of the second one is there already.
    made = workload([[7, 1], [7, 2], [8, 1]], item_first=True)
    assert shareable_tokens(made) == 1


def test_the_quick_contract_shares_15_queries_and_a_salt() -> None:
    made = contract()
    (built,) = build_workloads(made).workloads
    assert len({item[0] for item in built.items}) == len(built.items) == 16
    assert prompt_tokens(built) == 16 * (128 + 8)
    assert shareable_tokens(built) == 15 * 128 + 8


prompts = st.lists(st.lists(st.integers(0, 2), max_size=6), max_size=8)


@given(prompts, st.integers(0, 7))
def test_distinct_prefixes_are_the_nodes_of_the_trie_below_a_depth(
    made: list[list[int]], depth: int
) -> None:
    nodes = {tuple(p[:length]) for p in made for length in range(depth + 1, len(p) + 1)}
    assert distinct_prefixes(made, longer_than=depth) == len(nodes)


salts = st.lists(st.integers(100, 101), min_size=SALT_TOKENS, max_size=SALT_TOKENS)
items = st.lists(
    st.lists(st.integers(0, 2), min_size=1, max_size=4), min_size=1, max_size=6, unique_by=tuple
)


@given(items, st.lists(salts, min_size=1, max_size=5, unique_by=tuple))
def test_no_honest_server_is_above_it_even_where_salts_begin_alike(
    of: list[list[int]], drawn: list[list[int]]
) -> None:
    made, memory = workload(of), PrefixMemory()
    for salt in drawn:
        _, cached = memory.take([made.salted_query(salt) + item for item in made.items])
        assert cached <= shareable_tokens(made)


@given(items, salts)
def test_a_pass_that_is_sent_again_is_above_it(of: list[list[int]], salt: list[int]) -> None:
    made, memory = workload(of), PrefixMemory()
    asked = [made.salted_query(salt) + item for item in made.items]
    memory.take(asked)
    _, cached = memory.take(asked)
    # All but the last token of each prompt; one item's two tokens of query are over the salt's 8.
    assert cached == sum(map(len, asked)) - len(asked)
    assert cached > shareable_tokens(made)


@given(items.filter(lambda of: sum(map(len, of)) > 0), st.lists(salts, min_size=2, max_size=2))
def test_items_before_the_query_come_from_earlier_passes_and_are_above_it(
    of: list[list[int]], drawn: list[list[int]]
) -> None:
    made, memory = workload(of, item_first=True), PrefixMemory()
    for salt in drawn:
        _, cached = memory.take([item + made.salted_query(salt) for item in made.items])
    assert cached > shareable_tokens(made)


@pytest.mark.parametrize(
    ("flags", "multi_item", "allows"),
    [
        ({}, None, True),
        ({"disable_radix_cache": False}, None, True),
        ({"disable_radix_cache": True}, None, False),
        ({"enable_mis": True}, None, False),
        ({}, PACKED, False),
        # The query is computed, kept and continued; the delimiter is named all the same.
        ({"multi_item_enable_prefill_extend": True}, PACKED, True),
        ({"enable_scoring_cache": True}, None, True),
        ({"enable_scoring_cache": True, "disable_radix_cache": True}, None, False),
    ],
)
def test_a_view_allows_a_prefix_cache_unless_it_is_off_or_the_items_are_packed(
    flags: dict[str, Any], multi_item: MultiItem | None, allows: bool
) -> None:
    asked = measured(**flags).model_copy(update={"multi_item": multi_item})
    assert asked.allows_prefix_cache is allows
    made = workload([[7, 1], [7, 2], [8, 1]])
    assert allowed_tokens(made, asked) == (29 if allows else 0)


def test_reported_tokens_are_counted_over_timed_passes_alone() -> None:
    cached = {("warmup", 0): 36, ("sweep", 0): 29, ("sweep", 1): 30, ("confirm", 0): None}
    records = [
        call
        for position, ((phase, run), tokens) in enumerate(cached.items())
        for call in one_pass(phase, 2, run, 1.0, position=position, cached_tokens=tokens)  # type: ignore[arg-type]
    ]
    made = workload([[7, 1], [7, 2], [8, 1]])
    found = prefix_cache(passes_of(matrix("jax", "portable", records).calls), made, measured())
    assert (found.kept, found.prompt_tokens, found.allowed_tokens) == (True, 36, 29)
    assert (found.timed_passes, found.told_passes) == (3, 2)
    assert (found.most_tokens, found.excess_passes) == (30, 1)


def test_a_server_that_reports_nothing_has_no_figures() -> None:
    records = one_pass("sweep", 2, 0, 1.0, cached_tokens=None)
    made = workload([[7, 1]])
    found = prefix_cache(passes_of(matrix("jax", "portable", records).calls), made, measured())
    assert (found.timed_passes, found.told_passes) == (1, 0)
    assert found.most_tokens is None
