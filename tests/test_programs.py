"""What is missing is skipped by name, and never in CI."""

from __future__ import annotations

from pathlib import Path

import pytest
from programs import find_program


@pytest.mark.parametrize(
    ("ci", "outcome"), [("", pytest.skip.Exception), ("1", pytest.fail.Exception)]
)
@pytest.mark.parametrize(
    ("names", "package", "missing"),
    [
        (("chromium", "google-chrome"), "", "chromium not found: apt-get install chromium"),
        (("kubectl",), "kubernetes-client", "kubectl not found: apt-get install kubernetes-client"),
    ],
)
def test_without_a_program_the_tests_say_so_and_fail_only_in_ci(
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    ci: str,
    outcome: type[BaseException],
    names: tuple[str, ...],
    package: str,
    missing: str,
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("CI", ci)

    with pytest.raises(outcome, match=f"^{missing}$"):
        find_program(*names, package=package)


def test_the_first_name_there_is_counts(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "second").write_text("#!/bin/sh\n")
    (tmp_path / "second").chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))

    assert find_program("first", "second") == str(tmp_path / "second")
