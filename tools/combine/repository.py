"""Runs git and dvc for the commands of this folder. A refusal ends in one line."""

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

# No hooks, because a user's hook could run `dvc checkout` in the middle of a merge. The commits of
# the copy have no author of their own.
_OPTIONS = (
    *("-c", "core.hooksPath=/dev/null"),
    *("-c", "commit.gpgSign=false"),
    *("-c", "rerere.enabled=false"),
    *("-c", "user.name=scoreparity"),
    *("-c", "user.email=scoreparity@localhost"),
)

_SHELL_VARIABLES = ("SHELL", "BASH_ENV", "ENV", "PYTHONPATH", "PYTHONHOME", "PYTHONSAFEPATH")


def environ() -> dict[str, str]:
    """The environment of git and dvc, with this process's own Python first on the path.

    Dvc runs stages (`python -m ...`) with the shell in `SHELL`, which may be one that runs nothing.
    Without that variable it uses its default shell.
    """
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])
    given = {
        name: value for name, value in in_own_repository().items() if name not in _SHELL_VARIABLES
    }
    return {**given, "PATH": path}


def run_git(*arguments: str, folder: Path = Path()) -> subprocess.CompletedProcess[bytes]:
    """Run git without a user's hooks, and capture its output.

    Raises:
        GitError: git cannot be run.
    """
    return common.run_git(
        *arguments, folder=folder, options=_OPTIONS, works=True, environ=environ()
    )


def try_git(*arguments: str, folder: Path = Path()) -> str | None:
    """The output of git; ``None`` where it fails."""
    output = common.try_git(*arguments, folder=folder)
    return None if output is None else output.decode(errors="replace")


def git(*arguments: str, folder: Path = Path()) -> str:
    """The output of git, run without a user's hooks.

    Raises:
        GitError: it fails; with git's own message.
    """
    return common.git(*arguments, folder=folder, options=_OPTIONS, works=True, environ=environ())


def dvc(*arguments: str, folder: Path = Path()) -> subprocess.CompletedProcess[str]:
    """Run dvc in ``folder`` and capture its output. It cannot prompt.

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
    """Run dvc and show its output.

    Raises:
        UserError: it fails.
    """
    command = [sys.executable, "-m", "dvc", *arguments]
    if subprocess.run(command, env=environ(), check=False).returncode != 0:
        raise UserError(f"`dvc {' '.join(arguments)}` failed; see its message above")


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
    """A second work tree at HEAD, in which a merge may fail without an effect on the first."""
    with tempfile.TemporaryDirectory(prefix="scoreparity-combine-") as temporary:
        folder = Path(temporary) / "tree"
        git("worktree", "add", "--quiet", "--detach", str(folder), "HEAD")
        try:
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)
            git("worktree", "prune")
