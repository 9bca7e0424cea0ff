"""A health request goes straight to the server, like every call, and never raises."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest
from bench import SCORING_SERVER, bench_contract, inside, make_bench
from contracts import WORKLOAD
from hostile import PROXIES
from misbehaving import closes, hangs, http, misbehaving, refused_url, resets, says

from stages.contract import parse_contract
from stages.measure.servers.health import health, probe_server
from stages.measure.servers.launched import Server, server_environment
from stages.measure.servers.remote import RemoteServer
from stages.plan.plan import Plan, make_plan

KEY = "sk-test-93f1c07be2aa4410"

SHELLS: dict[str, dict[str, str]] = {
    "no proxy": {},
    "a SOCKS proxy": {"ALL_PROXY": "socks5://127.0.0.1:9"},
    "exceptions that are networks": {"no_proxy": "localhost,fe80::/10", "NO_PROXY": "fe80::/10"},
    "an HTTP proxy": {"HTTP_PROXY": "http://127.0.0.1:9", "http_proxy": "http://127.0.0.1:9"},
    "no URL at all": {"HTTP_PROXY": "\x7f", "ALL_PROXY": "nonsense"},
    "all of them": PROXIES,
    "certificates that are not there": {"SSL_CERT_FILE": "/nowhere", "SSL_CERT_DIR": "/nowhere"},
}


@pytest.fixture(params=SHELLS)
def shell(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in PROXIES:
        monkeypatch.delenv(name, raising=False)
    for name, value in SHELLS[request.param].items():
        monkeypatch.setenv(name, value)


def plan_at(folder: Path, url: str) -> Plan:
    raw: dict[str, Any] = bench_contract()
    raw["backends"]["jax"]["portable"]["base_url"] = url
    make_bench(folder, raw)
    with inside(folder):
        return make_plan(parse_contract(raw), "jax", "portable")


def test_a_launched_server_is_asked_in_whatever_shell(shell, tmp_path) -> None:
    command = [sys.executable, SCORING_SERVER]
    with Server(command, server_environment({}, {}), tmp_path / "log") as server:
        server.wait_until_healthy(lambda: None, 60)
        assert health(server) == "it answers no call, while /health says 200"


def test_a_server_elsewhere_is_asked_below_its_path_and_with_its_key(shell, tmp_path) -> None:
    with misbehaving(says(http(b"", 503))) as server:
        plan = plan_at(tmp_path, f"{server.url}/models/qwen/")
        found = health(RemoteServer(plan, KEY))
        assert found == "it answers no call, while /health says 503"
        head = server.heads[0].decode().lower().split("\r\n")
        assert head[0] == "get /models/qwen/health http/1.1"
        assert f"host: {server.url.removeprefix('http://')}" in head
        assert f"authorization: bearer {KEY}" in head


@pytest.mark.parametrize("fault", [closes, hangs, resets, says(b"SSH-2.0-OpenSSH_9.2\r\n")])
def test_a_server_that_does_not_answer_health_either_is_reported(
    fault, tmp_path, monkeypatch
) -> None:
    monkeypatch.setattr("stages.measure.servers.health._HEALTH_TIMEOUT_S", 0.5)
    with misbehaving(fault) as server:
        found = health(RemoteServer(plan_at(tmp_path, server.url), None))
    assert found.startswith("/health does not answer either (")
    assert found.isprintable()


@pytest.mark.parametrize(
    "url",
    [
        "http://no-such-host.invalid:1",
        f"http://{'a' * 64}.example:1",
        "http://a..b:1",
        "https://127.0.0.1:9",
    ],
)
def test_a_server_that_does_not_exist_is_reported(url, tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("SSLKEYLOGFILE", "/proc/nowhere")
    found = health(RemoteServer(plan_at(tmp_path, url), KEY))
    assert found.startswith("/health does not answer either (")


def test_a_server_that_is_gone_is_reported(tmp_path) -> None:
    found = health(RemoteServer(plan_at(tmp_path, refused_url()), None))
    assert found == "/health does not answer either ([Errno 111] Connection refused)"


def test_scored_calls_go_straight_to_the_server_in_whatever_shell(shell, tmp_path) -> None:
    command = [sys.executable, SCORING_SERVER]
    workload = plan_at(tmp_path, "http://127.0.0.1:1").workloads.by_name[WORKLOAD]
    log = tmp_path / "log"
    with Server(command, server_environment({}, {}), log) as server, server.connect(20) as one:
        server.wait_until_healthy(lambda: probe_server(one, workload), 60)
        assert probe_server(one, workload) is None
