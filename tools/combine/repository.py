"""Git and dvc as this folder's commands; whatever they refuse ends in one line."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from dvc.config import Config, ConfigError

from stages.common import git as common
from stages.common.errors import UserError, one_line
from stages.common.shell import in_own_repository

# A hook of the user's own would run `dvc checkout` or the like in the middle of a merge; and
# the copy's commits are nobody's.
QUIETLY = (
    *("-c", "core.hooksPath=/dev/null"),
    *("-c", "commit.gpgSign=false"),
    *("-c", "rerere.enabled=false"),
    *("-c", "user.name=scoreparity"),
    *("-c", "user.email=scoreparity@localhost"),
)

_SHELLS_OWN = ("SHELL", "BASH_ENV", "ENV", "PYTHONPATH", "PYTHONHOME", "PYTHONSAFEPATH")


def environ() -> dict[str, str]:
    """An environment for git and dvc, with this process's own Python first.

    Dvc's stages say `python`, and dvc runs them with the user's login shell, which may be none
    that runs anything, unless it is told of no shell.
    """
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])
    given = {name: value for name, value in in_own_repository().items() if name not in _SHELLS_OWN}
    return {**given, "PATH": path}


def run_git(*arguments: str, folder: Path = Path()) -> subprocess.CompletedProcess[bytes]:
    """Run git without a user's hooks, and keep what it says.

    Raises:
        GitError: git cannot be asked.
    """
    return common.run_git(*arguments, folder=folder, options=QUIETLY, works=True, environ=environ())


def try_git(*arguments: str, folder: Path = Path()) -> str | None:
    """What git prints; ``None`` where it fails."""
    found = common.try_git(*arguments, folder=folder)
    return None if found is None else found.decode(errors="replace")


def git(*arguments: str, folder: Path = Path()) -> str:
    """What git prints, run without a user's hooks.

    Raises:
        GitError: it fails; in git's own words.
    """
    return common.git(*arguments, folder=folder, options=QUIETLY, works=True, environ=environ())


def dvc(*arguments: str, folder: Path = Path()) -> subprocess.CompletedProcess[str]:
    """Run dvc in ``folder`` and keep what it says; it can ask nothing.

    Raises:
        UserError: git does not trust the repository.
    """
    done = subprocess.run(
        [sys.executable, "-m", "dvc", *arguments],
        cwd=folder,
        env=environ(),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        encoding="utf-8",
        errors="replace",
        check=False,
    )
    if done.returncode != 0:
        common.check_trusted(done.stderr)
    return done


def show_dvc(*arguments: str) -> None:
    """Run dvc and let the user see what it says.

    Raises:
        UserError: it fails.
    """
    command = [sys.executable, "-m", "dvc", *arguments]
    if subprocess.run(command, env=environ(), check=False).returncode != 0:
        raise UserError(f"`dvc {' '.join(arguments)}` failed; its message stands above")


def has_remote() -> bool:
    """Whether there is a default DVC remote.

    Raises:
        UserError: dvc's configuration is damaged.
    """
    try:
        return bool(Config(dvc_dir=".dvc")["core"].get("remote"))
    except ConfigError as error:
        raise UserError(f"the configuration of dvc: {one_line(str(error))}") from error


def lines(text: str) -> list[str]:
    """The names in a list that git separated by NUL."""
    return [name for name in text.split("\0") if name]


@contextlib.contextmanager
def copy_of_head() -> Iterator[Path]:
    """A second work tree at HEAD, in which a merge can fail without a trace in the first."""
    with tempfile.TemporaryDirectory(prefix="scoreparity-combine-") as temporary:
        folder = Path(temporary) / "tree"
        git("worktree", "add", "--quiet", "--detach", str(folder), "HEAD")
        try:
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)
            git("worktree", "prune")
