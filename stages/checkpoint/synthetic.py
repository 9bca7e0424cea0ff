"""Builds a small untrained Qwen3 checkpoint from a seed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from safetensors.numpy import save

from stages.checkpoint.config import config_bytes
from stages.common.files import sha256, write_whole
from stages.contract import SyntheticModel, Vocabulary
from stages.documents.matrix import Model

type Tensor = npt.NDArray[np.float32]


def build_config(model: SyntheticModel, vocabulary: Vocabulary) -> dict[str, Any]:
    """The ``config.json`` of a synthetic model, as transformers' Qwen3 reads it."""
    return {
        "architectures": ["Qwen3ForCausalLM"],
        "attention_bias": False,
        "bos_token_id": 1,
        "eos_token_id": 2,
        "head_dim": model.head_dim,
        "hidden_act": "silu",
        "hidden_size": model.hidden_size,
        "intermediate_size": model.intermediate_size,
        "max_position_embeddings": 40960,
        "model_type": "qwen3",
        "num_attention_heads": model.attention_heads,
        "num_hidden_layers": model.layers,
        "num_key_value_heads": model.kv_heads,
        "rms_norm_eps": 1e-6,
        "rope_theta": 1000000.0,
        "tie_word_embeddings": True,
        "torch_dtype": "float32",
        "vocab_size": vocabulary.size,
    }


def build_weights(model: SyntheticModel, vocabulary: Vocabulary) -> dict[str, Tensor]:
    """Random float32 weights under transformers' Qwen3 names.

    Linear layers are N(0, 1/sqrt(fan_in)), norms 1. Embeddings are N(0, 2/sqrt(hidden)):
    at that scale the label scores spread over (0, 1), so the correctness gate can tell wrong scores
    from right ones.
    """
    random = np.random.Generator(np.random.PCG64(model.seed))

    def normal(rows: int, columns: int, deviation: float) -> Tensor:
        return (random.standard_normal((rows, columns)) * deviation).astype(np.float32)

    def linear(outputs: int, inputs: int) -> Tensor:
        return normal(outputs, inputs, 1 / np.sqrt(inputs))

    hidden, head = model.hidden_size, model.head_dim
    queries, keys = model.attention_heads * head, model.kv_heads * head
    weights = {
        "model.embed_tokens.weight": normal(vocabulary.size, hidden, 2 / np.sqrt(hidden)),
        "model.norm.weight": np.ones(hidden, np.float32),
    }
    for layer in range(model.layers):
        block = {
            "input_layernorm": np.ones(hidden, np.float32),
            "post_attention_layernorm": np.ones(hidden, np.float32),
            "self_attn.q_norm": np.ones(head, np.float32),
            "self_attn.k_norm": np.ones(head, np.float32),
            "self_attn.q_proj": linear(queries, hidden),
            "self_attn.k_proj": linear(keys, hidden),
            "self_attn.v_proj": linear(keys, hidden),
            "self_attn.o_proj": linear(hidden, queries),
            "mlp.gate_proj": linear(model.intermediate_size, hidden),
            "mlp.up_proj": linear(model.intermediate_size, hidden),
            "mlp.down_proj": linear(hidden, model.intermediate_size),
        }
        weights |= {f"model.layers.{layer}.{name}.weight": t for name, t in block.items()}
    return weights


def write_synthetic(model: SyntheticModel, vocabulary: Vocabulary, folder: Path) -> Model:
    """Build the checkpoint in ``folder`` and say what it is."""
    config = config_bytes(build_config(model, vocabulary))
    weights = save(build_weights(model, vocabulary), metadata={"format": "pt"})
    write_whole(folder / "config.json", config)
    write_whole(folder / "model.safetensors", weights)
    return Model(
        title=model.title,
        sha256=sha256(config + weights),
        trained=False,
        path=folder.as_posix(),
        revision=None,
    )
