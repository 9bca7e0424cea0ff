"""The key of a pass is one type, and its fields are the columns of every table."""

from __future__ import annotations

import pytest
from contracts import PAIR, WORKLOAD
from matrices import one_pass

from stages.documents.cell import PASS_COLUMNS, PassKey, matrix_keys
from stages.documents.comparison import PassTime
from stages.documents.matrix import MATRIX_SCHEMA, folder_of
from stages.documents.oracle import ORACLE_TABLE
from stages.oracle.sample import sample_items


@pytest.mark.parametrize(
    "columns", [MATRIX_SCHEMA.names, ORACLE_TABLE.schema.names], ids=["matrix", "oracle"]
)
def test_every_table_of_passes_has_the_columns_of_the_key(columns: list[str]) -> None:
    assert set(PASS_COLUMNS) <= set(columns)


def test_a_pass_in_a_comparison_has_those_columns_but_for_the_workload_that_it_is_of() -> None:
    assert set(PASS_COLUMNS) - set(PassTime.model_fields) == {"workload"}


def test_the_calls_of_a_pass_have_its_key_and_no_other_pass_has_it() -> None:
    one, other = one_pass("sweep", 2, 0, 1.0), one_pass("sweep", 2, 1, 1.0)
    assert {PassKey.of(call) for call in one} == {PassKey(WORKLOAD, "sweep", 2, 0)}
    assert {PassKey.of(call) for call in other} == {PassKey(WORKLOAD, "sweep", 2, 1)}


def test_a_sampled_item_names_its_pass_by_the_same_key() -> None:
    (first, *_) = sample_items("w", chunk_sizes=[2], runs=3, items=4, samples_per_chunk=2, seed=1)
    assert isinstance(first, PassKey)


def test_no_two_matrices_lie_in_one_folder() -> None:
    keys = matrix_keys(PAIR)
    assert len({folder_of(*key) for key in keys}) == len(keys) == 4
