"""Finds the package of a commit in the git repository that the user names.

Only the commit counts: which commit the checkout is at, and what has been changed in it, does not
matter, and it is never written to. Objects are read through an empty repository of our own that
borrows the user's. So replaced objects and hooks of that repository have no effect, and what a
partial clone lacks is missed at once instead of being fetched from elsewhere.
"""

from __future__ import annotations

import contextlib
import os
import re
import shlex
import tempfile
import urllib.parse
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from filelock import FileLock

from stages.common.errors import UserError, hide, one_line
from stages.common.files import sha256
from stages.common.git import GitError, git, git_message, run_git, try_git, why_no_revision

_MOST_BRANCHES = 8
_SUBJECT_CHARACTERS = 100
_SCP_LIKE = re.compile(r"[\w.-]+@[\w.-]+:")
_IDENTITY = ("-c", "user.name=scoreparity", "-c", "user.email=scoreparity@localhost")


@dataclass(frozen=True, slots=True)
class Checkout:
    """A backend that is installed from the user's git repository.

    Attributes:
        package: its distribution.
        variable: the environment variable that names the repository.
        key: the contract's key for the commit.
        folder: of the package in the repository.
        fetched: the folder that keeps what is fetched from a URL.
        trees: the package's git tree in known commits.
    """

    package: str
    variable: str
    key: str
    folder: str
    fetched: Path
    trees: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class CommitSource:
    """The package of a commit, complete in a repository on this machine.

    Attributes:
        origin: the repository, as the user names it.
        commit: that the contract names.
        objects: the folder of the repository's git objects.
        tree: the git tree of the package.
        folder: of the package in the repository.
    """

    origin: str
    commit: str
    objects: Path
    tree: str
    folder: str

    def read(self, name: str) -> str | None:
        """The text of a file of the package; ``None`` where there is none."""
        with _borrowing(self.objects) as scratch:
            found = try_git("cat-file", "blob", f"{self.tree}:{name}", folder=scratch)
        return None if found is None else found.decode(errors="replace")

    def export_to(self, folder: Path) -> Path:
        """Write the package into a new repository of one commit, and return its folder.

        A repository, because setuptools-scm asks git which files belong to the package.

        Raises:
            UserError: git fails.
        """
        _borrow(self.objects, folder)
        options = [*_IDENTITY, "-c", "core.autocrlf=false"]
        git("read-tree", f"--prefix={self.folder}/", self.tree, folder=folder, works=True)
        git("checkout-index", "--all", "--quiet", folder=folder, options=options, works=True)
        tree = git("write-tree", folder=folder).strip()
        made = git("commit-tree", tree, "-m", self.commit, folder=folder, options=options).strip()
        git("update-ref", "HEAD", made, folder=folder)
        return folder / self.folder


def find_source(checkout: Checkout, commit: str) -> CommitSource:
    """The package of ``commit`` in the repository that the user's variable names.

    Raises:
        UserError: names the repository and what it lacks.
    """
    named = os.environ.get(checkout.variable)
    if not named:
        raise UserError(
            f"{checkout.variable} is not set: it names a git repository of {checkout.package} with"
            f" commit {commit}: a folder or a URL"
        )
    if "://" in named or _SCP_LIKE.match(named):
        # Git prints URLs in its messages.
        hide(urllib.parse.urlsplit(named).netloc.rpartition("@")[0] if "://" in named else "")
        origin, folder = _without_secret(named), _fetched(checkout, named, commit)
    else:
        folder = Path(named).absolute()
        origin = str(folder)
    where = ("--path-format=absolute", "--git-path", "objects")
    objects = Path(git("rev-parse", *where, folder=folder).strip())
    with _borrowing(objects) as scratch:
        tree = _tree(checkout, commit, scratch)
        if tree is None:
            raise UserError(_no_commit(checkout, commit, origin, folder, scratch))
        _check_whole(checkout, commit, tree, origin, scratch)
    return CommitSource(origin, commit, objects, tree, checkout.folder)


def _without_secret(url: str) -> str:
    if "://" not in url:
        return url
    parts = urllib.parse.urlsplit(url)
    return parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl()


@contextlib.contextmanager
def _borrowing(objects: Path) -> Iterator[Path]:
    """A new repository, for as long as the context lasts, that reads another one's objects."""
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch) / "repository"
        _borrow(objects, folder)
        yield folder


def _borrow(objects: Path, folder: Path) -> None:
    folder.mkdir()
    git("init", "--quiet", "--template=", folder=folder)
    info = folder / ".git" / "objects" / "info"
    info.mkdir(exist_ok=True)
    (info / "alternates").write_text(f"{objects}\n", "utf-8")


