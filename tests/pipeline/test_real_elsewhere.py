"""The real servers, started by hand: measured at their URLs and left as they are."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import polars as pl
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

from stages.compare.prefix_cache import allowed_tokens, prompt_tokens
from stages.contract import load_contract
from stages.documents.cell import PassKey
from stages.documents.matrix import CallRecord
from stages.documents.nonce import NONCE_FILE, draw_nonce, write_nonce
from stages.environments.build import python_of, scratch_folder
from stages.measure.http.client import ScoreConnection
from stages.measure.passes import run_pass
from stages.measure.servers.health import probe_server
from stages.measure.servers.launched import Server, free_port, server_environment
from stages.measure.servers.log import ServerLog, count_prefilled
from stages.plan.plan import Plan, make_plan
from stages.plan.schedule import cover_sizes

pytestmark = pytest.mark.servers

KEY = "sk-by-hand-2f7d90c4aa"
VERSIONS = {"jax": "0.0.2", "pytorch": "0.5.23"}


def plan_of(measuring: Measuring) -> Plan:
    backend, view = measuring.title.split("-")
    with inside(measuring.pipeline.folder):
        return make_plan(load_contract(), backend, view)  # type: ignore[arg-type]


def command_of(plan: Plan, folder: Path, *flags: str) -> tuple[list[str], dict[str, str]]:
    """Command and environment of a server as the pipeline would launch it, but with a key.

    Args:
        plan: what it serves.
        folder: of the pipeline, in which this is called.
        flags: in the place of the plan's, or more.
    """
    arguments = [*plan.arguments, *flags, "--api-key", KEY]
    arguments[arguments.index("--model-path") + 1] = str(folder / plan.model.path)
    caches = {"PYTHONPYCACHEPREFIX": scratch_folder(plan.environment, "bytecode")}
    if plan.driver.compile_cache_variable is not None:
        caches[plan.driver.compile_cache_variable] = scratch_folder(plan.environment, "compiled")
    environ = server_environment(plan.contract.launch.environ, caches)
    return [str(python_of(plan.environment)), *arguments], environ


@contextlib.contextmanager
def by_hand(plan: Plan, folder: Path, log: Path) -> Iterator[tuple[str, subprocess.Popen[bytes]]]:
    """Such a server; its URL and its process.

    Args:
        plan: what it serves.
        folder: of the pipeline.
        log: where it writes.
    """
    port = free_port()
    with inside(folder), log.open("wb") as output:
        command, environ = command_of(plan, folder)
        process = subprocess.Popen(
            [*command, "--port", str(port)],
            env=environ,
            stdout=output,
            stderr=output,
            start_new_session=True,
        )
    url = f"http://127.0.0.1:{port}"

    def answers() -> bool:
        assert process.poll() is None, log.read_text()[-2000:]
        with contextlib.suppress(httpx.HTTPError):
            headers = {"Authorization": f"Bearer {KEY}"}
            return httpx.get(f"{url}/ping", headers=headers, timeout=5).status_code == 200
        return False

    try:
        wait_for(answers, "the server by hand never answered", every_s=0.5)
        yield url, process
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


@contextlib.contextmanager
def guarded(plan: Plan, folder: Path, log: Path, *flags: str) -> Iterator[Server]:
    """The same, but below the guard of a launched server, which tells how it ends.

    Args:
        plan: what it serves.
        folder: of the pipeline.
        log: where it writes.
        flags: in the place of the plan's, or more.
    """
    workload = plan.workloads.by_name[WORKLOAD]
    with contextlib.ExitStack() as closing:
        with inside(folder):
            server = closing.enter_context(Server(*command_of(plan, folder, *flags), log))
        connection = ScoreConnection(server.url, PATIENCE_S, api_key=KEY)
        closing.enter_context(connection)
        server.wait_until_healthy(lambda: probe_server(connection, workload), PATIENCE_S)
        yield server


def check_what_is_known_of_it(
    measuring: Measuring, url: str, said: str, settings: dict[str, object]
) -> None:
    """Check the matrix of a server by hand, which has these settings, and that its key is nowhere.

    Args:
        measuring: what was measured last.
        url: of the server.
        said: by the harness.
        settings: some that the server reported.
    """
    backend = measuring.title.split("-")[0]
    found = measuring.matrix.provenance
    assert set(measuring.matrix.calls["status"]) == {"ok"}
    assert found.contract.base_url == url
    assert found.run.backend_version == VERSIONS[backend]
    assert found.run.elsewhere is not None
    assert found.run.elsewhere.same_machine
    assert found.run.elsewhere.model_check == "hash"
    assert found.run.elsewhere.compiles_hidden is (backend == "jax")
    for name, value in settings.items():
        assert found.run.elsewhere.settings[name] == value
    assert found.run.round_trip is not None
    assert found.run.round_trip.after_s is not None
    written = [p.read_bytes() for p in measuring.output.iterdir()]
    assert not any(KEY.encode() in data for data in (*written, said.encode()))


def refused_line(measuring: Measuring, backend: str, view: str) -> str:
    """In which line a server by hand is refused for this view."""
    command = [sys.executable, "-m", "stages.measure", backend, view]
    process = measuring.start(*command)
    said, _ = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 1
    return said


def test_a_real_server_started_by_hand_is_measured_checked_and_left_running(
    measuring: Measuring, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pipeline = measuring.pipeline
    for key, value in (("chunk_sizes", [4]), ("passes.sweep", 2), ("passes.confirm", 1)):
        pipeline.set_param(key, value)
    log = tmp_path / "by-hand.log"
    with by_hand(plan_of(measuring), pipeline.folder, log) as (url, process):
        for view in ("portable", "best_native"):
            pipeline.set_param(f"backends.jax.{view}.base_url", url)
        monkeypatch.setenv("SCOREPARITY_API_KEY_JAX", KEY)
        measured = measuring.start()
        said, _ = measured.communicate(timeout=PATIENCE_S)
        assert measured.returncode == 0, said
        assert_every_planned_pass_once(measuring.matrix, [4], 2, 1)
        flags = {"disable_radix_cache": True, "chunked_prefill_size": -1, "dtype": "float32"}
        check_what_is_known_of_it(measuring, url, said, flags)
        # The other view wants a prefix cache, which this server has not.
        assert refused_line(measuring, "jax", "best_native") == (
            f"error: {url}: refused: disable_radix_cache is True there, but the contract wants"
            " False (backends.jax.best_native.flags.disable-radix-cache)\n"
        )
        assert process.poll() is None, "it was stopped"
    measuring.assert_no_journal()


def family_of(server: Server) -> Family:
    """Its processes now, the guards too."""
    assert server._guard is not None
    return Family.of(psutil.Process(server._guard.pid))


def pass_of_a_broken_one(plan: Plan, server: Server) -> list[CallRecord]:
    """The records of a sweep pass, in which the server is not given up before it ends itself."""
    with ScoreConnection(server.url, PATIENCE_S, api_key=KEY) as connection:
        return run_pass(
            connection,
            plan.workloads.by_name[WORKLOAD],
            PassKey(WORKLOAD, "sweep", 2, 9),
            session=0,
            position=0,
            died_within=server.died_within,
            log=ServerLog(server, plan.driver),
        )


def cached_by_pass(plan: Plan, log: str, calls: pl.DataFrame) -> list[int]:
    """What each pass of a measurement took from the prefix cache, by its stretch of the log.

    The server was asked whether it scores twice, two items each time, before the first pass. The
    cover has a stretch of its own, after the warm-up.
    """
    workload = plan.workloads.by_name[WORKLOAD]
    pattern, prompt = plan.driver.prefill_pattern, workload.prompt_tokens
    assert pattern is not None
    sizes = cover_sizes(plan.chunk_sizes[WORKLOAD], None, plan.running_requests)
    cover = plan.cover_times()[WORKLOAD] * sum(sizes) * prompt
    warm = calls.filter(pl.col("phase") == "warmup")["position"].n_unique()
    timed = calls["position"].n_unique() - warm
    whole = prompt_tokens(workload)
    found, line = [], iter(log.splitlines())
    for expected in (2 * 2 * prompt, *[whole] * warm, cover, *[whole] * timed):
        told = cached = 0
        while told < expected:
            one = count_prefilled(next(line), pattern, expected)
            if one is not None:
                told, cached = told + one.tokens, cached + one.cached
        assert told == expected, "a batch belongs to one pass"
        found.append(cached)
    return [*found[1 : 1 + warm], *found[2 + warm :]]


@pytest.mark.parametrize("title", ["pytorch-best_native"], indirect=True)
def test_a_real_living_server_answers_a_new_comparison_anew_and_is_caught_where_it_cannot(
    measuring: Measuring, title: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pipeline, log = measuring.pipeline, tmp_path / "by-hand.log"
    plan = plan_of(measuring)
    monkeypatch.setenv("SCOREPARITY_API_KEY_PYTORCH", KEY)

    def measure(*arguments: str) -> tuple[list[int], bool, str]:
        """What its passes took from the cache, and what the matrix and the harness say."""
        before = log.stat().st_size
        command = [sys.executable, "-m", "stages.measure", *title.split("-"), *arguments]
        measured = measuring.start(*command)
        said, _ = measured.communicate(timeout=PATIENCE_S)
        assert measured.returncode == 0, said
        matrix = measuring.matrix
        assert set(matrix.calls["status"]) == {"ok"}
        told = log.read_bytes()[before:].decode()
        cached = cached_by_pass(plan, told, matrix.calls)
        return cached, matrix.provenance.run.requests_repeated, said

    # With room for the prompts of all its measurements.
    with guarded(plan, pipeline.folder, log, "--max-total-tokens", "8192") as server:
        url = server.url
        for view in ("portable", "best_native"):
            pipeline.set_param(f"backends.pytorch.{view}.base_url", url)
        first, first_repeated, said_first = measure()
        assert_every_planned_pass_once(measuring.matrix, [2, 4], 2, 2)
        flags = {"disable_radix_cache": False, "chunked_prefill_size": -1, "dtype": "float32"}
        check_what_is_known_of_it(measuring, url, said_first, flags)
        measuring.assert_no_journal()
        write_nonce(pipeline.folder / NONCE_FILE, draw_nonce())
        second, second_repeated, unaware = measure()
        third, third_repeated, said = measure("--fresh")
        # The other view wants no prefix cache, which this server has.
        assert refused_line(measuring, "pytorch", "portable") == (
            f"error: {url}: refused: disable_radix_cache is False there, but the contract wants"
            " True (backends.pytorch.portable.flags.disable-radix-cache)\n"
        )
        assert (server.death(), server.loss()) == (None, None), "it was stopped"
        # Here and not in a measurement of its own, because the server takes a minute to start.
        family = family_of(server)
        family.named("sglang::scheduler").kill()
        (failed,) = pass_of_a_broken_one(plan, server)
    assert (failed.status, failed.detail) == ("server_died", "server killed by signal 9")
    measuring.assert_nothing_is_left(family)
    # How much of a pass comes from the cache depends on how the server batches it, up to this.
    workload = plan.workloads.by_name[WORKLOAD]
    allowed = allowed_tokens(workload, plan.contract)
    assert 0 < allowed < prompt_tokens(workload)
    assert max(first) <= allowed
    assert max(second) <= allowed, "the salts are new"
    assert min(third) > allowed
    assert (first_repeated, second_repeated, third_repeated) == (False, False, True)
    assert "was sent the same requests on" not in unaware
    assert f"the server at {url} was sent the same requests on" in said
