"""Limits of packed items and of a TPU are refused by name, before any server starts."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
import yaml
from bench import inside
from click.testing import CliRunner
from contracts import WORKLOAD, raw_contract
from targets import COMMIT, bare_folder, raw_target

from stages.common.errors import ContractError
from stages.contract import parse_contract
from stages.measure.command import main

SEED = raw_target("target=tpu_vs_gpu")
REASON = "Cannot do int indexing on TPU during kernel lowering"


def seed(**changes: Any) -> dict[str, Any]:
    """The target's contract with dotted keys (``__``) replaced; ``...`` takes a key away."""
    raw = copy.deepcopy(SEED)
    for key, value in changes.items():
        *path, last = key.split("__")
        section = raw
        for part in path:
            section = section[part]
        if value is ...:
            del section[last]
        else:
            section[last] = value
    return raw


def refusal(raw: object) -> str:
    with pytest.raises(ContractError) as caught:
        parse_contract(raw)
    return str(caught.value)


PACKED = {"delimiter_token_id": 151643}
MASK = "multi-item-mask-impl"
THRESHOLD = "multi-item-segment-fallback-threshold"


def packing(view: str, **flags: object) -> dict[str, Any]:
    """The target's contract with packed items in ``view`` of sglang-jax, and such flags."""
    raw = seed(**{f"backends__jax__{view}__multi_item": PACKED})
    known = raw["backends"]["jax"][view]["flags"]
    known |= {MASK: "dense", THRESHOLD: 0}
    for name, value in flags.items():
        flag = name.replace("_", "-")
        known[flag] = value
        if value is ...:
            del known[flag]
    return raw


@pytest.mark.parametrize("view", ["portable", "best_native"])
@pytest.mark.parametrize(
    ("value", "found"), [("segment", "'segment'"), ("auto", "'auto'"), (..., "None")]
)
def test_a_tpu_serves_dense_masks_alone_and_the_refusal_says_why(
    view: str, value: object, found: str
) -> None:
    said = refusal(packing(view, multi_item_mask_impl=value))
    assert said.startswith(f"params.yaml: backends.jax.{view}.flags.{MASK}: found {found}; ")
    assert REASON in said


@pytest.mark.parametrize("view", ["portable", "best_native"])
@pytest.mark.parametrize("threshold", [0, 1, 32768, ...])
def test_a_dense_mask_is_dense_whatever_the_threshold(view: str, threshold: object) -> None:
    # The build of 12 February 2026 wants it above 0.
    parse_contract(packing(view, multi_item_segment_fallback_threshold=threshold))


@pytest.mark.parametrize("view", ["portable", "best_native"])
def test_a_view_that_does_not_pack_needs_no_flag_of_a_mask(view: str) -> None:
    # Builds that know none of them do not start with one.
    raw = packing(view, multi_item_mask_impl=..., multi_item_segment_fallback_threshold=...)
    assert MASK in refusal(raw)
    raw["backends"]["jax"][view]["multi_item"] = None
    parse_contract(raw)


def test_the_refusal_says_how_a_commit_with_the_mend_is_named() -> None:
    said = refusal(packing("portable", multi_item_mask_impl="segment"))
    assert "backends.jax.launch.source.segment_mask_mended" in said


MENDED = {"commit": COMMIT, "segment_mask_mended": True}


@pytest.mark.parametrize("view", ["portable", "best_native"])
@pytest.mark.parametrize(
    ("mask", "threshold"),
    [("segment", 0), ("auto", 32768), ("auto", 0), ("dense", 0), (..., ...), ("segment", ...)],
)
def test_a_commit_that_holds_the_mend_serves_any_mask(
    view: str, mask: object, threshold: object
) -> None:
    raw = packing(view, multi_item_mask_impl=mask, multi_item_segment_fallback_threshold=threshold)
    raw["backends"]["jax"]["launch"]["source"] = MENDED
    parse_contract(raw)


