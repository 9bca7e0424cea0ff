"""Measures the client's own time per call: ``python -m benchmarks.client``.

Six clients send the same calls to a server that answers at once:

- ours: the client of the measurement, which bounds, decodes and validates each answer;
- socket: the fastest that Python can do the same work. It sends encoded bytes, reads the answer by
  its length, decodes it with orjson and checks shape, range and sums of the scores. It has no
  timeout, knows one form of head and only says that something is wrong, not what;
- bytes: the same socket, without decoding and checking, the lower bound;
- h11: ours without its shortcut, so that h11 reads the head, as it does for unusual answers;
- httpx: an ``httpx.Client`` that sends the encoded bytes, with our decoding and validation;
- requests: ``requests.post(url, json=...)`` and ``.json()`` for each call, which is common.

Other work on the machine only ever makes a turn slower. So microseconds and ratios are those of
each client's fastest turn. Beside them stands the ratio within a round, where two clients run a few
milliseconds apart: the median of all rounds and the quartiles.
"""

from __future__ import annotations

import itertools
import os
import random
import re
import socket
import statistics
import time
import urllib.parse
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any
from unittest.mock import patch

import click
import httpx
import orjson
import requests
from rich.console import Console
from rich.table import Table

import stages.measure.http.client as client_module
from stages.documents.cell import Series
from stages.documents.matrix import ROW_SUM_TOLERANCE
from stages.measure.http.calibration import (
    CALL_TIMEOUT_S,
    CalibrationPass,
    instant_server,
    time_pass,
)
from stages.measure.http.client import ScoreConnection, encode_call
from stages.measure.http.decode import decode_scores
from stages.measure.http.exchange import ScoreRequest
from stages.measure.http.instant import ITEMS_HEADER

CHUNK_SIZES = (1, 8, 64, 500)
ITEMS = 500
QUERY_TOKENS = 2000
ITEM_TOKENS = 20
LABELS = [9454, 2753]
RIVALS = ("bytes", "socket", "h11", "httpx", "requests")
CALLS_A_TURN = 10
"""So few that most turns end before the kernel gives the processor to another process."""

_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Planned:
    """The calls of one turn: encoded for our client, and as payloads for `requests`."""

    encoded: CalibrationPass
    payloads: list[dict[str, Any]]


@dataclass(frozen=True, slots=True)
class Ratio:
    """Our seconds over another client's.

    Attributes:
        fastest: of the fastest turn of each.
        median: of the ratios within a round.
        low, high: their first and third quartiles.
    """

    fastest: float
    median: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.fastest:.2f}; {self.median:.2f} ({self.low:.2f}-{self.high:.2f})"


@dataclass(frozen=True, slots=True)
class Measured:
    """What one chunk size cost.

    Attributes:
        seconds: per call in the fastest turn, by client.
        ratios: ours over each rival, by rival.
    """

    seconds: Mapping[str, float]
    ratios: Mapping[str, Ratio]


