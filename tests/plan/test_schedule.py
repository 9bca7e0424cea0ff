"""The order of passes is seeded, complete, and does not favour a chunk size."""

from __future__ import annotations

from collections import Counter

from contracts import NONCE, contract
from hypothesis import given
from hypothesis import strategies as st

from stages.documents.cell import PassKey
from stages.plan.schedule import (
    calls_of_pass,
    confirm_chunk_sizes,
    cover_sizes,
    interleaved,
)
from stages.workload import build_workload

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


def test_a_cover_has_every_power_of_two_below_the_largest_chunk_size_and_that() -> None:
    full = [1, 2, 4, 8, 16, 32, 64, 128, 256, 500]
    assert cover_sizes([64, 500]) == cover_sizes([500, 1]) == full
    assert cover_sizes([4, 8]) == [1, 2, 4, 8]
    assert cover_sizes([9]) == [1, 2, 4, 8, 9]
    assert cover_sizes([1]) == [1]


def test_a_cover_has_no_request_above_any_limit() -> None:
    assert cover_sizes([64, 500], [255, 64]) == [1, 2, 4, 8, 16, 32, 64]
    assert cover_sizes([64, 500], [499]) == [1, 2, 4, 8, 16, 32, 64, 128, 256]
    assert cover_sizes([64], [0]) == []


@given(chunk_lists)
def test_no_batch_of_a_pass_is_more_than_twice_a_request_of_the_cover(chunks: list[int]) -> None:
    sizes = cover_sizes(chunks)
    assert sizes == sorted(set(sizes))
    assert sizes[-1] == max(chunks)
    assert all(any(size <= n < 2 * size for size in sizes) for n in range(1, max(chunks) + 1))


def test_the_cover_has_salts_of_its_own() -> None:
    made = contract()
    workload = build_workload(made.workload, made.vocabulary).in_run(NONCE)
    salts = [workload.salt("cover", size, number) for size in (1, 2, 4) for number in range(3)]
    salts += [workload.salt(phase, 4, 0) for phase in ("warmup", "sweep", "confirm", "probe")]
    assert len({tuple(salt) for salt in salts}) == len(salts)
