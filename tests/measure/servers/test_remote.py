"""A server that was started elsewhere: measured like any other, never started, never stopped."""

from __future__ import annotations

import contextlib
import os
import re
import socket
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import pytest
from bench import bench_contract, hold, inside, make_bench
from contracts import WORKLOAD
from elsewhere import SECRET, ByHand, told_by
from journals import finished_passes
from patience import PATIENCE_S, wait_for

from stages.common.errors import UserError, one_line
from stages.common.shell import clean_environ
from stages.contract import Contract, parse_contract
from stages.documents.cell import Series
from stages.documents.matrix import Matrix, read_matrix
from stages.environments.build import cache_root
from stages.measure.record.journal import PassFinished
from stages.measure.servers import remote
from stages.measure.servers.launched import free_port
from stages.measure.servers.remote import first_contact, is_this_machine, take_api_key
from stages.plan.plan import make_plan
from stages.plan.schedule import interleaved

KEY = "sk-test-93f1c07be2aa4410"
OUTPUT = Path("data/measure/jax-portable")


@dataclass
class Place:
    """A bench whose JAX server, in the portable view, is at a URL."""

    folder: Path
    cache: Path
    server: ByHand
    made: Contract

    def told(self, **changes: Any) -> dict[str, Any]:
        return told_by(self.made, "jax", "portable", **changes)

    def start(self, view: str = "portable", **environ: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, "-m", "stages.measure", "jax", view],
            cwd=self.folder,
            env={
                **os.environ,
                "TMPDIR": str(self.folder.parent),
                "SCOREPARITY_CACHE": str(self.cache),
                **environ,
            },
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def measure(self, **environ: str) -> tuple[int, str]:
        process = self.start(**environ)
        said, _ = process.communicate(timeout=PATIENCE_S)
        return process.returncode, said

    def start_held(self) -> subprocess.Popen[str]:
        """Start the server and a measurement that is in the middle of its sweep and stays there."""
        held, passes = self.folder.parent / "held", self.made.passes
        series = [Series(WORKLOAD, size) for size in self.made.chunk_sizes_of(WORKLOAD)]
        sweep = interleaved("sweep", series, passes.sweep, passes.seed)
        hold(held, self.made, *((key.phase, key.chunk_size, key.run) for key in sweep[3:]))
        self.server.start(self.told(), "--hold", str(held))
        process = self.start()
        wait_for(lambda: sum(p.calls[0].phase == "sweep" for p in self.passes()) == 3)
        return process

    @property
    def matrix(self) -> Matrix:
        return read_matrix(self.folder / OUTPUT / "matrix.parquet")

    def passes(self) -> list[PassFinished]:
        return finished_passes(self.cache)

    def everything(self) -> bytes:
        """Every byte that was written by the measurement."""
        folders = (self.folder / "data" / "measure", self.cache)
        found = [p for folder in folders for p in folder.rglob("*") if p.is_file()]
        return b"\0".join(p.read_bytes() for p in found)


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Callable[..., Place]]:
    """Makes a bench; its server is stopped at the end."""
    server = ByHand(tmp_path)

    def make(**changes: Any) -> Place:
        raw = bench_contract(**changes)
        raw["backends"]["jax"]["portable"]["base_url"] = server.url
        cache = tmp_path / "cache"
        cache.mkdir()
        make_bench(tmp_path / "bench", raw)
        return Place(tmp_path / "bench", cache, server, parse_contract(raw))

    yield make
    server.close()


def until_it_waits(process: subprocess.Popen[str]) -> str:
    """What a measurement says until it waits for its server."""
    assert process.stdout is not None
    lines: list[str] = []
    for line in process.stdout:
        lines.append(line)
        if "the server is gone; waiting for it" in line:
            return "".join(lines)
    pytest.fail("".join(lines))


def test_the_scoring_mode_follows_from_its_report(place) -> None:
    made: Place = place()
    made.server.start(made.told(multi_item_enable_prefill_extend=True))
    code, said = made.measure()
    assert code == 0, said
    found = made.matrix.provenance.workloads[WORKLOAD].scoring
    assert found is not None
    assert (found.mode, found.told_by, found.fallbacks) == ("prefill_extend", "server", None)


