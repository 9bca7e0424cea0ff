"""Hand-built matrices with a known answer."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import polars as pl

from stages.backends.declared import PassMode
from stages.contract import Backend, View
from stages.documents.comparison import MatrixSource
from stages.documents.matrix import (
    MATRIX_VERSION,
    CallRecord,
    ClientCost,
    Host,
    Matrix,
    Measured,
    MeasuredWorkload,
    Model,
    Phase,
    Provenance,
    RoundTrip,
    Run,
    Scoring,
    ShellVariables,
    Status,
    TimeSplit,
    records_to_table,
)
from stages.documents.tables import table_sha256
from stages.plan.schedule import calls_of_pass

from contracts import NONCE, WORKLOAD, contract  # isort: skip

ITEMS = 4
LABELS = 2

type Score = Callable[[Phase, int, int, int], float]


def plain_score(phase: Phase, chunk: int, run: int, item: int) -> float:
    """Scores that differ between items and between passes, as real ones do."""
    return 0.1 + 0.2 * item + 0.001 * run + 0.0001 * chunk + (0.01 if phase == "confirm" else 0)


def one_pass(
    phase: Phase,
    chunk: int,
    run: int,
    seconds: float,
    *,
    position: int = 0,
    score: Score = plain_score,
    status: Status = "ok",
    compiles: int | None = 0,
    cached_tokens: int | None = 0,
    mode: PassMode | None = None,
    fallbacks: int | None = None,
    salt: Sequence[int] = (),
    items: int = ITEMS,
    labels: int = LABELS,
    workload: str = WORKLOAD,
) -> list[CallRecord]:
    """The calls of a pass that took ``seconds``; unless ``ok``, its last call fails."""
    spans = calls_of_pass(items, chunk)
    start = position * 10**12
    per_call = round(seconds * 1e9 / len(spans))
    records = []
    for call, (first, count) in enumerate(spans):
        last = call == len(spans) - 1
        failed = last and status != "ok"
        flat: list[float] = []
        for item in range(first, first + count):
            value = score(phase, chunk, run, item)
            flat += [value, 1 - value][:labels]
        end = start + (round(seconds * 1e9) if last else per_call * (call + 1))
        records.append(
            CallRecord(
                session=0,
                position=position,
                workload=workload,
                phase=phase,
                chunk_size=chunk,
                run=run,
                call=call,
                first_item=first,
                item_count=count,
                start_ns=start + per_call * call,
                end_ns=end,
                status=status if failed else "ok",
                detail="made to fail" if failed else "",
                compiles=compiles,
                cached_tokens=cached_tokens,
                mode=mode,
                fallbacks=fallbacks,
                salt=list(salt) or [ord(phase[0]), chunk, run],
                scores=None if failed else flat,
            )
        )
    return records


def passes(
    backend_seconds: dict[int, float | Sequence[float]],
    *,
    phase: Phase = "sweep",
    runs: int = 5,
    score: Score = plain_score,
    items: int = ITEMS,
    workload: str = WORKLOAD,
    position: int = 0,
) -> list[CallRecord]:
    """``runs`` good passes of each chunk size: its seconds, or a list of them."""
    records: list[CallRecord] = []
    for chunk, value in backend_seconds.items():
        series = [value] * runs if isinstance(value, int | float) else list(value)
        for run, seconds in enumerate(series):
            records += one_pass(
                phase,
                chunk,
                run,
                seconds,
                position=position,
                score=score,
                items=items,
                workload=workload,
            )
            position += 1
    return records


def with_facts[T: (Provenance, MatrixSource)](found: T, changes: Mapping[str, object]) -> T:
    """A copy with other facts, including those of its run and of every workload."""
    of_run = {name: value for name, value in changes.items() if name in Run.model_fields}
    update: dict[str, object] = {
        name: value for name, value in changes.items() if name not in of_run
    }
    update["run"] = found.run.model_copy(update=of_run)
    if isinstance(found, Provenance):
        names = MeasuredWorkload.model_fields.keys() & update.keys()
        of_workload = {name: update.pop(name) for name in names}
        workloads = {
            name: one.model_copy(update=of_workload) for name, one in found.workloads.items()
        }
        update.setdefault("workloads", workloads)
    return found.model_copy(update=update)


def matrix(
    backend: Backend,
    view: View,
    records: list[CallRecord],
    *,
    chunk_sizes: Sequence[int] = (1, 2, 4),
    confirmed: Sequence[int] = (),
    sweep: int = 5,
    workloads: Sequence[str] = (WORKLOAD,),
    **changes: object,
) -> Matrix:
    """A matrix of ``records`` with plausible provenance; ``changes`` replace its fields.

    What describes a workload is the same for all of ``workloads``.
    """
    table = records_to_table(records)
    made = contract(chunk_sizes=list(chunk_sizes), passes__sweep=sweep)
    section = made.backends[backend]
    provenance = Provenance(
        schema_version=MATRIX_VERSION,
        backend=backend,
        view=view,
        workload_sha256="a" * 64,
        workloads={
            name: MeasuredWorkload(
                sha256="e" * 64,
                items=ITEMS,
                label_token_ids=[9454, 2753],
                apply_softmax=True,
                chunk_sizes=list(chunk_sizes),
                confirm_chunk_sizes=list(confirmed),
                scoring=Scoring(
                    mode="separate" if view == "portable" else "cached",
                    told_by="flags",
                    detail=None,
                    fallbacks=None,
                ),
                client_costs=[ClientCost(chunk_size=c, seconds_per_pass=0.01) for c in chunk_sizes],
            )
            for name in workloads
        },
        nonce=NONCE,
        model=Model(title="m", sha256="b" * 64, trained=True, path="p", revision="r"),
        contract=Measured(
            chunk_sizes=list(chunk_sizes),
            passes=made.passes,
            limits=made.limits,
            probes=made.probes,
            launch=section.launch,
            base_url=None,
            flags=section.view(view).flags,
        ),
        unavailable=None,
        run=Run(
            backend_version="1.0",
            environment_sha256="c" * 64,
            repaired=False,
            argv=["python"],
            environ={},
            shell=ShellVariables(passed={}, left_out=[]),
            elsewhere=None,
            round_trip=RoundTrip(before_s=0.001, after_s=0.001),
            devices=["cpu"],
            host=Host(name="h", system="s", machine="m", processor="p", cpus=2, memory_bytes=1),
            compile_cache_entries=None,
            restarts=0,
            sessions=1,
            interruptions=0,
            foreign_cpu=0.0,
            seconds=TimeSplit(server_start=1, warmup=1, sweep=1, confirm=1, other=1),
            started_at="2026-01-01T00:00:00+00:00",
            finished_at="2026-01-01T00:01:00+00:00",
            git_commit=None,
            git_dirty=False,
        ),
        table_sha256=table_sha256(table),
    )
    provenance = with_facts(provenance, changes)
    frame = pl.from_arrow(table)
    assert isinstance(frame, pl.DataFrame)
    return Matrix(frame, provenance)
