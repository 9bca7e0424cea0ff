"""The URL of a server started elsewhere, as the contract gives it, without secrets."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from contracts import ROOT, contract, raw_contract
from misbehaving import http, misbehaving, says

from stages.common.errors import ContractError
from stages.contract import parse_contract


@pytest.mark.parametrize("view", ["portable", "best_native"])
@pytest.mark.parametrize(
    "url",
    [
        "http://127.0.0.1:30010",
        "https://tpu-vm.example.org",
        "http://[::1]:30010/",
        "https://gateway.example.org:8443/models/qwen-3_0.6b/",
        "http://sglang_jax:30000",
        "http://sglang_jax.my_stack_default:30000/v1_x",
    ],
)
def test_a_plain_url_is_taken(url, view) -> None:
    made = contract(**{f"backends__jax__{view}__base_url": url})
    assert getattr(made.backends["jax"], view).base_url == url


@pytest.mark.parametrize(
    "url",
    [
        "",
        "127.0.0.1:30010",
        "ftp://host",
        "file:///etc/passwd",
        "http://",
        "http://:80",
        "http://host:0",
        "http://host:99999",
        "http://host:port",
        "http://ho st",
        "http://host/a b",
        "http://host/%0d%0aX-Evil:1",
        "http://host\\evil",
        "http://[::1",
        "http://[host]",
        "http://host\r\nX-Evil: 1",
        "http://host/\u202e",
        "//host",
        "javascript:alert(1)",
        5,
        ["http://host"],
        "http://" + "h" * 2000,
    ],
)
def test_anything_else_is_refused_by_name(url) -> None:
    with pytest.raises(ContractError) as caught:
        contract(backends__pytorch__portable__base_url=url)
    said = str(caught.value)
    assert said.startswith("params.yaml: backends.pytorch.portable.base_url: found ")
    assert said.isprintable()


@pytest.mark.parametrize(
    "url",
    [
        "http://user:s3cr3t@host",
        "http://s3cr3t@host",
        "http://host/?api_key=s3cr3t",
        "http://host/#s3cr3t",
        "http://[s3cr3t@host",
    ],
)
def test_a_url_with_a_secret_is_refused_without_repeating_it(url) -> None:
    with pytest.raises(ContractError, match="a key comes from the environment") as caught:
        contract(backends__jax__portable__base_url=url)
    assert "s3cr3t" not in str(caught.value)


def test_the_key_is_required_so_that_null_is_written_out() -> None:
    raw = raw_contract()
    del raw["backends"]["jax"]["portable"]["base_url"]
    with pytest.raises(ContractError, match=r"backends.jax.portable.base_url: found 'nothing'"):
        parse_contract(raw)


@pytest.mark.parametrize("flag", ["api-key", "admin-api-key"])
def test_no_secret_stands_among_the_flags(flag) -> None:
    raw = raw_contract()
    raw["backends"]["jax"]["portable"]["flags"][flag] = "x"
    with pytest.raises(ContractError, match="no secret stands in a contract"):
        parse_contract(raw)


CALLS = """
import sys
from types import SimpleNamespace
from stages.measure.http.client import ScoreConnection
from stages.measure.servers.health import health
from stages.measure.servers.remote import RemoteServer, is_this_machine
url = sys.argv[1]
with ScoreConnection(url, 20) as connection:
    assert connection.send(connection.prepare(b"{}")).status == 200
server = RemoteServer(SimpleNamespace(contract=SimpleNamespace(base_url=url)), None)
assert server.death() is None, server.death()
assert health(server).endswith("/health says 200"), health(server)
assert is_this_machine(url)
"""


def test_a_service_of_a_compose_file_is_reached_by_its_name(tmp_path: Path) -> None:
    """The real resolver, with a table of hosts of its own."""
    hosts = tmp_path / "hosts"
    hosts.write_text("127.0.0.1 localhost sglang_jax\n")
    inside = ["unshare", "--mount", "sh", "-ec", 'mount --bind "$0" /etc/hosts; exec "$@"']
    command = [*inside, str(hosts)]
    tried = subprocess.run([*command, "true"], capture_output=True, text=True)
    if tried.returncode != 0:
        pytest.skip(f"the table of hosts cannot be another one here: {tried.stderr.strip()}")
    with misbehaving(says(http(b"{}"))) as server:
        url = server.url.replace("127.0.0.1", "sglang_jax")
        command += [sys.executable, "-c", CALLS, url]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        name = url.removeprefix("http://").encode()
        assert len(server.heads) == 2
        assert all(b"\r\nhost: " + name in head.lower() for head in server.heads)
