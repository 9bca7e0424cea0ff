"""What a package asks for in its ``pyproject.toml``, in a form that can be compared."""

from __future__ import annotations

import platform
import tomllib
from collections.abc import Iterable, Mapping
from typing import Any

from packaging.requirements import InvalidRequirement, Requirement
from packaging.specifiers import InvalidSpecifier, SpecifierSet
from packaging.utils import canonicalize_name

# What PEP 518 takes for granted where a package does not say how it is built.
_BUILD_DEFAULT = ["setuptools"]


def asked(text: str, extra: str) -> frozenset[str]:
    """What a package needs to be built and to run with one of its extras.

    Args:
        text: of its ``pyproject.toml``.
        extra: the name of the extra.

    Raises:
        ValueError: it does not tell, or it does not run on this Python.
    """
    try:
        document = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ValueError(f"no TOML: {error}") from error
    project = _table(document, "project")
    _check_python(project)
    if "dependencies" in project.get("dynamic", []):
        raise ValueError("its dependencies are dynamic, so they cannot be read")
    build = _texts(_table(document, "build-system").get("requires", _BUILD_DEFAULT), "requires")
    run = _texts(project.get("dependencies", []), "dependencies")
    name = canonicalize_name(str(project.get("name", "")))
    wanted = {normal(one) for one in [*build, *run]}
    return frozenset(wanted | _of_extra(project, name, extra, frozenset()))


def _of_extra(
    project: Mapping[str, Any], name: str, extra: str, seen: frozenset[str]
) -> frozenset[str]:
    """The requirements of an extra, which may name the package's other extras."""
    extras = _table(project, "optional-dependencies")
    if extra not in extras:
        raise ValueError(
            f"it has no extra {extra!r}; it has: {', '.join(sorted(extras)) or 'none'}"
        )
    found: set[str] = set()
    for text in _texts(extras[extra], extra):
        one = _requirement(text)
        if canonicalize_name(one.name) != name:
            found.add(normal(text))
            continue
        for other in one.extras - seen - {extra}:
            found |= _of_extra(project, name, other, seen | {extra})
    return frozenset(found)


def stated(text: str) -> frozenset[str]:
    """The requirements in an ``.in`` file.

    Raises:
        ValueError: a line is no requirement.
    """
    lines = (line.partition("#")[0].strip() for line in text.splitlines())
    return frozenset(normal(line) for line in lines if line)


def normal(text: str) -> str:
    """A requirement in the one spelling that equal ones share.

    Raises:
        ValueError: it is none.
    """
    one = _requirement(text)
    extras = f"[{','.join(sorted(map(canonicalize_name, one.extras)))}]" if one.extras else ""
    url = f" @ {one.url}" if one.url else ""
    versions = ",".join(sorted(map(str, one.specifier)))
    marker = f" ; {one.marker}" if one.marker else ""
    return f"{canonicalize_name(one.name)}{extras}{url}{versions}{marker}"


def exact_version(wanted: Iterable[str], package: str) -> str | None:
    """The version of ``package`` that the requirements ask for; ``None`` where any would do."""
    for one in map(_requirement, wanted):
        pins = [s.version for s in one.specifier if s.operator == "=="]
        if canonicalize_name(one.name) == package and pins:
            return pins[0]
    return None


def _requirement(text: str) -> Requirement:
    try:
        return Requirement(text)
    except InvalidRequirement as error:
        raise ValueError(f"{text!r} is no requirement") from error


def _check_python(project: Mapping[str, Any]) -> None:
    required, here = str(project.get("requires-python", "")), platform.python_version()
    try:
        fits = SpecifierSet(required).contains(here)
    except InvalidSpecifier as error:
        raise ValueError(f"requires-python: {required!r} is no version specifier") from error
    if not fits:
        raise ValueError(f"it requires Python {required}, and this is {here}")


def _table(document: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    found = document.get(key, {})
    if not isinstance(found, dict):
        raise ValueError(f"{key}: no table")
    return found


def _texts(found: object, key: str) -> list[str]:
    if not isinstance(found, list) or not all(isinstance(one, str) for one in found):
        raise ValueError(f"{key}: no list of requirements")
    return found
