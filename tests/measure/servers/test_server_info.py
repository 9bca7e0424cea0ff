"""A server's report of itself: checked by name, reduced, and without its secrets."""

from __future__ import annotations

import json
from typing import Any

import pytest
from contracts import contract
from elsewhere import SECRET, told_by
from hypothesis import given, settings
from hypothesis import strategies as st

from stages.backends.registry import declared
from stages.checkpoint.synthetic import write_synthetic
from stages.common.errors import UserError, hide
from stages.common.files import sha256
from stages.contract import Backend, SyntheticModel
from stages.documents.matrix import Model
from stages.documents.model import checkpoint_sha256
from stages.measure.servers.info import (
    ServerIdentity,
    Wanted,
    identify,
    parse_answer,
    settings_sha256,
)

MADE = contract()
LOCAL = Model(title="untrained", sha256="ab" * 32, trained=False, path="data/c", revision=None)
HUB = Model(title="Q/M-1B", sha256="cd" * 32, trained=True, path="Q/M-1B", revision="c0ffee")


def wanted(
    view: str = "portable", model: Model = LOCAL, backend: Backend = "jax", **flags: Any
) -> Wanted:
    section = MADE.backends[backend]
    named = {name.replace("_", "-"): value for name, value in flags.items()}
    return Wanted(
        key=f"backends.{backend}",
        view=view,
        model=model,
        device=section.launch.device,
        dtype=section.launch.dtype,
        flags=section.view(view).flags | named,  # type: ignore[arg-type]
        defaults=declared(backend).reported_defaults(named),
        items=32,
    )


def told(view: str = "portable", backend: Backend = "jax", **changes: Any) -> dict[str, Any]:
    said: dict[str, Any] = told_by(MADE, backend, view, **changes)["/get_server_info"]  # type: ignore[arg-type]
    return said


def introduced(
    server: dict[str, Any],
    of: Wanted | None = None,
    model_path: object = "/elsewhere/c",
    folder_sha256: str | None = None,
) -> ServerIdentity:
    return identify(
        server,
        {"model_path": model_path},
        of or wanted(),
        same_machine=False,
        compiles_hidden=True,
        folder_sha256=folder_sha256,
    )


def refusal(server: dict[str, Any], *arguments: Any, **named: Any) -> str:
    with pytest.raises(UserError) as caught:
        introduced(server, *arguments, **named)
    said = str(caught.value)
    assert said.isprintable()
    assert len(said) < 600
    return said


def test_a_server_as_the_contract_wants_it_is_taken_with_what_matters() -> None:
    found = introduced(told(), model_path="/elsewhere/c")
    assert found.version == "9.8.7"
    assert found.elsewhere.model_path == "/elsewhere/c"
    assert found.elsewhere.settings == {
        "dtype": "float32",
        "device": "cpu",
        "attention_backend": "native",
        "tp_size": 1,
        "chunked_prefill_size": -1,
        "page_size": 1,
        "mem_fraction_static": 0.2,
        "disable_radix_cache": True,
        "revision": None,
    }


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"dtype": "bfloat16"}, "dtype is 'bfloat16' there, but the contract wants 'float32'"),
        ({"dtype": None}, "dtype is not set there"),
        ({"device": "tpu"}, "device is 'tpu' there, but the contract wants 'cpu'"),
        ({"disable_radix_cache": False}, "portable.flags.disable-radix-cache"),
        ({"disable_radix_cache": 1}, "disable_radix_cache is 1 there"),
        ({"chunked_prefill_size": 2048}, "chunked_prefill_size is 2048 there, but the contract"),
        ({"mem_fraction_static": 0.9}, "mem_fraction_static is 0.9 there"),
        ({"attention_backend": "fa"}, "attention_backend is 'fa' there"),
        ({"page_size": "1"}, "page_size is '1' there, but the contract wants 1"),
        ({"page_size": True}, "page_size is True there"),
        ({"multi_item_scoring_chunk_size": 8}, "at least 32: the portable view allows no hidden"),
        ({"version": 5}, "reports no version"),
        ({"dtype": "x" * 10**6}, "dtype is 'xxx"),
        ({"dtype": "\x1b[31m\nfloat32"}, "dtype is"),
        ({"dtype": {"a": [SECRET]}}, "dtype is"),
    ],
)
def test_what_differs_is_named_with_both_values(changes, said) -> None:
    assert said in refusal(told(**changes))


def test_packing_switches_the_radix_cache_off_and_may() -> None:
    of = wanted("best_native", backend="pytorch", enable_mis=True)
    assert introduced(told("best_native", "pytorch", enable_mis=True, disable_radix_cache=True), of)
    said = refusal(told("best_native", "pytorch", enable_mis=False, disable_radix_cache=True), of)
    assert "enable_mis is False there, but the contract wants True" in said


def test_a_view_that_names_no_radix_cache_wants_one() -> None:
    of = wanted("best_native")
    assert introduced(told("best_native"), of)
    said = refusal(told("best_native", disable_radix_cache=True), of)
    assert said == (
        "disable_radix_cache is True there, but the contract wants False"
        " (backends.jax.best_native.flags.disable-radix-cache)"
    )


def test_a_server_may_split_as_it_likes_where_the_view_allows_it() -> None:
    server = told("best_native", multi_item_scoring_chunk_size=8)
    found = introduced(server, wanted("best_native"))
    assert found.elsewhere.settings["multi_item_scoring_chunk_size"] == 8