@pytest.mark.parametrize(
    ("flag", "value", "allowed"),
    [
        ("multi-item-mask-impl", "sparse", "auto, dense or segment"),
        ("multi-item-mask-impl", True, "auto, dense or segment"),
        ("multi-item-segment-fallback-threshold", -1, "a whole number from 0 on"),
        ("multi-item-segment-fallback-threshold", False, "a whole number from 0 on"),
        ("multi-item-segment-fallback-threshold", "0", "a whole number from 0 on"),
    ],
)
def test_what_no_build_knows_is_refused_with_the_mend_too(
    flag: str, value: object, allowed: str
) -> None:
    key = f"backends__jax__portable__flags__{flag}"
    said = refusal(seed(backends__jax__launch__source=MENDED, **{key: value}))
    assert said.startswith(f"params.yaml: {key.replace('__', '.')}: found {value!r}; ")
    assert allowed in said


@pytest.mark.parametrize("threshold", [-1, False, "0"])
def test_a_threshold_that_no_build_knows_is_refused_with_a_dense_mask_too(
    threshold: object,
) -> None:
    said = refusal(packing("portable", multi_item_segment_fallback_threshold=threshold))
    assert f"flags.{THRESHOLD}: found {threshold!r}; allowed: a whole number from 0 on" in said


def test_a_mend_without_a_commit_means_nothing() -> None:
    said = refusal(seed(backends__jax__launch__source__segment_mask_mended=True))
    assert said.startswith(
        "params.yaml: backends.jax.launch.source.segment_mask_mended: found True; "
    )
    assert "backends.jax.launch.source.commit" in said


def test_the_target_leaves_the_mend_to_the_user_and_has_the_key() -> None:
    # `-S` changes only keys that are there.
    source = raw_target(
        "target=tpu_vs_gpu",
        f"backends.jax.launch.source.commit={COMMIT}",
        "backends.jax.launch.source.segment_mask_mended=true",
        "backends.jax.portable.flags.multi-item-mask-impl=segment",
    )
    assert parse_contract(source).backends["jax"].launch.segment_mask_mended
    assert not parse_contract(SEED).backends["jax"].launch.segment_mask_mended


def test_elsewhere_any_mask_may_be_tried() -> None:
    flags = {"multi-item-mask-impl": "segment", "attention-backend": "native"}
    parse_contract(raw_contract(backends__jax__best_native__flags=flags))


@pytest.mark.parametrize("chunk", [1, 499, 0, -1, True, "500", [500]])
def test_the_portable_view_allows_no_chunk_of_the_servers_below_n(chunk: object) -> None:
    key = "backends__jax__portable__flags__multi-item-scoring-chunk-size"
    said = refusal(seed(**{key: chunk}))
    assert said.startswith(f"params.yaml: {key.replace('__', '.')}: found {chunk!r}; ")
    assert "at least 500 (workloads.seed.items)" in said


def test_that_holds_on_a_cpu_too() -> None:
    raw = raw_contract()
    raw["backends"]["jax"]["portable"]["flags"]["multi-item-scoring-chunk-size"] = 15
    assert "at least 16 (workloads.many.items)" in refusal(raw)
    raw["backends"]["jax"]["portable"]["flags"]["multi-item-scoring-chunk-size"] = 16
    parse_contract(raw)


def test_left_out_on_a_tpu_the_servers_own_small_chunk_would_split() -> None:
    said = refusal(seed(**{"backends__jax__portable__flags__multi-item-scoring-chunk-size": ...}))
    assert "found None; allowed: at least 500" in said


def test_the_best_native_view_may_split_as_it_likes() -> None:
    parse_contract(seed(**{"backends__jax__best_native__flags__multi-item-scoring-chunk-size": 64}))


@pytest.mark.parametrize("backend", ["jax", "pytorch"])
@pytest.mark.parametrize("view", ["portable", "best_native"])
def test_a_delimiter_that_a_prompt_may_hold_is_refused(backend: str, view: str) -> None:
    key = f"backends__{backend}__{view}__multi_item__delimiter_token_id"
    raw = packing(view) if backend == "jax" else seed()
    raw["backends"][backend][view]["multi_item"] = {"delimiter_token_id": 1000}
    said = refusal(raw)
    assert said.startswith(f"params.yaml: {key.replace('__', '.')}: found 1000; ")
    assert "[151643, 9999]" in said


