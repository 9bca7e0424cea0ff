"""The shortcut around h11: it takes only what h11 reads the same way."""

from __future__ import annotations

import time

import h11
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from misbehaving import echoes, http, misbehaving, says
from patience import PATIENCE_S

from stages.measure.http.client import CallFailed, PreparedCall, ScoreConnection
from stages.measure.http.head import usual_head
from stages.measure.http.instant import canned_answer

STATUS = b"HTTP/1.1 200 OK\r\n"
LENGTH = b"content-length: 5\r\n"
USUAL = {
    "a scoring server": STATUS
    + b"date: Thu, 01 Jan 2026 00:00:00 GMT\r\nserver: uvicorn\r\n"
    + LENGTH
    + b"content-type: application/json\r\n",
    "no reason": b"HTTP/1.1 200 \r\n" + LENGTH,
    "other spelling": STATUS + b"CONTENT-Length:5 \t\r\n",
    "a proxy that keeps the connection": STATUS + b"Connection: Keep-Alive\r\n" + LENGTH,
    "names that only begin like others": STATUS + b"Content-Length-X: 9\r\nX-Connection: close\r\n"
    b"Connection-Id: close\r\n" + LENGTH,
}
OTHER = {
    "not whole": STATUS + LENGTH[:-1],
    "another status": b"HTTP/1.1 500 OK\r\n" + LENGTH,
    "an interim answer": b"HTTP/1.1 100 Continue\r\n\r\n" + STATUS + LENGTH,
    "HTTP/1.0": b"HTTP/1.0 200 OK\r\n" + LENGTH,
    "a lower-case version": b"http/1.1 200 OK\r\n" + LENGTH,
    "no length": STATUS + b"server: uvicorn\r\n",
    "two lengths": STATUS + LENGTH + b"Content-Length: 3\r\n",
    "the same length twice": STATUS + LENGTH + LENGTH,
    "a length in words": STATUS + b"content-length: five\r\n",
    "a negative length": STATUS + b"content-length: -5\r\n",
    "no digits": STATUS + b"content-length:\r\n",
    "two numbers": STATUS + b"content-length: 5, 5\r\n",
    "a length without bounds": STATUS + b"content-length: " + b"9" * 4000 + b"\r\n",
    "in chunks": STATUS + LENGTH + b"Transfer-Encoding: chunked\r\n",
    "compressed": STATUS + b"Content-Encoding: gzip\r\n" + LENGTH,
    "to be closed": STATUS + LENGTH + b"Connection: close\r\n",
    "kept and closed": STATUS + LENGTH + b"Connection: keep-alive, close\r\n",
    "a name with a space": STATUS + b"content-length : 5\r\n" + LENGTH,
    "a folded line": STATUS + b"X: y\r\n z\r\n" + LENGTH,
    "bare newlines": (STATUS + LENGTH).replace(b"\r\n", b"\n"),
    "a control character": STATUS + b"X: \x1b[2J\r\n" + LENGTH,
    "bytes that are no ASCII": STATUS + b"X: \xff\r\n" + LENGTH,
    "a field without a name": STATUS + b": x\r\n" + LENGTH,
    "something before it": b"\r\n" + STATUS + LENGTH,
}


@pytest.mark.parametrize("head", USUAL.values(), ids=USUAL.keys())
def test_the_usual_head_is_read_without_h11(head) -> None:
    found = usual_head(head + b"\r\nabcde")
    assert found is not None
    assert (found.body_at, found.length) == (len(head) + 2, 5)


@pytest.mark.parametrize("head", OTHER.values(), ids=OTHER.keys())
def test_every_other_head_is_left_to_h11(head) -> None:
    assert usual_head(head + b"\r\nabcde") is None


def read_by_h11(data: bytes) -> tuple[int, bytes, bytes]:
    """Status, body and surplus of the answer that ``data`` holds, on a connection kept open."""
    connection = h11.Connection(h11.CLIENT)
    connection.send(h11.Request(method="GET", target="/", headers=[("Host", "h")]))
    connection.send(h11.EndOfMessage())
    connection.receive_data(data)
    response = connection.next_event()
    assert type(response) is h11.Response
    assert b"content-encoding" not in dict(response.headers)
    body = b""
    while type(event := connection.next_event()) is h11.Data:
        body += event.data
    assert type(event) is h11.EndOfMessage
    assert connection.their_state is h11.DONE
    return response.status_code, body, connection.trailing_data[0]


LINES = [
    STATUS,
    LENGTH,
    b"HTTP/1.1 200 \r\n",
    b"HTTP/1.1 204 OK\r\n",
    b"HTTP/1.0 200 OK\r\n",
    b"Content-Length: 0\r\n",
    b"Content-Length:\t3\t\r\n",
    b"Content-Encoding: identity\r\n",
    b"Transfer-Encoding: chunked\r\n",
    b"Connection: close\r\n",
    b"Connection: keep-alive\r\n",
    b"Connection: keep-alive, close\r\n",
    b"server: uvicorn\r\n",
    b"X:\r\n",
    b"X: a: b\r\n",
    b" folded\r\n",
    b"\r\n",
    b"\n",
]
heads = st.lists(st.sampled_from(LINES), max_size=6).map(b"".join)


