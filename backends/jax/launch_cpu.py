"""Launch sglang-jax 0.0.2 on a CPU, where the release cannot score as published.

The release's ``/v1/score`` fails on every platform and its native attention
backend fails on import. The four repairs below are the smallest set that makes
scoring work; they change which code path computes the label log-probabilities,
never their values. They live in this process only: nothing installed is edited.

The scheduler runs in a *spawned* child, which re-imports this file as its main
module, so the repairs must be applied at import, not under ``__main__``.

Only the CPU target uses this file. On a TPU the stock
``python -m sgl_jax.launch_server`` is launched instead.

Written against: sglang-jax 0.0.2 (``sgl_jax.srt``), PyPI.
"""

from __future__ import annotations

import dataclasses
import importlib.metadata
import os
import sys
from typing import Any

REPAIRED_VERSION = "0.0.2"

installed = importlib.metadata.version("sglang-jax")
if installed != REPAIRED_VERSION:
    sys.exit(
        f"launch_cpu.py repairs sglang-jax {REPAIRED_VERSION} only, but {installed} is installed:"
        " check which repairs that version still needs before launching it on a CPU."
    )


def tolerate_duplicate_pytree_registration() -> None:
    """Repair 1: flax already registered ``NativeAttention``; a second time raises."""
    import jax.tree_util as tree_util

    register = tree_util.register_pytree_node_class

    def register_once(cls: type) -> type:
        try:
            return register(cls)
        except ValueError as error:
            if "Duplicate" not in str(error):
                raise
            return cls

    tree_util.register_pytree_node_class = register_once
    try:
        import sgl_jax.srt.layers.attention.native_backend  # noqa: F401
    finally:
        tree_util.register_pytree_node_class = register


def use_portable_sampling() -> None:
    """Repair 2: the non-TPU sampling function unpacks three operands as two."""
    from sgl_jax.srt.layers import sampler

    sampler.top_k_top_p_min_p_sampling_from_probs_jax = (
        sampler.top_k_top_p_min_p_sampling_from_probs_jax_tpu_runtime
    )


def skip_input_logprobs() -> None:
    """Repair 3: input log-probabilities call ``.tolist()`` inside jit.

    Scoring reads only the position after the prompt, so the path is switched
    off and each request's input log-probabilities are recorded as empty.
    """
    from sgl_jax.srt.layers.logits_processor import LogitsMetadata
    from sgl_jax.srt.managers.scheduler import Scheduler

    build = LogitsMetadata.from_model_worker_batch.__func__

    def without_input_logprobs(cls: type, batch: Any, mesh: Any = None) -> Any:
        # The label ids are static arguments of the jitted forward pass; left in,
        # they would retrace it for every number of requests in a batch.
        plain = dataclasses.replace(
            batch, return_logprob=False, top_logprobs_nums=None, token_ids_logprobs=None
        )
        return build(cls, plain, mesh)

    def no_input_logprobs(
        self: Any, i: int, req: Any, output: Any, pt: int, n: int, last_prefill_chunk: bool
    ) -> None:
        req.input_token_logprobs_val = []
        req.input_token_logprobs_idx = []
        req.input_token_ids_logprobs_val = []
        req.input_token_ids_logprobs_idx = []
        req.input_top_logprobs_val = []
        req.input_top_logprobs_idx = []

    LogitsMetadata.from_model_worker_batch = classmethod(without_input_logprobs)
    Scheduler.add_input_logprob_return_values = no_input_logprobs


def return_label_logprobs() -> None:
    """Repair 4: the sampler writes label log-probabilities to an object jit discards.

    They are computed from the same logits right after sampling instead.
    """
    import numpy as np
    from sgl_jax.srt.model_executor.model_runner import ModelRunner

    sample = ModelRunner.sample

    def sample_with_label_logprobs(
        self: Any, logits_output: Any, sampling_metadata: Any, positions: Any
    ) -> Any:
        plain = dataclasses.replace(
            sampling_metadata,
            return_logprob=False,
            top_logprobs_nums=None,
            token_ids_logprobs=None,
        )
        next_token_ids = sample(self, logits_output, plain, positions)
        if not sampling_metadata.return_logprob:
            return next_token_ids
        logits = np.asarray(logits_output.next_token_logits, dtype=np.float32)
        shifted = logits - logits.max(axis=-1, keepdims=True)
        logprobs = shifted - np.log(np.exp(shifted).sum(axis=-1, keepdims=True))
        chosen = np.asarray(next_token_ids)
        logits_output.next_token_logprobs = logprobs[np.arange(len(chosen)), chosen]
        requested = sampling_metadata.token_ids_logprobs or []
        logits_output.next_token_token_ids_logprobs_val = [
            logprobs[i, ids].tolist() if ids is not None else [] for i, ids in enumerate(requested)
        ]
        logits_output.next_token_token_ids_logprobs_idx = [
            list(ids) if ids is not None else [] for ids in requested
        ]
        return next_token_ids

    ModelRunner.sample = sample_with_label_logprobs


tolerate_duplicate_pytree_registration()
use_portable_sampling()
skip_input_logprobs()
return_label_logprobs()


def main() -> None:
    """Start the server with the arguments of ``sgl_jax.launch_server``."""
    from sgl_jax.srt.entrypoints.http_server import launch_server
    from sgl_jax.srt.server_args import prepare_server_args
    from sgl_jax.srt.utils import kill_process_tree

    try:
        launch_server(prepare_server_args(sys.argv[1:]))
    finally:
        kill_process_tree(os.getpid(), include_parent=False)


if __name__ == "__main__":
    main()
