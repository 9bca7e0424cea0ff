"""Stage ``measure@BACKEND-VIEW``: one server, every planned pass, one matrix.

Writes ``matrix.parquet``, ``probes.parquet`` and ``server.log`` to
``data/measure/BACKEND-VIEW/``.
"""

from __future__ import annotations

import signal
import sys
import time
from pathlib import Path
from types import FrameType

import click

from stages.contract import BACKEND_NAMES, BACKENDS, REFERENCE, VIEWS, Backend, View, load_contract
from stages.environment import ensure_environment, installed_version, scratch_folder
from stages.errors import one_line_errors
from stages.files import write_whole
from stages.measure.calibration import CalibrationPass, calibrate
from stages.measure.passes import encode_pass
from stages.measure.plan import Plan, make_plan
from stages.measure.progress import PassProgress
from stages.measure.provenance import utc_now
from stages.measure.result import Outcome, write_result
from stages.measure.schedule import PassKey, calls_of_pass, salt_of
from stages.measure.server import Server, server_environment
from stages.measure.session import Session
from stages.schema import SERVER_LOG_FILE, ClientCost, TimeSplit, folder_of


def measure(plan: Plan, folder: Path) -> None:
    """Measure one matrix and write it."""
    environment = plan.environment
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

    with PassProgress(plan.title, plan.expected_passes) as progress:
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
    total = time.monotonic() - started
    spent = {name: session.seconds[name] for name in ("server_start", "warmup", "sweep", "confirm")}
    outcome = Outcome(
        started_at=started_at,
        # The interpreter's path belongs to the machine, not to the measurement.
        argv=["python", *servers[0].argv[1:]],
        backend_version=installed_version(environment, plan.driver.package),
        records=session.records,
        probe_records=session.probe_records,
        probe_session=session.session,
        confirmed=session.confirmed,
        devices=[plan.contract.launch.device],
        compile_cache_entries=cached,
        restarts=session.restarts,
        foreign_cpu=session.foreign_cpu,
        client_costs=costs,
        seconds=TimeSplit(**spent, other=total - sum(spent.values())),
    )
    write_result(plan, outcome, folder)
    good = sum(1 for r in session.records if r.status == "ok")
    click.echo(f"{plan.title}: {good} of {len(session.records)} calls ok, {total:.0f} s")


def record_unavailable(plan: Plan, folder: Path) -> None:
    """Write the empty matrix of a backend that cannot run; nothing is started or built."""
    write_whole(folder / SERVER_LOG_FILE, b"")
    write_result(plan, Outcome(started_at=utc_now(), argv=["python", *plan.arguments]), folder)
    name = BACKEND_NAMES[plan.backend]
    click.echo(f"{plan.title}: not measured, {name} is unavailable: {plan.unavailable}")


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
    plan, folder = make_plan(load_contract(), backend, view), folder_of(backend, view)
    if plan.unavailable is not None:
        record_unavailable(plan, folder)
    else:
        measure(plan, folder)


if __name__ == "__main__":
    main()
