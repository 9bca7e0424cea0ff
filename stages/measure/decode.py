"""What one answer to ``POST /v1/score`` is worth: its scores, or the reason it has none.

Pure, and inside the clock: 500 answers of one item or one answer of 500 items a pass.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from itertools import chain
from typing import Any

from pydantic_core import from_json

from stages.schema import ROW_SUM_TOLERANCE, Status

DETAIL_CHARACTERS = 200

# Enough for any traceback; a longer body is not searched to its end.
_SEARCHED_BYTES = 1 << 20
_OUT_OF_MEMORY = re.compile(
    rb"out[ _-]?of[ _-]?memory|resource_exhausted|not enough memory"
    rb"|can(?:not|'t) allocate memory|\bMemoryError\b",
    re.IGNORECASE,
)


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
        return _failed("bad_json", f"the answer is not JSON: {error}")
    if type(answer) is not dict:
        return _failed("bad_json", f"the answer is {_kind(answer)}, not an object")
    rows: Any = answer.get("scores")
    fault = _shape_fault(rows, item_count, labels)
    if fault is not None:
        said = _server_message(answer)
        return _failed("wrong_shape", f"{fault} ({said})" if said else fault)
    fault = _value_fault(rows, apply_softmax)
    if fault is not None:
        return _failed("bad_score", fault)
    return Decoded("ok", "", list(map(float, chain.from_iterable(rows))))


def one_line(text: str) -> str:
    """``text`` as one printable line of at most 200 characters."""
    # Cut before cleaning: a server may answer with megabytes.
    text = text[: 20 * DETAIL_CHARACTERS]
    line = " ".join("".join(c if c.isprintable() else " " for c in text).split())
    return line if len(line) <= DETAIL_CHARACTERS else line[: DETAIL_CHARACTERS - 1] + "…"


def _failed(status: Status, detail: str) -> Decoded:
    return Decoded(status, one_line(detail), None)


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
    try:
        answer = from_json(body)
    except ValueError:
        answer = None
    text = body[: 20 * DETAIL_CHARACTERS].decode("utf-8", "replace")
    said = _server_message(answer) or text
    detail = f"HTTP {status}: {said}" if said.strip() else f"HTTP {status}"
    if status >= 400 and _OUT_OF_MEMORY.search(body, 0, _SEARCHED_BYTES):
        return _failed("oom", detail)
    # No kind exists for a redirect or an empty success. Like a 4xx they are the server's
    # refusal to score this request as it stands; the detail gives the number.
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
