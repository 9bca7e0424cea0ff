"""A git that never answers is stopped, and every command says so in one line."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest
from patience import wait_for
from programs import hang_git

from stages.common.errors import UserError
from stages.common.git import HangingError, code_version, run_git
from stages.environments.checkout import Checkout, find_source
from tools.combine.merging import find_revision
from tools.combine.repository import git as combine_git
from tools.diff.command import read_comparison


def has_ended(process: int) -> bool:
    try:
        return psutil.Process(process).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


@pytest.fixture
def hanging(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder, while the first git on the PATH hangs."""
    hang_git(tmp_path, monkeypatch)
    monkeypatch.setenv("A_CHECKOUT", str(tmp_path))
    return tmp_path


ASKED: dict[str, Callable[[], object]] = {
    "combine, which revision": lambda: find_revision("HEAD"),
    "combine, a step of the merge": lambda: combine_git("add", "--", "dvc.lock"),
    "diff": lambda: read_comparison("HEAD"),
    "environments": lambda: find_source(
        Checkout("a", "A_CHECKOUT", "a key", "b", Path("c")), "1234"
    ),
}


@pytest.mark.parametrize("asked", ASKED.values(), ids=ASKED)
def test_the_command_ends_in_one_line_that_says_what_hung(
    hanging: Path, asked: Callable[[], object]
) -> None:
    with pytest.raises(UserError) as caught:
        asked()
    told = str(caught.value)
    assert re.match(r"git: `git [a-z-]+` did not end within 5 s and was stopped; ", told)
    assert "see what it waits for" in told
    assert "\n" not in told


def test_what_git_started_is_ended_with_it(hanging: Path) -> None:
    with pytest.raises(HangingError):
        run_git("fetch", works=True)
    helper = int((hanging / "helper").read_text())
    # The signal is sent; the kernel ends the process when it next runs, and init reaps it.
    wait_for(lambda: has_ended(helper), "what git had started still runs")


def test_a_measurement_goes_on_and_says_that_it_names_no_commit(hanging: Path) -> None:
    found = code_version()
    assert (found.commit, found.changed) == (None, None)
    assert found.notice.startswith("no commit is recorded: git: `git rev-parse` did not end")
