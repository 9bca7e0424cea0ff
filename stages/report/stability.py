"""How steadily the servers answered, in sentences. A comparison in, plain text out.

Rules:

* Failures are counted in timed passes, by kind, chunk size, backend and view; "no timeouts,
  no OOM, no partial failures" stands only where every planned timed pass succeeded.
* A first-run penalty is the first warm-up pass over the median timed pass.
* Of a server that reports no compilations the report says so, not that there were none.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence

from stages.documents.cell import MatrixKey
from stages.documents.comparison import Cell, Comparison, MatrixSource, Pair
from stages.report import format as f
from stages.report.elsewhere import hidden_compiles, hides_compiles, round_trips
from stages.report.prose.reasons import instability
from stages.report.prose.server import compiled, failures, first_run, timed_passes
from stages.report.ratios import cells


def stability(comparison: Comparison) -> list[str]:
    """Failures, restarts, spread, compilations and first runs."""
    return [
        *_failures(comparison),
        _restarts(comparison),
        *_sessions(comparison),
        *_spread(comparison),
        *_compiles(comparison),
        *_uncovered(comparison),
        *_first_runs(comparison),
    ]


def _uncovered(comparison: Comparison) -> Iterator[str]:
    for source in comparison.sources:
        for one in source.uncovered:
            where = f.backend_view(source.backend, source.view, comparison.pair)
            yield (
                f"{where}: an untimed request of {f.count(one.size, 'item')}, which was to show the"
                f" server its batches before the timed passes, failed ({one.status}: {one.detail});"
                " it may have met batches of that size or more in a timed pass for the first time."
            )


def _failures(comparison: Comparison) -> list[str]:
    failed = [cell for cell in cells(comparison) if cell.failures]
    said = [
        f"{name}: {'; '.join(f.cell(failures(c.failures), c.chunk_size) for c in mine)}."
        for name, mine in _by_matrix(failed, comparison.pair)
    ]
    short = [
        f"{f.at(c, comparison.pair)} ({f.percent(c.success_rate)})"
        for c in cells(comparison)
        if c.success_rate < 1
        and not c.failures
        and MatrixKey(c.backend, c.view) not in comparison.unavailable
    ]
    if short:
        said.append(f"Planned passes that were never made: {'; '.join(short)}.")
    if said:
        return said
    planned = sum(source.planned_passes for source in comparison.sources)
    good = sum(source.good_passes for source in comparison.sources)
    return [
        f"No timeouts, no OOM, no partial failures: {good} of {planned} timed passes succeeded."
    ]


def _restarts(comparison: Comparison) -> str:
    found = [
        f"{f.backend_view(source.backend, source.view, comparison.pair)} ({_times_gone(source)})"
        for source in comparison.sources
        if source.run.restarts
    ]
    return f"Servers restarted: {'; '.join(found)}." if found else "No server was restarted."


def _times_gone(source: MatrixSource) -> str:
    waited = "" if source.base_url is None else ", the measurement waited for it"
    return f"{source.run.restarts}{waited}"


def _sessions(comparison: Comparison) -> Iterator[str]:
    for source in comparison.sources:
        if source.run.sessions > 1:
            name = f.backend_view(source.backend, source.view, comparison.pair)
            resumed = f.count(source.run.interruptions, "interruption")
            yield (
                f"{name}: its passes come from {source.run.sessions} server sessions"
                f" ({f.count(source.run.restarts, 'restart')}, {resumed}), each warmed up anew."
            )


def _spread(comparison: Comparison) -> Iterator[str]:
    every = [cell for cell in cells(comparison) if cell.mean_s is not None]
    found = [cell for cell in every if cell.instability]
    if not found:
        yield "No cell is unstable."
        return
    yield f"Unstable cells: {len(found)} of {len(every)}."
    for name, mine in _by_matrix(found, comparison.pair):
        by_size = [f"chunk size {c.chunk_size} ({instability(c.instability)})" for c in mine]
        yield f"Unstable, {name}: {f.join(by_size)}."


def _compiles(comparison: Comparison) -> Iterator[str]:
    every = cells(comparison)
    for name, mine in _by_matrix([cell for cell in every if cell.compiled_passes], comparison.pair):
        by_size = [f.cell(timed_passes(c.compiled_passes), c.chunk_size) for c in mine]
        yield f"{name}: {compiled(*by_size)}."
    yield from hidden_compiles(comparison)
    hidden = {MatrixKey(s.backend, s.view) for s in comparison.sources if hides_compiles(s)}
    hidden |= set(comparison.unavailable)
    seen = [cell for cell in every if MatrixKey(cell.backend, cell.view) not in hidden]
    for backend in comparison.pair.both:
        counts = [cell.compiled_passes for cell in seen if cell.backend == backend]
        if not counts:
            continue
        if all(count is None for count in counts):
            yield f"{comparison.pair.title(backend)}'s server reports no compilations."
        elif not any(counts):
            yield f"No timed pass of {comparison.pair.title(backend)} compiled anything."


def _by_matrix(of: Sequence[Cell], pair: Pair) -> Iterator[tuple[str, list[Cell]]]:
    for key, mine in itertools.groupby(of, key=lambda cell: MatrixKey(cell.backend, cell.view)):
        yield f.backend_view(*key, pair), list(mine)


def _first_runs(comparison: Comparison) -> Iterator[str]:
    every = cells(comparison)
    for backend in comparison.pair.both:
        known = [c for c in every if c.backend == backend and c.first_run_penalty is not None]
        if known:
            most = max(known, key=lambda cell: cell.first_run_penalty or 0)
            name = comparison.pair.title(backend)
            yield f"Largest first-run penalty of {name}: {first_run(most, comparison.pair)}."


def client(comparison: Comparison) -> list[str]:
    """The largest shares of a pass that the client's own work and round trips take."""
    return [_own_work(comparison), round_trips(comparison)]


def _own_work(comparison: Comparison) -> str:
    known = [c for c in cells(comparison) if c.client_share is not None]
    if not known:
        return "The client's own share of the pass time is not known."
    most = max(known, key=lambda cell: cell.client_share or 0)
    return (
        "The client's own work, measured against a server that answers at once, is at most"
        f" {f.percent_at_most(most.client_share)} of a pass ({f.at(most, comparison.pair)})."
    )
