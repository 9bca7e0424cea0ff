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


# Flags that argparse stores under another name.
_ATTRIBUTES = {
    "tensor-parallel-size": "tp_size",
    "data-parallel-size": "dp_size",
    "pipeline-parallel-size": "pp_size",
    "expert-parallel-size": "ep_size",
    "tp": "tp_size",
    "dp": "dp_size",
}


def attribute(flag: str) -> str:
    """The name under which a server reports a flag."""
    return _ATTRIBUTES.get(flag, flag.replace("-", "_"))
