"""Facts gathered from real files, sockets, processes and limits."""

from __future__ import annotations

import contextlib
import json
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import psutil
import pytest
from bench import inside
from contracts import ROOT
from huggingface_hub import constants
from patience import PATIENCE_S

from stages.contract import HubModel
from stages.environments.build import environment_folder, python_of
from tools.doctor.devices import find_nvidia, find_tpu, parse_gpu
from tools.doctor.facts import Gpu, PackageMismatch
from tools.doctor.gather import room_of
from tools.doctor.hub import find_hub_model
from tools.doctor.installed import differences, find_environment

COMMIT = "c1899de289a04d12100db370d81485cdf75e47ca"
SERVED = HubModel(kind="hub", repository="some/model", revision="main")


def make_file(path: Path, text: str = "") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def make_device(root: Path, name: str, **ids: str) -> None:
    for key, value in ids.items():
        make_file(root / "sys/bus/pci/devices" / name / key.strip("_"), f"{value}\n")


def test_a_tpu_chip_is_told_from_googles_network_card(tmp_path: Path) -> None:
    make_device(tmp_path, "0000:00:03.0", vendor="0x1ae0", device="0x0042")
    make_file(tmp_path / "dev/vfio/0")
    found = find_tpu({}, tmp_path)
    assert (found.chips, found.nodes) == ((), ()), "vfio of another device is no TPU"
    make_device(tmp_path, "0000:00:05.0", vendor="0x1ae0", device="0x006f")
    make_file(tmp_path / "dev/vfio/vfio")
    found = find_tpu({}, tmp_path)
    assert (found.chips, found.nodes) == (("v6e",), ("/dev/vfio/0",))


def test_a_tpu_with_a_device_file_of_its_own_and_one_that_is_only_announced(tmp_path: Path) -> None:
    make_file(tmp_path / "dev/accel0")
    found = find_tpu({"TPU_NAME": "", "TPU_WORKER_ID": "0"}, tmp_path)
    assert found.nodes == ("/dev/accel0",)
    assert found.variables == ("TPU_WORKER_ID",)


def test_a_gpu_on_the_bus_is_told_from_its_sound_card(tmp_path: Path) -> None:
    make_device(tmp_path, "0000:01:00.0", vendor="0x10de", class_="0x030200")
    make_device(tmp_path, "0000:01:00.1", vendor="0x10de", class_="0x040300")
    make_file(tmp_path / "dev/nvidia0")
    found = find_nvidia(tmp_path)
    assert (found.on_bus, found.nodes) == (1, ("/dev/nvidia0",))


@pytest.mark.parametrize(
    ("script", "gpus", "complaint"),
    [
        ("echo 'NVIDIA H100 80GB HBM3, 81559, 4, 580.65.06'", 1, None),
        ("exit 0", 0, "nvidia-smi lists no GPU"),
        (
            "echo Failed to initialize NVML: Driver/library version mismatch; exit 18",
            0,
            "nvidia-smi ended with exit code 18 and said: Failed to initialize NVML:"
            " Driver/library version mismatch",
        ),
        (None, 0, "there is no nvidia-smi"),
    ],
)
def test_what_nvidia_smi_says(tmp_path, monkeypatch, script, gpus, complaint) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr("tools.doctor.devices._SMI_TIMEOUT_S", PATIENCE_S)
    if script is not None:
        make_file(tmp_path / "nvidia-smi", f"#!/bin/sh\n{script}\n").chmod(0o755)
    found = find_nvidia(tmp_path)
    assert (len(found.gpus), found.complaint) == (gpus, complaint)


def test_a_gpu_whose_name_holds_a_comma_or_whose_memory_is_not_known() -> None:
    assert parse_gpu("A, B, [N/A], 4, 570.1") == Gpu("A, B", 0, 4, "570.1")
    assert parse_gpu("No devices were found") is None


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("SCOREPARITY_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def build(name: str, **changes: str | None) -> Path:
    """An environment as it looks when it is built, of nothing but names and versions."""
    folder = environment_folder(name)
    python = python_of(name)
    python.parent.mkdir(parents=True)
    python.symlink_to(sys.executable)
    site = folder / "lib" / "python3.12" / "site-packages"
    for package, version in {**find_environment(name).pinned, **changes}.items():
        if version is not None:
            text = f"Metadata-Version: 2.1\nName: {package}\nVersion: {version}\n"
            make_file(site / f"{package.replace('-', '_')}-{version}.dist-info/METADATA", text)
    make_file(folder / ".complete")
    return folder


def test_one_that_is_not_there_was_cut_short_or_is_complete(cache: Path) -> None:
    with inside(ROOT):
        assert find_environment("sglang_jax").state == "absent"
        environment_folder("sglang_jax").mkdir(parents=True)
        assert find_environment("sglang_jax").state == "unfinished"
        build("sglang_jax")
        found = find_environment("sglang_jax")
    assert (found.state, found.differences) == ("complete", ())
    assert found.python == ".".join(map(str, sys.version_info[:3]))
    assert found.pinned["sglang-jax"] == "0.0.2"
    assert found.excluded == {"libtpu", "msgpack-python"}


def test_packages_of_other_versions_and_missing_ones_are_named(cache: Path) -> None:
    with inside(ROOT):
        build("sglang_jax", flax="0.12.1", jax=None)
        found = find_environment("sglang_jax")
    assert found.differences == (
        PackageMismatch("flax", "0.12.0", "0.12.1"),
        PackageMismatch("jax", found.pinned["jax"], None),
    )


def test_one_whose_python_was_removed_does_not_run(cache: Path) -> None:
    with inside(ROOT):
        build("sglang_jax")
        python_of("sglang_jax").unlink()
        python_of("sglang_jax").symlink_to("/no/such/python")
        assert find_environment("sglang_jax").python is None


def test_two_spellings_of_one_version_are_no_difference() -> None:
    assert differences({"a": "2024.7.4"}, {"a": "2024.07.04"}) == ()
    assert differences({"a": "2.1"}, {"a": "2.10"}) != ()


def hub_answers(status: int, body: object, **headers: str) -> ThreadingHTTPServer:
    class Hub(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            data = json.dumps(body).encode()
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name.replace("_", "-"), value)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, *arguments: object) -> None:
            pass

    return ThreadingHTTPServer(("127.0.0.1", 0), Hub)


