"""The key of a journal: everything that must be the same for earlier passes to count."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path

import yaml

from stages.backends.registry import locks_folder, requirements_file
from stages.common.errors import UserError, one_line
from stages.common.files import sha256, sha256_file
from stages.common.shell import server_variables
from stages.documents.matrix import MATRIX_VERSION, Host
from stages.environments.build import cache_root, environment_sha256
from stages.machine.host import this_host
from stages.measure.servers.info import ServerIdentity
from stages.plan.plan import Plan

_JOURNALS = "journals"


def journal_folder(plan: Plan, identity: ServerIdentity | None = None) -> Path:
    """The folder of this measurement's journal, the same for every copy of the work tree.

    Args:
        plan: what is measured.
        identity: of a server that was started elsewhere.

    Raises:
        UserError: a file of the measuring code cannot be read.
    """
    backend = requirements_file(plan.environment).parent
    # The lock in use is part of the environment's identity. A new one for another commit must not
    # end this journal.
    left_out = {"__pycache__", locks_folder(plan.environment).name}
    code = [
        *measuring_code(),
        *(p for p in backend.rglob("*") if p.is_file() and not left_out & set(p.parts)),
    ]
    environment = (
        environment_sha256(plan.environment, plan.commit, plan.device) if identity is None else ""
    )
    passed = server_variables(plan.contract.launch.environ).passed if identity is None else {}
    source = source_sha256(code)
    key = journal_key(plan, this_host(), environment, source, identity, passed)
    return cache_root() / _JOURNALS / key


def measuring_code() -> list[Path]:
    """Every file of the code that measures: what ``dvc.yaml`` names for the stage.

    Raises:
        UserError: ``dvc.yaml`` cannot be read.
    """
    root = Path(__file__).resolve().parents[3]
    try:
        pipeline = yaml.safe_load((root / "dvc.yaml").read_bytes())
    except (OSError, yaml.YAMLError) as error:
        raise UserError(f"dvc.yaml: {one_line(str(error))}") from error
    named = [
        root / dep for dep in pipeline["stages"]["measure"]["deps"] if dep.startswith("stages/")
    ]
    return [file for path in named for file in ([path] if path.suffix else path.rglob("*.py"))]


def source_sha256(files: Iterable[Path]) -> str:
    """SHA-256 over file names and contents, independent of folders.

    Raises:
        UserError: a file cannot be read.
    """
    return sha256(json.dumps(sorted((p.name, sha256_file(p)) for p in files)).encode())


def journal_key(
    plan: Plan,
    host: Host,
    environment_sha256: str,
    source: str,
    identity: ServerIdentity | None = None,
    passed: Mapping[str, str] | None = None,
) -> str:
    """A hash of everything that decides how passes are measured and where, without git.

    The workloads are left out, because every pass in a journal names its own.

    It includes the shell's variables that a server gets (``passed``), such as the choice of a GPU.
    It leaves out the amount of memory, which a kernel reports slightly differently at each boot.
    """
    return sha256(
        json.dumps(
            {
                "backend": plan.backend,
                "view": plan.view,
                "contract": plan.contract.model_dump(mode="json"),
                "nonce": plan.nonce,
                "model": plan.model.sha256,
                "environment": environment_sha256,
                "schema": MATRIX_VERSION,
                "source": source,
                "server": identity.model_dump(mode="json") if identity else None,
                "passed": dict(passed or {}),
                "host": host.model_dump(mode="json", exclude={"memory_bytes"}),
            },
            sort_keys=True,
        ).encode()
    )[:32]
