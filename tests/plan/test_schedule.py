"""The order of passes is seeded, complete, and does not favour a chunk size."""

from __future__ import annotations

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from stages.documents.cell import PassKey
from stages.plan.schedule import calls_of_pass, confirm_chunk_sizes, interleaved

chunk_lists = st.lists(st.integers(1, 500), min_size=1, max_size=10, unique=True)


@given(chunk_lists, st.integers(1, 12), st.integers(0, 2**32))
def test_every_planned_pass_comes_exactly_once(chunks: list[int], runs: int, seed: int) -> None:
    order = interleaved("sweep", chunks, runs, seed)
    wanted = Counter(PassKey("sweep", c, r) for c in chunks for r in range(runs))
    assert Counter(order) == wanted


@given(chunk_lists, st.integers(0, 2**32))
def test_rounds_alternate_direction_so_drift_is_shared(chunks: list[int], seed: int) -> None:
    order = [key.chunk_size for key in interleaved("sweep", chunks, 4, seed)]
    n = len(chunks)
    rounds = [order[i * n : (i + 1) * n] for i in range(4)]
    assert rounds[1] == rounds[0][::-1]
    assert rounds[2] == rounds[0]
    # The mean place of every chunk size over two rounds is the same.
    places = {c: rounds[0].index(c) + rounds[1].index(c) for c in chunks}
    assert set(places.values()) == {n - 1}


def test_the_order_depends_on_the_seed_and_not_on_how_the_contract_lists_the_sizes() -> None:
    chunks = [1, 2, 4, 8, 16, 32]
    assert interleaved("sweep", chunks, 2, 7) == interleaved("sweep", chunks[::-1], 2, 7)
    orders = {tuple(interleaved("sweep", chunks, 1, seed)) for seed in range(20)}
    assert len(orders) > 10


@given(st.integers(1, 600), st.integers(1, 600))
def test_a_pass_covers_every_item_once_in_order(items: int, chunk: int) -> None:
    calls = calls_of_pass(items, chunk)
    assert len(calls) == -(-items // chunk)
    covered = [i for first, count in calls for i in range(first, first + count)]
    assert covered == list(range(items))
    assert all(1 <= count <= chunk for _, count in calls)


def test_a_chunk_of_all_items_is_one_call_and_the_rest_goes_last() -> None:
    assert calls_of_pass(500, 500) == [(0, 500)]
    assert calls_of_pass(500, 128) == [(0, 128), (128, 128), (256, 128), (384, 116)]


CHUNKS = [1, 2, 4, 8, 16, 32]


def test_confirm_takes_one_the_fastest_and_its_neighbours() -> None:
    means = {1: 9.0, 2: 5.0, 4: 4.0, 8: 3.0, 16: 3.5, 32: 6.0}
    assert confirm_chunk_sizes(CHUNKS, means) == [1, 4, 8, 16]


def test_confirm_at_either_end_and_with_an_exact_tie() -> None:
    assert confirm_chunk_sizes(CHUNKS, {1: 1.0, 2: 2.0}) == [1, 2]
    assert confirm_chunk_sizes(CHUNKS, {16: 2.0, 32: 1.0}) == [1, 16, 32]
    assert confirm_chunk_sizes(CHUNKS, {8: 1.0, 2: 1.0}) == [1, 2, 4]
    assert confirm_chunk_sizes([32, 8, 4], {8: 1.0}) == [4, 8, 32]


def test_with_no_complete_sweep_only_chunk_one_is_confirmed() -> None:
    assert confirm_chunk_sizes(CHUNKS, {}) == [1]
    assert confirm_chunk_sizes([4, 8], {}) == []
