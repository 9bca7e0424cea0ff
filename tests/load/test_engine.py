"""Requests that overlap, against a real server that sees how many it holds at a time."""

from __future__ import annotations

import itertools
import os
import signal
import threading
from collections.abc import Callable, Iterator
from typing import NoReturn

import orjson
import pytest
from misbehaving import (
    Behaviour,
    Exchange,
    closes,
    hangs,
    http,
    misbehaving,
    refused_url,
    says,
)
from patience import PATIENCE_S

from stages.load.engine import Level, closed_loop, open_loop
from stages.measure.http.client import ScoreConnection
from stages.measure.http.exchange import ScoreRequest

LABELS = 2


def request(number: int) -> ScoreRequest:
    """One item, whose scores :func:`scores_of` knows."""
    return ScoreRequest(str(number).encode(), 1, LABELS, True)


def scores_of(body: bytes) -> list[float]:
    share = 1 / (2 + int(body))
    return [share, 1 - share]


def answer(exchange: Exchange) -> bool:
    """Answer with the request's own scores."""
    exchange.sock.sendall(http(orjson.dumps({"scores": [scores_of(exchange.body)]})))
    return True


class Together:
    """A server's requests at a time.

    Attributes:
        most: that it held at a time so far.
    """

    def __init__(self, wanted: int) -> None:
        self.most = 0
        self._held = 0
        self._lock = threading.Lock()
        self._wanted = threading.Barrier(wanted)

    def __call__(self, exchange: Exchange) -> bool:
        """Answer a request once it is one of so many."""
        with self._lock:
            self._held += 1
            self.most = max(self.most, self._held)
        self._wanted.wait(PATIENCE_S)
        with self._lock:
            self._held -= 1
        return answer(exchange)


def to(url: str, timeout_s: float = PATIENCE_S) -> Callable[[], ScoreConnection]:
    return lambda: ScoreConnection(url, timeout_s)


def check_times(level: Level) -> None:
    for one in level.requests:
        assert one.scheduled_ns <= one.sent_ns <= one.done_ns
        assert one.latency_ns - one.delay_ns == one.done_ns - one.sent_ns
        if one.first_byte_ns is not None:
            assert one.sent_ns <= one.first_byte_ns <= one.done_ns


def statuses(level: Level) -> list[str]:
    return [one.answer.status for one in level.requests]


@pytest.mark.parametrize("in_flight", [1, 2, 4])
def test_in_a_closed_loop_so_many_requests_are_in_flight_and_never_more(in_flight: int) -> None:
    server_side = Together(in_flight)
    requests = [request(n) for n in range(4 * in_flight)]
    with misbehaving(server_side) as server:
        level = closed_loop(requests, connect=to(server.url), in_flight=in_flight)
        assert server.accepted == in_flight
    assert server_side.most == in_flight
    assert [one.place for one in level.requests] == list(range(len(requests)))
    assert not level.saturated
    check_times(level)


def test_each_request_gets_its_own_answer_however_many_overlap() -> None:
    requests = [request(n) for n in range(200)]
    with misbehaving(Together(8)) as server:
        level = closed_loop(requests, connect=to(server.url), in_flight=8)
    assert [one.answer.scores for one in level.requests] == [
        scores_of(each.body) for each in requests
    ]


def test_in_an_open_loop_no_request_waits_for_the_answer_of_another() -> None:
    due_s = [0.0, 0.01, 0.01, 0.03, 0.05, 0.05]
    requests = [request(n) for n in range(len(due_s))]
    # None is answered before all of them have come.
    with misbehaving(Together(len(due_s))) as server:
        level = open_loop(requests, due_s, connect=to(server.url), most_in_flight=len(due_s) + 1)
    assert statuses(level) == ["ok"] * len(due_s)
    assert not level.saturated
    check_times(level)
    begin_ns = level.requests[0].scheduled_ns
    assert [one.scheduled_ns - begin_ns for one in level.requests] == [
        round(due * 1e9) for due in due_s
    ]


class Dues(list[float]):
    """Arrivals that tell when nobody asks for the next one any more."""

    def __init__(self, due_s: list[float]) -> None:
        super().__init__(due_s)
        self.over = threading.Event()

    def __iter__(self) -> Iterator[float]:
        try:
            yield from super().__iter__()
        finally:
            self.over.set()


