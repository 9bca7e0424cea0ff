"""Builds the backends' Python environments on demand, from pinned and hashed requirements.

The servers' dependencies conflict with each other and with the harness, so each backend has its own
environment. It lies in a cache folder outside the work tree, keyed by the hash of its requirements,
so every copy of the work tree finds it. Where a contract names a commit, the backend comes from a
git repository: the requirements are then the lock that fits the commit on the contract's device,
and the key includes the commit.
"""

from __future__ import annotations

import importlib.metadata
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path

import click
from filelock import FileLock

from stages.backends.registry import backend_of, commit_trees, environment, requirements_file
from stages.common.errors import UserError, one_line
from stages.common.files import sha256, sha256_file
from stages.common.shell import in_own_repository, uv_environ
from stages.contract import VIEWS, Contract, Launch
from stages.environments.checkout import Checkout, CommitSource, find_source
from stages.environments.locks import fitting, locks_for, needs_commit

_COMPLETE = ".complete"
_DETAIL_CHARACTERS = 800


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
    """The repository whose commits are installed in environment ``name``, if any are."""
    declared, backend = environment(name).checkout, backend_of(name)
    if declared is None:
        return None
    return Checkout(
        package=backend.package,
        variable=declared.variable,
        key=f"backends.{backend.key}.launch.source.commit",
        folder=declared.folder,
        fetched=cache_root() / "sources",
        trees=commit_trees(name),
    )


def missing_commit(name: str, commit: str | None, device: str) -> str | None:
    """The contract's key for a commit, where there must be one and is none; else ``None``."""
    checkout, declared = checkout_of(name), environment(name).checkout
    if commit is not None or checkout is None or declared is None:
        return None
    return checkout.key if needs_commit(declared, device) else None


def requirements_sha256(name: str) -> str:
    """SHA-256 of the release's requirements."""
    return sha256_file(requirements_file(name))


def environment_sha256s(
    name: str, commit: str | None = None, device: str = "cpu"
) -> frozenset[str]:
    """What an environment's identity can be: under every lock for the device, for a commit.

    It needs no repository, because the environment may have been built elsewhere. It is empty where
    a commit is missing.
    """
    if commit is not None:
        return frozenset(_identity(one.pinned, commit) for one in locks_for(name, device))
    missing = missing_commit(name, commit, device)
    return frozenset() if missing else frozenset([requirements_sha256(name)])


def environment_sha256(name: str, commit: str | None = None, device: str = "cpu") -> str:
    """The identity of an environment: its requirements, and its commit if any.

    Raises:
        UserError: see :func:`pinned_file`.
    """
    return _identity(pinned_file(name, commit, device), commit)


def _identity(pinned: Path, commit: str | None) -> str:
    requirements = sha256_file(pinned)
    return requirements if commit is None else sha256(f"{requirements}@{commit}".encode())


def pinned_file(name: str, commit: str | None = None, device: str = "cpu") -> Path:
    """The file of the environment's pinned packages.

    A commit's is that of an environment which has been built, or else of the lock that fits.

    Raises:
        UserError: a commit is missing, the user's repository lacks it, or it fits no lock.
    """
    missing = missing_commit(name, commit, device)
    if missing is not None:
        package = backend_of(name).package
        raise UserError(
            f"environment {name}: no release of {package} works on device {device}, and no commit"
            f" is set; set it in params.yaml: {missing}"
        )
    if commit is None:
        return requirements_file(name)
    for lock in locks_for(name, device):
        if (_folder(name, _identity(lock.pinned, commit)) / _COMPLETE).exists():
            return lock.pinned
    return fitting(_source(name, commit), name, device).pinned


def _source(name: str, commit: str) -> CommitSource:
    checkout = checkout_of(name)
    if checkout is None:
        raise UserError(f"environment {name}: it takes a release, and a commit is set: {commit}")
    return find_source(checkout, commit)


def pinned_version(name: str, package: str) -> str | None:
    """The version of ``package`` that the release's requirements pin; ``None`` if they hold none.

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


def environment_folder(name: str, commit: str | None = None, device: str = "cpu") -> Path:
    """The folder of the environment, whether or not it has been built.

    Raises:
        UserError: see :func:`pinned_file`.
    """
    return _folder(name, environment_sha256(name, commit, device))


def _folder(name: str, identity: str) -> Path:
    return cache_root() / "environments" / f"{name}-{identity[:16]}"


def scratch_folder(name: str, purpose: str, commit: str | None = None, device: str = "cpu") -> Path:
    """A cache folder that belongs to one environment, such as its compile cache."""
    return cache_root() / purpose / environment_folder(name, commit, device).name


def python_of(name: str, commit: str | None = None, device: str = "cpu") -> Path:
    """The environment's Python."""
    return environment_folder(name, commit, device) / "bin" / "python"


