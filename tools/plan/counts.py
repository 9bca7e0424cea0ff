"""Counts the passes and requests of one measurement."""

from __future__ import annotations

from dataclasses import dataclass

from stages.plan.plan import Plan
from stages.plan.probe_requests import choose_targets, every_layout, probed_part
from stages.plan.schedule import calls_of_pass, confirm_chunk_sizes, cover_sizes

# A server that compiles usually needs this many passes until one compiles nothing.
_USUAL_WARMUP = 3
# One round of the cover compiles, the next one finds that nothing is left.
_USUAL_ROUNDS = 2


@dataclass(frozen=True, slots=True)
class Span:
    """Bounds of a number that is known only after the measurement."""

    least: int
    most: int


@dataclass(frozen=True, slots=True)
class Row:
    """The passes of one chunk size.

    Attributes:
        calls: requests per pass.
        confirm: runs, timed or only for the comparison of scores; either none or all.
    """

    chunk_size: int
    calls: int
    warmup: Span
    sweep: int
    confirm: Span


def rows_of(plan: Plan) -> list[Row]:
    """The passes of every chunk size, in ascending order."""
    passes = plan.contract.passes
    compiles = plan.driver.compile_pattern is not None
    warmup = Span(passes.warmup, passes.warmup_limit if compiles else passes.warmup)
    everywhere = set(plan.contract.chunk_sizes) if plan.is_reference else {1}
    return [
        Row(
            chunk_size=chunk,
            calls=calls_of(plan, chunk),
            warmup=warmup,
            sweep=passes.sweep,
            confirm=Span(passes.confirm if chunk in everywhere else 0, passes.confirm),
        )
        for chunk in sorted(plan.contract.chunk_sizes)
    ]


def calls_of(plan: Plan, chunk: int) -> int:
    """Requests per pass, with ``chunk`` items in each."""
    return len(calls_of_pass(len(plan.workload.items), chunk))


def probe_requests(plan: Plan) -> int:
    """Requests of the probes that follow the timed passes."""
    workload = probed_part(plan.workload, plan.contract.probes)
    targets = choose_targets(workload, plan.contract.probes)
    return plan.contract.probes.repeats + sum(1 for _ in every_layout(workload, targets))


def requests_of(plan: Plan) -> Span:
    """All requests of the measurement, without the health checks while the server starts.

    Those of a server that is started again are not in it.
    """
    rows, passes = rows_of(plan), plan.contract.passes
    confirmed = [
        passes.confirm * sum(calls_of(plan, chunk) for chunk in chosen)
        for chosen in _possibly_confirmed(plan)
    ]
    always = probe_requests(plan) + sum(row.sweep * row.calls for row in rows)
    least = sum(row.warmup.least * row.calls for row in rows) + min(confirmed)
    most = sum(row.warmup.most * row.calls for row in rows) + max(confirmed)
    cover = cover_requests(plan)
    return Span(always + least + cover.least, always + most + cover.most)


def cover_requests(plan: Plan) -> Span:
    """Requests of the cover of one server."""
    a_round = len(cover_sizes(plan.contract.chunk_sizes)) * plan.cover_times()
    return Span(a_round, a_round * (plan.contract.passes.warmup_limit if _tells(plan) else 1))


def usual_cover(plan: Plan) -> dict[int, int]:
    """Items in a request of the cover -> expected requests."""
    rounds = min(_USUAL_ROUNDS, plan.contract.passes.warmup_limit) if _tells(plan) else 1
    return dict.fromkeys(cover_sizes(plan.contract.chunk_sizes), rounds * plan.cover_times())


def _tells(plan: Plan) -> bool:
    """Whether the server's compilations are seen: it logs them, here."""
    return plan.driver.compile_pattern is not None and plan.contract.base_url is None


def _possibly_confirmed(plan: Plan) -> list[list[int]]:
    """The chunk sizes with confirm runs, for each chunk size that may be the fastest."""
    chunks = plan.contract.chunk_sizes
    if plan.is_reference:
        # The reference answers every chunk size, because the candidate is compared with it.
        return [chunks]
    return [confirm_chunk_sizes(chunks, {fastest: 1.0}) for fastest in chunks]


def usual_passes(plan: Plan, fastest: int) -> dict[int, int]:
    """Chunk size -> expected passes if ``fastest`` is the fastest."""
    passes = plan.contract.passes
    confirmed = confirm_chunk_sizes(plan.contract.chunk_sizes, {fastest: 1.0})
    if plan.is_reference:
        confirmed = plan.contract.chunk_sizes
    warmup = passes.warmup
    if plan.driver.compile_pattern is not None:
        warmup = min(max(warmup, _USUAL_WARMUP), passes.warmup_limit)
    return {
        chunk: warmup + passes.sweep + (passes.confirm if chunk in confirmed else 0)
        for chunk in plan.contract.chunk_sizes
    }
