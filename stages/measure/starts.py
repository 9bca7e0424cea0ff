"""Starts the server of a matrix again and sends each start the probes only.

What is fixed when a server starts, such as the place of a buffer in memory, may decide whether its
scores are right. A measurement judges one start. Its answers to the probes are compared with those
of further starts, which are neither warmed up nor timed.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass

from stages.common.errors import UserError, one_line
from stages.contract import Limits, Probes
from stages.documents.probes import ProbeRecord
from stages.documents.workload import CanonicalWorkload
from stages.measure.faults import Bound
from stages.measure.http.client import ScoreConnection
from stages.measure.http.decode import Decoded
from stages.measure.probes import Prober
from stages.measure.servers.starting import on_a_free_port, start_healthy
from stages.measure.servers.under_test import ServerDiedError, ServerUnderTest


@dataclass(frozen=True, slots=True)
class FurtherStarts:
    """Probes further starts of the server of one matrix, one after the other.

    Attributes:
        workloads: by name.
        probes, limits: of the contract.
        bounds: of each workload, the largest request that does not end the server, where the
            measured session found one.
        new_server: makes a server object that is not started yet.
        say: prints a line of progress.
    """

    workloads: Mapping[str, CanonicalWorkload]
    probes: Probes
    limits: Limits
    bounds: Mapping[str, Bound | None]
    new_server: Callable[[], ServerUnderTest]
    say: Callable[[str], None]

    def run(self, count: int) -> list[ProbeRecord]:
        """Start and probe it ``count`` times.

        A start that fails is not tried again. Then every record of it says so.
        """
        return [
            record
            for start in range(1, count + 1)
            for record in self._probe_start(start, f"extra start {start} of {count}")
        ]

    def _probe_start(self, start: int, name: str) -> list[ProbeRecord]:
        self.say(f"{name}: probes only")
        records: list[ProbeRecord] = []
        try:
            with ExitStack() as closing:
                connection = on_a_free_port(lambda: self._started(closing), self.say)
                records = self._records(start, connection)
        except UserError as error:
            # Where it has answered, only its end failed, and its answers count.
            self.say(f"{name} {'could not be ended' if records else 'failed'}: {error}")
            if not records:
                return self._records(start, Decoded("server_died", _why(error), None))
        return records

    def _started(self, closing: ExitStack) -> ScoreConnection:
        workload = next(iter(self.workloads.values()))
        with ExitStack() as unfinished:
            _, connection = start_healthy(unfinished, self.new_server, workload, self.limits)
            closing.enter_context(unfinished.pop_all())
        return connection

    def _records(self, start: int, server: ScoreConnection | Decoded) -> list[ProbeRecord]:
        found = []
        for name, workload in self.workloads.items():
            prober = Prober(server, workload, self.probes, self.bounds[name], start)
            prober.run()
            found += prober.records
        return found


def _why(error: UserError) -> str:
    """How a start failed, without the end of the server's log, which has paths of this machine."""
    death = error.__cause__
    return one_line(death.detail if isinstance(death, ServerDiedError) else str(error))
