"""A damaged table is refused in one line; it never reads back as something else."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

import polars as pl
import pyarrow as pa
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from stages.common.errors import UserError
from stages.documents.tables import TableKind, TableProvenance, table_sha256


class Note(TableProvenance):
    text: str
    number: float | None


SCHEMA = pa.schema(
    [
        pa.field("run", pa.int32(), nullable=False),
        pa.field("detail", pa.string(), nullable=False),
        pa.field("scores", pa.list_(pa.float64())),
    ]
)
KIND = TableKind("toy", 1, SCHEMA, Note, "make it again")
TABLE = pa.table(
    {
        "run": list(range(40)),
        "detail": [f"call {i}" for i in range(40)],
        "scores": [[i / 40, 1 - i / 40] if i % 3 else None for i in range(40)],
    },
    schema=SCHEMA,
)
NOTE = Note(
    schema_version=1,
    workload_sha256="ab" * 32,
    table_sha256=table_sha256(TABLE),
    text="measured here",
    number=1.5,
)


def written() -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "toy.parquet"
        KIND.write(path, TABLE, NOTE)
        return path.read_bytes()


GOOD = written()


def read(data: bytes) -> tuple[pl.DataFrame, Note] | None:
    """What the bytes read back as, or ``None`` where they are refused in one clean line."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "toy.parquet"
        path.write_bytes(data)
        try:
            return KIND.read(path)
        except UserError as refused:
            said = str(refused)
    assert said.startswith(str(path))
    assert said.isprintable()
    assert len(said) < len(str(path)) + 250
    return None


def same(found: tuple[pl.DataFrame, Note]) -> bool:
    frame, note = found
    return bool(frame.equals(pl.from_arrow(TABLE))) and note == NOTE


def test_a_whole_table_reads_back_as_it_was_written() -> None:
    found = read(GOOD)
    assert found is not None
    assert same(found)


@settings(max_examples=300)
@given(st.integers(0, len(GOOD) - 1))
@example(0)
@example(4)
@example(len(GOOD) - 1)
def test_a_truncated_table_is_refused(length: int) -> None:
    assert read(GOOD[:length]) is None


@settings(max_examples=2000)
@given(st.integers(0, len(GOOD) - 1), st.integers(1, 255))
@example(GOOD.index(b"measured here"), 1)
@example(GOOD.index(b"workload_sha256") + len('workload_sha256":"'), 1)
def test_one_changed_byte_is_refused_or_changes_nothing(at: int, by: int) -> None:
    found = read(GOOD[:at] + bytes([GOOD[at] ^ by]) + GOOD[at + 1 :])
    assert found is None or same(found)


@settings(max_examples=500)
@given(st.integers(0, len(GOOD)), st.integers(0, len(GOOD)), st.binary(max_size=64))
def test_a_damaged_stretch_is_refused_or_changes_nothing(start: int, end: int, new: bytes) -> None:
    found = read(GOOD[: min(start, end)] + new + GOOD[max(start, end) :])
    assert found is None or same(found)


@given(st.binary(max_size=200))
def test_no_bytes_are_taken_for_a_table(data: bytes) -> None:
    assert read(data) is None
    assert read(b"PAR1" + data + b"PAR1") is None


def test_an_edited_provenance_is_refused_whatever_it_says() -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "toy.parquet"
        KIND.write(path, TABLE, NOTE.model_copy(update={"text": "measured HERE"}))
        other = path.read_bytes()
    assert len(other) == len(GOOD)
    edited = GOOD.replace(b"measured here", b"measured HERE")
    assert edited != GOOD
    assert read(edited) is None
    found = read(other)
    assert found is not None
    assert found[1].text == "measured HERE"


def test_a_missing_table_says_what_to_do(tmp_path) -> None:
    with pytest.raises(UserError, match=r"toy.parquet: no such toy; make it again$"):
        KIND.read(tmp_path / "toy.parquet")


def test_a_folder_is_no_table(tmp_path) -> None:
    # A folder of Parquet files would be read as one data set.
    (tmp_path / "toy.parquet").mkdir()
    (tmp_path / "toy.parquet" / "part.parquet").write_bytes(GOOD)
    with pytest.raises(UserError, match=r"it is no file$"):
        KIND.read(tmp_path / "toy.parquet")


def test_a_pipe_is_not_waited_for(tmp_path) -> None:
    os.mkfifo(tmp_path / "toy.parquet")
    with pytest.raises(UserError, match=r"it is no file$"):
        KIND.read(tmp_path / "toy.parquet")
