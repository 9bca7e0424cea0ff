"""Whatever stands in ``params.yaml``, it is a contract that can be measured or one line."""

from __future__ import annotations

import copy
import math
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml
from contracts import ROOT, committed, raw_contract, run_stage
from hypothesis import given, settings
from hypothesis import strategies as st

from stages.common.errors import UserError
from stages.contract import Contract, TextWorkload, load_contract, parse_contract

COMMITTED = (ROOT / "params.yaml").read_bytes()
TOO_MUCH = 10**9


def refusal(text: str | bytes, folder: Path) -> str | None:
    """The line with which a ``params.yaml`` of this text is refused; ``None`` if it is taken."""
    path = folder / "params.yaml"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    try:
        check(load_contract(path))
    except UserError as error:
        said = str(error)
        assert said.isprintable()
        assert len(said) < 800
        return said
    return None


def check(contract: Contract) -> None:
    """What an accepted contract must be, or a later stage fails in its middle or never ends."""
    limits = contract.limits
    for seconds in (limits.call_timeout_s, limits.start_timeout_s):
        assert 0 < seconds <= 86_400
    for workload in contract.workloads.values():
        assert isinstance(workload, TextWorkload) or workload.items * workload.item_tokens < 10**13
    for count in (contract.passes.sweep, contract.passes.confirm, contract.passes.warmup_limit):
        assert 1 <= count < TOO_MUCH
    assert min(contract.chunk_sizes) <= max(one.items for one in contract.workloads.values())
    assert 0 <= contract.passes.probe_starts <= 100
    for name, workload in contract.workloads.items():
        sizes = contract.chunk_sizes_of(name)
        assert len(sizes) == len(set(sizes))
        assert 1 <= min(sizes) <= max(sizes) == workload.items
    for weights in contract.mix.values():
        assert weights.keys() <= contract.workloads.keys()
        assert all(0 < weight < math.inf for weight in weights.values())
    for number in numbers(contract.model_dump()):
        assert math.isfinite(number)
        assert abs(number) < 2**63
    for text in texts(contract.model_dump()):
        assert text.isprintable()
    for backend in contract.pair.both:
        section = contract.backends[backend]
        for view in (section.portable, section.best_native):
            assert not {"host", "port", "model-path", "device"} & view.flags.keys()
        # What the kernel would refuse for the server's arguments and environment.
        environ = section.launch.environ
        subprocess.list2cmdline(section.launch.program)
        assert not any("\0" in text or "=" in name for name, text in environ.items())


def numbers(value: Any) -> list[float]:
    if isinstance(value, dict):
        return [n for inner in value.values() for n in numbers(inner)]
    if isinstance(value, list):
        return [n for inner in value for n in numbers(inner)]
    return [value] if isinstance(value, int | float) else []


def texts(value: Any) -> list[str]:
    if isinstance(value, dict):
        return [t for pair in value.items() for part in pair for t in texts(part)]
    if isinstance(value, list):
        return [t for inner in value for t in texts(inner)]
    return [value] if isinstance(value, str) else []


def places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """The path of every value in the contract."""
    found = [path] if path else []
    if isinstance(value, dict):
        return found + [p for key, inner in value.items() for p in places(inner, (*path, key))]
    if isinstance(value, list):
        return found + [p for i, inner in enumerate(value) for p in places(inner, (*path, i))]
    return found


SEVERAL = committed() | {"mix": {"busy": {"few": 1, "many": 2.5}}}
PLACES = places(SEVERAL)

odd_values = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.sampled_from([0, -1, 2**31, 2**63, 10**9, 10**12, 10**400, 10**5000]),
    st.floats(),
    st.sampled_from([math.inf, -math.inf, math.nan, 1e308, 5e-324, -0.0]),
    st.text(),
    st.sampled_from(["", " ", "\0", "a\nb", "\x1b[31m", "\ud800", "--host", "x" * 10_000]),
    st.lists(st.integers() | st.text(), max_size=3),
    st.dictionaries(st.text(), st.integers() | st.text(), max_size=3),
)


