"""The client against a real server that misbehaves in every way a network allows."""

from __future__ import annotations

import json
import select
import socket
import threading
import time
from itertools import count

import pytest
from misbehaving import (
    Late,
    closes,
    drips,
    echoes,
    floods,
    hangs,
    http,
    misbehaving,
    refused_url,
    resets,
    says,
)
from patience import PATIENCE_S, wait_for

from stages.measure.http.client import CallFailed, ScoreConnection, encode_call
from stages.measure.http.stream import TcpStream

SHORT_S = 1.0
CHUNKED = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"


def call(url: str, body: bytes = b"{}", timeout_s: float = PATIENCE_S):
    with ScoreConnection(url, timeout_s) as connection:
        return connection.send(connection.prepare(body))


def something_comes(connection: ScoreConnection) -> None:
    """Wait until more bytes, or the end of the connection, have come in on it."""
    assert connection._stream is not None
    readable, _, _ = select.select(
        [connection._stream.get_extra_info("socket")], [], [], PATIENCE_S
    )
    assert readable


def test_a_call_arrives_as_the_post_it_is_and_the_answer_comes_back_whole():
    answer = bytes(range(256)) * 400
    with misbehaving(says(http(answer))) as server:
        reply = call(server.url, b'{"query":[1,2]}')
        assert (reply.status, reply.body) == (200, answer)
        head = server.heads[0].decode().lower().split("\r\n")
        assert head[0] == "post /v1/score http/1.1"
        assert f"host: {server.url.removeprefix('http://')}" in head
        assert "content-type: application/json" in head
        assert server.bodies == [b'{"query":[1,2]}']


def test_the_first_byte_is_timed_when_it_is_read(monkeypatch: pytest.MonkeyPatch):
    answer, read, sent, reads = http(b"abcde"), TcpStream.read, dict[str, int](), count(1)
    asked_for_more = threading.Event()

    def notes_the_second(stream: TcpStream, *arguments) -> bytes:
        if next(reads) == 2:
            asked_for_more.set()
        return read(stream, *arguments)

    def in_two_parts(exchange) -> bool:
        sent["first"] = time.monotonic_ns()
        exchange.sock.sendall(answer[:20])
        assert asked_for_more.wait(PATIENCE_S)
        sent["rest"] = time.monotonic_ns()
        exchange.sock.sendall(answer[20:])
        return True

    monkeypatch.setattr(TcpStream, "read", notes_the_second)
    with (
        misbehaving(in_two_parts) as server,
        ScoreConnection(server.url, PATIENCE_S) as connection,
    ):
        reply = connection.send(connection.prepare(b"{}"))
    assert reply.body == b"abcde"
    assert sent["first"] <= reply.first_byte_ns <= sent["rest"]


def test_it_may_be_opened_before_the_first_call():
    with misbehaving(echoes) as server, ScoreConnection(server.url, PATIENCE_S) as connection:
        connection.open()
        wait_for(lambda: server.accepted == 1, "nobody connected")
        assert connection.send(connection.prepare(b"1")).body == b"1"
        assert server.accepted == 1


def test_opened_where_nobody_listens_it_is_a_connection_error():
    with ScoreConnection(refused_url(), PATIENCE_S) as connection:
        with pytest.raises(CallFailed) as failed:
            connection.open()
        assert failed.value.kind == "connection_error"


def test_many_calls_share_one_connection_and_each_gets_its_own_answer():
    bodies = [b'{"call":%d}' % i for i in range(50)]
    with misbehaving(echoes) as server, ScoreConnection(server.url, PATIENCE_S) as connection:
        prepared = [connection.prepare(body) for body in bodies]
        assert [connection.send(call).body for call in prepared] == bodies
        assert server.accepted == 1


