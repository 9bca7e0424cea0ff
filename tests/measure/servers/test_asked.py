"""Requests that a running server received before: recorded, printed, and in the matrix."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from bench import bench_contract, hold, make_bench
from elsewhere import ByHand, told_by
from hypothesis import given
from hypothesis import strategies as st
from journals import finished_passes
from patience import PATIENCE_S, wait_for

from stages.common.errors import UserError
from stages.contract import Contract, View, parse_contract
from stages.documents.matrix import Matrix, read_matrix
from stages.documents.nonce import NONCE_FILE, draw_nonce, write_nonce
from stages.environments.build import cache_root
from stages.measure.servers.asked import MOST_ENTRIES, AskedRecord

URL = "http://192.0.2.1:30010"
WHEN = datetime(2026, 11, 27, 10, 0, tzinfo=UTC)
TOLD = "was sent the same requests on "


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("SCOREPARITY_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def record(url: str = URL, settings: str = "5e" * 32, **changes: Any) -> AskedRecord:
    fields: dict[str, Any] = {"backend": "jax", **changes}
    return AskedRecord(url=url, settings_sha256=settings, **fields)


def test_what_was_never_noted_was_not_asked(cache: Path) -> None:
    assert record().earlier("a" * 16, "one") is None


def test_a_record_names_another_measurement_with_the_nonce_and_not_the_same_one(
    cache: Path,
) -> None:
    record().note("a" * 16, "one", WHEN)
    assert record().earlier("a" * 16, "two") == WHEN
    assert record().earlier("a" * 16, "one") is None
    assert record().earlier("b" * 16, "two") is None


def test_of_several_measurements_the_time_of_the_first_counts(cache: Path) -> None:
    for hours, name in ((1, "one"), (0, "two"), (2, "three")):
        record().note("a" * 16, name, WHEN + timedelta(hours=hours))
    assert record().earlier("a" * 16, "four") == WHEN


def test_a_measurement_that_goes_on_keeps_its_first_time(cache: Path) -> None:
    record().note("a" * 16, "one", WHEN)
    record().note("a" * 16, "one", WHEN + timedelta(hours=1))
    assert record().earlier("a" * 16, "two") == WHEN
    (path,) = (cache / "asked").glob("*.json")
    assert len(json.loads(path.read_bytes())["asked"]) == 1


@pytest.mark.parametrize(
    "changes",
    [{"url": "http://192.0.2.1:30011"}, {"backend": "pytorch"}, {"settings": "6f" * 32}],
    ids=["another URL", "the other backend", "a server with other settings"],
)
def test_another_server_was_not_asked(cache: Path, changes: dict[str, Any]) -> None:
    record().note("a" * 16, "one", WHEN)
    assert record(**changes).earlier("a" * 16, "two") is None


def test_a_url_with_and_without_a_slash_at_its_end_is_one_server(cache: Path) -> None:
    record().note("a" * 16, "one", WHEN)
    assert record(url=URL + "/").earlier("a" * 16, "two") == WHEN


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("http://gpu-vm:30010", "HTTP://GPU-VM:30010"),
        ("http://gpu-vm:30010", "http://gpu-vm:030010"),
        ("http://gpu-vm", "http://gpu-vm:80/"),
        ("https://gpu-vm/a", "https://gpu-vm:443/a/"),
        ("http://[FD00::1]:30010", "http://[fd00::1]:30010"),
    ],
)
def test_two_spellings_of_one_url_are_one_server(cache: Path, one: str, other: str) -> None:
    record(url=one).note("a" * 16, "one", WHEN)
    assert record(url=other).earlier("a" * 16, "two") == WHEN


@pytest.mark.parametrize(
    "other",
    [
        "https://gpu-vm:80",
        "http://gpu-vm:81",
        "http://gpu-vm2",
        "http://gpu-vm/v",
        "http://gpu-vm/V",
    ],
)
def test_urls_that_name_something_else_are_other_servers(cache: Path, other: str) -> None:
    record(url="http://gpu-vm").note("a" * 16, "one", WHEN)
    record(url="http://gpu-vm/v").note("b" * 16, "one", WHEN)
    found = [record(url=other).earlier(nonce * 16, "two") for nonce in "ab"]
    assert found == [None, WHEN if other == "http://gpu-vm/v" else None]


def test_it_stays_small_and_forgets_the_oldest(cache: Path) -> None:
    (entry,) = [record().note("0" * 16, "first", WHEN)] and list((cache / "asked").iterdir())
    document = json.loads(entry.read_bytes())
    more = [
        {**document["asked"][0], "nonce": f"{number:016x}", "measurement": str(number)}
        for number in range(1, MOST_ENTRIES + 1)
    ]
    entry.write_text(json.dumps({**document, "asked": [*document["asked"], *more]}))
    record().note("f" * 16, "last", WHEN)
    assert len(json.loads(entry.read_bytes())["asked"]) == MOST_ENTRIES
    assert record().earlier("0" * 16, "me") is None
    assert record().earlier(f"{MOST_ENTRIES:016x}", "me") == WHEN
    assert record().earlier("f" * 16, "me") == WHEN


@pytest.mark.parametrize(
    "damage",
    [
        b"",
        b"\xff\x00",
        b"[" * 100_000,
        b'{"version": 1}',
        b'{"version": 1, "asked": [{"nonce": "a"}]}',
    ],
)
def test_a_damaged_record_is_one_line_and_the_next_note_makes_it_whole(
    cache: Path, damage: bytes
) -> None:
    record().note("a" * 16, "one", WHEN)
    (path,) = (cache / "asked").iterdir()
    path.write_bytes(damage)
    with pytest.raises(UserError) as caught:
        record().earlier("a" * 16, "two")
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)
    record().note("b" * 16, "two", WHEN)
    assert record().earlier("b" * 16, "three") == WHEN


def test_a_time_without_a_zone_is_damage(cache: Path) -> None:
    record().note("a" * 16, "one", WHEN)
    (path,) = (cache / "asked").iterdir()
    path.write_text(path.read_text().replace("Z", ""))
    with pytest.raises(UserError):
        record().earlier("a" * 16, "two")


@given(data=st.binary(max_size=300))
def test_any_bytes_are_a_record_or_one_line(
    tmp_path_factory: pytest.TempPathFactory, data: bytes
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SCOREPARITY_CACHE", str(tmp_path_factory.mktemp("cache")))
        record().path.parent.mkdir()
        record().path.write_bytes(data)
        with pytest.raises(UserError):
            record().earlier("a" * 16, "two")


@dataclass
class Place:
    """A bench whose JAX server is at a URL and stays up from one measurement to the next."""

    folder: Path
    cache: Path
    server: ByHand
    made: Contract
    view: View

    @property
    def held(self) -> Path:
        return self.folder.parent / "held"

    def serve(self) -> None:
        told = told_by(self.made, "jax", self.view)
        self.server.start(told, "--hold", str(self.held))

    def hold(self, *keys: tuple[Any, int, int]) -> None:
        hold(self.held, self.made, *keys)

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, "-m", "stages.measure", "jax", self.view, *arguments],
            cwd=self.folder,
            env={
                **os.environ,
                "TMPDIR": str(self.folder.parent),
                "SCOREPARITY_CACHE": str(self.cache),
            },
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def measure(self, *arguments: str) -> str:
        process = self.start(*arguments)
        said, _ = process.communicate(timeout=PATIENCE_S)
        assert process.returncode == 0, said
        return said

    def kill_once(self, reached: Callable[[], bool], *arguments: str) -> None:
        """Kill a measurement without warning once it has got so far, and let the server go on."""
        process = self.start(*arguments)
        wait_for(lambda: reached() or process.poll() is not None)
        assert process.poll() is None, process.communicate()
        process.kill()
        process.communicate()
        self.held.unlink()

    def is_recorded(self) -> bool:
        return any((self.cache / "asked").glob("*.json"))

    def has_passes(self) -> bool:
        return bool(finished_passes(self.cache))

    @property
    def matrix(self) -> Matrix:
        return read_matrix(self.folder / f"data/measure/jax-{self.view}/matrix.parquet")

    @property
    def repeated(self) -> bool | None:
        return self.matrix.provenance.run.requests_repeated


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Callable[..., Place]]:
    """Makes a bench; its server is stopped at the end."""
    server = ByHand(tmp_path)

    def make(view: View = "best_native", *, elsewhere: bool = True, alike: bool = False) -> Place:
        raw = bench_contract(passes__sweep=2, passes__confirm=1, chunk_sizes=[2, 4])
        backend = raw["backends"]["jax"]
        if elsewhere:
            backend[view]["base_url"] = server.url
        if alike:
            backend["portable"] = backend["best_native"] = backend[view]
        cache = tmp_path / "cache"
        cache.mkdir()
        (cache / "environments").symlink_to(cache_root() / "environments")
        make_bench(tmp_path / "bench", raw)
        return Place(tmp_path / "bench", cache, server, parse_contract(raw), view)

    yield make
    server.close()


def test_a_second_measurement_of_a_running_server_is_printed_and_on_record(place) -> None:
    made: Place = place()
    made.serve()
    before = datetime.now(UTC)
    assert TOLD not in made.measure()
    after = datetime.now(UTC)
    assert made.repeated is False
    (line,) = [line for line in made.measure("--fresh").splitlines() if TOLD in line]
    told = re.fullmatch(
        rf"jax-best_native: the server at {made.server.url} {TOLD}(\S+ \S+) UTC; its prefix cache"
        r" may answer some of them\. `make remeasure` draws a new nonce\.",
        line,
    )
    assert told is not None, line
    at = datetime.fromisoformat(f"{told[1]}+00:00")
    assert before - timedelta(minutes=1) < at <= after
    assert made.repeated is True
    # Another comparison has asked nothing yet.
    write_nonce(made.folder / NONCE_FILE, draw_nonce())
    assert TOLD not in made.measure()
    assert made.repeated is False


def test_the_other_view_of_one_server_asks_the_same_requests(place) -> None:
    made: Place = place("portable", alike=True)
    made.serve()
    made.measure()
    assert made.repeated is False
    other = replace(made, view="best_native")
    other.measure()
    assert other.repeated is True


def test_a_server_launched_here_starts_with_an_empty_cache(place) -> None:
    made: Place = place(elsewhere=False)
    for _ in range(2):
        assert TOLD not in made.measure("--fresh")
        assert made.repeated is False
    assert not (made.cache / "asked").exists()


def test_without_a_prefix_cache_a_repetition_is_on_record_and_not_worth_a_line(place) -> None:
    made: Place = place("portable")
    made.serve()
    made.measure()
    assert TOLD not in made.measure("--fresh")
    assert made.repeated is True


def test_a_measurement_that_goes_on_is_no_repetition_of_itself_but_of_the_pass_in_flight(
    place,
) -> None:
    made: Place = place()
    made.hold(("sweep", 2, 0), ("sweep", 2, 1))
    made.serve()
    made.kill_once(made.has_passes)
    said = made.measure()
    assert "going on after" in said
    assert TOLD not in said
    assert made.repeated is True


def test_one_killed_in_its_first_pass_has_asked_already(place) -> None:
    made: Place = place()
    made.hold(*[("warmup", chunk, 0) for chunk in (2, 4)])
    made.serve()
    made.kill_once(made.is_recorded)
    said = made.measure()
    assert "going on after" not in said
    assert TOLD in said
    assert made.repeated is True


def test_what_the_first_process_knew_is_known_when_it_goes_on_without_the_record(place) -> None:
    made: Place = place()
    made.serve()
    made.measure()
    made.hold(("sweep", 2, 0), ("sweep", 2, 1))
    made.kill_once(made.has_passes, "--fresh")
    (path,) = (made.cache / "asked").glob("*.json")
    path.write_bytes(b"no record")
    said = made.measure()
    assert "going on after" in said
    (line,) = [line for line in said.splitlines() if str(path) in line]
    assert line.startswith("jax-best_native: ")
    assert made.repeated is True


def test_a_damaged_record_is_printed_and_stops_no_measurement(place) -> None:
    made: Place = place()
    made.serve()
    made.measure()
    (path,) = (made.cache / "asked").glob("*.json")
    path.write_bytes(b"no record")
    said = made.measure("--fresh")
    (line,) = [line for line in said.splitlines() if str(path) in line]
    assert line.endswith("; it is not known whether its server was sent the same requests before")
    assert made.repeated is None, "what nobody knows is not a no"
    assert TOLD in made.measure("--fresh")
    assert made.repeated is True
