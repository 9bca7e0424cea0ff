"""Whether a half counts under the contract in force, and what the user reads if it does not."""

from __future__ import annotations

import copy
from typing import Any

import pytest
from contracts import PAIR, ROOT, contract, pipeline, raw_contract

from tools.combine.halves import (
    DELIMITERS,
    WORKLOAD,
    Problem,
    absent,
    needed,
    of_another_contract,
    on_other_data,
    outputs_of,
    refusal,
    stages_of,
    with_other_code,
)
from tools.combine.locks import Entry, parse_lock

COMMITTED = parse_lock((ROOT / "dvc.lock").read_text(), "dvc.lock")
JAX = ["measure@jax-portable", "measure@jax-best_native"]
PYTORCH = ["oracle", "measure@pytorch-portable", "measure@pytorch-best_native"]


@pytest.fixture
def lock() -> dict[str, Entry]:
    """A lock whose every stage ran under the committed contract; a test may bend it."""
    found = copy.deepcopy(dict(COMMITTED))
    for entry in found.values():
        for keys in entry.written.get("params", {}).values():
            for key in keys:
                keys[key] = in_force(key, raw_contract())
    return found


def in_force(key: str, raw: Any) -> Any:
    for part in key.split("."):
        raw = raw[part]
    return copy.deepcopy(raw)


def test_the_halves_are_what_compare_reads() -> None:
    assert stages_of("jax", PAIR) == JAX
    assert stages_of("pytorch", PAIR) == PYTORCH
    read = COMMITTED["compare"].deps
    assert WORKLOAD in read
    assert {*needed(PAIR)} - {"workload"} == {
        stage for stage, entry in COMMITTED.items() if entry.outs.keys() & read.keys()
    }


def test_a_half_measured_under_the_contract_in_force_counts(lock: dict[str, Entry]) -> None:
    assert of_another_contract(lock, raw_contract(), "", PAIR) == []
    assert absent(lock, PAIR) == []


@pytest.mark.parametrize(
    ("changes", "stages", "what"),
    [
        (
            {"passes__confirm": 3},
            JAX + PYTORCH[1:],
            "with passes.confirm = 7, but params.yaml says 3",
        ),
        (
            {"backends__jax__portable__flags__page-size": 2},
            JAX[:1],
            "with backends.jax.portable.flags.page-size = 1, but params.yaml says 2",
        ),
        (
            {"chunk_sizes": [4, 32]},
            ["nonce", *JAX, *PYTORCH],
            "with chunk_sizes = [1, 8], but params.yaml says [4, 32]",
        ),
        (
            {"workload__items": 33},
            ["workload"],
            "with workloads.many.items = 16, but params.yaml says 33",
        ),
        (
            {"backends__pytorch__unavailable": "quota 0"},
            PYTORCH[1:],
            'with backends.pytorch.unavailable = null, but params.yaml says "quota 0"',
        ),
        (
            {"oracle__seed": 1},
            PYTORCH[:1],
            "with oracle.seed = 20260211, but params.yaml says 1",
        ),
        (
            {"model__layers": 3},
            ["checkpoint"],
            "with model.layers = 2, but params.yaml says 3",
        ),
        # Nothing measured depends on these.
        ({"gate__max_abs_diff": 0.03, "identity__target": "tpu"}, [], ""),
        ({"mix__home": {"many": 1}}, [], ""),
    ],
)
def test_a_parameter_that_was_another_one_is_named_with_both_values(
    lock: dict[str, Entry], changes: dict[str, Any], stages: list[str], what: str
) -> None:
    found = of_another_contract(lock, raw_contract(**changes), "", PAIR)
    assert {p.stage for p in found} == set(stages)
    assert {p.what.partition(" ")[2] for p in found} <= {what}


def test_the_side_that_changed_the_contract_is_named(lock: dict[str, Entry]) -> None:
    (found,) = of_another_contract(lock, raw_contract(oracle__seed=1), "origin/jax", PAIR)
    assert found.what.endswith(", but params.yaml (changed on origin/jax) says 1")


def test_flags_that_came_or_went_are_named(lock: dict[str, Entry]) -> None:
    raw = raw_contract()
    flags = raw["backends"]["jax"]["portable"]["flags"]
    del flags["page-size"]
    flags["max-running-requests"] = 4
    (found,) = of_another_contract(lock, raw, "", PAIR)
    key = "backends.jax.portable.flags"
    assert found == Problem(
        JAX[0],
        f"measured with {key}.page-size = 1, but params.yaml says nothing,"
        f" and with {key}.max-running-requests = nothing, but it says 4",
    )


def test_of_many_parameters_three_are_named_and_the_rest_counted(lock: dict[str, Entry]) -> None:
    raw = raw_contract(**{f"passes__{key}": 2 for key in ("warmup", "sweep", "confirm")})
    raw["limits"]["restarts"] = 9
    found = {p.stage: p.what for p in of_another_contract(lock, raw, "", PAIR)}
    assert found[JAX[0]].count(", but params.yaml says ") == 1
    assert found[JAX[0]].count(", but it says ") == 2
    assert found[JAX[0]].endswith(", and with other values of 1 more")


def test_a_half_measured_on_another_checkpoint_or_workload_is_named(
    lock: dict[str, Entry],
) -> None:
    stages = {WORKLOAD: [*JAX, *PYTORCH], "data/checkpoint": [*JAX, *PYTORCH]}
    in_force = {path: lock["oracle"].deps[path] for path in stages}
    assert on_other_data(lock, in_force, PAIR) == []
    for path in stages:
        found = on_other_data(lock, in_force | {path: "0123456789abcdef"}, PAIR)
        assert [p.stage for p in found] == stages[path]
        was = in_force[path][:8]
        what = f"on another {path} ({was}) than the one in force (01234567)"
        assert {p.what.partition(" ")[2] for p in found} == {what}


