"""Measures how many overlapping requests the client can send: ``python -m benchmarks.overlap``.

The server answers at once, so what is measured is the client's limit, and this server's.

- **Closed loop**: requests per second with some in flight, beside `wrk` (a load generator in C;
  Debian has it as a package) with as many connections. Both send the same request, in turns.
  `wrk` neither decodes nor checks an answer, so it shows what the server can do.
- **Open loop**: how late the client sends requests that are due as a Poisson process has them.
"""

from __future__ import annotations

import re
import shutil
import statistics
import subprocess
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import click

from benchmarks.client import LABELS, plan_turn
from stages.load.engine import Level, closed_loop, open_loop
from stages.measure.http.calibration import CALL_TIMEOUT_S, instant_server
from stages.measure.http.client import ScoreConnection
from stages.measure.http.exchange import PreparedRequest, ScoreRequest
from stages.measure.http.instant import ITEMS_HEADER
from stages.traffic.arrivals import poisson_arrivals
from stages.traffic.percentiles import at_percent

ITEMS = 16
IN_FLIGHT = (1, 8, 32)
RATES = (250, 500, 1000)
MOST_IN_FLIGHT = 256

_PER_SECOND = re.compile(r"^Requests/sec: *([\d.]+)$", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class ForTheInstantServer(ScoreRequest):
    """A request with the header by which that server knows how many scores to send."""

    def prepare(
        self, connection: ScoreConnection, headers: Mapping[str, str] | None = None
    ) -> PreparedRequest:
        """Encode it with that header."""
        told = {**(headers or {}), ITEMS_HEADER: str(self.item_count)}
        return ScoreRequest.prepare(self, connection, told)


def requests_of(count: int) -> list[ScoreRequest]:
    """So many requests of ``ITEMS`` items."""
    (planned, *_) = plan_turn(ITEMS).encoded.requests
    one = ForTheInstantServer(planned.body, planned.item_count, planned.labels, True)
    return [one] * count


def ours_per_second(connect: Callable[[], ScoreConnection], in_flight: int, count: int) -> float:
    """Requests per second of our client in a closed loop."""
    level = closed_loop(requests_of(count), connect=connect, in_flight=in_flight)
    assert {one.answer.status for one in level.requests} == {"ok"}
    first = min(one.sent_ns for one in level.requests)
    last = max(one.done_ns for one in level.requests)
    return count / ((last - first) / 1e9)


def wrk_per_second(url: str, script: Path, in_flight: int) -> float:
    """Requests per second of `wrk`, measured for a second."""
    command = ["wrk", "--threads", "1", "--connections", str(in_flight), "--duration", "1s"]
    done = subprocess.run(
        [*command, "--script", str(script), f"{url}/v1/score"],
        capture_output=True,
        check=True,
        text=True,
    )
    found = _PER_SECOND.search(done.stdout)
    assert found is not None, done.stdout
    return float(found[1])


def write_wrk_script(folder: Path) -> Path:
    """The same request for `wrk`."""
    body, script = folder / "body.json", folder / "request.lua"
    body.write_bytes(requests_of(1)[0].body)
    script.write_text(
        'wrk.method = "POST"\n'
        f'wrk.body = io.open("{body}"):read("*a")\n'
        'wrk.headers["Content-Type"] = "application/json"\n'
        f'wrk.headers["{ITEMS_HEADER}"] = "{ITEMS}"\n'
    )
    return script


def delays_ms(level: Level) -> tuple[float, float]:
    """Median and 99th percentile of how late the requests of a level were sent."""
    late = sorted(one.delay_ns / 1e6 for one in level.requests)
    return statistics.median(late), at_percent(late, 99.0)


def figures(rounds: int, seconds: float) -> Iterator[tuple[str, float]]:
    """Each figure by its name, as it is measured.

    Args:
        rounds: turns of both clients in the closed loop; the medians are given.
        seconds: of each rate of the open loop; about a fifth of it of each of our closed loops.
    """
    wrk = shutil.which("wrk") is not None
    with instant_server(len(LABELS)) as url, tempfile.TemporaryDirectory() as folder:
        script = write_wrk_script(Path(folder))

        def connect() -> ScoreConnection:
            return ScoreConnection(url, CALL_TIMEOUT_S)

        count = max(1, round(seconds / 5 * ours_per_second(connect, 1, 200)))
        for in_flight in IN_FLIGHT:
            ours, theirs = [], []
            for _ in range(rounds):
                ours.append(ours_per_second(connect, in_flight, count))
                if wrk:
                    theirs.append(wrk_per_second(url, script, in_flight))
            yield f"requests/s ours, {in_flight} in flight", statistics.median(ours)
            if wrk:
                yield f"requests/s wrk, {in_flight} in flight", statistics.median(theirs)
                yield f"ours/wrk, {in_flight} in flight, median", _median_ratio(ours, theirs)
        for rate in RATES:
            due = [at / rate for at in poisson_arrivals(1, max(1, round(rate * seconds)))]
            level = open_loop(
                requests_of(len(due)), due, connect=connect, most_in_flight=MOST_IN_FLIGHT
            )
            yield f"share sent at {rate} requests/s", len(level.requests) / len(due)
            if level.saturated:
                continue
            assert {one.answer.status for one in level.requests} == {"ok"}
            median, late = delays_ms(level)
            yield f"ms late at {rate} requests/s, median", median
            yield f"ms late at {rate} requests/s, p99", late


def _median_ratio(ours: Sequence[float], theirs: Sequence[float]) -> float:
    return statistics.median(one / other for one, other in zip(ours, theirs, strict=True))


@click.command(help="Measure how many overlapping requests the client can send.")
@click.option("--rounds", type=click.IntRange(min=1), default=7, show_default=True)
@click.option("--seconds", type=click.FloatRange(min=0.01), default=5.0, show_default=True)
def main(rounds: int, seconds: float) -> None:
    """Print each figure."""
    if shutil.which("wrk") is None:
        click.echo("wrk is not installed (Debian: apt install wrk): only our own figures follow")
    for name, value in figures(rounds, seconds):
        click.echo(f"{name}: {value:.{2 if value < 100 else 0}f}")


if __name__ == "__main__":
    main()
