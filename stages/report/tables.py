"""The rows of the report's tables, as text. A comparison in, rows out."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from stages.contract import Backend, Gate
from stages.documents.comparison import Cell, Comparison, MatrixSource, ViewComparison
from stages.documents.matrix import MATRIX_FILE, SERVER_LOG_FILE, folder_of
from stages.report import elsewhere, levels, modes
from stages.report import format as f
from stages.report.latency import LatencyTable, any_descriptive, latency_table
from stages.report.prose.reasons import passed_over
from stages.report.prose.scores import verdict
from stages.report.prose.server import cpu_share
from stages.report.prose.winner import result
from stages.report.ratios import cells, flagged, pairs
from stages.report.trust import ineligible


@dataclass(frozen=True, slots=True)
class Figure:
    """Latency and throughput of one cell, as text.

    Attributes:
        p95_ms, items_per_s: ``—`` where there is none; items/s with its interval in brackets;
            a dagger marks a flagged cell, a mode one that was not scored as its server was asked.
        won: whether the cell is the winner of its view.
    """

    p95_ms: str
    items_per_s: str
    won: bool


@dataclass(frozen=True, slots=True)
class Row:
    """One chunk size of the results table, as text; the ratio of items/s with its interval."""

    chunk_size: int
    candidate: Figure
    reference: Figure
    max_abs_diff: str
    mean_abs_diff: str
    verdict: str
    items_ratio: str
    p95_ratio: str


@dataclass(frozen=True, slots=True)
class Selected:
    """The cell a backend would be deployed with, as text."""

    backend: str
    scored: str
    chunk_size: str
    p95_ms: str
    items_per_s: str
    success_rate: str


@dataclass(frozen=True, slots=True)
class ViewTables:
    """Everything the report tabulates about one view.

    Attributes:
        scored: how both backends scored the items of a request.
        rows: one a chunk size, rising.
        missing: why figures are absent or cells may not be selected, in sentences.
        flagged: whether a row carries a dagger.
        intervals, ratio_intervals: confidence levels of the intervals of items/s and of its
            ratio, in a sentence.
        latency: p50, mean and p95 in detail.
        selected: one a backend.
        gate: max, mean and verdict of the candidate's selected cell, as text.
    """

    name: str
    key: str
    scored: str
    rows: list[Row]
    missing: list[str]
    flagged: bool
    intervals: str
    ratio_intervals: str
    latency: LatencyTable
    selected: list[Selected]
    gate: tuple[str, str, str]
    passed_over: list[str]
    sentence: str


def view_tables(view: ViewComparison, gate: Gate) -> ViewTables:
    """The tables of one view."""
    return ViewTables(
        name=f.VIEW_NAMES[view.view],
        key=view.view,
        scored=modes.of_view(view),
        rows=_rows(view),
        missing=ineligible(view),
        flagged=any(flagged(cell) for cell in view.cells),
        intervals=levels.of_items_per_s(view),
        ratio_intervals=levels.of_ratio(view),
        latency=latency_table(view),
        selected=[_selected(view, backend) for backend in view.pair.both],
        gate=_gate_of_selected(view, gate),
        passed_over=list(passed_over(view)),
        sentence=result(view),
    )


def _rows(view: ViewComparison) -> list[Row]:
    rows = []
    for pair in pairs(view):
        gate = pair.candidate.gate
        items, p95 = pair.stated.items_per_s, pair.stated.p95_s
        rows.append(
            Row(
                chunk_size=pair.chunk_size,
                candidate=_figure(view, pair.candidate),
                reference=_figure(view, pair.reference),
                max_abs_diff=f.difference(gate.max_abs_diff if gate else None),
                mean_abs_diff=f.difference(gate.mean_abs_diff if gate else None),
                verdict=f.VERDICT_NAMES[gate.verdict] if gate else f.ABSENT,
                items_ratio=f.bounded(items, pair.stated.items_per_s_interval, "x"),
                p95_ratio=f.ABSENT if p95 is None else f.factor(p95),
            )
        )
    return rows


def _figure(view: ViewComparison, cell: Cell) -> Figure:
    winner = view.winner
    won = winner.outcome == cell.backend and winner.chunk_size == cell.chunk_size
    dagger = " †" if flagged(cell) else ""
    items_per_s = f.bounded(cell.items_per_s, cell.items_per_s_interval)
    return Figure(f.milliseconds(cell.p95_s), items_per_s + dagger + modes.other(view, cell), won)


def _selected(view: ViewComparison, backend: Backend) -> Selected:
    cell = view.selected_cell(backend)
    return Selected(
        backend=view.pair.title(backend),
        scored=modes.of_backend(view, backend),
        chunk_size=str(cell.chunk_size) if cell else f.ABSENT,
        p95_ms=f.milliseconds(cell.p95_s if cell else None),
        items_per_s=f.number(cell.items_per_s if cell else None),
        success_rate=f.percent(cell.success_rate if cell else None),
    )


def _gate_of_selected(view: ViewComparison, limits: Gate) -> tuple[str, str, str]:
    cell = view.selected_cell(view.pair.candidate.key)
    if cell is None or cell.gate is None:
        return (f.ABSENT, f.ABSENT, f"no {view.pair.candidate.title} cell is eligible")
    return (
        f"{f.difference(cell.gate.max_abs_diff)} (limit {f.plain(limits.max_abs_diff)})",
        f"{f.difference(cell.gate.mean_abs_diff)} (limit {f.plain(limits.mean_abs_diff)})",
        verdict(cell.gate.verdict),
    )


def time_rows(comparison: Comparison) -> list[list[str]]:
    """A row per measurement: name, seconds of each activity, their sum."""
    rows = []
    for source in comparison.sources:
        spent = list(source.run.seconds.model_dump().values())
        name = f.backend_view(source.backend, source.view, comparison.pair)
        rows.append([name, *map(f.seconds, spent), f.seconds(sum(spent))])
    return rows


def whole_sources(of: Sequence[Comparison]) -> list[MatrixSource]:
    """The sources of a result with the passes of all its workloads."""
    return [
        same[0].model_copy(
            update={
                name: sum(getattr(source, name) for source in same)
                for name in ("planned_passes", "good_passes")
            }
        )
        for same in zip(*(one.sources for one in of), strict=True)
    ]


def _scored(of: Sequence[Comparison], source: MatrixSource) -> str:
    """How one measurement scored items; by workload where not all alike."""
    found = {
        one.scope.workload: modes.recorded(one.view(source.view), source.backend) for one in of
    }
    return same_or_by_name(found)


def same_or_by_name(found: Mapping[str, str]) -> str:
    """``a``, or ``one: a; other: b`` where the texts differ."""
    if len(set(found.values())) == 1:
        return next(iter(found.values()))
    return "; ".join(f"{name}: {text}" for name, text in found.items())


def provenance_rows(of: Sequence[Comparison]) -> list[list[str]]:
    """A row per property, a column per measurement; the first row is the heading.

    Args:
        of: every workload of a result.
    """
    comparison, sources = of[0], whole_sources(of)
    scored = [_scored(of, source) for source in sources]
    return [
        ["", *(f.backend_view(s.backend, s.view, comparison.pair) for s in sources)],
        ["Measured", *(_measured(s) for s in sources)],
        ["Server", *(elsewhere.where(s) for s in sources)],
        ["Server version", *(s.run.backend_version or f.ABSENT for s in sources)],
        ["How items are scored", *scored],
        ["Model", *(elsewhere.model_checked(s) for s in sources)],
        ["Environment SHA-256", *((s.run.environment_sha256 or f.ABSENT)[:12] for s in sources)],
        ["Release repaired at launch", *(f.yes_no(s.run.repaired) for s in sources)],
        *_shell_rows(sources),
        ["dtype", *(s.dtype for s in sources)],
        ["Devices", *(f.join(s.run.devices) or f.ABSENT for s in sources)],
        ["Client", *(elsewhere.client_at(s) for s in sources)],
        ["Round trip", *(elsewhere.round_trip(s) for s in sources)],
        ["Host of the client", *(s.run.host.name for s in sources)],
        ["System", *(f"{s.run.host.system}, {s.run.host.machine}" for s in sources)],
        ["Processor", *(f"{s.run.host.processor}, {s.run.host.cpus} in use" for s in sources)],
        ["Memory", *(f.gibibytes(s.run.host.memory_bytes) for s in sources)],
        ["Started", *(f.minute(s.run.started_at) for s in sources)],
        ["Finished", *(f.minute(s.run.finished_at) for s in sources)],
        ["Commit", *(f.commit(s, 12) for s in sources)],
        ["Good timed passes", *(f"{s.good_passes} of {s.planned_passes}" for s in sources)],
        ["Server restarts", *(str(s.run.restarts) for s in sources)],
        ["Server sessions", *(str(s.run.sessions) for s in sources)],
        ["Interrupted and resumed", *(_times(s.run.interruptions) for s in sources)],
        ["Requests sent twice", *(f.yes_no(s.run.requests_repeated) for s in sources)],
        ["CPU time taken by other work", *(cpu_share(s.run.foreign_cpu) for s in sources)],
        ["Compile cache at the start", *(_cache(s.run.compile_cache_entries) for s in sources)],
    ]


def _shell_rows(sources: list[MatrixSource]) -> list[list[str]]:
    """Which variables of the shell the servers had; no row where there were none."""
    variables = [_of_shell(source) for source in sources]
    names = ("Variables of the machine", "Variables of the shell left out")
    rows = [[name, *(texts[i] or f.ABSENT for texts in variables)] for i, name in enumerate(names)]
    return [row for row in rows if set(row[1:]) != {f.ABSENT}]


def _of_shell(source: MatrixSource) -> tuple[str, str]:
    if source.run.shell is None:
        return "", ""
    passed = [f"{name}={value}" for name, value in source.run.shell.passed.items()]
    return f.join(passed), f.join(source.run.shell.left_out)


def _measured(source: MatrixSource) -> str:
    return "yes" if source.unavailable is None else f"no: {source.unavailable}"


def _times(count: int) -> str:
    return f"{count} times" if count > 1 else "once" if count else "no"


def _cache(entries: int | None) -> str:
    if entries is None:
        return "none kept"
    return f"{entries} entries" if entries else "empty"


def commands(comparison: Comparison) -> list[tuple[str, str]]:
    """Each measurement's name and server command line, as a shell would take it."""
    return [
        (f.backend_view(s.backend, s.view, comparison.pair), elsewhere.command(s))
        for s in comparison.sources
    ]