def is_complete(name: str, commit: str | None = None, device: str = "cpu") -> bool:
    """Whether the environment has been built completely."""
    return (environment_folder(name, commit, device) / _COMPLETE).exists()


def installed_version(
    name: str, package: str, commit: str | None = None, device: str = "cpu"
) -> str:
    """The version of ``package`` in a built environment, with the commit it was built from.

    Raises:
        UserError: it is not installed there.
    """
    site = environment_folder(name, commit, device).glob("lib/python3*/site-packages")
    for installed in importlib.metadata.distributions(name=package, path=[str(s) for s in site]):
        return installed.version if commit is None else _with_commit(installed.version, commit)
    raise UserError(f"{package} is not installed in the environment {name}; build it again")


def _with_commit(version: str, commit: str) -> str:
    return f"{version.partition('+')[0]}+{commit[:12]}"


def ensure_environment(name: str, commit: str | None = None, device: str = "cpu") -> Path:
    """Build the environment unless it is complete, and return its Python.

    Raises:
        UserError: a commit is missing, cannot be found or fits no lock, or the requirements
            could not be installed. No half-built environment remains.
    """
    # Everything that can be wrong with a commit is told before gigabytes are downloaded.
    pinned = pinned_file(name, commit, device)
    folder = _folder(name, _identity(pinned, commit))
    python = folder / "bin" / "python"
    if (folder / _COMPLETE).exists():
        return python
    source = None if commit is None else _source(name, commit)
    folder.parent.mkdir(parents=True, exist_ok=True)
    # Two runs on one machine must not build the same environment over each other.
    with FileLock(f"{folder}.lock"):
        if not (folder / _COMPLETE).exists():
            try:
                _build(name, folder, pinned, source)
            except BaseException:
                shutil.rmtree(folder, ignore_errors=True)
                raise
    return python


def _build(name: str, folder: Path, pinned: Path, source: CommitSource | None) -> None:
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
    """Install a commit's package from an export: a build would leave files in the repository."""
    origin = one_line(source.origin)
    click.echo(f"{name}: installing {origin} at {source.commit[:12]}", err=True)
    with tempfile.TemporaryDirectory() as scratch:
        package = source.export_to(Path(scratch) / "export")
        # Build with the pinned packages, not with today's newest.
        how = ("--quiet", "--no-deps", "--no-build-isolation")
        given = ("--python", python, str(package))
        _uv(name, "pip", "install", *how, *given, environ=_untagged(backend_of(name).package))
    said = _incompatible(python)
    if said:
        raise UserError(
            f"environment {name}: the packages of commit {source.commit} do not fit together, so"
            f" nothing was installed: {said}"
        )


def _incompatible(python: str) -> str:
    """What does not fit together in an environment, in one line; empty where everything does."""
    checking = [sys.executable, "-m", "uv", "pip", "check", "--python", python]
    done = subprocess.run(checking, env=uv_environ(), capture_output=True, check=False)
    lines = done.stderr.decode(errors="replace").splitlines()
    # Before its findings uv tells which Python it looked at.
    telling = [line for line in lines if not line.startswith(("Using ", "Checked "))]
    return one_line(" ".join(telling), _DETAIL_CHARACTERS) if done.returncode else ""


def _untagged(package: str) -> dict[str, str]:
    """The version for setuptools-scm, which takes it from tags that an export has not.

    It must not depend on which clone a commit comes from. Wherever it is shown, the commit follows.
    """
    known_as = re.sub(r"[^A-Z0-9]+", "_", package.upper())
    return {f"SETUPTOOLS_SCM_PRETEND_VERSION_FOR_{known_as}": "0.0.0"}


def _uv(name: str, *arguments: str, environ: Mapping[str, str] | None = None) -> None:
    if not _uv_succeeds(*arguments, environ=environ):
        raise UserError(
            f"environment {name}: `uv {' '.join(arguments[:2])}` failed; see its message above"
        )


def _uv_succeeds(*arguments: str, environ: Mapping[str, str] | None = None) -> bool:
    # The uv of the harness environment, whose version is pinned.
    command = [sys.executable, "-m", "uv", *arguments]
    # A build asks git about its own folder, whatever a hook of git names.
    whole = in_own_repository(uv_environ()) | dict(environ or {})
    return subprocess.run(command, env=whole, check=False).returncode == 0


def needed(contract: Contract) -> dict[str, Launch]:
    """The environments of the servers launched here, with what decides how they are built."""
    sections = [contract.backends[backend] for backend in contract.pair.both]
    return {
        section.launch.environment: section.launch
        for section in sections
        if any(
            section.unavailable_in(view) is None and section.view(view).base_url is None
            for view in VIEWS
        )
    }
