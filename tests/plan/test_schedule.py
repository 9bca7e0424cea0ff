"""The order of passes is seeded, complete, and does not favour a chunk size."""

from __future__ import annotations

from collections import Counter
from itertools import pairwise

from bench import workload_of
from contracts import contract
from hypothesis import given
from hypothesis import strategies as st

from stages.documents.cell import PassKey
from stages.plan.schedule import (
    all_series,
    calls_of_pass,
    confirm_chunk_sizes,
    cover_sizes,
    interleaved,
)

chunk_lists = st.lists(st.integers(1, 500), min_size=1, max_size=10, unique=True)


workloads = st.dictionaries(st.sampled_from(["a", "b", "c", "d"]), chunk_lists, min_size=1)


@given(workloads, st.integers(1, 12), st.integers(0, 2**32))
def test_every_planned_pass_comes_exactly_once(
    chunks: dict[str, list[int]], runs: int, seed: int
) -> None:
    order = interleaved("sweep", all_series(chunks), runs, seed)
    wanted = Counter(
        PassKey(name, "sweep", size, run)
        for name, sizes in chunks.items()
        for size in sizes
        for run in range(runs)
    )
    assert Counter(order) == wanted


@given(workloads, st.integers(0, 2**32))
def test_rounds_alternate_direction_so_drift_is_shared(
    chunks: dict[str, list[int]], seed: int
) -> None:
    order = [key.series for key in interleaved("sweep", all_series(chunks), 4, seed)]
    n = len(all_series(chunks))
    rounds = [order[i * n : (i + 1) * n] for i in range(4)]
    assert rounds[1] == rounds[0][::-1]
    assert rounds[2] == rounds[0]
    # The mean place of every workload at every chunk size over two rounds is the same.
    places = {one: rounds[0].index(one) + rounds[1].index(one) for one in all_series(chunks)}
    assert set(places.values()) == {n - 1}


@given(workloads, st.integers(3, 6), st.integers(0, 2**32))
def test_every_round_has_every_workload_so_that_none_has_an_hour_of_its_own(
    chunks: dict[str, list[int]], runs: int, seed: int
) -> None:
    order = interleaved("sweep", all_series(chunks), runs, seed)
    for name in chunks:
        first, last = (
            next(i for i, key in places if key.workload == name)
            for places in ([*enumerate(order)], [*enumerate(order)][::-1])
        )
        between = {key.workload for key in order[first : last + 1]}
        # From a workload's first pass to its last, one of each other workload comes at least.
        assert between == {*chunks}


def test_the_workloads_of_one_round_are_mixed_and_not_one_after_the_other() -> None:
    sizes = {"few": [1, 4, 8], "many": [1, 4, 16, 32]}
    mixed = 0
    for seed in range(20):
        names = [key.workload for key in interleaved("sweep", all_series(sizes), 1, seed)]
        mixed += sum(a != b for a, b in pairwise(names)) > 1
    assert mixed > 15


def test_the_order_depends_on_the_seed_and_not_on_how_the_contract_lists_anything() -> None:
    sizes = {"few": [1, 4, 8], "many": [1, 4, 16, 32]}
    other_way = {name: sizes[name][::-1] for name in reversed(sizes)}
    order = interleaved("sweep", all_series(sizes), 2, 7)
    assert order == interleaved("sweep", all_series(other_way), 2, 7)
    orders = {tuple(interleaved("sweep", all_series(sizes), 1, seed)) for seed in range(20)}
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
    assert cover_sizes([64, 500], 64) == [1, 2, 4, 8, 16, 32, 64]
    assert cover_sizes([64, 500], 499) == [1, 2, 4, 8, 16, 32, 64, 128, 256]
    assert cover_sizes([64], 0) == []


def test_a_cover_has_every_number_of_prompts_that_the_server_takes_up_at_once() -> None:
    assert cover_sizes([4, 16], None, 6) == [1, 2, 3, 4, 5, 6, 8, 16]
    assert cover_sizes([4], None, 6) == [1, 2, 3, 4], "no pass forms a larger batch"
    assert cover_sizes([4, 16], 5, 6) == [1, 2, 3, 4, 5]
    # A server of an accelerator takes up many more, and pads them to a few sizes.
    assert cover_sizes([64], None, 48) == [1, 2, 3, 4, 5, 6, 7, 8, 16, 32, 64]


@given(chunk_lists)
def test_no_batch_of_a_pass_is_more_than_twice_a_request_of_the_cover(chunks: list[int]) -> None:
    sizes = cover_sizes(chunks)
    assert sizes == sorted(set(sizes))
    assert sizes[-1] == max(chunks)
    assert all(any(size <= n < 2 * size for size in sizes) for n in range(1, max(chunks) + 1))


def test_the_cover_has_salts_of_its_own() -> None:
    workload = workload_of(contract())
    salts = [workload.salt("cover", size, number) for size in (1, 2, 4) for number in range(3)]
    salts += [workload.salt(phase, 4, 0) for phase in ("warmup", "sweep", "confirm", "probe")]
    assert len({tuple(salt) for salt in salts}) == len(salts)
