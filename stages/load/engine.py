"""Sends requests that overlap, in an open or in a closed loop, and times each of them.

In an *open* loop requests are sent when their arrivals are due, however many are in flight: so do
users, who know nothing of each other. In a *closed* loop a fixed number is in flight, and the next
is sent when one was answered.

Every request goes the way of a timed pass: prepared before the clock starts, then
:func:`stages.measure.http.exchange.exchange`. One thread waits for each request in flight.
"""

from __future__ import annotations

import contextlib
import itertools
import queue
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

from stages.measure.http.client import CallFailed, ScoreConnection
from stages.measure.http.decode import Decoded
from stages.measure.http.exchange import PreparedRequest, ScoreRequest, exchange

_LEAD_S = 0.05
"""From the last connection to the beginning of an open level."""

type Take = Callable[[], tuple[int, int] | None]
"""The next request, by its place, and when it was due in monotonic ns; ``None`` at the end."""


@dataclass(frozen=True, slots=True)
class LoadedRequest:
    """One request under load; times are in monotonic nanoseconds of the client.

    Attributes:
        place: among the level's requests, from 0.
        scheduled_ns: when it was due. In a closed loop, when its turn came.
        sent_ns: when the client began to send it.
        first_byte_ns: when the answer began; ``None`` where no whole answer came.
        done_ns: when its answer was decoded and validated, or had failed.
        answer: validated.
    """

    place: int
    scheduled_ns: int
    sent_ns: int
    first_byte_ns: int | None
    done_ns: int
    answer: Decoded

    @property
    def latency_ns(self) -> int:
        """From its arrival, so that a late client or a queue counts."""
        return self.done_ns - self.scheduled_ns

    @property
    def delay_ns(self) -> int:
        """How late the client sent it."""
        return self.sent_ns - self.scheduled_ns


@dataclass(frozen=True, slots=True)
class Level:
    """What became of the requests of one level.

    Attributes:
        requests: those that were sent, by place.
        saturated: whether an arrival found as many requests in flight as there may be. Then
            nothing more was sent.
    """

    requests: list[LoadedRequest]
    saturated: bool


def open_loop(
    requests: Sequence[ScoreRequest],
    due_s: Sequence[float],
    *,
    connect: Callable[[], ScoreConnection],
    most_in_flight: int,
) -> Level:
    """Send each request when it is due.

    Args:
        requests: encoded.
        due_s: when each is due, in seconds from the beginning of the level; rising.
        connect: makes a connection to the server; one is made for each request in flight.
        most_in_flight: an arrival that finds so many ends the level; at least 1.

    Raises:
        ValueError: there are more requests than arrivals, or fewer.
    """
    if len(requests) != len(due_s):
        raise ValueError(f"{len(requests)} requests, but {len(due_s)} arrivals")
    waiting: queue.SimpleQueue[tuple[int, int] | None] = queue.SimpleQueue()
    with _workers(requests, connect, most_in_flight, waiting.get) as crew:
        try:
            begin_ns = time.monotonic_ns() + round(_LEAD_S * 1e9)
            for place, due in enumerate(due_s):
                due_ns = begin_ns + round(due * 1e9)
                _sleep_until(due_ns)
                if crew.failed.is_set() or place - crew.answered >= most_in_flight:
                    break
                waiting.put((place, due_ns))
        finally:
            for _ in range(most_in_flight):
                waiting.put(None)
    found = crew.found()
    return Level(found, saturated=len(found) < len(due_s))


def closed_loop(
    requests: Sequence[ScoreRequest],
    *,
    connect: Callable[[], ScoreConnection],
    in_flight: int,
) -> Level:
    """Send each request as soon as fewer than ``in_flight`` are in flight, in order.

    Args:
        requests: encoded.
        connect: makes a connection to the server; one is made for each request in flight.
        in_flight: requests at a time; at least 1.
    """
    # Of a C iterator, so that two threads never take the same place.
    places = itertools.count()

    def take() -> tuple[int, int] | None:
        place = next(places)
        return (place, time.monotonic_ns()) if place < len(requests) else None

    with _workers(requests, connect, in_flight, take) as crew:
        pass  # until nothing is left to take
    return Level(crew.found(), saturated=False)


class _Crew:
    """Threads that send what they take, one request each at a time."""

    def __init__(self, prepared: list[PreparedRequest], take: Take) -> None:
        self._prepared = prepared
        self._take = take
        self._found: list[LoadedRequest] = []
        self._ready = threading.Semaphore(0)
        self.begin = threading.Event()
        self.failed = threading.Event()

    @property
    def answered(self) -> int:
        """Requests that were answered or have failed."""
        return len(self._found)

    def found(self) -> list[LoadedRequest]:
        """Every request that was sent, by place."""
        return sorted(self._found, key=lambda one: one.place)

    def wait_until_connected(self, workers: int) -> None:
        """Wait until each of them has a connection, or failed to get one."""
        for _ in range(workers):
            self._ready.acquire()

    def work(self, connection: ScoreConnection) -> None:
        """Send what comes over one connection, until nothing does or the level has failed."""
        try:
            self._work(connection)
        except BaseException:
            self.failed.set()
            raise

    def _work(self, connection: ScoreConnection) -> None:
        with connection:
            try:
                # Where it cannot connect, the first request says so.
                with contextlib.suppress(CallFailed):
                    connection.open()
            finally:
                self._ready.release()
            self.begin.wait()
            while not self.failed.is_set() and (turn := self._take()) is not None:
                place, due_ns = turn
                sent_ns = time.monotonic_ns()
                answer, reply = exchange(connection, self._prepared[place])
                self._found.append(
                    LoadedRequest(
                        place=place,
                        scheduled_ns=due_ns,
                        sent_ns=sent_ns,
                        first_byte_ns=None if reply is None else reply.first_byte_ns,
                        done_ns=time.monotonic_ns(),
                        answer=answer,
                    )
                )


@contextlib.contextmanager
def _workers(
    requests: Sequence[ScoreRequest],
    connect: Callable[[], ScoreConnection],
    count: int,
    take: Take,
) -> Iterator[_Crew]:
    """So many threads at work; leaving waits until each has found nothing more to take."""
    connections = [connect() for _ in range(count)]
    # A prepared request does not depend on which connection of a server it is sent over.
    crew = _Crew([request.prepare(connections[0]) for request in requests], take)
    with ThreadPoolExecutor(count, "load") as pool:
        working: list[Future[None]] = []
        try:
            working += [pool.submit(crew.work, one) for one in connections]
            crew.wait_until_connected(count)
            crew.begin.set()
            yield crew
            for one in working:
                one.result()
        except BaseException:
            # An interruption or a fault: nothing more is sent. Requests in flight are waited for.
            crew.failed.set()
            raise
        finally:
            crew.begin.set()


def _sleep_until(due_ns: int) -> None:
    while (left_ns := due_ns - time.monotonic_ns()) > 0:
        time.sleep(left_ns / 1e9)
