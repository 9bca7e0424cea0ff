"""A tokenizer from a GGUF file loses no text and cuts it as byte-level BPE does."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from packages import NO, SPECIAL, TOKENS, YES, tiny_weights, write_gguf

from stages.common.errors import UserError
from stages.packaged.gguf_file import GgufFile
from stages.packaged.tokenizer import TextTokenizer, tokenizer_json


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> GgufFile:
    path = tmp_path_factory.mktemp("gguf") / "tiny.gguf"
    write_gguf(path, tiny_weights())
    return GgufFile(path)


@pytest.fixture(scope="module")
def tokenizer(file: GgufFile) -> TextTokenizer:
    return TextTokenizer(tokenizer_json(file))


@given(text=st.text())
def test_any_text_comes_back_as_it_was(tokenizer: TextTokenizer, text: str) -> None:
    assert tokenizer.decode(tokenizer.encode(text)) == text


def test_hand_worked_examples(tokenizer: TextTokenizer) -> None:
    def tokens(text: str) -> list[str]:
        return [TOKENS[i] for i in tokenizer.encode(text)]

    assert tokenizer.encode(" Yes") == [YES]
    assert tokenizer.encode(" No") == [NO]
    assert tokens("Yes") == ["Y", "es"], "nothing is put in front"
    assert tokens("12") == ["1", "2"], "digits stand alone, whatever the merges"
    assert tokens("é\n") == ["Ã", "©", "Ċ"], "bytes, not letters"


def test_special_tokens_are_found_anywhere_and_nothing_is_trimmed(tokenizer: TextTokenizer) -> None:
    text = f"  {SPECIAL[1]} a{SPECIAL[2]}"
    assert tokenizer.encode(text) == [
        *tokenizer.encode("  "),
        1,
        *tokenizer.encode(" a"),
        2,
    ]
    assert tokenizer.decode(tokenizer.encode(text)) == text
    assert 1 not in tokenizer.encode(SPECIAL[1].upper()), "special tokens are not normalised"


def test_a_tokenizer_of_another_kind_is_refused(tmp_path: Path) -> None:
    write_gguf(tmp_path / "other.gguf", tiny_weights(), pre="qwen2")
    with pytest.raises(UserError, match=r"its tokenizer is gpt2/qwen2; known: gpt2/smollm"):
        tokenizer_json(GgufFile(tmp_path / "other.gguf"))
