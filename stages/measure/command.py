"""Stage ``measure@BACKEND-VIEW``: one server, every planned pass, one matrix.

The server is launched here, or it was started elsewhere and is reached at its URL.

Writes ``matrix.parquet``, ``probes.parquet`` and ``server.log`` to
``data/measure/BACKEND-VIEW/``. However a run is stopped, the next one measures the
passes that are not in the journal.
"""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any

import click

from stages.backends.registry import declared
from stages.common.errors import UserError, one_line, one_line_errors
from stages.common.files import write_whole
from stages.common.shell import server_variables
from stages.contract import VIEWS, View, load_contract
from stages.documents.cell import PassKey, Series
from stages.documents.matrix import (
    SERVER_LOG_FILE,
    ClientCost,
    Run,
    ShellVariables,
    TimeSplit,
    folder_of,
)
from stages.environments.build import (
    ensure_environment,
    environment_sha256,
    environment_sha256s,
    installed_version,
)
from stages.machine.host import this_host, utc_now
from stages.machine.interrupt import Interrupted, interruptible
from stages.machine.lock import machine_lock
from stages.measure.http.calibration import CalibrationPass, calibrate
from stages.measure.passes import encode_pass
from stages.measure.progress import PassProgress
from stages.measure.record.journal import Journal
from stages.measure.record.journal_key import journal_folder
from stages.measure.record.ledger import Ledger
from stages.measure.record.result import MeasurementResult, write_result
from stages.measure.servers.asked import AskedRecord
from stages.measure.servers.caches import cache_variables, compiled_programs
from stages.measure.servers.known_flags import check_flags
from stages.measure.servers.launched import Server, launch_variables, server_environment
from stages.measure.servers.remote import FirstContact, first_contact, take_api_key
from stages.measure.servers.under_test import ServerUnderTest
from stages.measure.session import Session
from stages.measure.starts import FurtherStarts
from stages.plan.plan import Plan, make_plan
from stages.plan.schedule import all_series, salt_of

_VALUE_CHARACTERS = 500


def measure(
    plan: Plan, folder: Path, journal_at: Path | None = None, contact: FirstContact | None = None
) -> None:
    """Measure one matrix and write it into ``folder``.

    Args:
        plan: what to measure.
        folder: for the matrix, the probes and the server's log.
        journal_at: folder of the journal; beside the matrix by default.
        contact: the server that was started elsewhere; ``None`` to launch one here.

    Raises:
        UserError: the server does not start, or something cannot be written.
    """
    command, environ = _launchable(plan) if contact is None else ([], {})
    with Journal(journal_at or folder / "journal") as journal:
        log = _server_log(journal, contact)
        ledger = Ledger(journal, plan.workloads.sha256s, compiled_programs(plan))
        _announce_resumption(plan, ledger)
        repeated = _requests_repeated(plan, ledger, contact)
        servers: list[Server] = []

        def new_server() -> ServerUnderTest:
            if contact is not None:
                return contact.server()
            servers.append(Server(command, environ, log))
            return servers[-1]

        try:
            costs = calibrate_client(plan)
            session = _run_session(plan, ledger, new_server, log, contact)
        except Interrupted as stop:
            stop.saved = f"{journal.count_passes()} of about {plan.expected_passes} passes saved"
            raise
        # The interpreter's path belongs to the machine, not to the measurement.
        argv = ["python", *servers[0].argv[1:]] if servers else []
        log_text = log.read_bytes()
        run = _run_of(plan, session, argv, contact, repeated)
        write_whole(folder / SERVER_LOG_FILE, log_text)
        result = _result(plan, session, run, costs, contact)
        write_result(plan, result, folder)
        journal.remove()
    good = sum(1 for r in session.records if r.status == "ok")
    total = ledger.elapsed_s
    click.echo(f"{plan.title}: {good} of {len(session.records)} calls ok, {total:.0f} s")


def _launchable(plan: Plan) -> tuple[list[str], dict[str, str]]:
    """The server's command and environment, after a check that it knows its flags."""
    variables = launch_variables(plan)  # may refuse the contract, so before anything is built
    python = ensure_environment(plan.environment, plan.commit, plan.device)
    environ = server_environment(variables, cache_variables(plan))
    _announce_left_out(plan)
    check_flags(plan, python, environ, lambda what: click.echo(f"{plan.title}: {what}"))
    return [str(python), *plan.arguments], environ


def _shell_variables(plan: Plan) -> ShellVariables:
    """Which variables of this shell a server launched here gets, and which it does not."""
    variables = server_variables(launch_variables(plan))
    passed = {name: one_line(value, _VALUE_CHARACTERS) for name, value in variables.passed.items()}
    return ShellVariables(passed=passed, left_out=variables.left_out)


def _announce_left_out(plan: Plan) -> None:
    if left_out := server_variables(launch_variables(plan)).left_out:
        click.echo(
            f"{plan.title}: its server does not get this shell's {', '.join(left_out)}; to pass a"
            f" variable on, set it in backends.{plan.backend}.launch.environ"
        )


