"""Reads a GGUF file: its metadata, and its tensors.

The format: https://github.com/ggml-org/ggml/blob/master/docs/gguf.md (version 3). The reader of the
``gguf`` package takes a hundred times as long, because it makes two arrays of each of 100,000
strings. Only its dequantization is used.
"""

from __future__ import annotations

import mmap
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from stages.common.errors import UserError

type Value = bool | int | float | str | list[bool] | list[int] | list[float] | list[str]

_SCALARS = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?"} | {
    10: "Q",
    11: "q",
    12: "d",
}
_STRING, _ARRAY = 8, 9


@dataclass(frozen=True, slots=True)
class Stored:
    """A stored tensor.

    Attributes:
        shape: of the numbers, outermost dimension first.
        quantization: the GGML type of the bytes.
        offset: of the bytes, from the start of the file.
    """

    shape: tuple[int, ...]
    quantization: int
    offset: int


class GgufFile:
    """An opened GGUF file.

    Attributes:
        tensors: every stored tensor, by its name in the file.
    """

    def __init__(self, path: Path) -> None:
        """Read the header.

        Raises:
            UserError: the file is missing, or is not a GGUF file of version 3.
        """
        self.path = path
        try:
            with path.open("rb") as file:
                self._data = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        except (OSError, ValueError) as error:  # ValueError: an empty file
            raise UserError(f"{path}: {error}") from error
        self._at = 0
        try:
            self._values, self.tensors = self._header()
        except (struct.error, KeyError, UnicodeDecodeError) as error:
            raise UserError(f"{path}: damaged: {error}") from error

    def number(self, key: str) -> float:
        """The metadata's number of that name."""
        return self._get(key, (int, float))

    def text(self, key: str) -> str:
        """The metadata's text of that name."""
        return self._get(key, str)

    def texts(self, key: str) -> list[str]:
        """The metadata's list of texts of that name."""
        return self._get(key, list)

    def numbers(self, key: str) -> list[int]:
        """The metadata's list of whole numbers of that name."""
        return self._get(key, list)

    def _get[T](self, key: str, kind: type[T] | tuple[type[T], ...]) -> T:
        value = self._values.get(key)
        if not isinstance(value, kind):
            raise UserError(f"{self.path}: its metadata has no usable {key}")
        return value

    def tensor(self, name: str) -> npt.NDArray[np.float32]:
        """A tensor, dequantized.

        Raises:
            UserError: there is no such tensor, or its quantization is not known.
        """
        from gguf.constants import GGML_QUANT_SIZES, GGMLQuantizationType
        from gguf.quants import dequantize

        stored = self.tensors.get(name)
        if stored is None:
            raise UserError(f"{self.path}: it has no tensor {name}")
        try:
            kind = GGMLQuantizationType(stored.quantization)
            block, block_bytes = GGML_QUANT_SIZES[kind]
            rows = (*stored.shape[:-1], stored.shape[-1] // block * block_bytes)
            raw = np.frombuffer(self._data, np.uint8, int(np.prod(rows)), stored.offset)
            numbers = dequantize(raw.reshape(rows), kind)
        except (ValueError, NotImplementedError) as error:
            raise UserError(f"{self.path}: {name} cannot be dequantized: {error}") from error
        return numbers.astype(np.float32, copy=False).reshape(stored.shape)

    def _header(self) -> tuple[dict[str, Value], dict[str, Stored]]:
        magic, version, tensors, entries = self._unpack("4sIQQ")
        if magic != b"GGUF" or version != 3:
            raise UserError(f"{self.path}: no GGUF file of version 3")
        values = {self._string(): self._value(self._unpack("I")[0]) for _ in range(entries)}
        headers: dict[str, tuple[tuple[int, ...], int, int]] = {}
        for _ in range(tensors):
            name = self._string()
            shape = self._unpack(f"{self._unpack('I')[0]}Q")
            # GGUF names the innermost dimension first.
            headers[name] = (shape[::-1], *self._unpack("IQ"))
        alignment = values.get("general.alignment", 32)
        assert isinstance(alignment, int)  # noqa: S101  the format says so
        start = -(-self._at // alignment) * alignment
        return values, {
            n: Stored(shape, kind, start + at) for n, (shape, kind, at) in headers.items()
        }

    def _unpack(self, layout: str) -> tuple[Any, ...]:
        values = struct.unpack_from(f"<{layout}", self._data, self._at)
        self._at += struct.calcsize(f"<{layout}")
        return values

    def _string(self) -> str:
        (length,) = self._unpack("Q")
        return str(self._unpack(f"{length}s")[0], "utf-8")

    def _value(self, kind: int) -> Value:
        if kind == _STRING:
            return self._string()
        if kind == _ARRAY:
            inner, length = self._unpack("IQ")
            if inner == _STRING:
                return [self._string() for _ in range(length)]
            return list(self._unpack(f"{length}{_SCALARS[inner]}"))
        value: bool | int | float = self._unpack(_SCALARS[kind])[0]
        return value
