"""`python -m tools.doctor` and `make doctor` on this machine, in copies of the work tree."""

from __future__ import annotations

import json
import os
import shlex
import shutil
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import yaml
from bench import inside
from click.testing import CliRunner, Result
from contracts import ROOT, committed, raw_contract
from dvc.utils.hydra import compose_and_dump
from matrices import matrix, passes
from misbehaving import refused_url
from programs import hang_git
from readiness import DENSE

from stages.contract import VIEWS, load_contract
from stages.documents.matrix import MATRIX_FILE, MATRIX_TABLE, folder_of, records_to_table
from stages.machine.lock import machine_lock
from tools.doctor.command import main
from tools.doctor.devices import find_nvidia, find_tpu
from tools.doctor.facts import Tpu

NO_TPU = "no TPU found: no chip on the PCI bus, no /dev/accel0"
ON_TPU = [
    "backends.jax.launch.device=tpu",
    *(
        f"+backends.jax.{view}.flags.{name}={value}"
        for view in VIEWS
        for name, value in DENSE.items()
    ),
]


@pytest.fixture
def tree(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """What the command reads of a work tree, and a machine on which nothing is built."""
    monkeypatch.setenv("SCOREPARITY_CACHE", str(tmp_path / "cache"))
    # Whoever measures on this machine meanwhile, or fills its memory, is no concern of these tests.
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr("tempfile.tempdir", None)
    memory = SimpleNamespace(total=64 << 30, available=60 << 30)
    monkeypatch.setattr("psutil.virtual_memory", lambda: memory)
    folder = tmp_path / "tree"
    folder.mkdir()
    for name in ("backends", "stages", "tools", ".python-version", "requirements.txt"):
        (folder / name).symlink_to(ROOT / name)
    shutil.copytree(ROOT / "conf", folder / "conf")
    subprocess.run(["git", "init", "--quiet", folder], check=True)
    with inside(folder):
        compose()
        yield folder


def compose(*overrides: str) -> bytes:
    """Write ``params.yaml`` as `make params` and `dvc exp run` do."""
    compose_and_dump("params.yaml", str(Path("conf").absolute()), None, "config", "", [*overrides])
    return Path("params.yaml").read_bytes()


def change(**changes: Any) -> None:
    Path("params.yaml").write_text(yaml.safe_dump(raw_contract(**changes)))


def doctor(*arguments: str) -> Result:
    result = CliRunner().invoke(main, list(arguments))
    assert result.exception is None or isinstance(result.exception, SystemExit), result.output
    return result


def judged(*arguments: str) -> dict[str, Any]:
    result = doctor("--json", *arguments)
    found: dict[str, Any] = json.loads(result.stdout)
    assert result.exit_code == (0 if found["ready"] else 1)
    return found


def levels(found: dict[str, Any], level: str) -> dict[str, str]:
    return {f["check"]: f["found"] for f in found["machine"] if f["level"] == level}


def states(found: dict[str, Any]) -> dict[tuple[str, str], str]:
    return {(v["backend"], v["view"]): v["state"] for v in found["backends"]}


def test_the_default_contract_is_ready_here_and_its_environments_need_not_be_built(tree) -> None:
    result = doctor()
    assert result.exit_code == 0, result.output
    lines = [line.split(maxsplit=1) for line in result.output.splitlines()]
    ready = {rest[0].strip() for word, *rest in filter(None, lines) if word == "READY"}
    assert ready == {
        "JAX, portable",
        "JAX, best-native",
        "PyTorch, portable",
        "PyTorch, best-native",
    }
    assert "sglang_pytorch: not built yet; make repro installs it (6.9 GB)" in result.output
    assert result.output.endswith("Ready: make repro measures JAX and PyTorch here.\n")
    assert not (tree.parent / "cache").exists(), "nothing is built by asking"


def test_make_doctor_here(tmp_path: Path) -> None:
    """The real command in the real work tree, on whatever is built there."""
    environ = {**os.environ, "TMPDIR": str(tmp_path)}
    # Never with a new environment, which all other tests run in meanwhile.
    made = "--old-file=.venv/.complete"
    command = ["make", "--silent", made, "doctor", "JSON=1", "BACKEND=jax"]
    done = subprocess.run(command, cwd=ROOT, env=environ, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    found = json.loads(done.stdout)
    assert states(found) == {("jax", "portable"): "ready", ("jax", "best_native"): "ready"}


def test_what_is_set_up_first_is_told_beside_the_json_and_not_in_it(tmp_path: Path) -> None:
    for name in ("Makefile", "requirements.txt", ".python-version"):
        shutil.copy(ROOT / name, tmp_path / name)
    (tmp_path / ".venv").mkdir()
    command = ["make", "--silent", "doctor", "JSON=1", "UV=true", "RUN=echo {}; exit;"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, "{}\n"), done.stderr
    assert done.stderr.startswith("harness: installing ")


def test_a_contract_for_accelerators_is_blocked_here_with_the_reason(tree, no_tpu, no_gpu) -> None:
    compose(*ON_TPU, "backends.pytorch.launch.device=cuda")
    found = judged()
    assert set(states(found).values()) == {"blocked"}
    reasons = {v["backend"]: v["reason"] for v in found["backends"]}
    assert reasons["jax"] == NO_TPU
    assert reasons["pytorch"] == "no NVIDIA GPU found: none on the PCI bus, no /dev/nvidia0"
    result = doctor()
    assert result.exit_code == 1
    assert "JAX and PyTorch cannot be measured here." in result.output


def test_the_target_of_two_accelerators_is_blocked_here_for_what_this_machine_lacks(
    tree, no_tpu, no_gpu
) -> None:
    compose("target=tpu_vs_gpu", "contract=quick")
    for backend, lacks in (("jax", "no TPU found"), ("pytorch", "no NVIDIA GPU found")):
        found = judged("--backend", backend)
        assert {v["state"] for v in found["backends"]} == {"blocked"}
        assert all(v["reason"].startswith(lacks) for v in found["backends"])
        # Its environment is made for the accelerator, and nothing hides it.
        checks = {f["check"] for v in found["backends"] for f in v["findings"]}
        assert not checks & {"device", "visibility"}


def test_the_machine_of_the_other_half_is_ready_for_it(tree) -> None:
    compose(*ON_TPU)
    assert judged("--backend", "jax")["ready"] is False
    assert judged("--backend", "pytorch")["ready"] is True


@pytest.fixture
def no_gpu() -> None:
    found = find_nvidia()
    if found.nodes or found.on_bus:
        pytest.skip("this machine has an NVIDIA GPU")


@pytest.fixture
def no_tpu() -> None:
    if find_tpu({}) != Tpu():
        pytest.skip("this machine has a TPU")


@pytest.mark.parametrize("contract", ["contract=quick", "contract=production_small"])
def test_a_recorded_reason_is_what_the_printed_override_composes(
    tree, no_tpu, contract: str
) -> None:
    compose(contract, *ON_TPU)
    result = doctor("--record")
    assert result.exit_code == 0, "the contract needs nothing of it any more"
    recorded = Path("params.yaml").read_bytes()
    assert load_contract().backends["jax"].unavailable == f"doctor: {NO_TPU}"
    assert f"UNAVAILABLE JAX, portable: doctor: {NO_TPU}\n" in result.output
    (line,) = [line for line in result.output.splitlines() if "dvc exp run" in line]
    override = shlex.split(line.partition("add: -S ")[2])[0]
    assert compose(contract, *ON_TPU, override) == recorded
    # And it is taken back once it no longer holds, when asked.
    assert b"doctor: no TPU" in compose(contract, override)
    assert "CLEAR=1" in doctor().output
    assert load_contract().backends["jax"].unavailable is not None
    assert doctor("--clear").exit_code == 0
    assert Path("params.yaml").read_bytes() == compose(contract)


def test_only_the_named_backend_is_recorded(tree, no_tpu) -> None:
    compose(*ON_TPU, "backends.pytorch.launch.device=npu", "backends.pytorch.unavailable=null")
    before = Path("params.yaml").read_bytes()
    doctor("--record", "--backend", "pytorch")
    assert Path("params.yaml").read_bytes() == before, "an unknown device is no block"
    doctor("--record", "--backend", "jax")
    assert load_contract().backends["jax"].unavailable == f"doctor: {NO_TPU}"


def test_a_matrix_of_another_machine_says_that_there_is_nothing_to_record(tree, no_tpu) -> None:
    compose(*ON_TPU)
    made = matrix("jax", "portable", passes({1: [0.1], 2: [0.1], 4: [0.1]}))
    path = folder_of("jax", "portable") / MATRIX_FILE
    path.parent.mkdir(parents=True)
    MATRIX_TABLE.write(
        path, made.calls.to_arrow().cast(records_to_table([]).schema), made.provenance
    )
    result = doctor("--record")
    assert "its matrices here were measured on h: nothing to record" in result.output
    assert load_contract().backends["jax"].unavailable is None
    doctor("--record", "--backend", "jax")
    assert load_contract().backends["jax"].unavailable == f"doctor: {NO_TPU}"


def test_a_model_larger_than_the_disk_is_blocked(tree) -> None:
    change(model__hidden_size=1_000_000, model__layers=1000, model__intermediate_size=1_000_000)
    found = judged()
    assert set(states(found).values()) == {"blocked"}
    assert "the model, twice" in levels(found, "blocked")["disk"]
    assert "the model's weights alone" in levels(found, "blocked")["memory"]


def test_a_cache_folder_on_a_small_disk_is_blocked(tree, tmp_path, monkeypatch) -> None:
    small = tmp_path / "small"
    small.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=64m", "tmpfs", str(small)]
    done = subprocess.run(mount, capture_output=True, text=True)
    if done.returncode != 0:
        pytest.skip(f"a small file system cannot be mounted here: {done.stderr.strip()}")
    try:
        monkeypatch.setenv("SCOREPARITY_CACHE", str(small / "cache"))
        sentence = levels(judged(), "blocked")["disk"]
    finally:
        subprocess.run(["umount", str(small)], check=True)
    assert (
        "MB free for the cache folder, 8.1 GB needed (environment sglang_pytorch 6.9 GB" in sentence
    )


def test_a_server_started_elsewhere_is_reached_or_told(tree) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        url = f"http://127.0.0.1:{server.getsockname()[1]}"
        compose(*ON_TPU, *(f'backends.jax.{view}.base_url="{url}"' for view in VIEWS))
        found = judged("--backend", "jax")
        assert set(states(found).values()) == {"ready"}
    reasons = {v["reason"] for v in judged("--backend", "jax")["backends"]}
    assert reasons == {f"no server answers at {url}: Connection refused"}


def test_whoever_measures_is_named(tree, monkeypatch) -> None:
    with machine_lock("measure@jax-portable"):
        found = judged()
        monkeypatch.setenv("SCOREPARITY_WAIT", "1")
        waiting = judged()
    assert "measure@jax-portable in" in levels(found, "blocked")["lock"]
    assert "measure@jax-portable in" in levels(waiting, "warning")["lock"]
    assert judged()["ready"] is True


def test_outside_a_git_repository_nothing_can_be_measured(tree) -> None:
    shutil.rmtree(tree / ".git")
    assert levels(judged(), "blocked") == {"git and dvc": "this folder is in no git repository"}


def test_a_git_that_hangs_is_named_and_not_taken_for_a_missing_one(tree, monkeypatch) -> None:
    hang_git(tree.parent, monkeypatch)
    (sentence,) = levels(judged(), "blocked").values()
    assert sentence.startswith("git: `git rev-parse` did not end within 5 s")


def test_a_hub_that_cannot_be_reached_blocks_a_hub_model(tree, monkeypatch) -> None:
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "ENDPOINT", refused_url())
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tree.parent / "hub"))
    compose("contract=seed")
    found = judged()
    assert set(states(found).values()) == {"blocked"}
    sentence = levels(found, "blocked")["model"]
    assert sentence.startswith("Qwen/Qwen3-0.6B@main: not here, and ")
    assert "Connection refused" in sentence


@pytest.mark.parametrize("name", ["few", "many"])
def test_a_wrong_contract_is_one_line_as_everywhere(tree, name: str) -> None:
    raw = committed()
    raw["workloads"][name]["items"] = 0
    Path("params.yaml").write_text(yaml.safe_dump(raw))
    result = doctor()
    assert result.exit_code == 2
    key = f"workloads.{name}.items"
    assert result.output.startswith(f"error: params.yaml: {key}: found 0; allowed: ")
    assert result.output.count("\n") == 1
