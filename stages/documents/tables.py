"""Writes and reads the tables between stages: Parquet with provenance in the metadata.

Each table defines its schema and its provenance in a module of its own (``matrix.py``,
``probes.py``, ``oracle.py``). This module detects damaged and changed files.
"""

from __future__ import annotations

import io
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pydantic
from pydantic import BaseModel, ConfigDict

from stages.common.errors import UserError, one_line
from stages.common.files import sha256, write_whole


class Record(BaseModel):
    """Provenance: immutable, and an unknown field is an error."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class TableProvenance(Record):
    """The part of the provenance that every table has.

    Attributes:
        schema_version: of the table's columns and its provenance.
        workload_sha256: of the canonical workload.
        table_sha256: of the table's values.
    """

    schema_version: int
    workload_sha256: str
    table_sha256: str


@dataclass(frozen=True, slots=True)
class TableKind[P: TableProvenance]:
    """One kind of table.

    Attributes:
        name: its name in errors.
        version: the schema version that this pipeline writes and reads.
        schema: its columns.
        provenance: the class of its provenance.
        remedy: what errors tell a user to do when it is missing.
    """

    name: str
    version: int
    schema: pa.Schema
    provenance: type[P]
    remedy: str

    @property
    def _key(self) -> bytes:
        return f"scoreparity.{self.name}".encode()

    @property
    def _seal(self) -> bytes:
        return self._key + b".sha256"

    def write(self, path: Path, table: pa.Table, provenance: P) -> None:
        """Write a table, whole or not at all.

        Raises:
            UserError: the file cannot be written.
        """
        raw = provenance.model_dump_json().encode()
        metadata = {self._key: raw, self._seal: sha256(raw).encode()}
        sink = io.BytesIO()
        pq.write_table(
            table.replace_schema_metadata(metadata),
            sink,
            compression="zstd",
            write_page_checksum=True,
        )
        write_whole(path, sink.getvalue())

    def read(self, path: Path) -> tuple[pl.DataFrame, P]:
        """Read a table and check that it is whole, unchanged and of this schema version.

        Raises:
            UserError: missing, truncated, another kind or schema version, or changed since
                it was written.
        """
        table = self._load(path)
        metadata = table.schema.metadata or {}
        raw = metadata.get(self._key)
        if raw is None:
            raise UserError(f"{path}: carries no provenance of a {self.name} of this pipeline")
        provenance = self._parse(path, raw)
        if not table.schema.remove_metadata().equals(self.schema):
            raise UserError(f"{path}: its columns are not those of schema version {self.version}")
        try:
            # Polars ends the program if a name inside a column's type is damaged.
            table = table.cast(self.schema)
            table.validate(full=True)
        except (ValueError, pa.ArrowException) as error:
            raise UserError(f"{path}: not a readable Parquet file: {_short(error)}") from error
        if table_sha256(table) != provenance.table_sha256:
            raise UserError(f"{path}: its rows are not those that were written; it was changed")
        if metadata.get(self._seal) != sha256(raw).encode():
            raise UserError(f"{path}: its provenance is not what was written; it was changed")
        frame = pl.from_arrow(table)
        assert isinstance(frame, pl.DataFrame)  # noqa: S101  a table is never a Series
        return frame, provenance

    def _load(self, path: Path) -> pa.Table:
        try:
            # Only a regular file: pyarrow reads a folder as a data set, and a pipe would block.
            if path.exists() and not path.is_file():
                raise UserError(f"{path}: not a readable Parquet file: it is no file")
            source = pa.BufferReader(path.read_bytes())
            return pq.ParquetFile(source, page_checksum_verification=True).read()
        except FileNotFoundError:
            raise UserError(f"{path}: no such {self.name}; {self.remedy}") from None
        except (OSError, ValueError, MemoryError, pa.ArrowException) as error:
            raise UserError(f"{path}: not a readable Parquet file: {_short(error)}") from error

    def _parse(self, path: Path, raw: bytes) -> P:
        try:
            loaded: Any = pydantic.TypeAdapter(dict[str, Any]).validate_json(raw)
            version = loaded.get("schema_version")
            if version != self.version:
                raise UserError(
                    f"{path}: schema version {version}, but this pipeline reads {self.version};"
                    f" {self.remedy}"
                )
            return self.provenance.model_validate(loaded)
        except pydantic.ValidationError as error:
            raise UserError(f"{path}: its provenance is damaged: {_short(error)}") from error


def table_sha256(table: pa.Table) -> str:
    """SHA-256 over the values of ``table``, independent of their encoding in Parquet."""
    return sha256(json.dumps(table.to_pydict(), separators=(",", ":")).encode())


def _short(error: BaseException) -> str:
    return one_line(str(error) or type(error).__name__, 160)
