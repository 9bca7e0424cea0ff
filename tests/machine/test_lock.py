"""One measurement at a time on one machine."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import textwrap
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from contracts import ROOT
from patience import PATIENCE_S

from stages.common.errors import UserError
from stages.machine.lock import LOCK_NAME, machine_lock, who_measures

HOLDER = """
    import time
    from stages.machine.lock import machine_lock
    with machine_lock("measure@jax-portable"):
        print("held", flush=True)
        time.sleep(6000)
"""


@pytest.fixture(autouse=True)
def own_lock(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr("tempfile.tempdir", None)
    return tmp_path / LOCK_NAME


@pytest.fixture
def holder(own_lock: Path) -> Iterator[subprocess.Popen[str]]:
    """A process that holds the lock."""
    process = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(HOLDER)],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    yield process
    process.kill()
    process.wait()
    process.stdout.close()


def test_a_second_measurement_is_refused_with_the_holder_of_the_lock(holder) -> None:
    for _ in range(2):
        with pytest.raises(UserError) as caught, machine_lock("measure@pytorch-portable"):
            pytest.fail("two measurements at once")
        message = str(caught.value)
        assert re.fullmatch(
            r"another measurement is running on this machine: measure@jax-portable in"
            rf" {re.escape(str(ROOT))}, process {holder.pid}, since 20\S+; stop it, or wait for it"
            r" with --wait \(under dvc: SCOREPARITY_WAIT=1\)",
            message,
        )


def test_a_waiting_measurement_names_the_holder_once_and_starts_when_it_ends(holder) -> None:
    told: list[str] = []

    def waiting(sentence: str) -> None:
        told.append(sentence)
        # Long enough to be asked again, should the same be said at every look.
        threading.Timer(2, holder.kill).start()

    with machine_lock("measure@pytorch-portable", waiting):
        assert holder.wait(PATIENCE_S) == -signal.SIGKILL
    (sentence,) = told
    assert re.fullmatch(
        r"waiting for another measurement on this machine: measure@jax-portable in"
        rf" {re.escape(str(ROOT))}, process {holder.pid}, since 20\S+",
        sentence,
    )


def test_waiting_for_a_free_lock_prints_nothing(own_lock: Path) -> None:
    with machine_lock("one", lambda sentence: pytest.fail(sentence)):
        pass


def test_the_lock_goes_with_its_holder_however_that_ends(holder) -> None:
    holder.kill()
    holder.wait()
    with machine_lock("measure@pytorch-portable"):
        pass


def test_the_lock_is_free_after_a_measurement_that_failed(own_lock: Path) -> None:
    with pytest.raises(RuntimeError), machine_lock("one"):
        raise RuntimeError
    with machine_lock("another"):
        pass


def test_every_user_may_take_it_and_read_who_holds_it(own_lock: Path) -> None:
    before = os.umask(0o077)
    try:
        with machine_lock("measure@jax-portable"):
            pass
    finally:
        os.umask(before)
    assert own_lock.stat().st_mode & 0o777 == 0o666


def test_a_lock_file_with_other_content_is_still_a_lock(holder, own_lock: Path) -> None:
    own_lock.write_text("no holder")
    with pytest.raises(UserError, match="another measurement is running"), machine_lock("x"):
        pytest.fail("two measurements at once")


def test_a_lock_that_is_no_file_is_one_clear_error(own_lock: Path) -> None:
    own_lock.symlink_to("elsewhere")
    with pytest.raises(UserError, match="needed to measure alone"), machine_lock("x"):
        pytest.fail("locked nothing")


def test_asking_who_measures_names_the_holder_and_takes_no_lock(holder) -> None:
    for _ in range(2):
        said = who_measures()
        assert said is not None
        assert said.startswith(f"measure@jax-portable in {ROOT}, process {holder.pid}, since 20")
    holder.kill()
    holder.wait()
    assert who_measures() is None, "its name still stands in the file"
    with machine_lock("measure@pytorch-portable"):
        pass


def test_nobody_measures_where_there_is_no_lock_and_asking_makes_none(own_lock: Path) -> None:
    assert who_measures() is None
    assert not own_lock.exists()


def test_asking_who_measures_fails_where_the_lock_is_no_file(own_lock: Path) -> None:
    own_lock.symlink_to("elsewhere")
    with pytest.raises(UserError, match="needed to measure alone"):
        who_measures()
