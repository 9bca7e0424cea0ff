"""The HTTP client: one keep-alive connection, requests encoded before the clock starts.

It speaks through the two layers httpx itself stands on: httpcore's network streams carry
the bytes (TCP_NODELAY, TLS), h11 frames and checks the protocol. The layers above them
cost more per call than a small answer takes to read, and their timeouts bound a single
read, which a server that drips bytes never exceeds.
"""

from __future__ import annotations

import json
import time
import urllib.parse
from collections.abc import Mapping
from dataclasses import dataclass
from types import TracebackType
from typing import Self

import h11
import httpcore

from stages.measure.decode import one_line
from stages.schema import Status

MAX_RESPONSE_BYTES = 32 << 20
"""Five hundred items and two labels answer in about 25 KB."""

# The clock is checked between pieces. A kernel reports a socket writable when a third of
# its buffer is free, about what a piece takes: a server that reads slowly can stretch a
# call past its bound by one piece's wait, not by one wait per byte.
_PIECE_BYTES = 32 << 10
_READ_BYTES = 64 << 10


class CallFailed(Exception):  # noqa: N818  a call's outcome, not a fault of the program
    """A call that ended without an HTTP answer.

    Attributes:
        kind: ``timeout``: the whole call took longer than allowed; ``connection_error``:
            refused, reset, closed before the end of the answer, or an answer that is not
            HTTP; ``bad_json``: an answer larger than the bound, which is not read to its
            end and so is not JSON.
        detail: what went wrong, in one short printable line.
    """

    def __init__(self, kind: Status, detail: str) -> None:
        self.kind: Status = kind
        self.detail = one_line(detail)
        super().__init__(f"{kind}: {self.detail}")


@dataclass(frozen=True, slots=True)
class Reply:
    """An HTTP answer, of any status, whole."""

    status: int
    body: bytes


class PreparedCall:
    """A request as the bytes that go on the wire; may be sent any number of times."""

    __slots__ = ("_events", "_exchange", "pieces")

    def __init__(self, request: h11.Request, body: bytes) -> None:
        self._events = (request, h11.Data(data=body), h11.EndOfMessage())
        self._exchange: h11.Connection | None
        self._exchange, wire = self._encode()
        self.pieces = [wire[at : at + _PIECE_BYTES] for at in range(0, len(wire), _PIECE_BYTES)]

    def take_exchange(self) -> h11.Connection:
        """Protocol state with this request sent and its response awaited.

        It belongs to one exchange. The first was made with the bytes, before the clock
        started; sending the same call again makes another.
        """
        exchange, self._exchange = self._exchange, None
        return exchange or self._encode()[0]

    def _encode(self) -> tuple[h11.Connection, bytes]:
        exchange = h11.Connection(h11.CLIENT)
        return exchange, b"".join(exchange.send(event) for event in self._events)


