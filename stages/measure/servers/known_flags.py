"""Flags that the installed server does not know are named before it is started.

The server itself is asked, once for each environment and entry point: what it answers is kept
in the cache.
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

    A server that gives no answer is started all the same: its log will say what is wrong.

    Raises:
        UserError: naming every such flag, where it comes from, and the installed version.
    """
    launch = plan.contract.launch
    folder = scratch_folder(plan.environment, "flags", plan.commit)
    kept = folder / f"{_key(launch)[:32]}.json"
    try:
        known = _ANSWER.validate_json(kept.read_bytes())
    except (OSError, pydantic.ValidationError):
        limit = plan.contract.limits.start_timeout_s
        answer = ask(python, launch.entry, environ, limit)
        if answer is None:
            say("which flags its server knows could not be asked; it is started all the same")
            return
        known = _ANSWER.validate_json(answer)
        write_whole(kept, answer)
    strangers = unknown_flags(plan, known)
    if strangers:
        version = installed_version(plan.environment, plan.driver.package, plan.commit)
        named = ", ".join(f"--{flag} ({origin})" for flag, origin in strangers.items())
        raise UserError(f"{plan.title}: {plan.driver.package} {version} does not know {named}")


def unknown_flags(plan: Plan, known: list[str] | None) -> dict[str, str]:
    """The flags of the server's command line that it does not know, and where they come from.

    Beginnings of a flag, which argparse would complete, do not count as known: the flag that one
    of them means may be another in the next version.
    """
    if known is None:
        return {}
    names = [a.removeprefix("--").partition("=")[0] for a in plan.arguments if a.startswith("--")]
    return {
        name: plan.origins.get(name, _EVERY_SERVER) for name in names if f"--{name}" not in known
    }


def ask(python: Path, entry: list[str], environ: dict[str, str], limit_s: float) -> bytes | None:
    """The server's own answer as JSON; ``None`` if it gives none."""
    try:
        done = subprocess.run(
            # -P: the folder of the asker is the harness's and not on the server's import path.
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
    """What the answer depends on within one environment."""
    program = [sha256_file(Path(a)) if Path(a).is_file() else a for a in launch.entry[:2]]
    return sha256(json.dumps([program, sorted(launch.environ.items())]).encode())
