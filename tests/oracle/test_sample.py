"""The sample follows from the contract alone and holds only passes every matrix plans."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import Any

import pytest
from bench import workload_of
from contracts import ROOT, WORKLOAD, contract, raw_contract
from hypothesis import given
from hypothesis import strategies as st

from stages.common.errors import ContractError
from stages.contract import Contract, parse_contract
from stages.documents.cell import PassKey, Series
from stages.measure.passes import encode_pass
from stages.oracle.sample import SampledItem, prompt_of, sample_items
from stages.plan.schedule import interleaved, salt_of

shapes = st.fixed_dictionaries(
    {
        "workload": st.sampled_from(["few", "many"]),
        "chunk_sizes": st.lists(st.integers(1, 500), min_size=1, max_size=6, unique=True),
        "runs": st.integers(1, 7),
        "items": st.integers(1, 60),
        "samples_per_chunk": st.integers(1, 60),
        "seed": st.integers(0, 2**40),
    }
)


def committed() -> dict[str, Any]:
    made = contract()
    return shape_of(made)


def shape_of(made: Contract) -> dict[str, Any]:
    return {
        "workload": WORKLOAD,
        "chunk_sizes": made.chunk_sizes_of(WORKLOAD),
        "runs": made.passes.sweep,
        "items": made.workloads[WORKLOAD].items,
        "samples_per_chunk": made.oracle.samples_per_chunk,
        "seed": made.oracle.seed,
    }


@given(shapes)
def test_every_chunk_size_gets_its_share_without_repetition_in_order(shape: dict) -> None:
    sample = sample_items(**shape)
    assert sample == sorted(set(sample))
    share = min(shape["samples_per_chunk"], shape["runs"] * shape["items"])
    for chunk in shape["chunk_sizes"]:
        assert sum(s.chunk_size == chunk for s in sample) == share
    assert len(sample) == share * len(shape["chunk_sizes"])


@given(shapes)
def test_every_sampled_pass_is_one_that_every_matrix_plans(shape: dict) -> None:
    series = [Series(shape["workload"], size) for size in shape["chunk_sizes"]]
    planned = set(interleaved("sweep", series, shape["runs"], seed=0))
    for s in sample_items(**shape):
        assert PassKey(s.workload, s.phase, s.chunk_size, s.run) in planned
        assert 0 <= s.item < shape["items"]


@given(shapes, st.randoms())
def test_a_chunk_sizes_sample_depends_on_no_other_and_not_on_their_order(
    shape: dict, random: Any
) -> None:
    sample = sample_items(**shape)
    shuffled = list(shape["chunk_sizes"])
    random.shuffle(shuffled)
    assert sample_items(**{**shape, "chunk_sizes": shuffled}) == sample
    alone = sample_items(**{**shape, "chunk_sizes": shuffled[:1]})
    assert alone == [s for s in sample if s.chunk_size == shuffled[0]]


@given(shapes)
def test_a_workloads_sample_depends_on_no_other_workload(shape: dict) -> None:
    # Two workloads of the same shape have other pairs, unless these are all there are.
    one, other = (sample_items(**{**shape, "workload": name}) for name in ("few", "many"))
    assert {s.workload for s in one} == {"few"}
    assert {s.workload for s in other} == {"many"}
    assert len(one) == len(other)
    if shape["samples_per_chunk"] >= shape["runs"] * shape["items"]:
        assert [(s.chunk_size, s.run, s.item) for s in one] == [
            (s.chunk_size, s.run, s.item) for s in other
        ]


@given(shapes)
def test_a_larger_sample_contains_the_smaller_one(shape: dict) -> None:
    larger = {**shape, "samples_per_chunk": shape["samples_per_chunk"] + 1}
    assert set(sample_items(**shape)) <= set(sample_items(**larger))


@given(st.integers(1, 5), st.integers(1, 9), st.integers(0, 99))
def test_all_pairs_are_taken_where_fewer_exist_than_asked(runs: int, items: int, more: int) -> None:
    sample = sample_items(
        "w", chunk_sizes=[4], runs=runs, items=items, samples_per_chunk=runs * items + more, seed=1
    )
    assert sample == [
        SampledItem("w", "sweep", 4, run, item) for run in range(runs) for item in range(items)
    ]


def test_every_pair_is_as_likely_as_any_other() -> None:
    counts = dict.fromkeys(range(12), 0)
    for seed in range(3000):
        for s in sample_items(
            "w", chunk_sizes=[1], runs=3, items=4, samples_per_chunk=3, seed=seed
        ):
            counts[s.run * 4 + s.item] += 1
    # 3 of 12 in 3000 samples: 750 expected, standard deviation about 24.
    assert all(abs(count - 750) < 5 * 24 for count in counts.values()), counts


def test_another_seed_chunk_size_or_workload_draws_other_pairs() -> None:
    shape = committed()
    changes = [
        {"seed": seed, "chunk_sizes": [chunk], "workload": workload}
        for seed in (1, 2)
        for chunk in (1, 2)
        for workload in ("few", "many")
    ]
    pairs = {
        tuple((s.run, s.item) for s in sample_items(**{**shape, **change})) for change in changes
    }
    assert len(pairs) == 8


def test_the_stream_is_pinned() -> None:
    # These rows change only with the definition of the sample, never with a library.
    sample = sample_items(
        "w", chunk_sizes=[8, 2], runs=5, items=32, samples_per_chunk=3, seed=20260211
    )
    assert [(s.phase, s.chunk_size, s.run, s.item) for s in sample] == [
        ("sweep", 2, 0, 17),
        ("sweep", 2, 0, 23),
        ("sweep", 2, 1, 27),
        ("sweep", 8, 1, 25),
        ("sweep", 8, 2, 24),
        ("sweep", 8, 4, 24),
    ]


def test_two_processes_with_different_hash_seeds_draw_the_same_sample() -> None:
    program = (
        f"from stages.oracle.sample import sample_items;print(sample_items(**{committed()!r}))"
    )
    printed = {
        subprocess.run(
            [sys.executable, "-c", program],
            env={**os.environ, "PYTHONPATH": str(ROOT), "PYTHONHASHSEED": hash_seed},
            capture_output=True,
            check=True,
            text=True,
        ).stdout
        for hash_seed in ("1", "2")
    }
    assert printed == {f"{sample_items(**committed())}\n"}


@pytest.mark.parametrize("item_first", [False, True])
def test_a_prompt_is_what_the_request_of_that_pass_asks_for(item_first: bool) -> None:
    import json

    workload = workload_of(contract(workload__item_first=item_first))
    sample = sample_items(**committed())
    assert len({tuple(prompt_of(workload, s)) for s in sample}) == len(sample)
    for s in sample:
        salt = salt_of(workload, PassKey(s.workload, s.phase, s.chunk_size, s.run))
        call, at = divmod(s.item, s.chunk_size)
        body = json.loads(encode_pass(workload, salt, s.chunk_size)[call].body)
        query, item = body["query"], body["items"][at]
        assert body["item_first"] == item_first
        assert prompt_of(workload, s) == (item + query if item_first else query + item)
        between = [9999]
        assert prompt_of(workload, s, 9999) == (
            item + between + query if item_first else query + between + item
        )


@pytest.mark.parametrize(
    ("key", "value"),
    [("seed", -1), ("seed", "1"), ("samples_per_chunk", 0), ("samples_per_chunk", 2.5)],
)
def test_a_wrong_value_in_the_contract_names_its_key(key: str, value: object) -> None:
    with pytest.raises(ContractError, match=rf"params\.yaml: oracle\.{key}: found {value!r}"):
        parse_contract(raw_contract(**{f"oracle__{key}": value}))
