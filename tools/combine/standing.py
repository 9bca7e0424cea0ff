"""Whether the halves in a merged work tree stand under the contract that is in force there."""

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
    """Refuse what was not measured under the contract, or with the code, of this tree.

    Args:
        copy: the merged tree.
        touched: the stages that any side has run since the sides parted.
        changed_on: the sides that changed `params.yaml`, or nothing.

    Raises:
        UserError: every stage that does not count, why, and what mends it.
    """
    contract = load_contract(copy / PARAMS)
    lock = parse_lock((copy / LOCK_FILE).read_text("utf-8"), LOCK_FILE)
    params = parse_params((copy / PARAMS).read_text("utf-8"), str(PARAMS))
    problems = absent(lock, contract.pair)
    problems += of_another_contract(lock, params, changed_on, contract.pair)
    # Another contract often comes with other code: that is told where it is alone.
    problems = problems or with_other_code(_status(copy, contract.pair))
    if problems:
        raise UserError(refusal(problems, touched, contract))


def check_data(lock: Lock, touched: Iterable[str]) -> None:
    """Refuse what was measured on another workload, checkpoint or nonce than those in this folder.

    Raises:
        UserError: every stage that does not count, why, and what mends it.
    """
    workload = hashlib.md5(Path(WORKLOAD).read_bytes(), usedforsecurity=False).hexdigest()
    in_force = {WORKLOAD: workload, **lock["checkpoint"].outs, **lock["nonce"].outs}
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
