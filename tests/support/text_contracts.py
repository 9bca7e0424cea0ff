"""A contract whose workload is text, and the tiny package whose tokenizer reads it."""

from __future__ import annotations

from typing import Any

from contracts import raw_contract
from packages import NO, PACKAGE, TOKENS, VERSION, YES

MODEL = {"kind": "packaged", "package": PACKAGE, "version": VERSION, "head_dim": 8}
TEXT: dict[str, Any] = {
    "kind": "text",
    "seed": 7,
    "tokenizer": {"package": PACKAGE, "version": VERSION, "sha256": "0" * 64},
    "query_text": "Is it red?\n\n",
    "item_texts": ["A rose:", "The sky:", "A stop sign, mostly:"],
    "label_texts": [" Yes", " No"],
    "label_token_ids": [YES, NO],
    "apply_softmax": True,
    "item_first": False,
}
VOCABULARY = {
    "size": len(TOKENS),
    "first_ordinary": 3,
    "end_ordinary": len(TOKENS),
    "reserved_token_ids": [0, 2, TOKENS.index("Q")],
}


def raw_text(**changes: Any) -> dict[str, Any]:
    """A contract with the texts above, changed."""
    return raw_contract(
        model={**MODEL, "sha256": "0" * 64},
        vocabulary=VOCABULARY,
        workload={**TEXT, **changes},
        chunk_sizes=[1],
    )
