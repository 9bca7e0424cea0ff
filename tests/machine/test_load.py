"""Other work on the machine is separated from the measurement's own."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator

import psutil
import pytest
from patience import wait_for

from stages.machine.other_work import ForeignLoad, LoadAccount, LoadLog, _busy_seconds

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


def cpu_seconds(process: psutil.Process) -> float:
    times = process.cpu_times()
    return times.user + times.system


def works(process: psutil.Process) -> float:
    """Wait until a busy process has worked a while, however seldom it gets a turn; how long."""
    before = cpu_seconds(process)
    wait_for(lambda: cpu_seconds(process) >= before + SECONDS)
    return cpu_seconds(process) - before


def test_a_strangers_work_counts(stranger: psutil.Process) -> None:
    load = ForeignLoad()
    worked = works(stranger)
    # Whoever else is busy here is a stranger too and can only add to it. The machine's clock
    # counts ticks and a process's does not.
    assert load.account().foreign_s > worked / 2


def test_a_childs_work_does_not_count() -> None:
    with subprocess.Popen([sys.executable, "-c", BUSY]) as child:
        try:
            before = _busy_seconds()
            load = ForeignLoad()
            worked = works(psutil.Process(child.pid))
            foreign = load.account().foreign_s
            everybody = _busy_seconds() - before
        finally:
            child.kill()
    # All that was done here meanwhile, by whomever, but for the child.
    assert foreign < everybody - worked / 2


def test_a_share_is_a_share() -> None:
    load = ForeignLoad()
    time.sleep(0.05)
    share = load.account().share
    assert share is not None
    assert 0 <= share <= 1


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
