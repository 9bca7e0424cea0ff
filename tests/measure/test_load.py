"""Other work on the machine is told from the measurement's own."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator

import psutil
import pytest

from stages.measure.load import ForeignLoad, LoadAccount, LoadLog

BUSY = "while True: pass"
SECONDS = 2.0


@pytest.fixture
def stranger() -> Iterator[psutil.Process]:
    """A busy process that is no descendant of this one."""
    script = (
        "import subprocess as s, sys;"
        # The orphan must hold none of our pipes open, or waiting for their end never ends.
        f" print(s.Popen([sys.executable, '-c', {BUSY!r}], stdout=s.DEVNULL, stderr=s.DEVNULL).pid)"
    )
    # Its parent ends at once, and the orphan is adopted by somebody above this process.
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    process = psutil.Process(int(done.stdout))
    try:
        assert process not in psutil.Process().children(recursive=True)
        yield process
    finally:
        process.kill()


def share_over(seconds: float) -> float:
    load = ForeignLoad()
    time.sleep(seconds)
    share = load.account().share
    assert share is not None
    return share


def test_a_strangers_work_counts_and_a_childs_does_not(stranger: psutil.Process) -> None:
    # Compared within one run, so that whatever else is busy here is in both.
    one_core = 1 / (os.cpu_count() or 1)
    with_stranger = share_over(SECONDS)
    stranger.suspend()
    with subprocess.Popen([sys.executable, "-c", BUSY]) as child:
        try:
            time.sleep(0.2)
            with_child = share_over(SECONDS)
        finally:
            child.kill()
    assert with_stranger - with_child > 0.4 * one_core


def test_a_share_is_a_share() -> None:
    assert 0 <= share_over(0.05) <= 1


def test_accounts_of_several_sessions_weigh_by_their_length() -> None:
    # 1 of 10 CPU seconds, then 8 of 20.
    both = LoadAccount(foreign_s=1, all_s=10) + LoadAccount(foreign_s=8, all_s=20)
    assert both.share == 0.3


def test_without_a_timed_pass_there_is_no_share() -> None:
    log = LoadLog()
    assert log.total.share is None
    log.new_server()
    assert log.total.share is None


def test_time_after_the_last_timed_pass_of_a_session_is_in_no_account() -> None:
    log = LoadLog()
    log.new_server()
    time.sleep(0.05)
    log.sample()
    first = log.total
    time.sleep(0.2)
    log.new_server()
    assert log.total == first
