"""One pass: every item scored once, call by call, on one connection."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import asdict, replace

from stages.documents.cell import PassKey
from stages.documents.matrix import CallRecord, Status
from stages.documents.workload import CanonicalWorkload
from stages.measure.http.client import ScoreConnection
from stages.measure.http.decode import Decoded, reported_cached_tokens
from stages.measure.http.exchange import ScoreRequest, encode_request, exchange
from stages.measure.servers.log import ServerLog
from stages.plan.schedule import calls_of_pass, salt_of

DEATH_NOTICE_S = 2.0
"""A server that ends shows it within this time."""


def encode_pass(
    workload: CanonicalWorkload, salt: list[int], chunk_size: int
) -> list[ScoreRequest]:
    """The requests of a pass, in order."""
    query = workload.salted_query(salt)
    return [
        encode_request(workload, query, workload.items[first : first + count])
        for first, count in calls_of_pass(len(workload.items), chunk_size)
    ]


def run_pass(
    connection: ScoreConnection,
    workload: CanonicalWorkload,
    key: PassKey,
    *,
    session: int,
    position: int,
    died_within: Callable[[float], str | None],
    log: ServerLog,
) -> list[CallRecord]:
    """Measure one pass; a failed call ends it.

    Args:
        connection: to the server under test; every body is encoded before the clock starts.
        workload: what to score.
        key: which pass; its salt follows from it.
        session: number of the server session.
        position: place of the pass in measuring order.
        died_within: waits up to so many seconds for the server to end; returns how it ended,
            or ``None``.
        log: of the server session.

    Returns:
        One record for each call that was sent, in order.
    """
    salt = salt_of(workload, key)
    spans = calls_of_pass(len(workload.items), key.chunk_size)
    requests = encode_pass(workload, salt, key.chunk_size)
    prepared = [request.prepare(connection) for request in requests]
    log.start_pass()
    outcomes: list[tuple[int, int, Decoded]] = []
    answers: list[bytes] = []
    for request in prepared:
        start = time.monotonic_ns()
        decoded, reply = exchange(connection, request)
        outcomes.append((start, time.monotonic_ns(), decoded))
        if reply is not None:
            answers.append(reply.body)
        if decoded.status != "ok":
            break
    sent = sum(count for _, count in spans[: len(outcomes)])
    logged = log.end_pass(
        prompt_tokens(workload, sent), len(outcomes), whole=outcomes[-1][2].status == "ok"
    )
    reported = (logged.cached_tokens, reported_cached_tokens(answers))
    cached = max((tokens for tokens in reported if tokens is not None), default=None)
    start, end, decoded = outcomes[-1]
    outcomes[-1] = (start, end, name_death(decoded, died_within))
    return [
        CallRecord(
            session=session,
            position=position,
            **asdict(key),
            call=i,
            first_item=first,
            item_count=count,
            start_ns=start,
            end_ns=end,
            status=decoded.status,
            detail=decoded.detail,
            compiles=logged.compiles,
            cached_tokens=cached,
            mode=logged.mode,
            fallbacks=logged.fallbacks,
            salt=salt,
            scores=decoded.scores,
        )
        for i, ((first, count), (start, end, decoded)) in enumerate(
            zip(spans, outcomes, strict=False)
        )
    ]


def prompt_tokens(workload: CanonicalWorkload, items: int) -> int:
    """Prompt tokens of the workload's first ``items`` prompts, the query in each."""
    return items * len(workload.query) + sum(map(len, workload.items[:items]))


def name_death(decoded: Decoded, died_within: Callable[[float], str | None]) -> Decoded:
    """A lost connection as ``server_died`` where the server ended."""
    if decoded.status != "connection_error":
        return decoded
    death = died_within(DEATH_NOTICE_S)
    return decoded if death is None else Decoded("server_died", f"server {death}", None)


def name_loss[T: (CallRecord, Decoded)](failed: T, loss: Callable[[], str | None]) -> T:
    """A timeout as ``server_died`` where the server has lost a process."""
    lost = loss() if failed.status == "timeout" else None
    if lost is None:
        return failed
    return replace(failed, status="server_died", detail=f"server {lost}: {failed.detail}")


def unsent_pass(
    workload: CanonicalWorkload,
    key: PassKey,
    *,
    session: int,
    position: int,
    status: Status,
    detail: str,
) -> CallRecord:
    """The record of a planned pass that was never sent."""
    first, count = calls_of_pass(len(workload.items), key.chunk_size)[0]
    return CallRecord(
        session=session,
        position=position,
        **asdict(key),
        call=0,
        first_item=first,
        item_count=count,
        start_ns=None,
        end_ns=None,
        status=status,
        detail=detail,
        compiles=None,
        cached_tokens=None,
        mode=None,
        fallbacks=None,
        salt=salt_of(workload, key),
        scores=None,
    )


def pass_seconds(records: list[CallRecord]) -> float | None:
    """Seconds from the first byte sent to the last answer validated; ``None`` if it failed."""
    if any(r.status != "ok" for r in records):
        return None
    first, last = records[0].start_ns, records[-1].end_ns
    assert first is not None  # noqa: S101  an ok call was sent
    assert last is not None  # noqa: S101
    return (last - first) / 1e9
