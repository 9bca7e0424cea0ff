"""One exchange with a server: encode a request for scores, bound its answer, send, decode.

Timed passes prepare all requests before the clock starts and exchange them inside it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from stages.documents.workload import CanonicalWorkload
from stages.measure.http.client import (
    CallFailed,
    PreparedCall,
    Reply,
    ScoreConnection,
    encode_call,
)
from stages.measure.http.decode import Decoded, answer_bound, decode_scores


@dataclass(frozen=True, slots=True)
class ScoreRequest:
    """An encoded request, and what its answer is validated against.

    Attributes:
        body: the JSON.
        item_count: items in it, one row of scores each.
        labels: scores per row.
        apply_softmax: whether every row must sum to 1.
    """

    body: bytes
    item_count: int
    labels: int
    apply_softmax: bool

    def prepare(
        self, connection: ScoreConnection, headers: Mapping[str, str] | None = None
    ) -> PreparedRequest:
        """Encode it down to the bytes that go on the wire of ``connection``."""
        bound = answer_bound(self.item_count, self.labels)
        return PreparedRequest(self, connection.prepare(self.body, headers, bound))


@dataclass(frozen=True, slots=True)
class PreparedRequest:
    """A request that is ready to be sent."""

    request: ScoreRequest
    call: PreparedCall


def encode_request(
    workload: CanonicalWorkload, query: list[int], items: Sequence[list[int]]
) -> ScoreRequest:
    """The request to score ``items`` after ``query`` as the workload says."""
    labels, softmax = workload.label_token_ids, workload.apply_softmax
    body = encode_call(query, list(items), labels, softmax, workload.item_first)
    return ScoreRequest(body, len(items), len(labels), softmax)


def exchange(
    connection: ScoreConnection, prepared: PreparedRequest
) -> tuple[Decoded, Reply | None]:
    """Send a request and validate its answer.

    Returns:
        The validated answer, and the raw one; ``None`` where there was none.
    """
    try:
        reply = connection.send(prepared.call)
    except CallFailed as failure:
        return Decoded(failure.kind, failure.detail, None), None
    asked = prepared.request
    decoded = decode_scores(
        reply.status, reply.body, asked.item_count, asked.labels, asked.apply_softmax
    )
    return decoded, reply


def get(connection: ScoreConnection, path: str) -> Reply:
    """The answer of another endpoint, requested the way every call is sent.

    Raises:
        CallFailed: no answer.
    """
    return connection.send(connection.prepare_get(path))
