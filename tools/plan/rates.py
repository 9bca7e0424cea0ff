"""Finds the speed of a server: from a matrix, the report or the target's rough rates.

The speed at one workload says nothing about another one.
"""

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
from stages.documents.comparison import Comparison, MatrixSource, load_comparison
from stages.documents.matrix import (
    COMPARISON_FILE,
    MATRIX_FILE,
    TIMED_PHASES,
    Provenance,
    WorkloadMatrix,
    folder_of,
    read_matrix,
)
from stages.environments.build import environment_sha256s
from stages.plan.plan import Plan
from tools.plan.rough import rough_rates


@dataclass(frozen=True, slots=True)
class Rates:
    """Items per second of one workload by chunk size.

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


def known_rates(plan: Plan, contract: Contract) -> dict[str, Rates]:
    """The rates of each workload from the best source; without those that have no source."""
    # From the worst source to the best one.
    return {
        **_from_target(plan, contract),
        **_from_report(plan, COMPARISON_FILE),
        **_from_matrix(plan, folder_of(plan.backend, plan.view) / MATRIX_FILE),
    }


def _from_matrix(plan: Plan, path: Path) -> dict[str, Rates]:
    """The rates of an earlier matrix with the same model and server, of the same workloads."""
    try:
        matrix = read_matrix(path)
    except UserError:
        return {}
    found = matrix.provenance
    if not _is_of(plan, found):
        return {}
    basis = f"{path}, measured on {found.run.host.name} until {found.run.finished_at}"
    rates = {
        name: _rates_of(matrix.of(name))
        for name, sha256 in plan.workloads.sha256s.items()
        if name in found.workloads and found.workloads[name].sha256 == sha256
    }
    start_s = found.run.seconds.server_start
    return {name: Rates(one, start_s, basis) for name, one in rates.items() if one}


def _is_of(plan: Plan, found: Provenance) -> bool:
    return (
        found.model.title == plan.model.title
        and found.run.environment_sha256 in _environments(plan)
        and found.contract.launch == plan.contract.launch
        and found.contract.flags == plan.contract.flags
    )


def _environments(plan: Plan) -> frozenset[str]:
    return environment_sha256s(plan.environment, plan.commit, plan.device)


def _rates_of(matrix: WorkloadMatrix) -> dict[int, float]:
    passes = (
        matrix.calls.filter(pl.col("phase").is_in(TIMED_PHASES))
        .group_by(*PASS_COLUMNS)
        .agg(
            (pl.col("status") == "ok").all().alias("good"),
            ((pl.col("end_ns").max() - pl.col("start_ns").min()) / 1e9).alias("seconds"),
        )
        .filter("good")
    )
    items = matrix.workload.items
    means = passes.group_by("chunk_size").agg(pl.col("seconds").mean())
    return {chunk: items / seconds for chunk, seconds in means.iter_rows() if seconds}


def _from_report(plan: Plan, path: Path) -> dict[str, Rates]:
    """The rates of the report in this repository, whose matrices may be absent."""
    try:
        report = load_comparison(path)
    except UserError:
        return {}
    compared = {
        one.scope.workload: one
        for one in report.workloads
        if one.scope.model.title == plan.model.title
        and one.scope.workload_sha256 == plan.workloads.sha256s.get(one.scope.workload)
    }
    found = {name: _of_source(plan, one, path) for name, one in compared.items()}
    return {name: rates for name, rates in found.items() if rates is not None}


def _of_source(plan: Plan, report: Comparison, path: Path) -> Rates | None:
    source = next((one for one in report.sources if _is_from(plan, one)), None)
    if source is None:
        return None
    cells = [c for c in report.view(plan.view).cells if c.backend == plan.backend]
    rates = {c.chunk_size: c.items_per_s for c in cells if c.items_per_s}
    basis = f"{path}, measured on {source.run.host.name} until {source.run.finished_at}"
    return Rates(rates, source.run.seconds.server_start, basis) if rates else None


def _is_from(plan: Plan, source: MatrixSource) -> bool:
    wanted = ["python", *plan.arguments]
    return (
        (source.backend, source.view) == (plan.backend, plan.view)
        and source.run.argv[: len(wanted)] == wanted
        and source.run.environment_sha256 in _environments(plan)
    )


def _from_target(plan: Plan, contract: Contract) -> dict[str, Rates]:
    """The rough rates, for every workload of their shape."""
    rough = rough_rates(contract)
    if rough is None or rough.model != plan.model.title:
        return {}
    known = rough.of(plan.backend)
    rates = known.of(plan.view) if known is not None else None
    if rates is None:
        return {}
    made = Rates(rates, None, f"rough rates in conf/target/{contract.identity.target}.yaml")
    shape = (rough.query_tokens, rough.item_tokens)
    return {
        name: made
        for name, one in plan.workloads.by_name.items()
        if (len(one.query), max(map(len, one.items))) == shape
    }
