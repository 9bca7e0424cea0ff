"""Two locks become one: whole stages, from the side that changed them."""

from __future__ import annotations

import copy
from typing import Any

import pytest
from contracts import PAIR, ROOT
from hypothesis import given, settings
from hypothesis import strategies as st

from stages.common.errors import UserError
from tools.combine.halves import WORKLOAD, needed
from tools.combine.locks import (
    DERIVED,
    Entry,
    Lock,
    NamedLock,
    dump_lock,
    merge,
    parse_lock,
)

COMMITTED = (ROOT / "dvc.lock").read_text()

NEEDED = needed(PAIR)
STAGES = [*NEEDED, *DERIVED]
MEASURED = [stage for stage in NEEDED if stage.startswith("measure@")]

versions = st.dictionaries(st.sampled_from(STAGES), st.integers(0, 3))


def entry(version: int, **params: Any) -> Entry:
    """A stage that ran on the input ``version``."""
    return Entry(
        {
            "cmd": "python -m something",
            "deps": [{"path": "code.py", "hash": "md5", "md5": f"{version:032x}", "size": 1}],
            "params": {"params.yaml": params or {"passes": {"sweep": version}}},
            "outs": [{"path": "data/out", "hash": "md5", "md5": f"{version:030x}.dir"}],
        }
    )


def lock(of: dict[str, int]) -> Lock:
    return {stage: entry(version) for stage, version in of.items()}


def merged(base: Lock, ours: Lock, theirs: Lock) -> Lock:
    return merge(base, NamedLock("HEAD", ours), NamedLock("origin/jax", theirs))


def or_refused(*sides: Lock) -> Lock | str:
    try:
        return merged(*sides)
    except UserError as error:
        return str(error)


def test_the_committed_lock_is_written_back_byte_for_byte() -> None:
    assert dump_lock(parse_lock(COMMITTED, "dvc.lock")) == COMMITTED


# What a merge of stages must be, whatever they hold.


@given(versions, versions, versions)
def test_every_stage_comes_from_the_side_that_changed_it_or_is_refused(
    base: dict[str, int], ours: dict[str, int], theirs: dict[str, int]
) -> None:
    both = [
        stage
        for stage in NEEDED
        if base.get(stage) != ours.get(stage) != theirs.get(stage) != base.get(stage)
    ]
    found = or_refused(lock(base), lock(ours), lock(theirs))
    if both:
        assert isinstance(found, str)
        assert found.split(" ", 1)[0] in both
        return
    assert isinstance(found, dict)
    for stage in NEEDED:
        changed = theirs if ours.get(stage) == base.get(stage) else ours
        assert found.get(stage) == lock(changed).get(stage), stage


@given(versions, versions)
def test_a_side_that_changed_nothing_adds_nothing(
    base: dict[str, int], ours: dict[str, int]
) -> None:
    measured = {stage: ours[stage] for stage in ours if stage not in DERIVED}
    assert merged(lock(base), lock(ours), lock(base)) == lock(ours)
    assert merged(lock(measured), lock(ours), lock(ours)) == lock(ours)
    kept = {stage: base[stage] for stage in DERIVED if stage in base}
    assert merged(lock(base), lock(base), lock(ours)) == lock(measured | kept)


@given(versions, versions, versions)
def test_it_does_not_matter_which_side_is_ours(
    base: dict[str, int], ours: dict[str, int], theirs: dict[str, int]
) -> None:
    one = or_refused(lock(base), lock(ours), lock(theirs))
    other = or_refused(lock(base), lock(theirs), lock(ours))
    # Of several stages in conflict, either may be the one that is named.
    assert isinstance(one, str) == isinstance(other, str)
    if not isinstance(one, str) and not isinstance(other, str):
        assert [one.get(stage) for stage in NEEDED] == [other.get(stage) for stage in NEEDED]


@given(versions, versions, versions)
def test_what_is_merged_twice_is_merged_once(
    base: dict[str, int], ours: dict[str, int], theirs: dict[str, int]
) -> None:
    found = or_refused(lock(base), lock(ours), lock(theirs))
    if not isinstance(found, str):
        assert merged(lock(theirs), found, lock(theirs)) == found


@settings(max_examples=20)
@given(versions)
def test_what_is_written_is_read_back(of: dict[str, int]) -> None:
    assert parse_lock(dump_lock(lock(of)), "dvc.lock") == lock(of)