@pytest.mark.parametrize("flag", ["enable-mis", "multi-item-scoring-delimiter"])
def test_packing_is_asked_for_in_one_place(flag: str) -> None:
    said = refusal(seed(**{f"backends__pytorch__portable__flags__{flag}": True}))
    assert (
        f"backends.pytorch.portable.flags.{flag}: found True; allowed: nothing: multi_item" in said
    )


def test_a_commit_belongs_to_an_environment_that_takes_one() -> None:
    for source, commit in ((None, None), ({"commit": None}, None), ({"commit": COMMIT}, COMMIT)):
        raw = seed(backends__jax__launch__source=source)
        assert parse_contract(raw).backends["jax"].launch.commit == commit
    said = refusal(seed(backends__pytorch__launch__source={"commit": COMMIT}))
    assert said.startswith("params.yaml: backends.pytorch.launch.source: found ")


@pytest.mark.parametrize("commit", ["", "main", COMMIT[:12], COMMIT.upper(), 10**39])
def test_only_a_whole_commit_is_a_commit(commit: object) -> None:
    said = refusal(seed(backends__jax__launch__source={"commit": commit}))
    assert said.startswith("params.yaml: backends.jax.launch.source.commit: found ")


def test_a_misspelt_key_of_a_section_that_may_be_null_is_named() -> None:
    said = refusal(seed(backends__jax__launch__source={"comit": COMMIT}))
    assert "backends.jax.launch.source.comit: found 'an unknown key'" in said
    assert "did you mean 'commit'?" in said


def test_a_measurement_ends_with_that_line_before_anything_starts(tmp_path: Path) -> None:
    raw = seed(**{"backends__jax__portable__flags__multi-item-mask-impl": "auto"})
    (bare_folder(tmp_path) / "params.yaml").write_text(yaml.safe_dump(raw))
    before = sorted(tmp_path.iterdir())
    with inside(tmp_path):
        result = CliRunner().invoke(main, ["jax", "portable"])
    assert (result.exit_code, result.stdout) == (2, "")
    assert REASON in result.stderr
    assert len(result.stderr.splitlines()) == 1
    assert sorted(tmp_path.iterdir()) == before


@pytest.mark.parametrize("backend", ["jax", "pytorch"])
@pytest.mark.parametrize("view", ["portable", "best_native"])
def test_items_that_come_first_cannot_be_packed(backend: str, view: str) -> None:
    raw = raw_contract(workload__item_first=True)
    packed = {"delimiter_token_id": 9999, "mask_ignored": backend == "jax"}
    raw["backends"][backend][view]["multi_item"] = packed
    assert refusal(raw) == (
        "params.yaml: workloads.many.item_first: found True; allowed: false with"
        f" backends.{backend}.{view}.multi_item: the server computes the query first and ignores"
        " item_first, so it would score other prompts than the other servers and the oracle"
    )


@pytest.mark.parametrize("flag", ["multi-item-enable-prefill-extend", "enable-scoring-cache"])
def test_items_that_come_first_cannot_continue_a_kept_query(flag: str) -> None:
    raw = raw_contract(workload__item_first=True)
    raw["backends"]["jax"]["best_native"]["flags"][flag] = True
    assert f"false with backends.jax.best_native.flags.{flag}: the server computes" in refusal(raw)


def test_items_may_come_first_where_each_is_a_prompt_of_its_own() -> None:
    raw = raw_contract(workload__item_first=True)
    raw["backends"]["jax"]["best_native"]["flags"]["multi-item-enable-prefill-extend"] = False
    assert parse_contract(raw).workloads[WORKLOAD].item_first


