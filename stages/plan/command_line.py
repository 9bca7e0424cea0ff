"""Server flags as the arguments of a command line."""

from __future__ import annotations

from stages.backends.declared import Flags


def command_line(flags: Flags) -> list[str]:
    """Flags as arguments: ``true`` is the bare flag, ``false`` leaves it out."""
    arguments: list[str] = []
    for name, value in flags.items():
        if value is True:
            arguments.append(f"--{name}")
        elif isinstance(value, list):
            arguments += [f"--{name}", *map(str, value)]
        elif value is not False:
            arguments += [f"--{name}", str(value)]
    return arguments
