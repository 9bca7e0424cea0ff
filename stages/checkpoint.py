"""Stage ``checkpoint``: the model under test, built from a seed or resolved and pinned.

Writes ``data/checkpoint/``: ``model.json`` says what the model is and ``config.json`` is
its architecture; a synthetic model's weights lie beside them, a hub model's do not (the
servers fetch them at the pinned revision).
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click
import numpy as np
import numpy.typing as npt
from safetensors.numpy import save

from stages.contract import HubModel, SyntheticModel, Vocabulary, load_contract
from stages.errors import UserError, one_line_errors
from stages.files import sha256, write_whole
from stages.schema import CHECKPOINT_FOLDER, Model

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
    at that scale the label scores spread over (0, 1), so a wrong score is far from a
    right one and the correctness gate has something to see.
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


def _json(document: dict[str, Any]) -> bytes:
    return (json.dumps(document, indent=2, sort_keys=True) + "\n").encode()


def write_synthetic(model: SyntheticModel, vocabulary: Vocabulary, folder: Path) -> Model:
    """Build the checkpoint in ``folder`` and say what it is."""
    config = _json(build_config(model, vocabulary))
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


def resolve_hub(model: HubModel, vocabulary: Vocabulary, folder: Path) -> Model:
    """Resolve a hub model to its commit, keep its ``config.json``, and say what it is.

    Raises:
        UserError: the hub or the model cannot be reached, or the contract's vocabulary
            is not the model's.
    """
    import huggingface_hub

    name = f"{model.repository}@{model.revision}"
    try:
        revision = huggingface_hub.HfApi().model_info(model.repository, revision=model.revision).sha
        path = huggingface_hub.hf_hub_download(model.repository, "config.json", revision=revision)
        config = Path(path).read_bytes()
    except Exception as error:  # the hub's client raises its own, httpx's and OSError
        cause = " ".join(str(error).split())[:200]
        raise UserError(f"model {name}: cannot be resolved on the hub: {cause}") from error
    size = json.loads(config).get("vocab_size")
    if size != vocabulary.size:
        raise UserError(
            f"params.yaml: vocabulary.size: found {vocabulary.size};"
            f" allowed: {size}, the vocabulary of {name}"
        )
    write_whole(folder / "config.json", config)
    return Model(
        title=model.title,
        sha256=sha256(f"{model.repository}@{revision}".encode()),
        trained=True,
        path=model.repository,
        revision=revision,
    )


@click.command()
@click.option("--output", type=click.Path(path_type=Path), default=CHECKPOINT_FOLDER)
@one_line_errors
def main(output: Path) -> None:
    """Build or pin the model under test."""
    contract = load_contract()
    if isinstance(contract.model, SyntheticModel):
        model = write_synthetic(contract.model, contract.vocabulary, output)
    else:
        model = resolve_hub(contract.model, contract.vocabulary, output)
    write_whole(output / "model.json", (model.model_dump_json(indent=2) + "\n").encode())
    click.echo(f"checkpoint: {model.title}, sha256 {model.sha256[:12]}")


if __name__ == "__main__":
    main()
