"""Validates an answer to ``POST /v1/score``: its scores, or the reason it has none.

This runs inside the clock, up to 500 times a pass.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import chain
from typing import Any

from pydantic_core import from_json

from stages.common.errors import DETAIL_CHARACTERS, one_line
from stages.documents.matrix import ROW_SUM_TOLERANCE, Status
from stages.measure.out_of_memory import looks_out_of_memory

# Enough for any traceback; a longer body is not searched to its end.
_SEARCHED_BYTES = 1 << 20

# More than any request has. The sum over a pass fits the matrix's column.
_MOST_TOKENS = 1 << 40

_BYTES_PER_SCORE = 64
_BYTES_BESIDE_SCORES = 1 << 20

# An answer that is compressed although the request forbids it, by its first bytes.
_COMPRESSED = {b"\x1f\x8b": "gzip", b"\x28\xb5\x2f\xfd": "zstd"}


@dataclass(frozen=True, slots=True)
class Decoded:
    """One validated answer.

    Attributes:
        status: ``ok`` or the failure kind.
        detail: what is wrong, in one printable line of at most 200 characters; empty
            when ``ok``.
        scores: item_count x labels, item by item; ``None`` unless ``ok``.
    """

    status: Status
    detail: str
    scores: list[float] | None


def decode_scores(
    status: int, body: bytes, item_count: int, labels: int, apply_softmax: bool
) -> Decoded:
    """Validate one answer and flatten its scores.

    Args:
        status: the HTTP status.
        body: the answer's bytes, whatever they are.
        item_count: items in the request, one row of scores each.
        labels: scores per row.
        apply_softmax: whether every row must sum to 1.

    Returns:
        The scores, or the first fault found: status, JSON, shape, then values. Never
        raises, on any bytes.
    """
    if status != 200:
        return _refused(status, body)
    try:
        answer = from_json(body)
    except ValueError as error:
        return _failed("bad_json", _json_fault(body, error))
    if type(answer) is not dict:
        return _failed("bad_json", f"the answer is {_kind(answer)}, not an object")
    rows: Any = answer.get("scores")
    # A parser keeps the last of two members with one name, so an answer with two is ambiguous.
    # (The search starts at the next quote: finding one byte is ten times as fast as several.)
    rest = body.find(b'"', body.find(b'scores"') + len(b'scores"'))
    if rest >= 0 and body.find(b'scores"', rest) >= 0 and _twice(body, "scores"):
        return _failed("bad_json", "the answer holds scores twice")
    scores = _good_scores(rows, item_count, labels, apply_softmax)
    if scores is not None:
        return Decoded("ok", "", scores)
    fault = _shape_fault(rows, item_count, labels)
    if fault is not None:
        message = _server_message(answer)
        kind: Status = "oom" if looks_out_of_memory(message) else "wrong_shape"
        return _failed(kind, f"{fault} ({message})" if message else fault)
    fault = _value_fault(rows, apply_softmax)
    if fault is not None:
        return _failed("bad_score", fault)
    return Decoded("ok", "", list(map(float, chain.from_iterable(rows))))


def reported_cached_tokens(answers: Iterable[bytes]) -> int | None:
    """Prompt tokens from the server's prefix cache, by the ``usage`` field of the answers.

    Call it outside the clock: it parses each answer that holds the field once more.

    Args:
        answers: bodies of answers of one pass.

    Returns:
        Their sum over the answers that report them; ``None`` where none does.
    """
    reported = [
        tokens
        for body in answers
        if b"cached_tokens" in body and (tokens := _cached_tokens(body)) is not None
    ]
    return sum(reported) if reported else None


def _cached_tokens(body: bytes) -> int | None:
    value: Any = _parsed(body)
    for key in ("usage", "prompt_tokens_details", "cached_tokens"):
        value = value.get(key) if type(value) is dict else None
    return value if type(value) is int and 0 <= value <= _MOST_TOKENS else None


def _parsed(body: bytes) -> Any:
    try:
        return from_json(body)
    except ValueError:
        return None


def answer_bound(item_count: int, labels: int) -> int:
    """Bound on the bytes of an answer to ``item_count`` items: three times what servers send."""
    return _BYTES_BESIDE_SCORES + _BYTES_PER_SCORE * item_count * labels


def _failed(status: Status, detail: str) -> Decoded:
    return Decoded(status, one_line(detail), None)


def _json_fault(body: bytes, error: ValueError) -> str:
    for magic, name in _COMPRESSED.items():
        if body.startswith(magic):
            return f"the answer is compressed ({name}), which was not asked for"
    return f"the answer of {len(body)} bytes is not JSON: {error}"


def _twice(body: bytes, name: str) -> bool:
    """Whether the outermost object of a JSON document has two members of one name."""
    members: list[tuple[str, Any]] = []

    def keep(pairs: list[tuple[str, Any]]) -> None:
        members[:] = pairs  # the outermost object is the last to end

    try:
        json.loads(body, object_pairs_hook=keep)
    except (ValueError, RecursionError):
        return False
    return sum(1 for member, _ in members if member == name) > 1


def _good_scores(rows: Any, item_count: int, labels: int, softmax: bool) -> list[float] | None:
    """The scores, item by item, if all are floats without a fault: the usual answer, in one pass.

    ``None`` says nothing about the fault, or whether there is one: ``_shape_fault`` and
    ``_value_fault`` do.
    """
    if type(rows) is not list or len(rows) != item_count:
        return None
    scores: list[float] = []
    for row in rows:
        if type(row) is not list or len(row) != labels:
            return None
        for score in row:
            if type(score) is not float or not 0.0 <= score <= 1.0:
                return None
        if softmax and abs(sum(row) - 1.0) > ROW_SUM_TOLERANCE:
            return None
        scores += row
    return scores


def _shape_fault(rows: Any, item_count: int, labels: int) -> str | None:
    if type(rows) is not list:
        return "no scores" if rows is None else f"scores is {_kind(rows)}, not a list"
    if len(rows) != item_count:
        return f"scores for {len(rows)} items, not {item_count}"
    for i, row in enumerate(rows):
        if type(row) is not list:
            return f"item {i}: {_kind(row)}, not a list of scores"
        if len(row) != labels:
            return f"item {i}: {len(row)} scores, not {labels}"
        for score in row:
            # By exact type: a bool is an int to isinstance, and no score.
            if type(score) is not float and type(score) is not int:
                return f"item {i}: {_kind(score)}, not a number"
    return None


def _value_fault(rows: list[list[float]], apply_softmax: bool) -> str | None:
    for i, row in enumerate(rows):
        for score in row:
            # NaN fails both comparisons.
            if not 0.0 <= score <= 1.0:
                return f"item {i}: score {score} is not in [0, 1]"
        if apply_softmax and abs(sum(row) - 1.0) > ROW_SUM_TOLERANCE:
            return f"item {i}: scores sum to {sum(row):.6f}, not 1"
    return None


def _refused(status: int, body: bytes) -> Decoded:
    answer = _parsed(body)
    text = body[: 20 * DETAIL_CHARACTERS].decode("utf-8", "replace")
    message = _server_message(answer) or text
    detail = f"HTTP {status}: {message}" if message.strip() else f"HTTP {status}"
    if status >= 400 and looks_out_of_memory(body[:_SEARCHED_BYTES].decode("utf-8", "replace")):
        return _failed("oom", detail)
    # A redirect or an empty success has no kind of its own. Like a 4xx, the server does not score
    # this request. The detail holds the status.
    return _failed("http_5xx" if status >= 500 else "http_4xx", detail)


def _server_message(answer: Any) -> str:
    """The error text in the shapes the two servers and FastAPI use; empty if there is none."""
    if type(answer) is not dict:
        return ""
    for key in ("error", "message", "detail"):
        value = answer.get(key)
        if type(value) is dict:
            value = value.get("message")
        if type(value) is str:
            return value
    return ""


def _kind(value: Any) -> str:
    """``value``'s JSON type, with its article."""
    if value is None:
        return "null"
    names = {dict: "an object", list: "a list", str: "a string", bool: "a boolean"}
    return names.get(type(value), "a number")