# Two halves, by hand.


def halves() -> tuple[dict[str, Any], dict[str, Any], dict[str, Any]]:
    """The committed lock, and what two machines make of it."""
    base = parse_lock(COMMITTED, "dvc.lock")
    jax, pytorch = (copy.deepcopy(dict(base)) for _ in range(2))
    for stage in MEASURED:
        half = jax if "jax" in stage else pytorch
        half[stage].written["outs"][0]["md5"] = "9" * 32 + ".dir"
    pytorch["oracle"].written["outs"][0]["md5"] = "8" * 32 + ".dir"
    return dict(base), jax, pytorch


def test_two_halves_of_the_committed_lock_become_one() -> None:
    base, jax, pytorch = halves()
    found = merged(base, jax, pytorch)
    assert list(found) == list(base)
    for stage in MEASURED:
        assert found[stage].outs == {f"data/measure/{stage[8:]}": "9" * 32 + ".dir"}
    assert found["oracle"] == pytorch["oracle"]
    assert found["compare"] == base["compare"]


def test_a_stage_that_only_one_side_has_is_kept() -> None:
    base, jax, pytorch = halves()
    for side in (base, jax):
        for stage in ("oracle", *MEASURED[2:], "compare", "report"):
            del side[stage]
    for side in (base, pytorch):
        for stage in MEASURED[:2]:
            side.pop(stage)
    found = merged(base, jax, pytorch)
    assert {s for s in NEEDED if s in found} == set(NEEDED)


def test_compare_and_report_of_both_sides_are_no_conflict() -> None:
    base, jax, pytorch = halves()
    for number, side in enumerate((jax, pytorch)):
        for stage in DERIVED:
            side[stage].written["outs"][0]["md5"] = f"{number}" * 32
    found = merged(base, jax, pytorch)
    assert [found[stage] for stage in DERIVED] == [jax[stage] for stage in DERIVED]


def test_a_workload_made_twice_differs_in_its_time_and_ours_is_taken() -> None:
    base, jax, pytorch = halves()
    jax["workload"].written["outs"][0]["md5"] = "1" * 32 + ".dir"
    pytorch["workload"].written["outs"][0]["md5"] = "2" * 32 + ".dir"
    assert merged(base, jax, pytorch)["workload"] == jax["workload"]
    assert merged(base, pytorch, jax)["workload"] == pytorch["workload"]


def drawn(nonce: str, **params: Any) -> Entry:
    """The nonce as a lock has it."""
    return Entry(
        {
            "cmd": "python -m stages.nonce",
            "deps": [{"path": WORKLOAD, "hash": "md5", "md5": "5" * 32, "size": 1}],
            "params": {"params.yaml": {"chunk_sizes": [1, 4], **params}},
            "outs": [{"path": "data/nonce", "hash": "md5", "md5": f"{nonce * 32}.dir"}],
        }
    )


def test_two_nonces_are_refused_for_what_they_mean_before_all_that_follows_from_them() -> None:
    base, jax, pytorch = halves()
    # A machine that ran everything: what it measured differs too, and comes first in its lock.
    pytorch[MEASURED[0]].written["outs"][0]["md5"] = "7" * 32 + ".dir"
    jax["nonce"], pytorch["nonce"] = drawn("1"), drawn("2")
    with pytest.raises(UserError) as refused:
        merged(base, jax, pytorch)
    told = str(refused.value)
    assert told.startswith(
        "nonce was drawn on both sides (output data/nonce is 11111111 on HEAD and 22222222 on"
        " origin/jax): each half has a nonce of its own, so their requests differ and cannot be"
        " compared; run `dvc repro workload checkpoint nonce` on one machine, commit, `dvc push`"
    )
    assert "\n" not in told


def test_two_nonces_of_two_contracts_are_refused_by_the_parameter() -> None:
    base, jax, pytorch = halves()
    jax["nonce"], pytorch["nonce"] = drawn("1"), drawn("2", chunk_sizes=[4])
    with pytest.raises(UserError) as refused:
        merged(base, jax, pytorch)
    assert str(refused.value).startswith(
        "nonce was changed on both sides, differently: parameter chunk_sizes is [1, 4] on HEAD"
        " and [4] on origin/jax; decide which"
    )


