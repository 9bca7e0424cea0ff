"""Whatever bytes come back, a call ends in valid scores or in exactly one kind of failure."""

from __future__ import annotations

import json
import math
import socket
import threading
from contextlib import suppress
from typing import Any, get_args

from hypothesis import given, settings
from hypothesis import strategies as st
from patience import PATIENCE_S

from stages.documents.matrix import ROW_SUM_TOLERANCE, Status
from stages.measure.http.client import CallFailed, ScoreConnection
from stages.measure.http.decode import Decoded, decode_scores

LITERALS = ["NaN", "Infinity", "-Infinity", "-0.0", "1e999", "9" * 400, "9" * 5000, "null", "true"]
TEXTS = ['"0.5"', '"\\ud800"', '"\\u0000"', "[]", "{}", "[[0.5]]", "[" * 3000]


def check(decoded: Decoded, items: int, labels: int, softmax: bool) -> None:
    assert decoded.status in get_args(Status.__value__)
    assert decoded.detail.isprintable()
    assert len(decoded.detail) <= 200
    if decoded.status != "ok":
        assert decoded.scores is None
        assert decoded.detail
        return
    assert decoded.detail == ""
    assert decoded.scores is not None
    assert len(decoded.scores) == items * labels
    for at in range(0, len(decoded.scores), labels):
        row = decoded.scores[at : at + labels]
        assert all(type(score) is float and 0 <= score <= 1 for score in row)
        assert not softmax or abs(math.fsum(row) - 1) <= ROW_SUM_TOLERANCE + 1e-12


@st.composite
def good_answers(draw: st.DrawFn) -> tuple[bytes, int, int]:
    """An answer as the servers send it, its items and its labels."""
    items, labels = draw(st.integers(1, 4)), draw(st.integers(1, 3))
    rows = []
    for _ in range(items):
        weights = draw(st.lists(st.floats(0.01, 1), min_size=labels, max_size=labels))
        rows.append([weight / math.fsum(weights) for weight in weights])
    answer: dict[str, Any] = {"scores": rows, "model": "default", "usage": {"prompt_tokens": 7}}
    return json.dumps(answer).encode(), items, labels


@st.composite
def mutated_answers(draw: st.DrawFn) -> tuple[bytes, int, int]:
    """A good answer with a few things done to it."""
    body, items, labels = draw(good_answers())
    for _ in range(draw(st.integers(1, 3))):
        at = draw(st.integers(0, len(body)))
        match draw(st.integers(0, 5)):
            case 0:
                body = body[:at]
            case 1:
                body = body[:at] + draw(st.binary(max_size=4)) + body[at:]
            case 2:
                body = body[:at] + bytes([draw(st.integers(0, 255))]) + body[at + 1 :]
            case 3:
                end = draw(st.integers(at, len(body)))
                body = body[:at] + body[at:end] * 2 + body[end:]
            case 4:
                new = draw(st.sampled_from(LITERALS + TEXTS)).encode()
                comma = body.find(b",", at)
                body = body[:at] + new + body[comma if comma >= 0 else len(body) :]
            case _:
                body = body[:-1] + b',"scores":' + draw(st.sampled_from(LITERALS)).encode() + b"}"
    return body, items, labels


@given(good_answers(), st.booleans())
def test_a_good_answer_is_ok(answer, softmax) -> None:
    body, items, labels = answer
    decoded = decode_scores(200, body, items, labels, softmax)
    assert decoded.status == "ok"
    check(decoded, items, labels, softmax)


@settings(max_examples=2000)
@given(mutated_answers(), st.booleans(), st.sampled_from([200, 200, 200, 400, 500, 503, 302, 999]))
def test_a_mutated_answer_is_valid_scores_or_one_failure(answer, softmax, status) -> None:
    body, items, labels = answer
    check(decode_scores(status, body, items, labels, softmax), items, labels, softmax)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
)


@settings(max_examples=500)
@given(
    st.binary() | json_values.map(lambda value: json.dumps({"scores": value}).encode()),
    st.integers(1, 3),
    st.integers(1, 3),
    st.booleans(),
    st.integers(100, 999) | st.just(200),
)
def test_any_bytes_and_any_json_are_valid_scores_or_one_failure(
    body, items, labels, softmax, status
) -> None:
    check(decode_scores(status, body, items, labels, softmax), items, labels, softmax)


HEADS = [
    b"HTTP/1.1 200 OK\r\n",
    b"HTTP/1.1 500 X\r\n",
    b"HTTP/1.0 200\r\n",
    b"Content-Length: 7\r\n",
    b"Content-Length: 99999999999999999999\r\n",
    b"Content-Length: 1e3\r\n",
    b"Transfer-Encoding: chunked\r\n",
    b"Transfer-Encoding: gzip, chunked\r\n",
    b"Content-Encoding: gzip\r\n",
    b"Connection: close\r\n",
    b"Set-Cookie: \xff\r\n",
    b"\r\n",
    b"7\r\n",
    b"-7\r\n",
    b"0\r\n\r\n",
    b'{"scores":[[0.5,0.5]]}',
    b"HTTP/1.1 100 Continue\r\n\r\n",
    b"HTTP/1.1 101 Switching Protocols\r\n\r\n",
]


def one_answer(listener: socket.socket, data: bytes) -> None:
    sock, _ = listener.accept()
    # A client that has heard enough hangs up.
    with sock, suppress(OSError):
        sock.settimeout(PATIENCE_S)
        sock.recv(1 << 16)
        sock.sendall(data)
        sock.shutdown(socket.SHUT_WR)
        while sock.recv(1 << 16):
            pass


@settings(max_examples=300)
@given(st.lists(st.sampled_from(HEADS) | st.binary(max_size=12), max_size=8).map(b"".join))
def test_any_bytes_on_the_wire_are_an_answer_or_one_failure(data) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        answering = threading.Thread(target=one_answer, args=(listener, data))
        answering.start()
        port = listener.getsockname()[1]
        with ScoreConnection(f"http://127.0.0.1:{port}", PATIENCE_S) as connection:
            decoded = score(connection)
            check(decoded, 1, 2, True)
            assert decoded.status != "timeout"
        answering.join()


def score(connection: ScoreConnection) -> Decoded:
    try:
        reply = connection.send(connection.prepare(b"{}", max_answer_bytes=4096))
    except CallFailed as failure:
        return Decoded(failure.kind, failure.detail, None)
    return decode_scores(reply.status, reply.body, 1, 2, True)
