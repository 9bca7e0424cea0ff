"""A result measured and compared before the code was reorganised: the same figures come out today.

`tests/fixtures/earlier_result/` holds its four matrices, probes, oracle and `comparison.json` as
the code of that time wrote them. Words have become codes since then, the facts of a run moved into
a record of their own, and a result has named workloads; every number, score and choice must be what
it was.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow.parquet as pq
import pytest
import yaml
from contracts import ROOT

from stages.compare.assemble import Evidence, assemble_all
from stages.contract import Contract, parse_contract
from stages.documents.cell import matrix_keys
from stages.documents.matrix import (
    MATRIX_FILE,
    MATRIX_TABLE,
    Matrix,
    MeasuredWorkload,
    Provenance,
    Run,
)
from stages.documents.oracle import ORACLE_TABLE, OracleProvenance, OracleTable
from stages.documents.probes import PROBE_TABLE, PROBES_FILE, ProbeProvenance, ProbeTable
from stages.documents.workload import CanonicalWorkload, CanonicalWorkloads, Workloads

EARLIER = ROOT / "tests" / "fixtures" / "earlier_result"

# Sentences then, codes or nothing now; their figures stand in other fields, which are compared.
WORDED = {"version", "answer", "sentence", "flags", "reasons", "instability", "oracle_verdict"}

NAME = "then"
"""Of its one workload, which had none."""

type Leaf = bool | int | float | str | None


def rows_and_facts(path: Path, kind: str) -> tuple[pl.DataFrame, dict[str, Any]]:
    """A table of that time: its rows, and its provenance as plain facts."""
    table = pq.read_table(path)
    frame = pl.from_arrow(table)
    assert isinstance(frame, pl.DataFrame)
    return frame, json.loads(table.schema.metadata[f"scoreparity.{kind}".encode()])


def matrix(folder: Path) -> Matrix:
    frame, facts = rows_and_facts(folder / MATRIX_FILE, MATRIX_TABLE.name)
    # Its servers' account of each pass's scoring has been added since.
    frame = named(frame).with_columns(
        pl.lit(None, pl.String).alias("mode"), pl.lit(None, pl.Int32).alias("fallbacks")
    )
    run = {name: facts.pop(name) for name in Run.model_fields if name in facts}
    of = {name: facts.pop(name) for name in MeasuredWorkload.model_fields if name in facts}
    sizes = facts["contract"]["chunk_sizes"]
    workload = MeasuredWorkload(sha256=facts["workload_sha256"], chunk_sizes=sizes, **of)
    return Matrix(frame, Provenance(**facts, workloads={NAME: workload}, run=Run(**run)))


def named(frame: pl.DataFrame) -> pl.DataFrame:
    """The rows, all of the one workload."""
    return frame.with_columns(pl.lit(NAME).alias("workload"))


def probes(folder: Path) -> ProbeTable:
    frame, facts = rows_and_facts(folder / PROBES_FILE, PROBE_TABLE.name)
    targets = {NAME: facts.pop("targets")}
    # Every probe was of the one start.
    frame = named(frame).with_columns(pl.lit(0, pl.Int32).alias("start"))
    return ProbeTable(frame, ProbeProvenance(**facts, targets=targets))


def oracle() -> OracleTable:
    frame, facts = rows_and_facts(EARLIER / "oracle.parquet", ORACLE_TABLE.name)
    del facts["label_token_ids"], facts["apply_softmax"]
    return OracleTable(named(frame), OracleProvenance(**facts))


def workload() -> CanonicalWorkload:
    facts = json.loads((EARLIER / "canonical_workload.json").read_bytes())
    assert facts.pop("version") == 1
    return CanonicalWorkload.model_validate_json(json.dumps({**facts, "name": NAME}))


def leaves(value: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Leaf]]:
    """Every figure, code and choice of a document, by where it stands."""
    if isinstance(value, dict):
        for key, below in value.items():
            if key not in WORDED:
                # The record of a run has been a part of its source since.
                yield from leaves(below, path if key == "run" else (*path, key))
    elif isinstance(value, list):
        for i, below in enumerate(value):
            yield from leaves(below, (*path, str(i)))
    else:
        yield path, value


def counts(document: Any, name: str) -> list[int]:
    """How many reasons or flags of this name each cell and each winner has, in order."""
    if isinstance(document, dict):
        if "code" in document:  # A reason or a flag itself.
            return []
        own = [len(document[name])] if name in document else []
        return own + [n for below in document.values() for n in counts(below, name)]
    if isinstance(document, list):
        return [n for below in document for n in counts(below, name)]
    return []


@pytest.fixture(scope="module")
def then() -> Any:
    return json.loads((EARLIER / "comparison.json").read_bytes())


@pytest.fixture(scope="module")
def contract() -> Contract:
    raw = yaml.safe_load((EARLIER / "params.yaml").read_text())
    # The contract of that time knew no other pair, and one workload.
    raw |= {"pair": {"candidate": "jax", "reference": "pytorch"}}
    raw["workloads"] = {NAME: raw.pop("workload")}
    return parse_contract(raw)


@pytest.fixture(scope="module")
def evidence(contract: Contract) -> Evidence:
    folders = {key: EARLIER / f"{key.backend}-{key.view}" for key in matrix_keys(contract.pair)}
    return Evidence(
        {key: matrix(folder) for key, folder in folders.items()},
        {key: probes(folder) for key, folder in folders.items()},
        oracle(),
    )


@pytest.fixture(scope="module")
def now(contract: Contract, evidence: Evidence) -> Any:
    workloads = Workloads.of(CanonicalWorkloads.of([workload()]))
    (found,) = assemble_all(contract, workloads, evidence).workloads
    return json.loads(found.model_dump_json())


def test_every_figure_and_every_choice_is_what_it_was(then: Any, now: Any) -> None:
    before, after = dict(leaves(then)), dict(leaves(now))
    assert len(before) > 3000
    # What was added since has no figure to be compared with.
    found = {path: after.get(path, "gone") for path in before}
    # numpy's exp and log differ in the last bit between processors, with AVX-512 and without.
    wanted = {
        path: pytest.approx(leaf, rel=1e-12, abs=0) if isinstance(leaf, float) else leaf
        for path, leaf in before.items()
    }
    assert found == wanted


def test_as_many_reasons_and_flags_stand_as_did_then(then: Any, now: Any) -> None:
    for name in ("reasons", "flags", "instability"):
        assert counts(now["portable"], name) == counts(then["portable"], name)
        assert counts(now["best_native"], name) == counts(then["best_native"], name)
