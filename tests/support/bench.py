"""A folder like the repository's root, whose backends are scoring servers."""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml
from contracts import BACKENDS, NONCE, ROOT, WORKLOAD, raw_contract
from patience import PATIENCE_S

from stages.common.files import write_whole
from stages.contract import Contract, parse_contract
from stages.documents.matrix import CHECKPOINT_FOLDER, MODEL_FILE, WORKLOAD_FILE, Model
from stages.documents.nonce import NONCE_FILE, write_nonce
from stages.documents.workload import CanonicalWorkload, Workloads
from stages.workload import build_workloads

SCORING_SERVER = str(ROOT / "tests" / "support" / "scoring_server.py")

SMALL: dict[str, Any] = {
    "workload__items": 4,
    "workload__query_tokens": 16,
    "chunk_sizes": [1, 2, 4],
    "passes__sweep": 3,
    "passes__confirm": 2,
    "limits__call_timeout_s": PATIENCE_S,
    "limits__start_timeout_s": PATIENCE_S,
    "limits__restarts": 2,
    "probes__targets": 3,
    "probes__repeats": 4,
}


def bench_contract(*arguments: str, **changes: Any) -> dict[str, Any]:
    """A small contract, as ``params.yaml`` holds it, with the scoring server as both backends.

    Args:
        arguments: to the scoring server.
        changes: further keys, dots as ``__``.
    """
    raw = raw_contract(**{**SMALL, **changes})
    for backend in BACKENDS:
        raw["backends"][backend]["launch"]["entry"] = [SCORING_SERVER, *arguments]
        raw["backends"][backend]["launch"]["environ"] = {}
    return raw


def make_bench(folder: Path, raw: dict[str, Any], model_sha256: str = "b" * 64) -> None:
    """Fill ``folder`` with everything ``python -m stages.measure`` reads there."""
    folder.mkdir(parents=True, exist_ok=True)
    for name in ("backends", "stages"):
        if not (folder / name).exists():
            (folder / name).symlink_to(ROOT / name)
    made = parse_contract(raw)
    (folder / "params.yaml").write_text(yaml.safe_dump(raw))
    write_whole(folder / WORKLOAD_FILE, build_workloads(made).canonical_bytes())
    write_nonce(folder / NONCE_FILE, NONCE)
    model = Model(title="m", sha256=model_sha256, trained=True, path="nowhere", revision=None)
    write_whole(folder / MODEL_FILE, model.model_dump_json().encode())
    write_whole(folder / CHECKPOINT_FOLDER / "config.json", b'{"num_attention_heads": 4}')


def workload_of(made: Contract, name: str = WORKLOAD, nonce: str = NONCE) -> CanonicalWorkload:
    """One workload of a contract, as a measurement has it."""
    return Workloads.of(build_workloads(made)).in_run(nonce).by_name[name]


def hold(
    path: Path,
    made: Contract,
    *keys: tuple[Any, int, int],
    after: int = 0,
    nonce: str = NONCE,
    workload: str = WORKLOAD,
) -> None:
    """Let a scoring server with ``--hold`` answer only ``after`` more calls of these passes.

    It answers the rest once ``path`` is deleted. So a measurement waits where a test wants it,
    at any speed of either. The probes count as the pass ``("probe", 0, 0)``.
    """
    salts = [workload_of(made, workload, nonce).salt(*key) for key in keys]
    path.write_text(json.dumps({"after": after, "salts": salts}))


@contextlib.contextmanager
def inside(folder: Path) -> Iterator[None]:
    """Run a block in ``folder``, as a stage runs in the repository's root."""
    before = Path.cwd()
    os.chdir(folder)
    try:
        yield
    finally:
        os.chdir(before)
