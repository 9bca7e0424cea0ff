"""The page on faults promises nothing that no test checks."""

from __future__ import annotations

import re
import subprocess
import sys

import pytest
from contracts import ROOT

PAGE = (ROOT / "docs" / "faults.md").read_text()


def rows() -> list[tuple[str, list[str]]]:
    """Every row's fault and the tests it names, in full."""
    found = []
    base = ""
    for line in PAGE.splitlines():
        if line.startswith("#"):
            base = ""
        elif not line.startswith("|") and (match := re.search(r"`(tests/\S+::\w+)`", line)):
            base = match[1]
        elif line.startswith("| ") and not line.startswith("| fault |"):
            fault, *_, tests = (cell.strip() for cell in line.strip("|").split(" | "))
            names = re.findall(r"`([^`]+)`", tests)
            found.append((fault, [base + n if n.startswith("[") else n for n in names]))
    return found


@pytest.fixture(scope="module")
def collected() -> set[str]:
    """Every test there is, with and without its case."""
    folders = sorted({name.partition("::")[0] for _, names in rows() for name in names})
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "--collect-only", "--quiet", *folders],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    full = {line for line in done.stdout.splitlines() if "::" in line}
    return full | {line.partition("[")[0] for line in full}


def test_every_row_names_a_test_that_exists(collected: set[str]) -> None:
    for fault, names in rows():
        assert names, f"{fault!r} is not tested"
        for name in names:
            assert name in collected, f"{fault!r} names {name}, which does not exist"


def test_no_row_is_without_what_the_user_sees_and_what_is_kept() -> None:
    table = [line for line in PAGE.splitlines() if line.startswith("| ")]
    assert len(table) > 80
    for line in table:
        cells = [cell.strip() for cell in line.strip("|").split(" | ")]
        assert len(cells) == 4, line
        assert all(cells), line


def test_every_kind_of_failure_of_one_call_stands_in_the_page() -> None:
    from test_one_call import CASES

    told = {name for _, names in rows() for name in names}
    kinds = {case.kind for case in CASES.values()}
    prefix = "tests/faults/test_one_call.py::test_a_fault_ends_in_its_kind_in_one_line"
    shown = {n.partition("[")[2].rstrip("]") for n in told if n.startswith(prefix)}
    assert {CASES[name].kind for name in shown} == kinds
