"""Finds accelerators by device files, the PCI bus, and ``nvidia-smi``.

It needs no backend, so it works before anything is installed.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterable, Mapping
from pathlib import Path

from stages.common.errors import one_line
from tools.doctor.facts import Gpu, Nvidia, Tpu

ROOT = Path("/")

_NVIDIA_VENDOR = "0x10de"
_DISPLAY_CLASS = "0x03"
_SMI_TIMEOUT_S = 30

# Google's network cards have the same vendor id, so chips are identified by their device ids, taken
# from `jax._src.hardware_utils`.
_GOOGLE_VENDOR = "0x1ae0"
_TPU_CHIPS = {
    "0x0027": "v2 or v3",
    "0x0056": "unnamed",
    "0x005e": "v4",
    "0x0062": "v5p",
    "0x0063": "v5e",
    "0x006f": "v6e",
    "0x0076": "7x",
}
_TPU_VARIABLES = (
    "TPU_ACCELERATOR_TYPE",
    "TPU_NAME",
    "TPU_TOPOLOGY",
    "TPU_WORKER_HOSTNAMES",
    "TPU_WORKER_ID",
)

_QUERY = ("name", "memory.total", "memory.used", "driver_version")


def find_nvidia(root: Path = ROOT) -> Nvidia:
    """Look for NVIDIA GPUs below ``root`` and ask ``nvidia-smi``."""
    nodes = _nodes(root, "dev/nvidia[0-9]*", "dev/nvidiactl", "dev/dxg")
    on_bus = sum(
        vendor == _NVIDIA_VENDOR and _read(folder / "class").startswith(_DISPLAY_CLASS)
        for folder, vendor in _pci(root)
    )
    gpus, complaint = _ask_nvidia_smi()
    return Nvidia(on_bus, _names(root, nodes), _names(root, _closed(nodes)), gpus, complaint)


def find_tpu(environ: Mapping[str, str], root: Path = ROOT) -> Tpu:
    """Look for TPU chips below ``root`` and for variables that announce one."""
    ids = [_read(f / "device") for f, vendor in _pci(root) if vendor == _GOOGLE_VENDOR]
    chips = tuple(_TPU_CHIPS[i] for i in ids if i in _TPU_CHIPS)
    nodes = _nodes(root, "dev/accel[0-9]*")
    if chips:
        # vfio passes any kind of device on, so it counts only where a chip is on the bus.
        nodes += _nodes(root, "dev/vfio/[0-9]*")
    variables = tuple(name for name in _TPU_VARIABLES if environ.get(name))
    return Tpu(chips, _names(root, nodes), _names(root, _closed(nodes)), variables)


def _pci(root: Path) -> list[tuple[Path, str]]:
    folders = sorted((root / "sys/bus/pci/devices").glob("*"))
    return [(folder, _read(folder / "vendor")) for folder in folders]


def _read(path: Path) -> str:
    try:
        return path.read_text("utf-8").strip().lower()
    except (OSError, ValueError):
        return ""


def _nodes(root: Path, *patterns: str) -> list[Path]:
    return [path for pattern in patterns for path in sorted(root.glob(pattern))]


def _closed(nodes: Iterable[Path]) -> list[Path]:
    return [node for node in nodes if not os.access(node, os.R_OK | os.W_OK)]


def _names(root: Path, nodes: Iterable[Path]) -> tuple[str, ...]:
    return tuple(f"/{node.relative_to(root)}" for node in nodes)


def _ask_nvidia_smi() -> tuple[tuple[Gpu, ...], str | None]:
    """The GPUs that ``nvidia-smi`` lists, or why it lists none."""
    program = shutil.which("nvidia-smi")
    if program is None:
        return (), "there is no nvidia-smi"
    command = [program, f"--query-gpu={','.join(_QUERY)}", "--format=csv,noheader,nounits"]
    try:
        done = subprocess.run(
            command,
            capture_output=True,
            encoding="utf-8",
            errors="replace",
            timeout=_SMI_TIMEOUT_S,
        )
    except subprocess.TimeoutExpired:
        return (), f"nvidia-smi gave no answer in {_SMI_TIMEOUT_S} s"
    except OSError as error:
        return (), f"nvidia-smi: {error.strerror}"
    if done.returncode != 0:
        message = one_line(done.stdout or done.stderr) or "nothing"
        return (), f"nvidia-smi ended with exit code {done.returncode} and said: {message}"
    gpus = tuple(gpu for line in done.stdout.splitlines() if (gpu := parse_gpu(line)))
    return gpus, None if gpus else "nvidia-smi lists no GPU"


def parse_gpu(line: str) -> Gpu | None:
    """Parse one line of ``nvidia-smi``. Unknown memory counts as 0."""
    fields = [one_line(field) for field in line.rsplit(",", len(_QUERY) - 1)]
    if len(fields) != len(_QUERY):
        return None
    name, total, used, driver = fields
    return Gpu(name, _mebibytes(total), _mebibytes(used), driver)


def _mebibytes(text: str) -> int:
    return int(text) if text.isdecimal() else 0