def _tree(checkout: Checkout, commit: str, scratch: Path) -> str | None:
    """The tree of the package; ``None`` where the repository has neither commit nor tree.

    Raises:
        UserError: the commit has no such package.
    """
    if try_git("cat-file", "-e", f"{commit}^{{commit}}", folder=scratch) is None:
        # A tree's name is a hash of all that is in it, whoever has it.
        known = checkout.trees.get(commit)
        there = known and try_git("cat-file", "-e", f"{known}^{{tree}}", folder=scratch) is not None
        return known if there else None
    asked = f"{commit}:{checkout.folder}"
    found = try_git("rev-parse", "--verify", "--quiet", asked, folder=scratch)
    if found is None:
        root = try_git("cat-file", "-e", f"{commit}^{{tree}}", folder=scratch)
        why = f"has no folder {checkout.folder}/" if root is not None else "is there without files"
        raise UserError(f"{checkout.package}: commit {commit}, of {checkout.key}, {why}")
    return found.decode().strip()


def _check_whole(checkout: Checkout, commit: str, tree: str, origin: str, scratch: Path) -> None:
    """Refuse a package of which a partial clone has only some files."""
    listing = ("rev-list", "--objects", "--no-object-names", "--missing=print", tree)
    lines = git(*listing, folder=scratch, works=True).splitlines()
    missing = {line[1:] for line in lines if line.startswith("?")}
    if not missing:
        return
    entries = (try_git("ls-tree", "-r", "-z", tree, folder=scratch) or b"").decode(errors="replace")
    rows = (entry.partition("\t") for entry in entries.split("\0") if entry)
    names = [path for head, _, path in rows if head.split()[-1] in missing]
    such = f", such as {one_line(f'{checkout.folder}/{names[0]}')}" if names else ""
    raise GitError(
        f"{origin}: a partial clone that lacks {len(missing)} objects of commit {commit}{such}",
        f"git -C {shlex.quote(origin)} archive {commit} {checkout.folder} >/dev/null",
    )


def _no_commit(checkout: Checkout, commit: str, origin: str, folder: Path, scratch: Path) -> str:
    """Says that the commit is missing, and which branches there are instead."""
    listing = ("for-each-ref", "--format=%(objectname) %(refname:lstrip=2)")
    refs = git(*listing, "refs/heads", "refs/remotes", folder=folder).splitlines()
    branches = [_branch(ref, scratch) for ref in refs[:_MOST_BRANCHES]]
    more = [f"and {len(refs) - _MOST_BRANCHES} more"] if len(refs) > _MOST_BRANCHES else []
    hint = why_no_revision(folder) if refs else ""
    return (
        f"{origin}: it has no commit {commit}, which {checkout.key} names; its branches: "
        f"{'; '.join([*branches, *more]) or 'none'}{f'; {hint}' if hint else ''}"
    )


def _branch(ref: str, scratch: Path) -> str:
    commit, _, name = ref.partition(" ")
    subject = try_git("log", "-1", "--format=%s", commit, folder=scratch) or b""
    shown = one_line(subject.decode(errors="replace"), _SUBJECT_CHARACTERS)
    return f"{one_line(name)} at {commit}" + (f" ({shown})" if shown else "")


def _fetched(checkout: Checkout, url: str, commit: str) -> Path:
    """A repository in the cache, which holds the commit if the one at ``url`` gives it.

    Raises:
        GitError: nothing can be fetched from there.
    """
    folder = checkout.fetched / f"{sha256(url.encode())[:16]}.git"
    folder.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(f"{folder}.lock"):
        if not (folder / "HEAD").exists():
            folder.mkdir(exist_ok=True)
            git("init", "--quiet", "--bare", "--template=", folder=folder)
        if try_git("cat-file", "-e", f"{commit}^{{commit}}", folder=folder) is None:
            _fetch(url, commit, folder)
    return folder


def _fetch(url: str, commit: str, folder: Path) -> None:
    fetch = ("fetch", "--quiet", "--no-tags", "--force")
    kept = f"{commit}:refs/commits/{commit}"
    one = run_git(*fetch, "--depth", "1", url, kept, folder=folder, works=True)
    if one.returncode == 0:
        return
    heads = "+refs/heads/*:refs/heads/*"
    # Older servers give out only what a branch holds. Then all of it has to be fetched.
    deep = (
        ("--depth", "2147483647") if "unadvertised object" in git_message(one) else ("--depth", "1")
    )
    done = run_git(*fetch, *deep, url, heads, folder=folder, works=True)
    if done.returncode != 0:
        raise GitError(f"{_without_secret(url)}: `git fetch` failed: {git_message(done)}")
