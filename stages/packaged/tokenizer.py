"""Converts a GGUF file's tokenizer to a ``tokenizer.json``, and texts to token ids."""

from __future__ import annotations

import json

from tokenizers import Tokenizer

from stages.common.errors import UserError
from stages.packaged.gguf_file import GgufFile

TOKENIZER_FILE = "tokenizer.json"

_CONTROL = 3
"""The token type of special tokens."""

# The pre-tokenizers, by their names in llama.cpp.
_CUTS = {
    "smollm": [
        {"type": "Digits", "individual_digits": True},
        {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True},
    ]
}


def tokenizer_json(file: GgufFile) -> bytes:
    """The ``tokenizer.json`` of a byte-level BPE tokenizer.

    The contract pins its bytes. They are written here and not by the ``tokenizers`` library, so
    that they do not change with the library's version.

    Raises:
        UserError: the tokenizer is of another kind.
    """
    model, cut = file.text("tokenizer.ggml.model"), file.text("tokenizer.ggml.pre")
    if model != "gpt2" or cut not in _CUTS:
        known = ", ".join(_CUTS)
        raise UserError(f"{file.path}: its tokenizer is {model}/{cut}; known: gpt2/{known}")
    tokens = file.texts("tokenizer.ggml.tokens")
    kinds = file.numbers("tokenizer.ggml.token_type")
    special = [i for i, kind in enumerate(kinds) if kind == _CONTROL]
    flags = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False}
    document = {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": [
            {"id": i, "content": tokens[i], **flags, "special": True} for i in special
        ],
        "normalizer": None,
        "pre_tokenizer": {"type": "Sequence", "pretokenizers": _CUTS[cut]},
        "post_processor": None,
        "decoder": {
            "type": "ByteLevel",
            "add_prefix_space": True,
            "trim_offsets": True,
            "use_regex": True,
        },
        "model": {
            "type": "BPE",
            "dropout": None,
            "unk_token": None,
            "continuing_subword_prefix": None,
            "end_of_word_suffix": None,
            "fuse_unk": False,
            "byte_fallback": False,
            "ignore_merges": False,
            "vocab": {token: i for i, token in enumerate(tokens)},
            "merges": [merge.split(" ") for merge in file.texts("tokenizer.ggml.merges")],
        },
    }
    return (json.dumps(document, ensure_ascii=False, separators=(",", ":")) + "\n").encode()


class TextTokenizer:
    """Texts as token ids, without added tokens."""

    def __init__(self, document: bytes) -> None:
        """Read a ``tokenizer.json``."""
        self._tokenizer = Tokenizer.from_str(document.decode())

    def encode(self, text: str) -> list[int]:
        """The token ids of ``text``. The text of a special token gives that token."""
        return list(self._tokenizer.encode(text, add_special_tokens=False).ids)

    def decode(self, ids: list[int]) -> str:
        """The text of ``ids``, special tokens included."""
        return str(self._tokenizer.decode(ids, skip_special_tokens=False))