def test_a_prepared_call_may_be_sent_again():
    with misbehaving(echoes) as server, ScoreConnection(server.url, PATIENCE_S) as connection:
        prepared = connection.prepare(b"[7]", {"X-Items": "1"})
        assert [connection.send(prepared).body for _ in range(3)] == [b"[7]"] * 3
        assert server.bodies == [b"[7]"] * 3
        assert all(b"x-items: 1" in head.lower() for head in server.heads)


def test_a_body_of_many_megabytes_arrives_unchanged():
    body = bytes(range(256)) * (5 << 12)
    with misbehaving(echoes) as server:
        assert call(server.url, body).body == body


@pytest.mark.parametrize("status", [400, 429, 500, 503])
def test_an_error_status_is_an_answer_and_keeps_the_connection(status):
    with (
        misbehaving(says(http(b"why", status)), echoes) as server,
        ScoreConnection(server.url, PATIENCE_S) as connection,
    ):
        reply = connection.send(connection.prepare(b"1"))
        assert (reply.status, reply.body) == (status, b"why")
        assert connection.send(connection.prepare(b"2")).body == b"2"
        assert server.accepted == 1


@pytest.mark.parametrize(
    "answer",
    [
        f"{CHUNKED}3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n".encode(),
        CONTINUE + http(b"abcde"),
    ],
    ids=["chunked", "interim answer first"],
)
def test_other_ways_to_send_a_whole_answer_are_understood(answer):
    with misbehaving(says(answer)) as server:
        assert call(server.url).body == b"abcde"


def test_an_answer_that_ends_with_the_connection_is_whole():
    with misbehaving(says(b"HTTP/1.0 200 OK\r\n\r\nabcde", stays_open=False)) as server:
        assert call(server.url).body == b"abcde"


FAILURES = {
    "hangs": (hangs, "timeout"),
    "drips its head": (drips(http(b"x", headers="X-Long: " + "y" * 9000 + "\r\n")), "timeout"),
    "drips its body": (drips(http(b"x" * 9000)), "timeout"),
    "drips chunks": (drips(CHUNKED.encode() + b"1\r\nx\r\n" * 2000), "timeout"),
    "drips interim answers": (drips(CONTINUE * 400), "timeout"),
    "hangs half way": (says(http(b"x" * 50, length=100)), "timeout"),
    "closes without an answer": (closes, "connection_error"),
    "resets without an answer": (resets(b""), "connection_error"),
    "resets in the head": (resets(b"HTTP/1.1 200 OK\r\nContent-"), "connection_error"),
    "resets in the body": (resets(http(b"x" * 50, length=100)), "connection_error"),
    "half a head": (says(b"HTTP/1.1 200 OK\r\nConte", stays_open=False), "connection_error"),
    "half a body": (
        says(http(b"x" * 50, length=100), stays_open=False),
        "connection_error",
    ),
    "half a chunk": (
        says(CHUNKED.encode() + b"64\r\nhalf", stays_open=False),
        "connection_error",
    ),
    "no HTTP": (says(b"SSH-2.0-OpenSSH_9.6\r\n\r\n"), "connection_error"),
    "endless head": (says(b"HTTP/1.1 200 OK\r\nX: " + b"y" * (1 << 20)), "connection_error"),
    "too large": (says(http(b"x" * 100_001)), "bad_json"),
    "endless": (floods, "bad_json"),
}


@pytest.mark.parametrize(("behaviour", "kind"), FAILURES.values(), ids=FAILURES.keys())
def test_a_call_that_fails_says_how_in_time_and_the_next_one_works(behaviour, kind):
    # The short bound only where it must be reached: a busy machine may be slow elsewhere.
    timeout_s = SHORT_S if kind == "timeout" else PATIENCE_S
    with (
        misbehaving(behaviour, echoes) as server,
        ScoreConnection(server.url, timeout_s, max_response_bytes=100_000) as connection,
    ):
        start = time.monotonic()
        with pytest.raises(CallFailed) as failed:
            connection.send(connection.prepare(b"first"))
        assert time.monotonic() - start < timeout_s + PATIENCE_S / 2
        assert failed.value.kind == kind
        assert failed.value.detail
        assert failed.value.detail.isprintable()
        server.took(1)
        # Only the fault must be reached soon.
        connection._timeout_s = PATIENCE_S
        assert connection.send(connection.prepare(b"second")).body == b"second"
        assert server.accepted == 2
        # A failed call is never sent a second time behind the caller's back.
        assert server.bodies == [b"first", b"second"]


