"""The oracle's table: its Parquet schema, its provenance and its reader.

A row is one item of one pass, scored on its own. Where a server of the contract packs items, the
prompt with that server's delimiter between query and item is scored too. The file holds no time
and no host name, so the same contract on the same machine writes the same bytes.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import polars as pl
import pyarrow as pa
from pydantic import Field

from stages.documents.cell import MatrixKey
from stages.documents.tables import TableKind, TableProvenance

ORACLE_VERSION = 4
ORACLE_FILE = Path("data") / "oracle" / "oracle.parquet"

_SCORES = pa.list_(pa.field("element", pa.float64(), nullable=False))

ORACLE_SCHEMA = pa.schema(
    [
        pa.field("workload", pa.string(), nullable=False),
        pa.field("phase", pa.string(), nullable=False),
        pa.field("chunk_size", pa.int32(), nullable=False),
        pa.field("run", pa.int32(), nullable=False),
        pa.field("item", pa.int32(), nullable=False),
        pa.field("scores", _SCORES, nullable=False),
        # One list for each of the provenance's `delimiter_tokens`, in their order.
        pa.field("delimited_scores", pa.list_(pa.field("element", _SCORES, nullable=False))),
    ]
)


class OracleProvenance(TableProvenance):
    """What identifies the oracle's scores, so that a table that does not belong can be refused.

    Attributes:
        nonce: of the comparison whose prompts it scored.
        sample_seed: seed of the sample.
        samples_per_chunk: wanted pairs per workload and chunk size; fewer rows where fewer exist.
        delimiters: matrix, such as ``toy-portable``, to the token that its server puts between
            items; empty where no server packs, and then no prompt with a delimiter was scored.
        threads: of the forward pass; another number may change the last bits of a score.
    """

    model_sha256: str
    nonce: str
    sample_seed: int
    samples_per_chunk: int
    delimiters: dict[str, int] = Field(default_factory=dict)
    dtype: Literal["float32"]
    torch_version: str
    transformers_version: str
    threads: int
    environment_sha256: str

    @property
    def delimiter_tokens(self) -> list[int]:
        """The different delimiters, in the order of a row's ``delimited_scores``."""
        return sorted(set(self.delimiters.values()))


@dataclass(frozen=True, slots=True)
class Delimited:
    """The prompts with a delimiter between query and item.

    Attributes:
        delimiter: the token.
        sample: as the oracle's table, with the scores of these prompts in ``delimited``.
    """

    delimiter: int
    sample: pl.DataFrame


@dataclass(frozen=True, slots=True)
class OracleTable:
    """The oracle's scores, one row per scored item, and their provenance."""

    frame: pl.DataFrame
    provenance: OracleProvenance

    def of(self, workload: str) -> OracleTable:
        """The scores of one workload."""
        return OracleTable(self.frame.filter(pl.col("workload") == workload), self.provenance)

    def delimited(self, key: MatrixKey) -> Delimited | None:
        """The prompts with the delimiter of one matrix; ``None`` where its server packs nothing."""
        delimiter = self.provenance.delimiters.get(key.title)
        if delimiter is None:
            return None
        place = self.provenance.delimiter_tokens.index(delimiter)
        scores = pl.col("delimited_scores").list.get(place)
        return Delimited(delimiter, self.frame.with_columns(delimited=scores))


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
