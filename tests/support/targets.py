"""Plans of the targets in ``conf/``, made without data, environments or a network."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Any

import yaml
from bench import inside
from contracts import BACKENDS, ROOT

from stages.contract import VIEWS, Backend, View, parse_contract
from stages.plan.plan import Plan, plan_for
from tools.compose import composed
from tools.plan.subject import subject_of

COMMIT = "0123456789abcdef0123456789abcdef01234567"


def raw_target(*choices: str) -> dict[str, Any]:
    """The composition of ``conf/`` with ``choices``, as a plain document that tests may bend."""
    raw: dict[str, Any] = yaml.safe_load(_text(choices))
    return raw


@functools.cache
def _text(choices: tuple[str, ...]) -> bytes:
    with inside(ROOT):
        return composed(choices)


def bare_folder(folder: Path) -> Path:
    """A folder like the repository's root before anything has run."""
    for name in ("backends", "conf"):
        (folder / name).symlink_to(ROOT / name)
    return folder


def plans(folder: Path, raw: dict[str, Any]) -> dict[tuple[Backend, View], Plan]:
    """The four plans of a contract, made in ``folder``."""
    made = parse_contract(raw)
    with inside(folder):
        subject = subject_of(made)
        return {(b, v): plan_for(made, b, v, subject) for b in BACKENDS for v in VIEWS}
