"""Which token each packing server puts between the items of a request.

The oracle reads this file and not the servers' flags, so that another flag does not make its scores
out of date.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Literal

import pydantic

from stages.common.errors import UserError
from stages.common.files import write_whole
from stages.documents.cell import MatrixKey
from stages.documents.tables import Record

DELIMITERS_FILE = Path("data") / "delimiters" / "delimiters.json"


class _DelimitersFile(Record):
    version: Literal[1] = 1
    delimiters: dict[str, int]


def by_title(delimiters: Mapping[MatrixKey, int]) -> dict[str, int]:
    """The same with each matrix by its title, such as ``toy-portable``."""
    return {key.title: token for key, token in delimiters.items()}


def write_delimiters(path: Path, delimiters: Mapping[MatrixKey, int]) -> None:
    """Write the delimiter of each matrix whose server packs items.

    Raises:
        UserError: the file cannot be written.
    """
    document = _DelimitersFile(delimiters=by_title(delimiters))
    write_whole(path, (json.dumps(document.model_dump()) + "\n").encode())


def read_delimiters(path: Path) -> dict[str, int]:
    """The delimiter of each matrix whose server packs items, by the title of the matrix.

    Raises:
        UserError: missing or damaged.
    """
    try:
        return _DelimitersFile.model_validate_json(path.read_bytes(), strict=True).delimiters
    except FileNotFoundError:
        raise UserError(f"{path}: no such file; make it with `dvc repro delimiters`") from None
    except OSError as error:
        raise UserError(f"{path}: {error.strerror}") from error
    except pydantic.ValidationError as error:
        raise UserError(f"{path}: damaged: {error.errors()[0]['msg']}") from error
