"""What came of a measurement, as the two tables it writes and their provenance."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

import pyarrow as pa

from stages.documents.matrix import (
    MATRIX_FILE,
    MATRIX_TABLE,
    MATRIX_VERSION,
    CallRecord,
    ClientCost,
    Elsewhere,
    Provenance,
    RoundTrip,
    ShellVariables,
    TimeSplit,
    records_to_table,
)
from stages.documents.probes import (
    PROBE_SCHEMA,
    PROBE_TABLE,
    PROBES_FILE,
    ProbeProvenance,
    ProbeRecord,
)
from stages.documents.tables import table_sha256
from stages.environments.build import environment_sha256
from stages.machine.host import this_host, utc_now
from stages.measure.probes import choose_targets
from stages.plan.plan import Plan

_NO_TIME = TimeSplit(server_start=0, warmup=0, sweep=0, confirm=0, other=0)


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a measurement found, beyond what was planned; empty where nothing was started.

    Attributes:
        started_at: when its first process began, in UTC.
        argv: the command line of a server launched here, its Python as ``python``.
        shell: what a server launched here had of the shell's environment, and what not.
        elsewhere: what a server that was started elsewhere says it is.
        fallbacks: as in ``Scoring``.
        records: every call, in measuring order.
        probe_records: every item of every probe request.
        probe_session: the server session that was probed.
        requests_repeated: as in ``Provenance``.
        devices: what the server ran on.
    """

    started_at: str
    argv: list[str]
    shell: ShellVariables | None = None
    backend_version: str | None = None
    elsewhere: Elsewhere | None = None
    fallbacks: int | None = None
    round_trip: RoundTrip | None = None
    records: Sequence[CallRecord] = ()
    probe_records: Sequence[ProbeRecord] = ()
    probe_session: int = 0
    confirmed: list[int] = field(default_factory=list)
    devices: list[str] = field(default_factory=list)
    compile_cache_entries: int | None = None
    restarts: int = 0
    sessions: int = 0
    interruptions: int = 0
    requests_repeated: bool = False
    foreign_cpu: float | None = None
    client_costs: list[ClientCost] = field(default_factory=list)
    seconds: TimeSplit = _NO_TIME


def write_result(plan: Plan, outcome: Outcome, folder: Path) -> None:
    """Write the matrix and the probes of one measurement into ``folder``.

    Raises:
        UserError: a file cannot be written.
    """
    table = records_to_table(outcome.records)
    provenance = _provenance(plan, outcome, table_sha256(table))
    # Probes first: a matrix that is there is a measurement that is finished.
    _write_probes(plan, outcome, provenance.table_sha256, folder)
    MATRIX_TABLE.write(folder / MATRIX_FILE, table, provenance)


def _provenance(plan: Plan, outcome: Outcome, digest: str) -> Provenance:
    launched = plan.contract.base_url is None
    return Provenance(
        schema_version=MATRIX_VERSION,
        table_sha256=digest,
        backend=plan.backend,
        view=plan.view,
        workload_sha256=plan.workload_sha256,
        items=len(plan.workload.items),
        label_token_ids=plan.workload.label_token_ids,
        apply_softmax=plan.workload.apply_softmax,
        nonce=plan.nonce,
        model=plan.model,
        contract=plan.contract,
        unavailable=plan.unavailable,
        confirm_chunk_sizes=outcome.confirmed,
        backend_version=outcome.backend_version,
        environment_sha256=environment_sha256(plan.environment, plan.commit) if launched else None,
        repaired=plan.driver.repaired(plan.contract.launch.entry) if launched else None,
        argv=outcome.argv,
        environ=plan.contract.launch.environ if launched else {},
        shell=outcome.shell,
        elsewhere=outcome.elsewhere,
        scoring=None if plan.unavailable else plan.scoring(outcome.elsewhere, outcome.fallbacks),
        round_trip=outcome.round_trip,
        devices=outcome.devices,
        host=this_host(),
        compile_cache_entries=outcome.compile_cache_entries,
        restarts=outcome.restarts,
        sessions=outcome.sessions,
        interruptions=outcome.interruptions,
        requests_repeated=outcome.requests_repeated,
        foreign_cpu=outcome.foreign_cpu,
        client_costs=outcome.client_costs,
        seconds=outcome.seconds,
        started_at=outcome.started_at,
        finished_at=utc_now(),
        git_commit=plan.code.commit,
        git_dirty=plan.code.changed,
    )


def _write_probes(plan: Plan, outcome: Outcome, matrix_sha256: str, folder: Path) -> None:
    table = pa.Table.from_pylist([asdict(r) for r in outcome.probe_records], schema=PROBE_SCHEMA)
    provenance = ProbeProvenance(
        schema_version=PROBE_TABLE.version,
        workload_sha256=plan.workload_sha256,
        table_sha256=table_sha256(table),
        backend=plan.backend,
        view=plan.view,
        nonce=plan.nonce,
        model_sha256=plan.model.sha256,
        matrix_sha256=matrix_sha256,
        session=outcome.probe_session,
        targets=choose_targets(plan.workload, plan.contract.probes),
    )
    PROBE_TABLE.write(folder / PROBES_FILE, table, provenance)
