"""Stage ``measure@BACKEND-VIEW``: one server, every planned pass, one matrix.

Writes ``matrix.parquet`` and ``server.log`` to ``data/measure/BACKEND-VIEW/``.
"""

from __future__ import annotations

import json
import signal
import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from types import FrameType

import click
import pyarrow as pa

from stages.canonical import CanonicalWorkload, read_workload
from stages.contract import BACKENDS, REFERENCE, VIEWS, Backend, Contract, View, load_contract
from stages.environment import (
    ensure_environment,
    installed_version,
    requirements_sha256,
    scratch_folder,
)
from stages.errors import UserError, one_line_errors
from stages.measure.calibration import CalibrationPass, calibrate
from stages.measure.drivers import DRIVERS, Driver, Flags, Shape, command_line
from stages.measure.passes import encode_pass
from stages.measure.probe import choose_targets
from stages.measure.progress import PassProgress
from stages.measure.provenance import this_host, utc_now
from stages.measure.schedule import PassKey, calls_of_pass, salt_of
from stages.measure.server import Server, server_environment
from stages.measure.session import Session
from stages.model_record import read_model
from stages.probe_table import PROBE_SCHEMA, PROBE_TABLE, PROBES_FILE, ProbeProvenance
from stages.schema import (
    CHECKPOINT_FOLDER,
    MATRIX_FILE,
    MATRIX_TABLE,
    MATRIX_VERSION,
    MODEL_FILE,
    SERVER_LOG_FILE,
    WORKLOAD_FILE,
    ClientCost,
    Measured,
    Model,
    Provenance,
    TimeSplit,
    folder_of,
    git_state,
    records_to_table,
)
from stages.tables import table_sha256


@dataclass(frozen=True, slots=True)
class Plan:
    """Everything one measurement reads, resolved before anything is started."""

    backend: Backend
    view: View
    driver: Driver
    workload: CanonicalWorkload
    workload_sha256: str
    model: Model
    contract: Measured

    @property
    def title(self) -> str:
        """How progress lines name the measurement."""
        return f"{self.backend}-{self.view}"

    @property
    def arguments(self) -> list[str]:
        """What the environment's Python is started with, host and port aside."""
        launch = self.contract.launch
        revision = ["--revision", self.model.revision] if self.model.revision else []
        return [
            *launch.entry,
            *("--model-path", self.model.path, *revision, "--skip-tokenizer-init"),
            *("--device", launch.device, "--dtype", launch.dtype, "--skip-server-warmup"),
            *command_line(self.contract.flags),
        ]


def make_plan(contract: Contract, backend: Backend, view: View) -> Plan:
    """Resolve the contract for one matrix; flags of the contract win over derived ones."""
    workload, digest = read_workload(WORKLOAD_FILE)
    model = read_model(MODEL_FILE)
    section = contract.backends.of(backend)
    explicit = section.view(view).flags
    driver = DRIVERS[backend]
    shape = Shape(
        prompt_tokens=workload.prompt_tokens,
        item_tokens=max(len(item) for item in workload.items),
        largest_chunk=max(contract.chunk_sizes),
        attention_heads=_attention_heads(),
        prefix_cache=not explicit.get("disable-radix-cache", False),
    )
    derived = driver.derived_flags(shape, section.launch.device)
    flags: Flags = {**derived, **explicit}
    measured = Measured(
        chunk_sizes=contract.chunk_sizes,
        passes=contract.passes,
        limits=contract.limits,
        probes=contract.probes,
        launch=section.launch,
        flags=flags,
    )
    return Plan(backend, view, driver, workload, digest, model, measured)


def _attention_heads() -> int:
    path = CHECKPOINT_FOLDER / "config.json"
    try:
        heads = json.loads(path.read_bytes())["num_attention_heads"]
    except (OSError, ValueError, KeyError) as error:
        raise UserError(f"{path}: cannot tell the model's attention heads: {error}") from error
    return int(heads)


