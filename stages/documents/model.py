"""Reads the record of the model that the ``checkpoint`` stage wrote."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pydantic

from stages.common.errors import UserError
from stages.documents.matrix import Model

CHECKPOINT_FILES = ("config.json", "model.safetensors")
_TOKENIZER_FILE = "tokenizer.json"


def read_model(path: Path) -> Model:
    """The model under test.

    Raises:
        UserError: missing or damaged.
    """
    try:
        return Model.model_validate_json(path.read_bytes())
    except OSError as error:
        raise UserError(f"{path}: {error.strerror}") from error
    except pydantic.ValidationError as error:
        raise UserError(f"{path}: damaged: {error.errors()[0]['msg']}") from error


def checkpoint_sha256(folder: Path) -> str | None:
    """The hash of a checkpoint that was built here; ``None`` where it cannot be read.

    It covers the tokenizer of a checkpoint that came from a package.
    """
    digest = hashlib.sha256()
    try:
        tokenizer = [_TOKENIZER_FILE] if (folder / _TOKENIZER_FILE).exists() else []
        for name in (*CHECKPOINT_FILES, *tokenizer):
            # Only a regular file: opening a pipe would block.
            if not (folder / name).is_file():
                return None
            with (folder / name).open("rb") as file:
                while piece := file.read(1 << 20):
                    digest.update(piece)
    except (OSError, ValueError):  # ValueError: a NUL in the path
        return None
    return digest.hexdigest()
