"""A CPU platform for the unmodified PyTorch sglang, through its own extension point.

sglang's in-tree CPU path needs a ``sgl_kernel`` CPU build that PyPI does not
ship; an out-of-tree platform does not. sglang finds this one through the entry
point beside this file (group ``sglang.srt.platforms``) when the folder is on
``PYTHONPATH`` and ``SGLANG_PLATFORM=scoreparity_cpu``. Nothing in sglang is patched.
"""

from __future__ import annotations

import os
from typing import Any

from sglang.srt.platforms.cpu import CpuDeviceMixin
from sglang.srt.platforms.device_mixin import PlatformEnum
from sglang.srt.platforms.interface import PlatformCapabilities, SRTPlatform


class ScoreparityCpuPlatform(CpuDeviceMixin, SRTPlatform):
    """Plain PyTorch operators on the CPU: no Triton, no graphs, no pinned memory."""

    _enum = PlatformEnum.OOT
    capabilities = PlatformCapabilities()

    def get_default_attention_backend(self) -> str:
        """The attention of plain PyTorch operators."""
        return "torch_native"

    def is_pin_memory_available(self, device: object = None) -> bool:  # noqa: ARG002
        """Never: pinned memory serves transfers to a device, and there is none."""
        return False

    def apply_server_args_defaults(self, server_args: Any) -> None:
        """Called once the flags are parsed, before sglang looks for the flashinfer package.

        It does so by the attention's name; the one behind it here does not use the package.
        """
        if server_args.enable_mis:
            os.environ["SGLANG_SKIP_SGL_KERNEL_VERSION_CHECK"] = "1"

    def init_backend(self) -> None:
        """Called once in each worker, before it builds its attention."""
        from sglang.srt.layers.attention.attention_registry import register_attention_backend

        @register_attention_backend("flashinfer")
        def packed_on_a_cpu(runner: Any) -> Any:
            from scoreparity_cpu_attention import MultiItemTorchAttention

            return MultiItemTorchAttention(runner)


def activate() -> str:
    """Entry point: the dotted name of the platform class, as sglang expects."""
    return f"{__name__}.{ScoreparityCpuPlatform.__name__}"