@pytest.mark.parametrize("both", [True, False])
def test_one_nonce_is_taken_whoever_drew_it(both: bool) -> None:
    base, jax, pytorch = halves()
    base["nonce"], jax["nonce"] = drawn("0"), drawn("1")
    pytorch["nonce"] = drawn("1" if both else "0")
    assert merged(base, jax, pytorch)["nonce"] == jax["nonce"]
    assert merged(base, pytorch, jax)["nonce"] == jax["nonce"]


def test_a_workload_of_two_contracts_is_refused_by_the_parameter() -> None:
    base, jax, pytorch = halves()
    jax["workload"].written["params"]["params.yaml"]["workloads"]["many"]["items"] = 48
    pytorch["workload"].written["params"]["params.yaml"]["workloads"]["many"]["items"] = 64
    with pytest.raises(UserError) as refused:
        merged(base, jax, pytorch)
    assert str(refused.value).startswith(
        "workload was changed on both sides, differently:"
        " parameter workloads.many.items is 48 on HEAD and 64 on origin/jax; decide which"
    )


def test_a_workload_that_one_half_alone_has_is_refused_by_its_name() -> None:
    base, jax, pytorch = halves()
    jax["workload"].written["params"]["params.yaml"]["workloads"]["many"]["items"] = 48
    workloads = pytorch["workload"].written["params"]["params.yaml"]["workloads"]
    workloads["more"] = {"kind": "drawn"}
    with pytest.raises(UserError) as refused:
        merged(base, jax, pytorch)
    assert 'workloads.more.kind is nothing on HEAD and "drawn" on origin/jax' in str(refused.value)


def test_one_matrix_measured_twice_is_refused_by_its_output() -> None:
    base, jax, pytorch = halves()
    pytorch[MEASURED[0]].written["outs"][0]["md5"] = "7" * 32 + ".dir"
    with pytest.raises(UserError) as refused:
        merged(base, jax, pytorch)
    assert str(refused.value).startswith(
        "measure@jax-portable was changed on both sides, differently:"
        " output data/measure/jax-portable is 99999999 on HEAD and 77777777 on origin/jax;"
        " decide which"
    )


def test_causes_are_named_before_consequences_and_three_are_enough() -> None:
    base, jax, pytorch = halves()
    changed = pytorch[MEASURED[0]].written
    changed["outs"][0]["md5"] = "7" * 32 + ".dir"
    changed["deps"][0]["md5"] = "6" * 32 + ".dir"
    changed["params"]["params.yaml"]["backends.jax.unavailable"] = "quota 0"
    changed["params"]["params.yaml"]["passes"] |= {"sweep": 6, "confirm": 8}
    with pytest.raises(UserError) as refused:
        merged(base, jax, pytorch)
    told = str(refused.value)
    assert 'parameter backends.jax.unavailable is null on HEAD and "quota 0" on origin/jax' in told
    assert "parameter passes.sweep is 5 on HEAD and 6 on origin/jax" in told
    assert "; and 1 more; decide which" in told
    assert "output" not in told
    assert "\n" not in told


def test_a_stage_dropped_on_one_side_and_run_on_the_other_is_refused() -> None:
    base, jax, pytorch = halves()
    del pytorch[MEASURED[0]]
    with pytest.raises(UserError, match=r"^measure@jax-portable .* origin/jax has dropped it; "):
        merged(base, jax, pytorch)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("stages: [", "no lock of dvc's"),
        ("schema: '1.0'\nstages: {}", "its schema is 1.0, not 2.0"),
        ("schema: '2.0'\nstages: {workload: 1}", "no lock of dvc's"),
        ("schema: '2.0'\nstages: {workload: {deps: [{md5: 1}]}}", "no lock of dvc's"),
        ("<<<<<<< HEAD\nschema: '2.0'\n=======\n", "no lock of dvc's"),
    ],
)
def test_a_damaged_lock_is_refused_in_one_line(text: str, why: str) -> None:
    with pytest.raises(UserError, match=why) as refused:
        parse_lock(text, "HEAD: dvc.lock")
    assert str(refused.value).startswith("HEAD: dvc.lock: ")


def test_an_empty_lock_has_no_stages() -> None:
    assert parse_lock("", "dvc.lock") == {}
    assert merged({}, {}, {}) == {}
