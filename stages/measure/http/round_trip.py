"""Measures a round trip to the server: a request without work, on the connection in use."""

from __future__ import annotations

import statistics
import time

from stages.measure.http.client import CallFailed, ScoreConnection

ROUND_TRIPS = 21
_PATH = "/ping"
"""Both servers answer it at once, whereas ``/health`` may generate a token. Any status counts."""


def round_trip_s(connection: ScoreConnection) -> float | None:
    """Median seconds of a round trip; ``None`` if one fails."""
    seconds = []
    # The first one may open the connection, and is not counted.
    for _ in range(ROUND_TRIPS + 1):
        call = connection.prepare_get(_PATH)
        start = time.perf_counter()
        try:
            connection.send(call)
        except CallFailed:
            return None
        seconds.append(time.perf_counter() - start)
    return statistics.median(seconds[1:])
