"""``params.yaml`` has the same values here as in dvc, or is refused by name."""

from __future__ import annotations

import datetime
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml
from bench import inside
from click.testing import CliRunner
from contracts import ROOT, raw_contract
from dvc.utils.serialize import YAMLError, dumps_yaml, parse_yaml
from hypothesis import given
from hypothesis import strategies as st

from stages.common.errors import ContractError, UserError
from stages.contract import load_contract
from stages.contract.document import read_yaml
from tools.compose import composed
from tools.plan.command import main as plan

COMMITTED = (ROOT / "params.yaml").read_text("utf-8")


def written(folder: Path, old: str, new: str) -> Path:
    """The committed contract with one line replaced."""
    assert COMMITTED.count(old) >= 1
    path = folder / "params.yaml"
    path.write_text(COMMITTED.replace(old, new, 1), "utf-8")
    return path


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("2e-2", 0.02),
        ("2E-2", 0.02),
        ("2.e-2", 0.02),
        (".2e-1", 0.02),
        ("20e-3", 0.02),
        (".5", 0.5),
    ],
)
def test_a_number_may_have_an_exponent(tmp_path: Path, text: str, value: float) -> None:
    made = load_contract(written(tmp_path, "max_abs_diff: 0.02", f"max_abs_diff: {text}"))
    assert made.gate.max_abs_diff == value


def test_an_exponent_on_the_command_line_is_the_same_number(tmp_path: Path) -> None:
    with inside(ROOT):
        text = composed(["gate.max_abs_diff=2e-2", "gate.mean_abs_diff=1e-05"])
    (tmp_path / "params.yaml").write_bytes(text)
    made = load_contract(tmp_path / "params.yaml")
    assert (made.gate.max_abs_diff, made.gate.mean_abs_diff) == (0.02, 1e-05)
    with inside(ROOT):
        done = CliRunner().invoke(plan, ["gate.max_abs_diff=2e-2", "gate.mean_abs_diff=1e-05"])
    assert done.exit_code == 0, done.output


SCALARS = [
    *("2e-2", "1e3", "1E3", "+12e03", "123e45", ".5", "5.", "1_000", "0b1", "0x1F", "0o17", "0o8"),
    *("on", "off", "yes", "No", "y", "n", "ON", "true", "True", "~", "null", "Null", ""),
    *("12:30", "12:30:00", "190:20:30.15", "2026-02-11", "2026-02-11T10:00:00Z", ".inf", ".nan"),
    *("=", "!x", "'on'", '"017"', "!!str 017", "!!int '3'", "a: b", "[1, 2", "&a *a"),
]


def alike(one: object, other: object) -> bool:
    return one == other or (one != one and other != other)  # NaN


def as_dvc(text: str) -> object:
    return parse_yaml(text, "params.yaml")


@pytest.mark.parametrize("scalar", SCALARS)
def test_a_value_is_what_dvc_finds_in_it_or_both_refuse_it(scalar: str) -> None:
    text = f"a: {scalar}\n"
    try:
        told: Any = as_dvc(text)
    except YAMLError:
        with pytest.raises(UserError, match="not readable as YAML"):
            read_yaml(text, "params.yaml")
        return
    found: Any = read_yaml(text, "params.yaml")
    assert alike(found["a"], told["a"])
    assert type(found["a"]) is type(told["a"])


@pytest.mark.parametrize(
    "text",
    [
        "a: &x {p: 1}\nb: {<<: *x, q: 2}\n",
        "a: &x {p: 1}\nb: {q: 2, <<: *x, p: 3}\n",
        "a: &x [1, 2]\nb: *x\n",
        "a: |\n  x\n  y\n",
        "%YAML 1.1\n---\na: on\n",
        "a: 'x\u2028y'\n",
    ],
)
def test_a_structure_is_what_dvc_finds_in_it(text: str) -> None:
    assert read_yaml(text, "params.yaml") == as_dvc(text)


plain_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63)
    | st.floats(allow_nan=False)
    | st.dates()
    | st.text(st.characters(codec="utf-8", categories=("L", "N", "P", "S", "Zs"))),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text("abcyn01", min_size=1), inner)
    ),
    max_leaves=8,
)