@pytest.mark.parametrize("chunk", [32, 500, 0, -1, None, True, "dense"])
def test_a_server_side_chunk_that_splits_nothing_is_no_reason(chunk) -> None:
    assert introduced(told(multi_item_scoring_chunk_size=chunk))


def test_a_flag_that_the_server_does_not_report_is_refused_with_a_way_out() -> None:
    said = refusal(told(), wanted(enable_magic=True))
    assert "does not report enable_magic, so backends.jax.portable.flags.enable-magic" in said
    assert "leave the flag out" in said


def test_a_flag_under_another_name_and_a_flag_left_out_are_understood() -> None:
    of = wanted(tensor_parallel_size=2, enable_mis=False)
    assert introduced(told(tp_size=2, enable_mis=None), of)
    assert "tp_size is 1 there, but the contract wants 2" in refusal(told(enable_mis=False), of)


@pytest.mark.parametrize(
    ("path", "revision", "check"),
    [
        ("Q/M-1B", "c0ffee", "revision"),
        ("/cache/models--Q--M-1B/snapshots/c0ffee", None, "revision"),
        ("Q/M-1B", None, "revision is not set there, but the contract wants 'c0ffee'"),
        ("Q/M-1B", "main", "revision is 'main' there"),
        ("Q/M-8B", "c0ffee", "model_path is 'Q/M-8B' there, but the contract wants 'Q/M-1B'"),
        ("/cache/models--Q--M-1B/snapshots/other", "c0ffee", "model_path is '/cache"),
        ("c0ffee", "c0ffee", "model_path is 'c0ffee'"),
        (None, "c0ffee", "reports no model_path"),
        (7, "c0ffee", "reports no model_path"),
    ],
)
def test_a_hub_model_is_identified_by_repository_and_revision(path, revision, check) -> None:
    server, of = told(revision=revision), wanted(model=HUB)
    if check == "revision":
        assert introduced(server, of, path).elsewhere.model_check == check
    else:
        assert check in refusal(server, of, path)


def test_a_local_model_is_identified_by_its_folder_where_that_can_be_read() -> None:
    assert introduced(told()).elsewhere.model_check == "none"
    assert introduced(told(), folder_sha256="ab" * 32).elsewhere.model_check == "hash"
    assert "the SHA-256 of its model folder is 'ffff" in refusal(told(), folder_sha256="ff" * 32)


def test_the_folders_hash_is_the_one_that_the_checkpoint_is_known_by(tmp_path) -> None:
    small = MADE.model.model_copy(update={"hidden_size": 8, "layers": 1})
    assert isinstance(small, SyntheticModel)
    made = write_synthetic(small, MADE.vocabulary, tmp_path)
    assert checkpoint_sha256(tmp_path) == made.sha256
    assert checkpoint_sha256(tmp_path / "none") is None
    # A tokenizer belongs to the checkpoint that has one.
    (tmp_path / "tokenizer.json").write_bytes(b"{}")
    files = ("config.json", "model.safetensors", "tokenizer.json")
    whole = b"".join((tmp_path / name).read_bytes() for name in files)
    assert checkpoint_sha256(tmp_path) == sha256(whole)
    assert checkpoint_sha256(tmp_path / "a\0b") is None


def test_no_secret_is_kept_not_even_as_part_of_a_hash() -> None:
    server = told()
    text = introduced(server).model_dump_json()
    assert SECRET not in text
    assert settings_sha256(server) == settings_sha256(told(api_key="another", admin_api_key=None))


def test_a_secret_that_is_known_here_is_redacted_wherever_it_stands() -> None:
    hide("sk-known-123456")
    found = introduced(told(served_model_name="a sk-known-123456 b", version="1 sk-known-123456"))
    assert "sk-known" not in found.model_dump_json()


def test_the_hash_depends_on_settings_and_not_on_the_start() -> None:
    first = settings_sha256(told(startup_time=1.0, port=1, random_seed=3))
    assert first == settings_sha256(told(startup_time=2.0, port=2, random_seed=4))
    assert first != settings_sha256(told(max_running_requests=9))


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"null",
        b"[]",
        b"{",
        b"\xff",
        b"\0",
        b"[" * 200_000,
        b'{"a":' * 100_000 + b"1" + b"}" * 100_000,
        b'{"a": ' + b"9" * 5_000 + b"}",
    ],
    ids=lambda body: repr(body[:12]),
)
def test_what_is_no_json_object_is_refused(body) -> None:
    with pytest.raises(ValueError, match="JSON"):
        parse_answer(body)


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


@settings(max_examples=300)
@given(st.dictionaries(st.sampled_from(sorted(told())) | st.text(), values, max_size=4), values)
def test_whatever_a_server_reports_is_bounded_or_refused_in_one_line(changes, path) -> None:
    server = parse_answer(json.dumps(told() | changes).encode())
    try:
        found = introduced(server, model_path=path)
    except UserError as error:
        said = str(error)
        assert said.isprintable()
        assert len(said) < 600
        return
    text = found.model_dump_json()
    assert ServerIdentity.model_validate_json(text) == found
    assert len(text) < 12_000
    for name, value in found.elsewhere.settings.items():
        assert name.isidentifier()
        assert not isinstance(value, str) or (value.isprintable() and len(value) <= 200)
