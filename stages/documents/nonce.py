"""The nonce of a comparison, which makes its requests unique.

The salts of both backends depend on it, so a server that keeps running between two comparisons
cannot answer the second from its prefix cache. A comparison keeps its nonce on all machines and
in all attempts.
"""

from __future__ import annotations

import json
import secrets
from pathlib import Path
from typing import Annotated, Literal

import pydantic
from pydantic import Field

from stages.common.errors import UserError
from stages.common.files import write_whole
from stages.documents.tables import Record

NONCE_FILE = Path("data") / "nonce" / "nonce.json"

_NONCE_BYTES = 8

type Nonce = Annotated[str, Field(pattern="^[0-9a-f]{16}$")]


class _NonceFile(Record):
    version: Literal[1] = 1
    nonce: Nonce


def draw_nonce() -> str:
    """A new nonce: 16 random hexadecimal digits."""
    return secrets.token_hex(_NONCE_BYTES)


def write_nonce(path: Path, nonce: str) -> None:
    """Write the nonce of a comparison.

    Raises:
        UserError: the file cannot be written.
    """
    document = json.dumps(_NonceFile(nonce=nonce).model_dump()) + "\n"
    write_whole(path, document.encode())


def read_nonce(path: Path) -> str:
    """Read the nonce of the comparison that is measured here.

    Raises:
        UserError: missing or damaged.
    """
    try:
        return _NonceFile.model_validate_json(path.read_bytes(), strict=True).nonce
    except FileNotFoundError:
        raise UserError(f"{path}: no such file; draw a nonce with `dvc repro nonce`") from None
    except OSError as error:
        raise UserError(f"{path}: {error.strerror}") from error
    except pydantic.ValidationError as error:
        raise UserError(f"{path}: damaged: {error.errors()[0]['msg']}") from error
