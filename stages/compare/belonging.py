"""Refuses tables that do not belong together; errors name the file and the difference."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import polars as pl

from stages.common.errors import UserError
from stages.compare.starts import measured_start
from stages.contract import Backend, Contract, View
from stages.documents.matrix import ROW_SUM_TOLERANCE, Matrix, WorkloadMatrix
from stages.documents.oracle import OracleTable
from stages.documents.probes import ProbeTable
from stages.documents.workload import Workloads


@dataclass(frozen=True, slots=True)
class Expected:
    """What every table must have been made from.

    Attributes:
        contract: in force.
        workloads: of the comparison.
        nonce: of the comparison; the requests of another one have other salts.
        model_sha256: of the model under test.
        environment_sha256s: what each backend's environment can be, by its pinned requirements
            and its commit.
        delimiters: matrix to the token that its server puts between items; only those that pack.
    """

    contract: Contract
    workloads: Workloads
    nonce: str
    model_sha256: str
    environment_sha256s: dict[Backend, frozenset[str]]
    delimiters: dict[str, int]


def check_matrix(
    path: Path, matrix: Matrix, backend: Backend, view: View, expected: Expected
) -> None:
    """Refuse a matrix of another backend or view, or one measured under another contract.

    Raises:
        UserError: naming the file, what it is and what it should be.
    """
    found, contract = matrix.provenance, expected.contract
    section = contract.backends[backend]
    _same(path, "backend", found.backend, backend)
    _same(path, "view", found.view, view)
    _same(path, "workloads", found.workload_sha256, expected.workloads.sha256)
    _same(path, "nonce", found.nonce, expected.nonce)
    _same(path, "model", found.model.sha256, expected.model_sha256)
    _check_workloads(path, matrix, expected)
    base_url = section.view(view).base_url
    _same(path, f"contract (backends.{backend}.{view}.base_url)", found.contract.base_url, base_url)
    _check_environment(path, matrix, backend, expected)
    unavailable = section.unavailable_in(view)
    _same(path, "unavailability", found.unavailable, unavailable)
    elsewhere = base_url is not None and unavailable is None
    _same(path, "server's report", found.run.elsewhere is not None, elsewhere)
    measured = found.contract
    for key in ("chunk_sizes", "passes", "limits", "probes"):
        _same(path, f"contract ({key})", getattr(measured, key), getattr(contract, key))
    _same(path, f"contract (backends.{backend}.launch)", measured.launch, section.launch)
    server = section.view(view)
    key = f"contract (backends.{backend}.{view}.multi_item)"
    _same(path, key, measured.multi_item, server.multi_item)
    for flag, value in server.flags.items():
        key = f"contract (backends.{backend}.{view}.flags.{flag})"
        _same(path, key, measured.flags.get(flag), value)
    _check_scores(path, matrix)


def _check_workloads(path: Path, matrix: Matrix, expected: Expected) -> None:
    contract, found = expected.contract, matrix.provenance.workloads
    _same(path, "workloads", sorted(found), sorted(expected.workloads.by_name))
    for name, one in found.items():
        wanted, of = contract.workloads[name], f"of workload {name}"
        _same(path, f"hash {of}", one.sha256, expected.workloads.sha256s[name])
        _same(path, f"number of items {of}", one.items, wanted.items)
        _same(path, f"labels {of}", one.label_token_ids, wanted.label_token_ids)
        _same(path, f"softmax {of}", one.apply_softmax, wanted.apply_softmax)
        _same(path, f"chunk sizes {of}", one.chunk_sizes, contract.chunk_sizes_of(name))
    if strange := sorted(set(matrix.calls["workload"]) - set(found)):
        raise UserError(f"{path}: refused: it holds calls of workload {strange[0]}")


def _check_environment(path: Path, matrix: Matrix, backend: Backend, expected: Expected) -> None:
    found, known = matrix.provenance.run.environment_sha256, expected.environment_sha256s[backend]
    section, view = expected.contract.backends[backend], matrix.provenance.view
    if section.view(view).base_url is not None:
        # The environment of a server started elsewhere is not known here.
        _same(path, "environment", found, None)
    elif found not in known and not (found is None and section.unavailable_in(view) is not None):
        # A commit has a lock for each generation of its dependencies.
        _same(path, "environment", found, " or ".join(sorted(known)) or "none that is known")


def check_probes(path: Path, probes: ProbeTable, matrix: Matrix) -> None:
    """Refuse probes that were not run in the session of ``matrix``.

    Raises:
        UserError: naming the file, what it is and what it should be.
    """
    found, wanted = probes.provenance, matrix.provenance
    _same(path, "backend", found.backend, wanted.backend)
    _same(path, "view", found.view, wanted.view)
    _same(path, "workloads", found.workload_sha256, wanted.workload_sha256)
    _same(path, "nonce", found.nonce, wanted.nonce)
    _same(path, "model", found.model_sha256, wanted.model.sha256)
    _same(path, "matrix", found.matrix_sha256, wanted.table_sha256)
    _check_starts(path, probes, matrix)


def _check_starts(path: Path, probes: ProbeTable, matrix: Matrix) -> None:
    """Refuse a table that lacks starts of the server which were asked for, or has others.

    Each must have been sent every request of the measured session: what is not there cannot differ.
    """
    contract, frame = matrix.provenance.contract, probes.frame
    started_here = contract.base_url is None and matrix.provenance.unavailable is None
    # Where the measured session answered nothing, there was nothing to compare with.
    answered = not measured_start(frame).filter(pl.col("status") == "ok").is_empty()
    planned = contract.passes.probe_starts if started_here and answered else 0
    found = sorted(set(frame["start"].to_list()) - {0})
    _same(path, "list of extra starts", found, list(range(1, planned + 1)))
    sent = _requests(frame, 0)
    for start in found:
        if not _requests(frame, start).equals(sent):
            one = f"its extra start {start} was not sent the measured session's probes"
            raise UserError(f"{path}: refused: {one}")


def _requests(probes: pl.DataFrame, start: int) -> pl.DataFrame:
    """The items that one start was asked for, and where they stood in which request."""
    columns = ["workload", "kind", "layout", "run", "item", "place", "items"]
    return probes.filter(pl.col("start") == start).select(columns).sort(columns)


def check_oracle(path: Path, oracle: OracleTable, expected: Expected) -> None:
    """Refuse an oracle that scored something else.

    Raises:
        UserError: naming the file, what it is and what it should be.
    """
    found, contract = oracle.provenance, expected.contract
    _same(path, "workloads", found.workload_sha256, expected.workloads.sha256)
    _same(path, "nonce", found.nonce, expected.nonce)
    _same(path, "model", found.model_sha256, expected.model_sha256)
    _same(path, "sample seed", found.sample_seed, contract.oracle.seed)
    _same(path, "sample size", found.samples_per_chunk, contract.oracle.samples_per_chunk)
    _same(path, "delimiters", found.delimiters, expected.delimiters)


def _check_scores(path: Path, matrix: Matrix) -> None:
    """Refuse invalid scores. The client checked them, but a file can be made by hand."""
    if matrix.calls.is_empty() != (matrix.provenance.unavailable is not None):
        holds = "no calls" if matrix.calls.is_empty() else "calls of an unavailable backend"
        raise UserError(f"{path}: refused: it holds {holds}")
    for name in matrix.provenance.workloads:
        mine = matrix.of(name)
        if mine.calls.is_empty() and matrix.provenance.unavailable is None:
            raise UserError(f"{path}: refused: it holds no calls of workload {name}")
        _check_scores_of(path, mine)


def _check_scores_of(path: Path, matrix: WorkloadMatrix) -> None:
    labels = len(matrix.workload.label_token_ids)
    good = matrix.calls.filter(pl.col("status") == "ok")
    count = pl.col("item_count") * labels
    if good.filter(pl.col("scores").list.len().fill_null(0) != count).height:
        raise UserError(
            f"{path}: refused: a successful call does not have {labels} scores for each item"
        )
    scores = good["scores"].list.explode()
    if not scores.is_finite().all() or (scores < 0).any() or (scores > 1).any():
        raise UserError(f"{path}: refused: a score is not a number from 0 to 1")
    if matrix.workload.apply_softmax and len(scores):
        sums = scores.to_numpy().reshape(-1, labels).sum(axis=1)
        if abs(sums - 1).max() > ROW_SUM_TOLERANCE:
            raise UserError(f"{path}: refused: the label scores of an item do not sum to 1")


def _same(path: Path, what: str, found: object, wanted: object) -> None:
    if found != wanted:
        raise UserError(f"{path}: refused: its {what} is {found}, but {wanted} is compared here")