def plan_turn(chunk_size: int) -> Planned:
    """The first calls of a pass over 500 items, repeated if it has fewer than a turn.

    Token ids are drawn from a fixed seed.
    """
    draw = random.Random(0)
    query = [draw.randrange(1000, 150_000) for _ in range(QUERY_TOKENS)]
    items = [[draw.randrange(1000, 150_000) for _ in range(ITEM_TOKENS)] for _ in range(ITEMS)]
    whole_pass = [items[at : at + chunk_size] for at in range(0, ITEMS, chunk_size)]
    chunks = list(itertools.islice(itertools.cycle(whole_pass), CALLS_A_TURN))
    return Planned(
        encoded=CalibrationPass(
            series=Series("benchmark", chunk_size),
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


def socket_turn(connection: socket.socket, host: str, planned: Planned, *, decodes: bool) -> float:
    """Seconds for the calls of a turn, as encoded bytes over an open socket.

    Args:
        connection: to the server at ``host``.
        host: the request's ``Host``.
        planned: the calls.
        decodes: whether the answers are decoded and their scores checked.
    """
    calls = [
        (
            f"POST /v1/score HTTP/1.1\r\nHost: {host}\r\nContent-Type: application/json\r\n"
            f"Content-Length: {len(request.body)}\r\n"
            f"{ITEMS_HEADER}: {request.item_count}\r\n\r\n"
        ).encode()
        + request.body
        for request in planned.encoded.requests
    ]
    counts = [request.item_count for request in planned.encoded.requests]
    start = time.monotonic_ns()
    for call, count in zip(calls, counts, strict=True):
        connection.sendall(call)
        answer = connection.recv(1 << 16)
        while (head_end := answer.find(b"\r\n\r\n")) < 0:
            answer += connection.recv(1 << 16)
        length = _LENGTH.search(answer)
        assert length is not None
        answer_end = head_end + 4 + int(length[1])
        while len(answer) < answer_end:
            answer += connection.recv(1 << 16)
        if decodes:
            checked_scores(answer[head_end + 4 : answer_end], count)
    return (time.monotonic_ns() - start) / 1e9


def checked_scores(body: bytes, item_count: int) -> list[float]:
    """The scores of an answer, item by item.

    Raises:
        ValueError: they are not one softmax row for each item.
    """
    rows = orjson.loads(body)["scores"]
    if len(rows) != item_count:
        raise ValueError("not a row for each item")
    scores: list[float] = []
    for row in rows:
        if len(row) != len(LABELS) or abs(sum(row) - 1.0) > ROW_SUM_TOLERANCE:
            raise ValueError("not a softmax row")
        for score in row:
            if not 0.0 <= score <= 1.0:
                raise ValueError("not a probability")
        scores += row
    return scores


def h11_turn(connection: ScoreConnection, planned: Planned) -> float:
    """Seconds for the calls of a turn by our client, with every answer read by h11."""
    with patch.object(client_module, "usual_head", lambda _: None):
        return time_pass(connection, planned.encoded)


def httpx_turn(client: httpx.Client, url: str, planned: Planned) -> float:
    """Seconds for the calls of a turn by ``httpx.Client.post``, with our decoding."""
    calls = [
        (request, {"Content-Type": "application/json", ITEMS_HEADER: str(request.item_count)})
        for request in planned.encoded.requests
    ]
    start = time.monotonic_ns()
    for request, headers in calls:
        reply = client.post(url, content=request.body, headers=headers)
        decoded = decode_scores(
            reply.status_code, reply.content, request.item_count, request.labels, True
        )
        assert decoded.status == "ok"
    return (time.monotonic_ns() - start) / 1e9


def requests_turn(url: str, planned: Planned) -> float:
    """Seconds for the calls of a turn by ``requests.post``, with encoding and decoding."""
    start = time.monotonic_ns()
    for payload in planned.payloads:
        count = len(payload["items"])
        headers = {ITEMS_HEADER: str(count)}
        reply = requests.post(url, json=payload, headers=headers, timeout=CALL_TIMEOUT_S)
        assert len(reply.json()["scores"]) == count
    return (time.monotonic_ns() - start) / 1e9


@contextmanager
def connected() -> Iterator[dict[str, Callable[[Planned], float]]]:
    """Every client by name, connected to one instant server."""
    with instant_server(len(LABELS)) as base_url:
        host = urllib.parse.urlsplit(base_url).netloc
        name, port = host.split(":")
        url = f"{base_url}/v1/score"
        with (
            socket.create_connection((name, int(port))) as raw,
            ScoreConnection(base_url, CALL_TIMEOUT_S) as ours,
            httpx.Client(timeout=CALL_TIMEOUT_S, trust_env=False) as client,
        ):
            raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            yield {
                "bytes": lambda plan: socket_turn(raw, host, plan, decodes=False),
                "socket": lambda plan: socket_turn(raw, host, plan, decodes=True),
                "ours": lambda plan: time_pass(ours, plan.encoded),
                "h11": lambda plan: h11_turn(ours, plan),
                "httpx": lambda plan: httpx_turn(client, url, plan),
                "requests": lambda plan: requests_turn(url, plan),
            }


def measure(rounds: int) -> dict[int, Measured]:
    """What every client took, by chunk size.

    The clients take turns within a round, in an order drawn for each round, so that no client
    always comes at the end of the processor time that the kernel grants. The first round is a
    warm-up and not counted.
    """
    # `requests` would send loopback calls to a proxy that the shell sets.
    os.environ["NO_PROXY"] = os.environ["no_proxy"] = "127.0.0.1"
    order = random.Random(1)
    plans = {chunk_size: plan_turn(chunk_size) for chunk_size in CHUNK_SIZES}
    with connected() as clients:
        turns = [(chunk, client) for chunk in CHUNK_SIZES for client in clients]
        seconds: dict[tuple[int, str], list[float]] = {turn: [] for turn in turns}
        for number in range(rounds + 1):
            for chunk, client in order.sample(turns, len(turns)):
                took = clients[client](plans[chunk]) / CALLS_A_TURN
                if number:
                    seconds[chunk, client].append(took)
    return {
        chunk: Measured(
            seconds={client: min(seconds[chunk, client]) for client in clients},
            ratios={
                rival: ratio(seconds[chunk, "ours"], seconds[chunk, rival]) for rival in RIVALS
            },
        )
        for chunk in CHUNK_SIZES
    }


def ratio(ours: list[float], theirs: list[float]) -> Ratio:
    """Our seconds over theirs, of turns that are listed round by round."""
    each = [one / other for one, other in zip(ours, theirs, strict=True)]
    low, median, high = (
        statistics.quantiles(each, n=4, method="inclusive") if len(each) > 1 else each * 3
    )
    return Ratio(min(ours) / min(theirs), median, low, high)


def show(measured: Mapping[int, Measured], rounds: int) -> None:
    """Print microseconds per call and the ratios between the clients."""
    table = Table(
        title=f"Microseconds per call in the fastest of {rounds} turns; ours over each rival's: "
        "of the fastest turns, then within a round the median (quartiles). "
        f"Query {QUERY_TOKENS} tokens, items {ITEM_TOKENS} tokens"
    )
    of_rivals = [f"ours/{rival}" for rival in RIVALS]
    for column in ("items", "ours", *RIVALS, *of_rivals):
        table.add_column(column, justify="right")
    for chunk, one in measured.items():
        table.add_row(
            str(chunk),
            *(f"{1e6 * one.seconds[client]:.0f}" for client in ("ours", *RIVALS)),
            *(str(one.ratios[rival]) for rival in RIVALS),
        )
    # As wide as it is: a narrow terminal would cut the figures.
    Console(width=210).print(table)


@click.command(help="Measure the client's own time per call.")
@click.option("--rounds", type=click.IntRange(min=1), default=101, show_default=True)
def main(rounds: int) -> None:
    """Print what every client takes."""
    show(measure(rounds), rounds)


if __name__ == "__main__":
    main()
