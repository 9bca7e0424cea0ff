"""Counts the passes and requests of one measurement."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from stages.documents.cell import Series
from stages.plan.plan import Plan
from stages.plan.probe_requests import choose_targets, every_layout, probed_part
from stages.plan.schedule import all_series, calls_of_pass, confirm_chunk_sizes, cover_sizes

# A server that compiles usually needs this many passes until one compiles nothing.
_USUAL_WARMUP = 3
# One round of the cover compiles, the next one finds that nothing is left.
_USUAL_ROUNDS = 2


@dataclass(frozen=True, slots=True)
class Span:
    """Bounds of a number that is known only after the measurement."""

    least: int
    most: int

    @classmethod
    def total(cls, spans: Iterable[Span]) -> Span:
        """The bounds of the sum of ``spans``."""
        every = [*spans]
        return cls(sum(span.least for span in every), sum(span.most for span in every))


@dataclass(frozen=True, slots=True)
class Row:
    """The passes of one chunk size of a workload.

    Attributes:
        calls: requests per pass.
        confirm: runs, timed or only for the comparison of scores; either none or all.
    """

    workload: str
    chunk_size: int
    calls: int
    warmup: Span
    sweep: int
    confirm: Span


def rows_of(plan: Plan) -> list[Row]:
    """The passes of every workload, by rising total tokens, and rising chunk size."""
    passes = plan.contract.passes
    compiles = plan.driver.compile_pattern is not None
    warmup = Span(passes.warmup, passes.warmup_limit if compiles else passes.warmup)
    return [
        Row(
            workload=one.workload,
            chunk_size=one.chunk_size,
            calls=calls_of(plan, one),
            warmup=warmup,
            sweep=passes.sweep,
            confirm=Span(passes.confirm if _always_confirmed(plan, one) else 0, passes.confirm),
        )
        for one in all_series({name: sorted(sizes) for name, sizes in plan.chunk_sizes.items()})
    ]


def _always_confirmed(plan: Plan, series: Series) -> bool:
    possible = _possibly_confirmed(plan, series.workload)
    return all(series.chunk_size in chosen for chosen in possible)


def calls_of(plan: Plan, series: Series) -> int:
    """Requests per pass of a workload at one chunk size."""
    items = plan.workloads.by_name[series.workload].items
    return len(calls_of_pass(len(items), series.chunk_size))


def probe_requests(plan: Plan, name: str) -> int:
    """Requests of the probes of one workload in one start of the server."""
    workload = probed_part(plan.workloads.by_name[name], plan.contract.probes)
    targets = choose_targets(workload, plan.contract.probes)
    return plan.contract.probes.repeats + sum(1 for _ in every_layout(workload, targets))


def all_probe_requests(plan: Plan) -> int:
    """Requests of the probes of all workloads, those of further starts of the server included."""
    of_a_start = sum(probe_requests(plan, name) for name in plan.chunk_sizes)
    return (1 + plan.probe_starts) * of_a_start


def requests_of(plan: Plan) -> Span:
    """All requests of the measurement, without the health checks while the server starts.

    Those of a server that is started again are not in it.
    """
    rows = rows_of(plan)
    always = all_probe_requests(plan) + sum(row.sweep * row.calls for row in rows)
    warmup = Span(
        sum(row.warmup.least * row.calls for row in rows),
        sum(row.warmup.most * row.calls for row in rows),
    )
    confirm = (_confirm_requests(plan, name) for name in plan.chunk_sizes)
    return Span.total([Span(always, always), warmup, *confirm, cover_requests(plan)])


def _confirm_requests(plan: Plan, name: str) -> Span:
    requests = [
        plan.contract.passes.confirm * sum(calls_of(plan, Series(name, size)) for size in chosen)
        for chosen in _possibly_confirmed(plan, name)
    ]
    return Span(min(requests), max(requests))


def cover_of(plan: Plan, name: str) -> list[int]:
    """Items of the requests of the cover of one workload; empty where it needs none."""
    if not plan.cover_times()[name]:
        return []
    return cover_sizes(plan.chunk_sizes[name], running_requests=plan.running_requests)


def cover_requests(plan: Plan) -> Span:
    """Requests of the cover of one server."""
    a_round = sum(len(cover_of(plan, name)) * times for name, times in plan.cover_times().items())
    return Span(a_round, a_round * (plan.contract.passes.warmup_limit if _tells(plan) else 1))


def usual_cover(plan: Plan, name: str) -> dict[int, int]:
    """Items in a request of the cover of one workload -> expected requests."""
    rounds = min(_USUAL_ROUNDS, plan.contract.passes.warmup_limit) if _tells(plan) else 1
    return dict.fromkeys(cover_of(plan, name), rounds * plan.cover_times()[name])


def _tells(plan: Plan) -> bool:
    """Whether the server's compilations are seen: it logs them, here."""
    return plan.driver.compile_pattern is not None and plan.contract.base_url is None


def _possibly_confirmed(plan: Plan, name: str) -> list[list[int]]:
    """The chunk sizes with confirm runs, for each chunk size that may be the fastest."""
    chunks = plan.chunk_sizes[name]
    if plan.is_reference:
        # The reference answers every chunk size, because the candidate is compared with it.
        return [chunks]
    return [confirm_chunk_sizes(chunks, {fastest: 1.0}) for fastest in chunks]


def usual_passes(plan: Plan, name: str, fastest: int) -> dict[int, int]:
    """Chunk size of one workload -> expected passes if ``fastest`` is the fastest."""
    passes, chunks = plan.contract.passes, plan.chunk_sizes[name]
    confirmed = chunks if plan.is_reference else confirm_chunk_sizes(chunks, {fastest: 1.0})
    warmup = passes.warmup
    if plan.driver.compile_pattern is not None:
        warmup = min(max(warmup, _USUAL_WARMUP), passes.warmup_limit)
    return {
        chunk: warmup + passes.sweep + (passes.confirm if chunk in confirmed else 0)
        for chunk in chunks
    }
