"""The probes of one matrix: repeated requests, and requests with other neighbours.

A row is one item of one probe request. The table lies beside its matrix. Start 0 is the matrix's
own server session, probed after the timed passes. Where the contract asks for further starts of
the server, each of them was sent the same requests, and nothing else.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import polars as pl
import pyarrow as pa

from stages.contract import Backend, View
from stages.documents.matrix import Status
from stages.documents.tables import TableKind, TableProvenance

PROBES_FILE = "probes.parquet"

type Layout = Literal[
    "alone",
    "original",
    "reversed",
    "replaced",
    "before_1",
    "before_5",
    "before_20",
    "before_all",
    "shorter",
    "longer",
]

OTHER_LENGTHS: tuple[Layout, ...] = ("shorter", "longer")
"""The layouts that change the lengths of items, and so positions and padding."""

PROBE_SCHEMA = pa.schema(
    [
        pa.field("workload", pa.string(), nullable=False),
        pa.field("start", pa.int32(), nullable=False),
        pa.field("kind", pa.string(), nullable=False),
        pa.field("layout", pa.string(), nullable=False),
        pa.field("run", pa.int32(), nullable=False),
        pa.field("item", pa.int32(), nullable=False),
        pa.field("place", pa.int32(), nullable=False),
        pa.field("items", pa.int32(), nullable=False),
        pa.field("status", pa.string(), nullable=False),
        pa.field("detail", pa.string(), nullable=False),
        pa.field("scores", pa.list_(pa.float64())),
    ]
)


@dataclass(frozen=True, slots=True)
class ProbeRecord:
    """The scores of one item in one probe request.

    Attributes:
        workload: whose item it is.
        start: of the server: 0 in the measured session, from 1 in further starts.
        kind: ``repeat`` (identical requests) or ``isolation`` (neighbours changed).
        layout: how the request was built around the item.
        run: which repetition, from 0; 0 for isolation probes.
        item: index of the item in the workload.
        place: items before it in the request.
        items: items in the request.
        status: ``ok`` or the failure kind; ``detail`` says what went wrong.
        scores: one per label; ``None`` for a failed call.
    """

    workload: str
    start: int
    kind: Literal["repeat", "isolation"]
    layout: Layout
    run: int
    item: int
    place: int
    items: int
    status: Status
    detail: str
    scores: list[float] | None


class ProbeProvenance(TableProvenance):
    """What identifies the probes, and the matrix that they belong to.

    Attributes:
        nonce: of the comparison.
        matrix_sha256: ``table_sha256`` of that matrix.
        session: number of the server session that start 0 is.
        targets: of each workload, the items whose neighbours were changed.
    """

    backend: Backend
    view: View
    nonce: str
    model_sha256: str
    matrix_sha256: str
    session: int
    targets: dict[str, list[int]]


PROBE_TABLE = TableKind(
    name="probe table",
    version=5,
    schema=PROBE_SCHEMA,
    provenance=ProbeProvenance,
    remedy="measure it with `dvc repro`",
)


@dataclass(frozen=True, slots=True)
class ProbeTable:
    """The probes of one matrix."""

    frame: pl.DataFrame
    provenance: ProbeProvenance

    def of(self, workload: str) -> pl.DataFrame:
        """The probes of one workload."""
        return self.frame.filter(pl.col("workload") == workload)


def read_probes(path: Path) -> ProbeTable:
    """Read the probes of one matrix.

    Raises:
        UserError: missing, truncated, of another version, or changed since.
    """
    return ProbeTable(*PROBE_TABLE.read(path))
