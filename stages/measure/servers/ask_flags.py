"""Runs in a backend's environment: which flags does the server of this entry point know?

    python ask_flags.py -m sglang.launch_server
    python ask_flags.py backends/jax/launch_cpu.py

The entry point itself runs, launcher and plugins and all, up to the moment it parses its
command line. Its answer goes to standard output as JSON: the flags, or ``null`` where any are
taken. An entry point that parses nothing gives no answer.
"""

from __future__ import annotations

import argparse
import json
import os
import runpy
import sys
from pathlib import Path
from typing import Any

# Whatever else is printed meanwhile goes to standard error.
_answer = os.fdopen(os.dup(1), "w")
os.dup2(2, 1)


def _tell(flags: list[str] | None) -> None:
    _answer.write(json.dumps(flags))
    _answer.flush()
    # No farewell: nothing has been started that needs one.
    os._exit(0)


def _is_servers(parser: argparse.ArgumentParser) -> bool:
    """Libraries may parse something too; the server's own parser knows where to listen."""
    return "--port" in parser._option_string_actions


_parse_args = argparse.ArgumentParser.parse_args
_parse_known_args = argparse.ArgumentParser.parse_known_args


def _asked_for_all(parser: argparse.ArgumentParser, *args: Any, **kwargs: Any) -> Any:
    """In place of ``parse_args``, for which an unknown flag is an error."""
    if _is_servers(parser):
        _tell(sorted(parser._option_string_actions))
    return _parse_args(parser, *args, **kwargs)


def _asked_for_some(parser: argparse.ArgumentParser, *args: Any, **kwargs: Any) -> Any:
    """In place of ``parse_known_args``, which leaves unknown flags over."""
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
