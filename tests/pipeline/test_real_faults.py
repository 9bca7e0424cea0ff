"""The real servers, broken in their sweep: what it costs, and that nothing is left."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path
from typing import Any

import psutil
import pytest
from bench import inside
from contracts import WORKLOAD
from measuring import (
    Family,
    Measuring,
    assert_every_planned_pass_once,
)
from patience import PATIENCE_S, wait_for
from pipelines import Pipeline

from stages.compare.oracle import against_oracle
from stages.compare.passes import passes_of
from stages.compare.probes import isolation
from stages.contract import Contract, load_contract
from stages.documents.matrix import Matrix
from stages.documents.oracle import ORACLE_FILE, read_oracle
from stages.documents.probes import PROBES_FILE, read_probes

pytestmark = pytest.mark.servers

SWEEP = 10

# Two float32 attentions add in another order.
SAME = 1e-5


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


def packed(pipeline: Pipeline) -> Contract:
    """The portable view packs, and the oracle scores every item of every sweep pass by itself."""
    view = "backends.pytorch.portable"
    flags = {"disable-radix-cache": True, "chunked-prefill-size": -1, "disable-cuda-graph": True}
    pipeline.set_param(f"{view}.flags", {**flags, "mem-fraction-static": 0.3})
    pipeline.set_param(f"{view}.multi_item", {"delimiter_token_id": 9999})
    pipeline.set_param("oracle.samples_per_chunk", 10_000)
    for stage in ("delimiters", "oracle"):
        pipeline.run(sys.executable, "-m", f"stages.{stage}")
    with inside(pipeline.folder):
        return load_contract()


@pytest.mark.parametrize("title", ["pytorch-portable"], indirect=True)
def test_the_real_pytorch_server_packs_items_on_a_cpu(measuring: Measuring) -> None:
    contract = packed(measuring.pipeline)
    sweep = contract.passes.sweep
    process = measuring.start()
    said, _ = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 0, said
    matrix = measuring.matrix
    assert_every_planned_pass_once(matrix, [2, 4], sweep, contract.passes.confirm)
    assert failed_calls(matrix) == []

    scoring = matrix.provenance.workloads[WORKLOAD].scoring
    assert scoring is not None
    assert (scoring.mode, scoring.stand_in) == ("packed", True)
    passes = passes_of(matrix.calls)
    assert passes["scores"].list.explode().n_unique() > 16, "the scores of items and passes differ"
    labels = len(contract.workloads[WORKLOAD].label_token_ids)
    oracle = read_oracle(measuring.pipeline.folder / ORACLE_FILE)
    found = against_oracle(passes, oracle.frame, labels, contract.gate)
    # Chunk sizes 2 and 4, four items in a pass.
    assert (found.compared, found.missing) == (2 * sweep * 4, 0)
    assert found.max_abs_diff is not None
    assert found.max_abs_diff < SAME

    # Neighbours of other lengths, more of them and in another order: nothing changes.
    probes = read_probes(measuring.output / PROBES_FILE)
    targets = probes.provenance.targets[WORKLOAD]
    isolated = isolation(probes.frame, targets, 4, SAME)
    assert isolated.verdict == "isolated", isolated
