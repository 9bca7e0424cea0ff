"""The oracle's table is read back exactly, or refused in one line."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from stages.common.errors import UserError
from stages.documents.cell import MatrixKey
from stages.documents.oracle import (
    ORACLE_SCHEMA,
    ORACLE_TABLE,
    ORACLE_VERSION,
    OracleProvenance,
    read_oracle,
)
from stages.documents.tables import table_sha256
from stages.oracle.command import check_answer, check_scores, oracle_table
from stages.oracle.sample import SampledItem
from stages.oracle.score import Answer, Job, Question

SAMPLE = [SampledItem("w", "sweep", 1, 0, 3), SampledItem("w", "sweep", 4, 1, 0)]
SCORES = [[0.1, 0.9], [1 / 3, 2 / 3]]
METADATA = f"scoreparity.{ORACLE_TABLE.name}".encode()


def question(**changes: Any) -> Question:
    plain: dict[str, Any] = {
        "prompts": [[1], [2]],
        "label_token_ids": [5, 6],
        "apply_softmax": True,
    }
    return Question(**{**plain, **changes})


def provenance(table: pa.Table, **changes: Any) -> OracleProvenance:
    plain: dict[str, Any] = {
        "schema_version": ORACLE_VERSION,
        "workload_sha256": "a" * 64,
        "model_sha256": "b" * 64,
        "nonce": "0" * 16,
        "sample_seed": 1,
        "samples_per_chunk": 1,
        "dtype": "float32",
        "torch_version": "2.14.1",
        "transformers_version": "5.19.0",
        "threads": 1,
        "environment_sha256": "c" * 64,
        "table_sha256": table_sha256(table),
    }
    return OracleProvenance(**{**plain, **changes})


@pytest.fixture
def written(tmp_path: Path) -> Path:
    path = tmp_path / "oracle" / "oracle.parquet"
    table = oracle_table(SAMPLE, SCORES)
    ORACLE_TABLE.write(path, table, provenance(table))
    return path


def refused(path: Path, why: str) -> None:
    with pytest.raises(UserError, match=why) as caught:
        read_oracle(path)
    assert str(caught.value).startswith(f"{path}: ")
    assert "\n" not in str(caught.value)


def stored(path: Path) -> dict[bytes, bytes]:
    metadata: dict[bytes, bytes] = pq.read_schema(path).metadata
    return metadata


def edit(path: Path, table: pa.Table) -> None:
    """Put other rows under the metadata that is there."""
    pq.write_table(table.replace_schema_metadata({METADATA: stored(path)[METADATA]}), path)


def test_what_was_written_is_read(written: Path) -> None:
    read = read_oracle(written)
    assert read.provenance == provenance(oracle_table(SAMPLE, SCORES))
    assert read.frame.schema == {
        "workload": pl.String,
        "phase": pl.String,
        "chunk_size": pl.Int32,
        "run": pl.Int32,
        "item": pl.Int32,
        "scores": pl.List(pl.Float64),
        "delimited_scores": pl.List(pl.List(pl.Float64)),
    }
    assert read.frame.rows() == [
        ("w", "sweep", 1, 0, 3, SCORES[0], None),
        ("w", "sweep", 4, 1, 0, SCORES[1], None),
    ]
    assert [p.name for p in written.parent.iterdir()] == ["oracle.parquet"]


def test_the_same_scores_are_the_same_bytes(written: Path) -> None:
    before = written.read_bytes()
    table = oracle_table(SAMPLE, SCORES)
    ORACLE_TABLE.write(written, table, provenance(table))
    assert written.read_bytes() == before


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    refused(tmp_path / "oracle.parquet", "no such oracle table; make it with `dvc repro oracle`")


def test_a_file_cut_off_anywhere_is_refused(written: Path) -> None:
    data = written.read_bytes()
    for length in [0, 3, *range(8, len(data), 97), len(data) - 1]:
        written.write_bytes(data[:length])
        refused(written, "not a readable Parquet file")


def test_an_edited_score_is_refused(written: Path) -> None:
    edit(written, oracle_table(SAMPLE, [[0.1, 0.9], [0.3334, 0.6666]]))
    refused(written, "it was changed")


def test_a_dropped_row_is_refused(written: Path) -> None:
    edit(written, oracle_table(SAMPLE, SCORES).slice(0, 1))
    refused(written, "it was changed")


def test_rows_in_another_order_are_refused(written: Path) -> None:
    edit(written, oracle_table(SAMPLE[::-1], SCORES[::-1]))
    refused(written, "it was changed")


def test_other_columns_are_refused(written: Path) -> None:
    edit(written, oracle_table(SAMPLE, SCORES).drop_columns(["run"]))
    refused(written, "its columns are not those of schema version")


def test_another_schema_version_is_refused(written: Path) -> None:
    table = oracle_table(SAMPLE, SCORES)
    ORACLE_TABLE.write(written, table, provenance(table, schema_version=ORACLE_VERSION + 1))
    refused(written, f"schema version {ORACLE_VERSION + 1}, but this pipeline reads")


def test_a_table_without_provenance_is_refused(written: Path) -> None:
    pq.write_table(oracle_table(SAMPLE, SCORES), written)
    refused(written, "carries no provenance")


@pytest.mark.parametrize("raw", [b"{", b"[]", f'{{"schema_version": {ORACLE_VERSION}}}'.encode()])
def test_damaged_provenance_is_refused(written: Path, raw: bytes) -> None:
    table = oracle_table(SAMPLE, SCORES).replace_schema_metadata({METADATA: raw})
    pq.write_table(table, written)
    refused(written, "its provenance is damaged")


def test_no_value_may_be_missing_but_of_prompts_that_nobody_scored() -> None:
    assert [field.name for field in ORACLE_SCHEMA if field.nullable] == ["delimited_scores"]
    assert not ORACLE_SCHEMA.field("scores").type.value_field.nullable
    of_a_prompt = ORACLE_SCHEMA.field("delimited_scores").type.value_field
    assert not of_a_prompt.nullable
    assert not of_a_prompt.type.value_field.nullable


def test_every_matrix_has_the_prompts_with_the_delimiter_of_its_own_server(tmp_path: Path) -> None:
    with_2, with_9999 = [[0.2, 0.8], [0.3, 0.7]], [[0.4, 0.6], [0.6, 0.4]]
    table = oracle_table(SAMPLE, [*SCORES, *with_2, *with_9999])
    delimiters = {"toy-portable": 9999, "other-portable": 2, "other-best_native": 2}
    path = tmp_path / "oracle.parquet"
    ORACLE_TABLE.write(path, table, provenance(table, delimiters=delimiters))
    read = read_oracle(path)
    assert read.provenance.delimiter_tokens == [2, 9999]
    for key, delimiter, scores in (
        (MatrixKey("toy", "portable"), 9999, with_9999),
        (MatrixKey("other", "portable"), 2, with_2),
        (MatrixKey("other", "best_native"), 2, with_2),
    ):
        found = read.delimited(key)
        assert found is not None
        assert found.delimiter == delimiter
        assert found.sample["delimited"].to_list() == scores
        assert found.sample["scores"].to_list() == SCORES
    assert read.delimited(MatrixKey("toy", "best_native")) is None


def test_good_scores_are_accepted() -> None:
    check_scores(SAMPLE, SCORES, question())
    check_scores(SAMPLE, [[0.1, 0.2], [0.0, 0.0]], question(apply_softmax=False))


@pytest.mark.parametrize(
    ("scores", "why"),
    [
        ([[0.1, 0.9]], "scored 1 prompts, not 2"),
        ([[0.1, 0.9], [1.0]], "gave 1 scores for w, chunk size 4, run 1, item 0"),
        ([[0.1, 0.9], [math.nan, 1.0]], "no probabilities"),
        ([[math.inf, 0.0], [0.5, 0.5]], "for w, chunk size 1, run 0, item 3 are no probabilities"),
        ([[-0.1, 1.1], [0.5, 0.5]], "no probabilities"),
        ([[0.1, 0.8], [0.5, 0.5]], "do not sum to 1"),
    ],
)
def test_scores_that_cannot_be_are_refused(scores: list[list[float]], why: str) -> None:
    with pytest.raises(UserError, match=why):
        check_scores(SAMPLE, scores, question())


def test_scores_of_a_prompt_with_a_delimiter_are_checked_as_the_others() -> None:
    again = question(prompts=[[1], [2], [1, 9, 1], [2, 9, 2]])
    check_scores(SAMPLE, [*SCORES, *SCORES], again)
    with pytest.raises(UserError, match="for w, chunk size 4, run 1, item 0 are no probabilities"):
        check_scores(SAMPLE, [*SCORES, SCORES[0], [math.nan, 1.0]], again)
    with pytest.raises(UserError, match="scored 3 prompts, not 4"):
        check_scores(SAMPLE, [*SCORES, SCORES[0]], again)


def answered(*scores: list[list[float]]) -> Answer:
    return Answer(list(scores), "2.14.1", "5.19.0")


@pytest.mark.parametrize("count", [0, 1, 3])
def test_an_answer_to_more_or_fewer_workloads_is_refused(count: int) -> None:
    asked = Job("m", None, [question(), question(prompts=[[1]])], threads=1)
    check_answer(answered(SCORES, SCORES[:1]), asked)
    with pytest.raises(UserError) as caught:
        check_answer(answered(*[SCORES] * count), asked)
    assert str(caught.value) == f"the oracle answered {count} workloads, not 2"


def test_the_scores_of_another_workload_are_not_taken_for_its_own() -> None:
    # Of other prompts, of other labels, without the softmax.
    with pytest.raises(UserError, match="scored 3 prompts, not 2"):
        check_scores(SAMPLE, [*SCORES, SCORES[0]], question())
    with pytest.raises(UserError, match="gave 2 scores for w, chunk size 1, run 0, item 3"):
        check_scores(SAMPLE, SCORES, question(label_token_ids=[5, 6, 7]))
    with pytest.raises(UserError, match="do not sum to 1"):
        check_scores(SAMPLE, [[0.1, 0.2], [0.3, 0.4]], question())


def test_a_table_of_several_workloads_has_each_ones_rows_apart(tmp_path: Path) -> None:
    other = [SampledItem("v", "sweep", 1, 0, 3), SampledItem("v", "sweep", 2, 1, 1)]
    with_2 = [[0.2, 0.8], [0.3, 0.7]]
    tables = [
        oracle_table(SAMPLE, [*SCORES, *with_2]),
        oracle_table(other, [[0.4, 0.6], [0.5, 0.5], *with_2[::-1]]),
    ]
    table = pa.concat_tables(tables)
    path = tmp_path / "oracle.parquet"
    ORACLE_TABLE.write(path, table, provenance(table, delimiters={"toy-portable": 2}))
    read = read_oracle(path)
    for name, scores, delimited in (
        ("w", SCORES, with_2),
        ("v", [[0.4, 0.6], [0.5, 0.5]], with_2[::-1]),
    ):
        of = read.of(name)
        assert set(of.frame["workload"]) == {name}
        assert of.frame["scores"].to_list() == scores
        found = of.delimited(MatrixKey("toy", "portable"))
        assert found is not None
        assert found.sample["delimited"].to_list() == delimited
    assert read.of("nobody").frame.is_empty()