@pytest.mark.parametrize(
    ("settings", "mode"),
    [
        ({"multi_item_scoring_delimiter": 9999}, "packed"),
        ({"multi_item_enable_prefill_extend": True}, "prefill_extend"),
    ],
)
def test_one_that_reports_settings_that_ignore_item_first_is_refused(place, settings, mode) -> None:
    made: Place = place(workload__item_first=True)
    made.server.start(made.told(**settings))
    code, said = made.measure()
    assert code == 1, said
    assert said.splitlines()[-1] == (
        f"error: {made.server.url}: refused: by its settings it scores items {mode} and ignores"
        " item_first, but the contract wants True (workloads.many.item_first)"
    )
    assert made.passes() == []


def test_a_server_at_a_url_is_measured_whole_and_left_as_it_was(place) -> None:
    made: Place = place()
    made.server.start(made.told())
    began = time.monotonic()
    code, said = made.measure()
    took_s = time.monotonic() - began
    assert code == 0, said
    assert f"measuring the server at {made.server.url}" in said
    assert made.server.lives
    calls, found = made.matrix.calls, made.matrix.provenance
    assert set(calls["status"]) == {"ok"}
    confirmed = found.workloads[WORKLOAD].confirm_chunk_sizes
    runs = Counter(calls.select("phase", "chunk_size", "run").unique().rows())
    wanted = {("sweep", c, r) for c in (1, 2, 4) for r in range(3)}
    wanted |= {("confirm", c, r) for c in confirmed for r in range(2)}
    assert {key for key in runs if key[0] != "warmup"} == wanted
    # Nobody sees what it compiles, so a chunk size is warm when two passes took about as long.
    warmups = Counter(key[1] for key in runs if key[0] == "warmup")
    assert all(2 <= warmups[c] <= made.made.passes.warmup_limit for c in (1, 2, 4))
    assert calls["compiles"].null_count() == calls.height
    assert calls["cached_tokens"].null_count() == calls.height
    assert found.contract.base_url == made.server.url
    assert found.run.backend_version == "9.8.7"
    assert (found.run.environment_sha256, found.run.repaired) == (None, None)
    assert (found.run.argv, found.run.environ) == ([], {})
    assert (found.run.foreign_cpu, found.run.compile_cache_entries) == (None, None)
    told = found.run.elsewhere
    assert told is not None
    assert told.same_machine
    assert told.compiles_hidden
    assert told.settings["disable_radix_cache"] is True
    assert told.settings["dtype"] == "float32"
    assert told.settings["attention_backend"] == "native"
    assert found.run.round_trip is not None
    assert found.run.round_trip.after_s is not None
    assert 0 < found.run.round_trip.before_s < took_s
    assert 0 < found.run.round_trip.after_s < took_s
    assert "its log is on its machine" in (made.folder / OUTPUT / "server.log").read_text()
    assert SECRET.encode() not in made.everything()
    assert not (made.cache / "environments").exists(), "its environment is not needed here"


def test_a_server_at_a_url_is_taken_at_its_answers_word_on_its_prefix_cache(place) -> None:
    made: Place = place()
    made.server.start(made.told(), "--tells", "usage")
    code, said = made.measure()
    assert code == 0, said
    # Four prompts, of which three find the query of 16 tokens.
    assert set(made.matrix.calls["cached_tokens"]) == {3 * 16}


def test_a_launched_servers_round_trip_is_measured_too(place) -> None:
    made: Place = place()
    (made.cache / "environments").symlink_to(cache_root() / "environments")
    began = time.monotonic()
    process = made.start("best_native", SCOREPARITY_API_KEY_JAX=KEY)
    said, _ = process.communicate(timeout=PATIENCE_S)
    took_s = time.monotonic() - began
    assert process.returncode == 0, said
    found = read_matrix(made.folder / "data/measure/jax-best_native/matrix.parquet").provenance
    assert found.run.elsewhere is None
    assert found.contract.base_url is None
    assert found.run.round_trip is not None
    assert 0 < found.run.round_trip.largest_s < took_s


