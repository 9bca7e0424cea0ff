"""Prints the flags that a server knows. Runs in a backend's environment.

    python ask_flags.py -m sglang.launch_server
    python ask_flags.py backends/jax/launch_cpu.py

The entry point runs, with its launcher and plugins, until it parses its command line. Then the
flags go to standard output as JSON, or ``null`` where the server accepts any flag. An entry point
that parses nothing prints nothing. ``--help`` is no substitute: it leaves out flags whose help is
suppressed, and formats its output for a terminal.
"""

from __future__ import annotations

import argparse
import json
import os
import runpy
import sys
from pathlib import Path
from typing import Any

# Everything else that is printed goes to standard error.
_answer = os.fdopen(os.dup(1), "w")
os.dup2(2, 1)


def _tell(flags: list[str] | None) -> None:
    _answer.write(json.dumps(flags))
    _answer.flush()
    # No clean-up is needed: nothing has been started.
    os._exit(0)


def _is_servers(parser: argparse.ArgumentParser) -> bool:
    """Whether this is the server's own parser: libraries parse command lines, too."""
    return "--port" in parser._option_string_actions


_parse_args = argparse.ArgumentParser.parse_args
_parse_known_args = argparse.ArgumentParser.parse_known_args


def _asked_for_all(parser: argparse.ArgumentParser, *args: Any, **kwargs: Any) -> Any:
    """Replaces ``parse_args``, for which an unknown flag is an error."""
    if _is_servers(parser):
        _tell(sorted(parser._option_string_actions))
    return _parse_args(parser, *args, **kwargs)


def _asked_for_some(parser: argparse.ArgumentParser, *args: Any, **kwargs: Any) -> Any:
    """Replaces ``parse_known_args``, which accepts unknown flags."""
    if _is_servers(parser):
        _tell(None)
    return _parse_known_args(parser, *args, **kwargs)


def main(entry: list[str]) -> None:
    """Run ``entry`` as the environment's Python would."""
    argparse.ArgumentParser.parse_args = _asked_for_all  # type: ignore[method-assign, assignment]
    argparse.ArgumentParser.parse_known_args = _asked_for_some  # type: ignore[method-assign, assignment]
    if entry[0] == "-m":
        sys.path.insert(0, str(Path.cwd()))
        sys.argv = entry[1:]
        runpy.run_module(entry[1], run_name="__main__", alter_sys=True)
    elif not entry[0].startswith("-"):
        sys.path.insert(0, str(Path(entry[0]).parent))
        sys.argv = entry
        runpy.run_path(entry[0], run_name="__main__")


if __name__ == "__main__":
    main(sys.argv[1:])
