"""Runs git for every command: which commit the code in this folder is, and more.

Git works on the given folder, whatever repository the variables of a git hook name. It cannot
prompt, and it is stopped when it hangs. A refusal ends in one line with the command that mends it.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from stages.common.errors import UserError, one_line
from stages.common.shell import git_environ

_CODE = "stages"
"""A folder that every commit of this project holds."""

CODE = (
    _CODE,
    "backends",
    "models",
    "dvc.yaml",
    "requirements.txt",
    ".python-version",
    # `python -m` finds these before any installed package.
    ":(glob)*.py",
    ":(glob)*/__init__.py",
)
"""The code of a measurement, as git paths.

This leaves out what a run writes itself (`data/`, `dvc.lock`, dvc's `.gitignore` files) and the
contract (`params.yaml`, `conf/`), which every matrix records separately.
"""

ASK_LIMIT_S = 120.0
"""How long git may take to answer about a repository."""

WORK_LIMIT_S = 3600.0
"""How long git may take to fetch, check out or merge."""

_STOP_S = 10.0
_DETAIL_CHARACTERS = 400


class GitError(UserError):
    """Git failed, or cannot be run.

    Attributes:
        why: the reason, in one line.
        remedy: the command that mends it; empty where it is not known.
    """

    def __init__(self, why: str, remedy: str = "") -> None:
        super().__init__(f"{why}; to mend it: {remedy}" if remedy else why)
        self.why = why
        self.remedy = remedy


class NoRepositoryError(GitError):
    """The folder is in no repository, such as an unpacked archive."""


class NotTrustedError(GitError):
    """The repository belongs to another user, as is common in containers."""


class HangingError(GitError):
    """Git did not end within its limit, and was stopped."""


@dataclass(frozen=True, slots=True)
class CodeVersion:
    """Which code runs.

    Attributes:
        commit: the one that was checked out; ``None`` where no commit holds this folder.
        changed: whether the code differs from it; ``None`` where that is not known.
        unknown: why something is not known; ``None`` where everything is.
        repository: whether the folder is in a repository, trusted or not, as far as is known.
    """

    commit: str | None
    changed: bool | None
    unknown: GitError | None = None
    repository: bool = True

    @property
    def notice(self) -> str:
        """What is not recorded, and why; empty where that is expected."""
        if self.unknown is None or isinstance(self.unknown, NoRepositoryError):
            return ""
        what = "no commit" if self.commit is None else "nothing about changes since the commit"
        return f"{what} is recorded: {self.unknown}"


NOT_ASKED = CodeVersion(None, None)
"""For plans that measure nothing, which need no commit."""


def run_git(
    *arguments: str,
    folder: Path = Path(),
    options: Sequence[str] = (),
    works: bool = False,
    environ: Mapping[str, str] = os.environ,
) -> subprocess.CompletedProcess[bytes]:
    """Run git in ``folder`` and capture its output.

    Args:
        arguments: the subcommand and its arguments.
        folder: in which git runs.
        options: of git itself, before the subcommand.
        works: whether it fetches or writes files, which may take long.
        environ: the base of git's environment.

    Raises:
        GitError: git is missing, hangs, or does not trust the repository.
    """
    command = ["git", "-C", str(folder), *options, *arguments]
    limit_s = WORK_LIMIT_S if works else ASK_LIMIT_S
    try:
        done = _run(command, git_environ(environ), limit_s)
    except OSError as error:
        remedy = "install git" if isinstance(error, FileNotFoundError) else ""
        raise GitError(f"git: {error.strerror}", remedy) from error
    except subprocess.TimeoutExpired as error:
        why = f"git: `git {arguments[0]}` did not end within {limit_s:g} s and was stopped"
        raise HangingError(
            why, f"run it in {folder.absolute()} to see what it waits for"
        ) from error
    if done.returncode != 0:
        check_trusted(done.stderr.decode(errors="replace"))
    return done


def _run(
    command: list[str], environ: dict[str, str], limit_s: float
) -> subprocess.CompletedProcess[bytes]:
    pipe = subprocess.PIPE
    # In its own session git has no terminal for prompts, and can be stopped with its helpers.
    with subprocess.Popen(
        command,
        env=environ,
        stdin=subprocess.DEVNULL,
        stdout=pipe,
        stderr=pipe,
        start_new_session=True,
    ) as process:
        try:
            out, err = process.communicate(timeout=limit_s)
        except BaseException:  # including Ctrl-C
            _stop(process)
            raise
    return subprocess.CompletedProcess(command, process.returncode, out, err)


def _stop(process: subprocess.Popen[bytes]) -> None:
    """Stop git gently, so that it removes its lock files; then kill its whole group."""
    for how in (signal.SIGTERM, signal.SIGKILL):
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, how)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(timeout=_STOP_S)


def try_git(
    *arguments: str, folder: Path = Path(), environ: Mapping[str, str] = os.environ
) -> bytes | None:
    """The output of git; ``None`` where it fails.

    Raises:
        GitError: git cannot be run.
    """
    done = run_git(*arguments, folder=folder, environ=environ)
    return done.stdout if done.returncode == 0 else None


def git(
    *arguments: str,
    folder: Path = Path(),
    options: Sequence[str] = (),
    works: bool = False,
    environ: Mapping[str, str] = os.environ,
) -> str:
    """The output of git.

    Raises:
        GitError: it fails; with git's own message.
    """
    done = run_git(*arguments, folder=folder, options=options, works=works, environ=environ)
    if done.returncode != 0:
        where = "" if folder == Path() else f"{folder}: "
        raise GitError(f"{where}`git {arguments[0]}` failed: {git_message(done)}")
    return done.stdout.decode(errors="replace")


def check_trusted(complaint: str) -> None:
    """Refuse a repository that git does not trust, because another user owns it.

    Args:
        complaint: the error output of git.

    Raises:
        NotTrustedError: with the remedy that git suggests.
    """
    if "safe.directory" not in complaint:
        return
    lines = [line.strip() for line in complaint.splitlines()]
    why = next((line for line in lines if line.startswith("fatal: ")), lines[0])
    remedy = next((line for line in lines if line.startswith("git config")), "")
    reason = one_line(why.removeprefix("fatal: "), _DETAIL_CHARACTERS)
    raise NotTrustedError(f"git: {reason}", one_line(remedy, _DETAIL_CHARACTERS))


def git_message(done: subprocess.CompletedProcess[bytes], limit: int = _DETAIL_CHARACTERS) -> str:
    """Git's message, in one line."""
    return one_line((done.stderr or done.stdout).decode(errors="replace"), limit)


def check_repository(folder: Path = Path()) -> None:
    """Check that ``folder`` lies in a repository that git can read.

    Raises:
        GitError: it does not.
    """
    done = run_git("rev-parse", "--is-inside-work-tree", folder=folder)
    if done.returncode == 0 and done.stdout.strip() == b"true":
        return
    # A repository whose git folder is gone gives another message.
    if done.returncode == 0 or b"not a git repository (or any" in done.stderr:
        raise NoRepositoryError("this folder is in no git repository")
    raise GitError(f"git: {git_message(done).removeprefix('fatal: ')}")


def why_no_revision(folder: Path = Path()) -> str:
    """Why git may lack a revision that exists elsewhere, with the remedy; empty if unknown."""
    if try_git("rev-parse", "--verify", "--quiet", "HEAD", folder=folder) is None:
        return "this repository has no commit yet"
    shallow = try_git("rev-parse", "--is-shallow-repository", folder=folder) or b""
    if shallow.strip() == b"true":
        return "this clone has only a part of the history: git fetch --unshallow"
    return ""


def code_version(folder: Path = Path()) -> CodeVersion:
    """Which commit the code in ``folder`` is, and whether it has changed since."""
    try:
        check_repository(folder)
    except (NotTrustedError, HangingError) as error:
        return CodeVersion(None, None, error)
    except GitError as error:
        return CodeVersion(None, None, error, repository=False)
    try:
        return _version(folder)
    except GitError as error:
        return CodeVersion(None, None, error)


def _version(folder: Path) -> CodeVersion:
    head = try_git("rev-parse", "--verify", "--quiet", "HEAD^{commit}", folder=folder)
    if head is None:
        raise GitError("this repository has no commit yet", "git add --all && git commit")
    if try_git("rev-parse", "--verify", "--quiet", f"HEAD:./{_CODE}", folder=folder) is None:
        raise GitError("the repository around this folder does not hold its code")
    commit = head.decode().strip()
    looking = ("status", "--porcelain", "-z", "--untracked-files=all", "--", *CODE)
    try:
        # Without optional locks, no other git process has to wait for this one.
        changes = git(*looking, folder=folder, options=["--no-optional-locks"])
    except GitError as error:
        return CodeVersion(commit, None, error)
    return CodeVersion(commit, bool(changes))
