"""The workload depends on its parameters alone and has nothing that could hide wrong scores."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterable, Sequence
from itertools import permutations
from pathlib import Path
from typing import Any

import pytest
import yaml
from contracts import NONCE, ROOT, committed, contract, raw_several
from hypothesis import given
from hypothesis import strategies as st

from stages.common.errors import UserError
from stages.common.files import sha256
from stages.contract import ordinary_ids, parse_contract
from stages.documents.workload import (
    CanonicalWorkload,
    CanonicalWorkloads,
    Workloads,
    draw_ids,
    read_workloads,
)
from stages.workload import build_workloads, smallest_period


def build(**changes: object) -> CanonicalWorkload:
    (workload,) = build_workloads(contract(**changes)).workloads
    return workload


def test_two_processes_with_different_hash_seeds_write_the_same_bytes(tmp_path) -> None:
    written = []
    for hash_seed in ("1", "2"):
        folder = tmp_path / hash_seed
        folder.mkdir()
        (folder / "params.yaml").write_text(yaml.safe_dump(committed()))
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
    compared = json.loads((ROOT / "data/compare/comparison.json").read_bytes())["workloads"]
    measured = {one["scope"]["workload"]: one["scope"]["workload_sha256"] for one in compared}
    assert build_workloads(parse_contract(committed())).sha256 == measured


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
    (workload,) = build_workloads(made).workloads
    safe = set(ordinary_ids(made.vocabulary, workload.label_token_ids))
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
    data = build_workloads(contract()).canonical_bytes()
    path.write_bytes(data.replace(b":", b": ", 1))
    with pytest.raises(UserError, match="not in canonical form"):
        read_workloads(path)
    path.write_bytes(data[:-40])
    with pytest.raises(UserError, match="damaged"):
        read_workloads(path)


SEVERAL: dict[str, dict[str, Any]] = {
    "few": {"items": 4, "query_tokens": 20},
    "many": {"items": 9, "query_tokens": 12},
    "other": {"items": 4, "query_tokens": 20, "item_tokens": 3},
}


def written(names: Iterable[str], **changes: Any) -> CanonicalWorkloads:
    """The file of the workloads of these names, in this order in the contract."""
    raw = raw_several({name: SEVERAL[name] | changes for name in names}, chunk_sizes=[1])
    return build_workloads(parse_contract(raw))


@pytest.mark.parametrize("names", list(permutations(SEVERAL)))
def test_the_bytes_do_not_depend_on_the_order_of_the_workloads_in_the_contract(
    names: Sequence[str],
) -> None:
    made = written(names)
    assert made.canonical_bytes() == written(SEVERAL).canonical_bytes()
    assert [one.name for one in made.workloads] == list(made.sha256) == sorted(SEVERAL)


def test_the_file_holds_the_hash_of_each_workload_and_the_hash_of_the_file_is_that_of_all() -> None:
    made = written(SEVERAL)
    assert made.sha256 == {one.name: sha256(one.canonical_bytes()) for one in made.workloads}
    assert len(set(made.sha256.values())) == len(SEVERAL)
    workloads = Workloads.of(made)
    assert workloads.sha256 == sha256(made.canonical_bytes())
    assert workloads.sha256s == made.sha256


@pytest.mark.parametrize("name", SEVERAL)
def test_the_hash_of_a_workload_does_not_change_when_others_come_or_go(name: str) -> None:
    alone, together = written([name]), written(SEVERAL)
    assert alone.sha256[name] == together.sha256[name]
    assert Workloads.of(alone).sha256 != Workloads.of(together).sha256


def test_a_workload_that_changes_changes_its_own_hash_alone() -> None:
    raw = raw_several({**SEVERAL, "few": {**SEVERAL["few"], "item_tokens": 9}}, chunk_sizes=[1])
    changed, before = build_workloads(parse_contract(raw)).sha256, written(SEVERAL).sha256
    assert {name for name in SEVERAL if changed[name] != before[name]} == {"few"}


def test_workloads_come_by_their_tokens() -> None:
    by_name = Workloads.of(written(SEVERAL)).by_name
    # 20 + 4 x 3, 20 + 4 x 8 and 12 + 9 x 8 tokens.
    assert [(name, one.total_tokens) for name, one in by_name.items()] == [
        ("other", 32),
        ("few", 52),
        ("many", 84),
    ]
    same = written(["many", "few"], items=4, query_tokens=20)
    assert list(Workloads.of(same).by_name) == ["few", "many"], "by name where those are equal"


def test_two_workloads_of_one_seed_begin_alike_and_share_no_salt() -> None:
    # Of the same parameters, too: only the names differ.
    made = Workloads.of(written(["few", "many"], items=4, query_tokens=20)).in_run(NONCE).by_name
    few, many = made["few"], made["many"]
    assert (few.query, few.items, few.seed) == (many.query, many.items, many.seed)
    keys = [
        (phase, size, run)
        for phase in ("warmup", "sweep", "confirm", "probe", "cover")
        for size in (0, 1, 4)
        for run in range(8)
    ]
    salts = [{tuple(one.salt(*key)) for key in keys} for one in (few, many)]
    assert len(salts[0]) == len(salts[1]) == len(keys)
    assert salts[0].isdisjoint(salts[1])


def test_the_salts_of_a_workload_do_not_change_when_others_come_or_go() -> None:
    alone, together = (
        Workloads.of(written(names)).in_run(NONCE).by_name["few"].salt("sweep", 4, 1)
        for names in (["few"], SEVERAL)
    )
    assert alone == together


def damaged(change: Callable[[dict[str, Any]], None], path: Path) -> Path:
    """The file, changed by hand and put into canonical form again."""
    document = json.loads(written(SEVERAL).canonical_bytes())
    change(document)
    path.write_text(json.dumps(document, separators=(",", ":"), sort_keys=True) + "\n")
    return path


def swap_hashes(document: dict[str, Any]) -> None:
    hashes = document["sha256"]
    hashes["few"], hashes["many"] = hashes["many"], hashes["few"]


def swap_workloads(document: dict[str, Any]) -> None:
    document["workloads"].reverse()


def edit_hash(document: dict[str, Any]) -> None:
    document["sha256"]["few"] = "0" * 64


def edit_item(document: dict[str, Any]) -> None:
    document["workloads"][0]["items"][0][0] += 1


def rename(document: dict[str, Any]) -> None:
    document["workloads"][0]["name"] = "fez"


def drop_hash(document: dict[str, Any]) -> None:
    del document["sha256"]["few"]


def drop_workload(document: dict[str, Any]) -> None:
    del document["workloads"][0]


def repeat_workload(document: dict[str, Any]) -> None:
    document["workloads"].insert(0, document["workloads"][0])


@pytest.mark.parametrize(
    "change",
    [
        *(swap_hashes, swap_workloads, edit_hash, edit_item, rename),
        *(drop_hash, drop_workload, repeat_workload),
    ],
)
def test_workloads_and_hashes_that_do_not_belong_together_are_refused(
    change: Callable[[dict[str, Any]], None], tmp_path: Path
) -> None:
    assert len(read_workloads(damaged(lambda _: None, tmp_path / "whole.json")).by_name) == 3
    path = damaged(change, tmp_path / "workload.json")
    with pytest.raises(UserError, match="not in canonical form; it was changed") as caught:
        read_workloads(path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("change", [{"version": 1}, {"workloads": []}, {"nonce": NONCE}])
def test_a_file_of_another_form_is_refused(change: dict[str, Any], tmp_path: Path) -> None:
    path = damaged(lambda document: document.update(change), tmp_path / "workload.json")
    with pytest.raises(UserError, match=f"{path}: damaged: "):
        read_workloads(path)


def test_a_file_of_other_workloads_than_the_contracts_is_refused_by_name(tmp_path: Path) -> None:
    path = damaged(lambda _: None, tmp_path / "workload.json")
    assert set(read_workloads(path, ["many", "few", "other"]).by_name) == set(SEVERAL)
    with pytest.raises(UserError) as caught:
        read_workloads(path, ["few", "many"])
    assert str(caught.value) == (
        f"{path}: it holds the workloads few, many, other, but the contract has few, many; make it"
        " anew with `dvc repro workload`"
    )
