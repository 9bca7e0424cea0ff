"""The checks of the whole machine: each gives one finding.

A check looks its fact up itself, unless other checks need it too (`facts.py`). A new check is a
function and its entry in `MACHINE_CHECKS`.
"""

from __future__ import annotations

import contextlib
import importlib.metadata
import os
import platform
import socket
from collections.abc import Callable
from pathlib import Path

import psutil
from click.types import BoolParamType

from stages.backends.registry import environment_names, oracle_environment
from stages.common.errors import UserError, one_line
from stages.common.git import GitError, HangingError, code_version, git
from stages.common.shell import server_variables
from stages.environments.build import cache_root
from stages.machine.lock import who_measures
from tools.doctor.backend_checks import judge_environment
from tools.doctor.finding import Finding, Question
from tools.doctor.installed import harness_differences
from tools.doctor.resource_checks import disk, memory, model

_PYTHON_FILE = Path(".python-version")
_LOOPBACK_TIMEOUT_S = 120.0
_BUSY_SHARE = 0.5
_MOST_NAMED = 3
_REBUILD_HARNESS = "rm .venv/.complete && make doctor"


def contract(question: Question) -> Finding:
    """The contract. An invalid one ends the command before this check."""
    identity = question.contract.identity
    return Finding(
        "contract", "ok", f"params.yaml is valid: {identity.contract} on {identity.target}"
    )


def python(_: Question) -> Finding:
    """The version of the harness's Python."""
    found, wanted = platform.python_version(), _wanted_python()
    if not f"{found}.".startswith(f"{wanted}."):
        return Finding("Python", "blocked", f"{found}, not {wanted}", _REBUILD_HARNESS)
    return Finding("Python", "ok", found)


def _wanted_python() -> str:
    try:
        return _PYTHON_FILE.read_text("utf-8").strip()
    except OSError as error:
        raise UserError(f"{_PYTHON_FILE}: {error.strerror}") from error


def system(_: Question) -> Finding:
    """Operating system and architecture."""
    found = f"{platform.system()} on {platform.machine()}"
    if platform.system() != "Linux":
        return Finding("platform", "blocked", found, "use a Linux machine or container")
    if platform.machine() != "x86_64":
        tried = "nothing: only x86_64 has been tried, so an installation may fail"
        return Finding("platform", "warning", found, tried)
    return Finding("platform", "ok", found)


def harness(_: Question) -> Finding:
    """The harness's packages, compared with its pins."""
    found = harness_differences()
    if not found:
        return Finding("harness", "ok", "every package as pinned in requirements.txt")
    named = [f"{d.package} {d.installed or 'missing'}, not {d.pinned}" for d in found[:_MOST_NAMED]]
    if len(found) > _MOST_NAMED:
        named.append(f"and {len(found) - _MOST_NAMED} more")
    return Finding("harness", "warning", "; ".join(named), _REBUILD_HARNESS)


def tools(_: Question) -> Finding:
    """Whether git and dvc are there, and whether a result can name its commit."""
    version = code_version()
    unknown = version.unknown
    if isinstance(unknown, HangingError):
        return Finding("git and dvc", "blocked", unknown.why, unknown.remedy)
    try:
        found = f"git {one_line(git('--version')).removeprefix('git version ')}"
        found += f", dvc {importlib.metadata.version('dvc')}"
    except GitError:
        return Finding("git and dvc", "blocked", "there is no git", "install git")
    except importlib.metadata.PackageNotFoundError:
        return Finding("git and dvc", "blocked", "there is no dvc in .venv", _REBUILD_HARNESS)
    if not version.repository:
        why = unknown.why if unknown else "this folder is in no git repository"
        return Finding("git and dvc", "blocked", why, "git clone the project, or git init here")
    if unknown is not None:
        found += f"; a result from here names no commit: {unknown.why}"
        return Finding("git and dvc", "warning", found, unknown.remedy)
    return Finding("git and dvc", "ok", found)