@contextlib.contextmanager
def the_hub(server: ThreadingHTTPServer, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    address = f"http://127.0.0.1:{server.server_port}"
    monkeypatch.setattr(constants, "ENDPOINT", address)
    # What a user waits for a hub far away is too short for one beside busy processes.
    monkeypatch.setattr("tools.doctor.hub._TIMEOUT_S", PATIENCE_S)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


FILES = [{"rfilename": "model.safetensors", "size": 1_500_000_000}, {"rfilename": "x", "size": 5}]
ANSWER = {"id": "some/model", "sha": COMMIT, "siblings": FILES}


@pytest.fixture
def hub_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    (tmp_path / "tree").mkdir()
    with inside(tmp_path / "tree"):
        yield


def pin(**model: str) -> None:
    """What stage ``checkpoint`` leaves behind."""
    served = {**SERVED.model_dump(), **model}
    lock = {"stages": {"checkpoint": {"params": {"params.yaml": {"model": served}}}}}
    make_file(Path("dvc.lock"), json.dumps(lock))
    record = {"title": "m", "sha256": "b" * 64, "trained": True}
    record |= {"path": served["repository"], "revision": COMMIT}
    make_file(Path("data/checkpoint/model.json"), json.dumps(record))


def fetch(tmp_path: Path, *names: str) -> None:
    for name in names:
        make_file(tmp_path / f"hub/models--some--model/snapshots/{COMMIT}/{name}", "{}")


def test_one_on_the_hub_is_reached_and_its_size_known(hub_cache, monkeypatch) -> None:
    with the_hub(hub_answers(200, ANSWER), monkeypatch):
        found = find_hub_model(SERVED)
    assert (found.complaint, found.download_bytes) == (None, 1_500_000_005)
    assert (found.resolved, found.cached) == (None, False)


@pytest.mark.parametrize(
    ("code", "status", "remedy"),
    [
        ("GatedRepo", 403, "HF_TOKEN"),
        ("RepoNotFound", 404, "model.repository"),
        ("RevisionNotFound", 404, "model.revision"),
    ],
)
def test_why_the_hub_refuses(hub_cache, monkeypatch, code: str, status: int, remedy: str) -> None:
    with the_hub(hub_answers(status, {}, X_Error_Code=code), monkeypatch):
        found = find_hub_model(SERVED)
    assert found.complaint is not None
    assert found.complaint.isprintable()
    assert remedy in found.remedy


def test_without_the_hub_only_a_pinned_commit_in_the_cache_is_enough(
    hub_cache, tmp_path, monkeypatch
) -> None:
    # Offline, the hub's client does not even try, which takes no time.
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    fetch(tmp_path, "config.json", "model.safetensors")
    found = find_hub_model(SERVED)
    assert found.complaint is not None, "which commit main is, only the hub knows"
    assert "HF_HUB_OFFLINE" in found.remedy
    pin()
    found = find_hub_model(SERVED)
    assert (found.resolved, found.cached, found.asked) == (COMMIT, True, False)
    pin(revision="other")
    assert find_hub_model(SERVED).complaint is not None, "pinned for another contract"


def test_weights_of_which_a_part_is_missing_are_not_in_the_cache(
    hub_cache, tmp_path, monkeypatch
) -> None:
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    pin()
    fetch(tmp_path, "config.json")
    assert not find_hub_model(SERVED).cached
    fetch(tmp_path, "a.safetensors", "model.safetensors.index.json")
    index = tmp_path / f"hub/models--some--model/snapshots/{COMMIT}/model.safetensors.index.json"
    index.write_text(json.dumps({"weight_map": {"x": "a.safetensors", "y": "b.safetensors"}}))
    assert not find_hub_model(SERVED).cached
    fetch(tmp_path, "b.safetensors")
    assert find_hub_model(SERVED).cached


def test_room_is_that_of_the_file_system_a_folder_will_lie_on(tmp_path: Path) -> None:
    found = room_of("cache", tmp_path / "not" / "there" / "yet")
    assert found.device == tmp_path.stat().st_dev
    assert 0 < found.free_bytes < psutil.disk_usage(str(tmp_path)).total
    assert found.writable
    assert not room_of("cache", make_file(tmp_path / "file")).writable
    assert not room_of("cache", Path("/proc/1")).writable
