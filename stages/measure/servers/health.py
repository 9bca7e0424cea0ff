"""Checks whether a server answers a small scoring request, and what ``/health`` says."""

from __future__ import annotations

from stages.documents.workload import CanonicalWorkload
from stages.measure.http.client import CallFailed, ScoreConnection
from stages.measure.http.exchange import encode_request, exchange, get
from stages.measure.servers.under_test import ServerUnderTest

_PROBE_ITEMS = 2
_HEALTH_TIMEOUT_S = 60.0


def probe_server(connection: ScoreConnection, workload: CanonicalWorkload) -> str | None:
    """Score two items; ``None`` where the answer is well-formed, else why it is not."""
    request = encode_request(workload, workload.query, workload.items[:_PROBE_ITEMS])
    decoded, _ = exchange(connection, request.prepare(connection))
    return None if decoded.status == "ok" else f"{decoded.status}: {decoded.detail}"


def health(server: ServerUnderTest) -> str:
    """What the server's ``/health`` says, as the end of a sentence.

    The request goes the way of every call: straight to the server, with its path and key.
    """
    try:
        with server.connect(_HEALTH_TIMEOUT_S) as connection:
            status = get(connection, "/health").status
    except CallFailed as failure:
        return f"/health does not answer either ({failure.detail})"
    return f"it answers no call, while /health says {status}"
