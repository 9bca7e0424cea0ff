"""The real server's measurement, killed at three moments and gone on with by the same command.

At these a real server differs from the scoring server of ``tests/measure/record/test_resume.py``,
whose measurement is killed at ten: it starts for long, with many processes, and it computes.
"""

from __future__ import annotations

import random
import shutil
import signal
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest
from contracts import WORKLOAD
from measuring import (
    Family,
    Measuring,
    assert_every_planned_pass_once,
)
from patience import wait_for

from stages.documents.cell import PassKey
from stages.documents.matrix import CallRecord
from stages.documents.probes import read_probes

pytestmark = pytest.mark.servers

RUNS = 6
REPRO = ("dvc", "repro", "--single-item", "--force", "--no-run-cache", "measure@jax-portable")


def server_is_started(root: psutil.Process) -> bool:
    """Whether both guards and the server's first process are there."""
    return len(root.children(recursive=True)) >= 3


def test_killed_at_three_moments_every_pass_of_the_real_server_is_measured_once(
    measuring: Measuring, tmp_path: Path
) -> None:
    measuring.pipeline.set_param("passes.sweep", RUNS)
    measuring.pipeline.set_param("passes.confirm", RUNS)
    moments = random.Random(20260211)
    # What to wait for in each round, and how many seconds at most pass until the kill.
    points: list[tuple[Callable[[psutil.Process], object], float]] = [
        (server_is_started, 8.0),
        (lambda _: measuring.count("sweep") >= 2, 0.1),
        # In the probes, which are held.
        (lambda _: measuring.count("confirm") >= 2 * RUNS, 0.5),
    ]
    measured: dict[PassKey, list[CallRecord]] = {}
    (tmp_path / "hold-probes").touch()
    for reached, at_most in points:
        process = measuring.start_held(tmp_path)
        root = psutil.Process(process.pid)
        wait_for(
            lambda: process.poll() is not None or reached(root),  # noqa: B023
            "not reached",
            every_s=min(at_most / 4, 0.05),
        )
        time.sleep(moments.uniform(0, at_most))
        # Stopped first, so that whom the kill leaves behind can be told exactly.
        process.send_signal(signal.SIGSTOP)
        assert process.poll() is None, "it ended before it was killed"
        family = Family.of(root)
        process.kill()
        process.communicate()
        for finished in measuring.passes():
            first = finished.calls[0]
            name = PassKey.of(first)
            assert measured.setdefault(name, finished.calls) == finished.calls, "measured again"
        measuring.assert_nothing_is_left(family)
        # DVC deletes the outputs before it runs a stage again.
        shutil.rmtree(measuring.output, ignore_errors=True)
    assert {"warmup", "sweep", "confirm"} == {key.phase for key in measured}
    before = measuring.passes()
    done = measuring.start(*REPRO)
    said, _ = done.communicate()
    assert done.returncode == 0, said
    matrix = measuring.matrix
    assert set(matrix.calls["status"]) == {"ok"}
    assert matrix.provenance.workloads[WORKLOAD].confirm_chunk_sizes == [2, 4]
    assert_every_planned_pass_once(matrix, [2, 4], RUNS, RUNS)
    assert f"going on after {len(before)} passes" in said
    kept: dict[PassKey, list[CallRecord]] = {}
    for record in (CallRecord(**row) for row in matrix.calls.iter_rows(named=True)):
        kept.setdefault(PassKey.of(record), []).append(record)
    assert {name: kept[name] for name in measured} == measured
    # The process that was killed while its server started may have finished no pass.
    assert matrix.provenance.run.interruptions >= 2
    probes = read_probes(measuring.output / "probes.parquet")
    assert probes.provenance.matrix_sha256 == matrix.provenance.table_sha256
    assert set(probes.frame["status"]) == {"ok"}
    measuring.assert_no_journal()
    measuring.assert_nothing_is_left(Family([]))