def test_an_answer_as_large_as_the_bound_is_read():
    with (
        misbehaving(says(http(b"x" * 100_000))) as server,
        ScoreConnection(server.url, PATIENCE_S, max_response_bytes=100_000) as connection,
    ):
        assert len(connection.send(connection.prepare(b"{}")).body) == 100_000


def test_nobody_listening_is_a_connection_error():
    with pytest.raises(CallFailed) as failed:
        call(refused_url())
    assert failed.value.kind == "connection_error"
    assert "refused" in failed.value.detail.lower()


def test_a_server_that_comes_up_later_is_reached():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        with ScoreConnection(url, PATIENCE_S) as connection:
            prepared = connection.prepare(b"{}")
            with pytest.raises(CallFailed):
                connection.send(prepared)
            listener.listen()
            answering = threading.Thread(target=_answer_once, args=(listener, http(b"up")))
            answering.start()
            assert connection.send(prepared).body == b"up"
            answering.join()


def _answer_once(listener: socket.socket, answer: bytes) -> None:
    sock, _ = listener.accept()
    with sock:
        sock.recv(1 << 16)
        sock.sendall(answer)


def test_a_server_that_never_reads_ends_in_timeout():
    with misbehaving(hangs, reads=False) as server:
        start = time.monotonic()
        with pytest.raises(CallFailed) as failed:
            call(server.url, b"x" * (32 << 20), SHORT_S)
        assert failed.value.kind == "timeout"
        assert time.monotonic() - start < SHORT_S + PATIENCE_S / 2


def test_a_server_that_reads_a_little_now_and_then_ends_in_timeout():
    def sips(exchange) -> bool:
        while not exchange.stopping.wait(0.1) and exchange.sock.recv(1 << 14):
            pass
        return False

    with misbehaving(sips, reads=False) as server:
        start = time.monotonic()
        with pytest.raises(CallFailed) as failed:
            call(server.url, b"x" * (32 << 20), SHORT_S)
        assert failed.value.kind == "timeout"
        assert time.monotonic() - start < SHORT_S + PATIENCE_S / 2


def test_a_refusal_sent_without_reading_the_request_is_heard():
    with misbehaving(says(http(b"too big", 413), stays_open=False), reads=False) as server:
        reply = call(server.url, b"x" * (32 << 20))
        assert (reply.status, reply.body) == (413, b"too big")


def test_an_answer_that_comes_after_the_timeout_is_not_taken_for_the_next_one():
    late = Late(http(b"stale"))
    with (
        misbehaving(late, echoes) as server,
        ScoreConnection(server.url, SHORT_S) as connection,
    ):
        with pytest.raises(CallFailed):
            connection.send(connection.prepare(b"first"))
        late.answer_now()
        connection._timeout_s = PATIENCE_S
        assert connection.send(connection.prepare(b"second")).body == b"second"


@pytest.mark.parametrize("surplus", [http(b"surplus"), b"HTTP/1.1 200 OK\r\nConte"])
def test_bytes_past_an_answer_are_never_part_of_the_next_one(surplus):
    with (
        misbehaving(says(http(b"first") + surplus), echoes) as server,
        ScoreConnection(server.url, PATIENCE_S) as connection,
    ):
        assert connection.send(connection.prepare(b"1")).body == b"first"
        assert connection.send(connection.prepare(b"2")).body == b"2"
        # The rest of a half-sent surplus could still come: that connection is done with.
        assert server.accepted == 2


