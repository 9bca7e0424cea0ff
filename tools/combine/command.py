"""Combine halves that two machines measured: merge, compare and report. Measures nothing.

`python -m tools.combine [REF...]` leaves an open merge for the user to commit. A refusal leaves the
work tree unchanged.
"""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Iterator
from pathlib import Path

import click

from stages.common.errors import UserError, one_line, one_line_errors
from stages.contract import PARAMS, load_contract
from tools.combine.checks import check_data, check_halves
from tools.combine.halves import DELIMITERS, needed
from tools.combine.locks import DERIVED, LOCK_FILE, Lock, listed
from tools.combine.merging import (
    HERE,
    REGENERATED,
    Revision,
    changed_since_base,
    find_revision,
    lock_of,
    merge_all,
)
from tools.combine.repository import copy_of_head, dvc, git, has_remote, show_dvc


def combine(revisions: list[Revision]) -> None:
    """Merge the revisions into the work tree, pull their measurements, compare and report.

    Raises:
        UserError: the halves cannot be combined; the work tree is unchanged.
    """
    head = find_revision(HERE)
    with copy_of_head() as copy:
        merge_all(copy, revisions)
        touched, changed_on = changed_since_base([head, *revisions])
        check_halves(copy, touched, changed_on)
        stages = needed(load_contract(copy / PARAMS).pair)
        merged = Revision("the merge", git("rev-parse", "HEAD", folder=copy).strip())
    lock = lock_of(merged)
    stages = [*stages, *(stage for stage in [DELIMITERS] if stage in lock)]
    with _undone_on_failure(stages, [Path(path) for one in stages for path in lock[one].outs]):
        if merged.commit != head.commit:
            _open_merge(revisions, merged)
        _get_outputs(lock, stages)
        check_data(lock, touched)
        # Only these stages, whatever the status of earlier ones is.
        show_dvc("repro", "--single-item", *DERIVED)
        _stage_outputs()


def check_tree() -> None:
    """Refuse a work tree in which a merge could lose changes.

    Raises:
        UserError: names the obstacle.
    """
    if git("rev-parse", "--show-prefix").strip():
        raise UserError("this is not the top folder of the git repository; run it there")
    changed = git("status", "--porcelain", "--untracked-files=no").splitlines()
    if changed:
        names = listed([line[3:] for line in changed[:3]])
        raise UserError(f"the work tree has changes that are not committed ({names}); commit them")
    merging = Path(git("rev-parse", "--git-path", "MERGE_HEAD").strip())
    if merging.exists():
        raise UserError("a merge is under way; `git commit` or `git merge --abort` first")


@contextlib.contextmanager
def _undone_on_failure(stages: list[str], outputs: list[Path]) -> Iterator[None]:
    """If the block fails, restore the files in git and the outputs of dvc."""
    present = {path: path.exists() for path in outputs}
    try:
        yield
    except BaseException:  # including Ctrl-C
        # Stage first, or files that only the merge has would remain.
        _stage_outputs()
        git("reset", "--quiet", "--hard", HERE)
        for path in (path for path, was in present.items() if not was):
            shutil.rmtree(path, ignore_errors=True)
        if any(present.values()):
            dvc("checkout", "--quiet", *stages)
        raise


def _open_merge(revisions: list[Revision], merged: Revision) -> None:
    """Make the merged tree the result of one merge, open for the user to commit."""
    message = f"Combine {listed([r.name for r in revisions])}"
    commits = [revision.commit for revision in revisions]
    git("merge", "--quiet", "--strategy=ours", "--no-ff", "--no-commit", "-m", message, *commits)
    # Unlike a forced checkout, it refuses to overwrite an untracked file.
    git("read-tree", "-m", "-u", HERE, merged.commit)


def _get_outputs(lock: Lock, stages: list[str]) -> None:
    """Bring the inputs of `compare` into the work tree.

    Raises:
        UserError: names the stages whose outputs are in neither the cache nor the remote.
    """
    remote = has_remote()
    done = dvc("pull" if remote else "checkout", *stages)
    if done.returncode == 0:
        return
    output = done.stdout + done.stderr
    named = set(output.splitlines())
    missing = [stage for stage in stages if named & lock[stage].outs.keys()]
    if missing and remote:
        raise UserError(
            f"the output of {listed(missing)} is not in the DVC remote: `dvc push` on the machine"
            " that ran it"
        )
    where = "" if remote else "no default DVC remote (`dvc remote add --default`), and "
    raise UserError(
        f"{where}`dvc {'pull' if remote else 'checkout'}` failed: {one_line(output, 600)}"
    )


def _stage_outputs() -> None:
    git("add", "--", *(name for name in (LOCK_FILE, *REGENERATED) if Path(name).exists()))


@click.command()
@click.argument("revisions", nargs=-1, metavar="[REF]...")
@one_line_errors
def main(revisions: tuple[str, ...]) -> None:
    """Merge REFs with the halves they hold, compare and report; measure nothing."""
    check_tree()
    halves = [find_revision(name) for name in revisions]
    combine(halves)
    click.echo(
        "combined, nothing was measured. The report: data/report/report.md\n"
        "Everything is staged. Look at it, then: git commit --no-edit && git push\n"
        "(or take it back: git reset --hard && dvc checkout)"
    )
