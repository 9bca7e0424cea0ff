"""The output of a running measurement: a bar on a terminal, whole lines elsewhere."""

from __future__ import annotations

import os
import pty
import subprocess
import sys
from pathlib import Path

import pytest
from contracts import ROOT

PATH = "/tmp/a/folder/whose/name/is/long" + "/and/longer" * 12 + "/server.log"

SAYS = f"""
from stages.measure.progress import PassProgress
from stages.documents.cell import PassKey
with PassProgress("jax-portable", 2) as progress:
    progress.say("starting the server; its log is {PATH}")
    progress.notify("timeout: no whole answer; its log is {PATH}", PassKey("w", "sweep", 4, 0))
    progress.notify("", PassKey("w", "sweep", 4, 1))
"""
SHELLS = {
    "as it is": {},
    "narrow": {"COLUMNS": "20", "LINES": "2"},
    "asked for colours": {"FORCE_COLOR": "1", "TTY_COMPATIBLE": "1", "CLICOLOR_FORCE": "1"},
    "a terminal of no kind": {"TERM": "dumb"},
}


def environment(shell: dict[str, str]) -> dict[str, str]:
    unset = {"COLUMNS", "LINES", "FORCE_COLOR", "NO_COLOR", "TERM", "TTY_COMPATIBLE"}
    return {n: v for n, v in os.environ.items() if n not in unset} | {"TERM": "xterm"} | shell


@pytest.mark.parametrize("shell", SHELLS.values(), ids=SHELLS)
def test_in_a_file_a_line_stays_a_line(shell: dict[str, str], tmp_path: Path) -> None:
    with (tmp_path / "log").open("wb") as log:
        command = [sys.executable, "-c", SAYS]
        subprocess.run(command, cwd=ROOT, env=environment(shell), stdout=log, check=True)
    assert (tmp_path / "log").read_text().splitlines() == [
        f"jax-portable: starting the server; its log is {PATH}",
        f"jax-portable: timeout: no whole answer; its log is {PATH} (w, chunk 4, sweep 0)",
        "jax-portable: sweep, 2 of about 2 passes, about 0 s left",
    ]


def shown_on_a_terminal(shell: dict[str, str]) -> str:
    """What a real terminal gets."""
    ours, theirs = pty.openpty()
    with subprocess.Popen(
        [sys.executable, "-c", SAYS], cwd=ROOT, env=environment(shell), stdout=theirs
    ) as process:
        os.close(theirs)
        shown = b""
        try:
            while piece := os.read(ours, 65536):
                shown += piece
        except OSError:
            pass  # the other end is closed
    os.close(ours)
    assert process.returncode == 0
    return shown.decode()


def test_on_a_terminal_a_path_is_not_cut_either_and_there_is_a_bar() -> None:
    shown = shown_on_a_terminal({})
    assert shown.count(PATH) == 2
    assert "2/2" in shown


def test_a_terminal_that_cannot_move_gets_the_lines() -> None:
    shown = shown_on_a_terminal({"TERM": "dumb"})
    assert "2 of about 2 passes" in shown
    assert "\x1b" not in shown
