"""Measures the client's own time per pass: ``python -m benchmarks.client``.

Three clients score the same 500 items against a server that answers at once:

- ours: the client of the measurement, with decoding and validation;
- raw socket: sends encoded bytes and reads the answer's bytes without decoding them, which is the
  lower bound;
- requests: ``requests.post(url, json=...)`` and ``.json()`` for each call, which is common.
"""

from __future__ import annotations

import os
import random
import re
import socket
import statistics
import time
import urllib.parse
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import click
import requests
from rich.console import Console
from rich.table import Table

from stages.measure.http.calibration import (
    CALL_TIMEOUT_S,
    CalibrationPass,
    instant_server,
    time_pass,
)
from stages.measure.http.client import ScoreConnection, encode_call
from stages.measure.http.exchange import ScoreRequest
from stages.measure.http.instant import ITEMS_HEADER

CHUNK_SIZES = (1, 8, 64, 500)
ITEMS = 500
QUERY_TOKENS = 2000
ITEM_TOKENS = 20
LABELS = [9454, 2753]

_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Planned:
    """One pass: encoded for our client, and as payloads for `requests`."""

    encoded: CalibrationPass
    payloads: list[dict[str, Any]]


def plan_pass(chunk_size: int) -> Planned:
    """A pass over 500 items of token ids drawn from a fixed seed."""
    draw = random.Random(0)
    query = [draw.randrange(1000, 150_000) for _ in range(QUERY_TOKENS)]
    items = [[draw.randrange(1000, 150_000) for _ in range(ITEM_TOKENS)] for _ in range(ITEMS)]
    chunks = [items[at : at + chunk_size] for at in range(0, ITEMS, chunk_size)]
    return Planned(
        encoded=CalibrationPass(
            chunk_size=chunk_size,
            requests=[
                ScoreRequest(
                    encode_call(query, chunk, LABELS, True, False), len(chunk), len(LABELS), True
                )
                for chunk in chunks
            ],
        ),
        payloads=[
            {
                "query": query,
                "items": chunk,
                "label_token_ids": LABELS,
                "apply_softmax": True,
                "item_first": False,
                "model": "default",
            }
            for chunk in chunks
        ],
    )


def raw_socket_pass(connection: socket.socket, host: str, planned: Planned) -> float:
    """Seconds for one pass of encoded bytes over an open socket."""
    calls = [
        (
            f"POST /v1/score HTTP/1.1\r\nHost: {host}\r\nContent-Type: application/json\r\n"
            f"Content-Length: {len(request.body)}\r\n"
            f"{ITEMS_HEADER}: {request.item_count}\r\n\r\n"
        ).encode()
        + request.body
        for request in planned.encoded.requests
    ]
    start = time.monotonic_ns()
    for call in calls:
        connection.sendall(call)
        answer = connection.recv(1 << 16)
        while (head_end := answer.find(b"\r\n\r\n")) < 0:
            answer += connection.recv(1 << 16)
        length = _LENGTH.search(answer)
        assert length is not None
        answer_end = head_end + 4 + int(length[1])
        while len(answer) < answer_end:
            answer += connection.recv(1 << 16)
    return (time.monotonic_ns() - start) / 1e9


def requests_pass(url: str, planned: Planned) -> float:
    """Seconds for one pass of ``requests.post``, with encoding and decoding."""
    start = time.monotonic_ns()
    for payload in planned.payloads:
        count = len(payload["items"])
        headers = {ITEMS_HEADER: str(count)}
        reply = requests.post(url, json=payload, headers=headers, timeout=CALL_TIMEOUT_S)
        assert len(reply.json()["scores"]) == count
    return (time.monotonic_ns() - start) / 1e9


def measure(rounds: int) -> dict[int, dict[str, float]]:
    """Median seconds per pass by chunk size and client.

    The clients take turns within a round, and the order is reversed from round to round. The first
    round is a warm-up and not counted.
    """
    plans = {chunk_size: plan_pass(chunk_size) for chunk_size in CHUNK_SIZES}
    with instant_server(len(LABELS)) as base_url:
        host = urllib.parse.urlsplit(base_url).netloc
        name, port = host.split(":")
        with (
            socket.create_connection((name, int(port))) as raw,
            ScoreConnection(base_url, CALL_TIMEOUT_S) as ours,
        ):
            raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            clients: dict[str, Callable[[Planned], float]] = {
                "raw": lambda plan: raw_socket_pass(raw, host, plan),
                "ours": lambda plan: time_pass(ours, plan.encoded),
                "requests": lambda plan: requests_pass(f"{base_url}/v1/score", plan),
            }
            turns = [(chunk, client) for chunk in CHUNK_SIZES for client in clients]
            seconds: dict[tuple[int, str], list[float]] = {turn: [] for turn in turns}
            for number in range(rounds + 1):
                for turn in turns if number % 2 else reversed(turns):
                    took = clients[turn[1]](plans[turn[0]])
                    if number:
                        seconds[turn].append(took)
    return {
        chunk: {client: statistics.median(seconds[chunk, client]) for client in clients}
        for chunk in CHUNK_SIZES
    }


@click.command(help="Measure the client's own time per 500-item pass.")
@click.option("--rounds", type=click.IntRange(min=1), default=11, show_default=True)
def main(rounds: int) -> None:
    """Print milliseconds per pass and the ratios between the clients."""
    # `requests` would send loopback calls to a proxy that the shell sets.
    os.environ["NO_PROXY"] = os.environ["no_proxy"] = "127.0.0.1"
    table = Table(
        title=f"Client time per {ITEMS}-item pass, ms (median of {rounds}); query "
        f"{QUERY_TOKENS} tokens, items {ITEM_TOKENS} tokens"
    )
    for column in ("chunk", "calls", "raw socket", "ours", "requests", "ours/raw", "requests/ours"):
        table.add_column(column, justify="right")
    for chunk, taken in measure(rounds).items():
        raw, ours, posted = taken["raw"], taken["ours"], taken["requests"]
        table.add_row(
            str(chunk),
            str(-(-ITEMS // chunk)),
            *(f"{1000 * seconds:.2f}" for seconds in (raw, ours, posted)),
            f"{ours / raw:.2f}",
            f"{posted / ours:.2f}",
        )
    Console().print(table)


if __name__ == "__main__":
    main()
