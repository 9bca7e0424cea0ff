"""A measurement of the real server, killed under dvc and gone on with by the same command."""

from __future__ import annotations

import subprocess
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from conftest import Pipeline  # type: ignore[import-not-found]

from stages.environment import cache_root
from stages.measure.journal import JOURNAL_FILE, PassFinished, decode_entries
from stages.schema import read_matrix

pytestmark = pytest.mark.servers

STAGE = "measure@jax-portable"
REPRO = ("dvc", "repro", "--single-item", "--force", "--no-run-cache", STAGE)


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    """A cache with the real environments and compiled programs, but no journal of others."""
    for name in ("environments", "bytecode", "compiled"):
        (cache_root() / name).mkdir(parents=True, exist_ok=True)
        (tmp_path / name).symlink_to(cache_root() / name)
    return tmp_path


@pytest.fixture
def ready(tree: Pipeline) -> Iterator[Pipeline]:
    """The repository with what a measurement reads; what it writes is undone afterwards."""
    tree.run("dvc", "repro", "workload", "checkpoint")
    yield tree
    tree.run("git", "checkout", "--quiet", ".")
    tree.run("dvc", "checkout", "--quiet", "--force", check=False)


def finished_passes(cache: Path) -> list[PassFinished]:
    found = list(cache.glob(f"journals/*/{JOURNAL_FILE}"))
    entries = decode_entries(found[0].read_bytes())[0] if found else []
    return [e for e in entries if isinstance(e, PassFinished)]


def harness_of(pipeline: Pipeline) -> psutil.Process:
    for process in psutil.process_iter(["cmdline"]):
        words = process.info["cmdline"] or []
        if words[1:3] == ["-m", "stages.measure"] and Path(process.cwd()) == pipeline.folder:
            return process
    raise AssertionError("no measurement runs")


def test_the_real_server_killed_in_its_sweep_is_gone_on_with(ready: Pipeline, cache: Path) -> None:
    environ = {**ready.environ, "SCOREPARITY_CACHE": str(cache)}
    with subprocess.Popen(
        REPRO, cwd=ready.folder, env=environ, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    ) as dvc:
        deadline = time.monotonic() + 300
        while not any(p.calls[0].phase == "sweep" for p in finished_passes(cache)):
            assert dvc.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.05)
        harness_of(ready).kill()
        dvc.communicate(timeout=60)
    assert dvc.returncode != 0
    deadline = time.monotonic() + 30
    while left := ready.processes():
        assert time.monotonic() < deadline, f"left behind: {left}"
        time.sleep(0.2)
    kept = finished_passes(cache)
    done = subprocess.run(REPRO, cwd=ready.folder, env=environ, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"going on after {len(kept)} passes" in done.stdout
    matrix = read_matrix(ready.folder / "data/measure/jax-portable/matrix.parquet")
    calls = list(matrix.calls.iter_rows(named=True))
    assert {c["status"] for c in calls} == {"ok"}
    found = Counter((c["phase"], c["chunk_size"], c["run"]) for c in calls)
    wanted = {
        (phase, chunk, run) for phase in ("sweep", "confirm") for chunk in (2, 4) for run in (0, 1)
    }
    assert {key: n for key, n in found.items() if key[0] != "warmup"} == {
        (phase, chunk, run): 4 // chunk for phase, chunk, run in wanted
    }
    before = [call for p in kept for call in p.calls]
    assert [c["start_ns"] for c in calls][: len(before)] == [c.start_ns for c in before]
    starts = [c["start_ns"] for c in calls]
    assert starts == sorted(starts)
    assert (matrix.provenance.sessions, matrix.provenance.interruptions) == (2, 1)
    log = (ready.folder / "data/measure/jax-portable/server.log").read_text()
    assert log.count("Uvicorn running on") == 2, "the log tells of both sessions"
    assert finished_passes(cache) == []
