"""Characters of the contract's texts; a refused one is named by place, code point and name."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from contracts import WORKLOAD, raw_contract
from dvc.utils.serialize import dumps_yaml
from hypothesis import given
from hypothesis import strategies as st
from text_contracts import raw_text

from stages.common.errors import ContractError
from stages.contract import TextWorkload, load_contract, parse_contract
from stages.contract.characters import name_of, unfit

REAL = {
    "a tab": "name\tvalue",
    "several lines": "a\n\nb\n",
    "a no-break space": "10\u00a0km",
    "a narrow no-break space": "12\u202f000 €",
    "an ideographic space": "日本\u3000語",
    "a soft hyphen": "Donau\u00addampf",
    "an emoji of several": "👩\u200d🔬 ❤\ufe0f 🏴\U000e0067\U000e0062\U000e007f",
    "a joiner of a script": "می\u200cروم",
    "a mark of direction": "שלום\u200f!",
    "a zero width space": "ภาษา\u200bไทย",
    "a private character": "\uf8ff",
    "a character newer than this Python": "\U0001facf",
    "accents apart": "e\u0301",
}


@pytest.mark.parametrize("text", REAL.values(), ids=REAL)
def test_real_text_is_taken_and_reaches_the_workload_unchanged(tmp_path: Path, text: str) -> None:
    texts = {"query_text": text, "item_texts": ["x", text], "label_texts": [text, " No"]}
    path = tmp_path / "params.yaml"
    path.write_text(dumps_yaml(raw_text(**texts)), "utf-8")
    workload = load_contract(path).workloads[WORKLOAD]
    assert isinstance(workload, TextWorkload)
    assert {name: getattr(workload, name) for name in texts} == texts


@pytest.mark.parametrize(
    ("character", "name"),
    [
        ("\0", "U+0000 NULL"),
        ("\x01", "U+0001 a control character"),
        ("\x08", "U+0008 BACKSPACE"),
        ("\r", "U+000D CARRIAGE RETURN"),
        ("\x1b", "U+001B ESCAPE"),
        ("\x7f", "U+007F DELETE"),
        ("\x85", "U+0085 NEXT LINE"),
        ("\ud800", "U+D800 a lone surrogate"),
        ("\u202e", "U+202E RIGHT-TO-LEFT OVERRIDE"),
        ("\u2066", "U+2066 LEFT-TO-RIGHT ISOLATE"),
        ("\u2028", "U+2028 LINE SEPARATOR"),
        ("\ufeff", "U+FEFF ZERO WIDTH NO-BREAK SPACE"),
        ("\ufffe", "U+FFFE no character"),
        ("\U0010ffff", "U+10FFFF no character"),
        ("\ufdd0", "U+FDD0 no character"),
    ],
)
@pytest.mark.parametrize("key", ["query_text", "item_texts", "label_texts"])
def test_what_no_text_means_is_refused_with_its_name_and_its_place(
    key: str, character: str, name: str
) -> None:
    text = f"a line\nand fo{character}ur more"
    found = text if key == "query_text" else ["x", text]
    where = key if key == "query_text" else f"{key}[1]"
    with pytest.raises(ContractError) as caught:
        parse_contract(raw_text(**{key: found}))
    said = str(caught.value)
    assert said.startswith(f"params.yaml: workloads.{WORKLOAD}.{where}: found ")
    assert "; allowed: text" in said
    assert said.endswith(f"; line 2, character 7 is {name}")
    assert said.isprintable()


@pytest.mark.parametrize(
    ("changes", "key"),
    [
        ({"identity__target": "my\u00a0target"}, "identity.target"),
        ({"backends__jax__unavailable": "no\u00a0quota"}, "backends.jax.unavailable"),
        ({"backends__jax__launch__environ": {"A": "x\u00a0y"}}, "backends.jax.launch.environ.A"),
        ({"backends__jax__launch__entry": ["-m", "a.\u00a0b"]}, "backends.jax.launch.entry[1]"),
        (
            {"backends__jax__best_native__flags": {"x-y": "x\u00a0y"}},
            "backends.jax.best_native.flags.x-y",
        ),
    ],
)
def test_a_character_that_one_line_cannot_hold_is_named_too(changes: dict, key: str) -> None:
    with pytest.raises(ContractError) as caught:
        parse_contract(raw_contract(**changes))
    said = str(caught.value)
    assert said.startswith(f"params.yaml: {key}: found ")
    assert "; character " in said
    assert said.endswith(" is U+00A0 NO-BREAK SPACE")


@given(st.text())
def test_a_text_is_fit_or_the_place_named_is_of_a_character_that_is_not(text: str) -> None:
    found = unfit(text)
    if found is None:
        assert all(unfit(character) is None for character in text)
        return
    line, character = (int(word) for word in found.replace(",", "").split()[1:4:2])
    culprit = text.split("\n")[line - 1][character - 1]
    assert found.endswith(f" is {name_of(culprit)}")
    assert unfit(culprit) is not None


def test_every_code_point_has_a_name_on_one_line() -> None:
    assert all(name_of(chr(point)).isprintable() for point in range(0, sys.maxunicode, 7))
