"""Compare two results: did it get faster, or is it noise?

`python -m tools.diff OLD [NEW]` prints Markdown. Each side is a path to a
`comparison.json`, a git revision or the name of a DVC experiment; the work tree (also called
`workspace`) stands for NEW when it is left out.
"""

from __future__ import annotations

import math
import tempfile
from pathlib import Path

import click

from stages.common.errors import UserError, one_line_errors
from stages.common.files import write_whole
from stages.common.git import NoRepositoryError, check_repository, try_git, why_no_revision
from stages.documents.comparison import ComparisonSet, load_comparison
from stages.documents.matrix import COMPARISON_FILE
from tools.diff.words import NamedComparison, changes_markdown

WORKSPACE = "workspace"


@click.command()
@click.argument("old")
@click.argument("new", default=WORKSPACE)
@click.option(
    "--at-least",
    type=click.FloatRange(min=0),
    default=5.0,
    show_default=True,
    help="Smallest change of items/s, in percent, that counts as one.",
)
@click.option("--output", type=click.Path(path_type=Path), help="Write it to a file instead.")
@one_line_errors
def main(old: str, new: str, at_least: float, output: Path | None) -> None:
    """Print what changed from OLD to NEW, and whether it is more than noise.

    OLD and NEW are git revisions, DVC experiments or paths to a comparison.json; without NEW
    it is the work tree.
    """
    if not math.isfinite(at_least):
        raise UserError(f"--at-least {at_least}: not a percentage")
    sides = read_comparison(old), read_comparison(new)
    if sides[0].comparison == sides[1].comparison:
        raise UserError("nothing to compare: both are the same document")
    text = changes_markdown(*sides, at_least / 100)
    if output is None:
        click.echo(text, nl=False)
    else:
        write_whole(output, text.encode())
        click.echo(f"{output}: changes from {old} to {new}")


def read_comparison(name: str) -> NamedComparison:
    """The comparison a user names by path, git revision or experiment.

    Raises:
        UserError: there is none, or it cannot be read.
    """
    if name == WORKSPACE:
        return NamedComparison(None, load_comparison(COMPARISON_FILE))
    if Path(name).is_file():
        return NamedComparison(name, load_comparison(Path(name)))
    try:
        check_repository()
    except NoRepositoryError as error:
        raise UserError(f"{error}; name a comparison.json instead") from error
    commit = _commit(name) or _experiment(name)
    if commit is None:
        why = why_no_revision()
        raise UserError(
            f"{name}: neither a file, nor a git revision, nor a DVC experiment"
            + (f" ({why})" if why else "")
        )
    # The dot makes git look from this folder, not from the repository's root.
    found = try_git("show", f"{commit}:./{COMPARISON_FILE.as_posix()}")
    if found is None:
        raise UserError(f"{name}: {COMPARISON_FILE} is not in this revision")
    return NamedComparison(name, _parsed(found, f"{name}: {COMPARISON_FILE}"))


def _commit(name: str) -> str | None:
    found = try_git("rev-parse", "--verify", "--quiet", "--end-of-options", f"{name}^{{commit}}")
    return None if found is None else found.decode().strip()


def _experiment(name: str) -> str | None:
    """The commit of a DVC experiment: ``refs/exps/<two digits>/<rest of its base>/<name>``.

    Raises:
        UserError: experiments of several commits have this name, and none is HEAD's.
    """
    listed = try_git("for-each-ref", "--format=%(refname) %(objectname)", "refs/exps") or b""
    found: dict[str, str] = {}
    for line in listed.decode().splitlines():
        reference, commit = line.rsplit(" ", 1)
        parts = reference.split("/")
        if len(parts) == 5 and parts[4] == name:
            found[parts[2] + parts[3]] = commit
    if len(found) > 1:
        head = _commit("HEAD") or ""
        if head not in found:
            bases = ", ".join(sorted(base[:7] for base in found))
            raise UserError(f"{name}: experiments of several commits have this name ({bases})")
        return found[head]
    return next(iter(found.values()), None)


def _parsed(data: bytes, label: str) -> ComparisonSet:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / COMPARISON_FILE.name
        path.write_bytes(data)
        try:
            return load_comparison(path)
        except UserError as error:
            raise UserError(str(error).replace(str(path), label)) from error
