"""Another server behind a measured `base_url` is noticed, by a real one that answers there."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
import yaml
from bench import bench_contract, inside, make_bench
from click.testing import CliRunner
from elsewhere import SECRET, ByHand, told_by

from stages.contract import parse_contract
from stages.documents.matrix import MATRIX_FILE, folder_of
from stages.measure.command import measure
from stages.measure.servers.remote import first_contact
from stages.plan.plan import make_plan
from tools.served import main

KEY = "sk-test-0c1d2e3f"


class Place:
    """A bench whose JAX server of the portable view was measured at a URL."""

    def __init__(self, folder: Path, server: ByHand) -> None:
        self.folder, self.server = folder, server
        self.raw = bench_contract()
        self.raw["backends"]["jax"]["portable"]["base_url"] = server.url
        self.made = parse_contract(self.raw)
        make_bench(folder, self.raw)

    def start(self, *arguments: str, model: str = "nowhere", **changes: Any) -> None:
        told = told_by(self.made, "jax", "portable", **changes)
        self.server.stop()
        self.server.start({**told, "/get_model_info": {"model_path": model}}, *arguments)

    def measure(self, api_key: str | None = None) -> None:
        with inside(self.folder):
            plan = make_plan(self.made, "jax", "portable")
            measure(plan, folder_of("jax", "portable"), contact=first_contact(plan, api_key))

    def said(self) -> list[str]:
        with inside(self.folder):
            result = CliRunner().invoke(main, [])
        assert result.exit_code == 0, result.output
        assert result.stdout == ""
        return result.stderr.splitlines()


@pytest.fixture(scope="module")
def measured(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    folder = tmp_path_factory.mktemp("served")
    with closing(ByHand(folder)) as server:
        place = Place(folder / "bench", server)
        place.start()
        place.measure()
        yield place


def test_the_server_that_was_measured_is_not_remarked_on(measured: Place) -> None:
    measured.start()  # started again with the same settings
    assert measured.said() == []


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"version": "9.9.0"}, "version 9.8.7, now 9.9.0"),
        ({"tp_size": 2}, "other settings"),
        ({"model": "elsewhere"}, "model nowhere, now elsewhere"),
    ],
)
def test_another_server_is_noticed_in_one_line(
    measured: Place, changes: dict[str, Any], named: str
) -> None:
    measured.start(**changes)
    (line,) = measured.said()
    assert line.startswith(f"jax-portable: the server at {measured.server.url} is not the one that")
    assert f" UTC ({named}); the report is about that one, and `make remeasure`" in line
    assert SECRET not in line


def test_a_server_that_is_gone_could_not_be_checked(measured: Place) -> None:
    measured.server.stop()
    (line,) = measured.said()
    assert f"{measured.server.url} could not be checked (" in line
    assert "the report is about the one measured on" in line


def test_its_key_is_sent_and_told_to_nobody(
    measured: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    measured.start("--key", KEY)
    (line,) = measured.said()
    assert "could not be checked (/get_server_info answers HTTP 401)" in line
    monkeypatch.setenv("SCOREPARITY_API_KEY_JAX", KEY)
    assert measured.said() == []
    monkeypatch.setenv("SCOREPARITY_API_KEY_JAX", f"{KEY}-wrong")
    (line,) = measured.said()
    assert KEY not in line


@pytest.mark.parametrize("change", ["base_url", "unavailable"])
def test_what_was_not_measured_at_that_url_is_not_asked_about(measured: Place, change: str) -> None:
    measured.server.stop()
    path = measured.folder / "params.yaml"
    before = path.read_text()
    raw = yaml.safe_load(before)
    other = {"base_url": "http://127.0.0.1:9", "unavailable": "refuses a flag"}[change]
    raw["backends"]["jax"]["portable"][change] = other
    path.write_text(yaml.safe_dump(raw))
    try:
        assert measured.said() == []
    finally:
        path.write_text(before)


def test_without_a_matrix_there_is_nothing_to_compare_with(tmp_path: Path) -> None:
    with closing(ByHand(tmp_path)) as server:
        place = Place(tmp_path / "bench", server)
        assert not (place.folder / folder_of("jax", "portable") / MATRIX_FILE).exists()
        assert place.said() == []
