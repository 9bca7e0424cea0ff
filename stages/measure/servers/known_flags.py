"""Refuses flags that the installed server does not know, before it is started.

The server's own parser lists its flags, once for each environment and entry point. The list is kept
in the cache folder.
"""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path

import pydantic

from stages.common.errors import UserError
from stages.common.files import sha256, sha256_file, write_whole
from stages.contract import Launch
from stages.environments.build import installed_version, scratch_folder
from stages.plan.plan import Plan

ASKER = Path(__file__).with_name("ask_flags.py")

_ANSWER: pydantic.TypeAdapter[list[str] | None] = pydantic.TypeAdapter(list[str] | None)
_EVERY_SERVER = "every server gets it"


def check_flags(
    plan: Plan, python: Path, environ: dict[str, str], say: Callable[[str], None]
) -> None:
    """Refuse flags that the server would not understand.

    If the server does not list its flags, nothing is refused: its log will say what is wrong.

    Raises:
        UserError: names every such flag, its origin, and the installed version.
    """
    launch = plan.contract.launch
    folder = scratch_folder(plan.environment, "flags", plan.commit, plan.device)
    kept = folder / f"{_key(launch)[:32]}.json"
    try:
        known = _ANSWER.validate_json(kept.read_bytes())
    except (OSError, pydantic.ValidationError):
        limit = plan.contract.limits.start_timeout_s
        answer = ask(python, launch.program, environ, limit)
        if answer is None:
            say("its server did not list its flags, so they are not checked")
            return
        known = _ANSWER.validate_json(answer)
        write_whole(kept, answer)
    strangers = unknown_flags(plan, known)
    if strangers:
        version = installed_version(plan.environment, plan.driver.package, plan.commit, plan.device)
        named = ", ".join(f"--{flag} ({origin})" for flag, origin in strangers.items())
        raise UserError(f"{plan.title}: {plan.driver.package} {version} does not know {named}")


def unknown_flags(plan: Plan, known: list[str] | None) -> dict[str, str]:
    """The flags of the command line that the server does not know, with their origins.

    The beginning of a flag, which argparse would complete, does not count as known: it may mean
    another flag in the next version.
    """
    if known is None:
        return {}
    names = [a.removeprefix("--").partition("=")[0] for a in plan.arguments if a.startswith("--")]
    return {
        name: plan.origins.get(name, _EVERY_SERVER) for name in names if f"--{name}" not in known
    }


def ask(python: Path, entry: list[str], environ: dict[str, str], limit_s: float) -> bytes | None:
    """The server's list of flags as JSON; ``None`` if it gives none."""
    try:
        done = subprocess.run(
            # -P keeps this folder, which is the harness's, off the server's import path.
            [str(python), "-P", str(ASKER), *entry],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=environ,
            timeout=limit_s,
            check=False,
        )
        _ANSWER.validate_json(done.stdout)
    except (OSError, subprocess.TimeoutExpired, pydantic.ValidationError):
        return None
    return done.stdout


def _key(launch: Launch) -> str:
    """What the list of flags depends on within one environment."""
    program = [sha256_file(Path(a)) if Path(a).is_file() else a for a in launch.program[:2]]
    return sha256(json.dumps([program, sorted(launch.environ.items())]).encode())
