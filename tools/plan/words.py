"""Words the lines of a dry run."""

from __future__ import annotations

import math
import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from stages.contract import Contract
from stages.documents.cell import Series
from stages.documents.workload import CanonicalWorkload, Workloads
from stages.plan.plan import Plan
from stages.plan.schedule import all_series, interleaved
from tools.plan.counts import (
    Row,
    Span,
    all_probe_requests,
    cover_of,
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
        without: the workloads at which the server's speed is not known, if it is known at others.
    """

    seconds: float | None
    cover_s: float | None
    most_s: float
    basis: str
    includes_start: bool
    without: Sequence[str] = ()


def estimate(plan: Plan, rates: Mapping[str, Rates]) -> Estimate:
    """The time of one measurement.

    Args:
        plan: of the measurement.
        rates: of each workload at which the server's speed is known.
    """
    limits = plan.contract.limits
    starts_s = (1 + plan.probe_starts) * limits.start_timeout_s
    most = requests_of(plan).most * limits.call_timeout_s + starts_s
    if without := [name for name in plan.chunk_sizes if name not in rates]:
        some = tuple(without) if rates else ()
        return Estimate(None, None, most, "", includes_start=True, without=some)
    cover = sum(
        count * size / rates[name].of(size)
        for name in plan.chunk_sizes
        for size, count in usual_cover(plan, name).items()
    )
    seconds = cover + sum(_request_seconds(plan, name, rates[name]) for name in plan.chunk_sizes)
    # One server is measured at all of them. So it starts once, whichever of them tells of it.
    start_s = next((one.start_s for one in rates.values() if one.start_s is not None), None)
    return Estimate(
        seconds=min(seconds + (1 + plan.probe_starts) * (start_s or 0.0), most),
        cover_s=cover,
        most_s=most,
        basis=_basis(plan, rates),
        includes_start=start_s is not None,
    )


def _request_seconds(plan: Plan, name: str, rates: Rates) -> float:
    """The seconds of the passes and probes of one workload."""
    items = len(plan.workloads.by_name[name].items)
    fastest = max(sorted(plan.chunk_sizes[name]), key=rates.of)
    passes = usual_passes(plan, name, fastest)
    # Nearly all probe requests hold the largest number of items that is allowed.
    held = min(items, plan.contract.probes.most_items or items)
    probes = (1 + plan.probe_starts) * probe_requests(plan, name) * held / rates.of(held)
    return probes + sum(count * items / rates.of(chunk) for chunk, count in passes.items())


def _basis(plan: Plan, rates: Mapping[str, Rates]) -> str:
    """The source of the rates, or each workload's where they are not the same."""
    found = {name: rates[name].basis for name in plan.chunk_sizes}
    if len(set(found.values())) == 1:
        return next(iter(found.values()))
    return "; ".join(f"{name}: {basis}" for name, basis in found.items())


def opening(contract: Contract, workloads: Workloads) -> Iterator[str]:
    """The first lines: target, contract, model and workloads."""
    by_name, identity = workloads.by_name, contract.identity
    start = f"target {identity.target}, contract {identity.contract}: {contract.model.title}"
    if len(by_name) == 1:
        (only,) = by_name.values()
        yield f"{start}, {_shape(only)}"
        return
    yield f"{start}, {len(by_name)} workloads"
    yield from (f"  {name}: {_shape(workload)}" for name, workload in by_name.items())


def _shape(workload: CanonicalWorkload) -> str:
    items = workload.items
    tokens = sorted({len(item) for item in items})
    lengths = f"{tokens[0]}" if len(tokens) == 1 else f"{tokens[0]} to {tokens[-1]}"
    counted = "1 item" if len(items) == 1 else f"{len(items):,} items"
    return f"1 query of {len(workload.query):,} tokens, {counted} of {lengths} tokens"


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
    yield f"  items scored: {_scored(plan)}"
    yield "  passes"
    yield from (f"    {line}" for line in _order(plan))
    yield from (f"    {line}" for line in _table(rows_of(plan)))
    yield f"  requests: {_span(requests_of(plan))}, of which {all_probe_requests(plan)} probe"
    if any(plan.cover_times().values()):
        yield f"  cover: {_span(cover_requests(plan))} of these requests{_cover_time(time)}"
    yield f"  time: {time_words(time)}"


def _scored(plan: Plan) -> str:
    """The mode, or each workload's where they are not the same."""
    modes = {name: plan.scoring(name).named for name in plan.chunk_sizes}
    if len(set(modes.values())) == 1:
        return next(iter(modes.values()))
    return "; ".join(f"{name} {mode}" for name, mode in modes.items())


def _cover_time(time: Estimate) -> str:
    return "" if time.cover_s is None else f", about {duration(time.cover_s)}"


def _order(plan: Plan) -> Iterator[str]:
    passes, chunks = plan.contract.passes, plan.chunk_sizes
    by, of_each = (" workload and", ", of each workload") if len(chunks) > 1 else ("", "")
    warmed = {name: sorted(chunks[name]) for name in sorted(chunks)}
    yield f"first warm-up, by{by} chunk size: {_listed(warmed)}"
    covered = {name: sizes for name in chunks if (sizes := cover_of(plan, name))}
    if covered:
        yield f"then the cover, untimed, by{by} items in a request: {_listed(covered)}"
    order = [key.series for key in interleaved("sweep", all_series(chunks), 1, passes.seed)]
    turns = ", every second one backwards" if passes.sweep > 1 else ""
    yield f"then sweep, {_rounds(passes.sweep)}{turns}: {_in_turn(order)}"
    one = "1, " if any(1 in sizes for sizes in chunks.values()) else ""
    yield (
        f"then confirm, {_rounds(passes.confirm)}: {one}the sweep's fastest and its"
        f" neighbours{of_each}"
    )
    if plan.is_reference:
        yield f"then answers, untimed, {_rounds(passes.confirm)}: the others, for the comparison"
    yield "then probes: determinism and isolation"
    if plan.probe_starts:
        many = plan.probe_starts
        more = "once more," if many == 1 else f"{many} times more, each time"
        yield f"then the server is started {more} for the probes only"
    elif passes.probe_starts:
        yield "no extra start for the probes: the server was started elsewhere"


def _table(rows: list[Row]) -> Iterator[str]:
    names = {row.workload for row in rows}
    # A workload alone needs no column.
    width = max(map(len, ("workload", *names))) + 2 if len(names) > 1 else 0
    yield "workload".ljust(width)[:width] + "chunk size  requests a pass  warm-up  sweep  confirm"
    for row in rows:
        yield row.workload.ljust(width)[:width] + (
            f"{row.chunk_size:>10}  {row.calls:>15,}  {_span(row.warmup):>7}"
            f"  {row.sweep:>5}  {_either(row.confirm):>7}"
        )


def _rounds(count: int) -> str:
    return "1 round" if count == 1 else f"{count} rounds"


def _listed(numbers: Mapping[str, Sequence[int]]) -> str:
    """Numbers by workload, whose name is left out where there is one alone."""
    texts = {name: " ".join(map(str, mine)) for name, mine in numbers.items()}
    if len(texts) == 1:
        return next(iter(texts.values()))
    return "; ".join(f"{name} {text}" for name, text in texts.items())


def _in_turn(order: Sequence[Series]) -> str:
    """Workload and chunk size of one pass after the other."""
    if len({one.workload for one in order}) == 1:
        return " ".join(str(one.chunk_size) for one in order)
    return ", ".join(f"{one.workload} {one.chunk_size}" for one in order)


def _span(span: Span) -> str:
    if span.least == span.most:
        return f"{span.most:,}"
    return f"{span.least:,} to {span.most:,}"


def _either(span: Span) -> str:
    return f"{span.most}" if span.least == span.most else f"{span.least} or {span.most}"


def time_words(time: Estimate) -> str:
    """The estimate with its source, or else the upper bound."""
    if time.seconds is None:
        noun = "workload" if len(time.without) == 1 else "workloads"
        at = f" at the {noun} {', '.join(time.without)}" if time.without else ""
        return (
            f"unknown, because there is neither a result nor a rough rate of this server{at};"
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
