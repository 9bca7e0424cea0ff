"""The cover: untimed requests by which a server meets shapes before a pass is timed.

A server that scores the items of a request as separate prompts may split them into several batches,
as they arrive. So the batches of a pass differ from run to run, and one of a size that no warm-up
pass formed would be compiled in a timed pass. The cover's requests are of many sizes, so that a
server meets these batches before.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from stages.documents.matrix import Status
from stages.documents.workload import CanonicalWorkload
from stages.measure.http.client import ScoreConnection
from stages.measure.http.decode import Decoded
from stages.measure.http.exchange import encode_request, exchange
from stages.measure.passes import name_death, name_loss, prompt_tokens
from stages.measure.servers.log import ServerLog
from stages.measure.servers.under_test import ServerUnderTest


@dataclass(frozen=True, slots=True)
class CoverFailure:
    """The request that ended a cover.

    Attributes:
        size: items in it.
        status: the failure kind.
        detail: what went wrong, in one short line.
    """

    size: int
    status: Status
    detail: str

    @property
    def text(self) -> str:
        """The line to print."""
        items = "1 item" if self.size == 1 else f"{self.size} items"
        return f"{self.status}: {self.detail} (cover, {items})"


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
                    return CoverFailure(size, named.status, named.detail)
        if not log.end_pass(tokens, times * len(sizes), whole=True).compiles:
            return None
    return None


def _named(failed: Decoded, server: ServerUnderTest) -> Decoded:
    """``failed``, as ``server_died`` where the server ended or has lost a process."""
    return name_death(name_loss(failed, server.loss), server.died_within)
