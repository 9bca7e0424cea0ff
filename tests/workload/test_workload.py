"""The workload depends on its parameters alone and has nothing that could hide wrong scores."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest
import yaml
from contracts import NONCE, ROOT, contract, raw_contract
from hypothesis import given
from hypothesis import strategies as st

from stages.common.errors import UserError
from stages.common.files import sha256
from stages.contract import ordinary_ids
from stages.documents.workload import CanonicalWorkload, draw_ids, read_workload
from stages.workload import build_workload, smallest_period


def build(**changes: object) -> CanonicalWorkload:
    made = contract(**changes)
    return build_workload(made.workload, made.vocabulary)


def test_two_processes_with_different_hash_seeds_write_the_same_bytes(tmp_path) -> None:
    written = []
    for hash_seed in ("1", "2"):
        folder = tmp_path / hash_seed
        folder.mkdir()
        (folder / "params.yaml").write_text(yaml.safe_dump(raw_contract()))
        (folder / "backends").symlink_to(ROOT / "backends")
        subprocess.run(
            [sys.executable, "-m", "stages.workload"],
            cwd=folder,
            env={**os.environ, "PYTHONPATH": str(ROOT), "PYTHONHASHSEED": hash_seed},
            check=True,
        )
        written.append((folder / "data/workload/canonical_workload.json").read_bytes())
    assert written[0] == written[1]


def test_the_committed_lock_names_the_workload_these_parameters_make() -> None:
    # What makes the bytes the same on every machine, and not only in two processes here.
    provenance = json.loads((ROOT / "data/compare/comparison.json").read_bytes())
    data = build().canonical_bytes()
    assert sha256(data) == provenance["scope"]["workload_sha256"]


@given(
    seed=st.integers(0, 2**32),
    items=st.integers(1, 60),
    item_tokens=st.integers(1, 6),
    query_tokens=st.integers(9, 80),
)
def test_lengths_are_exact_ids_are_safe_and_items_distinct(
    seed: int, items: int, item_tokens: int, query_tokens: int
) -> None:
    made = contract(
        workload__seed=seed,
        workload__items=items,
        workload__item_tokens=item_tokens,
        workload__query_tokens=query_tokens,
        chunk_sizes=[1],
    )
    workload = build_workload(made.workload, made.vocabulary)
    safe = set(ordinary_ids(made.vocabulary, made.workload.label_token_ids))
    assert len(workload.query) == query_tokens
    assert [len(item) for item in workload.items] == [item_tokens] * items
    assert len({tuple(item) for item in workload.items}) == items
    assert safe.issuperset(workload.query)
    assert all(safe.issuperset(item) for item in workload.items)


def test_a_query_of_two_letters_still_has_no_repeated_period() -> None:
    for seed in range(200):
        workload = build(
            workload__seed=seed,
            workload__query_tokens=9,
            vocabulary__first_ordinary=256,
            vocabulary__end_ordinary=258,
            workload__items=4,
            chunk_sizes=[1],
        )
        query = workload.query
        assert not any(query[p:] == query[:-p] for p in range(1, len(query) // 2 + 1))


@pytest.mark.parametrize(
    ("tokens", "period"),
    [([7], 1), ([7, 7, 7], 1), ([1, 2, 1, 2, 1], 2), ([1, 2, 3], 3), ([1, 2, 3, 1, 2, 3, 1], 3)],
)
def test_smallest_period_of_hand_worked_examples(tokens: list[int], period: int) -> None:
    assert smallest_period(tokens) == period


def test_another_seed_gives_another_workload() -> None:
    assert build(workload__seed=1).query != build(workload__seed=2).query


def test_salts_differ_between_passes_and_follow_from_contract_and_nonce_alone() -> None:
    keys = [
        (phase, chunk, run)
        for phase in ("warmup", "sweep", "confirm")
        for chunk in (1, 2, 11, 12)
        for run in range(12)
    ]
    first, second = build().in_run(NONCE), build().in_run(NONCE)
    salts = [tuple(first.salt(*key)) for key in keys]
    assert len(set(salts)) == len(keys)
    assert salts == [tuple(second.salt(*key)) for key in keys]
    safe = set(ordinary_ids(contract().vocabulary, first.label_token_ids))
    assert all(safe.issuperset(salt) for salt in salts)


def test_a_salted_query_keeps_its_length_and_everything_behind_the_salt() -> None:
    workload = build()
    salted = workload.salted_query(workload.in_run(NONCE).salt("sweep", 4, 0))
    assert len(salted) == len(workload.query)
    assert salted[8:] == workload.query[8:]
    assert salted[:8] != workload.query[:8]


def test_draws_skip_the_gaps_of_the_pool_and_reach_both_ends() -> None:
    draws = draw_ids("any", [(3, 5), (9, 10)])
    assert {next(draws) for _ in range(500)} == {3, 4, 9}


def test_a_workload_changed_by_hand_is_refused(tmp_path) -> None:
    path = tmp_path / "workload.json"
    path.write_bytes(build().canonical_bytes().replace(b":", b": ", 1))
    with pytest.raises(UserError, match="not in canonical form"):
        read_workload(path)
    path.write_bytes(build().canonical_bytes()[:-40])
    with pytest.raises(UserError, match="damaged"):
        read_workload(path)