@settings(max_examples=1500)
@given(st.lists(st.tuples(st.sampled_from(PLACES), odd_values), min_size=1, max_size=3))
def test_a_contract_with_odd_values_is_measurable_or_refused_in_one_line(changes) -> None:
    raw: Any = copy.deepcopy(SEVERAL)
    for path, value in changes:
        section = raw
        try:
            for part in path[:-1]:
                section = section[part]
            section[path[-1]] = copy.deepcopy(value)
        except (KeyError, IndexError, TypeError):
            continue  # an earlier change took the place away
    taken_or_refused(raw)


def taken_or_refused(raw: object) -> str | None:
    """The clean line with which the document is refused; ``None`` if it is taken."""
    try:
        check(parse_contract(raw))
    except UserError as error:
        said = str(error)
    else:
        return None
    assert said.isprintable()
    assert len(said) < 800
    return said


@settings(max_examples=300)
@given(st.dictionaries(st.text(max_size=8), odd_values, min_size=1, max_size=3), st.booleans())
def test_odd_flags_and_variables_are_measurable_or_refused(mapping, flags) -> None:
    raw = raw_contract()
    section = raw["backends"]["jax"]
    (section["best_native"]["flags"] if flags else section["launch"]["environ"]).update(mapping)
    taken_or_refused(raw)


@settings(max_examples=300)
@given(st.integers(0, len(COMMITTED)), st.integers(0, 40), st.binary(max_size=8))
def test_any_edit_of_the_file_is_measurable_or_refused(tmp_path_factory, at, cut, new) -> None:
    folder = tmp_path_factory.mktemp("contract")
    refusal(COMMITTED[:at] + new + COMMITTED[at + cut :], folder)


@settings(max_examples=300)
@given(st.text() | st.binary())
def test_any_text_is_refused_in_one_line(tmp_path_factory, text) -> None:
    data = text.encode("utf-8", "surrogatepass") if isinstance(text, str) else text
    assert refusal(data, tmp_path_factory.mktemp("contract")) is not None


BOMB = "a: &a [x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"{chr(98 + i)}: &{chr(98 + i)} [{', '.join(['*' + chr(97 + i)] * 9)}]\n" for i in range(12)
)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "null",
        "[" * 20_000,
        "{a: " * 5_000,
        BOMB,
        BOMB + "model: *k\n",
        "a: &a [*a]",
        "&a {model: *a}",
        "chunk_sizes: &a [*a]",
        "a: " + "9" * 5_000,
        "chunk_sizes: [0x" + "f" * 100_000 + "]",
        "a: 2020-13-45",
        "1: 2",
        "? [a]\n: 1",
        "!!set {a}",
        "a: !!binary '////'",
        "!!python/object/apply:os.system ['true']",
        "a: 1\n---\nb: 2",
        '"\\e[31m\\0\\uD800": 1',
        b"\xff\xfe\x00\x00",
        b"a: \xff",
        b"\x00",
        b"#" * (8 << 20),
    ],
    ids=lambda text: repr(text[:24]),
)
def test_a_hostile_file_is_one_line(text, tmp_path) -> None:
    assert refusal(text, tmp_path) is not None


@pytest.mark.parametrize("kind", ["0x{}", "[0x{}]"])
@pytest.mark.parametrize("section", ["model", "workloads.many"])
def test_a_kind_too_long_to_be_written_out_is_one_line(section, kind, tmp_path) -> None:
    raw = raw_contract()
    (raw["model"] if section == "model" else raw["workloads"]["many"])["kind"] = "KIND"
    text = yaml.safe_dump(raw).replace("KIND", kind.format("f" * 5000))
    (tmp_path / "params.yaml").write_text(text)
    done = run_stage(tmp_path, "workload")
    assert done.returncode == 2
    (line,) = done.stderr.splitlines()
    assert line.startswith(f"error: params.yaml: {section}.kind: found ")


def test_a_key_given_twice_is_refused_by_name_and_line(tmp_path) -> None:
    text = COMMITTED.decode()
    twice = text + "chunk_sizes: [1]\n"
    said = refusal(twice, tmp_path)
    assert said is not None
    assert "'chunk_sizes' twice" in said
    assert f"line {len(twice.splitlines())}" in said
    assert refusal(text, tmp_path) is None