def _server_log(journal: Journal, contact: FirstContact | None) -> Path:
    """The server's log. It lies with the journal, so it covers interrupted sessions too."""
    log = journal.folder / SERVER_LOG_FILE
    if contact is not None:
        write_whole(
            log, f"{contact.url} was not started here: its log is on its machine.\n".encode()
        )
    elif not journal.entries:
        log.unlink(missing_ok=True)
    return log


def _requests_repeated(plan: Plan, ledger: Ledger, contact: FirstContact | None) -> bool | None:
    """Whether the server receives requests that it received before; ``None``: not known."""
    if contact is None:  # A launched server starts with an empty cache.
        return False
    asked = _asked_before(plan, contact.asked, ledger.measurement)
    # The pass in flight at an interruption is sent again.
    return True if ledger.earlier.last else asked


def _asked_before(plan: Plan, record: AskedRecord, measurement: str) -> bool | None:
    """Whether another measurement sent these requests; prints so where a cache could answer.

    ``None`` where the record cannot be read.
    """
    try:
        at = record.earlier(plan.nonce, measurement)
    except UserError as error:
        unknown = "it is not known whether its server was sent the same requests before"
        click.echo(f"{plan.title}: {error}; {unknown}")
        return None
    if at is not None and plan.contract.allows_prefix_cache:
        click.echo(
            f"{plan.title}: the server at {record.url} was sent the same requests on"
            f" {at:%Y-%m-%d %H:%M} UTC; its prefix cache may answer some of them."
            " `make remeasure` draws a new nonce."
        )
    return at is not None


def _announce_resumption(plan: Plan, ledger: Ledger) -> None:
    kept = ledger.kept
    if kept:
        passes = f"{len(kept)} passes" if len(kept) > 1 else "1 pass"
        span = f"{kept[0].finished_at} to {kept[-1].finished_at}"
        click.echo(f"{plan.title}: going on after {passes} measured from {span}")


def _run_session(
    plan: Plan,
    ledger: Ledger,
    new_server: Callable[[], ServerUnderTest],
    log: Path,
    contact: FirstContact | None,
) -> Session:
    @cache
    def note_once() -> None:
        if contact is not None:
            contact.asked.note(plan.nonce, ledger.measurement, datetime.now(UTC))

    with PassProgress(plan.title, plan.expected_passes, ledger.passes) as progress:
        base_url = plan.contract.base_url
        launching = f"starting the {plan.environment} server; its log is {log}"
        progress.say(launching if base_url is None else f"measuring the server at {base_url}")
        session = Session(
            workloads=plan.workloads.by_name,
            chunk_sizes=plan.chunk_sizes,
            passes=plan.contract.passes,
            limits=plan.contract.limits,
            driver=plan.driver,
            new_server=new_server,
            notify=progress.notify,
            probes=plan.contract.probes,
            ledger=ledger,
            answers_all=plan.is_reference,
            elsewhere=base_url is not None,
            about_to_ask=note_once,
            cover_times=plan.cover_times(contact.identity.elsewhere if contact else None),
            running_requests=plan.running_requests,
        )
        session.run()
        _probe_further_starts(plan, session, new_server, progress)
    return session


def _probe_further_starts(
    plan: Plan,
    session: Session,
    new_server: Callable[[], ServerUnderTest],
    progress: PassProgress,
) -> None:
    """Probe as many further starts of the server as the contract asks for.

    They change nothing of the session but its probes. Where it answered none, there is nothing to
    compare them with.
    """
    count, answered = plan.probe_starts, {one.status for one in session.probe_records}
    if not count:
        return
    if "ok" not in answered:
        progress.say("no extra start: the measured server answered no probe")
        return
    starts = FurtherStarts(
        workloads=session.workloads,
        probes=session.probes,
        limits=session.limits,
        bounds={name: session.bound(name) for name in session.workloads},
        new_server=new_server,
        say=progress.say,
    )
    session.probe_records += starts.run(count)


def _result(
    plan: Plan,
    session: Session,
    run: Run,
    costs: dict[Series, float],
    contact: FirstContact | None,
) -> MeasurementResult:
    reported, ledger = contact.identity.elsewhere if contact else None, session.ledger
    return MeasurementResult(
        run=run,
        records=session.records,
        probe_records=session.probe_records,
        probe_session=session.number,
        confirmed=session.confirmed,
        scoring={
            name: plan.scoring(name, reported, ledger.fallbacks(name)) for name in plan.chunk_sizes
        },
        uncovered=session.uncovered,
        client_costs={
            name: [
                ClientCost(chunk_size=size, seconds_per_pass=costs[Series(name, size)])
                for size in sizes
            ]
            for name, sizes in plan.chunk_sizes.items()
        },
    )


