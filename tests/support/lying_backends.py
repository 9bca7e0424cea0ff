"""Lying backends, measured and compared by the real code."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from unittest import mock

import pyarrow as pa
import yaml
from bench import inside, workload_of
from contracts import BACKENDS, NONCE, ROOT, raw_contract
from patience import PATIENCE_S
from scoring_server import right_score

from stages.backends.registry import declared
from stages.common.files import write_whole
from stages.compare.command import compare
from stages.contract import VIEWS, Backend, Contract, View, parse_contract
from stages.documents.comparison import Comparison, ComparisonSet
from stages.documents.delimiters import by_title
from stages.documents.matrix import (
    CHECKPOINT_FOLDER,
    MODEL_FILE,
    WORKLOAD_FILE,
    Model,
    folder_of,
)
from stages.documents.nonce import NONCE_FILE, write_nonce
from stages.documents.oracle import ORACLE_FILE, ORACLE_SCHEMA, ORACLE_TABLE, OracleProvenance
from stages.documents.tables import table_sha256
from stages.documents.workload import Workloads
from stages.measure import session
from stages.measure.command import make_plan, measure
from stages.oracle.sample import samples_of
from stages.plan.packing import delimiters_of
from stages.workload import build_workloads

ITEMS = 30
CHUNKS = [1, 5, 15, 30]
# As if JAX had been fastest at chunk 5 and the reference at 30: what JAX confirms at 5, the
# reference only answers untimed. Which is the fastest would depend on what else runs here.
CONFIRMED: dict[Backend, list[int]] = {"jax": [1, 5, 15], "pytorch": [1, 15, 30]}


# Lies that must know every item of a pass.
OF_THE_WORKLOAD = ("nearest",)

# The baseline's own is fixed by its version.
DELIMITERS: dict[Backend, int] = {"jax": 2, "pytorch": 9999}


def make_contract(
    flags: Mapping[Backend, Mapping[str, Any]],
    ranking: Mapping[str, Any] | None = None,
    probe_starts: int = 0,
) -> Contract:
    """A small contract whose backends are scoring servers, with these flags when portable.

    In the portable view both are asked to pack items.

    Args:
        flags: of each backend.
        ranking: the gate of the ranking.
        probe_starts: further starts of each server.
    """
    raw: dict[str, Any] = raw_contract(
        workload__items=ITEMS,
        workload__query_tokens=16,
        chunk_sizes=CHUNKS,
        passes__sweep=2,
        passes__confirm=2,
        passes__probe_starts=probe_starts,
        limits__start_timeout_s=PATIENCE_S,
        limits__call_timeout_s=PATIENCE_S,
        gate__ranking=ranking,
        selection__resamples=200,
        probes__repeats=4,
        oracle__samples_per_chunk=20,
    )
    for backend in BACKENDS:
        program = str(ROOT / "tests" / "support" / "scoring_server.py")
        raw["backends"][backend]["launch"]["entry"] = [program]
        raw["backends"][backend]["launch"]["environ"] = {}
        portable, given = raw["backends"][backend]["portable"], flags.get(backend, {})
        portable["multi_item"] = {
            "delimiter_token_id": DELIMITERS[backend],
            # Refused otherwise: the contract's attention is one that ignores the mask.
            "mask_ignored": backend == "jax" and declared(backend).packs_with(dict(given)),
        }
        if backend == "pytorch":
            del portable["flags"]["attention-backend"]  # packing chooses it
        portable["flags"] |= given
    return parse_contract(raw)


HONEST = make_contract({})
WORKLOAD = workload_of(HONEST)


@dataclass
class Bench:
    """A folder like the repository's root, in which both backends are measured once.

    Attributes:
        folder: where ``data/`` lies.
        measured: (backend, view, lie) -> the folder its matrix and probes are kept in.
    """

    folder: Path
    measured: dict[tuple[Backend, View, str], Path] = field(default_factory=dict)

    def result(
        self,
        lies: dict[Backend, str],
        salts: list[list[int]] | None = None,
        ranking: Mapping[str, Any] | None = None,
        probe_starts: int = 0,
        only_starts: str = "",
    ) -> Comparison:
        """The comparison when ``lies`` are told in the portable view and none otherwise.

        Args:
            lies: backend -> its lie.
            salts: lie only about requests with one of these.
            ranking: the contract's gate of the ranking.
            probe_starts: further starts of each server.
            only_starts: lie in these starts alone, 0 being the measured one.
        """
        flags = {b: self._flags(lie, salts) for b, lie in lies.items()}
        for backend, mine in flags.items() if only_starts else ():
            counted = self.folder / f"{backend}-starts"
            counted.unlink(missing_ok=True)
            mine |= {"starts": str(counted), "only-starts": only_starts}
        contract = make_contract(flags, ranking, probe_starts)
        asked = f"/{probe_starts} starts" * bool(probe_starts)
        with inside(self.folder):
            for backend in BACKENDS:
                for view in VIEWS:
                    lie = lies.get(backend, "") if view == "portable" else ""
                    told = lie + "/some" * bool(salts and lie)
                    told += f"/in {only_starts}" * bool(only_starts and lie)
                    self._place(contract, backend, view, told + asked)
            return _only(compare(contract))

    def left(self, name: str, flags: dict[str, Any]) -> Comparison:
        """The comparison when JAX's server has these flags in the portable view.

        Args:
            name: of the flags, under which what is measured is kept.
            flags: of the backend and of the scoring server.
        """
        contract = make_contract({"jax": flags})
        with inside(self.folder):
            for backend in BACKENDS:
                for view in VIEWS:
                    told = name if (backend, view) == ("jax", "portable") else ""
                    self._place(contract, backend, view, told)
            return _only(compare(contract))

    def _flags(self, lie: str, salts: list[list[int]] | None) -> dict[str, str]:
        if lie in OF_THE_WORKLOAD:
            path = self.folder / "items.json"
            path.write_text(json.dumps(WORKLOAD.items))
            return {"lie": lie, "lie-items": str(path)}
        if salts is None:
            return {"lie": lie}
        path = self.folder / f"{lie}.json"
        path.write_text(json.dumps(salts))
        return {"lie": lie, "lie-salts": str(path)}

    def _place(self, contract: Contract, backend: Backend, view: View, lie: str) -> None:
        """Put the matrix where the pipeline looks for it, measuring it if it is new."""
        kept = self.measured.get((backend, view, lie))
        if kept is None:
            kept = self.folder / "kept" / f"{len(self.measured)}"
            confirmed = CONFIRMED[backend]
            with mock.patch.object(session, "confirm_chunk_sizes", return_value=confirmed):
                measure(make_plan(contract, backend, view), kept)
            self.measured[backend, view, lie] = kept
        place = self.folder / folder_of(backend, view)
        place.parent.mkdir(parents=True, exist_ok=True)
        place.unlink(missing_ok=True)
        place.symlink_to(kept)


def _only(found: ComparisonSet) -> Comparison:
    """The comparison of the one workload."""
    (one,) = found.workloads
    return one


def both_labels(p: float) -> list[float]:
    """The scores of an item whose first label has this probability."""
    return [p, 1 - p]


def write_oracle(
    workloads: Workloads,
    made: Contract,
    model_sha256: str = "b" * 64,
    nonce: str = NONCE,
) -> None:
    """An oracle that knows the right scores of the scoring server.

    Args:
        workloads: with the nonce.
        made: the contract.
        model_sha256: of the model that the backends load.
        nonce: of the comparison.
    """
    sample = [sampled for mine in samples_of(made, workloads).values() for sampled in mine]
    delimiters = by_title(delimiters_of(made))
    tokens = sorted(set(delimiters.values()))
    rows = []
    for s in sample:
        workload = workloads.by_name[s.workload]
        query = workload.salted_query(workload.salt("sweep", s.chunk_size, s.run))
        item = workload.items[s.item]
        with_each = [both_labels(right_score([*query, token], item)) for token in tokens]
        rows.append(
            {
                "workload": s.workload,
                "phase": "sweep",
                "chunk_size": s.chunk_size,
                "run": s.run,
                "item": s.item,
                "scores": both_labels(right_score(query, item)),
                "delimited_scores": with_each or None,
            }
        )
    table = pa.Table.from_pylist(rows, schema=ORACLE_SCHEMA)
    provenance = OracleProvenance(
        schema_version=ORACLE_TABLE.version,
        workload_sha256=workloads.sha256,
        model_sha256=model_sha256,
        nonce=nonce,
        sample_seed=made.oracle.seed,
        samples_per_chunk=made.oracle.samples_per_chunk,
        delimiters=delimiters,
        dtype="float32",
        torch_version="none",
        transformers_version="none",
        threads=1,
        environment_sha256="c" * 64,
        table_sha256=table_sha256(table),
    )
    ORACLE_TABLE.write(ORACLE_FILE, table, provenance)


def make_honest_bench(folder: Path) -> Bench:
    """A bench in ``folder``, with everything in it but the matrices."""
    (folder / "backends").symlink_to(ROOT / "backends")
    (folder / "stages").symlink_to(ROOT / "stages")
    with inside(folder):
        (folder / "params.yaml").write_text(yaml.safe_dump(HONEST.model_dump(mode="json")))
        built = build_workloads(HONEST)
        write_whole(WORKLOAD_FILE, built.canonical_bytes())
        write_nonce(NONCE_FILE, NONCE)
        model = Model(title="m", sha256="b" * 64, trained=True, path="nowhere", revision=None)
        write_whole(MODEL_FILE, model.model_dump_json().encode())
        write_whole(CHECKPOINT_FOLDER / "config.json", b'{"num_attention_heads": 4}')
        write_oracle(Workloads.of(built).in_run(NONCE), HONEST)
    return Bench(folder)