def test_a_server_that_goes_away_is_waited_for_and_everything_is_kept(place) -> None:
    made: Place = place()
    process = made.start_held()
    made.server.stop()
    said = until_it_waits(process)
    time.sleep(1)
    # The same one: what differs at each start is no difference.
    made.server.start(made.told(random_seed=7))
    said += process.communicate(timeout=PATIENCE_S)[0]
    assert process.returncode == 0, said
    assert "the server is gone; waiting for it, time 1" in said
    calls, found = made.matrix.calls, made.matrix.provenance
    failed = calls.filter(calls["status"] != "ok")
    assert set(failed["status"]) <= {"server_died"}
    assert failed["position"].n_unique() <= 1
    assert all("accepts no connections" in detail for detail in failed["detail"])
    assert (found.run.restarts, found.run.sessions) == (1, 2)
    second = calls.filter(calls["session"] == 1)
    assert second["phase"][0] == "warmup"
    assert made.server.lives


def test_another_server_in_its_place_is_not_measured_and_the_first_one_goes_on(place) -> None:
    made: Place = place()
    process = made.start_held()
    made.server.stop()
    said = until_it_waits(process)
    made.server.start(made.told(max_running_requests=99))
    said += process.communicate(timeout=PATIENCE_S)[0]
    assert process.returncode == 1, said
    (line,) = [text for text in said.splitlines() if text.startswith("error:")]
    assert "is not the one this measurement began with" in line
    kept = made.passes()
    assert len(kept) >= 2
    assert not (made.folder / OUTPUT / "matrix.parquet").exists()
    # The other one's passes would be a measurement of their own; the first one's go on.
    made.server.stop()
    made.server.start(made.told())
    code, said = made.measure()
    assert code == 0, said
    assert f"going on after {len(kept)} passes" in said
    assert made.matrix.provenance.run.elsewhere.settings.get("max_running_requests") is None


def test_a_server_that_is_something_else_is_refused_before_the_first_pass(place) -> None:
    made: Place = place()
    made.server.start(made.told(dtype="bfloat16"))
    code, line = made.measure()
    assert code == 1
    assert line == (
        f"error: {made.server.url}: refused: dtype is 'bfloat16' there, but the contract wants"
        " 'float32' (backends.jax.launch.dtype)\n"
    )
    assert not (made.cache / "journals").exists()
    assert not (made.folder / OUTPUT).exists()


def refused(made: Place) -> str:
    """The line with which the first contact is refused."""
    api_key = take_api_key("jax")
    with inside(made.folder):
        plan = make_plan(made.made, "jax", "portable")
    with pytest.raises(UserError) as caught:
        first_contact(plan, api_key)
    said = one_line(str(caught.value), 2000)
    assert said == str(caught.value)
    return said


def test_a_radix_cache_where_the_contract_wants_none_is_refused_by_name(place) -> None:
    made: Place = place()
    made.server.start(made.told(disable_radix_cache=False))
    assert "disable_radix_cache is False there, but the contract wants True" in refused(made)


def test_a_server_that_does_not_say_what_it_is_is_refused(place) -> None:
    made: Place = place()
    told = made.told()
    del told["/get_server_info"]
    made.server.start(told)
    said = refused(made)
    assert said.startswith(f"{made.server.url}: refused: /get_server_info: no JSON")


def test_no_server_at_the_url_is_one_clear_line_after_a_short_while(place, monkeypatch) -> None:
    monkeypatch.setattr(remote, "_FIRST_PATIENCE_S", 0.5)
    made: Place = place()
    said = refused(made)
    assert said.startswith(f"no server to measure at {made.server.url}: not healthy after")
    assert "accepts no connections (Connection refused)" in said


def shown_by(pid: int) -> set[str]:
    """The command lines of a process and its children, and what the children inherited."""
    found: set[str] = set()
    with contextlib.suppress(psutil.Error):
        root = psutil.Process(pid)
        found.add(" ".join(root.cmdline()))
        for child in root.children(recursive=True):
            command = " ".join(child.cmdline())
            # Until it runs its own program, a child is its parent under another number.
            if command not in ("", *found):
                found |= {command, str(child.environ())}
    return found


