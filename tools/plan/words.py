"""Words the lines of a dry run."""

from __future__ import annotations

import math
import shlex
from collections.abc import Iterator
from dataclasses import dataclass

from stages.contract import Contract
from stages.documents.workload import CanonicalWorkload
from stages.plan.plan import Plan
from stages.plan.schedule import cover_sizes, interleaved
from tools.plan.counts import (
    Row,
    Span,
    cover_requests,
    probe_requests,
    requests_of,
    rows_of,
    usual_cover,
    usual_passes,
)
from tools.plan.rates import Rates


@dataclass(frozen=True, slots=True)
class Estimate:
    """How long one measurement takes.

    Attributes:
        seconds: the estimate; ``None`` where the server's speed is not known.
        cover_s: that of the cover, which is part of it; ``None`` where ``seconds`` is.
        most_s: the time with every request at its timeout, the maximum without a restart.
        basis: the source of the server's speed.
        includes_start: whether the estimate includes the server's start.
    """

    seconds: float | None
    cover_s: float | None
    most_s: float
    basis: str
    includes_start: bool


def estimate(plan: Plan, rates: Rates | None) -> Estimate:
    """The time of one measurement."""
    limits = plan.contract.limits
    most = requests_of(plan).most * limits.call_timeout_s + limits.start_timeout_s
    if rates is None:
        return Estimate(None, None, most, "", includes_start=True)
    items, chunks = len(plan.workload.items), plan.contract.chunk_sizes
    fastest = max(sorted(chunks), key=rates.of)
    passes = usual_passes(plan, fastest)
    # Nearly all probe requests hold the largest number of items that is allowed.
    held = min(items, plan.contract.probes.most_items or items)
    probes = probe_requests(plan) * held / rates.of(held)
    cover = sum(count * size / rates.of(size) for size, count in usual_cover(plan).items())
    seconds = probes + sum(count * items / rates.of(chunk) for chunk, count in passes.items())
    seconds += cover + (rates.start_s or 0.0)
    return Estimate(
        seconds=min(seconds, most),
        cover_s=cover,
        most_s=most,
        basis=rates.basis,
        includes_start=rates.start_s is not None,
    )


def opening(contract: Contract, workload: CanonicalWorkload) -> str:
    """The first line: target, contract, model and workload."""
    items = workload.items
    tokens = sorted({len(item) for item in items})
    lengths = f"{tokens[0]}" if len(tokens) == 1 else f"{tokens[0]} to {tokens[-1]}"
    return (
        f"target {contract.identity.target}, contract {contract.identity.contract}:"
        f" {contract.model.title}, 1 query of {len(workload.query):,} tokens,"
        f" {len(items):,} items of {lengths} tokens"
    )


def lines_of(
    plan: Plan, variables: dict[str, str], missing: list[str], time: Estimate
) -> Iterator[str]:
    """The lines about one backend in one view."""
    base_url = plan.contract.base_url
    where = f"in environment {plan.environment}" if base_url is None else "started elsewhere"
    yield f"{plan.title}: {plan.driver.package} {where}"
    if plan.unavailable is not None:
        yield f"  not measured: {plan.unavailable}"
        return
    yield from (f"  to be set first: {key}" for key in missing)
    if base_url is None:
        yield "  environment variables"
        yield from (f"    {name}={shlex.quote(value)}" for name, value in variables.items())
        yield "  command line"
        yield f"    python {shlex.join(plan.arguments)} --host HOST --port PORT"
    else:
        # How it is started there is not the contract's business: docs/remote-servers.md.
        yield f"  answers at {base_url}, where it must run with these settings"
        yield f"    {shlex.join(plan.settings)}"
    if plan.model.revision is not None and not plan.model.sha256:
        yield f"    ({plan.model.revision} is a commit once the stage checkpoint has resolved it)"
    yield f"  items scored: {plan.scoring().named}"
    yield "  passes"
    yield from (f"    {line}" for line in _order(plan))
    yield from (f"    {line}" for line in _table(rows_of(plan)))
    yield f"  requests: {_span(requests_of(plan))}, of which {probe_requests(plan)} probe"
    if plan.cover_times():
        yield f"  cover: {_span(cover_requests(plan))} of these requests{_cover_time(time)}"
    yield f"  time: {time_words(time)}"


