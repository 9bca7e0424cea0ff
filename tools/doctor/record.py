"""Recording a block as the reason of an unavailable backend in the contract's file. Pure.

Only the value itself is replaced, written as dvc's composition writes it, so the rest of the
file, comments included, stays as it is.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterable

import yaml

from stages.common.errors import UserError, one_line
from stages.contract import PARAMS, Backend
from tools.doctor.finding import RECORDED, Verdict

_REASON_CHARACTERS = 300

# Quotes and the like would have to be escaped for YAML, Hydra and the shell, one in another.
_PLAIN = str.maketrans({**dict.fromkeys("\"'`", "\N{RIGHT SINGLE QUOTATION MARK}"), "\\": "/"})


def reason_of(verdicts: Iterable[Verdict]) -> str | None:
    """What would be recorded for one backend; ``None`` where nothing of its own blocks it."""
    block = next((block for v in verdicts if (block := v.own_block) is not None), None)
    if block is None:
        return None
    found = block.found.translate(_PLAIN).replace("$", "")
    return f"{RECORDED}{one_line(found, _REASON_CHARACTERS)}"


def with_reason(text: str, backend: Backend, reason: str | None) -> str:
    """The contract's file with another ``backends.BACKEND.unavailable``.

    Raises:
        UserError: it has no such place.
    """
    node = _composed(text)
    for key in ("backends", backend, "unavailable"):
        node = _child(node, key)
    if not isinstance(node, yaml.ScalarNode):
        raise UserError(f"{PARAMS}: backends.{backend}.unavailable: no such key; nothing recorded")
    before, after = text[: node.start_mark.index], text[node.end_mark.index :]
    old = text[node.start_mark.index : node.end_mark.index]
    gap = " " if before.endswith(":") else ""
    end = "\n" if old.endswith("\n") else ""
    return f"{before}{gap}{_dumped(backend, reason)}{end}{after}"


def _composed(text: str) -> yaml.Node | None:
    """Where in the text everything stands.

    PyYAML says where an empty value stands, the library that reads the contract where the next
    key does. What they read differently changes nothing here: the contract is read anew.
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
    # At its own depth, for long text is folded there.
    document = {"backends": {backend: {"unavailable": reason}}}
    text = yaml.safe_dump(document, default_flow_style=False, allow_unicode=True)
    return text.partition("unavailable:")[2].strip()


def override(backend: Backend, reason: str | None) -> str:
    """The same for a `dvc exp run`, as one of its arguments in a shell."""
    value = "null" if reason is None else f'"{reason}"'
    return f"-S {shlex.quote(f'backends.{backend}.unavailable={value}')}"
