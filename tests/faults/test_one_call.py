"""Every fault of one call ends in its own kind, in one short line, in time and in little memory.

Each server is a real one on loopback. A call is what a measurement sends: prepared, sent,
decoded; so what is checked is what stands in a matrix.
"""

from __future__ import annotations

import gzip
import json
import sys
import time
import tracemalloc
from dataclasses import dataclass

import pytest
from misbehaving import (
    Behaviour,
    Late,
    Pours,
    closes,
    drips,
    hangs,
    http,
    misbehaving,
    refused_url,
    resets,
    says,
)
from patience import PATIENCE_S

from stages.measure.http.client import CallFailed, ScoreConnection
from stages.measure.http.decode import Decoded, answer_bound, decode_scores

SHORT_S = 1.0
ITEMS, LABELS = 3, 2
GOOD = b'{"scores":[[0.25,0.75],[0.5,0.5],[1,0]]}'
CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
BOUND = answer_bound(ITEMS, LABELS)


def score(connection: ScoreConnection, bound: int = BOUND) -> Decoded:
    """One call as a measurement makes it."""
    call = connection.prepare(b'{"query":[1]}', max_answer_bytes=bound)
    try:
        reply = connection.send(call)
    except CallFailed as failure:
        return Decoded(failure.kind, failure.detail, None)
    return decode_scores(reply.status, reply.body, ITEMS, LABELS, True)


@dataclass
class Case:
    """What a server does, how the call ends, and words its line holds."""

    behaviour: Behaviour
    kind: str
    words: str


def scores(rows: object) -> Behaviour:
    return says(http(json.dumps({"scores": rows}).encode()))


def raw(text: str) -> Behaviour:
    return says(http(text.encode()))


def refusal(status: int, body: bytes, headers: str = "") -> Behaviour:
    return says(http(body, status, headers))


FULL = b'{"object":"error","message":"the queue is full","code":503}'
OOM = b'{"error":{"message":"CUDA out of memory. Tried to allocate 2.00 GiB."}}'
BOMB = gzip.compress(b" " * (64 << 20))
NESTED = b'{"scores":' + b"[" * 200_000 + b"]" * 200_000 + b"}"
DIGITS = "9" * 400

