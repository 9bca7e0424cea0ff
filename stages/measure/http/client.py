"""The HTTP client: one keep-alive connection, requests encoded before the clock starts.

It uses the two layers below httpx: httpcore's network streams carry the bytes (TCP_NODELAY,
TLS), h11 frames and checks the protocol. The layers above cost more per call than it takes to
read a small answer. Their timeouts bound a single read, which a server that drips bytes never
exceeds. ``docs/methodology.md`` has the figures. The usual answer needs no h11 (``head``): h11
reads every other one, and judges it.
"""

from __future__ import annotations

import json
import ssl
import time
import urllib.parse
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import TracebackType
from typing import Self

import certifi
import h11
import httpcore

from stages.common.errors import hide, one_line
from stages.documents.matrix import Status
from stages.measure.http.head import UsualHead, usual_head
from stages.measure.http.stream import TcpStream

MAX_RESPONSE_BYTES = 8 << 20
"""Bound on an answer, for calls that give none."""

# Framing may double a small answer. More framing than that is not an HTTP answer.
_FRAMING_BYTES = 1 << 20

# The clock is checked between pieces. A kernel reports a socket writable when a third of
# its buffer is free, about what a piece takes: a server that reads slowly can stretch a
# call past its bound by one piece's wait, not by one wait per byte.
_PIECE_BYTES = 32 << 10
_READ_BYTES = 64 << 10

# UnicodeError: no such host name.
_FAULTS = (
    httpcore.TimeoutException,
    httpcore.NetworkError,
    h11.RemoteProtocolError,
    UnicodeError,
)


class CallFailed(Exception):  # noqa: N818  a call's outcome, not a fault of the program
    """A call that ended without an HTTP answer.

    Attributes:
        kind: ``timeout``: the whole call took longer than allowed; ``connection_error``:
            refused, reset, closed before the end of the answer, or an answer that is not
            HTTP; ``bad_json``: an answer larger than the bound, which is not read to its
            end, or compressed, which is never unpacked: neither is JSON.
        detail: what went wrong, in one short printable line.
    """

    def __init__(self, kind: Status, detail: str) -> None:
        self.kind: Status = kind
        self.detail = one_line(detail)
        super().__init__(f"{kind}: {self.detail}")


@dataclass(frozen=True, slots=True)
class Reply:
    """An HTTP answer, of any status, whole.

    ``first_byte_ns``: when its first bytes were read, in monotonic nanoseconds.
    """

    status: int
    body: bytes
    first_byte_ns: int


class PreparedCall:
    """A request as the bytes that go on the wire; may be sent any number of times."""

    __slots__ = ("_events", "_exchange", "max_answer_bytes", "pieces")

    def __init__(self, request: h11.Request, body: bytes, max_answer_bytes: int) -> None:
        self.max_answer_bytes = max_answer_bytes
        self._events = (request, h11.Data(data=body), h11.EndOfMessage())
        self._exchange: h11.Connection | None
        self._exchange, wire = self._encode()
        self.pieces = [wire[at : at + _PIECE_BYTES] for at in range(0, len(wire), _PIECE_BYTES)]

    def take_exchange(self) -> h11.Connection:
        """Protocol state with this request sent and its response awaited.

        It reads one answer. The first was made with the bytes, before the clock started;
        each further one is made when it is taken.
        """
        exchange, self._exchange = self._exchange, None
        return exchange or self._encode()[0]

    def _encode(self) -> tuple[h11.Connection, bytes]:
        exchange = h11.Connection(h11.CLIENT)
        return exchange, b"".join(exchange.send(event) for event in self._events)


