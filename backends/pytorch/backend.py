"""PyTorch sglang: everything that is only true of it.

`platform/` beside this file is the extension through which it runs on a CPU.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from stages.backends.declared import (
    HEADROOM_TOKENS,
    DeclaredBackend,
    DeclaredEnvironment,
    DevicePackages,
    Flags,
    Packing,
    ScoringMode,
    Settings,
    Shape,
    round_up,
)
from stages.backends.sglang import DELIMITER_FLAG, DELIMITER_SAID, PREFILL, prompts
from stages.common.errors import UserError


class SglangPytorch(DeclaredBackend):
    """PyTorch sglang, the frozen reference; it runs through its own extension point, unpatched."""

    key = "pytorch"
    title = "PyTorch"
    package = "sglang"
    frozen = True
    environments = (
        # It holds torch and transformers; the oracle imports nothing of sglang from it.
        DeclaredEnvironment(
            "sglang_pytorch", "requirements.txt", disk_bytes=6_900_000_000, serves_oracle=True
        ),
        DeclaredEnvironment(
            "sglang_pytorch_gpu",
            "requirements-gpu.txt",
            disk_bytes=10_000_000_000,  # about
        ),
    )
    prefill_pattern = PREFILL
    packs_by = {  # noqa: RUF012
        "enable-mis": "nothing: multi_item says whether items are packed",
        DELIMITER_FLAG: DELIMITER_SAID,
    }
    devices = DevicePackages(
        needed={"cuda": ("sglang-kernel", "flashinfer-python")},
        telling=("sglang", "torch", "transformers"),
    )

    # sglang packs with flashinfer's attention, which needs a GPU.
    _ATTENTION = "attention by this project's CPU platform"
    stand_ins = (_ATTENTION,)

    _MAX_TOTAL_TOKENS = 65536

    # From this version on, packing has a switch and a delimiter of its own.
    _MIS_SINCE = (0, 5, 11)
    _MIS_DELIMITER = 9999

    def reported_defaults(self, flags: Flags) -> Flags:
        """Packing switches the prefix cache off, so its default says nothing then."""
        return {} if flags.get("enable-mis") else super().reported_defaults(flags)

    def derived_flags(self, shapes: Sequence[Shape], device: str) -> Flags:
        """Context and cache size; on other devices the server's own defaults stand."""
        if device != "cpu":
            return {}
        if packed := max(shape.packed_tokens for shape in shapes):
            # One request, one sequence: two of them, as one is placed before another is freed.
            context = round_up(packed + HEADROOM_TOKENS, 32)
            return {"context-length": context, "max-total-tokens": 2 * context}
        context = max(shape.context_tokens for shape in shapes)
        largest_batch = max(shape.largest_chunk * shape.context_tokens for shape in shapes)
        return {
            "context-length": context,
            "max-total-tokens": max(2 * context, min(self._MAX_TOTAL_TOKENS, 2 * largest_batch)),
        }

    def packing(self, delimiter: int, pinned: str | None) -> Packing:
        """By version: ``--enable-mis``, or the flag with the delimiter and what that one needs.

        The server packs with the attention called flashinfer alone. On a GPU that is flashinfer's,
        on a CPU the one of ``platform/`` (``scoreparity_cpu_attention.py``).
        """
        if pinned is None:
            raise UserError(f"no version of {self.package} is pinned, so its flags are not known")
        if _release(pinned) >= self._MIS_SINCE:
            flags: Flags = {"enable-mis": True, "attention-backend": "flashinfer"}
            return Packing(flags, self._MIS_DELIMITER)
        flags = {
            DELIMITER_FLAG: delimiter,
            "disable-radix-cache": True,
            "chunked-prefill-size": -1,
        }
        return Packing(flags, delimiter)

    def scoring(
        self,
        settings: Settings,
        *,
        item_first: bool,
        softmax: bool,  # noqa: ARG002
    ) -> tuple[ScoringMode, str | None]:
        """Packed by the switch or, before there was one, by the delimiter."""
        packs = settings.get("enable_mis") or (
            settings.get("multi_item_scoring_delimiter") is not None
        )
        if not packs:
            return prompts(settings, item_first), None
        return "packed", self._ATTENTION if settings.get("device") == "cpu" else None


def _release(version: str) -> tuple[int, ...]:
    """The numbers of a version, whatever stands behind them (``.post1``, ``rc1``)."""
    numbers = re.match(r"\d+(?:\.\d+)*", version)
    return tuple(int(n) for n in numbers[0].split(".")) if numbers else ()


BACKEND = SglangPytorch()
