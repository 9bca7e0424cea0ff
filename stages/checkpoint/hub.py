"""Resolves a model of the Hugging Face hub to a commit, without its weights."""

from __future__ import annotations

import json
from pathlib import Path

from stages.common.errors import UserError
from stages.common.files import sha256, write_whole
from stages.contract import HubModel, Vocabulary
from stages.documents.matrix import Model


def resolve_hub(model: HubModel, vocabulary: Vocabulary, folder: Path) -> Model:
    """Resolve a hub model to its commit, store its ``config.json``, and describe it.

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