class ScoreConnection:
    """One keep-alive connection to one server, for its ``/v1/score`` above all.

    It opens at the first ``send``, or before it with ``open``. After a failed call, or when the
    server says it will close, it is dropped and the next ``send`` opens another. Not for use by
    two threads.

    Args:
        base_url: ``http://host:port`` or ``https://...``, with or without a path.
        timeout_s: seconds for one whole call: connect, send, and the answer's last byte.
            Only name resolution, and each address of a name that has several, is outside it.
        max_response_bytes: bound on an answer's body, for calls that give none.
        api_key: sent as ``Authorization: Bearer``; redacted wherever text is cleaned.

    Raises:
        ValueError: ``base_url`` is not an http or https URL, or ``api_key`` cannot be sent.
    """

    def __init__(
        self,
        base_url: str,
        timeout_s: float,
        max_response_bytes: int = MAX_RESPONSE_BYTES,
        api_key: str | None = None,
    ) -> None:
        url = urllib.parse.urlsplit(base_url)
        if url.scheme not in ("http", "https") or not url.hostname:
            raise ValueError(f"{base_url!r} is not an http or https URL")
        self._authorization = {} if api_key is None else _authorization(api_key)
        self._host = url.hostname
        self._port = url.port or (443 if url.scheme == "https" else 80)
        self._tls = _tls_context() if url.scheme == "https" else None
        self._path = url.path.rstrip("/")
        self._host_header = url.netloc.rpartition("@")[2]
        self._timeout_s = timeout_s
        self._max_response_bytes = max_response_bytes
        self._backend = httpcore.SyncBackend()
        self._stream: httpcore.NetworkStream | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def open(self) -> None:
        """Connect now, so that the next ``send`` need not.

        Raises:
            CallFailed: it cannot connect.
        """
        try:
            self._open_stream(time.monotonic() + self._timeout_s)
        except _FAULTS as error:
            self.close()
            raise self._named(error) from error

    def close(self) -> None:
        """Drop the connection; a later ``send`` opens another."""
        stream, self._stream = self._stream, None
        if stream is not None:
            stream.close()

    def prepare(
        self,
        body: bytes,
        headers: Mapping[str, str] | None = None,
        max_answer_bytes: int | None = None,
    ) -> PreparedCall:
        """Encode one call down to its bytes, so that ``send`` only sends.

        Args:
            body: the JSON body, as :func:`encode_call` makes it.
            headers: further request headers.
            max_answer_bytes: bound on the answer's body, as ``decode.answer_bound`` gives it.
        """
        fields = {"Content-Type": "application/json", "Content-Length": str(len(body))}
        request = self._request("POST", "/v1/score", {**fields, **(headers or {})})
        return PreparedCall(request, body, max_answer_bytes or self._max_response_bytes)

    def prepare_get(self, path: str, max_answer_bytes: int | None = None) -> PreparedCall:
        """Encode a ``GET`` of another endpoint; it goes over the same connection."""
        request = self._request("GET", path, {})
        return PreparedCall(request, b"", max_answer_bytes or self._max_response_bytes)

    def _request(self, method: str, path: str, fields: Mapping[str, str]) -> h11.Request:
        headers = {
            "Host": self._host_header,
            # A compressed answer may unpack to any size, so compressed answers are refused.
            "Accept-Encoding": "identity",
            **self._authorization,
            **fields,
        }
        return h11.Request(
            method=method, target=f"{self._path}{path}", headers=list(headers.items())
        )

    def send(self, call: PreparedCall) -> Reply:
        """Send one call and read its whole answer.

        Raises:
            CallFailed: no answer; the connection has been dropped.
        """
        deadline = time.monotonic() + self._timeout_s
        reusable = False
        received: list[bytes | bytearray] = []
        try:
            stream = self._open_stream(deadline)
            sent = self._write(stream, call.pieces, deadline)
            status, whole, first_byte_ns = self._read(stream, call, deadline, received)
            reusable = sent and whole
        except _FAULTS as error:
            raise self._named(error, sum(map(len, received))) from error
        finally:
            # Late or surplus bytes would be read as the answer to the next call.
            if not reusable:
                self.close()
        return Reply(status, b"".join(received), first_byte_ns)

    def _named(self, error: Exception, received: int = 0) -> CallFailed:
        """What one of ``_FAULTS`` is called, after so many bytes of the answer."""
        if isinstance(error, httpcore.TimeoutException):
            got = f", {received} bytes of it came" if received else ""
            return CallFailed("timeout", f"no whole answer in {self._timeout_s:g} s{got}")
        if isinstance(error, h11.RemoteProtocolError):
            return CallFailed("connection_error", f"not a whole HTTP answer: {error}")
        return CallFailed("connection_error", str(error) or type(error).__name__)

    def _open_stream(self, deadline: float) -> httpcore.NetworkStream:
        # An idle connection that is readable was closed by the server, or holds bytes that were
        # not requested. Nothing of this call has been sent, so a new connection cannot make the
        # server score it twice. A server that closes after that may have scored the request:
        # that is a ``connection_error``, and the call is not sent again.
        if self._stream is not None and self._stream.get_extra_info("is_readable"):
            self.close()
        if self._stream is None:
            # Stored before the handshake, so that a failed one is closed like any failure.
            self._stream = self._backend.connect_tcp(
                self._host, self._port, self._left(deadline), socket_options=[]
            )
            if self._tls is not None:
                self._stream = self._stream.start_tls(self._tls, self._host, self._left(deadline))
            else:
                self._stream = TcpStream(self._stream.get_extra_info("socket"))
        return self._stream

    def _write(self, stream: httpcore.NetworkStream, pieces: list[bytes], deadline: float) -> bool:
        """Whether the server took the whole request.

        A server may refuse a request without reading it (413, 503) and close. Then the write
        fails, but there is an answer to read.
        """
        try:
            for piece in pieces:
                stream.write(piece, self._left(deadline))
        except httpcore.WriteError:
            return False
        return True

    def _read(
        self,
        stream: httpcore.NetworkStream,
        call: PreparedCall,
        deadline: float,
        body: list[bytes | bytearray],
    ) -> tuple[int, bool, int]:
        """Read a whole answer's body into ``body``, as one piece or two.

        Returns:
            The HTTP status; whether the connection can carry another call, which needs that the
            answer ended where it said and that the server keeps the connection open; and when the
            first bytes were read, in monotonic nanoseconds.
        """

        def read_more() -> bytes:
            return stream.read(_READ_BYTES, self._left(deadline))

        data = read_more()
        first_byte_ns = time.monotonic_ns()
        head = usual_head(data)
        if head is not None:
            whole = _read_usual(head, data, read_more, body, call.max_answer_bytes)
            return 200, whole, first_byte_ns
        exchange = call.take_exchange()
        status = _read_any(exchange, data, read_more, body, call.max_answer_bytes)
        done = exchange.our_state is h11.DONE and exchange.their_state is h11.DONE
        return status, done and not exchange.trailing_data[0], first_byte_ns

    def _left(self, deadline: float) -> float:
        """Seconds left of the call; never 0, which would mean "do not block"."""
        left = deadline - time.monotonic()
        if left <= 0:
            raise httpcore.ReadTimeout
        return left


