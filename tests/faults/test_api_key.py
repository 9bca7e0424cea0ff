"""A key is sent to the server, and to nobody else: not even when the server says it aloud."""

from __future__ import annotations

import base64
import json
import traceback

import pytest
from misbehaving import Exchange, http, misbehaving, says
from patience import PATIENCE_S

from stages.common.errors import UserError, one_line, one_line_errors
from stages.measure.http.client import CallFailed, ScoreConnection
from stages.measure.http.decode import decode_scores

KEY = "sk-test-6bafe4a0c1e94d0b8f1c7e2d"
GOOD = b'{"scores":[[0.5,0.5]]}'


def shown(error: BaseException) -> str:
    return "".join(traceback.format_exception(error)) + repr(error)


def test_the_key_is_sent_as_a_bearer_token_and_only_if_there_is_one() -> None:
    for key, expected in [(KEY, True), (None, False)]:
        with (
            misbehaving(says(http(GOOD))) as server,
            ScoreConnection(server.url, PATIENCE_S, api_key=key) as connection,
        ):
            assert connection.send(connection.prepare(b"{}")).status == 200
            head = server.heads[0].decode().lower()
            assert (f"\r\nauthorization: bearer {KEY}" in head) is expected
            assert ("authorization" in head) is expected


@pytest.mark.parametrize(
    "wrap",
    [
        lambda header: header,
        lambda header: json.dumps({"error": {"message": f"bad key: {header}"}}),
        lambda header: json.dumps({"detail": header}).replace("-", "\\u002d"),
        lambda header: "x" * 3980 + header,
        lambda header: " " * 3980 + header,
        lambda header: header.replace("6baf", "\x1b[31m6baf\x1b[0m"),
        lambda header: header.replace("6baf", "\x006baf").replace("\x00", ""),
    ],
    ids=["plain", "JSON", "escaped", "at the cut", "at the cut, blanks", "coloured", "NUL"],
)
@pytest.mark.parametrize("status", [200, 401, 500])
def test_a_server_that_says_the_key_aloud_is_not_repeated(wrap, status) -> None:
    def says_aloud(exchange: Exchange) -> bool:
        header = server.heads[-1].decode().partition("Authorization: ")[2].splitlines()[0]
        assert KEY in header
        exchange.sock.sendall(http(wrap(header).encode(), status))
        return True

    with (
        misbehaving(says_aloud) as server,
        ScoreConnection(server.url, PATIENCE_S, api_key=KEY) as connection,
    ):
        reply = connection.send(connection.prepare(b"{}"))
        detail = decode_scores(reply.status, reply.body, 1, 2, True).detail
        assert KEY not in detail
        assert KEY[:12] not in detail


def test_a_call_that_fails_does_not_name_the_key() -> None:
    def answers_nonsense(exchange: Exchange) -> bool:
        exchange.sock.sendall(b"HTTP/1.1 2x0 " + KEY.encode() + b"\r\nBearer " + KEY.encode())
        return False

    with (
        misbehaving(answers_nonsense) as server,
        ScoreConnection(server.url, PATIENCE_S, api_key=KEY) as connection,
    ):
        call = connection.prepare(b"{}")
        with pytest.raises(CallFailed) as failed:
            connection.send(call)
        assert KEY not in failed.value.detail
        assert KEY not in str(failed.value)
        assert KEY not in f"{connection!r} {connection} {call!r} {call}"


@pytest.mark.parametrize(
    "key", ["", KEY + "\n", KEY + " x", KEY + "\r\nX-Evil: 1", KEY + "é", KEY + "\0"]
)
def test_a_key_that_cannot_be_sent_is_refused_without_naming_it(key) -> None:
    with pytest.raises(ValueError, match="the API key") as caught:
        ScoreConnection("http://127.0.0.1:1", 1, api_key=key)
    assert KEY not in shown(caught.value)


def test_the_line_a_user_reads_does_not_name_the_key(capsys) -> None:
    ScoreConnection("http://127.0.0.1:1", 1, api_key=KEY)

    @one_line_errors
    def command() -> None:
        raise UserError(f"the server did not start: it logs Authorization: Bearer {KEY}")

    with pytest.raises(SystemExit):
        command()
    said = capsys.readouterr()
    assert KEY not in said.out + said.err
    assert "Bearer [redacted]" in said.err


def test_a_text_without_the_key_is_not_touched() -> None:
    ScoreConnection("http://127.0.0.1:1", 1, api_key=KEY)
    other = base64.b64encode(b"another text").decode()
    assert one_line(other) == other
