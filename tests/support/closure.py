"""Which modules a stage imports, directly and through others, read from their source."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterable
from pathlib import Path

from contracts import ROOT

ROOMS = ("stages", "tools", "backends")

REGISTRY = Path("stages/backends/registry.py")
# It loads each of them, so who uses it runs them all.
DECLARATIONS = sorted(path.relative_to(ROOT) for path in ROOT.glob("backends/*/backend.py"))


def _file_of(module: str) -> Path | None:
    path = ROOT / module.replace(".", "/")
    for found in (path.with_suffix(".py"), path / "__init__.py"):
        if found.is_file():
            return found.relative_to(ROOT)
    return None


def imported(tree: ast.AST) -> Iterable[str]:
    """The names of every module that a file imports, and of what it starts as a process."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            # What is started as a process of its own: `-m stages.measure.servers.guard`.
            yield from re.findall(r"\A(?:stages|tools)(?:\.\w+)+\Z", node.value)


def _started(source: str, file: Path) -> Iterable[Path]:
    """Scripts that a module starts and that lie beside it."""
    for name in re.findall(r'__file__\)\.with_name\("(\w+\.py)"\)', source):
        yield file.with_name(name)


def closure(module: str) -> set[Path]:
    """Every file of this project's code that ``python -m module`` runs, packages' own included."""
    start = _file_of(f"{module}.__main__") or _file_of(module)
    assert start is not None, module
    found: set[Path] = set()
    waiting = [start]
    while waiting:
        file = waiting.pop()
        if file in found:
            continue
        found.add(file)
        source = (ROOT / file).read_text("utf-8")
        names = [n for n in imported(ast.parse(source)) if n.partition(".")[0] in ROOMS]
        for name in names:
            parts = name.split(".")
            packages = (_file_of(".".join(parts[: end + 1])) for end in range(len(parts)))
            waiting += [one for one in packages if one is not None]
        waiting += _started(source, file)
        if file == REGISTRY:
            waiting += DECLARATIONS
    # A package's `__init__.py` that holds nothing but its docstring decides nothing.
    return {file for file in found if file.name != "__init__.py" or _does_something(file)}


def _does_something(file: Path) -> bool:
    return len(ast.parse((ROOT / file).read_text("utf-8")).body) > 1
