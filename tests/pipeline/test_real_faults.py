"""The real servers, broken in their sweep: what it costs, and that nothing is left."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import Any

import psutil
import pytest
from measuring import (
    Family,
    Measuring,
    assert_every_planned_pass_once,
)
from patience import PATIENCE_S, wait_for

from stages.documents.matrix import Matrix

pytestmark = pytest.mark.servers

SWEEP = 10


def failed_calls(matrix: Matrix) -> list[dict[str, Any]]:
    """In measuring order."""
    return [c for c in matrix.calls.iter_rows(named=True) if c["status"] != "ok"]


def started(measuring: Measuring, files: Path, restarts: int):
    """A measurement that has passes enough to be broken in several times, held in each sweep."""
    for key, value in (
        ("passes.sweep", SWEEP),
        ("passes.confirm", 1),
        ("limits.call_timeout_s", PATIENCE_S),
        ("limits.start_timeout_s", PATIENCE_S),
        ("limits.restarts", restarts),
        # Whichever chunk size is hit, it is not given up.
        ("limits.deaths_per_chunk_size", 10),
    ):
        measuring.pipeline.set_param(key, value)
    for session in range(restarts):
        (files / f"hold-{session}").touch()
    return measuring.start_held(files)


def family_in_sweep(measuring: Measuring, root: psutil.Process, session: int) -> Family:
    """Everybody there once this session's server has answered a sweep pass."""
    wait_for(
        lambda: not root.is_running() or measuring.count("sweep", session),
        f"no sweep pass in session {session}",
    )
    return Family.of(root)


def go_on(files: Path, session: int) -> None:
    """Let the measurement meet the server that was broken in this session."""
    (files / f"broken-{session}").touch()
    (files / f"hold-{session}").unlink()


def test_the_real_jax_server_killed_crippled_and_stopped_costs_few_passes(
    measuring: Measuring, tmp_path: Path
) -> None:
    process = started(measuring, tmp_path, restarts=3)
    root = psutil.Process(process.pid)
    killed = family_in_sweep(measuring, root, 0)
    killed.server[0].kill()
    go_on(tmp_path, 0)
    crippled = family_in_sweep(measuring, root, 1)
    crippled.named("sglang::scheduler").kill()
    go_on(tmp_path, 1)
    stopped = family_in_sweep(measuring, root, 2)
    os.killpg(os.getpgid(stopped.server[0].pid), signal.SIGSTOP)
    go_on(tmp_path, 2)
    said, _ = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 0, said
    matrix = measuring.matrix
    assert_every_planned_pass_once(matrix, [2, 4], SWEEP, 1)
    failed = failed_calls(matrix)
    assert [(c["session"], c["status"], c["detail"]) for c in failed] == [
        (0, "server_died", "server killed by signal 9"),
        (1, "server_died", "server lost its process sglang::scheduler: no whole answer in 8 s"),
        (2, "timeout", "no whole answer in 8 s"),
        (2, "timeout", "no whole answer in 8 s"),
        (2, "timeout", "no whole answer in 8 s"),
    ]
    assert {c["phase"] for c in failed} == {"sweep"}
    assert said.count("the server is gone; restart") == 3
    assert said.count("the server hangs: /health does not answer either") == 1
    assert (matrix.provenance.run.restarts, matrix.provenance.run.sessions) == (3, 4)
    assert matrix.provenance.run.interruptions == 0
    for family in (killed, crippled, stopped):
        measuring.assert_nothing_is_left(family)
    measuring.assert_no_journal()


@pytest.mark.parametrize("title", ["pytorch-portable"], indirect=True)
def test_the_real_pytorch_server_ends_itself_without_its_scheduler(
    measuring: Measuring, tmp_path: Path
) -> None:
    process = started(measuring, tmp_path, restarts=1)
    root = psutil.Process(process.pid)
    family = family_in_sweep(measuring, root, 0)
    family.named("sglang::scheduler").kill()
    # It ends by itself, however long it takes, and no call is given up before.
    (tmp_path / "hold-0").unlink()
    said, _ = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 0, said
    matrix = measuring.matrix
    assert_every_planned_pass_once(matrix, [2, 4], SWEEP, 1)
    failed = failed_calls(matrix)
    assert [(c["phase"], c["session"], c["status"], c["detail"]) for c in failed] == [
        ("sweep", 0, "server_died", "server killed by signal 9")
    ]
    assert (matrix.provenance.run.restarts, matrix.provenance.run.sessions) == (1, 2)
    measuring.assert_nothing_is_left(family)
    measuring.assert_no_journal()
