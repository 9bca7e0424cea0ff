"""The cover: untimed requests by which a server meets shapes before a pass is timed.

A server that scores the items of a request as separate prompts may split them into several batches,
as they arrive. So the batches of a pass differ from run to run, and one of a size that no warm-up
pass formed would be compiled in a timed pass. The cover's requests are of many sizes, so that a
server meets these batches before.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

from stages.documents.matrix import CoverFailure
from stages.documents.workload import CanonicalWorkload
from stages.measure.http.client import ScoreConnection
from stages.measure.http.decode import Decoded
from stages.measure.http.exchange import encode_request, exchange
from stages.measure.passes import DEATH_NOTICE_S, name_death, name_loss, prompt_tokens
from stages.measure.servers.log import ServerLog
from stages.measure.servers.under_test import ServerUnderTest


def send_cover(
    connection: ScoreConnection,
    workload: CanonicalWorkload,
    sizes: Sequence[int],
    *,
    times: int,
    rounds: Iterable[int],
    server: ServerUnderTest,
    log: ServerLog,
) -> CoverFailure | None:
    """Send rounds of requests until one compiles nothing, as far as the log tells.

    The log is read up to the end of the last round, so no later pass is told of what it holds.

    Args:
        connection: to the server.
        workload: whose first items are sent.
        sizes: items of each request, in order.
        times: how often each request is sent, one after another.
        rounds: their numbers, from which the salts follow, so each is used once in a matrix. Where
            the log tells no compilations, only the first is sent.
        server: asked how it ended where a request fails.
        log: of its session.

    Returns:
        The first failure, which ends the cover; ``None`` where there was none.
    """
    tokens = times * sum(prompt_tokens(workload, size) for size in sizes)
    for number in rounds:
        log.start_pass()
        for size in sizes:
            query = workload.salted_query(workload.salt("cover", size, number))
            request = encode_request(workload, query, workload.items[:size])
            for _ in range(times):
                decoded, _ = exchange(connection, request.prepare(connection))
                if decoded.status != "ok":
                    named = _named(decoded, server)
                    return CoverFailure(
                        workload=workload.name,
                        size=size,
                        status=named.status,
                        detail=named.detail,
                    )
        if not log.end_pass(tokens, times * len(sizes), whole=True).compiles:
            return None
    return None


def _named(failed: Decoded, server: ServerUnderTest) -> Decoded:
    """``failed``, as ``server_died`` where the server ended or has lost a process.

    A server may still answer, with an error, and end just after. The next pass must not be blamed.
    """
    named = name_death(name_loss(failed, server.loss), server.died_within)
    if named.status in ("server_died", "connection_error"):
        return named
    death = server.died_within(DEATH_NOTICE_S)
    return (
        named if death is None else replace(named, status="server_died", detail=f"server {death}")
    )
