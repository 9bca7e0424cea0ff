"""Builds the backends' Python environments on demand, from pinned and hashed requirements.

The servers' dependencies conflict with each other and with the harness, so each backend has its own
environment. It lies in a cache folder outside the work tree, keyed by the hash of its requirements,
so every copy of the work tree finds it. Where no release works, the backend comes from a git
checkout, and the key includes its commit.
"""

from __future__ import annotations

import importlib.metadata
import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import click
from filelock import FileLock

from stages.backends.registry import backend_of, environment, requirements_file
from stages.common.errors import UserError, one_line
from stages.common.files import sha256, sha256_file
from stages.common.shell import uv_environ
from stages.contract import VIEWS, Contract
from stages.environments.checkout import Checkout, CommitSource, checked_source

_COMPLETE = ".complete"


def cache_root() -> Path:
    """Where environments and compile caches live: ``SCOREPARITY_CACHE`` or the user's cache.

    A relative ``XDG_CACHE_HOME`` is ignored, as its specification says.
    """
    explicit = os.environ.get("SCOREPARITY_CACHE")
    if explicit:
        return Path(explicit).absolute()
    base = Path(os.environ.get("XDG_CACHE_HOME", ""))
    return (base if base.is_absolute() else Path.home() / ".cache") / "scoreparity"


def checkout_of(name: str) -> Checkout | None:
    """The checkout that environment ``name`` is built from; ``None`` where it is a release."""
    variable, backend = environment(name).checkout_variable, backend_of(name)
    if variable is None:
        return None
    return Checkout(backend.package, variable, f"backends.{backend.key}.launch.source.commit")


def requirements_sha256(name: str) -> str:
    """SHA-256 of the requirements."""
    return sha256_file(requirements_file(name))


def environment_sha256(name: str, commit: str | None = None) -> str:
    """The identity of an environment: its requirements, and its checkout's commit if any."""
    requirements = requirements_sha256(name)
    return requirements if commit is None else sha256(f"{requirements}@{commit}".encode())


def pinned_version(name: str, package: str) -> str | None:
    """The version of ``package`` that the requirements pin; ``None`` if they hold none.

    Raises:
        UserError: the requirements cannot be read.
    """
    path = requirements_file(name)
    try:
        pin = rf"^{re.escape(package)}==([^\s;\\]+)"
        match = re.search(pin, path.read_text("utf-8"), re.MULTILINE)
    except OSError as error:
        raise UserError(f"{path}: {error.strerror}") from error
    return match[1] if match else None


def environment_folder(name: str, commit: str | None = None) -> Path:
    """The folder of the environment, whether or not it has been built."""
    return cache_root() / "environments" / f"{name}-{environment_sha256(name, commit)[:16]}"


def scratch_folder(name: str, purpose: str, commit: str | None = None) -> Path:
    """A cache folder that belongs to one environment, such as its compile cache."""
    return cache_root() / purpose / environment_folder(name, commit).name


def python_of(name: str, commit: str | None = None) -> Path:
    """The environment's Python."""
    return environment_folder(name, commit) / "bin" / "python"


def is_complete(name: str, commit: str | None = None) -> bool:
    """Whether the environment has been built completely."""
    return (environment_folder(name, commit) / _COMPLETE).exists()


def installed_version(name: str, package: str, commit: str | None = None) -> str:
    """The version of ``package`` in a built environment, with the commit of a checkout.

    Raises:
        UserError: it is not installed there.
    """
    site = environment_folder(name, commit).glob("lib/python3*/site-packages")
    for installed in importlib.metadata.distributions(name=package, path=[str(s) for s in site]):
        return installed.version if commit is None else _with_commit(installed.version, commit)
    raise UserError(f"{package} is not installed in the environment {name}; build it again")


def _with_commit(version: str, commit: str) -> str:
    return f"{version.partition('+')[0]}+{commit[:12]}"


def source_of(name: str, commit: str | None) -> CommitSource | None:
    """The checkout that a build of the environment needs; ``None`` if it needs none.

    Raises:
        UserError: no commit is set, or the checkout is not at it.
    """
    checkout = checkout_of(name)
    if checkout is None:
        return None
    if commit is None:
        raise UserError(
            f"environment {name}: {checkout.package} is installed from a git checkout, and no"
            f" commit is set; set it in params.yaml: {checkout.key}"
        )
    return None if is_complete(name, commit) else checked_source(checkout, commit)


def ensure_environment(name: str, commit: str | None = None) -> Path:
    """Build the environment unless it is complete, and return its Python.

    Raises:
        UserError: the requirements could not be installed, or the checkout is at another commit.
    """
    # Check the checkout before gigabytes are downloaded.
    source = source_of(name, commit)
    folder = environment_folder(name, commit)
    if is_complete(name, commit):
        return python_of(name, commit)
    folder.parent.mkdir(parents=True, exist_ok=True)
    # Two runs on one machine must not build the same environment over each other.
    with FileLock(f"{folder}.lock"):
        if not is_complete(name, commit):
            _build(name, folder, source)
    return python_of(name, commit)


def _build(name: str, folder: Path, source: CommitSource | None) -> None:
    pinned = requirements_file(name)
    packages = sum(
        "==" in line and not line[0].isspace() for line in pinned.read_text("utf-8").splitlines()
    )
    click.echo(f"{name}: installing {packages} packages into the cache (once per lock)", err=True)
    shutil.rmtree(folder, ignore_errors=True)
    _uv(name, "venv", "--quiet", "--python", sys.executable, str(folder))
    python = str(folder / "bin" / "python")
    # uv's live progress is for a terminal. In a log it would print a line for each package.
    quiet = [] if sys.stderr.isatty() else ["--quiet"]
    _uv(name, "pip", "sync", *quiet, "--require-hashes", "--python", python, str(pinned))
    if source is not None:
        _install_source(name, python, source)
    (folder / _COMPLETE).touch()
    click.echo(f"{name}: installed", err=True)


def _install_source(name: str, python: str, source: CommitSource) -> None:
    """Install a checkout's package from a clone: a build would leave files in the checkout."""
    origin = one_line(source.origin)
    click.echo(f"{name}: installing {origin} at {source.commit[:12]}", err=True)
    with tempfile.TemporaryDirectory() as scratch:
        clone = Path(scratch) / "clone"
        package = source.clone_to(clone)
        # Build with the pinned packages, not with today's newest.
        how = ("--quiet", "--no-deps", "--no-build-isolation")
        _uv(name, "pip", "install", *how, "--python", python, str(package))
    if not _uv_succeeds("pip", "check", "--python", python):
        click.echo(
            f"{name}: the checkout asks for other packages than {requirements_file(name)} pins"
            " (`uv pip check` names them above); if the server does not start, change the .in"
            " file beside it and run `make lock`",
            err=True,
        )


def _uv(name: str, *arguments: str) -> None:
    if not _uv_succeeds(*arguments):
        raise UserError(
            f"environment {name}: `uv {' '.join(arguments[:2])}` failed; see its message above"
        )


def _uv_succeeds(*arguments: str) -> bool:
    # The uv of the harness environment, whose version is pinned.
    command = [sys.executable, "-m", "uv", *arguments]
    return subprocess.run(command, env=uv_environ(), check=False).returncode == 0


def needed(contract: Contract) -> dict[str, str | None]:
    """The environments of the servers launched here: name -> commit of the checkout, if any."""
    sections = [contract.backends[backend] for backend in contract.pair.both]
    return {
        section.launch.environment: section.launch.commit
        for section in sections
        if section.unavailable is None
        and any(section.view(view).base_url is None for view in VIEWS)
    }