@st.composite
def mutated_heads(draw: st.DrawFn) -> bytes:
    """A usual head with one byte put in the place of some others."""
    head = draw(st.sampled_from(list(USUAL.values())))
    at = draw(st.integers(0, len(head)))
    return head[:at] + draw(st.binary(max_size=2)) + head[at + draw(st.integers(0, 2)) :]


@settings(max_examples=2000)
@given(heads.map(lambda head: STATUS + head) | heads | mutated_heads())
@example(STATUS + LENGTH)
def test_what_the_shortcut_reads_h11_reads_the_same_way(head) -> None:
    data = head + b"\r\n" + b"{[1]}" * 4
    found = usual_head(data)
    if found is not None and found.length <= len(data) - found.body_at:
        end = found.body_at + found.length
        assert read_by_h11(data) == (200, data[found.body_at : end], data[end:])


def test_a_head_made_to_be_slow_is_not() -> None:
    # Tried again from every line, these would take minutes.
    for line in (b"a:\r\n", b"content-length: 1\r\n", b"connection: keep-alive\r\n"):
        began = time.process_time()
        assert usual_head(STATUS + line * (60_000 // len(line))) is None
        assert time.process_time() - began < PATIENCE_S


class TakenByH11Error(AssertionError):
    """An answer was given to h11."""


@pytest.fixture
def without_h11(monkeypatch) -> None:
    def refuse(call: PreparedCall) -> h11.Connection:
        raise TakenByH11Error

    monkeypatch.setattr(PreparedCall, "take_exchange", refuse)


def in_pieces(*pieces: bytes):
    """Send these bytes as packets of their own, as well as that can be arranged."""

    def behave(exchange) -> bool:
        for piece in pieces:
            exchange.sock.sendall(piece)
            exchange.stopping.wait(0.05)
        return True

    return behave


@pytest.mark.usefixtures("without_h11")
@pytest.mark.parametrize("item_count", [1, 500])
def test_what_scoring_servers_send_takes_the_shortcut(item_count) -> None:
    answer = canned_answer(item_count, 2)
    body = answer.partition(b"\r\n\r\n")[2]
    whole, apart = says(answer), in_pieces(answer[: -len(body)], body[:10], body[10:])
    with (
        misbehaving(whole, apart, whole) as server,
        ScoreConnection(server.url, PATIENCE_S) as connection,
    ):
        call = connection.prepare(b"{}")
        assert [connection.send(call).body for _ in range(3)] == [body] * 3
        assert server.accepted == 1


@pytest.mark.usefixtures("without_h11")
def test_what_they_do_not_send_does_not() -> None:
    with (
        misbehaving(says(http(b"{}", headers="Connection: close\r\n"))) as server,
        ScoreConnection(server.url, PATIENCE_S) as connection,
        pytest.raises(TakenByH11Error),
    ):
        connection.send(connection.prepare(b"{}"))


@pytest.mark.parametrize("headers", ["", "Connection: close\r\n"], ids=["shortcut", "h11"])
@pytest.mark.parametrize("size", [0, 1, 999, 1000])
def test_both_ways_read_an_answer_up_to_its_bound(headers, size) -> None:
    with (
        misbehaving(says(http(b"x" * size, headers=headers))) as server,
        ScoreConnection(server.url, PATIENCE_S) as connection,
    ):
        assert connection.send(connection.prepare(b"{}", None, 1000)).body == b"x" * size


@pytest.mark.parametrize("headers", ["", "Connection: close\r\n"], ids=["shortcut", "h11"])
@pytest.mark.parametrize(
    ("answer", "kind", "words"),
    [
        (b"x" * 1001, "bad_json", "larger than 1000 bytes (it announces 1001), it begins 'xxx"),
        (b"x" * 1_000_000, "bad_json", "larger than 1000 bytes (it announces 1000000)"),
        (
            None,
            "connection_error",
            "not a whole HTTP answer: peer closed connection without sending "
            "complete message body (received 9 bytes, expected 10)",
        ),
    ],
    ids=["one byte too many", "far too large", "cut short"],
)
def test_both_ways_refuse_the_same_answers(headers, answer, kind, words) -> None:
    sent = http(b"x" * 9, 200, headers, 10) if answer is None else http(answer, headers=headers)
    with (
        misbehaving(says(sent, stays_open=False), echoes) as server,
        ScoreConnection(server.url, PATIENCE_S) as connection,
    ):
        with pytest.raises(CallFailed) as failed:
            connection.send(connection.prepare(b"first", None, 1000))
        assert (failed.value.kind, words in failed.value.detail) == (kind, True)
        assert connection.send(connection.prepare(b"second")).body == b"second"
