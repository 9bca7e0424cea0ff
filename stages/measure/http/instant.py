"""A server that answers ``POST /v1/score`` at once.

It is started as ``python -m stages.measure.http.instant LABELS``.

The time of a pass against it is the client's own share. It prints its port on 127.0.0.1 and ends
when its standard input closes, so it cannot outlive the process that started it. Every request
says in ``X-Items`` how many items it holds. The body is read, not parsed.
"""

from __future__ import annotations

import functools
import json
import os
import re
import socket
import sys
import threading

ITEMS_HEADER = "X-Items"

_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)
_ITEMS = re.compile(rb"\r\nx-items: *(\d+)", re.IGNORECASE)
_READ_BYTES = 1 << 20


@functools.cache
def canned_answer(item_count: int, labels: int) -> bytes:
    """A whole HTTP answer with ``item_count`` x ``labels`` scores, each row summing to 1.

    Scores have all their digits, like a model's. Short ones would be cheaper to parse.
    """
    rows = []
    for item in range(item_count):
        weights = [1 / (1.3 + label + item % 7) for label in range(labels)]
        rows.append([weight / sum(weights) for weight in weights])
    answer = {
        "scores": rows,
        "model": "default",
        "usage": {"prompt_tokens": 0, "total_tokens": 0, "completion_tokens": 0},
        "object": "scoring",
    }
    body = json.dumps(answer, separators=(",", ":")).encode()
    head = (
        "HTTP/1.1 200 OK\r\n"
        "date: Thu, 01 Jan 2026 00:00:00 GMT\r\n"
        "server: uvicorn\r\n"
        f"content-length: {len(body)}\r\n"
        "content-type: application/json\r\n\r\n"
    )
    return head.encode() + body


def serve(connection: socket.socket, labels: int) -> None:
    """Answer one connection's requests in turn until the client closes it."""
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    received = bytearray()
    with connection:
        while True:
            while (head_end := received.find(b"\r\n\r\n")) < 0:
                if not _receive(connection, received):
                    return
            head = bytes(received[:head_end])
            length, items = _LENGTH.search(head), _ITEMS.search(head)
            if length is None or items is None:
                return
            request_end = head_end + 4 + int(length[1])
            while len(received) < request_end:
                if not _receive(connection, received):
                    return
            del received[:request_end]
            connection.sendall(canned_answer(int(items[1]), labels))


def _receive(connection: socket.socket, received: bytearray) -> bool:
    try:
        data = connection.recv(_READ_BYTES)
    except ConnectionResetError:
        return False
    received += data
    return bool(data)


def _end_with_stdin() -> None:
    while os.read(0, 4096):
        pass
    os._exit(0)


def main() -> None:
    """Serve any number of connections until standard input closes."""
    labels = int(sys.argv[1])
    threading.Thread(target=_end_with_stdin, daemon=True).start()
    with socket.create_server(("127.0.0.1", 0)) as listener:
        print(listener.getsockname()[1], flush=True)
        while True:
            connection, _ = listener.accept()
            threading.Thread(target=serve, args=(connection, labels), daemon=True).start()


if __name__ == "__main__":
    main()
