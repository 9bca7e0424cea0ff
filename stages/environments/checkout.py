"""Checks the user's git checkout from which a backend is installed: it must be at the commit."""

from __future__ import annotations

import os
import urllib.parse
from dataclasses import dataclass
from pathlib import Path

from stages.common.errors import UserError, hide
from stages.common.git import git

_MOST_NAMED = 3


@dataclass(frozen=True, slots=True)
class Checkout:
    """A backend that is installed from the user's git checkout.

    Attributes:
        package: its distribution.
        variable: the environment variable that names the checkout's folder.
        key: the contract's key for the commit.
    """

    package: str
    variable: str
    key: str


@dataclass(frozen=True, slots=True)
class CommitSource:
    """The source of a commit.

    Attributes:
        origin: the folder of a checkout that is at the commit, or a repository's URL.
    """

    origin: str
    commit: str

    def clone_to(self, folder: Path) -> Path:
        """Clone the commit with all tags, and return the folder of its Python package.

        Raises:
            UserError: git fails.
        """
        git("clone", "--quiet", "--no-checkout", self.origin, str(folder), works=True)
        git("checkout", "--quiet", "--detach", self.commit, folder=folder, works=True)
        # A repository may keep its package in a folder of its own.
        inner = folder / "python"
        return inner if (inner / "pyproject.toml").exists() else folder


def checked_source(checkout: Checkout, commit: str) -> CommitSource:
    """The user's checkout, after a check that it is at ``commit`` and unchanged.

    The variable may hold a repository's URL instead, from which the commit is cloned.

    Raises:
        UserError: names the checkout and what is wrong with it.
    """
    named = os.environ.get(checkout.variable)
    if not named:
        raise UserError(
            f"{checkout.variable} is not set: it names the folder of a git checkout of"
            f" {checkout.package} at {commit}, or the URL of its repository"
        )
    if "://" in named:
        # Git prints URLs in its messages.
        hide(urllib.parse.urlsplit(named).netloc.rpartition("@")[0])
        return CommitSource(named, commit)
    folder = Path(named).absolute()
    head = git("rev-parse", "HEAD", folder=folder).strip()
    if head != commit:
        raise UserError(f"{folder}: refused: it is at {head}, but {checkout.key} is {commit}")
    changed = [line[3:] for line in git("status", "--porcelain", folder=folder).splitlines()]
    if changed:
        more = f" and {len(changed) - _MOST_NAMED} more" if len(changed) > _MOST_NAMED else ""
        raise UserError(f"{folder}: refused: changed: {', '.join(changed[:_MOST_NAMED])}{more}")
    return CommitSource(str(folder), commit)
