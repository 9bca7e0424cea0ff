"""Which servers pack items with which delimiter is written by one stage, and read back exactly."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from contracts import contract, raw_contract, run_stage

from stages.common.errors import ContractError, UserError
from stages.documents.cell import MatrixKey
from stages.documents.delimiters import DELIMITERS_FILE, read_delimiters, write_delimiters
from stages.plan.packing import delimiters_of

PACKS = {"delimiter_token_id": 2}
# The attention of this contract ignores the mask, and the contract must say so.
UNMASKED = PACKS | {"mask_ignored": True}


def _packs(view: str) -> dict[str, Any]:
    return UNMASKED if view.startswith("jax") else PACKS


def packing(*views: str, **changes: Any) -> dict[str, Any]:
    """A contract whose servers pack items in these views."""
    return raw_contract(
        **{f"backends__{view}__multi_item": _packs(view) for view in views}, **changes
    )


def test_no_server_of_the_committed_contract_packs() -> None:
    assert delimiters_of(contract()) == {}


def test_the_delimiter_is_the_one_that_the_server_uses() -> None:
    keys = {f"backends__{b}__portable__multi_item": _packs(b) for b in ("jax", "pytorch")}
    assert delimiters_of(contract(**keys)) == {
        MatrixKey("jax", "portable"): 2,
        # Its pinned version puts its own between items.
        MatrixKey("pytorch", "portable"): 9999,
    }


def test_a_server_that_is_not_measured_counts() -> None:
    # What it would score follows from the contract, so the oracle need not run again with it.
    made = contract(
        backends__jax__best_native__multi_item=UNMASKED, backends__jax__unavailable="no TPU"
    )
    assert delimiters_of(made) == {MatrixKey("jax", "best_native"): 2}


def test_a_delimiter_that_may_occur_in_a_prompt_is_refused() -> None:
    made = contract(
        backends__pytorch__portable__multi_item=PACKS, vocabulary__reserved_token_ids=[0, 1, 2]
    )
    with pytest.raises(ContractError, match=r"reserved_token_ids: found .*9999 among"):
        delimiters_of(made)


@pytest.mark.parametrize(
    ("views", "said", "written"),
    [
        ((), "no server packs items", {}),
        (
            ("jax__portable", "jax__best_native"),
            "jax-portable 2, jax-best_native 2",
            {"jax-portable": 2, "jax-best_native": 2},
        ),
    ],
)
def test_the_stage_writes_what_the_oracle_reads(
    tmp_path: Path, views: tuple[str, ...], said: str, written: dict[str, int]
) -> None:
    (tmp_path / "params.yaml").write_text(yaml.safe_dump(packing(*views)))
    done = run_stage(tmp_path, "delimiters")
    assert (done.returncode, done.stdout) == (0, f"delimiters: {said}\n"), done.stderr
    first = (tmp_path / DELIMITERS_FILE).read_bytes()
    assert read_delimiters(tmp_path / DELIMITERS_FILE) == written
    # With another flag it is the same file, so nothing that reads it runs again.
    other = packing(*views, **{"backends__jax__portable__flags__page-size": 2})
    (tmp_path / "params.yaml").write_text(yaml.safe_dump(other))
    assert run_stage(tmp_path, "delimiters").returncode == 0
    assert (tmp_path / DELIMITERS_FILE).read_bytes() == first


def test_what_is_missing_or_damaged_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "delimiters.json"
    with pytest.raises(UserError, match="no such file; make it with `dvc repro delimiters`"):
        read_delimiters(path)
    write_delimiters(path, {MatrixKey("toy", "portable"): 7})
    assert read_delimiters(path) == {"toy-portable": 7}
    for damage in ("", "[]", '{"version": 2, "delimiters": {}}', '{"delimiters": {"a": "b"}}'):
        path.write_text(damage)
        with pytest.raises(UserError, match="damaged"):
            read_delimiters(path)
