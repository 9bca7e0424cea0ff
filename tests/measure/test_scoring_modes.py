"""How the items of a request are scored follows from a server's settings, by backend."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import polars as pl
import pytest
from bench import bench_contract, inside, make_bench
from contracts import WORKLOAD, raw_contract
from elsewhere import account
from targets import bare_folder, plans, raw_target

from stages.backends.registry import declared
from stages.contract import Backend, View, load_contract
from stages.documents.matrix import MATRIX_FILE, Matrix, read_matrix
from stages.measure.command import measure, record_unavailable
from stages.plan.plan import Plan, make_plan

EXTEND = {"multi_item_enable_prefill_extend": True, "enable_scoring_cache": True}
V2 = {**EXTEND, "multi_item_enable_score_from_cache_v2": True}


def mode(backend: Backend, item_first: bool = False, **settings: Any) -> str:
    return declared(backend).scoring(settings, item_first=item_first, softmax=True)[0]


def detail(**settings: Any) -> str | None:
    return declared("jax").scoring(settings, item_first=False, softmax=True)[1]


@pytest.mark.parametrize("backend", ["jax", "pytorch"])
def test_without_a_prefix_cache_every_item_is_a_prompt_of_its_own(backend: Backend) -> None:
    assert mode(backend, disable_radix_cache=True) == "separate"
    assert mode(backend, disable_radix_cache=False) == "cached"
    assert mode(backend) == "cached", "both servers keep a prefix cache unless told otherwise"


@pytest.mark.parametrize("backend", ["jax", "pytorch"])
def test_a_prefix_cache_holds_no_query_that_stands_behind_the_items(backend: Backend) -> None:
    assert mode(backend, item_first=True) == "separate"


def test_pytorch_packs_by_a_switch_or_before_it_by_a_delimiter() -> None:
    assert mode("pytorch", enable_mis=True) == "packed"
    # The switch turns the prefix cache off by itself.
    assert mode("pytorch", enable_mis=True, disable_radix_cache=True) == "packed"
    assert mode("pytorch", multi_item_scoring_delimiter=0) == "packed"
    # What a server that does not pack says of itself.
    assert mode("pytorch", enable_mis=False, multi_item_scoring_delimiter=None) == "cached"


def test_jax_packs_by_a_delimiter_and_continues_a_query_before_that() -> None:
    assert mode("jax", multi_item_scoring_delimiter=0, disable_radix_cache=True) == "packed"
    assert mode("jax", multi_item_scoring_delimiter=151643, **EXTEND) == "prefill_extend"
    assert mode("jax", **EXTEND) == "prefill_extend"
    assert mode("jax", **V2) == "score_from_cache"
    assert mode("jax", multi_item_enable_prefill_extend=False, disable_radix_cache=True) == (
        "separate"
    )


def test_the_scoring_cache_alone_is_how_later_builds_are_started() -> None:
    """From 18 March 2026 on scoring from the cache is on by itself, and wants this flag."""
    assert mode("jax", enable_scoring_cache=True) == "score_from_cache"
    # Earlier ones say that they do not extend, or pack.
    assert mode("jax", enable_scoring_cache=True, multi_item_enable_prefill_extend=False) == (
        "cached"
    )
    assert mode("jax", enable_scoring_cache=True, multi_item_scoring_delimiter=9999) == "packed"


def test_packing_without_a_mask_is_named() -> None:
    packed = {"multi_item_scoring_delimiter": 9999, "disable_radix_cache": True}
    unmasked = "the attention ignores the mask, so items see each other"
    assert detail(**packed, device="cpu", attention_backend="fa") == unmasked
    assert detail(**packed, device="cpu:0") == unmasked
    assert detail(**packed, device="tpu", attention_backend="native") == unmasked
    assert detail(**packed, device="tpu", attention_backend="fa") is None
    assert detail(disable_radix_cache=True, device="cpu", attention_backend="native") is None


def test_the_variant_is_named_and_what_is_known_to_be_wrong_with_it() -> None:
    assert detail(**EXTEND) is None
    assert detail(**V2) is None
    assert detail(enable_scoring_cache=True) is None
    labels_only = {**V2, "multi_item_score_label_only_logprob": True}
    assert detail(**labels_only) == (
        "label-only logprobs: every build known takes the softmax over"
        " probabilities there, which gives wrong scores"
    )
    plain = declared("jax").scoring(labels_only, item_first=False, softmax=False)[1]
    assert plain == "label-only logprobs"


def test_what_is_known_to_give_wrong_scores_is_on_record(tmp_path: Path) -> None:
    raw = raw_target("target=cpu_multi_item")
    folder = bare_folder(tmp_path)

    def wrong() -> list[tuple[Backend, View]]:
        return [
            key for key, plan in plans(folder, raw).items() if plan.scoring(WORKLOAD).known_wrong
        ]

    assert wrong() == []
    packed = {"delimiter_token_id": 9999, "mask_ignored": True}
    raw["backends"]["jax"]["portable"]["multi_item"] = packed
    assert wrong() == [("jax", "portable")]
    flags = raw["backends"]["jax"]["best_native"]["flags"]
    flags["multi-item-score-label-only-logprob"] = True
    assert wrong() == [("jax", "portable"), ("jax", "best_native")]


def test_a_server_launched_here_is_judged_by_its_flags(tmp_path: Path) -> None:
    made = plans(bare_folder(tmp_path), raw_target("target=tpu_vs_gpu"))
    assert {key: plan.scoring("seed").mode for key, plan in made.items()} == {
        ("jax", "portable"): "packed",
        ("jax", "best_native"): "score_from_cache",
        ("pytorch", "portable"): "packed",
        ("pytorch", "best_native"): "packed",
    }
    assert {plan.scoring("seed").told_by for plan in made.values()} == {"flags"}


def test_the_default_run_scores_prompts_apart(tmp_path: Path) -> None:
    made = plans(bare_folder(tmp_path), raw_contract())
    by_view = {
        v: {p.scoring(WORKLOAD).mode for key, p in made.items() if key[1] == v} for _, v in made
    }
    assert by_view == {"portable": {"separate"}, "best_native": {"cached"}}


def test_a_server_started_elsewhere_is_judged_by_its_report(tmp_path: Path) -> None:
    made = plans(bare_folder(tmp_path), raw_contract())
    told = account(settings={"disable_radix_cache": True, "enable_mis": True})
    found = made["pytorch", "portable"].scoring(WORKLOAD, told)
    assert (found.mode, found.told_by) == ("packed", "server")
    assert made["pytorch", "portable"].scoring(WORKLOAD).mode == "separate"


OURS = "attention by this project's CPU platform"


@pytest.mark.parametrize(("device", "variant"), [("cpu", OURS), ("cuda", None), ("cuda:0", None)])
def test_packed_on_a_cpu_pytorch_has_an_attention_of_this_project(
    device: str, variant: str | None
) -> None:
    packs = {"enable_mis": True, "device": device}
    packed = declared("pytorch").scoring(packs, item_first=False, softmax=True)
    assert packed == ("packed", variant)
    apart = {"enable_mis": False, "device": device, "disable_radix_cache": True}
    assert declared("pytorch").scoring(apart, item_first=False, softmax=True) == ("separate", None)


@pytest.mark.parametrize("device", ["cpu", "cuda"])
def test_that_is_on_record_of_a_server_launched_here_and_of_one_started_elsewhere(
    tmp_path: Path, device: str
) -> None:
    raw = raw_contract(backends__pytorch__launch__device=device)
    view = raw["backends"]["pytorch"]["portable"]
    view["multi_item"] = {"delimiter_token_id": 9999}
    del view["flags"]["attention-backend"]
    made = plans(bare_folder(tmp_path), raw)
    launched = made["pytorch", "portable"].scoring(WORKLOAD)
    told = account(settings={"enable_mis": True, "device": device})
    elsewhere = made["pytorch", "portable"].scoring(WORKLOAD, told)
    for found in (launched, elsewhere):
        assert (found.mode, found.stand_in) == ("packed", device == "cpu")
    assert not made["pytorch", "best_native"].scoring(WORKLOAD).stand_in


def planned(folder: Path, raw: dict[str, Any], backend: Backend, view: View) -> Plan:
    make_bench(folder, raw)
    with inside(folder):
        return make_plan(load_contract(), backend, view)


def test_a_matrix_records_how_its_server_scored(tmp_path: Path) -> None:
    plan = planned(tmp_path, bench_contract(), "pytorch", "best_native")
    with inside(tmp_path):
        measure(plan, tmp_path / "out")
    found = read_matrix(tmp_path / "out" / MATRIX_FILE).provenance.workloads[WORKLOAD].scoring
    assert found is not None
    assert (found.mode, found.told_by, found.detail, found.fallbacks) == (
        *("cached", "flags", None, None),
    )


def measured(folder: Path, *arguments: str) -> Matrix:
    """A matrix of a server that is asked to score from the cache, with 4 items a pass."""
    raw = bench_contract(*arguments, chunk_sizes=[1, 4])
    flags = raw["backends"]["jax"]["best_native"]["flags"]
    flags |= {name.replace("_", "-"): value for name, value in V2.items()}
    plan = planned(folder, raw, "jax", "best_native")
    with inside(folder):
        measure(plan, folder / "out")
    return read_matrix(folder / "out" / MATRIX_FILE)


def told(found: Matrix, chunk_size: int) -> set[tuple[object, object]]:
    """How the passes of a chunk size were scored, and how many requests of each fell back."""
    mine = found.calls.filter(pl.col("chunk_size") == chunk_size)
    return set(mine.select("mode", "fallbacks").iter_rows())


def test_the_servers_account_confirms_every_pass(tmp_path: Path) -> None:
    found = measured(tmp_path, "--paths")
    assert told(found, 1) == told(found, 4) == {("score_from_cache", 0)}
    scoring = found.provenance.workloads[WORKLOAD].scoring
    assert scoring is not None
    assert (scoring.mode, scoring.fallbacks) == ("score_from_cache", 0)


def test_a_chunk_size_that_falls_back_throughout_is_told_pass_by_pass(tmp_path: Path) -> None:
    found = measured(tmp_path, "--paths", "--falls-back-items", "4")
    assert told(found, 1) == {("score_from_cache", 0)}
    assert told(found, 4) == {("prefill_extend", 1)}
    scoring = found.provenance.workloads[WORKLOAD].scoring
    assert scoring is not None
    # One request a pass at chunk size 4; what the probes fell back for is in no pass.
    passes = found.calls.filter(pl.col("chunk_size") == 4)["position"].n_unique()
    assert (scoring.mode, scoring.fallbacks) == ("score_from_cache", passes)


def test_a_pass_in_which_some_requests_fell_back_is_mixed(tmp_path: Path) -> None:
    found = measured(tmp_path, "--paths", "--falls-back-items", "1", "--falls-back-every", "2")
    # Every second call of all falls back; 4 in a row are a pass.
    assert told(found, 1) == {("mixed", 2)}
    assert told(found, 4) == {("score_from_cache", 0)}


def test_without_the_account_the_log_still_tells_what_fell_back(tmp_path: Path) -> None:
    found = measured(tmp_path, "--falls-back-items", "4")
    assert told(found, 1) == {(None, 0)}
    assert told(found, 4) == {("prefill_extend", 1)}


def test_nothing_is_recorded_of_a_backend_that_did_not_run(tmp_path: Path) -> None:
    raw = bench_contract()
    raw["backends"]["jax"]["unavailable"] = "a quota of 0"
    plan = planned(tmp_path, raw, "jax", "portable")
    with inside(tmp_path):
        record_unavailable(plan, tmp_path / "out")
    assert (
        read_matrix(tmp_path / "out" / MATRIX_FILE).provenance.workloads[WORKLOAD].scoring is None
    )
