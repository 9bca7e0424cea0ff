"""User errors, their exit codes, and the cleaning of text for a single line.

:func:`one_line` cleans every text of a server, a log or a file before a user reads it.
"""

from __future__ import annotations

import functools
import io
import re
import reprlib
import sys
from collections.abc import Callable
from typing import Any

DETAIL_CHARACTERS = 200
_MESSAGE_CHARACTERS = 2000

REDACTED = "[redacted]"

# Cursor and colour (CSI), titles and links (OSC), other strings (DCS, SOS, PM, APC), and the
# short ones; a string that never ends takes the rest.
_ESCAPES = re.compile(
    r"(?:\x1b\[|\x9b)[0-?]*[ -/]*[@-~]?"
    r"|(?:\x1b[\]PX^_]|[\x90\x98\x9d-\x9f]).*?(?:\x07|\x1b\\|\x9c|\Z)"
    r"|\x1b[ -/]*[0-~]?",
    re.DOTALL,
)

_secrets: set[str] = set()


class UserError(Exception):
    """A mistake that the user can correct; shown as one line, exit code 1."""

    exit_code = 1


class ContractError(UserError):
    """The contract in ``params.yaml`` cannot be measured; exit code 2.

    Nothing has been started or written when it is raised.
    """

    exit_code = 2

    def __init__(self, key: str, found: object, allowed: str) -> None:
        # YAML's aliases make a short file a huge document, so the value is abbreviated.
        shown = one_line(_SHORT.repr(found))
        super().__init__(
            f"params.yaml: {one_line(key)}: found {shown}; allowed: {one_line(allowed, 400)}"
        )
        self.key = key


def hide(secret: str) -> None:
    """Replace ``secret`` by ``[redacted]`` in all text that is cleaned from now on."""
    if secret:
        _secrets.add(secret)


def one_line(text: str, limit: int = DETAIL_CHARACTERS) -> str:
    """``text`` as one printable line of at most ``limit`` characters.

    Terminal escape sequences are removed, other unprintable characters become spaces,
    and secrets are redacted.
    """
    # Redact before the cut, or the head of a secret could remain. Redact again after the
    # cleaning, which can join a secret that held an unprintable character.
    text = _redacted(text)
    # Cut before cleaning: a server may answer with megabytes.
    text = _ESCAPES.sub("", text[: 20 * limit])
    line = _redacted(" ".join("".join(c if c.isprintable() else " " for c in text).split()))
    return line if len(line) <= limit else line[: limit - 1] + "…"


def _redacted(text: str) -> str:
    for secret in _secrets:
        text = text.replace(secret, REDACTED)
    return text


class _Short(reprlib.Repr):
    def __init__(self) -> None:
        super().__init__()
        self.maxlevel = 3
        self.maxstring = self.maxother = self.maxlong = DETAIL_CHARACTERS
        self.maxlist = self.maxdict = 8

    def repr_int(self, x: int, level: int) -> str:  # noqa: ARG002
        """A number; Python refuses to print one of more than 4,300 digits."""
        try:
            return repr(x)
        except ValueError:
            return f"a whole number of {x.bit_length()} bits"


_SHORT = _Short()


def speak_utf8() -> None:
    """Print UTF-8 into files and pipes, whatever the locale is.

    A terminal keeps the encoding of its locale, with escapes for characters that it lacks.
    """
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            encoding = stream.encoding if stream.isatty() else "utf-8"
            stream.reconfigure(encoding=encoding, errors="backslashreplace")


def one_line_errors[**P, R](command: Callable[P, R]) -> Callable[P, R]:
    """End a command in one line for a :class:`UserError`. Bugs keep their traceback.

    The command prints UTF-8 (:func:`speak_utf8`).
    """

    @functools.wraps(command)
    def run(*args: P.args, **kwargs: P.kwargs) -> Any:
        speak_utf8()
        try:
            return command(*args, **kwargs)
        except UserError as error:
            print(f"error: {one_line(str(error), _MESSAGE_CHARACTERS)}", file=sys.stderr)
            sys.exit(error.exit_code)

    return run
