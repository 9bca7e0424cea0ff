"""Every stage in `dvc.yaml` depends on exactly the code that it imports."""

from __future__ import annotations

import ast
from pathlib import Path
from typing import Any

import pytest
from closure import DECLARATIONS, closure, imported
from contracts import ROOT, pipeline

STAGES: dict[str, Any] = pipeline()["stages"]


def covered(deps: list[str]) -> set[Path]:
    """The Python files under ``stages/`` and the declarations that a list of deps names.

    What else lies in a backend's folder runs in the backend's own environment.
    """
    files = {file for dep in deps if dep.startswith("stages/") for file in _files(Path(dep))}
    files |= {one for one in DECLARATIONS if {str(one), str(one.parent)} & set(deps)}
    return {file for file in files if file.name != "__init__.py" or file in deps}


def _files(path: Path) -> set[Path]:
    if path.suffix:
        return {path}
    return {file.relative_to(ROOT) for file in (ROOT / path).rglob("*.py")}


@pytest.mark.parametrize("stage", STAGES)
def test_a_stage_depends_on_exactly_the_code_it_imports(stage: str) -> None:
    command = STAGES[stage]["cmd"].split()
    assert command[:2] == ["python", "-m"]
    wanted = {file for file in closure(command[2]) if file.name != "__init__.py"}
    assert covered(STAGES[stage]["deps"]) == wanted


@pytest.mark.parametrize("stage", STAGES)
def test_no_stage_reads_what_only_the_dry_run_needs(stage: str) -> None:
    found = closure(STAGES[stage]["cmd"].split()[2])
    assert not [file for file in found if file.is_relative_to("tools")]


ENTRIES = {"__main__", "conftest"}


@pytest.mark.parametrize("folder", ["stages", "tools", "benchmarks", "backends", "tests"])
def test_nothing_is_imported_from_what_is_only_an_entry(folder: str) -> None:
    """A command's ``__main__`` is run, and pytest loads a ``conftest``: neither is a library."""
    files = list((ROOT / folder).rglob("*.py"))
    assert files
    assert [
        f"{file.relative_to(ROOT)}: {name}"
        for file in files
        for name in imported(ast.parse(file.read_text("utf-8")))
        if ENTRIES & set(name.split("."))
    ] == []
