"""Reads YAML as dvc does: version 1.2, with the same library.

Dvc decides by ``params.yaml`` which stages run again, so both must read the same values. A number
that YAML 1.1 and 1.2 read differently is refused.
"""

from __future__ import annotations

import re
import warnings

from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError
from ruamel.yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

from stages.common.errors import ContractError, UserError, one_line

# 1.1 reads it as octal, 1.2 as decimal.
_LEADING_ZERO = re.compile(r"[-+]?0[0-9_]+")
_INT = "tag:yaml.org,2002:int"
_MERGE = "tag:yaml.org,2002:merge"


def read_yaml(text: str, name: str) -> object:
    """The values of a YAML document, as dictionaries, lists and plain values.

    Args:
        text: the document.
        name: its name in messages.

    Raises:
        UserError: it is not YAML, or a key is given twice.
        ContractError: a number that YAML 1.1 and YAML 1.2 read differently.
    """
    try:
        with warnings.catch_warnings():
            # An anchor that is given twice does not change any value.
            warnings.simplefilter("ignore")
            _refuse_ambiguous(_parser().compose(text), name)
            return _parser().load(text)
    except RecursionError as error:
        raise UserError(f"{name}: not readable as YAML: nested too deeply") from error
    except (YAMLError, ValueError) as error:  # ValueError: an impossible date, too many digits
        raise UserError(f"{name}: not readable as YAML: {one_line(str(error))}") from error


def _parser() -> YAML:
    return YAML(typ="safe", pure=True)


def _refuse_ambiguous(root: Node | None, name: str) -> None:
    pending: list[tuple[str, Node]] = [] if root is None else [("", root)]
    seen: set[int] = set()
    while pending:
        key, node = pending.pop()
        # An alias is the same node again, and a node may contain itself.
        if id(node) in seen:
            continue
        seen.add(id(node))
        if isinstance(node, MappingNode):
            _refuse_twice(node, name)
            pending += [(_below(key, one), value) for one, value in node.value]
        elif isinstance(node, SequenceNode):
            pending += [(f"{key}[{i}]", value) for i, value in enumerate(node.value)]
        elif _is_ambiguous(node):
            allowed = (
                "a number without a leading zero, which YAML 1.1 and YAML 1.2 read differently"
            )
            raise ContractError(key or "the file", node.value, allowed)


def _below(key: str, name: Node) -> str:
    part = str(name.value) if isinstance(name, ScalarNode) else "?"
    return f"{key}.{part}" if key else part


def _is_ambiguous(node: Node) -> bool:
    return (
        isinstance(node, ScalarNode)
        and node.tag == _INT
        and _LEADING_ZERO.fullmatch(node.value) is not None
    )


def _refuse_twice(node: MappingNode, name: str) -> None:
    """Refuse a key that is given twice. YAML readers would silently keep the last value."""
    seen: set[str] = set()
    for key, _ in node.value:
        if isinstance(key, ScalarNode) and key.tag != _MERGE:
            if key.value in seen:
                line = key.start_mark.line + 1
                why = f"found the key {key.value!r} twice, line {line}"
                raise UserError(f"{name}: not readable as YAML: {one_line(why)}")
            seen.add(key.value)
