"""An HTTP server on loopback whose behaviour a test sets for each request."""

from __future__ import annotations

import atexit
import re
import socket
import struct
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass

from patience import PATIENCE_S, wait_for

_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)


@dataclass
class Exchange:
    """A request that the server has read, and the socket for its behaviour."""

    sock: socket.socket
    body: bytes
    stopping: threading.Event


type Behaviour = Callable[[Exchange], bool]
"""Answers one request somehow; whether the connection stays open."""


class Misbehaving:
    """A running server.

    Attributes:
        url: its base URL.
        accepted: connections opened to it so far.
        heads: request heads as they came in, in order.
        bodies: request bodies as they came in, in order.
    """

    def __init__(self, behaviours: Sequence[Behaviour], reads: bool) -> None:
        self._turns = _in_turn(behaviours)
        self._reads = reads
        self._stopping = threading.Event()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._sockets: list[socket.socket] = []
        self._threads = [threading.Thread(target=self._accept)]
        self._threads[0].start()
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        self.accepted = 0
        self.heads: list[bytes] = []
        self.bodies: list[bytes] = []

    def took(self, requests: int) -> None:
        """Wait until it has read so many requests, each of which has met its behaviour.

        A request whose client gives up may be read after that, and the next one before it.
        """
        wait_for(lambda: len(self.bodies) >= requests, f"{requests} requests never came")

    def stop(self) -> None:
        """Close every connection and wait for every thread."""
        self._stopping.set()
        # Closing a listener does not wake a blocked accept; a last connection does.
        with suppress(OSError):
            socket.create_connection(self._listener.getsockname(), PATIENCE_S).close()
        self._threads[0].join(PATIENCE_S)
        self._listener.close()
        for sock in self._sockets:
            with suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join(PATIENCE_S)

    def _accept(self) -> None:
        while True:
            sock, _ = self._listener.accept()
            if self._stopping.is_set():
                sock.close()
                return
            self.accepted += 1
            self._sockets.append(sock)
            self._threads.append(threading.Thread(target=self._handle, args=(sock,)))
            self._threads[-1].start()

    def _handle(self, sock: socket.socket) -> None:
        # A client that gives up breaks the pipe, which many tests cause on purpose.
        with sock, suppress(OSError):
            if not self._reads:
                next(self._turns)(Exchange(sock, b"", self._stopping))
                return
            received = bytearray()
            while (request := _read_request(sock, received)) is not None:
                head, body = request
                behave = next(self._turns)
                self.heads.append(head)
                self.bodies.append(body)
                if not behave(Exchange(sock, body, self._stopping)):
                    return


@contextmanager
def misbehaving(*behaviours: Behaviour, reads: bool = True) -> Iterator[Misbehaving]:
    """Run a server that applies the n-th behaviour to the n-th request, and the last to all others.

    With ``reads`` off, it applies a behaviour to each new connection and reads nothing.
    """
    server = Misbehaving(behaviours, reads)
    try:
        yield server
    finally:
        server.stop()


def _in_turn(behaviours: Sequence[Behaviour]) -> Iterator[Behaviour]:
    yield from behaviours
    while True:
        yield behaviours[-1]


def _read_request(sock: socket.socket, received: bytearray) -> tuple[bytes, bytes] | None:
    while (head_end := received.find(b"\r\n\r\n")) < 0:
        if not (data := sock.recv(1 << 16)):
            return None
        received += data
    head = bytes(received[:head_end])
    length = _LENGTH.search(head)
    end = head_end + 4 + (int(length[1]) if length else 0)
    while len(received) < end:
        if not (data := sock.recv(1 << 20)):
            return None
        received += data
    body = bytes(received[head_end + 4 : end])
    del received[:end]
    return head, body


def http(body: bytes, status: int = 200, headers: str = "", length: int | None = None) -> bytes:
    """An answer's bytes; ``length`` to announce another length than the body has."""
    announced = len(body) if length is None else length
    head = f"HTTP/1.1 {status} Whatever\r\nContent-Length: {announced}\r\n{headers}\r\n"
    return head.encode() + body


def says(answer: bytes, *, stays_open: bool = True) -> Behaviour:
    """Send exactly these bytes."""

    def behave(exchange: Exchange) -> bool:
        exchange.sock.sendall(answer)
        return stays_open

    return behave


def echoes(exchange: Exchange) -> bool:
    """Answer with the request's own body."""
    exchange.sock.sendall(http(exchange.body))
    return True


def hangs(exchange: Exchange) -> bool:
    """Never answer, and keep the connection open."""
    exchange.stopping.wait(PATIENCE_S)
    return False


def closes(exchange: Exchange) -> bool:
    """Close without an answer."""
    return False


def drips(answer: bytes, every_s: float = 0.05) -> Behaviour:
    """Send an answer byte by byte, each well within any timeout for a single read."""

    def behave(exchange: Exchange) -> bool:
        for i in range(len(answer)):
            exchange.sock.sendall(answer[i : i + 1])
            if exchange.stopping.wait(every_s):
                break
        return False

    return behave


def resets(after: bytes) -> Behaviour:
    """Send these bytes, then reset the connection."""

    def behave(exchange: Exchange) -> bool:
        exchange.sock.sendall(after)
        # Linger of zero seconds turns the close into a reset.
        exchange.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        return False

    return behave


def floods(exchange: Exchange) -> bool:
    """Send a chunked answer that never ends."""
    exchange.sock.sendall(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
    chunk = b"10000\r\n" + b"x" * 0x10000 + b"\r\n"
    while not exchange.stopping.is_set():
        exchange.sock.sendall(chunk)
    return False


class Pours:
    """Sends a head and then one piece over and over, up to so many times or for ever.

    Attributes:
        sent: bytes sent so far, over all connections.
    """

    def __init__(self, head: bytes, piece: bytes, times: int = 1 << 40) -> None:
        self._head, self._piece, self._times = head, piece, times
        self.sent = 0

    def __call__(self, exchange: Exchange) -> bool:
        """Answer one request."""
        exchange.sock.sendall(self._head)
        for _ in range(self._times):
            if exchange.stopping.is_set():
                break
            exchange.sock.sendall(self._piece)
            self.sent += len(self._piece)
        return False


class Late:
    """Answers, but only once the client has given up, and keeps the connection open."""

    def __init__(self, answer: bytes) -> None:
        self._answer = answer
        self._given_up, self._sent = threading.Event(), threading.Event()

    def __call__(self, exchange: Exchange) -> bool:
        """Answer one request."""
        self._given_up.wait(PATIENCE_S)
        try:
            exchange.sock.sendall(self._answer)
        finally:
            self._sent.set()
        return True

    def answer_now(self) -> None:
        """Let the answer be sent, although no client waits for it any more."""
        self._given_up.set()
        assert self._sent.wait(PATIENCE_S)


def refused_url() -> str:
    """The base URL of a port that is reserved, and on which no process listens."""
    return f"http://127.0.0.1:{_BOUND.getsockname()[1]}"


# Bound, so that the port is taken, but never listening, so that every connection is refused.
_BOUND = socket.socket()
_BOUND.bind(("127.0.0.1", 0))
atexit.register(_BOUND.close)
