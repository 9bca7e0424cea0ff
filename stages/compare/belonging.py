"""Do these matrices belong together? Those that do not are refused by name, not compared."""

from __future__ import annotations

from pathlib import Path

from stages.contract import Backend, View
from stages.errors import UserError
from stages.schema import Matrix, Provenance


def check_belongs(
    path: Path, matrix: Matrix, backend: Backend, view: View, workload_sha256: str
) -> None:
    """Refuse a matrix that is not the one its place says.

    Raises:
        UserError: naming the file, what it is and what it should be.
    """
    found = matrix.provenance
    _same(path, "backend", found.backend, backend)
    _same(path, "view", found.view, view)
    _same(path, "workload", found.workload_sha256, workload_sha256)
    if matrix.calls.is_empty():
        raise UserError(f"{path}: holds no calls")


def check_comparable(path: Path, matrix: Matrix, first: Provenance) -> None:
    """Refuse a matrix whose model or labels are not those of ``first``.

    Raises:
        UserError: naming the file, what it is and what it should be.
    """
    found = matrix.provenance
    _same(path, "model", found.model.sha256, first.model.sha256)
    _same(path, "labels", found.label_token_ids, first.label_token_ids)
    _same(path, "softmax", found.apply_softmax, first.apply_softmax)


def _same(path: Path, what: str, found: object, wanted: object) -> None:
    if found != wanted:
        raise UserError(f"{path}: refused: its {what} is {found}, but {wanted} is compared here")
