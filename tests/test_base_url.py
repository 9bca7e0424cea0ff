"""Where a server started elsewhere answers, as the contract says it: a URL without secrets."""

from __future__ import annotations

import pytest
from contracts import contract, raw_contract

from stages.contract import parse_contract
from stages.errors import ContractError


@pytest.mark.parametrize("view", ["portable", "best_native"])
@pytest.mark.parametrize(
    "url",
    [
        "http://127.0.0.1:30010",
        "https://tpu-vm.example.org",
        "http://[::1]:30010/",
        "https://gateway.example.org:8443/models/qwen-3_0.6b/",
    ],
)
def test_a_plain_url_is_taken(url, view) -> None:
    made = contract(**{f"backends__jax__{view}__base_url": url})
    assert getattr(made.backends.jax, view).base_url == url


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


def test_the_key_is_required_so_that_null_is_said() -> None:
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
