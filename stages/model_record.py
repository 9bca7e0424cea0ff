"""What the ``checkpoint`` stage recorded about the model, read back by later stages."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pydantic

from stages.errors import UserError
from stages.schema import Model

CHECKPOINT_FILES = ("config.json", "model.safetensors")


def read_model(path: Path) -> Model:
    """The model under test, as its record says.

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
    """What identifies a checkpoint built from a seed; ``None`` where none can be read."""
    digest = hashlib.sha256()
    try:
        for name in CHECKPOINT_FILES:
            # Only a file: a pipe would be waited for.
            if not (folder / name).is_file():
                return None
            with (folder / name).open("rb") as file:
                while piece := file.read(1 << 20):
                    digest.update(piece)
    except (OSError, ValueError):  # ValueError: a NUL in the path
        return None
    return digest.hexdigest()