# Python runs it before anything else, in every child that inherits where it lies.
TELLS = """
import os, pathlib
me = pathlib.Path("/proc/self")
said = (me / "cmdline").read_bytes() + (me / "environ").read_bytes()
(pathlib.Path(__file__).parent / f"{os.getpid()}.told").write_bytes(said)
"""


def test_a_key_opens_the_server_and_is_written_nowhere(place) -> None:
    made: Place = place(passes__sweep=2, passes__confirm=1)
    told = made.told(served_model_name=f"named {KEY}", attention_backend="native")
    told["/get_model_info"]["model_path"] = f"/models/{KEY}"
    made.server.start(told, "--key", KEY, "--fail-at", "12")
    tells = made.folder.parent / "tells"
    tells.mkdir()
    (tells / "sitecustomize.py").write_text(TELLS)
    process = made.start(
        SCOREPARITY_API_KEY_JAX=KEY, SCOREPARITY_API_KEY_PYTORCH="sk-other", PYTHONPATH=str(tells)
    )
    # A busy machine may look too seldom to see a child, so that each tells of itself as well.
    seen: set[str] = set()
    while process.poll() is None:
        seen |= shown_by(process.pid)
        time.sleep(0.01)
    said, _ = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 0, said
    children = [p for p in tells.glob("*.told") if p.stem != str(process.pid)]
    seen |= {path.read_text() for path in children}
    assert any("stages.measure.http.instant" in text for text in seen), "a child was looked at"
    for text in (said, *seen):
        assert KEY not in text
        assert "sk-other" not in text
    assert KEY.encode() not in made.everything()
    assert KEY[:12].encode() not in made.everything()
    told_here = made.matrix.provenance.run.elsewhere
    assert told_here.model_path == "/models/[redacted]"
    assert told_here.settings["served_model_name"] == "named [redacted]"


@pytest.mark.parametrize(
    ("environ", "said"),
    [
        ({}, r"HTTP 401.*; its key is read from the variable SCOREPARITY_API_KEY_JAX"),
        ({"SCOREPARITY_API_KEY_JAX": "sk-wrong-0123456789"}, r"HTTP 401.*no such key: Bearer "),
        ({"SCOREPARITY_API_KEY_PYTORCH": KEY}, r"HTTP 401"),
        ({"SCOREPARITY_API_KEY_JAX": "sk wrong\t"}, r"SCOREPARITY_API_KEY_JAX: the API key is"),
    ],
    ids=["none", "wrong", "of the other backend", "no header can hold it"],
)
def test_a_wrong_key_is_refused_at_once_and_not_printed(place, monkeypatch, environ, said) -> None:
    made: Place = place()
    made.server.start(made.told(), "--key", KEY)
    for name, key in environ.items():
        monkeypatch.setenv(name, key)
    line = refused(made)
    assert re.search(said, line), line
    assert not any(key in line for key in environ.values())
    assert not any(name in os.environ for name in environ), "a child would inherit it"


def test_no_process_that_is_started_gets_a_key(monkeypatch) -> None:
    monkeypatch.setenv("SCOREPARITY_API_KEY_JAX", KEY)
    monkeypatch.setenv("SCOREPARITY_API_KEY_PYTORCH", KEY)
    assert KEY not in clean_environ().values()


@pytest.mark.parametrize(
    ("url", "here"),
    [
        ("http://127.0.0.1:1", True),
        ("http://127.1.2.3", True),
        ("http://localhost:30010/path", True),
        ("https://[::1]:1", True),
        ("http://192.0.2.1:1", False),
        ("http://no-such-host.invalid:1", False),
    ],
)
def test_addresses_of_this_machine_are_recognized(url: str, here: bool) -> None:
    assert is_this_machine(url) is here


def test_an_own_interface_is_this_machine() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", free_port()))  # sends nothing
        except OSError:
            pytest.skip("this machine has no way out")
        address = probe.getsockname()[0]
    assert is_this_machine(f"http://{address}:1")