def test_an_arrival_that_finds_too_many_in_flight_ends_the_level() -> None:
    due_s = Dues([0.0] * 10)

    def once_it_is_over(exchange: Exchange) -> bool:
        assert due_s.over.wait(PATIENCE_S)
        return answer(exchange)

    with misbehaving(once_it_is_over) as server:
        level = open_loop(
            [request(n) for n in range(10)], due_s, connect=to(server.url), most_in_flight=3
        )
        assert len(server.bodies) == 3
    assert level.saturated
    assert [one.place for one in level.requests] == [0, 1, 2]
    assert statuses(level) == ["ok"] * 3


@pytest.mark.parametrize(
    ("behaviour", "status", "begins"),
    [
        (says(http(b"busy", 503)), "http_5xx", True),
        (says(http(b"slow down", 429)), "http_4xx", True),
        (says(http(b"{}")), "wrong_shape", True),
        (closes, "connection_error", False),
        (hangs, "timeout", False),
    ],
    ids=["503", "429", "no scores", "closes", "hangs"],
)
def test_a_failure_keeps_its_kind_and_the_other_requests_are_sent(
    behaviour: Behaviour, status: str, begins: bool
) -> None:
    timeout_s = 0.5 if status == "timeout" else PATIENCE_S
    with misbehaving(behaviour) as server:
        level = closed_loop(
            [request(n) for n in range(6)], connect=to(server.url, timeout_s), in_flight=2
        )
    assert statuses(level) == [status] * 6
    assert {one.first_byte_ns is not None for one in level.requests} == {begins}
    check_times(level)


def test_where_nobody_listens_every_request_says_so() -> None:
    level = open_loop(
        [request(n) for n in range(4)], [0.0] * 4, connect=to(refused_url()), most_in_flight=4
    )
    assert statuses(level) == ["connection_error"] * 4


class CannotSend(ScoreConnection):
    def send(self, *_: object) -> NoReturn:
        raise ZeroDivisionError


class CannotOpen(ScoreConnection):
    def open(self) -> NoReturn:
        raise ZeroDivisionError


@pytest.mark.parametrize("broken", [CannotSend, CannotOpen])
def test_a_fault_of_the_client_itself_is_no_failed_request_and_ends_the_level(
    broken: type[ScoreConnection],
) -> None:
    requests = [request(n) for n in range(3)]
    with misbehaving(answer) as server:
        with pytest.raises(ZeroDivisionError):
            closed_loop(requests, connect=lambda: broken(server.url, PATIENCE_S), in_flight=2)
        with pytest.raises(ZeroDivisionError):
            open_loop(
                requests,
                # The last is due when nobody waits for it any more.
                [0.0, 0.0, 86_400.0] if broken is CannotOpen else [0.0, 0.0, 0.5],
                connect=lambda: broken(server.url, PATIENCE_S),
                most_in_flight=3,
            )
        assert server.bodies == []


def test_an_interruption_sends_nothing_more_and_leaves_no_thread() -> None:
    first = itertools.count()
    interrupted = threading.Event()

    def interrupts(exchange: Exchange) -> bool:
        """Interrupt the client at the first request, and answer none before it knows."""
        if next(first) == 0:
            os.kill(os.getpid(), signal.SIGINT)
        assert interrupted.wait(PATIENCE_S)
        return answer(exchange)

    def notes(number: int, frame: object) -> NoReturn:
        interrupted.set()
        raise KeyboardInterrupt

    usual = signal.signal(signal.SIGINT, notes)
    try:
        with misbehaving(interrupts) as server:
            with pytest.raises(KeyboardInterrupt):
                closed_loop([request(n) for n in range(5000)], connect=to(server.url), in_flight=2)
            assert not [one for one in threading.enumerate() if one.name.startswith("load")]
            assert len(server.bodies) < 5000
    finally:
        signal.signal(signal.SIGINT, usual)


@pytest.mark.parametrize("arrivals", [1, 3])
def test_requests_and_arrivals_that_do_not_match_are_refused(arrivals: int) -> None:
    with misbehaving(answer) as server:
        with pytest.raises(ValueError, match=f"2 requests, but {arrivals} arrivals"):
            open_loop(
                [request(0), request(1)],
                [0.0] * arrivals,
                connect=to(server.url),
                most_in_flight=2,
            )
        assert server.bodies == []
