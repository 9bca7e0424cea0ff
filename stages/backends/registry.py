"""Finds the backends: every ``backends/KEY/backend.py`` below the working directory.

There is no list: a new folder is a new backend, and its name is the backend's key. A folder whose
name begins with `_` or `.` is no backend.
"""

from __future__ import annotations

import contextlib
import functools
import importlib.util
import re
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path

from stages.backends.declared import DeclaredBackend, DeclaredEnvironment
from stages.common.errors import UserError, one_line

FOLDER = Path("backends")

TITLE = r"^[A-Za-z0-9][A-Za-z0-9 ._+-]{0,23}$"
"""A backend's title: up to 24 ASCII letters, digits, spaces and ``._+-``."""

_KEY = r"[a-z][a-z0-9_]*"
# A result that names no backend has one of these words in the place of its key.
_NO_KEYS = frozenset({"tie", "none", "deferred", "both", "neither"})


def declared_backends() -> Mapping[str, DeclaredBackend]:
    """Every backend by its key in the contract, in the order of their folders.

    Raises:
        UserError: a declaration cannot be loaded, or two of them contradict each other.
    """
    return {one.key: one for one in _loaded_from(FOLDER.absolute()).values()}


def declared(key: str) -> DeclaredBackend:
    """The backend with this key in the contract.

    Raises:
        UserError: no folder declares it.
    """
    backend = declared_backends().get(key)
    if backend is None:
        raise UserError(f"{FOLDER}: no */backend.py declares the backend {key}")
    return backend


def environment_names() -> tuple[str, ...]:
    """The names of all environments."""
    backends = declared_backends().values()
    return tuple(one.name for backend in backends for one in backend.environments)


def environment(name: str) -> DeclaredEnvironment:
    """The declaration of environment ``name``.

    Raises:
        UserError: no backend declares it.
    """
    return next(one for one in backend_of(name).environments if one.name == name)


def backend_of(name: str) -> DeclaredBackend:
    """The backend whose server runs in environment ``name``.

    Raises:
        UserError: no backend declares it.
    """
    for backend in declared_backends().values():
        if any(one.name == name for one in backend.environments):
            return backend
    raise UserError(f"{FOLDER}: no */backend.py declares the environment {name}")


def requirements_file(name: str) -> Path:
    """The pinned, hashed requirements of environment ``name``."""
    wanted, file = backend_of(name), environment(name).requirements
    folders = (f for f, one in _loaded_from(FOLDER.absolute()).items() if one is wanted)
    return FOLDER / next(folders) / file


def locks_folder(name: str) -> Path:
    """The folder of the locks for commits of environment ``name``."""
    return requirements_file(name).with_name("locks")


def commit_trees(name: str) -> Mapping[str, str]:
    """The git tree of the package in each known commit, from ``commits.txt``; may be empty.

    Raises:
        UserError: the file cannot be read, or a line is not a commit and a tree.
    """
    path = requirements_file(name).with_name("commits.txt")
    try:
        lines = path.read_text("utf-8").splitlines() if path.exists() else []
    except (OSError, ValueError) as error:
        raise UserError(f"{path}: cannot be read: {one_line(str(error))}") from error
    trees: dict[str, str] = {}
    for number, line in enumerate(lines, start=1):
        if not (text := line.partition("#")[0].strip()):
            continue
        match = re.fullmatch(r"([0-9a-f]{40}) +([0-9a-f]{40})", text)
        if match is None:
            raise UserError(f"{path}: line {number}: a commit and a tree are allowed, in hex")
        trees[match[1]] = match[2]
    return trees


def oracle_environment() -> str:
    """The environment in which the oracle computes.

    Raises:
        UserError: there is none, or there are several.
    """
    names = [name for name in environment_names() if environment(name).serves_oracle]
    if len(names) != 1:
        shown = " and ".join(names) or "none"
        raise UserError(f"{FOLDER}: one environment must serve the oracle; declared so: {shown}")
    return names[0]


def query_keeping_flags() -> tuple[str, ...]:
    """The flags that make any server compute the query once and keep it."""
    return tuple(flag for one in declared_backends().values() for flag in one.keeps_query)


@functools.cache
def _loaded_from(folder: Path) -> Mapping[str, DeclaredBackend]:
    """The backends by the names of their folders; `_NAME` and `.NAME` are put aside."""
    paths = [p for p in folder.glob("*/backend.py") if not p.parent.name.startswith(("_", "."))]
    backends = {path.parent.name: _load(path) for path in sorted(paths)}
    if not backends:
        raise UserError(f"{FOLDER}: no */backend.py there; run this in the root of the repository")
    _refuse_twice(
        "environment", ((e.name, name) for name, one in backends.items() for e in one.environments)
    )
    return backends


def _refuse_twice(what: str, named: Iterable[tuple[str, str]]) -> None:
    owners: dict[str, str] = {}
    for value, folder in named:
        other = owners.setdefault(value, folder)
        if other != folder:
            both = f"{FOLDER / other}/backend.py and {FOLDER / folder}/backend.py"
            raise UserError(f"{both} declare the same {what}: {value}")


def _load(path: Path) -> DeclaredBackend:
    shown = FOLDER / path.parent.name / path.name
    spec = importlib.util.spec_from_file_location(f"backends.{path.parent.name}.backend", path)
    assert spec is not None  # noqa: S101  its name ends in .py
    assert spec.loader is not None  # noqa: S101
    module = importlib.util.module_from_spec(spec)
    # A dataclass in it looks its own module up there.
    sys.modules[spec.name] = module
    try:
        # Standard output belongs to what the command answers, which may be JSON.
        with contextlib.redirect_stdout(sys.stderr):
            spec.loader.exec_module(module)
    except (Exception, SystemExit) as error:
        del sys.modules[spec.name]
        why = one_line(f"{type(error).__name__}: {error}")
        raise UserError(f"{shown}: cannot be loaded: {why}") from error
    backend = getattr(module, "BACKEND", None)
    if not isinstance(backend, DeclaredBackend):
        raise UserError(f"{shown}: declares no BACKEND, an instance of a DeclaredBackend")
    complaint = _complaint(backend, path.parent.name)
    if complaint is not None:
        raise UserError(f"{shown}: {complaint}")
    return backend


def _complaint(backend: DeclaredBackend, folder: str) -> str | None:
    """What is wrong with a declaration; ``None`` if nothing is."""
    for name in ("key", "title", "package"):
        value = getattr(backend, name, None)
        if not isinstance(value, str) or not value.strip():
            return f"declares no {name}"
    if not re.fullmatch(TITLE, backend.title):
        allowed = "up to 24 ASCII letters, digits, spaces and '._+-' are allowed"
        return f"title {backend.title[:60]!r}: {allowed}"
    if not re.fullmatch(_KEY, backend.key):
        return f"key {one_line(backend.key, 60)!r}: small letters, digits and '_' are allowed"
    if backend.key != folder:
        return f"key {backend.key!r}: it must be the name of its folder, {folder}"
    if backend.key in _NO_KEYS:
        return f"key {backend.key!r}: the comparison uses this word for a result without a backend"
    if not (environments := getattr(backend, "environments", ())):
        return "declares no environments"
    for number, one in enumerate(environments, start=1):
        if not isinstance(one, DeclaredEnvironment):
            return f"environment {number} is no DeclaredEnvironment"
    return None
