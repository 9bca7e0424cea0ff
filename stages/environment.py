"""The backends' Python environments, built on demand from pinned, hashed requirements.

The servers' dependencies clash with each other and with the harness, so each backend
has its own environment. It lies in a cache folder outside the work tree, keyed by the
hash of its requirements, so every copy of the work tree finds it.
"""

from __future__ import annotations

import importlib.metadata
import os
import shutil
import subprocess
import sys
from pathlib import Path

import click
from filelock import FileLock

from stages.errors import UserError, one_line_errors
from stages.files import sha256_file

ENVIRONMENTS = ("sglang_jax", "sglang_pytorch")
_COMPLETE = ".complete"

API_KEY_VARIABLE = "SCOREPARITY_API_KEY"
"""What the names of all variables with the key of a server started elsewhere begin with."""


def cache_root() -> Path:
    """Where environments and compile caches live: ``SCOREPARITY_CACHE`` or the user's cache."""
    explicit = os.environ.get("SCOREPARITY_CACHE")
    if explicit:
        return Path(explicit).absolute()
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "scoreparity"


def requirements_file(name: str) -> Path:
    """The pinned, hashed requirements of environment ``name``."""
    return Path("backends") / name / "requirements.txt"


def requirements_sha256(name: str) -> str:
    """SHA-256 of the requirements: what identifies an environment."""
    return sha256_file(requirements_file(name))


def environment_folder(name: str) -> Path:
    """Where the environment lies, whether or not it has been built."""
    return cache_root() / "environments" / f"{name}-{requirements_sha256(name)[:16]}"


def scratch_folder(name: str, purpose: str) -> Path:
    """A cache folder that belongs to one environment, such as its compile cache."""
    return cache_root() / purpose / environment_folder(name).name


def python_of(name: str) -> Path:
    """The environment's Python."""
    return environment_folder(name) / "bin" / "python"


def is_complete(name: str) -> bool:
    """Whether the environment has been built to its end."""
    return (environment_folder(name) / _COMPLETE).exists()


def clean_environ() -> dict[str, str]:
    """This process's environment variables, without traces of the harness's own Python.

    The keys of servers started elsewhere are left out too: no other process needs them.
    """
    own = {"VIRTUAL_ENV", "PYTHONPATH", "PYTHONHOME", "PYTHONDONTWRITEBYTECODE"}
    return {
        name: value
        for name, value in os.environ.items()
        if name not in own and not name.startswith(API_KEY_VARIABLE)
    }


def installed_version(name: str, package: str) -> str:
    """The version of ``package`` in a built environment.

    Raises:
        UserError: it is not installed there.
    """
    site = environment_folder(name).glob("lib/python3*/site-packages")
    for found in importlib.metadata.distributions(name=package, path=[str(s) for s in site]):
        return found.version
    raise UserError(f"{package} is not installed in the environment {name}; build it again")


def ensure_environment(name: str) -> Path:
    """Build the environment unless it is complete, and return its Python.

    Raises:
        UserError: the requirements could not be installed.
    """
    folder = environment_folder(name)
    if (folder / _COMPLETE).exists():
        return python_of(name)
    folder.parent.mkdir(parents=True, exist_ok=True)
    # Two runs on one machine must not build the same environment over each other.
    with FileLock(f"{folder}.lock"):
        if not (folder / _COMPLETE).exists():
            _build(name, folder)
    return python_of(name)


def _build(name: str, folder: Path) -> None:
    pinned = requirements_file(name)
    packages = sum(
        "==" in line and not line[0].isspace() for line in pinned.read_text().splitlines()
    )
    click.echo(f"{name}: installing {packages} packages into the cache (once per lock)", err=True)
    shutil.rmtree(folder, ignore_errors=True)
    _uv(name, "venv", "--quiet", "--python", sys.executable, str(folder))
    python = str(folder / "bin" / "python")
    # uv's live progress is for a terminal; in a log it would be a line per package.
    quiet = [] if sys.stderr.isatty() else ["--quiet"]
    _uv(name, "pip", "sync", *quiet, "--require-hashes", "--python", python, str(pinned))
    (folder / _COMPLETE).touch()
    click.echo(f"{name}: installed", err=True)


def _uv(name: str, *arguments: str) -> None:
    # The uv of the harness environment, so its version is pinned like everything else.
    command = [sys.executable, "-m", "uv", *arguments]
    environ = {k: v for k, v in os.environ.items() if k != "VIRTUAL_ENV"}
    if subprocess.run(command, env=environ, check=False).returncode != 0:
        raise UserError(
            f"environment {name}: `uv {' '.join(arguments[:2])}` failed; its message stands above"
        )


@click.command()
@click.argument("names", nargs=-1, type=click.Choice(ENVIRONMENTS))
@one_line_errors
def main(names: tuple[str, ...]) -> None:
    """Build the environments NAMES (all of them by default)."""
    for name in names or ENVIRONMENTS:
        ensure_environment(name)


if __name__ == "__main__":
    main()
