"""Compares installed packages with the pins. It starts nothing but a Python."""

from __future__ import annotations

import importlib.metadata
import re
import subprocess
from collections.abc import Iterable, Mapping
from pathlib import Path

from stages.backends.registry import environment
from stages.common.errors import UserError, one_line
from stages.environments.build import (
    environment_folder,
    is_complete,
    pinned_file,
    python_of,
    requirements_sha256,
)
from stages.environments.locks import extra_for
from tools.doctor.facts import Environment, PackageMismatch

_PIN = re.compile(r"([\w.-]+)(?:\[[^\]]*\])?==([^\s;\\]+)")
_FIELD = re.compile(r"^(Name|Version): *(\S+)", re.MULTILINE)
_START_TIMEOUT_S = 120
_VERSION = "import platform; print(platform.python_version())"


def find_environment(name: str, commit: str | None = None, device: str = "cpu") -> Environment:
    """Environment ``name``, built or not, with the release or with ``commit`` on ``device``.

    Raises:
        UserError: the release's requirements cannot be read.
    """
    requirements_sha256(name)  # names the file if it cannot be read
    try:
        file = pinned_file(name, commit, device)
    except UserError as error:
        return Environment(name, "absent", None, {}, frozenset(), (), str(error))
    pinned = pins(file.read_text("utf-8"))
    folder = environment_folder(name, commit, device)
    complete = is_complete(name, commit, device)
    return Environment(
        name=name,
        state="complete" if complete else "unfinished" if folder.exists() else "absent",
        python=_version_of(python_of(name, commit, device)) if complete else None,
        pinned=pinned,
        excluded=_excluded(file) if commit is None else frozenset(),
        differences=differences(pinned, installed(folder)) if complete else (),
        disk_bytes=_disk_bytes(name, commit, device),
    )


def _excluded(requirements: Path) -> frozenset[str]:
    """What a release's requirements leave out; locks for commits and accelerators nothing."""
    path = requirements.with_name(requirements.name.replace("requirements", "excludes"))
    excluded = path.read_text("utf-8").split() if path.exists() else []
    return frozenset(map(normal_name, excluded))


def _disk_bytes(name: str, commit: str | None, device: str) -> int | None:
    declared = environment(name)
    if commit is None or declared.checkout is None:
        return declared.disk_bytes
    return declared.checkout.disk_bytes.get(extra_for(name, device))


def harness_differences(
    requirements: Path = Path("requirements.txt"),
) -> tuple[PackageMismatch, ...]:
    """Packages of the harness, this Python's own, that are not as pinned.

    Raises:
        UserError: the requirements cannot be read.
    """
    try:
        text = requirements.read_text("utf-8")
    except OSError as error:
        raise UserError(f"{requirements}: {error.strerror}") from error
    return differences(pins(text), _versions(importlib.metadata.distributions()))


def installed(folder: Path) -> dict[str, str]:
    """Package -> version of what is installed in an environment's folder."""
    sites = [str(path) for path in folder.glob("lib/python3*/site-packages")]
    return _versions(importlib.metadata.distributions(path=sites))


def _versions(distributions: Iterable[importlib.metadata.Distribution]) -> dict[str, str]:
    versions: dict[str, str] = {}
    for distribution in distributions:
        # importlib parses the whole description for a name, which takes seconds in total.
        text = distribution.read_text("METADATA") or distribution.read_text("PKG-INFO") or ""
        head = dict(_FIELD.findall(text.partition("\n\n")[0]))
        # An import finds the first one on the path. A broken one has no name.
        if "Name" in head:
            version = one_line(head.get("Version", "")) or "of no version"
            versions.setdefault(normal_name(head["Name"]), version)
    return versions


def pins(requirements: str) -> dict[str, str]:
    """Package -> version, from pinned requirements."""
    matches = (_PIN.match(line) for line in requirements.splitlines())
    return {normal_name(match[1]): match[2] for match in matches if match}


def normal_name(package: str) -> str:
    """A package's normalized name."""
    return re.sub(r"[-_.]+", "-", package).lower()


def differences(
    pinned: Mapping[str, str], present: Mapping[str, str]
) -> tuple[PackageMismatch, ...]:
    """The packages that are missing or of another version than pinned."""
    return tuple(
        PackageMismatch(package, version, present.get(package))
        for package, version in pinned.items()
        if package not in present or _parts(present[package]) != _parts(version)
    )


def _parts(version: str) -> list[str]:
    """A comparable version: 2024.07.4 and 2024.7.4 are equal."""
    return [p.lstrip("0") or "0" for p in re.split(r"[.+-]", version.lower())]


def _version_of(python: Path) -> str | None:
    try:
        done = subprocess.run(
            [str(python), "-I", "-c", _VERSION],
            capture_output=True,
            encoding="utf-8",
            errors="replace",
            timeout=_START_TIMEOUT_S,
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return one_line(done.stdout) if done.returncode == 0 else None
