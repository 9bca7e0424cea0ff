"""The client's own cost: whole passes against a server that answers at once.

It runs the code of a measurement: prepare, send, decode and validate. The result is an upper
bound on the client's share of a pass, since it includes the loopback and the time in which the
instant server reads the request. It holds for answers with the usual head, which both servers send.
Another one, such as a proxy's in chunks, costs the client about 80 microseconds more.
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from stages.common.errors import UserError
from stages.documents.cell import Series
from stages.measure.http.client import ScoreConnection
from stages.measure.http.exchange import ScoreRequest, exchange
from stages.measure.http.instant import ITEMS_HEADER

CALL_TIMEOUT_S = 60.0

_ROOT = Path(__file__).parents[3]


@dataclass(frozen=True, slots=True)
class CalibrationPass:
    """One pass to time, as a measurement would send it.

    Attributes:
        series: its workload, and the items per call asked for.
        requests: in order.
    """

    series: Series
    requests: list[ScoreRequest]


def calibrate(
    passes: Sequence[CalibrationPass], *, labels: int, repetitions: int = 5
) -> dict[Series, float]:
    """Time each pass against a server that answers at once.

    Passes are interleaved in an order that alternates direction, so that drift does not
    land on one chunk size. One uncounted round precedes the timed ones.

    Args:
        passes: one per workload and chunk size.
        labels: scores per item.
        repetitions: timed rounds, at least 1.

    Returns:
        Median seconds per pass, in the order of ``passes``.

    Raises:
        UserError: the server could not be started or a call failed.
    """
    seconds: dict[Series, list[float]] = {p.series: [] for p in passes}
    with instant_server(labels) as url, ScoreConnection(url, CALL_TIMEOUT_S) as connection:
        for repetition in range(repetitions + 1):
            for planned in passes if repetition % 2 else reversed(passes):
                took = time_pass(connection, planned)
                if repetition:
                    seconds[planned.series].append(took)
    return {series: statistics.median(taken) for series, taken in seconds.items()}


def time_pass(connection: ScoreConnection, planned: CalibrationPass) -> float:
    """Seconds from the first byte sent to the last answer decoded and validated.

    Raises:
        UserError: a call failed.
    """
    prepared = [
        request.prepare(connection, {ITEMS_HEADER: str(request.item_count)})
        for request in planned.requests
    ]
    start = time.monotonic_ns()
    for request in prepared:
        decoded, _ = exchange(connection, request)
        if decoded.status != "ok":
            why = f"{decoded.status}: {decoded.detail}"
            raise UserError(f"the client's own cost could not be measured: {why}")
    return (time.monotonic_ns() - start) / 1e9


@contextmanager
def instant_server(labels: int) -> Iterator[str]:
    """The base URL of a server that answers at once, running for the length of the block.

    Raises:
        UserError: it did not start.
    """
    command = [sys.executable, "-m", "stages.measure.http.instant", str(labels)]
    with subprocess.Popen(
        command, cwd=_ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        assert process.stdin is not None  # noqa: S101  both were asked for
        assert process.stdout is not None  # noqa: S101
        try:
            port = process.stdout.readline().strip()
            if not port:
                raise UserError(f"`{' '.join(command)}` did not start")
            yield f"http://127.0.0.1:{int(port)}"
        finally:
            # The server ends when its input is closed.
            process.stdin.close()
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()
