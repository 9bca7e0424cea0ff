"""Named workloads: what is wrong with one is refused in one line that names it."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from contracts import ROOT, WORKLOAD, committed, raw_several, run_stage
from hypothesis import given
from hypothesis import strategies as st
from text_contracts import raw_text

from stages.common.errors import ContractError
from stages.contract import parse_contract

TWO: dict[str, Any] = {"few": {"items": 8, "query_tokens": 64}, "many": {"items": 32}}


def refused(raw: object) -> str:
    with pytest.raises(ContractError) as caught:
        parse_contract(raw)
    message = str(caught.value)
    assert message.startswith("params.yaml: ")
    assert "\n" not in message
    return message.removeprefix("params.yaml: ")


@pytest.mark.parametrize("name", ["a", "track_low", "r2-d2", "x" * 40])
def test_a_slug_names_a_workload(name: str) -> None:
    made = parse_contract(raw_several({name: {}}, mix={"all": {name: 2}}))
    assert list(made.workloads) == [name]
    assert made.mix == {"all": {name: 2.0}}


@pytest.mark.parametrize(
    "name",
    ["", "Many", "2much", "_x", "-x", "x" * 41, "a b", "a.b", "a/b", "../x", "näh", "a\n", "a\x00"],
)
def test_what_is_no_slug_names_no_workload_and_no_scenario(name: str) -> None:
    message = refused(raw_several({"few": {}, name: {}}))
    # A name that could be a key is written as one, any other as a text.
    key = f"workloads.{name}" if re.fullmatch(r"[\w-]+", name) else f"workloads[{name!r}]"
    assert message.startswith(f"{key}: found {name!r}; allowed: a name of small letters, digits,")
    message = refused(raw_several(TWO, mix={name: {"few": 1}}))
    assert message.startswith("mix")
    assert f"found {name!r}; allowed: a name of small letters" in message


@pytest.mark.parametrize("name", ["figures", "over_all_workloads", "uncommitted_changes"])
def test_a_name_of_something_else_in_the_results_is_refused(name: str) -> None:
    message = refused(raw_several({"few": {}, name: {}}))
    assert message.startswith(f"workloads.{name}: found {name!r}; allowed: another name: {name} ")


@pytest.mark.parametrize("name", [3, True, None, 1.5])
def test_a_name_is_text(name: object) -> None:
    raw = raw_several(TWO)
    raw["workloads"][name] = raw["workloads"].pop("few")
    message = refused(raw)
    assert message.startswith("workloads")
    assert message.endswith(f": found {name!r}; allowed: a valid string")


def test_a_workload_given_twice_is_refused_by_both_lines(tmp_path: Path) -> None:
    text = yaml.safe_dump(raw_several({"few": {"items": 4}}))
    (section,) = re.findall(r"^  few:\n(?:    .*\n)+", text, re.MULTILINE)
    (tmp_path / "params.yaml").write_text(text.replace(section, section * 2))
    done = run_stage(tmp_path, "workload")
    assert done.returncode == 1
    (line,) = done.stderr.splitlines()
    assert "'few' twice" in line
    assert not (tmp_path / "data").exists()


@pytest.mark.parametrize("none", [{}, None, [], "many", [{"kind": "drawn"}]])
def test_without_a_workload_there_is_nothing_to_measure(none: object) -> None:
    message = refused(committed() | {"workloads": none})
    assert message.startswith("workloads: found ")
    raw = committed()
    del raw["workloads"]
    assert refused(raw) == "workloads: found 'nothing'; allowed: this key is required"


def test_the_section_of_one_unnamed_workload_is_unknown() -> None:
    # As contracts had it before.
    raw = committed()
    raw["workload"] = raw["workloads"]["many"]
    assert refused(raw).startswith("workload: found 'an unknown key'; allowed: did you mean")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"kind": "dawn"}, "workloads.few.kind: found 'dawn'; allowed: 'drawn' or 'text'"),
        ({"kind": 3}, "workloads.few.kind: found 3; allowed: 'drawn' or 'text'"),
        ({"item": 3}, "workloads.few.item: found 'an unknown key'; allowed: did you mean 'items'?"),
        ({"items": 0}, "workloads.few.items: found 0"),
        ({"query_tokens": 8}, "workloads.few.query_tokens: found 8; allowed: at least 9"),
        ({"item_tokens": "8"}, "workloads.few.item_tokens: found '8'"),
        ({"label_token_ids": [5, 5]}, "workloads.few.label_token_ids[1]: found 5"),
        ({"label_token_ids": [16384]}, "workloads.few.label_token_ids[0]: found 16384"),
        ({"label_token_ids": [9999]}, "workloads.few.label_token_ids[0]: found 9999"),
        (
            {"label_token_ids": [5]},
            "workloads.few.apply_softmax: found True; allowed: false, or more label_token_ids",
        ),
    ],
)
def test_every_message_names_the_workload(changes: dict[str, Any], message: str) -> None:
    assert refused(raw_several({**TWO, "few": changes})).startswith(message)


def test_a_wrong_text_workload_is_named_too() -> None:
    raw = raw_text(label_texts=[" Yes"])
    raw["workloads"]["other"] = raw["workloads"].pop(WORKLOAD)
    assert refused(raw).startswith("workloads.other.label_texts: found [' Yes']")


@pytest.mark.parametrize(
    ("mix", "message"),
    [
        (
            {"busy": {"few": 1, "some": 2.5}},
            "mix.busy.some: found 2.5; allowed: a weight for one of the workloads: few, many",
        ),
        ({"busy": {}}, "mix.busy: found {}"),
        ({"busy": {"few": 0}}, "mix.busy.few: found 0"),
        ({"busy": {"few": -1}}, "mix.busy.few: found -1"),
        ({"busy": {"few": "1"}}, "mix.busy.few: found '1'"),
        ({"busy": {"few": True}}, "mix.busy.few: found True"),
        ({"busy": {"few": float("nan")}}, "mix.busy.few: found nan"),
        ({"busy": {"few": float("inf")}}, "mix.busy.few: found inf"),
        ({"busy": 3}, "mix.busy: found 3"),
        ([], "mix: found []"),
    ],
)
def test_a_mix_weighs_the_workloads_of_the_contract(mix: object, message: str) -> None:
    assert refused(raw_several(TWO, mix=mix)).startswith(message)


def test_a_contract_needs_no_mix() -> None:
    raw = raw_several(TWO)
    del raw["mix"]
    assert parse_contract(raw).mix == {}


@given(
    st.dictionaries(st.sampled_from(["a", "b", "c"]), st.integers(1, 60), min_size=1),
    st.lists(st.integers(1, 60), min_size=1, max_size=5, unique=True),
)
def test_every_workload_has_the_sizes_that_fit_it_and_all_its_items(
    items: dict[str, int], sizes: list[int]
) -> None:
    raw = raw_several({name: {"items": n} for name, n in items.items()}, chunk_sizes=sizes)
    largest = max(items.values())
    if min(sizes) > largest:
        message = refused(raw)
        start = f"chunk_sizes: found {sizes}; allowed: one or more from 1 to {largest} "
        assert message.startswith(start)
        named = re.search(r"\(workloads\.(\w)\.items\)$", message)
        assert named is not None
        assert items[named[1]] == largest
        return
    made = parse_contract(raw)
    for name, n in items.items():
        found = made.chunk_sizes_of(name)
        assert set(found) == {size for size in sizes if size <= n} | {n}
        assert len(found) == len(set(found))


def test_a_chunk_size_that_fits_one_workload_is_no_mistake() -> None:
    made = parse_contract(raw_several(TWO, chunk_sizes=[4, 32]))
    assert made.chunk_sizes_of("few") == [4, 8]
    assert made.chunk_sizes_of("many") == [4, 32]
    # So does one that fits none, as when the larger workload is taken out.
    made = parse_contract(raw_several(TWO, chunk_sizes=[4, 33]))
    assert made.chunk_sizes_of("many") == [4, 32]
    message = refused(raw_several(TWO, chunk_sizes=[33, 34]))
    allowed = "one or more from 1 to 32 (workloads.many.items)"
    assert message == f"chunk_sizes: found [33, 34]; allowed: {allowed}"


SERVERS_CHUNK = "multi-item-scoring-chunk-size"


def test_the_servers_own_chunk_holds_the_largest_workload() -> None:
    raw = raw_several(TWO)
    raw["backends"]["jax"]["portable"]["flags"][SERVERS_CHUNK] = 8
    message = refused(raw)
    assert message.startswith(f"backends.jax.portable.flags.{SERVERS_CHUNK}: found 8; allowed: ")
    assert "at least 32 (workloads.many.items)" in message
    raw["backends"]["jax"]["portable"]["flags"][SERVERS_CHUNK] = 32
    parse_contract(raw)


def test_items_that_come_first_are_refused_by_their_workload() -> None:
    raw = raw_several({"few": {"items": 8}, "many": {"item_first": True}})
    raw["backends"]["jax"]["best_native"]["flags"]["enable-scoring-cache"] = True
    assert refused(raw).startswith(
        "workloads.many.item_first: found True; allowed: false with"
        " backends.jax.best_native.flags.enable-scoring-cache: "
    )


@pytest.mark.parametrize("stage", ["workload", "oracle", "compare"])
def test_every_stage_ends_in_one_line_with_exit_code_2(stage: str, tmp_path: Path) -> None:
    raw = raw_several({**TWO, "few": {"items": 0}})
    (tmp_path / "params.yaml").write_text(yaml.safe_dump(raw))
    done = run_stage(tmp_path, stage)
    assert (done.returncode, done.stdout) == (2, "")
    (line,) = done.stderr.splitlines()
    assert line.startswith("error: params.yaml: workloads.few.items: found 0; allowed: ")
    assert not (tmp_path / "data").exists()


@pytest.mark.parametrize(
    "path", sorted((ROOT / "conf" / "contract").glob("*.yaml")), ids=lambda p: p.stem
)
def test_every_contract_of_the_project_names_its_workloads(path: Path) -> None:
    raw = yaml.safe_load(path.read_text())
    assert raw["workloads"]
    assert "workload" not in raw
