"""Writes the reason of an unavailable backend into the contract's text.

Only the value is replaced, in the form of dvc's composition. The rest of the file does not change,
comments included.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterable

import yaml

from stages.common.errors import UserError, one_line
from stages.contract import PARAMS, Backend, View
from tools.doctor.finding import RECORDED, Verdict

_REASON_CHARACTERS = 300

# Replaced, because YAML, Hydra and the shell would each need another escape for them.
_PLAIN = str.maketrans({**dict.fromkeys("\"'`", "\N{RIGHT SINGLE QUOTATION MARK}"), "\\": "/"})


def reason_of(verdicts: Iterable[Verdict]) -> str | None:
    """The reason to record for one backend; ``None`` where no check of its own blocks it."""
    block = next((block for v in verdicts if (block := v.own_block) is not None), None)
    if block is None:
        return None
    found = block.found.translate(_PLAIN).replace("$", "")
    return f"{RECORDED}{one_line(found, _REASON_CHARACTERS)}"


def with_reason(text: str, backend: Backend, reason: str | None, view: View | None = None) -> str:
    """The contract's text with another ``backends.BACKEND.unavailable``, or of one view of it.

    Raises:
        UserError: it has no such key.
    """
    keys = ["backends", backend, *([view] if view else []), "unavailable"]
    node = _composed(text)
    for key in keys:
        node = _child(node, key)
    if not isinstance(node, yaml.ScalarNode):
        raise UserError(f"{PARAMS}: {'.'.join(keys)}: no such key; nothing recorded")
    before, after = text[: node.start_mark.index], text[node.end_mark.index :]
    old = text[node.start_mark.index : node.end_mark.index]
    gap = " " if before.endswith(":") else ""
    end = "\n" if old.endswith("\n") else ""
    return f"{before}{gap}{_dumped(backend, reason)}{end}{after}"


def _composed(text: str) -> yaml.Node | None:
    """The text as YAML nodes with their positions.

    PyYAML gives the position of an empty value, the contract's library only that of the next key.
    Differences between the two do not matter, because the contract is read again afterwards.
    """
    try:
        return yaml.compose(text, Loader=yaml.SafeLoader)
    except yaml.YAMLError as error:
        raise UserError(f"{PARAMS}: {one_line(str(error))}; nothing recorded") from error


def _child(node: yaml.Node | None, key: str) -> yaml.Node | None:
    if not isinstance(node, yaml.MappingNode):
        return None
    return next((value for name, value in node.value if name.value == key), None)


def _dumped(backend: Backend, reason: str | None) -> str:
    # Dumped at its own depth, because that decides where long text is folded.
    document = {"backends": {backend: {"unavailable": reason}}}
    text = yaml.safe_dump(document, default_flow_style=False, allow_unicode=True)
    return text.partition("unavailable:")[2].strip()


def override(backend: Backend, reason: str | None) -> str:
    """The same as an argument of `dvc exp run` in a shell."""
    value = "null" if reason is None else f'"{reason}"'
    return f"-S {shlex.quote(f'backends.{backend}.unavailable={value}')}"