CASES = {
    # Silence.
    "accepts and never answers": Case(hangs, "timeout", "no whole answer in 1 s"),
    "half an answer, then silence": Case(
        says(http(GOOD[:20], length=40)), "timeout", "no whole answer in 1 s"
    ),
    "a byte a moment": Case(
        drips(http(GOOD + b" " * 4000), 0.1), "timeout", "no whole answer in 1 s"
    ),
    "a byte of the head a moment": Case(
        drips(b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 999, 0.1), "timeout", "no whole answer"
    ),
    # A broken connection.
    "closes without a word": Case(closes, "connection_error", "closed without an answer"),
    "resets at once": Case(resets(b""), "connection_error", "reset"),
    "resets in the middle": Case(
        resets(http(GOOD[:20], length=40)), "connection_error", "reset by peer"
    ),
    "half an answer, then closes": Case(
        says(http(GOOD[:20], length=40), stays_open=False), "connection_error", "not a whole"
    ),
    # Not HTTP.
    "another protocol": Case(says(b"SSH-2.0-x\r\n\r\n"), "connection_error", "not a whole HTTP"),
    "chunked garbage": Case(says(CHUNKED + b"zz\r\n?"), "connection_error", "not a whole HTTP"),
    "two lengths": Case(
        says(b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\nContent-Length: 5\r\n\r\nabcde"),
        "connection_error",
        "Content-Length",
    ),
    "a negative length": Case(
        says(b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n"), "connection_error", "not a whole"
    ),
    "a head without end": Case(
        Pours(b"HTTP/1.1 200 OK\r\n", b"X-Flood: " + b"y" * 500 + b"\r\n"),
        "connection_error",
        "not a whole HTTP answer",
    ),
    "interim answers without end": Case(
        Pours(b"", b"HTTP/1.1 100 Continue\r\n\r\n" * 100),
        "connection_error",
        "framing without end",
    ),
    "framing without end": Case(
        Pours(CHUNKED, (b"1;" + b"x" * 1000 + b"\r\n" + b"y\r\n") * 50),
        "connection_error",
        "framing without end",
    ),
    "an answer in pieces of one byte": Case(
        Pours(CHUNKED, b"1\r\n \r\n" * 5000), "connection_error", "framing without end"
    ),
    # Status.
    "too many requests": Case(refusal(429, b"", "Retry-After: 120\r\n"), "http_4xx", "HTTP 429"),
    "too many requests, in words": Case(
        refusal(429, b'{"detail":"slow down"}', "Retry-After: 1\r\n"),
        "http_4xx",
        "HTTP 429: slow down",
    ),
    "an internal error": Case(refusal(500, b""), "http_5xx", "HTTP 500"),
    "an internal error as a page": Case(
        refusal(500, b"<html>\r\n<body>Oops</body>"), "http_5xx", "HTTP 500: <html> <body>Oops"
    ),
    "unavailable": Case(
        refusal(503, FULL, "Retry-After: 120\r\n"), "http_5xx", "HTTP 503: the queue is full"
    ),
    "an error of 100 MB": Case(
        Pours(b"HTTP/1.1 500 X\r\nContent-Length: 104857600\r\n\r\n", b"e" * 10_000),
        "http_5xx",
        "HTTP 500: eeee",
    ),
    "a redirect": Case(
        refusal(302, b"", f"Location: {refused_url()}/v1/score\r\n"), "http_4xx", "HTTP 302"
    ),
    "out of memory": Case(refusal(500, OOM), "oom", "CUDA out of memory"),
    "out of memory, told with 200": Case(says(http(OOM)), "oom", "CUDA out of memory"),
    # Too much.
    "100 MB of JSON": Case(
        Pours(b"HTTP/1.1 200 OK\r\nContent-Length: 104857600\r\n\r\n", b"[0.5,0.5]," * 1000),
        "bad_json",
        f"larger than {BOUND} bytes (it announces 104857600), it begins '[0.5,0.5],",
    ),
    "JSON without end": Case(
        Pours(CHUNKED, b"400\r\n" + b"0.12345," * 128 + b"\r\n"),
        "bad_json",
        f"larger than {BOUND} bytes (its length is not announced)",
    ),
    "a gzip bomb": Case(
        says(http(BOMB, headers="Content-Encoding: gzip\r\n")), "bad_json", "compressed (gzip)"
    ),
    "a gzip bomb in disguise": Case(says(http(BOMB)), "bad_json", "compressed (gzip)"),
    "scores said to be compressed": Case(
        says(http(GOOD, headers="content-encoding: br\r\n")), "bad_json", "compressed (br)"
    ),
    "lists in lists in lists": Case(says(http(NESTED)), "bad_json", "not JSON"),
    # Not JSON.
    "nothing": Case(says(http(b"")), "bad_json", "the answer of 0 bytes is not JSON"),
    "less than it has": Case(says(http(GOOD, length=20)), "bad_json", "of 20 bytes is not JSON"),
    "not UTF-8": Case(says(http(b'{"scores":"\xff\xfe\x80"}')), "bad_json", "not JSON"),
    "NUL bytes": Case(says(http(b"\0" * 100)), "bad_json", "not JSON"),
    "a NUL behind the scores": Case(says(http(GOOD + b"\0")), "bad_json", "not JSON"),
    "scores twice": Case(
        raw('{"scores":[[0.5,0.5],[0.5,0.5],[0.5,0.5]],' + GOOD.decode()[1:]),
        "bad_json",
        "scores twice",
    ),
    "a number of 5,000 digits": Case(
        raw(f'{{"scores":[[{"9" * 5000},0],[0.5,0.5],[1,0]]}}'), "bad_json", "not JSON"
    ),
    # The wrong shape.
    "the answer to another request": Case(
        scores([[0.5, 0.5]] * 5), "wrong_shape", "scores for 5 items, not 3"
    ),
    "no scores": Case(raw("{}"), "wrong_shape", "no scores"),
    "scores as text": Case(
        scores([["0.5", "0.5"]] * 3), "wrong_shape", "item 0: a string, not a number"
    ),
    "scores as truth values": Case(
        scores([[1, 0], [True, False], [1, 0]]), "wrong_shape", "item 1: a boolean, not a number"
    ),
    "scores that are null": Case(
        scores([[1, 0], [1, 0], [None, 1]]), "wrong_shape", "item 2: null, not a number"
    ),
    "a label too many": Case(
        scores([[1, 0], [0.5, 0.25, 0.25], [1, 0]]), "wrong_shape", "item 1: 3 scores, not 2"
    ),
    # Numbers that are no scores.
    "NaN": Case(raw('{"scores":[[NaN,1],[1,0],[1,0]]}'), "bad_score", "item 0: score nan"),
    "infinity": Case(raw('{"scores":[[1,0],[Infinity,0],[1,0]]}'), "bad_score", "score inf"),
    "infinity by overflow": Case(raw('{"scores":[[1,0],[1e999,0],[1,0]]}'), "bad_score", "inf"),
    "a number of 400 digits": Case(
        raw(f'{{"scores":[[1,0],[1,0],[{DIGITS},0]]}}'), "bad_score", "item 2: score 99999"
    ),
    "less than nothing": Case(raw('{"scores":[[-1e-9,1],[1,0],[1,0]]}'), "bad_score", "item 0"),
    "rows that do not sum to 1": Case(
        scores([[1, 0], [0.5, 0.4], [1, 0]]), "bad_score", "item 1: scores sum to 0.900000"
    ),
}


@pytest.mark.parametrize("case", CASES.values(), ids=CASES.keys())
def test_a_fault_ends_in_its_kind_in_one_line_in_time_and_the_next_call_is_well(case) -> None:
    # The short bound only where it must be reached: a busy machine may be slow elsewhere.
    timeout_s = SHORT_S if case.kind == "timeout" else PATIENCE_S
    with (
        misbehaving(case.behaviour, says(http(GOOD))) as server,
        ScoreConnection(server.url, timeout_s) as connection,
    ):
        start = time.monotonic()
        failed = score(connection)
        assert time.monotonic() - start < timeout_s + PATIENCE_S / 2
        assert failed.status == case.kind
        assert case.words in failed.detail
        assert failed.detail.isprintable()
        assert len(failed.detail) <= 200
        assert failed.scores is None
        server.took(1)
        # Only the fault must be reached soon.
        connection._timeout_s = PATIENCE_S
        assert score(connection) == Decoded("ok", "", [0.25, 0.75, 0.5, 0.5, 1.0, 0.0])
        # Sent once each: a failed call is never tried again behind the measurement's back.
        assert len(server.bodies) == 2


def test_a_timeout_says_how_much_of_the_answer_came() -> None:
    # A starved server may send its half only after a short bound: then a longer one is reached.
    for timeout_s in (1, 4, 16, 64, 256):
        with (
            misbehaving(says(http(GOOD[:20], length=40))) as server,
            ScoreConnection(server.url, timeout_s) as connection,
        ):
            detail = score(connection).detail
        if detail != f"no whole answer in {timeout_s} s":
            break
    assert detail == f"no whole answer in {timeout_s} s, 20 bytes of it came"


@pytest.mark.parametrize(
    "name",
    [name for name, case in CASES.items() if isinstance(case.behaviour, Pours) or "bomb" in name],
)
def test_no_answer_takes_more_memory_than_its_bound(name) -> None:
    case = CASES[name]
    # Tracing makes it slow: a smaller bound than a measurement has is sooner reached, and no
    # timeout is to end it.
    bound = BOUND // 4
    with (
        misbehaving(case.behaviour) as server,
        ScoreConnection(server.url, PATIENCE_S) as connection,
    ):
        before = case.behaviour.sent if isinstance(case.behaviour, Pours) else 0
        tracemalloc.start()
        try:
            assert score(connection, bound).status == case.kind
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
        assert peak < 4 * bound
        if isinstance(case.behaviour, Pours):
            # What the two sockets' buffers hold may have been sent beyond what was read.
            assert case.behaviour.sent - before < 3 * bound + (16 << 20)


def test_minus_zero_is_a_score_of_zero() -> None:
    decoded = decode_scores(200, b'{"scores":[[-0.0,1.0]]}', 1, 2, True)
    assert (decoded.status, decoded.scores) == ("ok", [0.0, 1.0])


def test_a_member_named_twice_elsewhere_in_the_answer_does_not_matter() -> None:
    body = b'{"usage":{"scores":1,"scores":2},"model":"scores","scores":[[0.5,0.5]]}'
    assert decode_scores(200, body, 1, 2, True).status == "ok"


def test_a_redirect_is_not_followed() -> None:
    with (
        misbehaving(says(http(GOOD))) as target,
        misbehaving(
            says(http(b"", 307, f"Location: {target.url}/v1/score\r\n")),
        ) as server,
        ScoreConnection(server.url, PATIENCE_S) as connection,
    ):
        assert score(connection).status == "http_4xx"
        assert target.accepted == 0


def test_an_answer_too_late_is_never_taken_for_that_of_the_next_call() -> None:
    late = Late(http(b'{"scores":[[0,1],[0,1],[0,1]]}'))
    with (
        misbehaving(late, says(http(GOOD))) as server,
        ScoreConnection(server.url, SHORT_S) as connection,
    ):
        assert score(connection).status == "timeout"
        late.answer_now()
        connection._timeout_s = PATIENCE_S
        assert score(connection).scores == [0.25, 0.75, 0.5, 0.5, 1.0, 0.0]
        assert server.accepted == 2, "the connection was dropped with the late answer on it"


def test_the_bound_leaves_room_for_every_score_written_out_in_full() -> None:
    # Python writes a float with at most 24 characters.
    longest = -sys.float_info.min * 1.2345678901234567
    assert len(repr(longest)) == 24
    body = json.dumps({"scores": [[longest] * 5] * 2000}, indent=1).encode()
    assert len(body) < answer_bound(2000, 5)


def test_an_honest_answer_of_the_largest_request_is_far_from_its_bound() -> None:
    body = json.dumps({"scores": [[1 / 3, 2 / 3]] * 500}).encode()
    with (
        misbehaving(says(http(body))) as server,
        ScoreConnection(server.url, PATIENCE_S) as connection,
    ):
        reply = connection.send(connection.prepare(b"{}", max_answer_bytes=answer_bound(500, 2)))
        assert decode_scores(reply.status, reply.body, 500, 2, True).status == "ok"


def test_an_answer_is_asked_for_uncompressed() -> None:
    with (
        misbehaving(says(http(GOOD))) as server,
        ScoreConnection(server.url, PATIENCE_S) as connection,
    ):
        assert score(connection).status == "ok"
        assert b"\r\naccept-encoding: identity" in server.heads[0].lower()


HOSTILE = "\x1b[2J\x1b]0;owned\x07\x1b[31mfine\x00\r\n\u202e\u2028" + "x" * 5000


@pytest.mark.parametrize("status", [400, 500, 503])
@pytest.mark.parametrize(
    "body",
    [
        HOSTILE.encode(),
        json.dumps({"message": HOSTILE}).encode(),
        json.dumps({"error": {"message": HOSTILE}}).encode(),
    ],
    ids=["plain", "message", "error"],
)
def test_what_a_server_says_cannot_drive_the_terminal(status, body) -> None:
    detail = decode_scores(status, body, ITEMS, LABELS, True).detail
    assert detail.startswith(f"HTTP {status}: fine xxx")
    assert detail.isprintable()
    assert len(detail) <= 200


def test_what_the_status_line_and_the_headers_say_cannot_either() -> None:
    answers = [
        b"HTTP/1.1 \x1b[31m500 owned\r\n\r\n",
        b"HTTP/1.1 200 \x1b[31mOK\r\nContent-Encoding: \x1b[31mgz\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nX: \x1b]0;owned\x07\r\nContent-Length: \x1b[31m\r\n\r\n",
    ]
    for answer in answers:
        with (
            misbehaving(says(answer)) as server,
            ScoreConnection(server.url, PATIENCE_S) as connection,
        ):
            failed = score(connection)
            assert failed.status in ("connection_error", "bad_json")
            assert failed.detail.isprintable()
            assert "\x1b" not in failed.detail
