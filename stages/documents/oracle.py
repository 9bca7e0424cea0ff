"""The oracle's table: what it scored, in which Parquet file, and how a reader trusts it.

A row is one item of one pass, scored on its own. The file holds no clock and no host
name: the same contract on the same machine writes the same bytes.
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
    """Everything needed to say what an oracle's scores are, and to refuse ones that do not belong.

    Attributes:
        nonce: of the comparison whose prompts it scored.
        sample_seed: seed of the sample.
        samples_per_chunk: pairs asked for a chunk size; fewer rows where fewer exist.
        threads: of the forward pass; another number may change the last bits.
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
    """The oracle's scores, a row a scored item, and where they came from."""

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