def test_a_second_answer_that_comes_later_is_not_taken_for_the_next_one():
    heard = threading.Event()

    def answers_twice(exchange) -> bool:
        exchange.sock.sendall(http(b"first"))
        heard.wait(PATIENCE_S)
        exchange.sock.sendall(http(b"surplus"))
        return True

    with (
        misbehaving(answers_twice, echoes) as server,
        ScoreConnection(server.url, PATIENCE_S) as connection,
    ):
        assert connection.send(connection.prepare(b"1")).body == b"first"
        heard.set()
        something_comes(connection)
        assert connection.send(connection.prepare(b"2")).body == b"2"


def test_a_connection_closed_between_calls_is_reopened_and_nothing_is_sent_twice():
    with (
        misbehaving(says(http(b"ok"), stays_open=False)) as server,
        ScoreConnection(server.url, PATIENCE_S) as connection,
    ):
        for body in (b"first", b"second"):
            assert connection.send(connection.prepare(body)).body == b"ok"
            something_comes(connection)
        assert server.accepted == 2
        assert server.bodies == [b"first", b"second"]


def test_a_connection_the_server_says_it_will_close_is_not_used_again():
    # It says so and then waits, as a server that drains does: the next call would hang.
    with (
        misbehaving(says(http(b"ok", headers="Connection: close\r\n")), echoes) as server,
        ScoreConnection(server.url, PATIENCE_S) as connection,
    ):
        connection.send(connection.prepare(b"first"))
        assert connection.send(connection.prepare(b"second")).body == b"second"
        assert server.accepted == 2


def test_a_kept_connection_closed_on_a_sent_request_fails_and_is_not_sent_again():
    with (
        misbehaving(echoes, closes, echoes) as server,
        ScoreConnection(server.url, PATIENCE_S) as connection,
    ):
        connection.send(connection.prepare(b"first"))
        with pytest.raises(CallFailed) as failed:
            connection.send(connection.prepare(b"second"))
        assert failed.value.kind == "connection_error"
        connection.send(connection.prepare(b"third"))
        assert server.bodies == [b"first", b"second", b"third"]


def test_a_server_that_closes_without_a_word_is_named_as_such():
    with misbehaving(closes) as server, pytest.raises(CallFailed, match="without an answer"):
        call(server.url)


@pytest.mark.parametrize(("behaviour", "kind"), [(hangs, "timeout"), (closes, "connection_error")])
def test_an_https_handshake_that_fails_says_so_in_time(behaviour, kind):
    timeout_s = SHORT_S if kind == "timeout" else PATIENCE_S
    with misbehaving(behaviour, reads=False) as server:
        start = time.monotonic()
        with pytest.raises(CallFailed) as failed:
            call(server.url.replace("http:", "https:"), timeout_s=timeout_s)
        assert failed.value.kind == kind
        assert time.monotonic() - start < timeout_s + PATIENCE_S / 2


@pytest.mark.parametrize("url", ["", "127.0.0.1:30000", "ftp://host", "http://", "http://h:x"])
def test_a_base_url_that_is_none_is_refused(url):
    with pytest.raises(ValueError, match=r"URL|[Pp]ort"):
        ScoreConnection(url, 1.0)


def test_a_path_in_the_base_url_is_kept():
    with misbehaving(echoes) as server:
        call(f"{server.url}/proxy/")
        assert server.heads[0].startswith(b"POST /proxy/v1/score HTTP/1.1\r\n")


def test_the_body_is_compact_json_with_every_field_of_the_contract():
    body = encode_call([5, 6, 7], [[1, 2], [3]], [9454, 2753], True, False)
    assert body == (
        b'{"query":[5,6,7],"items":[[1,2],[3]],"label_token_ids":[9454,2753],'
        b'"apply_softmax":true,"item_first":false,"model":"default"}'
    )
    assert json.loads(encode_call([5], [[1]], [2], False, True))["item_first"] is True