def artifacts(comparison: Comparison) -> Iterator[tuple[str, str]]:
    """Path and content of every file behind the report."""
    yield (
        "data/workload/canonical_workload.json",
        "every workload: the query, the items and the labels",
    )
    yield "data/nonce/nonce.json", "the number that makes this comparison's requests unique"
    for view in comparison.views():
        for backend in comparison.pair.both:
            name = f.backend_view(backend, view.view, comparison.pair)
            folder = folder_of(backend, view.view)
            yield str(folder / MATRIX_FILE), f"every call: {name}"
            yield str(folder / "probes.parquet"), f"repeated and isolation probes: {name}"
            yield str(folder / SERVER_LOG_FILE), f"what the server logged: {name}"
    yield "data/oracle/oracle.parquet", "what the independent scorer says of the sampled items"
    yield "data/compare/comparison.json", "every figure of this report"
    yield "data/compare/metrics.json", "the figures that dvc metrics diff compares"
    yield "data/report/comparison.md", "the tables and winners alone"


def phases(comparison: Comparison) -> str:
    """Which passes the figures come from, in words."""
    confirmed: dict[str, str] = {}
    for view in comparison.views():
        every = sorted({cell.chunk_size for cell in view.cells})
        for backend in comparison.pair.both:
            sizes = [
                c.chunk_size for c in view.cells if c.backend == backend and c.phase == "confirm"
            ]
            if sizes:
                confirmed[f.backend_view(backend, view.view, comparison.pair)] = f.chunk_sizes(
                    sizes, every
                )
    if not confirmed:
        return "Every figure comes from the sweep passes."
    where = "; ".join(f"{name}: {sizes}" for name, sizes in confirmed.items())
    return f"Figures come from the confirm passes at these, else from the sweep passes: {where}."


def descriptive(comparison: Comparison) -> bool:
    """Whether any p95 of the report stands on too few passes for a finite 95 % interval."""
    return any_descriptive(cells(comparison))