def test_a_measurement_of_packed_items_that_come_first_starts_nothing(tmp_path: Path) -> None:
    raw = seed(workloads__seed__item_first=True)
    (bare_folder(tmp_path) / "params.yaml").write_text(yaml.safe_dump(raw))
    before = sorted(tmp_path.iterdir())
    with inside(tmp_path):
        result = CliRunner().invoke(main, ["pytorch", "portable"])
    assert (result.exit_code, result.stdout) == (2, "")
    assert "workloads.seed.item_first: found True; allowed: false with" in result.stderr
    assert len(result.stderr.splitlines()) == 1
    assert sorted(tmp_path.iterdir()) == before


ON_A_CPU = {"delimiter_token_id": 9999}


def on_a_cpu(view: str, multi_item: object, attention: object) -> dict[str, Any]:
    """The default contract with another attention in ``view`` of sglang-jax."""
    raw = raw_contract()
    section = raw["backends"]["jax"][view]
    section["multi_item"] = multi_item
    section["flags"]["attention-backend"] = attention
    if attention is ...:
        del section["flags"]["attention-backend"]
    return raw


@pytest.mark.parametrize("view", ["portable", "best_native"])
def test_an_attention_that_a_cpu_replaces_is_refused(view: str) -> None:
    assert refusal(on_a_cpu(view, None, "fa")) == (
        f"params.yaml: backends.jax.{view}.flags.attention-backend: found 'fa'; allowed: 'native':"
        " on cpu the server silently computes with it in any case"
    )
    parse_contract(on_a_cpu(view, None, "native"))


@pytest.mark.parametrize("view", ["portable", "best_native"])
@pytest.mark.parametrize("attention", ["native", "fa", ...])
def test_packed_items_that_would_see_each_other_are_refused_until_the_contract_says_so(
    view: str, attention: object
) -> None:
    said = refusal(on_a_cpu(view, ON_A_CPU, attention))
    assert said == (
        f"params.yaml: backends.jax.{view}.multi_item.mask_ignored: found False; allowed: true, to"
        " measure it all the same: attention native ignores the mask on cpu, so items see each"
        " other and their scores are wrong"
    )
    # The builds that pack start with `fa` alone, which is `native` on a CPU.
    parse_contract(on_a_cpu(view, ON_A_CPU | {"mask_ignored": True}, attention))


def test_no_mask_is_said_to_be_ignored_that_is_not() -> None:
    said = refusal(seed(backends__jax__portable__multi_item__mask_ignored=True))
    assert said.startswith("params.yaml: backends.jax.portable.multi_item.mask_ignored: found True")
    said = refusal(seed(backends__pytorch__portable__multi_item__mask_ignored=True))
    assert "backends.pytorch.portable.multi_item.mask_ignored: found True; allowed: false" in said


def test_a_native_attention_ignores_the_mask_on_a_tpu_too() -> None:
    said = refusal(packing("portable", attention_backend="native"))
    assert "multi_item.mask_ignored: found False; allowed: true" in said
    parse_contract(packing("portable", attention_backend="fa"))


# Upstream's own scripts set the delimiter, too, where the items continue a kept query.
CONTINUED = {"multi-item-enable-prefill-extend": True, "enable-scoring-cache": True}


def continued(multi_item: object, **flags: object) -> dict[str, Any]:
    """The default contract with a delimiter in a view whose items continue the kept query."""
    raw = on_a_cpu("best_native", multi_item, "fa")
    raw["backends"]["jax"]["best_native"]["flags"].update(CONTINUED | flags)
    return raw


def test_a_mask_that_nothing_uses_need_not_be_said_to_be_ignored() -> None:
    parse_contract(continued(ON_A_CPU))
    said = refusal(continued(ON_A_CPU | {"mask_ignored": True}))
    assert said.endswith(
        "multi_item.mask_ignored: found True; allowed: false: with these flags the server does"
        " not pack items"
    )
    # Switched off, the delimiter packs.
    said = refusal(continued(ON_A_CPU, **{"multi-item-enable-prefill-extend": False}))
    assert "mask_ignored: found False; allowed: true, to measure it all the same" in said
