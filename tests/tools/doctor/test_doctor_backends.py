"""The checks of one backend on hand-made facts: accelerator, environment, versions, server."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest
from readiness import (
    ASKS_FOR_TPU,
    H100,
    JAX,
    JAX_ON_TPU,
    PYTORCH,
    PYTORCH_ON_GPU,
    WITH_GPU,
    WITH_TPU,
    diagnosed,
    findings,
    question,
)

from tools.doctor.facts import Nvidia, PackageMismatch, Tpu

TPU: dict[str, Any] = {**ASKS_FOR_TPU, "backends__jax__launch__environ": {}}
CUDA: dict[str, Any] = {
    "backends__pytorch__launch__device": "cuda",
    "backends__pytorch__launch__environ": {},
}
TPU_READY = {"sglang_jax": JAX_ON_TPU, "sglang_pytorch": PYTORCH}
GPU_READY = {"sglang_jax": JAX, "sglang_pytorch": PYTORCH_ON_GPU}


def gpu(**changes: Any) -> Nvidia:
    return dataclasses.replace(WITH_GPU, gpus=(dataclasses.replace(H100, **changes),))


def jax(**changes: Any) -> dict[str, Any]:
    return {"environments": {**TPU_READY, "sglang_jax": dataclasses.replace(JAX, **changes)}}


AS_MANY = tuple(PackageMismatch(package, "2", None) for package in ("aa", "bb", "cc"))

# facts, contract, backend, check, level, words in what was found, words in what would fix it
ONE_BACKEND: list[tuple[dict[str, Any], dict[str, Any], Any, str, str, str, str]] = [
    ({}, TPU, "jax", "accelerator", "blocked", "no TPU found", "a machine with a TPU"),
    ({}, CUDA, "pytorch", "accelerator", "blocked", "no NVIDIA GPU found", "NVIDIA GPU"),
    (
        {},
        {"backends__jax__launch__device": "cuda:1"},
        "jax",
        "accelerator",
        "blocked",
        "no NVIDIA",
        "GPU",
    ),
    (
        {},
        {"backends__jax__launch__device": "npu"},
        "jax",
        "accelerator",
        "warning",
        "npu",
        "not known",
    ),
    ({"tpu": WITH_TPU}, TPU, "jax", "accelerator", "ok", "1 TPU chip (v6e): /dev/vfio/0", ""),
    (
        {"tpu": Tpu(nodes=("/dev/accel0", "/dev/accel1"))},
        TPU,
        "jax",
        "accelerator",
        "ok",
        "2 TPU chips: /dev/accel0, /dev/accel1",
        "",
    ),
    (
        {"tpu": Tpu(chips=("v4", "v4"))},
        TPU,
        "jax",
        "accelerator",
        "blocked",
        "2 TPU chips (v4) on the PCI bus, but neither",
        "--privileged",
    ),
    (
        {"tpu": dataclasses.replace(WITH_TPU, closed=("/dev/vfio/0",))},
        TPU,
        "jax",
        "accelerator",
        "blocked",
        "may not open /dev/vfio/0",
        "group",
    ),
    (
        {"tpu": Tpu(variables=("TPU_NAME",))},
        TPU,
        "jax",
        "accelerator",
        "blocked",
        "TPU_NAME announces a TPU",
        "own machine",
    ),
    (
        {"nvidia": WITH_GPU},
        CUDA,
        "pytorch",
        "accelerator",
        "ok",
        "NVIDIA H100, 85.5 GB; driver 580.65.06",
        "",
    ),
    (
        {"nvidia": gpu(used_mib=40000)},
        CUDA,
        "pytorch",
        "accelerator",
        "warning",
        "41.9 GB of its memory is in use",
        "end what",
    ),
    (
        {"nvidia": gpu(driver="535.129.03")},
        CUDA,
        "pytorch",
        "accelerator",
        "blocked",
        "driver 535.129.03 is too old for the pinned CUDA 13, which needs 580",
        "update",
    ),
    (
        {"nvidia": Nvidia(on_bus=2, complaint="there is no nvidia-smi")},
        CUDA,
        "pytorch",
        "accelerator",
        "blocked",
        "2 NVIDIA GPUs on the PCI bus, but there is no /dev/nvidia0",
        "--gpus all",
    ),
    (
        {"nvidia": Nvidia(1, ("/dev/nvidia0",), ("/dev/nvidia0",), (), "no")},
        CUDA,
        "pytorch",
        "accelerator",
        "blocked",
        "may not open /dev/nvidia0",
        "group",
    ),
    (
        {"nvidia": Nvidia(1, ("/dev/nvidia0",), (), (), "nvidia-smi ended with exit code 18")},
        CUDA,
        "pytorch",
        "accelerator",
        "blocked",
        "/dev/nvidia0 found, but nvidia-smi ended with exit code 18",
        "reboot",
    ),
    (
        {"tpu": WITH_TPU, "environments": GPU_READY},
        TPU,
        "jax",
        "device",
        "blocked",
        "sglang_jax leaves out libtpu",
        "launch.environment",
    ),
    (
        {"nvidia": WITH_GPU, "environments": TPU_READY},
        CUDA,
        "pytorch",
        "device",
        "blocked",
        "leaves out sglang-kernel",
        "launch.environment",
    ),
    (
        {"nvidia": WITH_GPU},
        {**CUDA, "backends__pytorch__launch__environ": {"CUDA_VISIBLE_DEVICES": ""}},
        "pytorch",
        "visibility",
        "blocked",
        "CUDA_VISIBLE_DEVICES is empty, which hides every GPU",
        "backends.pytorch.launch.environ",
    ),
    (
        {"nvidia": WITH_GPU, "variables": {"CUDA_VISIBLE_DEVICES": "-1"}},
        CUDA,
        "pytorch",
        "visibility",
        "blocked",
        "CUDA_VISIBLE_DEVICES is -1",
        "your shell",
    ),
    (
        {"tpu": WITH_TPU},
        {**TPU, "backends__jax__launch__environ": {"JAX_PLATFORMS": "cpu"}},
        "jax",
        "visibility",
        "blocked",
        "JAX_PLATFORMS is cpu, which hides every TPU",
        "backends.jax.launch.environ",
    ),
    (
        jax(state="absent", python=None),
        {},
        "jax",
        "environment",
        "ok",
        "not built yet; make repro installs it (900 MB)",
        "",
    ),
    (jax(state="unfinished", python=None), {}, "jax", "environment", "ok", "cut short", ""),
    (
        jax(checkout_complaint="no commit is set"),
        {},
        "jax",
        "environment",
        "blocked",
        "no commit is set",
        "docs/accelerators.md",
    ),
    (
        jax(python=None),
        {},
        "jax",
        "environment",
        "blocked",
        "its Python does not run",
        "environments/; what needs it next builds it",
    ),
    (
        jax(state="absent", python=None),
        {},
        "jax",
        "versions",
        "ok",
        "sglang-jax 0.0.2 pinned; 2 packages in all",
        "",
    ),
    ({}, {}, "jax", "versions", "ok", "sglang-jax 0.0.2; all 2 packages as pinned", ""),
    (
        jax(differences=(*AS_MANY, PackageMismatch("jax", "0.8.3", "0.8.1"))),
        {},
        "jax",
        "versions",
        "blocked",
        "jax 0.8.1, not 0.8.3; aa missing, not 2; bb missing, not 2; and 1 more",
        "environments/; what needs it next builds it",
    ),
]


@pytest.mark.parametrize(
    ("facts", "changes", "backend", "check", "level", "found", "fix"), ONE_BACKEND
)
def test_what_holds_for_one_backend(facts, changes, backend, check, level, found, fix) -> None:
    asked = question(changes, **facts)
    finding = findings(asked, backend)[check]
    assert finding.level == level
    assert found in finding.found
    assert fix in finding.fix
    assert bool(finding.fix) == bool(fix)
    if level == "blocked":
        verdicts = [v for v in diagnosed(asked).verdicts if v.backend == backend]
        assert [v.state for v in verdicts] == ["blocked", "blocked"]


def test_on_its_own_machine_each_accelerator_is_ready() -> None:
    assert diagnosed(question(TPU, tpu=WITH_TPU, environments=TPU_READY)).ready
    assert diagnosed(question(CUDA, nvidia=WITH_GPU, environments=GPU_READY)).ready


def test_a_gpu_that_other_devices_may_have_is_not_hidden_by_what_chooses_one() -> None:
    found = question(CUDA, nvidia=WITH_GPU, variables={"CUDA_VISIBLE_DEVICES": "1"})
    assert "visibility" not in findings(found, "pytorch")
    # PyTorch does not read JAX's variable.
    found = question(CUDA, nvidia=WITH_GPU, variables={"JAX_PLATFORMS": "cpu"})
    assert "visibility" not in findings(found, "pytorch")


def test_one_backend_blocked_leaves_the_other_ready_and_is_told_by_what_the_machine_lacks() -> None:
    diagnosis = diagnosed(question(ASKS_FOR_TPU))
    states = {(v.backend, v.state) for v in diagnosis.verdicts}
    assert states == {("jax", "blocked"), ("pytorch", "ready")}
    assert not diagnosis.ready
    # Its environment and its variables stand against it too, but a TPU comes first.
    reasons = {v.reason for v in diagnosis.verdicts if v.backend == "jax"}
    assert all("no TPU found" in str(reason) for reason in reasons)


def test_what_the_contract_calls_unavailable_is_neither_ready_nor_blocked() -> None:
    changes = {**TPU, "backends__jax__unavailable": "a quota of 0 TPUs"}
    diagnosis = diagnosed(question(changes))
    assert diagnosis.ready, "the contract needs nothing of it"
    found = {v.state: v.reason for v in diagnosis.verdicts}
    assert found == {"unavailable": "a quota of 0 TPUs", "ready": None}
    (finding, *_) = diagnosis.verdicts[0].findings
    assert "as the contract says: a quota of 0 TPUs" in finding.found
    assert "backends.jax.unavailable" in finding.fix
    # Whether it could run is judged all the same.
    assert findings(question(changes), "jax")["accelerator"].level == "blocked"


def test_a_view_that_the_contract_calls_unavailable_leaves_the_other_to_be_judged() -> None:
    reason = "refuses disable-radix-cache"
    diagnosis = diagnosed(question({"backends__jax__portable__unavailable": reason}))
    assert diagnosis.ready
    found = {(v.backend, v.view): (v.state, v.reason) for v in diagnosis.verdicts}
    assert found["jax", "portable"] == ("unavailable", reason)
    assert found["jax", "best_native"] == ("ready", None)
    (finding, *_) = diagnosis.verdicts[0].findings
    assert "set backends.jax.portable.unavailable to null" in finding.fix


def test_a_server_started_elsewhere_needs_neither_device_nor_environment_here() -> None:
    url = "http://tpu-vm:30010"
    changes = {**TPU, "backends__jax__portable__base_url": url}
    there, gone = diagnosed(question(changes, servers={url: None})).verdicts[:2]
    assert (there.view, there.state) == ("portable", "ready")
    assert (gone.view, gone.state) == ("best_native", "blocked"), "that one is launched here"
    assert url in there.findings[0].found
    portable = diagnosed(question(changes, servers={url: "Connection refused"})).verdicts[0]
    assert portable.reason == f"no server answers at {url}: Connection refused"
    assert "backends.jax.portable.base_url" in portable.findings[0].fix
