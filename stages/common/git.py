"""Git, for every command that asks it: which commit the code in this folder is, and the rest.

Git is asked about a folder, whatever repository the variables of a git hook name. What it
refuses ends in one line with the command that mends it.
"""

from __future__ import annotations

import subprocess
from dataclasses import dataclass
from pathlib import Path

from stages.common.errors import UserError, one_line
from stages.common.shell import git_environ

_CODE = "stages"
"""A folder of this project's, which a commit of this project holds."""

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
"""What a measurement runs on, as git's paths.

Neither what a run writes itself (`data/`, `dvc.lock`, dvc's `.gitignore` files) nor the contract
(`params.yaml`, `conf/`), which every matrix records by itself.
"""

_DETAIL_CHARACTERS = 400


class GitError(UserError):
    """Git cannot be asked about a folder.

    Attributes:
        why: in one line.
        remedy: what mends it; empty where nobody can tell.
    """

    def __init__(self, why: str, remedy: str = "") -> None:
        super().__init__(f"{why}; to mend it: {remedy}" if remedy else why)
        self.why = why
        self.remedy = remedy


class NoRepositoryError(GitError):
    """The folder is in no repository at all, as an unpacked archive is."""


class NotTrustedError(GitError):
    """The repository is somebody else's, as a checkout in a container often is."""


@dataclass(frozen=True, slots=True)
class CodeVersion:
    """Which code runs.

    Attributes:
        commit: the one that was checked out; ``None`` where no commit holds this folder.
        changed: whether the code differs from it; ``None`` where that cannot be told.
        unknown: why anything of this is not known.
    """

    commit: str | None
    changed: bool | None
    unknown: GitError | None = None

    @property
    def notice(self) -> str:
        """What is not recorded, and why; empty where that is no surprise."""
        if self.unknown is None or isinstance(self.unknown, NoRepositoryError):
            return ""
        what = "no commit" if self.commit is None else "nothing about changes since the commit"
        return f"{what} is recorded: {self.unknown}"


NOT_ASKED = CodeVersion(None, None)
"""Where nothing is measured, nobody asks."""


def run_git(*arguments: str, folder: Path = Path()) -> subprocess.CompletedProcess[bytes]:
    """Ask git about ``folder`` and keep what it says; it can ask nothing back.

    Raises:
        GitError: there is no git, or it does not trust the repository.
    """
    try:
        done = subprocess.run(
            ["git", *arguments],
            cwd=folder,
            # In English, for some of what it says is looked for here.
            env=git_environ(),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            check=False,
        )
    except OSError as error:
        remedy = "install git" if isinstance(error, FileNotFoundError) and folder.is_dir() else ""
        raise GitError(f"git: {error.strerror}", remedy) from error
    if done.returncode != 0:
        check_trusted(done.stderr.decode(errors="replace"))
    return done


def check_trusted(complaint: str) -> None:
    """Refuse a repository that git does not trust, because somebody else owns it.

    Args:
        complaint: of a git that failed.

    Raises:
        NotTrustedError: with git's own remedy.
    """
    if "safe.directory" not in complaint:
        return
    lines = [line.strip() for line in complaint.splitlines()]
    why = next((line for line in lines if line.startswith("fatal: ")), lines[0])
    remedy = next((line for line in lines if line.startswith("git config")), "")
    told = one_line(why.removeprefix("fatal: "), _DETAIL_CHARACTERS)
    raise NotTrustedError(f"git: {told}", one_line(remedy, _DETAIL_CHARACTERS))


def said(done: subprocess.CompletedProcess[bytes], limit: int = _DETAIL_CHARACTERS) -> str:
    """What git complains of, in one line."""
    return one_line((done.stderr or done.stdout).decode(errors="replace"), limit)


def check_repository(folder: Path = Path()) -> None:
    """Find out that ``folder`` lies in a repository that can be asked.

    Raises:
        GitError: it does not.
    """
    done = run_git("rev-parse", "--is-inside-work-tree", folder=folder)
    if done.returncode == 0 and done.stdout.strip() == b"true":
        return
    # One whose own folder is gone is not one that never was.
    if done.returncode == 0 or b"not a git repository (or any" in done.stderr:
        raise NoRepositoryError("this folder is in no git repository")
    raise GitError(f"git: {said(done).removeprefix('fatal: ')}")


def why_no_revision(folder: Path = Path()) -> str:
    """Why git may not know a revision that exists elsewhere, with the remedy; empty if unknown."""
    if run_git("rev-parse", "--verify", "--quiet", "HEAD", folder=folder).returncode != 0:
        return "this repository has no commit yet"
    shallow = run_git("rev-parse", "--is-shallow-repository", folder=folder)
    if shallow.stdout.strip() == b"true":
        return "this clone has only a part of the history: git fetch --unshallow"
    return ""


def code_version(folder: Path = Path()) -> CodeVersion:
    """Which commit the code in ``folder`` is, and whether it was changed since."""
    try:
        check_repository(folder)
        return _version(folder)
    except GitError as error:
        return CodeVersion(None, None, error)


def _version(folder: Path) -> CodeVersion:
    head = run_git("rev-parse", "--verify", "--quiet", "HEAD^{commit}", folder=folder)
    if head.returncode != 0:
        raise GitError("this repository has no commit yet", "git add --all && git commit")
    holds = run_git("rev-parse", "--verify", "--quiet", f"HEAD:./{_CODE}", folder=folder)
    if holds.returncode != 0:
        raise GitError("the repository around this folder does not hold its code")
    commit = head.stdout.decode().strip()
    # A look at the work tree takes no lock that somebody else's git would wait for.
    looking = ("--no-optional-locks", "status", "--porcelain", "-z", "--untracked-files=all")
    status = run_git(*looking, "--", *CODE, folder=folder)
    if status.returncode != 0:
        return CodeVersion(commit, None, GitError(f"git: {said(status)}"))
    return CodeVersion(commit, bool(status.stdout))
