"""Servers that are right about one request at a time and wrong about two, caught by their twins."""

from __future__ import annotations

import threading
from collections.abc import Callable

import orjson
import pytest
from misbehaving import Behaviour, Exchange, http, misbehaving
from patience import PATIENCE_S

from stages.load.engine import closed_loop
from stages.measure.http.client import ScoreConnection
from stages.measure.http.exchange import ScoreRequest
from stages.traffic.parity import Answered, Parity, parity

REQUESTS = [ScoreRequest(str(number).encode(), 1, 2, True) for number in range(12)]


def answer(exchange: Exchange, score: float) -> bool:
    exchange.sock.sendall(http(orjson.dumps({"scores": [[score, 1 - score]]})))
    return True


def score_of(body: bytes) -> float:
    return 1 / (2 + int(body))


class Pairs:
    """Answers two requests at a time together, one at a time alone.

    Args:
        wrong: the score that a request gets, from its own body and that of the one beside it.
    """

    def __init__(self, wrong: Callable[[bytes, bytes], float]) -> None:
        self._wrong = wrong
        self._both = threading.Barrier(2)
        self._bodies: dict[int, bytes] = {}
        self.overlaps = True

    def __call__(self, exchange: Exchange) -> bool:
        if not self.overlaps:
            return answer(exchange, score_of(exchange.body))
        mine = self._both.wait(PATIENCE_S)
        self._bodies[mine] = exchange.body
        self._both.wait(PATIENCE_S)
        other = self._bodies[1 - mine]
        self._both.wait(PATIENCE_S)
        return answer(exchange, self._wrong(exchange.body, other))


def under_load(server_side: Pairs) -> Parity:
    """Each request with another one in flight, then each alone."""
    behaviour: Behaviour = server_side
    with misbehaving(behaviour) as server:

        def scores(in_flight: int) -> list[list[float] | None]:
            level = closed_loop(
                REQUESTS,
                connect=lambda: ScoreConnection(server.url, PATIENCE_S),
                in_flight=in_flight,
            )
            assert {one.answer.status for one in level.requests} == {"ok"}
            return [one.answer.scores for one in level.requests]

        loaded = scores(2)
        server_side.overlaps = False
        alone = scores(1)
    return parity([Answered(*both) for both in zip(loaded, alone, strict=True)], 0.02)


def test_an_honest_server_answers_the_same_whatever_overlaps() -> None:
    found = under_load(Pairs(lambda mine, _: score_of(mine)))
    assert (found.compared, found.changed, found.max_abs_diff) == (len(REQUESTS), 0, 0.0)


@pytest.mark.parametrize(
    "wrong",
    [lambda mine, _: score_of(mine) + 0.05, lambda _, other: score_of(other)],
    ids=["scores change when two overlap", "two answers are mixed up"],
)
def test_a_server_that_is_wrong_about_two_at_a_time_is_caught(
    wrong: Callable[[bytes, bytes], float],
) -> None:
    found = under_load(Pairs(wrong))
    assert found.compared == len(REQUESTS)
    assert found.changed > 0