def loopback(_: Question) -> Finding:
    """Whether a server can be reached on this machine's own address."""
    try:
        with socket.create_server(("127.0.0.1", 0)) as server:
            server.settimeout(_LOOPBACK_TIMEOUT_S)
            with socket.create_connection(server.getsockname(), timeout=_LOOPBACK_TIMEOUT_S):
                server.accept()[0].close()
    except OSError as error:
        why = one_line(error.strerror or str(error))
        found = f"no server can listen and be reached on 127.0.0.1: {why}"
        fix = "bring the loopback interface up; raise the limit of open files (ulimit -n)"
        return Finding("port", "blocked", found, fix)
    return Finding("port", "ok", "a server can listen and be reached on 127.0.0.1")


def lock(_: Question) -> Finding:
    """Whether another measurement runs on this machine."""
    try:
        holder = who_measures()
    except UserError as error:
        return Finding("lock", "blocked", str(error), "remove that file")
    if holder is None:
        return Finding("lock", "ok", "nobody measures on this machine")
    found = f"another measurement is running: {holder}"
    # Read as the measurement reads it.
    if BoolParamType.str_to_bool(os.environ.get("SCOREPARITY_WAIT", "")):
        return Finding("lock", "warning", found, "nothing: SCOREPARITY_WAIT is set")
    return Finding("lock", "blocked", found, "wait for it, or set SCOREPARITY_WAIT=1 to queue up")


def left_over(_: Question) -> Finding:
    """Servers without a measurement, which slow down other measurements."""
    servers = find_left_over()
    if not servers or _measuring():
        return Finding("servers left over", "ok", "none")
    named = "; ".join(f"{environment}, process {pid}" for pid, environment in servers.items())
    fix = f"if they are not needed: kill {' '.join(map(str, servers))}"
    return Finding("servers left over", "warning", named, fix)


def find_left_over() -> dict[int, str]:
    """Process id -> environment of the servers that run in one of the backends' environments."""
    folder = cache_root() / "environments"
    servers: dict[int, str] = {}
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error, OSError):
            command = process.cmdline()
            if "--port" in command[1:] and Path(command[0]).is_relative_to(folder):
                name = Path(command[0]).relative_to(folder).parts[0]
                environment = name.rpartition("-")[0]
                known = environment in environment_names()
                servers[process.pid] = environment if known else one_line(name, 60)
    return servers


def _measuring() -> bool:
    with contextlib.suppress(UserError):
        return who_measures() is not None
    return False


def load(_: Question) -> Finding:
    """The load of other work."""
    # Other systems than Linux lack it; the check of the platform blocks them.
    cpus = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    busy = os.getloadavg()[0]
    cores = "1 CPU" if cpus == 1 else f"{cpus} CPUs"
    found = f"a load of {busy:.1f} on {cores} over the last minute"
    if busy > _BUSY_SHARE * cpus:
        fix = "end it or wait; timings next to other work are noisy, and the report will say so"
        return Finding("other work", "warning", found, fix)
    return Finding("other work", "ok", found)


def shell(question: Question) -> Finding:
    """Variables of the shell that would decide how the servers compute."""
    launches = [question.contract.backends[backend].launch for backend in question.backends]
    names = sorted({name for one in launches for name in server_variables(one.environ).left_out})
    if not names:
        return Finding("shell", "ok", "it sets no variable that changes how a server computes")
    more = f" and {len(names) - _MOST_NAMED} more" if len(names) > _MOST_NAMED else ""
    found = f"{', '.join(names[:_MOST_NAMED])}{more}: no server gets these variables of your shell"
    fix = "nothing; to pass a variable on, set it in backends.BACKEND.launch.environ"
    return Finding("shell", "ok", found, fix)


def oracle(question: Question) -> Finding | None:
    """The environment of the independent scorer; only the reference's half needs it."""
    if question.contract.reference not in question.backends:
        return None
    return judge_environment("oracle", question.facts.environments[oracle_environment()])


type MachineCheck = Callable[[Question], Finding | None]

MACHINE_CHECKS: tuple[MachineCheck, ...] = (
    contract,
    python,
    system,
    harness,
    tools,
    model,
    disk,
    memory,
    loopback,
    lock,
    left_over,
    load,
    shell,
    oracle,
)