def measure(plan: Plan, folder: Path) -> None:
    """Measure one matrix and write it."""
    environment = plan.contract.launch.environment
    python = ensure_environment(environment)
    started_at, started = utc_now(), time.monotonic()
    costs = calibrate_client(plan)
    caches = {"PYTHONPYCACHEPREFIX": scratch_folder(environment, "bytecode")}
    compile_cache = plan.driver.compile_cache_variable
    cached = None
    if compile_cache is not None:
        caches[compile_cache] = scratch_folder(environment, "compiled")
        cached = sum(1 for path in caches[compile_cache].glob("**/*") if path.is_file())
    environ = server_environment(plan.contract.launch.environ, caches)
    log = folder / SERVER_LOG_FILE
    log.unlink(missing_ok=True)
    servers: list[Server] = []

    def new_server() -> Server:
        servers.append(Server([str(python), *plan.arguments], environ, log))
        return servers[-1]

    expected = _expected_passes(plan)
    with PassProgress(plan.title, expected) as progress:
        progress.say(f"starting the {environment} server")
        session = Session(
            workload=plan.workload,
            chunk_sizes=plan.contract.chunk_sizes,
            passes=plan.contract.passes,
            limits=plan.contract.limits,
            driver=plan.driver,
            new_server=new_server,
            notify=progress.notify,
            probes=plan.contract.probes,
            answers_all=plan.backend == REFERENCE,
        )
        session.run()
    table = records_to_table(session.records)
    total = time.monotonic() - started
    spent = {name: session.seconds[name] for name in ("server_start", "warmup", "sweep", "confirm")}
    commit, dirty = git_state()
    provenance = Provenance(
        schema_version=MATRIX_VERSION,
        backend=plan.backend,
        view=plan.view,
        workload_sha256=plan.workload_sha256,
        items=len(plan.workload.items),
        label_token_ids=plan.workload.label_token_ids,
        apply_softmax=plan.workload.apply_softmax,
        model=plan.model,
        contract=plan.contract,
        unavailable=None,
        confirm_chunk_sizes=session.confirmed,
        backend_version=installed_version(environment, plan.driver.package),
        environment_sha256=requirements_sha256(environment),
        repaired=plan.driver.repaired(plan.contract.launch.entry),
        # The interpreter's path belongs to the machine, not to the measurement.
        argv=["python", *servers[0].argv[1:]],
        environ=plan.contract.launch.environ,
        devices=[plan.contract.launch.device],
        host=this_host(),
        compile_cache_entries=cached,
        restarts=session.restarts,
        foreign_cpu=session.foreign_cpu,
        client_costs=costs,
        seconds=TimeSplit(**spent, other=total - sum(spent.values())),
        started_at=started_at,
        finished_at=utc_now(),
        git_commit=commit,
        git_dirty=dirty,
        table_sha256=table_sha256(table),
    )
    MATRIX_TABLE.write(folder / MATRIX_FILE, table, provenance)
    _write_probes(plan, session, provenance.table_sha256, folder)
    good = sum(1 for r in session.records if r.status == "ok")
    click.echo(f"{plan.title}: {good} of {len(session.records)} calls ok, {total:.0f} s")


def _write_probes(plan: Plan, session: Session, matrix_sha256: str, folder: Path) -> None:
    table = pa.Table.from_pylist([asdict(r) for r in session.probe_records], schema=PROBE_SCHEMA)
    provenance = ProbeProvenance(
        schema_version=PROBE_TABLE.version,
        workload_sha256=plan.workload_sha256,
        table_sha256=table_sha256(table),
        backend=plan.backend,
        view=plan.view,
        model_sha256=plan.model.sha256,
        matrix_sha256=matrix_sha256,
        session=session.session,
        targets=choose_targets(plan.workload, plan.contract.probes),
    )
    PROBE_TABLE.write(folder / PROBES_FILE, table, provenance)


def calibrate_client(plan: Plan) -> list[ClientCost]:
    """The client's own seconds per pass of each chunk size, before any server is up."""
    passes = []
    for chunk in plan.contract.chunk_sizes:
        salt = salt_of(plan.workload, PassKey("warmup", chunk, 0))
        passes.append(
            CalibrationPass(
                chunk_size=chunk,
                bodies=encode_pass(plan.workload, salt, chunk),
                item_counts=[n for _, n in calls_of_pass(len(plan.workload.items), chunk)],
            )
        )
    seconds = calibrate(
        passes,
        labels=len(plan.workload.label_token_ids),
        apply_softmax=plan.workload.apply_softmax,
    )
    return [ClientCost(chunk_size=c, seconds_per_pass=s) for c, s in seconds.items()]


def _expected_passes(plan: Plan) -> int:
    passes, chunks = plan.contract.passes, len(plan.contract.chunk_sizes)
    # Compiling servers need about three warm-up passes; four chunk sizes are confirmed, and
    # the reference answers the confirm requests of the others too.
    warmup = passes.warmup if plan.driver.compile_pattern is None else 3
    confirmed = chunks if plan.backend == REFERENCE else min(chunks, 4)
    return chunks * (warmup + passes.sweep) + confirmed * passes.confirm


def _stop_on_signal(number: int, frame: FrameType | None) -> None:  # noqa: ARG001
    sys.exit(128 + number)


@click.command()
@click.argument("backend", type=click.Choice(BACKENDS))
@click.argument("view", type=click.Choice(VIEWS))
@one_line_errors
def main(backend: Backend, view: View) -> None:
    """Measure BACKEND in VIEW."""
    # A terminated stage must leave through its context managers, which stop the server.
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _stop_on_signal)
    measure(make_plan(load_contract(), backend, view), folder_of(backend, view))


if __name__ == "__main__":
    main()
