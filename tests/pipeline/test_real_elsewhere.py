"""The real servers, started by hand: measured at their URLs and left as they are."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from bench import inside
from measuring import (
    Measuring,
    assert_every_planned_pass_once,
)
from patience import PATIENCE_S, wait_for

from stages.contract import load_contract
from stages.environments.build import python_of, scratch_folder
from stages.measure.servers.launched import free_port, server_environment
from stages.plan.plan import Plan, make_plan

pytestmark = pytest.mark.servers

KEY = "sk-by-hand-2f7d90c4aa"
VERSIONS = {"jax": "0.0.2", "pytorch": "0.5.23"}


def plan_of(measuring: Measuring) -> Plan:
    backend, view = measuring.title.split("-")
    with inside(measuring.pipeline.folder):
        return make_plan(load_contract(), backend, view)  # type: ignore[arg-type]


@contextlib.contextmanager
def by_hand(plan: Plan, folder: Path, log: Path) -> Iterator[tuple[str, subprocess.Popen[bytes]]]:
    """A server as the pipeline would launch it, but with a key; its URL and its process."""
    arguments = list(plan.arguments)
    arguments[arguments.index("--model-path") + 1] = str(folder / plan.model.path)
    caches = {"PYTHONPYCACHEPREFIX": scratch_folder(plan.environment, "bytecode")}
    if plan.driver.compile_cache_variable is not None:
        caches[plan.driver.compile_cache_variable] = scratch_folder(plan.environment, "compiled")
    port = free_port()
    with inside(folder), log.open("wb") as output:
        process = subprocess.Popen(
            [python_of(plan.environment), *arguments, "--port", str(port), "--api-key", KEY],
            env=server_environment(plan.contract.launch.environ, caches),
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


@pytest.mark.parametrize("title", ["pytorch-portable", "jax-portable"], indirect=True)
def test_a_real_server_started_by_hand_is_measured_checked_and_left_running(
    measuring: Measuring, title: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    backend = title.split("-")[0]
    pipeline = measuring.pipeline
    for key, value in (("chunk_sizes", [4]), ("passes.sweep", 2), ("passes.confirm", 1)):
        pipeline.set_param(key, value)
    log = tmp_path / "by-hand.log"
    with by_hand(plan_of(measuring), pipeline.folder, log) as (url, process):
        for view in ("portable", "best_native"):
            pipeline.set_param(f"backends.{backend}.{view}.base_url", url)
        monkeypatch.setenv(f"SCOREPARITY_API_KEY_{backend.upper()}", KEY)
        measured = measuring.start()
        said, _ = measured.communicate(timeout=PATIENCE_S)
        assert measured.returncode == 0, said
        matrix, found = measuring.matrix, measuring.matrix.provenance
        assert_every_planned_pass_once(matrix, [4], 2, 1)
        assert set(matrix.calls["status"]) == {"ok"}
        assert found.contract.base_url == url
        assert found.run.backend_version == VERSIONS[backend]
        assert found.run.elsewhere is not None
        assert found.run.elsewhere.same_machine
        assert found.run.elsewhere.model_check == "hash"
        assert found.run.elsewhere.compiles_hidden is (backend == "jax")
        assert found.run.elsewhere.settings["disable_radix_cache"] is True
        assert found.run.elsewhere.settings["chunked_prefill_size"] == -1
        assert found.run.elsewhere.settings["dtype"] == "float32"
        assert found.run.round_trip is not None
        assert found.run.round_trip.after_s is not None
        written = [p.read_bytes() for p in measuring.output.iterdir()]
        assert not any(KEY.encode() in data for data in (*written, said.encode()))
        # The other view wants a prefix cache, which this server has not.
        other = measuring.start(*measured.args[:3], backend, "best_native")
        said, _ = other.communicate(timeout=PATIENCE_S)
        assert other.returncode == 1
        assert said == (
            f"error: {url}: refused: disable_radix_cache is True there, but the contract wants"
            f" False (backends.{backend}.best_native.flags.disable-radix-cache)\n"
        )
        assert process.poll() is None, "it was stopped"
    measuring.assert_no_journal()
