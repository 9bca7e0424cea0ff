"""Finds the speed of a server: from a matrix, the report or the target's rough rates."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import polars as pl

from stages.common.errors import UserError
from stages.contract import Contract
from stages.documents.cell import PASS_COLUMNS
from stages.documents.comparison import Comparison, load_comparison
from stages.documents.matrix import (
    COMPARISON_FILE,
    MATRIX_FILE,
    TIMED_PHASES,
    Matrix,
    folder_of,
    read_matrix,
)
from stages.environments.build import environment_sha256s
from stages.plan.plan import Plan
from tools.plan.rough import rough_rates


@dataclass(frozen=True, slots=True)
class Rates:
    """Items per second by chunk size.

    Attributes:
        start_s: seconds that the server takes to start; ``None`` where not known.
        basis: the source of the figures, as it follows "estimated from".
    """

    items_per_s: Mapping[int, float]
    start_s: float | None
    basis: str

    def of(self, chunk: int) -> float:
        """The rate at ``chunk``: log-log interpolation, and the nearest rate outside the range."""
        known = sorted(self.items_per_s.items())
        if chunk <= known[0][0]:
            return known[0][1]
        for (low, slow), (high, fast) in pairwise(known):
            if chunk <= high:
                way = math.log(chunk / low) / math.log(high / low)
                return math.exp((1 - way) * math.log(slow) + way * math.log(fast))
        return known[-1][1]


def known_rates(plan: Plan, contract: Contract) -> Rates | None:
    """The rates from the best source; ``None`` where there is none."""
    return (
        _from_matrix(plan, folder_of(plan.backend, plan.view) / MATRIX_FILE)
        or _from_report(plan, COMPARISON_FILE)
        or _from_target(plan, contract)
    )


def _from_matrix(plan: Plan, path: Path) -> Rates | None:
    """The rates of an earlier matrix with the same workload, model and server."""
    try:
        matrix = read_matrix(path)
    except UserError:
        return None
    found = matrix.provenance
    same = (
        found.workload_sha256 == plan.workload_sha256
        and found.model.title == plan.model.title
        and found.run.environment_sha256 in _environments(plan)
        and found.contract.launch == plan.contract.launch
        and found.contract.flags == plan.contract.flags
    )
    rates = _rates_of(matrix) if same else {}
    if not rates:
        return None
    basis = f"{path}, measured on {found.run.host.name} until {found.run.finished_at}"
    return Rates(rates, found.run.seconds.server_start, basis)


def _environments(plan: Plan) -> frozenset[str]:
    return environment_sha256s(plan.environment, plan.commit, plan.device)


def _rates_of(matrix: Matrix) -> dict[int, float]:
    passes = (
        matrix.calls.filter(pl.col("phase").is_in(TIMED_PHASES))
        .group_by(*PASS_COLUMNS)
        .agg(
            (pl.col("status") == "ok").all().alias("good"),
            ((pl.col("end_ns").max() - pl.col("start_ns").min()) / 1e9).alias("seconds"),
        )
        .filter("good")
    )
    items = matrix.provenance.items
    means = passes.group_by("chunk_size").agg(pl.col("seconds").mean())
    return {chunk: items / seconds for chunk, seconds in means.iter_rows() if seconds}


def _from_report(plan: Plan, path: Path) -> Rates | None:
    """The rates of the report in this repository, whose matrices may be absent."""
    try:
        report = load_comparison(path)
    except UserError:
        return None
    scope = report.scope
    if scope.workload_sha256 != plan.workload_sha256:
        return None
    return _of_source(plan, report, path) if scope.model.title == plan.model.title else None


def _of_source(plan: Plan, report: Comparison, path: Path) -> Rates | None:
    wanted = ["python", *plan.arguments]
    for source in report.sources:
        if (source.backend, source.view) != (plan.backend, plan.view):
            continue
        if source.run.argv[: len(wanted)] != wanted:
            continue
        if source.run.environment_sha256 not in _environments(plan):
            continue
        view = next(v for v in report.views() if v.view == plan.view)
        cells = [c for c in view.cells if c.backend == plan.backend]
        rates = {c.chunk_size: c.items_per_s for c in cells if c.items_per_s}
        basis = f"{path}, measured on {source.run.host.name} until {source.run.finished_at}"
        return Rates(rates, source.run.seconds.server_start, basis) if rates else None
    return None


def _from_target(plan: Plan, contract: Contract) -> Rates | None:
    rough, workload = rough_rates(contract), plan.workload
    if rough is None or rough.model != plan.model.title:
        return None
    shape = len(workload.query), max(map(len, workload.items))
    if shape != (rough.query_tokens, rough.item_tokens):
        return None
    known = rough.of(plan.backend)
    rates = known.of(plan.view) if known is not None else None
    if rates is None:
        return None
    return Rates(rates, None, f"rough rates in conf/target/{contract.identity.target}.yaml")
