"""A measurement that is stopped, at any moment and by any means, goes on where it stopped."""

from __future__ import annotations

import contextlib
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import pytest
from bench import bench_contract, hold, make_bench
from contracts import WORKLOAD
from journals import finished_passes
from measuring import assert_every_planned_pass_once
from patience import PATIENCE_S, wait_for

from stages.contract import load_contract
from stages.documents.cell import PassKey
from stages.documents.matrix import CallRecord, Matrix, read_matrix
from stages.documents.probes import read_probes
from stages.environments.build import cache_root
from stages.measure.record.journal import JOURNAL_FILE, PassFinished
from stages.measure.session import _SETTLE_S

OUTPUT = Path("data/measure/jax-portable")
HOLDS = "measure@jax-portable in "


@dataclass
class Harness:
    """A bench with a lock and a journal of its own, and the command that measures in it."""

    folder: Path
    temporary: Path
    cache: Path
    held: Path

    def hold(self, *keys: tuple[Any, int, int], after: int = 0) -> None:
        """Let a measurement get as far as these passes, and no further until it is released."""
        hold(self.held, load_contract(self.folder / "params.yaml"), *keys, after=after)

    def release(self) -> None:
        """Let it go on."""
        self.held.unlink()

    def start(
        self, *arguments: str, command: tuple[str, ...] = ("-m", "stages.measure")
    ) -> subprocess.Popen[str]:
        environ = {
            **os.environ,
            "TMPDIR": str(self.temporary),
            "SCOREPARITY_CACHE": str(self.cache),
        }
        return subprocess.Popen(
            [sys.executable, *command, "jax", "portable", *arguments],
            cwd=self.folder,
            env=environ,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def run(self, *arguments: str) -> tuple[int, str]:
        """Exit code and output of a run to its end."""
        process = self.start(*arguments)
        output, errors = process.communicate(timeout=PATIENCE_S)
        return process.returncode, output + errors

    def passes(self) -> list[PassFinished]:
        """The finished passes in the journal now."""
        return finished_passes(self.cache)

    def server_was_started(self) -> bool:
        return any(self.cache.glob("journals/*/server.log"))

    def matrix(self) -> Matrix:
        return read_matrix(self.folder / OUTPUT / "matrix.parquet")

    def processes(self) -> list[str]:
        """Command lines of the processes that work in the bench."""
        found = []
        for process in psutil.process_iter():
            try:
                if Path(process.cwd()) == self.folder:
                    found.append(" ".join(process.cmdline()))
            except (psutil.Error, OSError):
                continue
        return found


@pytest.fixture
def harness(tmp_path: Path) -> Callable[..., Harness]:
    """Makes a harness whose scoring server gets these arguments."""

    def make(*arguments: str, **changes: Any) -> Harness:
        held = tmp_path / "held"
        made = Harness(tmp_path / "bench", tmp_path / "tmp", tmp_path / "cache", held)
        made.temporary.mkdir()
        made.cache.mkdir()
        (made.cache / "environments").symlink_to(cache_root() / "environments")
        arguments = ("--hold", str(held), *arguments)
        make_bench(made.folder, bench_contract(*arguments, **changes))
        return made

    return make


PROBES = ("probe", 0, 0)
CONFIRM = [("confirm", chunk, run) for chunk in (1, 2, 4) for run in range(2)]


def new_passes(harness: Harness, phase: str, count: int) -> Callable[[], bool]:
    """Whether so many more passes of a phase are in the journal than now."""

    def finished() -> int:
        return sum(p.calls[0].phase == phase for p in harness.passes())

    before = finished()
    return lambda: finished() >= before + count


def rows(matrix: Matrix) -> list[CallRecord]:
    return [CallRecord(**row) for row in matrix.calls.iter_rows(named=True)]


def assert_whole(matrix: Matrix) -> None:
    """Every planned pass once with all its calls, in one rising order."""
    made = rows(matrix)
    assert {r.status for r in made} == {"ok"}
    confirmed = matrix.provenance.workloads[WORKLOAD].confirm_chunk_sizes
    wanted = {("sweep", c, r): 4 // c for c in (1, 2, 4) for r in range(3)}
    wanted |= {("confirm", c, r): 4 // c for c in confirmed for r in range(2)}
    found = Counter((r.phase, r.chunk_size, r.run) for r in made)
    assert {key: n for key, n in found.items() if key[0] != "warmup"} == wanted
    assert all(n == 4 // key[1] for key, n in found.items())
    assert [r.position for r in made] == sorted(r.position for r in made)
    assert {r.position for r in made} == set(range(len(found)))
    times = [t for r in made for t in (r.start_ns, r.end_ns)]
    assert times == sorted(times)  # type: ignore[type-var]
    # A session's first timed pass of a chunk size comes after a warm-up in that session.
    for session in {r.session for r in made}:
        mine = [r for r in made if r.session == session]
        for chunk in {r.chunk_size for r in mine if r.phase != "warmup"}:
            assert next(r for r in mine if r.chunk_size == chunk).phase == "warmup"


def confirmed_all(harness: Harness) -> bool:
    return sum(p.calls[0].phase == "confirm" for p in harness.passes()) >= 4


def test_killed_ten_times_at_any_moment_every_pass_is_measured_once(harness) -> None:
    made: Harness = harness("--sleep", "0.02")
    moments = random.Random(20260211)
    output = made.folder / OUTPUT
    # What to wait for in each round, and how many seconds at most pass until the kill.
    points: list[tuple[Callable[[], object], float]] = [
        (lambda: True, 1.0),
        (made.server_was_started, 0.8),
        (new_passes(made, "warmup", 1), 0.1),
        (new_passes(made, "warmup", 3), 0.1),
        (new_passes(made, "sweep", 2), 0.1),
        (new_passes(made, "sweep", 5), 0.1),
        (new_passes(made, "confirm", 1), 0.05),
        (new_passes(made, "confirm", 3), 0.05),
        (lambda: confirmed_all(made), 0.5),
        ((output / "probes.parquet").exists, 0.002),
    ]
    measured: dict[tuple[str, int, int], list[CallRecord]] = {}
    killed = 0
    # Only the last round's measurement may be over before it is killed.
    made.hold(PROBES, after=10)
    for number, (reached, at_most) in enumerate(points, 1):
        if number == len(points):
            made.release()
        process = made.start()
        wait_for(lambda: reached() or process.poll() is not None, every_s=0.005)  # noqa: B023
        time.sleep(moments.uniform(0, at_most))
        killed += process.poll() is None
        process.kill()
        process.communicate()
        for finished in made.passes():
            first = finished.calls[0]
            key = (first.phase, first.chunk_size, first.run)
            assert measured.setdefault(key, finished.calls) == finished.calls, "measured again"
        wait_for(lambda: made.processes() == [])
        # DVC deletes the outputs before it runs a stage again.
        shutil.rmtree(output, ignore_errors=True)
    assert killed >= len(points) - 1
    assert len(measured) >= 9
    before = made.passes()
    code, said = made.run()
    assert code == 0, said
    matrix = made.matrix()
    assert_whole(matrix)
    kept: dict[tuple[str, int, int], list[CallRecord]] = {}
    for record in rows(matrix):
        kept.setdefault((record.phase, record.chunk_size, record.run), []).append(record)
    if before:
        assert f"going on after {len(before)} passes" in said
        assert {key: kept[key] for key in measured} == measured
        assert matrix.provenance.run.interruptions >= 6
    assert matrix.provenance.run.requests_repeated is False, (
        "each server launched here is a new one"
    )
    assert matrix.provenance.run.sessions == matrix.calls["session"].n_unique()
    assert min(matrix.provenance.run.seconds.model_dump().values()) >= 0
    probes = read_probes(output / "probes.parquet")
    assert probes.provenance.matrix_sha256 == matrix.provenance.table_sha256
    assert set(probes.frame["status"]) == {"ok"}
    assert (output / "server.log").is_file()
    assert list((made.cache / "journals").iterdir()) == []
    assert made.processes() == []


@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)]
)
def test_a_signal_ends_it_at_once_and_says_what_is_saved(harness, number, code) -> None:
    made: Harness = harness("--sleep", "0.1")
    made.hold(PROBES)
    process = made.start()
    wait_for(new_passes(made, "sweep", 1))
    process.send_signal(number)
    _, errors = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == code
    told = re.fullmatch(
        r"interrupted: (\d+) of about \d+ passes saved; run the same command to continue\n", errors
    )
    assert told, errors
    assert int(told[1]) == len(made.passes())
    assert made.processes() == []
    assert not (made.folder / OUTPUT / "matrix.parquet").exists()


def test_killed_in_an_extra_start_no_pass_is_measured_again(harness, tmp_path) -> None:
    counted = tmp_path / "starts"
    starts = ("--starts", str(counted), "--only-starts", "1")
    made: Harness = harness(*starts, passes__probe_starts=2)
    made.hold(PROBES, after=3)
    process = made.start()
    wait_for(lambda: counted.exists() and len(counted.read_bytes()) == 2)
    process.kill()
    said, _ = process.communicate()
    assert "extra start 1 of 2: probes only" in said
    wait_for(lambda: made.processes() == [])
    assert not (made.folder / OUTPUT / "matrix.parquet").exists()
    before = made.passes()
    made.release()
    code, said = made.run()
    assert code == 0, said
    assert f"going on after {len(before)} passes" in said
    # Nothing is timed in the second process, and its start is probed from the first one on.
    matrix = made.matrix()
    assert_whole(matrix)
    assert len({r.position for r in rows(matrix)}) == len(before)
    probes = read_probes(made.folder / OUTPUT / "probes.parquet").frame
    assert set(probes["start"]) == {0, 1, 2}
    assert set(probes["status"]) == {"ok"}
    assert len(counted.read_bytes()) == 2 + 3


def test_interrupted_before_anything_was_measured_it_says_so(harness) -> None:
    made: Harness = harness("--sleep", "6000")
    process = made.start()
    wait_for(made.server_was_started)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 130
    assert errors.startswith("interrupted: 0 of about ")


# A busy machine may take long from the server's end to the harness's, which must be a moment.
LONG_MOMENT = (
    "import stages.measure.session as session\n"
    "session._SETTLE_S = 600.0\n"
    "from stages.measure.command import main\n"
    "main()\n"
)


def test_a_server_that_is_ended_together_with_the_harness_spoils_no_pass(harness) -> None:
    made: Harness = harness("--sleep", "0.1")
    made.hold(*CONFIRM)
    process = made.start(command=("-c", LONG_MOMENT))
    wait_for(new_passes(made, "sweep", 1))
    # As a container's end or a shutdown would: the server first, the harness a moment later.
    for child in psutil.Process(process.pid).children(recursive=True):
        # The guards may end, once the server has, between any two looks at them.
        with contextlib.suppress(psutil.NoSuchProcess):
            if "scoring_server" in " ".join(child.cmdline()):
                child.kill()
    assert _SETTLE_S > 0.5
    time.sleep(0.5)
    process.terminate()
    process.communicate(timeout=PATIENCE_S)
    made.release()
    assert {c.status for p in made.passes() for c in p.calls} == {"ok"}
    code, said = made.run()
    assert code == 0, said
    assert_whole(made.matrix())
    assert made.matrix().provenance.run.restarts == 0


@pytest.mark.parametrize("by_variable", [False, True])
def test_fresh_measures_everything_anew_and_is_the_way_out_of_a_damaged_journal(
    harness, monkeypatch: pytest.MonkeyPatch, by_variable: bool
) -> None:
    made: Harness = harness("--sleep", "0.02")
    made.hold(PROBES)
    process = made.start()
    wait_for(new_passes(made, "sweep", 2))
    process.kill()
    process.communicate()
    made.release()
    (journal,) = made.cache.glob(f"journals/*/{JOURNAL_FILE}")
    data = bytearray(journal.read_bytes())
    data[len(data) // 3] ^= 1
    journal.write_bytes(data)
    code, said = made.run()
    assert code == 1
    told = re.fullmatch(
        r"error: \S+ line \d+ is damaged.* run with (--fresh) \(under dvc: (\w+)=(\w+)\).*\n", said
    )
    assert told is not None
    option, variable, value = told.groups()
    if by_variable:
        monkeypatch.setenv(variable, value)
    code, said = made.run(*([] if by_variable else [option]))
    assert code == 0, said
    assert "going on" not in said
    assert_whole(made.matrix())
    found = made.matrix().provenance
    assert (found.run.interruptions, found.run.sessions) == (0, 1)


def test_a_second_measurement_on_the_machine_is_refused_and_starts_nothing(harness) -> None:
    made: Harness = harness()
    made.hold(PROBES)
    first = made.start()
    wait_for(new_passes(made, "warmup", 1))
    code, said = made.run()
    assert code == 1
    assert said.startswith("error: another measurement is running on this machine: measure@jax-")
    assert f"process {first.pid}," in said
    assert said.count("\n") == 1
    assert first.poll() is None
    first.terminate()
    first.communicate(timeout=PATIENCE_S)


def test_a_second_measurement_that_waits_follows_the_first_and_spoils_nothing(harness) -> None:
    made: Harness = harness()
    made.hold(PROBES)
    first = made.start()
    wait_for(new_passes(made, "warmup", 1))
    second = made.start("--wait")
    assert second.stdout is not None
    line = second.stdout.readline()
    assert f"jax-portable: waiting for another measurement on this machine: {HOLDS}" in line
    assert f"process {first.pid}, since " in line
    made.release()
    output, errors = first.communicate(timeout=PATIENCE_S)
    assert first.returncode == 0, output + errors
    said = "".join(second.communicate(timeout=PATIENCE_S))
    assert second.returncode == 0, line + said
    assert "going on" not in said, "it measured anew, for the first one was done"
    assert_whole(made.matrix())
    assert made.processes() == []


def test_who_waits_can_be_interrupted(harness) -> None:
    made: Harness = harness()
    made.hold(PROBES)
    first = made.start()
    wait_for(new_passes(made, "warmup", 1))
    second = made.start("--wait")
    assert second.stdout is not None
    assert HOLDS in second.stdout.readline()
    second.send_signal(signal.SIGINT)
    _, errors = second.communicate(timeout=PATIENCE_S)
    assert second.returncode == 130
    told = "interrupted: nothing was measured yet; run the same command to continue\n"
    assert errors == told
    assert first.poll() is None
    first.terminate()
    first.communicate(timeout=PATIENCE_S)


MANY = {**bench_contract()["workloads"][WORKLOAD], "items": 4, "query_tokens": 16}
FEW = {**MANY, "items": 2, "query_tokens": 12}
"""It needs no larger server than the other, so it may come and go without another server."""


@pytest.mark.parametrize(
    ("after", "dropped"),
    [
        ({"few": FEW, "many": MANY}, set()),
        ({"few": FEW, "many": MANY, "new": {**FEW, "seed": 5}}, set()),
        ({"few": {**FEW, "seed": 5}, "many": MANY}, {"few"}),
        ({"few": FEW, "many": {**MANY, "item_first": True}}, {"many"}),
        ({"many": MANY}, {"few"}),
    ],
    ids=["nothing", "one is added", "one is changed", "the other is changed", "one is gone"],
)
def test_killed_and_run_with_other_workloads_the_passes_of_the_same_ones_stay(
    harness, after: dict[str, Any], dropped: set[str]
) -> None:
    made: Harness = harness(workloads={"few": FEW, "many": MANY})
    made.hold(PROBES)
    process = made.start()
    wait_for(new_passes(made, "confirm", 2), "no pass was confirmed")
    process.kill()
    process.communicate()
    wait_for(lambda: made.processes() == [])
    made.release()
    before = made.passes()
    assert {p.calls[0].workload for p in before} == {"few", "many"}

    make_bench(made.folder, bench_contract("--hold", str(made.held), workloads=after))
    code, said = made.run()
    assert code == 0, said
    stay = [p for p in before if p.calls[0].workload not in dropped]
    assert f"going on after {len(stay)} passes" in said
    matrix = made.matrix()
    sizes = {name: [1, 2] if name != "many" else [1, 2, 4] for name in after}
    assert_every_planned_pass_once(matrix, sizes, 3, 2)
    found: dict[PassKey, list[CallRecord]] = {}
    for record in rows(matrix):
        found.setdefault(PassKey.of(record), []).append(record)
    assert {PassKey.of(p.calls[0]): p.calls for p in stay}.items() <= found.items()
    # What was measured of a workload that has changed since is measured anew.
    places = {p.calls[0].position for p in before if p not in stay}
    assert not places & {calls[0].position for calls in found.values()}
    probes = read_probes(made.folder / OUTPUT / "probes.parquet")
    assert probes.provenance.targets.keys() == after.keys() == set(probes.frame["workload"])
