"""Merges the halves' revisions in a copy of the work tree.

`dvc.lock` is merged stage by stage, and `compare` and `report` write their files again. Git merges
everything else, and any conflict there is refused.
"""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path

from stages.common.errors import UserError
from stages.common.files import write_whole
from stages.common.git import git_message, why_no_revision
from stages.contract import PARAMS
from tools.combine.locks import (
    LOCK_FILE,
    Entry,
    Lock,
    NamedLock,
    differences,
    dump_lock,
    listed,
    merge,
    parse_lock,
    parse_params,
)
from tools.combine.repository import git, lines, run_git, try_git

REGENERATED = ("data/compare", "data/report")
"""What `compare` and `report` write into git."""

HERE = "HEAD"


@dataclass(frozen=True, slots=True)
class Revision:
    """A commit, with the user's name for it."""

    name: str
    commit: str


def find_revision(name: str) -> Revision:
    """The commit of a branch, tag or other revision.

    Raises:
        UserError: it does not exist.
    """
    commit = try_git("rev-parse", "--verify", "--quiet", "--end-of-options", f"{name}^{{commit}}")
    if commit is None:
        why = why_no_revision() or "`git fetch` first?"
        raise UserError(f"{name}: no git revision of this repository ({why})")
    return Revision(name, commit.strip())


def lock_of(revision: Revision) -> Lock:
    """The stages in its `dvc.lock`; empty where it has no such file.

    Raises:
        UserError: it is damaged.
    """
    text = try_git("show", f"{revision.commit}:{LOCK_FILE}")
    return {} if text is None else parse_lock(text, f"{revision.name}: {LOCK_FILE}")


def merge_all(copy: Path, revisions: list[Revision]) -> None:
    """Merge the revisions one after another into the copy, a commit each.

    Raises:
        UserError: a conflict that the user must resolve; names the file or the stage.
    """
    ours = HERE
    for revision in revisions:
        ours = _merge_one(copy, revision, ours)


def _merge_one(copy: Path, revision: Revision, ours: str) -> str:
    """Merge one revision; return the name of the merged copy."""
    head = Revision(ours, git("rev-parse", "HEAD", folder=copy).strip())
    commit = try_git("merge-base", head.commit, revision.commit)
    if commit is None:
        why = why_no_revision()
        known = f" as far as is known here ({why})" if why else ""
        raise UserError(f"{revision.name}: it has no commit in common with {ours}{known}")
    base = Revision(f"the merge base of {ours} and {revision.name}", commit.strip())
    if base.commit == revision.commit:
        return ours
    lock = merge(
        lock_of(base), NamedLock(ours, lock_of(head)), NamedLock(revision.name, lock_of(revision))
    )
    # A failed merge leaves conflicts, or nothing at all.
    merging = run_git("merge", "--quiet", "--no-ff", "--no-commit", revision.commit, folder=copy)
    unmerged = lines(git("diff", "--name-only", "--diff-filter=U", "-z", folder=copy))
    foreign = [name for name in unmerged if name != LOCK_FILE and not _is_regenerated(name)]
    if foreign:
        raise UserError(_conflict(foreign, head, revision))
    if merging.returncode != 0 and not unmerged:
        raise UserError(f"{revision.name}: git does not merge it: {git_message(merging)}")
    for folder in REGENERATED:
        _keep_ours(copy, folder)
    write_whole(copy / LOCK_FILE, dump_lock(lock).encode())
    git("add", "--", LOCK_FILE, folder=copy)
    git("commit", "--quiet", "--no-verify", "-m", f"Merge {revision.name}", folder=copy)
    # If only the other side has new commits, the copy holds nothing of this one.
    return revision.name if base.commit == head.commit else f"{ours} + {revision.name}"


def _is_regenerated(name: str) -> bool:
    return any(name.startswith(f"{folder}/") for folder in REGENERATED)


def _keep_ours(copy: Path, folder: str) -> None:
    git("rm", "-r", "--quiet", "--force", "--cached", "--ignore-unmatch", "--", folder, folder=copy)
    shutil.rmtree(copy / folder, ignore_errors=True)
    if git("ls-tree", "HEAD", "--", folder, folder=copy):
        git("checkout", "--quiet", "HEAD", "--", folder, folder=copy)


def _conflict(files: list[str], ours: Revision, theirs: Revision) -> str:
    text = f"{ours.name} and {theirs.name} conflict in {listed(files)}"
    if str(PARAMS) in files:
        differing = differences(*(_params_of(revision) for revision in (ours, theirs)))
        text += f" ({'; '.join(d.described(ours.name, theirs.name) for d in differing[:3])})"
    return f"{text}: merge that by hand first (docs/two-machines.md)"


def _params_of(revision: Revision) -> Entry:
    where = f"{revision.name}: {PARAMS}"
    text = git("show", f"{revision.commit}:{PARAMS}")
    return Entry({"params": {str(PARAMS): parse_params(text, where)}})


def changed_since_base(revisions: list[Revision]) -> tuple[set[str], str]:
    """What the revisions changed since their merge base.

    Returns:
        The stages that any of them has run, and the revisions that changed `params.yaml`.
    """
    commit = try_git("merge-base", "--octopus", *(r.commit for r in revisions))
    if commit is None:
        return set(), ""
    base = Revision("the merge base", commit.strip())
    before, touched, changed = lock_of(base), set(), []
    for revision in revisions:
        lock = lock_of(revision)
        touched |= {stage for stage, entry in lock.items() if entry != before.get(stage)}
        if git("diff", "--name-only", base.commit, revision.commit, "--", str(PARAMS)):
            changed.append(revision.name)
    return touched, listed(changed) if changed else ""
