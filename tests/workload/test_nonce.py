"""The nonce: two comparisons never send the same request, and one keeps its requests."""

from __future__ import annotations

import json
from itertools import product
from pathlib import Path

import pytest
from bench import bench_contract, inside, make_bench
from contracts import BACKENDS, NONCE, WORKLOAD, contract, run_stage
from hypothesis import given
from hypothesis import strategies as st

from stages.common.errors import UserError
from stages.contract import VIEWS, parse_contract
from stages.documents.cell import PassKey
from stages.documents.nonce import NONCE_FILE, read_nonce, write_nonce
from stages.measure.passes import encode_pass
from stages.oracle.sample import SampledItem, prompt_of
from stages.plan.plan import make_plan
from stages.plan.schedule import salt_of
from stages.workload import build_workloads

MADE = contract()
SCORED = build_workloads(MADE).workloads[0]
PHASES = ("warmup", "sweep", "confirm", "answer")
KEYS = [
    PassKey(WORKLOAD, *key)  # type: ignore[arg-type]
    for key in product(PHASES, MADE.chunk_sizes, range(MADE.passes.confirm))
]

nonces = st.text("0123456789abcdef", min_size=16, max_size=16)


@given(st.lists(nonces, min_size=2, max_size=2, unique=True))
def test_two_comparisons_share_no_request(two: list[str]) -> None:
    one, other = (SCORED.in_run(nonce) for nonce in two)
    sent = [{tuple(salt_of(run, key)) for key in KEYS} for run in (one, other)]
    assert sent[0].isdisjoint(sent[1])
    key = PassKey(WORKLOAD, "sweep", 4, 0)
    bodies = [set(encode_pass(run, salt_of(run, key), 4)) for run in (one, other)]
    assert bodies[0].isdisjoint(bodies[1])
    sampled = SampledItem(WORKLOAD, "sweep", 4, 0, 3)
    assert prompt_of(one, sampled)[8:] == prompt_of(other, sampled)[8:]
    assert prompt_of(one, sampled)[:8] != prompt_of(other, sampled)[:8]


@given(nonces)
def test_the_workload_is_the_same_bytes_in_every_comparison(nonce: str) -> None:
    assert SCORED.in_run(nonce).canonical_bytes() == SCORED.canonical_bytes()


def test_a_workload_of_no_comparison_sends_nothing() -> None:
    with pytest.raises(ValueError, match="nonce is not known"):
        SCORED.salt("sweep", 1, 0)


def test_both_backends_send_the_same_requests_in_both_views(tmp_path: Path) -> None:
    raw = bench_contract()
    make_bench(tmp_path, raw)
    write_nonce(tmp_path / NONCE_FILE, "f" * 16)
    with inside(tmp_path):
        plans = [make_plan(parse_contract(raw), b, v) for b in BACKENDS for v in VIEWS]
    assert {plan.nonce for plan in plans} == {"f" * 16}
    for key in KEYS:
        salts = {tuple(salt_of(plan.workloads.by_name[WORKLOAD], key)) for plan in plans}
        assert len(salts) == 1


def test_each_time_it_is_drawn_it_is_another_one(tmp_path: Path) -> None:
    drawn = set()
    for _ in range(3):
        done = run_stage(tmp_path, "nonce")
        assert done.returncode == 0, done.stderr
        nonce = read_nonce(tmp_path / NONCE_FILE)
        assert done.stdout == f"nonce: {nonce}, in the salt of every request of this comparison\n"
        drawn.add(nonce)
    assert len(drawn) == 3


@pytest.mark.parametrize(
    "document",
    [
        {"version": 1, "nonce": NONCE.upper()},
        {"version": 1, "nonce": NONCE[1:]},
        {"version": 1, "nonce": NONCE + "\n"},
        {"version": 1, "nonce": 1234567890123456},
        {"version": 2, "nonce": NONCE},
        {"version": 1, "nonce": NONCE, "more": 1},
        {"version": 1},
        [NONCE],
    ],
)
def test_a_file_that_holds_no_nonce_is_refused(tmp_path: Path, document: object) -> None:
    path = tmp_path / "nonce.json"
    path.write_text(json.dumps(document))
    with pytest.raises(UserError, match=f"{path}: damaged: ") as caught:
        read_nonce(path)
    assert "\n" not in str(caught.value)


def test_without_a_nonce_nothing_is_measured_and_the_command_is_named(tmp_path: Path) -> None:
    raw = bench_contract()
    make_bench(tmp_path, raw)
    (tmp_path / NONCE_FILE).unlink()
    with (
        inside(tmp_path),
        pytest.raises(UserError, match="no such file; draw a nonce with `dvc repro nonce`"),
    ):
        make_plan(parse_contract(raw), "jax", "portable")