@given(plain_values)
def test_whatever_dvc_writes_is_read_back(value: object) -> None:
    """As `dvc exp run -S` writes a parameter, whatever it is set to."""
    text = dumps_yaml({"a": value})
    assert read_yaml(text, "params.yaml") == as_dvc(text) == {"a": value}


@pytest.mark.parametrize("number", ["017", "08", "-017", "+007", "0_1"])
def test_a_number_that_two_yamls_read_differently_is_refused_by_its_key(
    tmp_path: Path, number: str
) -> None:
    with pytest.raises(ContractError) as caught:
        load_contract(written(tmp_path, "sweep: 5", f"sweep: {number}"))
    assert str(caught.value) == (
        f"params.yaml: passes.sweep: found '{number}'; allowed: a number without a leading zero,"
        " which YAML 1.1 and YAML 1.2 read differently"
    )
    with pytest.raises(ContractError, match=r"chunk_sizes\[0\]: found"):
        load_contract(written(tmp_path, "chunk_sizes:\n- 1\n", f"chunk_sizes:\n- {number}\n"))


@pytest.mark.parametrize("number", ["0", "-0", "0.5", "00.5e1", "'017'"])
def test_other_zeros_are_no_trouble(number: str) -> None:
    assert read_yaml(f"a: {number}", "x") == as_dvc(f"a: {number}")


@pytest.mark.parametrize("word", ["on", "off", "yes", "no", "Yes", "OFF"])
@pytest.mark.parametrize(
    ("line", "key"),
    [
        ("apply_softmax: true", "workloads.few.apply_softmax"),
        ("disable-radix-cache: true", "backends.jax.portable.flags.disable-radix-cache"),
        ("disable-cuda-graph: true", "backends.pytorch.portable.flags.disable-cuda-graph"),
    ],
)
def test_a_truth_value_of_yaml_1_1_is_refused_by_its_key(
    tmp_path: Path, word: str, line: str, key: str
) -> None:
    name = line.partition(":")[0]
    with pytest.raises(ContractError) as caught:
        load_contract(written(tmp_path, line, f"{name}: {word}"))
    assert str(caught.value).startswith(f"params.yaml: {key}: found '{word}'; allowed: true")


def test_a_word_that_yaml_1_1_takes_for_a_truth_value_is_text_where_text_is_meant(
    tmp_path: Path,
) -> None:
    """Dvc writes the labels `Yes` and `No` without quotes."""
    variables = {"VERBOSE": "yes", "MODE": "on", "AT": "12:30:00"}
    raw = raw_contract(backends__jax__launch__environ=variables)
    path = tmp_path / "params.yaml"
    path.write_text(dumps_yaml(raw), "utf-8")
    assert "VERBOSE: yes\n" in path.read_text("utf-8")
    assert load_contract(path).backends["jax"].launch.environ == variables


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("target: cpu", "target: 2026-02-11", "identity.target: found datetime.date(2026, 2, 11)"),
        ("sweep: 5", "sweep: 12:30:00", "passes.sweep: found '12:30:00'; allowed: a valid integer"),
        ("page-size: 1", "page-size: 2026-02-11", "flags.page-size: found datetime.date"),
        ("page-size: 1", "page-size: {a: 1}", "flags.page-size: found {'a': 1}; allowed: true, fa"),
    ],
)
def test_what_no_key_can_mean_is_refused_by_its_key(
    tmp_path: Path, old: str, new: str, said: str
) -> None:
    with pytest.raises(ContractError) as caught:
        load_contract(written(tmp_path, old, new))
    assert said in str(caught.value)
    if isinstance(yaml.safe_load(new.partition(": ")[2]), datetime.date):
        assert str(caught.value).endswith("(a date is text in quotes)")


def test_a_key_given_twice_is_refused_by_both(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="'sweep' twice, line"):
        load_contract(written(tmp_path, "  sweep: 5\n", "  sweep: 5\n  sweep: 6\n"))
    with pytest.raises(YAMLError):
        as_dvc((tmp_path / "params.yaml").read_text())


def test_the_library_is_declared_and_pinned() -> None:
    assert '"ruamel.yaml"' in (ROOT / "pyproject.toml").read_text("utf-8")
    command = ["grep", "-c", "^ruamel-yaml==", str(ROOT / "requirements.txt")]
    assert subprocess.run(command, capture_output=True, text=True).stdout.strip() == "1"
