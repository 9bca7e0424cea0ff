"""The comparison holds codes and figures; the report has all words."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest
from test_decisions import TABLE

WORDED = re.compile(r"[A-Za-z]\S* [a-z]")
# Of people, servers and machines, not of `compare`.
FREE = {"unavailable", "detail", "title", "argv", "host", "backend_version", "devices", "method"}


def worded(node: object, path: tuple[str, ...] = ()) -> Iterator[tuple[str, str]]:
    """Every text of a document that reads like a sentence, and where it is."""
    if isinstance(node, dict):
        for key, value in node.items():
            if key not in FREE:
                yield from worded(value, (*path, key))
    elif isinstance(node, list):
        for value in node:
            yield from worded(value, path)
    elif isinstance(node, str) and WORDED.search(node):
        yield ".".join(path), node


@pytest.mark.parametrize("name", TABLE)
def test_no_text_of_the_comparison_is_a_sentence(name: str) -> None:
    comparison = TABLE[name].situation.compare()
    assert list(worded(comparison.model_dump(mode="json"))) == []


def test_a_sentence_would_be_found() -> None:
    assert list(worded({"winner": {"flags": ["JAX is unstable"]}})) == [
        ("winner.flags", "JAX is unstable")
    ]
