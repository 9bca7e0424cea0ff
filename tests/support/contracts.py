"""The committed contract as a plain document that tests may bend, and a stage that reads one."""

from __future__ import annotations

import contextlib
import copy
import os
import re
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml
from calling import call

from stages.contract import Contract, parse_contract

NONCE = "0123456789abcdef"
"""Of every comparison that is made up in a test."""

ROOT = Path(__file__).resolve().parents[2]
_COMMITTED = yaml.safe_load((ROOT / "params.yaml").read_text())

WORKLOAD = "many"
"""The one workload of most tests, which the committed contract has beside others."""


PAIR = parse_contract(_COMMITTED).pair
BACKENDS = PAIR.both
REFERENCE = PAIR.reference


def committed() -> dict[str, Any]:
    """The committed ``params.yaml``, with all its workloads."""
    return copy.deepcopy(_COMMITTED)


def pipeline() -> dict[str, Any]:
    """`dvc.yaml`, with the committed pair in its place."""
    text = (ROOT / "dvc.yaml").read_text()
    for role, backend in PAIR.model_dump().items():
        text = text.replace(f"${{pair.{role}}}", backend)
    found: dict[str, Any] = yaml.safe_load(text)
    return found


def raw_contract(**changes: Any) -> dict[str, Any]:
    """The committed ``params.yaml`` with one workload, and dotted keys (``__`` for a dot) replaced.

    ``workload`` is short for ``workloads__many``.
    """
    raw = committed()
    raw["workloads"] = {WORKLOAD: raw["workloads"][WORKLOAD]}
    for key, value in changes.items():
        *path, last = re.sub(r"^workload(?=$|__)", f"workloads__{WORKLOAD}", key).split("__")
        section = raw
        for part in path:
            section = section[part]
        section[last] = value
    return raw


def raw_several(workloads: Mapping[str, Mapping[str, Any]], **changes: Any) -> dict[str, Any]:
    """The same with several workloads.

    Args:
        workloads: name -> the keys in which it differs from the one workload.
        changes: other keys, as :func:`raw_contract` has them.
    """
    one = committed()["workloads"][WORKLOAD]
    several = {name: {**one, **own} for name, own in workloads.items()}
    return raw_contract(workloads=several, **changes)


def contract(**changes: Any) -> Contract:
    """The committed contract with one workload and some keys replaced."""
    return parse_contract(raw_contract(**changes))


def run_stage(folder: Path, name: str) -> subprocess.CompletedProcess[str]:
    """Call the command of stage NAME in ``folder``, however it ends."""
    _declare_backends(folder)
    return call(folder, f"stages.{name}")


def start_stage(
    folder: Path, name: str, *arguments: str, **variables: str
) -> subprocess.CompletedProcess[str]:
    """Run `python -m stages.NAME` in ``folder``, on this tree's code, however it ends."""
    _declare_backends(folder)
    return subprocess.run(
        [sys.executable, "-m", f"stages.{name}", *arguments],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(ROOT), **variables},
        capture_output=True,
        text=True,
    )


def _declare_backends(folder: Path) -> None:
    with contextlib.suppress(FileExistsError):
        (folder / "backends").symlink_to(ROOT / "backends")
