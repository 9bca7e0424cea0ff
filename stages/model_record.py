"""What the ``checkpoint`` stage recorded about the model, read back by later stages."""

from __future__ import annotations

from pathlib import Path

import pydantic

from stages.errors import UserError
from stages.schema import Model


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