def _read_usual(
    head: UsualHead,
    data: bytes,
    read_more: Callable[[], bytes],
    body: list[bytes | bytearray],
    bound: int,
) -> bool:
    """Read the body of the answer that ``data`` begins; whether nothing came after it."""
    data = data[head.body_at :]
    left = head.length
    while True:
        if data:
            _extend(body, data[:left])
        left -= len(data)
        if head.length - max(left, 0) > bound:
            raise _too_large(body[0], str(head.length), bound)
        if left <= 0:
            return left == 0
        data = read_more()
        if not data:
            # In h11's words.
            raise CallFailed(
                "connection_error",
                "not a whole HTTP answer: peer closed connection without sending complete message "
                f"body (received {head.length - left} bytes, expected {head.length})",
            )


def _read_any(
    exchange: h11.Connection,
    data: bytes,
    read_more: Callable[[], bytes],
    body: list[bytes | bytearray],
    bound: int,
) -> int:
    """Read the body of the answer that ``data`` begins; its HTTP status.

    An error answer larger than the bound is read up to the bound only.
    """
    response: h11.Response | None = None
    size, most = 0, 2 * bound + _FRAMING_BYTES
    while True:
        if not data and response is None:
            raise CallFailed("connection_error", "the server closed without an answer")
        most -= len(data)
        if most < 0:
            raise CallFailed("connection_error", "not an HTTP answer: framing without end")
        exchange.receive_data(data)
        while (event := exchange.next_event()) is not h11.NEED_DATA:
            if type(event) is h11.Data:
                assert response is not None  # noqa: S101  h11 gives a body after its head
                _extend(body, event.data)
                size += len(event.data)
                if size > bound:
                    return _status_of_too_large(response, body[0], bound)
            elif type(event) is h11.Response:
                response = event
                _refuse_compressed(event)
            elif type(event) is h11.EndOfMessage:
                assert response is not None  # noqa: S101
                return response.status_code
        data = read_more()


def _tls_context() -> ssl.SSLContext:
    # As `ssl.create_default_context` makes it, except that SSLKEYLOGFILE is not obeyed: with the
    # keys in that file an API key can be read, and a file that cannot be written is an error.
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.load_default_certs()
    context.load_verify_locations(certifi.where())
    return context


def _authorization(api_key: str) -> dict[str, str]:
    hide(api_key)
    # Checked here, because a library that refuses the header would print the key.
    if not api_key or not all("!" <= character <= "~" for character in api_key):
        raise ValueError("the API key is empty or has characters that no HTTP header can hold")
    return {"Authorization": f"Bearer {api_key}"}


def _refuse_compressed(response: h11.Response) -> None:
    # Raw names: the list-like view of h11 costs a microsecond a call.
    for name, value in response.headers.raw_items():
        if len(name) == len(b"content-encoding") and name.lower() == b"content-encoding":
            encoding = value.decode("latin-1")
            if response.status_code == 200 and encoding.lower() != "identity":
                raise CallFailed(
                    "bad_json", f"the answer is compressed ({encoding}), which was not asked for"
                )


def _extend(body: list[bytes | bytearray], data: bytes) -> None:
    # Most answers come in one piece, which needs no copy. Further pieces share one bytearray.
    if not body:
        body.append(data)
        return
    if len(body) == 1:
        body.append(bytearray())
    body[1] += data


def _status_of_too_large(response: h11.Response, body: bytes | bytearray, bound: int) -> int:
    # The status says why an error answer failed. The rest of it is not read.
    if response.status_code != 200:
        return response.status_code
    announced = dict(response.headers).get(b"content-length", b"").decode("latin-1")
    raise _too_large(body, announced, bound)


def _too_large(body: bytes | bytearray, announced: str, bound: int) -> CallFailed:
    size = f"it announces {announced}" if announced else "its length is not announced"
    begins = bytes(body[:60]).decode("utf-8", "replace")
    return CallFailed(
        "bad_json", f"the answer is larger than {bound} bytes ({size}), it begins {begins!r}"
    )


def encode_call(
    query: list[int],
    items: list[list[int]],
    label_token_ids: list[int],
    apply_softmax: bool,
    item_first: bool,
) -> bytes:
    """The JSON body of one call, without a space in it."""
    body = {
        "query": query,
        "items": items,
        "label_token_ids": label_token_ids,
        "apply_softmax": apply_softmax,
        "item_first": item_first,
        "model": "default",
    }
    return json.dumps(body, separators=(",", ":")).encode()
