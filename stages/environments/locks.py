"""The locks for commits: pinned, hashed packages, found by what a commit asks for.

A lock is a pair of files in ``backends/KEY/locks/``: ``NAME-EXTRA.in`` holds what commits ask for,
``NAME-EXTRA.txt`` the packages for it. It serves every commit that asks for exactly that.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from stages.backends.declared import DeclaredCheckout
from stages.backends.registry import environment, locks_folder
from stages.common.errors import UserError, one_line
from stages.environments.checkout import CommitSource
from stages.environments.requirements import asked, stated

_MOST_NAMED = 3
_PROJECT = "pyproject.toml"


@dataclass(frozen=True, slots=True)
class Lock:
    """A lock; ``wanted`` is what it was resolved from, ``pinned`` the file of its packages."""

    pinned: Path
    wanted: frozenset[str]


def extra_for(name: str, device: str) -> str:
    """The extra that a commit is installed with on ``device``.

    Raises:
        UserError: commits of environment ``name`` have none for it.
    """
    checkout = environment(name).checkout
    extras = checkout.extras if checkout is not None else {}
    kind = device.partition(":")[0]
    if kind not in extras:
        known = ", ".join(sorted(extras)) or "none"
        raise UserError(f"environment {name}: no commit is installed for device {kind}: {known}")
    return extras[kind]


def locks_for(name: str, device: str) -> list[Lock]:
    """The locks of environment ``name`` for ``device``, in the order of their names.

    Raises:
        UserError: a file cannot be read or is no list of requirements.
    """
    paths = sorted(locks_folder(name).glob(f"*-{extra_for(name, device)}.in"))
    return [_lock(path) for path in paths]


def _lock(path: Path) -> Lock:
    pinned = path.with_suffix(".txt")
    try:
        wanted = stated(path.read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise UserError(f"{path}: {one_line(str(error))}") from error
    if not pinned.is_file():
        raise UserError(f"{pinned}: not there, but {path.name} beside it is")
    return Lock(pinned, wanted)


def wanted_by(source: CommitSource, name: str, device: str) -> frozenset[str]:
    """What a commit asks for on ``device``.

    Raises:
        UserError: it does not tell.
    """
    text, extra = source.read(_PROJECT), extra_for(name, device)
    where = f"{source.origin}: {source.folder}/{_PROJECT} of commit {source.commit}"
    if text is None:
        raise UserError(f"{where}: not there")
    try:
        return asked(text, extra)
    except ValueError as error:
        raise UserError(f"{where}: {one_line(str(error))}") from error


def fitting(source: CommitSource, name: str, device: str) -> Lock:
    """The lock whose requirements are exactly those of the commit.

    Raises:
        UserError: there is none; with the difference from the nearest one and what makes it.
    """
    wanted, locks = wanted_by(source, name, device), locks_for(name, device)
    for lock in locks:
        if lock.wanted == wanted:
            return lock
    near = max(locks, key=lambda lock: len(lock.wanted & wanted), default=None)
    raise UserError(
        f"environment {name}: commit {source.commit} fits no lock in {locks_folder(name)} for"
        f" device {device}: {_difference(wanted, near)}; to mend it: make lock-commit"
        f" COMMIT={source.commit} DEVICE={device}"
    )


def _difference(wanted: frozenset[str], near: Lock | None) -> str:
    if near is None:
        return "there is none"
    more, fewer = _named(wanted - near.wanted), _named(near.wanted - wanted)
    asks = [f"it asks for {more}"] if more else []
    asks += [f"{'not' if more else 'it does not ask'} for {fewer}"] if fewer else []
    return f"next to {near.pinned.stem} {' and '.join(asks)}"


def _named(requirements: Iterable[str]) -> str:
    names = sorted(requirements)
    more = [f"{len(names) - _MOST_NAMED} more"] if len(names) > _MOST_NAMED else []
    *most, last = [*names[:_MOST_NAMED], *more] or [""]
    return f"{', '.join(most)} and {last}" if most else last


def needs_commit(checkout: DeclaredCheckout, device: str) -> bool:
    """Whether the release does not work on ``device``."""
    return device.partition(":")[0] not in checkout.releases_on
