"""Starts a server and waits until it answers, on a port that is its own."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack

from stages.common.errors import UserError
from stages.contract import Limits
from stages.documents.workload import CanonicalWorkload
from stages.measure.http.client import ScoreConnection
from stages.measure.servers.health import probe_server
from stages.measure.servers.launched import PortTakenError
from stages.measure.servers.under_test import ServerDiedError, ServerUnderTest

_PORTS_TRIED = 3
"""Another process may take a port that was free a moment ago."""


def start_healthy(
    closing: ExitStack,
    new_server: Callable[[], ServerUnderTest],
    workload: CanonicalWorkload,
    limits: Limits,
) -> tuple[ServerUnderTest, ScoreConnection]:
    """Start a server, connect to it and wait until it scores.

    Args:
        closing: closes both.
        new_server: makes the server, which is not started yet.
        workload: whose first items it is asked for.
        limits: of the start and of a call.

    Raises:
        PortTakenError: another process listens on its port.
        UserError: it never became healthy, or another server answers in its place.
    """
    server = closing.enter_context(new_server())
    connection = closing.enter_context(server.connect(limits.call_timeout_s))
    try:
        server.wait_until_healthy(
            lambda: probe_server(connection, workload), limits.start_timeout_s
        )
    except PortTakenError:
        raise
    except ServerDiedError as death:
        raise UserError(server.not_healthy(death.detail)) from death
    server.check_unchanged(connection)
    return server, connection


def on_a_free_port[Started](start: Callable[[], Started], say: Callable[[str], None]) -> Started:
    """What ``start`` returns, which is tried again where its port was taken.

    Raises:
        UserError: it was taken each time.
    """
    for _ in range(_PORTS_TRIED):
        try:
            return start()
        except PortTakenError as taken:
            say(taken.detail)
    raise UserError(f"the server did not start: {_PORTS_TRIED} times its port was taken")
