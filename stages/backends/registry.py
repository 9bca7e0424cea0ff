"""Finds the backends: every ``backends/KEY/backend.py`` below the working directory.

There is no list of them. A new folder is a new backend, and its name is the backend's key.
"""

from __future__ import annotations

import functools
import importlib.util
import re
from collections.abc import Iterable, Mapping
from pathlib import Path

from stages.backends.declared import DeclaredBackend, DeclaredEnvironment
from stages.common.errors import UserError, one_line

FOLDER = Path("backends")

_KEY = r"[a-z][a-z0-9_]*"
# A result that names no backend has one of these words in the place of its key.
_NO_KEYS = frozenset({"tie", "none", "deferred", "both", "neither"})


def declared_backends() -> Mapping[str, DeclaredBackend]:
    """Every backend by its key in the contract, in the order of their folders.

    Raises:
        UserError: a declaration cannot be loaded, or two of them contradict each other.
    """
    return {one.key: one for one in _found_in(FOLDER.absolute()).values()}


def declared(key: str) -> DeclaredBackend:
    """The backend with this key in the contract.

    Raises:
        UserError: no folder declares it.
    """
    found = declared_backends().get(key)
    if found is None:
        raise UserError(f"{FOLDER}: no */backend.py declares the backend {key}")
    return found


def environment_names() -> tuple[str, ...]:
    """The names of all environments."""
    return tuple(one.name for found in declared_backends().values() for one in found.environments)


def environment(name: str) -> DeclaredEnvironment:
    """What its backend declares of environment ``name``.

    Raises:
        UserError: no backend declares it.
    """
    return next(one for one in backend_of(name).environments if one.name == name)


def backend_of(name: str) -> DeclaredBackend:
    """The backend whose server runs in environment ``name``.

    Raises:
        UserError: no backend declares it.
    """
    for found in declared_backends().values():
        if any(one.name == name for one in found.environments):
            return found
    raise UserError(f"{FOLDER}: no */backend.py declares the environment {name}")


def requirements_file(name: str) -> Path:
    """The pinned, hashed requirements of environment ``name``."""
    wanted, file = backend_of(name), environment(name).requirements
    folders = (f for f, one in _found_in(FOLDER.absolute()).items() if one is wanted)
    return FOLDER / next(folders) / file


def oracle_environment() -> str:
    """The environment in which the oracle computes.

    Raises:
        UserError: none is declared for it, or several are.
    """
    names = [name for name in environment_names() if environment(name).serves_oracle]
    if len(names) != 1:
        found = " and ".join(names) or "none"
        raise UserError(f"{FOLDER}: one environment must serve the oracle; declared so: {found}")
    return names[0]


def query_keeping_flags() -> tuple[str, ...]:
    """The flags by which some server computes the query once and keeps it."""
    return tuple(flag for found in declared_backends().values() for flag in found.keeps_query)


@functools.cache
def _found_in(folder: Path) -> Mapping[str, DeclaredBackend]:
    """The backends by the names of their folders."""
    found = {path.parent.name: _load(path) for path in sorted(folder.glob("*/backend.py"))}
    if not found:
        raise UserError(f"{FOLDER}: no */backend.py there; run this in the root of the repository")
    _refuse_twice(
        "environment", ((e.name, name) for name, one in found.items() for e in one.environments)
    )
    return found


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
    try:
        spec.loader.exec_module(module)
    except Exception as error:
        why = one_line(f"{type(error).__name__}: {error}")
        raise UserError(f"{shown}: cannot be loaded: {why}") from error
    found = getattr(module, "BACKEND", None)
    if not isinstance(found, DeclaredBackend):
        raise UserError(f"{shown}: declares no BACKEND, an instance of a DeclaredBackend")
    complaint = _complaint(found, path.parent.name)
    if complaint is not None:
        raise UserError(f"{shown}: {complaint}")
    return found


def _complaint(found: DeclaredBackend, folder: str) -> str | None:
    """What is missing of a declaration."""
    for name in ("key", "title", "package"):
        value = getattr(found, name, None)
        if not isinstance(value, str) or not value.strip():
            return f"declares no {name}"
    if not re.fullmatch(_KEY, found.key):
        return f"key {one_line(found.key, 60)!r}: small letters, digits and '_' are allowed"
    if found.key != folder:
        return f"key {one_line(found.key, 60)!r}: it must be the name of its folder, {folder}"
    if found.key in _NO_KEYS:
        return f"key {found.key!r}: the comparison uses this word for a result without a backend"
    if not getattr(found, "environments", ()):
        return "declares no environments"
    return None
