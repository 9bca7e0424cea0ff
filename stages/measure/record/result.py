"""Writes the result of a measurement: the matrix and the probes, with their provenance."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

import pyarrow as pa

from stages.documents.matrix import (
    MATRIX_FILE,
    MATRIX_TABLE,
    MATRIX_VERSION,
    CallRecord,
    ClientCost,
    CoverFailure,
    MeasuredWorkload,
    Provenance,
    Run,
    Scoring,
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
from stages.plan.plan import Plan
from stages.plan.probe_requests import choose_targets


@dataclass(frozen=True, slots=True)
class MeasurementResult:
    """The result of a measurement; empty where nothing was started.

    Attributes:
        run: facts about the run itself.
        records: every call, in measuring order.
        probe_records: every item of every probe request.
        probe_session: the server session that was probed.
        confirmed: the chunk sizes of each workload that were measured again.
        scoring: how the items of each workload were to be scored.
        client_costs: the client's own time for a pass of each workload.
        uncovered: the requests of covers that failed.
    """

    run: Run
    records: Sequence[CallRecord] = ()
    probe_records: Sequence[ProbeRecord] = ()
    probe_session: int = 0
    confirmed: Mapping[str, list[int]] = field(default_factory=dict)
    scoring: Mapping[str, Scoring] = field(default_factory=dict)
    client_costs: Mapping[str, list[ClientCost]] = field(default_factory=dict)
    uncovered: Sequence[CoverFailure] = ()


def write_result(plan: Plan, result: MeasurementResult, folder: Path) -> None:
    """Write the matrix and the probes of one measurement into ``folder``.

    Raises:
        UserError: a file cannot be written.
    """
    table = records_to_table(result.records)
    provenance = _provenance(plan, result, table_sha256(table))
    # The matrix comes last: its existence means that the measurement is finished.
    _write_probes(plan, result, provenance.table_sha256, folder)
    MATRIX_TABLE.write(folder / MATRIX_FILE, table, provenance)


def _provenance(plan: Plan, result: MeasurementResult, digest: str) -> Provenance:
    return Provenance(
        schema_version=MATRIX_VERSION,
        table_sha256=digest,
        backend=plan.backend,
        view=plan.view,
        workload_sha256=plan.workloads.sha256,
        workloads={name: _measured(plan, name, result) for name in plan.chunk_sizes},
        nonce=plan.nonce,
        model=plan.model,
        contract=plan.contract,
        unavailable=plan.unavailable,
        run=result.run,
    )


def _measured(plan: Plan, name: str, result: MeasurementResult) -> MeasuredWorkload:
    workload = plan.workloads.by_name[name]
    return MeasuredWorkload(
        sha256=plan.workloads.sha256s[name],
        items=len(workload.items),
        label_token_ids=workload.label_token_ids,
        apply_softmax=workload.apply_softmax,
        chunk_sizes=plan.chunk_sizes[name],
        confirm_chunk_sizes=result.confirmed.get(name, []),
        scoring=result.scoring.get(name),
        client_costs=result.client_costs.get(name, []),
        uncovered=[one for one in result.uncovered if one.workload == name],
    )


def _write_probes(plan: Plan, result: MeasurementResult, matrix_sha256: str, folder: Path) -> None:
    table = pa.Table.from_pylist([asdict(r) for r in result.probe_records], schema=PROBE_SCHEMA)
    provenance = ProbeProvenance(
        schema_version=PROBE_TABLE.version,
        workload_sha256=plan.workloads.sha256,
        table_sha256=table_sha256(table),
        backend=plan.backend,
        view=plan.view,
        nonce=plan.nonce,
        model_sha256=plan.model.sha256,
        matrix_sha256=matrix_sha256,
        session=result.probe_session,
        targets={
            name: choose_targets(workload, plan.contract.probes)
            for name, workload in plan.workloads.by_name.items()
        },
    )
    PROBE_TABLE.write(folder / PROBES_FILE, table, provenance)
