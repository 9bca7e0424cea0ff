"""Checks that the halves in a merged work tree were measured under its contract."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from pathlib import Path

from stages.common.errors import UserError, one_line
from stages.contract import PARAMS, Pair, load_contract
from tools.combine.halves import (
    WORKLOAD,
    absent,
    needed,
    of_another_contract,
    on_other_data,
    refusal,
    with_other_code,
)
from tools.combine.locks import LOCK_FILE, Lock, parse_lock, parse_params
from tools.combine.repository import dvc


def check_halves(copy: Path, touched: Iterable[str], changed_on: str) -> None:
    """Refuse halves that were measured under another contract or with other code.

    Args:
        copy: the merged tree.
        touched: the stages that any side has run since the common ancestor.
        changed_on: the sides that changed `params.yaml`; empty if none did.

    Raises:
        UserError: names every refused stage, the reason and the remedy.
    """
    contract = load_contract(copy / PARAMS)
    lock = parse_lock((copy / LOCK_FILE).read_text("utf-8"), LOCK_FILE)
    params = parse_params((copy / PARAMS).read_text("utf-8"), str(PARAMS))
    problems = absent(lock, contract.pair)
    problems += of_another_contract(lock, params, changed_on, contract.pair)
    # Another contract often comes with other code, so the code is named only if it alone differs.
    problems = problems or with_other_code(_status(copy, contract.pair))
    if problems:
        raise UserError(refusal(problems, touched, contract))


def check_data(lock: Lock, touched: Iterable[str]) -> None:
    """Refuse halves that were measured on other workloads, or another checkpoint or nonce.

    Raises:
        UserError: names every refused stage, the reason and the remedy.
    """
    workloads = hashlib.md5(Path(WORKLOAD).read_bytes(), usedforsecurity=False).hexdigest()
    in_force = {WORKLOAD: workloads, **lock["checkpoint"].outs, **lock["nonce"].outs}
    contract = load_contract()
    problems = on_other_data(lock, in_force, contract.pair)
    if problems:
        raise UserError(refusal(problems, touched, contract))


def _status(copy: Path, pair: Pair) -> dict[str, list[object]]:
    done = dvc("status", "--json", *needed(pair), folder=copy)
    try:
        status: dict[str, list[object]] = json.loads(done.stdout)
    except ValueError as error:
        raise UserError(f"`dvc status` failed: {one_line(done.stderr, 400)}") from error
    return status
