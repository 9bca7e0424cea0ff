"""What identifies a measurement, a pass and a cell, written once with its columns.

A new axis of the measurement is a field here and its column in the tables.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import NamedTuple, Self

from stages.contract import VIEWS, Backend, Pair, View
from stages.documents.matrix import CallRecord, Phase


class MatrixKey(NamedTuple):
    """Which matrix: of which backend, in which view."""

    backend: Backend
    view: View

    @property
    def title(self) -> str:
        """How files name it, such as ``toy-portable``."""
        return f"{self.backend}-{self.view}"


def matrix_keys(pair: Pair) -> tuple[MatrixKey, ...]:
    """Every matrix of a comparison, by backend."""
    return tuple(MatrixKey(b, v) for b in pair.both for v in VIEWS)


@dataclass(frozen=True, slots=True)
class PassKey:
    """Which pass of a matrix: phase, items per call, and the run from 0."""

    phase: Phase
    chunk_size: int
    run: int

    @classmethod
    def of(cls, call: CallRecord) -> Self:
        """The pass that a call belongs to."""
        return cls(**{name: getattr(call, name) for name in PASS_COLUMNS})


PASS_COLUMNS: tuple[str, ...] = tuple(field.name for field in fields(PassKey))
"""The columns of a table that together name a pass."""
