"""The oracle's table: its Parquet schema, its provenance and its reader.

A row is one item of one pass, scored on its own. The file holds no time and no host name, so the
same contract on the same machine writes the same bytes.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import polars as pl
import pyarrow as pa

from stages.documents.tables import TableKind, TableProvenance

ORACLE_VERSION = 2
ORACLE_FILE = Path("data") / "oracle" / "oracle.parquet"

ORACLE_SCHEMA = pa.schema(
    [
        pa.field("phase", pa.string(), nullable=False),
        pa.field("chunk_size", pa.int32(), nullable=False),
        pa.field("run", pa.int32(), nullable=False),
        pa.field("item", pa.int32(), nullable=False),
        pa.field(
            "scores",
            pa.list_(pa.field("element", pa.float64(), nullable=False)),
            nullable=False,
        ),
    ]
)


class OracleProvenance(TableProvenance):
    """What identifies the oracle's scores, so that a table that does not belong can be refused.

    Attributes:
        nonce: of the comparison whose prompts it scored.
        sample_seed: seed of the sample.
        samples_per_chunk: wanted pairs per chunk size; fewer rows where fewer exist.
        threads: of the forward pass; another number may change the last bits of a score.
    """

    model_sha256: str
    label_token_ids: list[int]
    apply_softmax: bool
    nonce: str
    sample_seed: int
    samples_per_chunk: int
    dtype: Literal["float32"]
    torch_version: str
    transformers_version: str
    threads: int
    environment_sha256: str


@dataclass(frozen=True, slots=True)
class OracleTable:
    """The oracle's scores, one row per scored item, and their provenance."""

    frame: pl.DataFrame
    provenance: OracleProvenance


ORACLE_TABLE = TableKind(
    name="oracle table",
    version=ORACLE_VERSION,
    schema=ORACLE_SCHEMA,
    provenance=OracleProvenance,
    remedy="make it with `dvc repro oracle`",
)


def read_oracle(path: Path) -> OracleTable:
    """Read the oracle's scores and check that they are whole and of this schema version.

    Raises:
        UserError: missing, truncated, of another schema version, or changed since they
            were written.
    """
    return OracleTable(*ORACLE_TABLE.read(path))