def _cover_time(time: Estimate) -> str:
    return "" if time.cover_s is None else f", about {duration(time.cover_s)}"


def _order(plan: Plan) -> Iterator[str]:
    passes, chunks = plan.contract.passes, plan.contract.chunk_sizes
    yield f"first warm-up, by chunk size: {_listed(sorted(chunks))}"
    if plan.cover_times():
        yield f"then the cover, untimed, by items in a request: {_listed(cover_sizes(chunks))}"
    order = [key.chunk_size for key in interleaved("sweep", chunks, 1, passes.seed)]
    turns = ", every second one backwards" if passes.sweep > 1 else ""
    yield f"then sweep, {_rounds(passes.sweep)}{turns}: {_listed(order)}"
    one = "1, " if 1 in chunks else ""
    yield f"then confirm, {_rounds(passes.confirm)}: {one}the sweep's fastest and its neighbours"
    if plan.is_reference:
        yield f"then answers, untimed, {_rounds(passes.confirm)}: the others, for the comparison"
    yield "then probes: determinism and isolation"


def _table(rows: list[Row]) -> Iterator[str]:
    yield "chunk size  requests a pass  warm-up  sweep  confirm"
    for row in rows:
        yield (
            f"{row.chunk_size:>10}  {row.calls:>15,}  {_span(row.warmup):>7}"
            f"  {row.sweep:>5}  {_either(row.confirm):>7}"
        )


def _rounds(count: int) -> str:
    return "1 round" if count == 1 else f"{count} rounds"


def _listed(numbers: list[int]) -> str:
    return " ".join(map(str, numbers))


def _span(span: Span) -> str:
    if span.least == span.most:
        return f"{span.most:,}"
    return f"{span.least:,} to {span.most:,}"


def _either(span: Span) -> str:
    return f"{span.most}" if span.least == span.most else f"{span.least} or {span.most}"


def time_words(time: Estimate) -> str:
    """The estimate with its source, or else the upper bound."""
    if time.seconds is None:
        return (
            "unknown, because there is neither a result nor a rough rate of this server;"
            f" at most {duration(time.most_s, at_most=True)}, with every request at its timeout"
        )
    start = "" if time.includes_start else ", without the server's start"
    return f"about {duration(time.seconds)}{start} (estimated from {time.basis})"


def closing(times: dict[str, list[Estimate]], prices: dict[str, float | None]) -> Iterator[str]:
    """The total time of each backend, and its cost where a price is given."""
    for backend, estimates in times.items():
        known = [e.seconds for e in estimates if e.seconds is not None]
        if not estimates:
            continue
        if len(known) < len(estimates):
            bound = sum(e.seconds if e.seconds is not None else e.most_s for e in estimates)
            yield f"{backend}: at most {duration(bound, at_most=True)}, no estimate"
            continue
        price = prices[backend]
        cost = "" if price is None else f", about {sum(known) / 3600 * price:,.2f} USD"
        yield f"{backend}: about {duration(sum(known))}{cost}"


def duration(seconds: float, *, at_most: bool = False) -> str:
    """Seconds as text in s, min or h; rounded up if ``at_most``."""
    whole = math.ceil if at_most else round
    if seconds < 90:
        return f"{whole(seconds)} s"
    minutes = whole(seconds / 60)
    if minutes < 90:
        return f"{minutes} min"
    hours, rest = divmod(minutes, 60)
    if hours >= 48:
        return f"{whole(minutes / 60):,} h"
    return f"{hours} h {rest} min" if rest else f"{hours} h"
