"""The keys of matrices, series, cells and passes, with the columns of a pass.

A new axis of the measurement is a field here and a column in the tables.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import NamedTuple, Self

from stages.contract import VIEWS, Backend, Pair, View
from stages.documents.matrix import CallRecord, Phase


class MatrixKey(NamedTuple):
    """Identifies a matrix: backend and view."""

    backend: Backend
    view: View

    @property
    def title(self) -> str:
        """How files name it, such as ``toy-portable``."""
        return f"{self.backend}-{self.view}"


def matrix_keys(pair: Pair) -> tuple[MatrixKey, ...]:
    """Every matrix of a comparison, by backend."""
    return tuple(MatrixKey(b, v) for b in pair.both for v in VIEWS)


class Series(NamedTuple):
    """Identifies the passes of one cell within a matrix: workload, and items per call."""

    workload: str
    chunk_size: int


class CellKey(NamedTuple):
    """Identifies a cell within a view of a workload: backend, and items per call."""

    backend: Backend
    chunk_size: int


@dataclass(frozen=True, slots=True)
class PassKey:
    """Identifies a pass within a matrix: workload, phase, items per call, and run from 0."""

    workload: str
    phase: Phase
    chunk_size: int
    run: int

    @property
    def series(self) -> Series:
        """The passes that it is one of."""
        return Series(self.workload, self.chunk_size)

    @classmethod
    def of(cls, call: CallRecord) -> Self:
        """The pass that a call belongs to."""
        return cls(**{name: getattr(call, name) for name in PASS_COLUMNS})


PASS_COLUMNS: tuple[str, ...] = tuple(field.name for field in fields(PassKey))
"""The columns that together identify a pass in a table."""