NONCE = "data/nonce"


def under(nonce: str, stage: Entry) -> Entry:
    """A stage as if it had run under this nonce."""
    written = copy.deepcopy(stage.written)
    deps = [dep for dep in written["deps"] if dep["path"] != NONCE]
    written["deps"] = [*deps, {"path": NONCE, "hash": "md5", "md5": nonce}]
    return Entry(written)


def drawn(nonce: str) -> Entry:
    """The stage nonce."""
    return Entry({"deps": [], "outs": [{"path": NONCE, "hash": "md5", "md5": nonce}]})


def test_a_half_measured_under_another_nonce_is_named(lock: dict[str, Entry]) -> None:
    ours, theirs = "1" * 32, "2" * 32
    halves = dict.fromkeys(JAX, ours) | dict.fromkeys(PYTORCH, theirs)
    lock |= {stage: under(nonce, lock[stage]) for stage, nonce in halves.items()}
    lock["nonce"] = drawn(ours)
    found = on_other_data(lock, {NONCE: ours}, PAIR)
    assert [p.stage for p in found] == PYTORCH
    told = refusal(found, needed(PAIR), contract())
    assert told.startswith(
        "oracle was made on another data/nonce (22222222) than the one in force (11111111);"
        " measure@pytorch-portable and measure@pytorch-best_native were measured on another"
        " data/nonce (22222222) than the one in force (11111111): run"
        " `make measure BACKEND=pytorch` on the PyTorch machine"
    )


def test_a_workload_that_only_the_contract_has_is_named(lock: dict[str, Entry]) -> None:
    raw = raw_contract()
    raw["workloads"]["more"] = raw["workloads"]["many"]
    found = of_another_contract(lock, raw, "", PAIR)
    assert [p.stage for p in found] == ["workload"]
    told = refusal(found, needed(PAIR), contract())
    assert told.startswith(
        'workload was made with workloads.more.kind = nothing, but params.yaml says "drawn", and'
    )
    assert told.endswith(
        ": under this contract, run `dvc repro workload checkpoint nonce` on one machine, commit,"
        " `dvc push` and `git push`, and measure both halves after it"
    )


def test_the_nonce_is_the_same_for_every_workload() -> None:
    # So a workload may be added, and what is measured of the others is kept.
    read = pipeline()["stages"]["nonce"]
    assert not [path for path in read["deps"] if path.startswith("data/")]
    assert "workloads" not in read["params"]


def test_other_code_is_named_and_data_is_not() -> None:
    status: dict[str, list[Any]] = {
        "measure@jax-portable": [
            {
                "changed deps": {
                    "stages/measure": "modified",
                    "data/checkpoint": "deleted",
                    "params.yaml": {"passes": "modified"},
                }
            },
            {"changed outs": {"data/measure/jax-portable": "not in cache"}},
            "changed command",
        ],
        "oracle": [{"changed deps": {"data/checkpoint": "deleted"}}],
    }
    assert with_other_code(status) == [
        Problem("measure@jax-portable", "measured with another stages/measure, passes and command")
    ]


# What the user reads.


def test_a_half_that_nobody_touched_is_not_there_yet() -> None:
    problems = [Problem(stage, "never run") for stage in PYTORCH]
    told = refusal(problems, JAX, contract())
    assert told == (
        "the PyTorch half is not there yet: oracle, measure@pytorch-portable and"
        " measure@pytorch-best_native were never run: run `make measure BACKEND=pytorch` on the"
        " PyTorch machine under this contract, commit, `dvc push` and `git push`; without that"
        " machine, backends.pytorch.unavailable in params.yaml gives a partial report"
    )


def test_a_half_measured_under_another_contract_is_refused_by_name() -> None:
    told = refusal(
        [Problem(JAX[0], "measured with passes.sweep = 5, but params.yaml says 3")],
        [*JAX, *PYTORCH],
        contract(),
    )
    assert told.startswith(
        "measure@jax-portable was measured with passes.sweep = 5, but params.yaml says 3: run"
        " `make measure BACKEND=jax` on the JAX machine"
    )
    assert "not there yet" not in told


def test_an_unavailable_backend_is_recorded_on_any_machine() -> None:
    told = refusal(
        [Problem(stage, "never run") for stage in JAX],
        PYTORCH,
        contract(backends__jax__unavailable="quota 0"),
    )
    assert told.endswith(
        "JAX is unavailable, so `make measure BACKEND=jax` on any machine records that in its stead"
    )


def test_both_halves_and_what_they_are_measured_on_are_told_in_one_line() -> None:
    problems = [Problem(stage, "never run") for stage in needed(PAIR)]
    told = refusal(problems, [], contract())
    assert "\n" not in told
    assert [name for name in needed(PAIR) if name not in told] == []
    assert told.index("dvc repro workload checkpoint nonce") < told.index("BACKEND=jax")
    assert told.index("BACKEND=jax") < told.index("BACKEND=pytorch")


def test_what_the_oracle_read_goes_with_it_and_no_flag_of_its_is_asked(
    lock: dict[str, Entry],
) -> None:
    assert outputs_of("pytorch", PAIR) == [DELIMITERS, *PYTORCH]
    assert outputs_of("jax", PAIR) == JAX
    flags = {"backends.jax.portable": raw_contract()["backends"]["jax"]["portable"]}
    lock[DELIMITERS] = Entry({"params": {"params.yaml": flags}, "deps": [], "outs": []})
    changed = raw_contract(**{"backends__jax__portable__flags__page-size": 2})
    assert [found.stage for found in of_another_contract(lock, changed, "", PAIR)] == JAX[:1]