def _run_of(
    plan: Plan,
    session: Session,
    argv: list[str],
    contact: FirstContact | None,
    repeated: bool | None,
) -> Run:
    ledger = session.ledger
    identity = contact.identity if contact else None
    spent = {name: ledger.seconds(name) for name in ("server_start", "warmup", "sweep", "confirm")}
    return Run(
        **_launch_facts(plan, argv, ledger.started_at),
        shell=None if identity else _shell_variables(plan),
        backend_version=identity.version
        if identity
        else installed_version(plan.environment, plan.driver.package, plan.commit, plan.device),
        elsewhere=identity.elsewhere if identity else None,
        round_trip=session.round_trip,
        devices=[plan.contract.launch.device],
        compile_cache_entries=ledger.compile_cache_entries,
        restarts=session.restarts,
        sessions=ledger.sessions,
        interruptions=len(ledger.earlier.last),
        requests_repeated=repeated,
        # A server on this machine is not a child process, yet its work is not foreign.
        foreign_cpu=None if identity and identity.elsewhere.same_machine else ledger.foreign_cpu,
        seconds=TimeSplit(**spent, other=ledger.elapsed_s - sum(spent.values())),
    )


def _launch_facts(plan: Plan, argv: list[str], started_at: str) -> dict[str, Any]:
    """What every run records, even one that started nothing."""
    launched = plan.contract.base_url is None
    return {
        "environment_sha256": _environment_sha256(plan) if launched else None,
        "repaired": plan.driver.repaired(plan.contract.launch.program) if launched else None,
        "argv": argv,
        "environ": launch_variables(plan) if launched else {},
        "host": this_host(),
        "started_at": started_at,
        "finished_at": utc_now(),
        "git_commit": plan.code.commit,
        "git_dirty": plan.code.changed,
    }


def _environment_sha256(plan: Plan) -> str | None:
    """The environment's identity; ``None`` where a backend that cannot run has no known one."""
    if plan.unavailable is None:
        return environment_sha256(plan.environment, plan.commit, plan.device)
    # Nothing is fetched for it to find out which lock would fit.
    known = environment_sha256s(plan.environment, plan.commit, plan.device)
    return next(iter(known)) if len(known) == 1 else None


def record_unavailable(plan: Plan, folder: Path) -> None:
    """Write the empty matrix of a backend that cannot run. Starts and builds nothing."""
    argv = ["python", *plan.arguments] if plan.contract.base_url is None else []
    run = Run(**_launch_facts(plan, argv, utc_now()))
    write_whole(folder / SERVER_LOG_FILE, b"")
    write_result(plan, MeasurementResult(run), folder)
    name = declared(plan.backend).title
    click.echo(f"{plan.title}: not measured, {name} is unavailable: {plan.unavailable}")


def calibrate_client(plan: Plan) -> dict[Series, float]:
    """The client's own seconds per pass of each workload and chunk size, before a server is up."""
    by_labels: dict[int, list[CalibrationPass]] = {}
    for name, chunk in all_series(plan.chunk_sizes):
        workload = plan.workloads.by_name[name]
        salt = salt_of(workload, PassKey(name, "warmup", chunk, 0))
        one = CalibrationPass(Series(name, chunk), encode_pass(workload, salt, chunk))
        by_labels.setdefault(len(workload.label_token_ids), []).append(one)
    seconds: dict[Series, float] = {}
    for labels, passes in by_labels.items():
        seconds |= calibrate(passes, labels=labels)
    return seconds


@click.command()
@click.argument("backend")
@click.argument("view", type=click.Choice(VIEWS))
@click.option(
    "--fresh",
    is_flag=True,
    envvar="SCOREPARITY_FRESH",
    show_envvar=True,
    help="Measure everything anew, also what an interrupted run has measured already.",
)
@click.option(
    "--wait",
    is_flag=True,
    envvar="SCOREPARITY_WAIT",
    show_envvar=True,
    help="Wait for another measurement on this machine to end, instead of being refused.",
)
@one_line_errors
def main(backend: str, view: View, fresh: bool, wait: bool) -> None:
    """Measure BACKEND in VIEW. An interrupted measurement continues where it stopped."""
    api_key = take_api_key(backend)
    contract = load_contract()
    plan = make_plan(contract, contract.paired(backend), view)
    folder = folder_of(backend, view)
    if plan.code.notice:
        click.echo(f"{plan.title}: {plan.code.notice}", err=True)
    if plan.unavailable is not None:
        record_unavailable(plan, folder)
        return

    def say(what: str) -> None:
        click.echo(f"{plan.title}: {what}")

    try:
        with interruptible(), machine_lock(f"measure@{plan.title}", say if wait else None):
            contact = None if plan.contract.base_url is None else first_contact(plan, api_key)
            journal = journal_folder(plan, contact.identity if contact else None)
            if fresh:
                shutil.rmtree(journal, ignore_errors=True)
            measure(plan, folder, journal, contact)
    except Interrupted as stop:
        again = "run the same command"
        if fresh:
            again = "run it again without --fresh (make remeasure: with FRESH=0)"
        click.echo(f"interrupted: {stop.saved}; {again} to continue", err=True)
        sys.exit(stop.exit_code)