class ScoreConnection:
    """One keep-alive connection to one server's ``/v1/score``.

    It opens at the first ``send``. After a failed call, or when the server says it will
    close, it is dropped and the next ``send`` opens another. Not for use by two threads.

    Args:
        base_url: ``http://host:port`` or ``https://...``, with or without a path.
        timeout_s: seconds for one whole call: connect, send, and the answer's last byte.
            Only name resolution, and each address of a name that has several, is outside it.
        max_response_bytes: bound on an answer's body.

    Raises:
        ValueError: ``base_url`` is not an http or https URL.
    """

    def __init__(
        self, base_url: str, timeout_s: float, max_response_bytes: int = MAX_RESPONSE_BYTES
    ) -> None:
        url = urllib.parse.urlsplit(base_url)
        if url.scheme not in ("http", "https") or not url.hostname:
            raise ValueError(f"{base_url!r} is not an http or https URL")
        self._host = url.hostname
        self._port = url.port or (443 if url.scheme == "https" else 80)
        self._tls = httpcore.default_ssl_context() if url.scheme == "https" else None
        self._target = f"{url.path.rstrip('/')}/v1/score"
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

    def close(self) -> None:
        """Drop the connection; a later ``send`` opens another."""
        stream, self._stream = self._stream, None
        if stream is not None:
            stream.close()

    def prepare(self, body: bytes, headers: Mapping[str, str] | None = None) -> PreparedCall:
        """Encode one call down to its bytes, so that ``send`` only sends.

        Args:
            body: the JSON body, as :func:`encode_call` makes it.
            headers: further request headers.
        """
        fields = {
            "Host": self._host_header,
            "Content-Type": "application/json",
            "Content-Length": str(len(body)),
            **(headers or {}),
        }
        request = h11.Request(method="POST", target=self._target, headers=list(fields.items()))
        return PreparedCall(request, body)

    def send(self, call: PreparedCall) -> Reply:
        """Send one call and read its whole answer.

        Raises:
            CallFailed: no answer; the connection has been dropped.
        """
        deadline = time.monotonic() + self._timeout_s
        reusable = False
        try:
            stream = self._open_stream(deadline)
            exchange = call.take_exchange()
            sent = self._write(stream, call.pieces, deadline)
            reply = self._read(stream, exchange, deadline)
            done = exchange.our_state is h11.DONE and exchange.their_state is h11.DONE
            reusable = sent and done and not exchange.trailing_data[0]
        except httpcore.TimeoutException as error:
            raise CallFailed("timeout", f"no whole answer in {self._timeout_s:g} s") from error
        except httpcore.NetworkError as error:
            raise CallFailed("connection_error", str(error) or type(error).__name__) from error
        except h11.RemoteProtocolError as error:
            raise CallFailed("connection_error", f"not a whole HTTP answer: {error}") from error
        finally:
            # Bytes still to come, or past the answer's end, would be read as the answer to
            # the next call.
            if not reusable:
                self.close()
        return reply

    def _open_stream(self, deadline: float) -> httpcore.NetworkStream:
        # An idle connection that is readable was closed by the server, or holds bytes
        # nobody asked for. Nothing of this call has been sent yet, so a new connection
        # cannot make the server score it twice. A server that closes a moment later, while
        # the request is on its way, may have scored it already: that is a
        # ``connection_error``, and the call is never sent again from here.
        if self._stream is not None and self._stream.get_extra_info("is_readable"):
            self.close()
        if self._stream is None:
            # Kept from here on, so that a failing handshake is closed like any failure.
            self._stream = self._backend.connect_tcp(
                self._host, self._port, self._left(deadline), socket_options=[]
            )
            if self._tls is not None:
                self._stream = self._stream.start_tls(self._tls, self._host, self._left(deadline))
        return self._stream

    def _write(self, stream: httpcore.NetworkStream, pieces: list[bytes], deadline: float) -> bool:
        """Whether the server took the whole request.

        A server may refuse a request without reading it (413, 503) and close: its answer
        is then waiting although the write failed.
        """
        try:
            for piece in pieces:
                stream.write(piece, self._left(deadline))
        except httpcore.WriteError:
            return False
        return True

    def _read(
        self, stream: httpcore.NetworkStream, exchange: h11.Connection, deadline: float
    ) -> Reply:
        status = 0
        body = bytearray()
        while True:
            data = stream.read(_READ_BYTES, self._left(deadline))
            if not data and not status:
                raise CallFailed("connection_error", "the server closed without an answer")
            exchange.receive_data(data)
            while (event := exchange.next_event()) is not h11.NEED_DATA:
                if type(event) is h11.Data:
                    body += event.data
                    if len(body) > self._max_response_bytes:
                        limit = self._max_response_bytes
                        raise CallFailed("bad_json", f"the answer is larger than {limit} bytes")
                elif type(event) is h11.Response:
                    status = event.status_code
                elif type(event) is h11.EndOfMessage:
                    return Reply(status, bytes(body))

    def _left(self, deadline: float) -> float:
        """Seconds left of the call; never 0, which would mean "do not block"."""
        left = deadline - time.monotonic()
        if left <= 0:
            raise httpcore.ReadTimeout
        return left


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
