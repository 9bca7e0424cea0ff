"""A small real HTTP server that answers ``/v1/score``, correctly unless told otherwise.

Run as a program, it takes the place of a backend's server in tests of the harness: it
is started by the same ``Server``, asked by the same client and stopped the same way.
"""

from __future__ import annotations

import argparse
import hashlib
import http.server
import json
import os
import signal
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


def right_score(query: list[int], item: list[int]) -> float:
    """The score this server gives an item: a number in (0, 1) that all its tokens decide."""
    digest = hashlib.sha256(json.dumps([query, item]).encode()).digest()
    return (int.from_bytes(digest[:6], "big") + 1) / (2**48 + 2)


class Handler(http.server.BaseHTTPRequestHandler):
    """Keep-alive, one thread; counts the calls it answered."""

    protocol_version = "HTTP/1.1"
    arguments: argparse.Namespace
    calls = 0
    compiled: set[int] = set()  # noqa: RUF012  one server, one process

    def do_POST(self) -> None:
        """Answer one scoring request."""
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        cls = type(self)
        cls.calls += 1
        arguments = cls.arguments
        if arguments.compiles and len(body["items"]) not in cls.compiled:
            cls.compiled.add(len(body["items"]))
            print("Prefill batch. #bid: 1, #cache_miss: 2", flush=True)
        if arguments.crash_at and cls.calls == arguments.crash_at and self._first_life():
            os.kill(os.getpid(), signal.SIGKILL)
        time.sleep(arguments.sleep)
        scores = [[p, 1 - p] for p in (right_score(body["query"], i) for i in body["items"])]
        status = 200
        if arguments.fail_at and cls.calls == arguments.fail_at:
            status, scores = 500, []
        answer = json.dumps({"scores": scores}).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def _first_life(self) -> bool:
        """Whether this is the first server of the test to get here (or they all may crash)."""
        if self.arguments.mark is None:
            return True
        try:
            self.arguments.mark.touch(exist_ok=False)
        except FileExistsError:
            return False
        return True

    def log_message(self, *_: object) -> None:
        """Say nothing."""


def main() -> None:
    """Serve until stopped."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--crash-at", type=int, help="die at this call")
    parser.add_argument("--mark", type=Path, help="file that makes the crash happen once only")
    parser.add_argument("--fail-at", type=int, help="answer 500 to this call")
    parser.add_argument("--compiles", action="store_true", help="compile per new item count")
    parser.add_argument("--sleep", type=float, default=0.0, help="seconds per call")
    Handler.arguments = parser.parse_args()
    address = (Handler.arguments.host, Handler.arguments.port)
    try:
        http.server.HTTPServer(address, Handler).serve_forever()
    except KeyboardInterrupt:
        sys.exit(0)


if __name__ == "__main__":
    main()
