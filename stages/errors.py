"""Errors a user can cause, and the one place where they become an exit code."""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable
from typing import Any


class UserError(Exception):
    """Something the user can put right; shown as one line, exit code 1."""

    exit_code = 1


class ContractError(UserError):
    """The contract in ``params.yaml`` cannot be measured; exit code 2.

    Nothing has been started or written when it is raised.
    """

    exit_code = 2

    def __init__(self, key: str, found: object, allowed: str) -> None:
        super().__init__(f"params.yaml: {key}: found {found!r}; allowed: {allowed}")
        self.key = key


def one_line_errors[**P, R](command: Callable[P, R]) -> Callable[P, R]:
    """Let a command end in one clear line for a :class:`UserError`; bugs keep their traceback."""

    @functools.wraps(command)
    def run(*args: P.args, **kwargs: P.kwargs) -> Any:
        try:
            return command(*args, **kwargs)
        except UserError as error:
            print(f"error: {error}", file=sys.stderr)
            sys.exit(error.exit_code)

    return run
