"""`make lock` and `make lock-commit`: resolve requirements into pinned, hashed packages.

Each lock is resolved for itself, so that one can be renewed while the others stay as they are. A
frozen backend's is renewed only where it is named, and a commit's lock likewise.
"""

from __future__ import annotations

import re
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import click

from stages.backends.registry import (
    FOLDER,
    declared_backends,
    environment,
    environment_names,
    locks_folder,
)
from stages.common.errors import UserError, one_line, one_line_errors
from stages.common.files import sha256, write_whole
from stages.common.shell import uv_environ
from stages.environments.build import checkout_of
from stages.environments.checkout import Checkout, find_source
from stages.environments.locks import extra_for, locks_for, wanted_by
from stages.environments.requirements import exact_version

_HOW = ("--python-version", "3.12", "--generate-hashes", "--no-header", "--no-annotate")
_DETAIL_CHARACTERS = 800
_NAME_DIGITS = 8


@dataclass(frozen=True, slots=True)
class Locked:
    """A file of requirements, the file of its pinned packages, and how they are resolved.

    Attributes:
        by_itself: whether it is renewed without being named.
    """

    source: Path
    output: Path
    options: tuple[str, ...] = ()
    by_itself: bool = True


def every_lock() -> list[Locked]:
    """The locks of the project, in the order in which they depend on each other."""
    harness = Locked(Path("pyproject.toml"), Path("requirements.txt"), ("--extra", "dev"))
    remotes = Path("deploy/remotes.in")
    constraint = ("--constraint", str(harness.output))
    found = [harness, Locked(remotes, remotes.with_suffix(".txt"), constraint)]
    for key, backend in declared_backends().items():
        folder = FOLDER / key
        for path in sorted(folder.glob("requirements*.in")):
            # The locks for accelerators exclude nothing.
            excludes = folder / path.name.replace("requirements", "excludes")
            excludes = excludes.with_suffix(".txt")
            options = ("--excludes", str(excludes)) if excludes.exists() else ()
            found.append(Locked(path, path.with_suffix(".txt"), options, not backend.frozen))
        commits = sorted(folder.glob("locks/*.in"))
        found += [Locked(one, one.with_suffix(".txt"), by_itself=False) for one in commits]
    return found


def named(names: Sequence[str]) -> list[Locked]:
    """The locks of these ``.in`` files (or ``pyproject.toml``); none means all but the frozen.

    Raises:
        UserError: there is no such file.
    """
    known = {str(one.source): one for one in every_lock()}
    for name in names:
        if name not in known:
            raise UserError(f"ONLY: found {one_line(name)}; allowed: {', '.join(known)}")
    return [known[n] for n in names] or [one for one in known.values() if one.by_itself]


def resolved(source: Path, options: Sequence[str] = ()) -> bytes:
    """The pinned, hashed packages for a file of requirements, the newest that fit.

    Raises:
        UserError: they do not resolve.
    """
    with tempfile.TemporaryDirectory() as scratch:
        output = Path(scratch) / "requirements.txt"
        compiling = ("pip", "compile", "--quiet", *_HOW, *options, str(source))
        command = [sys.executable, "-m", "uv", *compiling, "--output-file", str(output)]
        done = subprocess.run(command, env=uv_environ(), capture_output=True, check=False)
        if done.returncode != 0:
            said = one_line(done.stderr.decode(errors="replace"), _DETAIL_CHARACTERS)
            raise UserError(f"{source.name}: does not resolve: {said}")
        return output.read_bytes()


def lock_commit(commit: str, device: str, name: str) -> Path | None:
    """Write the lock that fits a commit on a device; ``None`` where there is one already.

    Raises:
        UserError: the commit cannot be found, does not tell what it needs, or does not resolve.
    """
    checkout = _checkout(name)
    wanted = wanted_by(find_source(checkout, commit), name, device)
    if any(lock.wanted == wanted for lock in locks_for(name, device)):
        return None
    text = "".join(f"{one}\n" for one in sorted(wanted))
    path = locks_folder(name) / f"{_lock_name(name, device, wanted)}.in"
    with tempfile.TemporaryDirectory() as scratch:
        asking = Path(scratch) / path.name
        asking.write_text(text, "utf-8")
        packages = resolved(asking)
    # A lock is there once its .in file is, so that comes last.
    write_whole(path.with_suffix(".txt"), packages)
    write_whole(path, text.encode())
    return path


def _checkout(name: str) -> Checkout:
    checkout = checkout_of(name)
    if checkout is None:
        raise UserError(f"environment {name}: no commit is installed in it")
    return checkout


def _lock_name(name: str, device: str, wanted: frozenset[str]) -> str:
    """A new lock's name: the version that tells the generation, and more if it is taken."""
    declared = environment(name).checkout
    package = declared.named_after if declared is not None else ""
    digits = sha256("\n".join(sorted(wanted)).encode())[:_NAME_DIGITS]
    version, extra = exact_version(wanted, package), extra_for(name, device)
    if version is None:
        return f"{digits}-{extra}"
    plain = f"{package}-{version}-{extra}"
    taken = (locks_folder(name) / f"{plain}.in").exists()
    return f"{package}-{version}-{digits}-{extra}" if taken else plain


def _environment_of_commits(key: str | None) -> str:
    """The environment that commits are installed in: of the only backend that has one."""
    names = [name for name in environment_names() if environment(name).checkout is not None]
    found = [name for name in names if key in (None, name)]
    if len(found) != 1:
        raise UserError(f"ENVIRONMENT: found {key or 'nothing'}; allowed: {', '.join(names)}")
    return found[0]


@click.command()
@click.argument("only", nargs=-1)
@click.option("--commit", help="Lock what this commit asks for, and nothing else.")
@click.option("--device", default="cpu", help="The device that the commit is to run on.")
@click.option("--environment", "name", help="The environment, if several take commits.")
@one_line_errors
def main(only: tuple[str, ...], commit: str | None, device: str, name: str | None) -> None:
    """Renew the locks of the files ONLY (by default all but those of a frozen backend)."""
    if commit is None:
        for one in named(only):
            write_whole(one.output, resolved(one.source, one.options))
            click.echo(f"{one.output}: locked")
        return
    if not re.fullmatch("[0-9a-f]{40}", commit):
        raise UserError(f"COMMIT: found {one_line(commit) or 'nothing'}; allowed: 40 hex digits")
    path = lock_commit(commit, device, _environment_of_commits(name))
    click.echo("nothing to do: a lock fits already" if path is None else f"{path}: locked")


if __name__ == "__main__":
    main()
