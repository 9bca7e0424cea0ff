"""A network stream of httpcore's interface, over TCP, with fewer system calls.

httpcore's own sets the socket's timeout before each read and write, and such a socket is waited
for before each of them: seven system calls a call where four do. In a sandbox, one may take several
microseconds. A connection with TLS keeps httpcore's stream.
"""

from __future__ import annotations

import select
import socket
import ssl
from typing import Any

import httpcore

_MS = 1000


class TcpStream(httpcore.NetworkStream):
    """An open TCP connection. Not for use by two threads.

    Args:
        sock: the connection; it belongs to the stream.
    """

    def __init__(self, sock: socket.socket) -> None:
        sock.setblocking(False)
        self._sock = sock
        self._readable, self._writable = select.poll(), select.poll()
        self._readable.register(sock, select.POLLIN)
        self._writable.register(sock, select.POLLOUT)

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        """The bytes that have come, at least one; none if the peer has closed.

        Raises:
            httpcore.ReadTimeout: nothing came in ``timeout`` seconds.
            httpcore.ReadError: the connection is broken.
        """
        while True:
            # An answer takes a while, so the first attempt to read would be in vain.
            if not self._readable.poll(_milliseconds(timeout)):
                raise httpcore.ReadTimeout("timed out")
            try:
                return self._sock.recv(max_bytes)
            except BlockingIOError:
                continue  # the kernel dropped what it had reported, such as a bad checksum
            except OSError as error:
                raise httpcore.ReadError(error) from error

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        """Hand all bytes to the kernel.

        Raises:
            httpcore.WriteTimeout: the peer read nothing in ``timeout`` seconds.
            httpcore.WriteError: the connection is broken.
        """
        while buffer:
            try:
                buffer = buffer[self._sock.send(buffer) :]
            except BlockingIOError:
                if not self._writable.poll(_milliseconds(timeout)):
                    raise httpcore.WriteTimeout("timed out") from None
            except OSError as error:
                raise httpcore.WriteError(error) from error

    def close(self) -> None:
        """Close the connection."""
        self._sock.close()

    def start_tls(
        self,
        ssl_context: ssl.SSLContext,
        server_hostname: str | None = None,
        timeout: float | None = None,
    ) -> httpcore.NetworkStream:
        """Never: TLS is started on httpcore's own stream."""
        raise NotImplementedError

    def get_extra_info(self, info: str) -> Any:
        """Whether a read would return at once (``is_readable``), or the ``socket``."""
        if info == "is_readable":
            return bool(self._readable.poll(0))
        return self._sock if info == "socket" else None


def _milliseconds(timeout: float | None) -> float | None:
    return None if timeout is None else timeout * _MS