@pytest.mark.parametrize("flag", ["host", "port", "hos", "po"])
@pytest.mark.parametrize("view", ["portable", "best_native"])
def test_a_contract_cannot_say_where_a_server_listens(view, flag) -> None:
    raw = raw_contract()
    raw["backends"]["jax"][view]["flags"][flag] = "0.0.0.0"
    with pytest.raises(UserError) as caught:
        parse_contract(raw)
    assert str(caught.value).startswith(
        f"params.yaml: backends.jax.{view}.flags.{flag}: found '0.0.0.0'; allowed: nothing:"
        " every server gets --host 127.0.0.1"
    )


@pytest.mark.parametrize("argument", ["--host", "--host=0.0.0.0", "--port", "--por=1"])
def test_the_entry_cannot_either(argument) -> None:
    entry = ["-m", "sglang.launch_server", argument]
    with pytest.raises(UserError, match=r"backends.pytorch.launch.entry\[2\]: found '--"):
        parse_contract(raw_contract(backends__pytorch__launch__entry=entry))


@pytest.mark.parametrize(
    "flag", ["model-path", "revision", "device", "dtype", "api-key", "config", "skip-server-warmup"]
)
def test_a_flag_that_the_contract_gives_elsewhere_is_refused(flag) -> None:
    raw = raw_contract()
    raw["backends"]["pytorch"]["best_native"]["flags"][flag] = "other"
    with pytest.raises(UserError, match=f"best_native.flags.{flag}: found 'other'"):
        parse_contract(raw)


@pytest.mark.parametrize(
    ("changes", "key"),
    [
        ({"limits__call_timeout_s": math.inf}, "limits.call_timeout_s"),
        ({"limits__start_timeout_s": 1e300}, "limits.start_timeout_s"),
        ({"workload__item_tokens": 10**9}, "workloads.many.item_tokens"),
        ({"workload__items": 10**12}, "workloads.many.items"),
        ({"workload__query_tokens": 10**12}, "workloads.many.query_tokens"),
        ({"workload__seed": 10**5000}, "workloads.many.seed"),
        ({"vocabulary__size": 10**12}, "vocabulary.size"),
        ({"passes__sweep": 10**9}, "passes.sweep"),
        ({"probes__repeats": 10**9}, "probes.repeats"),
        ({"selection__resamples": 10**12}, "selection.resamples"),
        ({"oracle__samples_per_chunk": 10**9}, "oracle.samples_per_chunk"),
        ({"prices_usd_per_hour__jax": math.inf}, "prices_usd_per_hour.jax"),
        ({"model__layers": 10**9}, "model.layers"),
        ({"gate__max_abs_diff": 2.0}, "gate.max_abs_diff"),
        ({"identity__target": "a\x1b[31mb"}, "identity.target"),
        ({"identity__target": "\ud800"}, "identity.target"),
        ({"backends__jax__launch__device": "cpu --host"}, "backends.jax.launch.device"),
        ({"backends__jax__launch__entry": ["a\0"]}, "backends.jax.launch.entry"),
        ({"backends__jax__launch__environ": {"A=B": "x"}}, "backends.jax.launch.environ"),
        ({"backends__jax__launch__environ": {"A": "x\0"}}, "backends.jax.launch.environ.A"),
        ({"backends__jax__best_native__flags": {"a b": 1}}, "backends.jax.best_native.flags"),
        ({"backends__jax__best_native__flags": {"a": math.nan}}, "backends.jax.best_native.flags"),
        ({"backends__jax__best_native__flags": {"a": []}}, "backends.jax.best_native.flags.a"),
        ({"backends__jax__best_native__flags": {"a": "--b"}}, "backends.jax.best_native.flags.a"),
    ],
)
def test_what_no_measurement_could_mean_is_refused_by_name(changes, key) -> None:
    with pytest.raises(UserError) as caught:
        parse_contract(raw_contract(**changes))
    assert str(caught.value).startswith(f"params.yaml: {key}")
    assert str(caught.value).isprintable()


def test_every_contract_of_the_project_is_taken(tmp_path) -> None:
    assert refusal(yaml.safe_dump(raw_contract()), tmp_path) is None
