"""The decision table: matrices with a known answer, and the comparison that follows from them."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from itertools import product
from typing import Any

import polars as pl
import pyarrow as pa
import pytest
from comparisons import PAIR, comparison_set, scored
from contracts import BACKENDS, NONCE, WORKLOAD, raw_several
from elsewhere import account, at_url
from matrices import ITEMS, Score, matrix, one_pass, plain_score, with_facts

from stages.backends.declared import PassMode
from stages.compare.assemble import Evidence, assemble_all
from stages.compare.exports import all_metrics
from stages.contract import VIEWS, Backend, Contract, View, parse_contract
from stages.contract.serving import Source
from stages.documents.cell import MatrixKey
from stages.documents.comparison import Comparison, ComparisonSet, Flag, Reason
from stages.documents.matrix import CallRecord, Host, Matrix, Model, Status
from stages.documents.oracle import ORACLE_SCHEMA, OracleProvenance, OracleTable
from stages.documents.probes import PROBE_SCHEMA, ProbeProvenance, ProbeRecord, ProbeTable
from stages.documents.workload import Workloads
from stages.report.figures import draw_all
from stages.report.first_screen import first_screen
from stages.report.prose.flags import flag as worded
from stages.report.prose.winner import answer
from stages.report.ranking import ranking_answer
from stages.report.render import render_all
from stages.workload import build_workloads
from tools.diff.conditions import measured

CHUNKS = (1, 2, 4)
COMMIT = "fedcba9876543210" * 2 + "fedcba98"
RUNS = 5

type Seconds = Mapping[int, float | Sequence[float]]


def steady(fastest: float) -> Seconds:
    """Passes that hardly vary; chunk 2 is the fastest, 1 and 4 take half as long again."""
    jitter = [-0.002, -0.001, 0.0, 0.001, 0.002]
    return {c: [fastest * f * (1 + j) for j in jitter] for c, f in {1: 1.5, 2: 1, 4: 1.5}.items()}


def wrong_item(phase: Any, chunk: int, run: int, item: int) -> float:
    return plain_score(phase, chunk, run, (item + 1) % ITEMS)


def close(phase: Any, chunk: int, run: int, item: int) -> float:
    """Scores whose last two are 0.005 apart."""
    return 0.505 if item == 3 else plain_score("sweep", 1, 0, item)


def swapped(phase: Any, chunk: int, run: int, item: int) -> float:
    """The same with those two in each other's place: inside the gate, in another order."""
    return close(phase, chunk, run, {2: 3, 3: 2}.get(item, item))


@dataclass
class Situation:
    """What was measured; both views alike unless said otherwise.

    Attributes:
        jax, pytorch: seconds of the passes by chunk size.
        jax_score, reference_score: the scores they answer; the oracle is right.
        failing: backend -> runs whose last call fails.
        native: seconds in the best-native view, where they differ.
        changed_code: backend -> whether what measured it differed from the commit.
        runs: passes of a chunk size.
        items, labels, query_tokens: of the workload; softmax is off with a single label.
        checkout: what the contract says of the checkout that JAX is installed from, on a TPU.
        cached: backend and view -> prompt tokens of every pass that came from the prefix cache,
            by the server's account; 0 where nothing is said, as everywhere without one.
        at_url: backend and view -> whether its server, started elsewhere, was sent requests
            twice; ``None`` where that is not known.
        stand_in: backend and view -> whether code of this project stood in for a part of it.
        ranking: the contract's gate of the order of the items.
        probe_starts: further starts of each server that the contract asks for.
        start_differences: backend and view -> of each further start, how far its answers are from
            the measured session's; ``None`` where it failed. Without any, they are the same.
        left: chunk size -> the modes of JAX's passes, by its log; not told of any other.
    """

    jax: Seconds = field(default_factory=lambda: steady(1.0))
    pytorch: Seconds = field(default_factory=lambda: steady(2.0))
    jax_score: Score = plain_score
    reference_score: Score = plain_score
    failing: Mapping[Backend, Sequence[int]] = field(default_factory=dict)
    native: Mapping[Backend, Seconds] = field(default_factory=dict)
    unavailable: Mapping[Backend, str] = field(default_factory=dict)
    unavailable_in: Mapping[tuple[Backend, View], str] = field(default_factory=dict)
    prices: Mapping[Backend, float] = field(default_factory=dict)
    hosts: Mapping[Backend, str] = field(default_factory=dict)
    changed_code: Mapping[Backend, bool | None] = field(default_factory=dict)
    trained: bool = True
    runs: int = RUNS
    items: int = ITEMS
    labels: int = 2
    query_tokens: int = 128
    checkout: Source | None = None
    cached: Mapping[tuple[Backend, View], int | None] = field(default_factory=dict)
    at_url: Mapping[tuple[Backend, View], bool | None] = field(default_factory=dict)
    stand_in: Collection[tuple[Backend, View]] = ()
    left: Mapping[int, Sequence[PassMode]] = field(default_factory=dict)
    probe_starts: int = 0
    start_differences: Mapping[tuple[Backend, View], Sequence[float | None]] = field(
        default_factory=dict
    )
    ranking: Mapping[str, float] | None = None

    @property
    def chunks(self) -> list[int]:
        return [chunk for chunk in CHUNKS if chunk <= self.items]

    def compare(self) -> Comparison:
        """The comparison, where this is the only workload."""
        (found,) = compare_all({WORKLOAD: self}).workloads
        return found

    def workload(self) -> dict[str, Any]:
        """The workload, as the contract has it."""
        return {
            "items": self.items,
            "query_tokens": self.query_tokens,
            "label_token_ids": [9454, 2753][: self.labels],
            "apply_softmax": self.labels > 1,
        }

    def contract(self, workloads: Mapping[str, Any], mix: Mapping[str, Any]) -> Contract:
        """The contract with these workloads, and what else this situation says of it."""
        changes: dict[str, Any] = {
            f"backends__{b}__unavailable": reason for b, reason in self.unavailable.items()
        }
        changes |= {
            f"backends__{b}__{v}__unavailable": why for (b, v), why in self.unavailable_in.items()
        }
        changes |= {f"prices_usd_per_hour__{b}": usd for b, usd in self.prices.items()}
        raw = raw_several(
            workloads,
            chunk_sizes=self.chunks,
            passes__sweep=self.runs,
            gate__ranking=self.ranking,
            selection__resamples=1000,
            mix=dict(mix),
            **changes,
        )
        return parse_contract(raw)

    def matrix(self, backend: Backend, view: View, workload: str = WORKLOAD) -> Matrix:
        """What was measured of this workload."""
        series = self.native.get(backend) if view == "best_native" else None
        series = series or (self.jax if backend == "jax" else self.pytorch)
        host = Host(
            name=self.hosts.get(backend, "h"),
            system="s",
            machine="m",
            processor="p",
            cpus=2,
            memory_bytes=1,
        )
        reason = self.unavailable.get(backend) or self.unavailable_in.get((backend, view))
        facts: dict[str, Any] = {"scoring": None} if reason else {}
        if (backend, view) in self.stand_in:
            facts["scoring"] = scored("packed", detail="a variant", stand_in=True)
        made = matrix(
            backend,
            view,
            [] if reason else self._records(backend, view, series, workload),
            workloads=[workload],
            chunk_sizes=self.chunks,
            sweep=self.runs,
            items=self.items,
            label_token_ids=[9454, 2753][: self.labels],
            host=host,
            unavailable=reason,
            **facts,
            git_commit=COMMIT,
            git_dirty=self.changed_code.get(backend, False),
            model=Model(title="m", sha256="b" * 64, trained=self.trained, path="p", revision="r"),
        )
        found = made.provenance
        if self.probe_starts:
            passes = found.contract.passes.model_copy(update={"probe_starts": self.probe_starts})
            measured = found.contract.model_copy(update={"passes": passes})
            found = with_facts(found, {"contract": measured})
            made = Matrix(made.calls, found)
        if (backend, view) in self.at_url:
            remote = at_url(found, "http://127.0.0.1:1", account(same_machine=True), 0.001)
            repeated = {"requests_repeated": self.at_url[backend, view]}
            return Matrix(made.calls, with_facts(remote, repeated))
        if backend != "jax" or self.checkout is None:
            return made
        launch = found.contract.launch.model_copy(update={"source": self.checkout})
        measured = found.contract.model_copy(update={"launch": launch})
        on_tpu = with_facts(found, {"contract": measured, "devices": ["tpu"]})
        return Matrix(made.calls, on_tpu)

    def _records(
        self, backend: Backend, view: View, series: Seconds, workload: str
    ) -> list[CallRecord]:
        cached = self.cached.get((backend, view), 0)
        score = self.jax_score if backend == "jax" else self.reference_score
        failing = self.failing.get(backend, ())
        records: list[CallRecord] = []
        for chunk in self.chunks:
            value = series[chunk]
            seconds = [value] * self.runs if isinstance(value, int | float) else list(value)
            for run, taken in enumerate(seconds):
                status: Status = "timeout" if run in failing else "ok"
                position = len({r.position for r in records})
                records += one_pass(
                    "sweep",
                    chunk,
                    run,
                    taken,
                    position=position,
                    score=score,
                    status=status,
                    items=self.items,
                    labels=self.labels,
                    workload=workload,
                    cached_tokens=cached,
                    mode=self.left[chunk][run] if backend == "jax" and chunk in self.left else None,
                )
        return records

    def probes(self, backend: Backend, view: View, workload: str) -> ProbeTable:
        """The probes of this workload."""
        ran = backend not in self.unavailable and (backend, view) not in self.unavailable_in
        elsewhere = (backend, view) in self.at_url
        starts = [0.0] * (0 if elsewhere else self.probe_starts)
        differences = self.start_differences.get((backend, view), starts)
        made = probes(backend, view, ran, workload, differences)
        if self.items > 1:
            return made
        return ProbeTable(made.frame.filter(pl.col("kind") == "repeat"), made.provenance)


def compare_all(
    situations: Mapping[str, Situation], mix: Mapping[str, Any] | None = None
) -> ComparisonSet:
    """The comparison of several workloads; what is said of the whole contract is the first's."""
    first = next(iter(situations.values()))
    made = first.contract({name: one.workload() for name, one in situations.items()}, mix or {})
    workloads = Workloads.of(build_workloads(made))
    keys = [MatrixKey(b, v) for b in BACKENDS for v in VIEWS]
    evidence = Evidence(
        matrices={
            key: _joined([one.matrix(*key, name) for name, one in situations.items()])
            for key in keys
        },
        probes={
            key: _probed([one.probes(*key, name) for name, one in situations.items()])
            for key in keys
        },
        oracle=oracle(made),
    )
    return assemble_all(made, workloads, evidence)


def _joined(matrices: Sequence[Matrix]) -> Matrix:
    """One matrix of several workloads, with the run of the first."""
    known = {name: of for one in matrices for name, of in one.provenance.workloads.items()}
    provenance = matrices[0].provenance.model_copy(update={"workloads": known})
    return Matrix(pl.concat([one.calls for one in matrices]), provenance)


def _probed(tables: Sequence[ProbeTable]) -> ProbeTable:
    targets = {name: at for one in tables for name, at in one.provenance.targets.items()}
    provenance = tables[0].provenance.model_copy(update={"targets": targets})
    return ProbeTable(pl.concat([one.frame for one in tables]), provenance)


def probes(
    backend: Backend, view: View, ran: bool, workload: str, starts: Sequence[float | None] = ()
) -> ProbeTable:
    """An isolated, deterministic server; ``starts``: how far further ones are from it."""
    layouts = ("alone", "reversed", "replaced", "shorter", "longer")
    alone = [("isolation", layout, 0, 1) for layout in layouts]
    repeated = [("repeat", "repeat", run, item) for run in range(3) for item in range(ITEMS)]
    rows = [
        ProbeRecord(
            *(workload, start, kind, layout, run, item, 0, ITEMS),  # type: ignore[arg-type]
            *(("ok", "") if by is not None else ("server_died", "ended while starting")),  # type: ignore[arg-type]
            scores=None if by is None else [0.25 + by, 0.75 - by],
        )
        for start, by in enumerate([0.0, *starts])
        for kind, layout, run, item in [*alone, *repeated]
    ]
    frame = pl.from_arrow(pa.Table.from_pylist([asdict(r) for r in rows], schema=PROBE_SCHEMA))
    assert isinstance(frame, pl.DataFrame)
    provenance = ProbeProvenance(
        schema_version=1,
        workload_sha256="a" * 64,
        table_sha256="",
        backend=backend,
        view=view,
        nonce=NONCE,
        model_sha256="b" * 64,
        matrix_sha256="",
        session=0,
        targets={workload: [1]},
    )
    return ProbeTable(frame if ran else frame.clear(), provenance)


def oracle(made: Contract) -> OracleTable:
    """The right scores of every item of the first sweep run."""
    rows = []
    for name, workload in made.workloads.items():
        labels = len(workload.label_token_ids)
        for chunk, item in product(made.chunk_sizes_of(name), range(workload.items)):
            p = plain_score("sweep", chunk, 0, item)
            where = {"workload": name, "phase": "sweep", "chunk_size": chunk, "run": 0}
            rows.append({**where, "item": item, "scores": [p, 1 - p][:labels]})
    frame = pl.from_arrow(pa.Table.from_pylist(rows, schema=ORACLE_SCHEMA))
    assert isinstance(frame, pl.DataFrame)
    provenance = OracleProvenance(
        schema_version=1,
        workload_sha256="a" * 64,
        model_sha256="b" * 64,
        nonce=NONCE,
        sample_seed=made.oracle.seed,
        samples_per_chunk=made.oracle.samples_per_chunk,
        dtype="float32",
        torch_version="t",
        transformers_version="t",
        threads=1,
        environment_sha256="c" * 64,
        table_sha256="",
    )
    return OracleTable(frame, provenance)


@dataclass
class Row:
    """A situation, and what must come of it (in both views, unless a view is named).

    Attributes:
        first: the whole first sentence; figures of a resampling are written ``#``.
    """

    situation: Situation
    outcome: str
    confidence: str
    first: str
    leader: str | None = None
    chunk_size: int | None = None


# Two of five passes take a twentieth of the others: more items/s, and a p95 beyond the guardrail.
ERRATIC = {1: 3.0, 2: [0.05, 1.65, 0.05, 1.65, 1.65], 4: 3.0}
# Slow and fast passes on both sides, whose means differ by less than either spread.
WAVERING = {1: 3.0, 2: [0.96, 1.04, 0.98, 1.02, 1.0], 4: 3.0}
HARDLY_SLOWER = {1: 3.0, 2: [0.97, 1.05, 0.99, 1.03, 1.01], 4: 3.0}
# Five times as fast, but the slowest pass takes twice the mean.
UNSTEADY = {1: 3.0, 2: [0.1, 0.1, 0.1, 0.1, 0.35], 4: 3.0}

# One pass of each chunk size: whatever is drawn anew from it, it is the same pass.
SINGLE = Situation(jax={1: 1.5, 2: 1.0, 4: 1.5}, pytorch={1: 3.0, 2: 2.0, 4: 3.0}, runs=1)

TWICE_AS_FAST = (
    "JAX is faster in both views: 2.00x PyTorch's items/s in the portable view and 2.00x in"
    " the best-native view."
)

TABLE = {
    "clear winner": Row(
        Situation(),
        "jax",
        "high",
        TWICE_AS_FAST,
        leader="jax",
        chunk_size=2,
    ),
    "clear winner, the other way": Row(
        Situation(jax=steady(3.0), pytorch=steady(2.0)),
        "pytorch",
        "high",
        "PyTorch is faster in both views: 1.50x JAX's items/s in the portable view and 1.50x in"
        " the best-native view.",
        leader="pytorch",
        chunk_size=2,
    ),
    "tie": Row(
        Situation(jax=WAVERING, pytorch=HARDLY_SLOWER),
        "tie",
        "none",
        "In the portable view, not decisive (JAX leads by 1.01x, but in only #% of resamples); in"
        " the best-native view, not decisive (JAX leads by 1.01x, but in only #% of resamples).",
        leader="jax",
        chunk_size=2,
    ),
    "exact tie": Row(
        Situation(jax=steady(2.0), pytorch=steady(2.0)),
        "tie",
        "none",
        "In both views, a tie: both backends score exactly 2.00 items/s at chunk size 2.",
    ),
    "JAX faster but wrong": Row(
        Situation(jax_score=wrong_item),
        "pytorch",
        "low",
        "In both views, PyTorch wins with 2.00 items/s, as JAX has no eligible cell (the scores"
        " fail the correctness gate at 3 of 3 chunk sizes).",
        leader="pytorch",
        chunk_size=2,
    ),
    # The oracle knows other scores of the last item, which lowers the confidence of both rows.
    "another order, which the contract does not gate": Row(
        Situation(jax_score=swapped, reference_score=close),
        "jax",
        "low",
        TWICE_AS_FAST,
        leader="jax",
        chunk_size=2,
    ),
    "another order than the contract allows": Row(
        Situation(
            jax_score=swapped, reference_score=close, ranking={"min_tau": 0.6, "max_flips": 0}
        ),
        "pytorch",
        "low",
        "In both views, PyTorch wins with 2.00 items/s, as JAX has no eligible cell (the items are"
        " not in the reference's order: Kendall's tau-b 0.667 (at least 0.6 allowed), 1"
        " flipped pair (at most 0 allowed) at 3 of 3 chunk sizes).",
        leader="pytorch",
        chunk_size=2,
    ),
    "the order that the contract asks for": Row(
        Situation(ranking={"min_tau": 1.0, "max_flips": 0}),
        "jax",
        "high",
        TWICE_AS_FAST,
        leader="jax",
        chunk_size=2,
    ),
    "PyTorch fails half its passes": Row(
        Situation(jax=steady(2.0), pytorch=steady(1.0), failing={"pytorch": (1, 3)}),
        "jax",
        "low",
        "In both views, JAX wins with 2.00 items/s, as PyTorch has no eligible cell (only 3 of 5"
        " timed passes succeeded at 3 of 3 chunk sizes).",
        leader="jax",
        chunk_size=2,
    ),
    "noisy": Row(
        Situation(jax=UNSTEADY, pytorch=steady(2.0)),
        "jax",
        "low",
        "JAX is faster in both views: 13.3x PyTorch's items/s in the portable view and 13.3x"
        " in the best-native view.",
        leader="jax",
        chunk_size=2,
    ),
    "PyTorch missing": Row(
        Situation(unavailable={"pytorch": "a quota of 0 GPUs"}),
        "deferred",
        "none",
        "No answer yet: PyTorch is unavailable (a quota of 0 GPUs); JAX alone reaches 4.00 items/s"
        " in the portable view (chunk size 2) and 4.00 items/s in the best-native view (chunk size"
        " 2).",
    ),
    "JAX missing": Row(
        Situation(unavailable={"jax": "no TPU in this zone"}),
        "deferred",
        "none",
        "No answer yet: JAX is unavailable (no TPU in this zone); PyTorch alone reaches 2.00"
        " items/s in the portable view (chunk size 2) and 2.00 items/s in the best-native view"
        " (chunk size 2).",
    ),
    "both missing": Row(
        Situation(unavailable={"jax": "no TPU", "pytorch": "no GPU"}),
        "deferred",
        "none",
        "No answer yet: JAX is unavailable (no TPU) and PyTorch is unavailable (no GPU).",
    ),
    "guardrail excludes the fastest": Row(
        # JAX: 4 items in 1.01 s on average; PyTorch: 4 items in 1.05 s.
        Situation(jax=ERRATIC, pytorch=steady(1.05)),
        "pytorch",
        "low",
        "In both views, PyTorch wins with 3.81 items/s, as JAX's 3.96 items/s are outside the"
        " guardrail.",
        leader="pytorch",
        chunk_size=2,
    ),
    "everything failed": Row(
        Situation(failing={"jax": range(RUNS), "pytorch": range(RUNS)}),
        "none",
        "none",
        "In both views, no winner: none of the 6 cells is eligible (JAX: only 0 of 5 timed passes"
        " succeeded at 3 of 3 chunk sizes; PyTorch: only 0 of 5 timed passes succeeded at 3 of 3"
        " chunk sizes).",
    ),
    "untrained model": Row(
        Situation(trained=False),
        "jax",
        "low",
        TWICE_AS_FAST,
        leader="jax",
        chunk_size=2,
    ),
    "one pass each": Row(
        SINGLE,
        "jax",
        "low",
        TWICE_AS_FAST,
        leader="jax",
        chunk_size=2,
    ),
    "different hosts without a cost": Row(
        Situation(hosts={"jax": "tpu-vm", "pytorch": "gpu-vm"}),
        "jax",
        "low",
        TWICE_AS_FAST,
        leader="jax",
        chunk_size=2,
    ),
    "different hosts with a cost": Row(
        Situation(
            hosts={"jax": "tpu-vm", "pytorch": "gpu-vm"}, prices={"jax": 1.2, "pytorch": 2.0}
        ),
        "jax",
        "high",
        TWICE_AS_FAST,
        leader="jax",
        chunk_size=2,
    ),
}


@pytest.mark.parametrize("name", TABLE)
def test_the_decision_table(name: str) -> None:
    row = TABLE[name]
    found = row.situation.compare()
    for view in found.views():
        assert view.winner.outcome == row.outcome
        assert view.winner.confidence == row.confidence
        assert (view.winner.leader, view.winner.chunk_size) == (row.leader, row.chunk_size)
    assert without_shares(answer(found.views())) == row.first
    report = render_all(found)["report.md"]
    first_line = report.splitlines()[0]
    nothing_there = row.situation.unavailable or name == "everything failed"
    assert ("PARTIAL" in first_line) == bool(nothing_there)


@pytest.mark.parametrize(
    ("labels", "items", "confidence"), [(1, 4, "high"), (2, 1, "high"), (1, 1, "low")]
)
def test_jax_can_win_with_one_label_and_with_one_item(
    labels: int, items: int, confidence: str
) -> None:
    found = Situation(labels=labels, items=items).compare()
    for view in found.views():
        assert all(cell.eligible for cell in view.cells)
        assert (view.winner.outcome, view.winner.confidence) == ("jax", confidence)
    untested = [one for one in found.portable.winner.flags if one.code == "gate_untested"]
    assert [(one.backend, one.chunk_size, one.only) for one in untested] == (
        [("jax", 1, ["item", "label"])] if confidence == "low" else []
    )
    pages = render_all(found)
    for name, left_out in (("labels swapped", labels == 1), ("items rotated by one", items == 1)):
        reason = f"{name} (there is one {'label' if name == 'labels swapped' else 'item'})"
        assert (reason in pages["report.md"]) == left_out
    assert ("which has no neighbours" in pages["report.md"]) == (items == 1)
    assert draw_all(found), "every figure can be drawn"


@pytest.mark.parametrize(("labels", "items"), [(1, 4), (2, 4)])
def test_scores_that_really_are_flat_still_decide_nothing(labels: int, items: int) -> None:
    def flat(phase: Any, chunk: int, run: int, item: int) -> float:
        return 0.5

    found = Situation(labels=labels, items=items, jax_score=flat, reference_score=flat).compare()
    for view in found.views():
        mine = [cell for cell in view.cells if cell.backend == "jax"]
        assert {cell.gate.verdict for cell in mine if cell.gate} == {"inconclusive"}
        assert not any(cell.eligible for cell in mine)


@pytest.mark.parametrize(("items", "word"), [(1, "nothing to rank"), (4, "kept")])
def test_a_gated_order_of_one_item_bars_nothing(items: int, word: str) -> None:
    found = Situation(items=items, ranking={"min_tau": 1.0, "max_flips": 0}).compare()
    for view in found.views():
        assert all(cell.eligible for cell in view.cells)
        assert ranking_answer(view).word == word
        orders = [c.ranking for c in view.cells if c.backend == "jax"]
        assert [one and one.noise for one in orders] == [0.0] * len(found.scope.chunk_sizes)
        assert not [c for c in view.cells if c.backend == "pytorch" and c.ranking]


def test_a_gated_order_that_cannot_be_told_has_a_reason_of_its_own() -> None:
    def flat(phase: Any, chunk: int, run: int, item: int) -> float:
        return 0.5

    gated = Situation(
        jax_score=flat, reference_score=flat, ranking={"min_tau": 1.0, "max_flips": 0}
    )
    for view in gated.compare().views():
        for cell in view.cells:
            only = cell.backend == "jax"
            codes = ["gate_inconclusive", "ranking_unknown"] * only
            assert [one.code for one in cell.reasons] == codes
        assert ranking_answer(view).word == "no order"


def without_shares(sentence: str) -> str:
    return re.sub(r"[\d.]+% of resamples", "#% of resamples", sentence)


def test_the_views_may_disagree() -> None:
    found = Situation(native={"jax": steady(4.0)}).compare()
    assert (found.portable.winner.outcome, found.best_native.winner.outcome) == ("jax", "pytorch")
    assert answer(found.views()) == (
        "In the portable view, JAX is faster with 2.00x PyTorch's items/s; in the best-native"
        " view, PyTorch is faster with 2.00x JAX's items/s."
    )


@pytest.mark.parametrize("missing", BACKENDS)
def test_one_backend_missing_leaves_the_others_figures_whole(missing: Backend) -> None:
    (there,) = (b for b in BACKENDS if b != missing)
    complete = Situation().compare()
    found = Situation(unavailable={missing: "a quota of 0"}).compare()
    for whole, part in zip(complete.views(), found.views(), strict=True):
        assert part.isolation[there] == whole.isolation[there]
        assert part.noise[there] == whole.noise[there]
        assert part.oracle[there] == whole.oracle[there]
        assert part.passes[there] == whole.passes[there]
        assert part.passes[missing] == []
        for chunk in CHUNKS:
            mine, other = part.cell(there, chunk), part.cell(missing, chunk)
            for figure in ("items_per_s", "items_per_s_interval", "p50_s", "p95_s", "success_rate"):
                assert getattr(mine, figure) == getattr(whole.cell(there, chunk), figure)
            assert (other.items_per_s, other.planned_passes, other.failures) == (None, 0, {})
            assert other.reasons == [Reason(code="unavailable", detail="a quota of 0")]


@pytest.mark.parametrize("missing", BACKENDS)
def test_a_partial_report_says_why_and_which_command_completes_it(missing: Backend) -> None:
    found = Situation(unavailable={missing: "a quota of 0"}).compare()
    for name, page in render_all(found).items():
        assert "PARTIAL" in page.splitlines()[0], name
        assert "a quota of 0" in page, name
        assert f"make doctor CLEAR=1 BACKEND={missing}, then make repro" in page, name
        assert "no timed pass succeeded" not in page, name


REFUSED = "refuses disable-radix-cache"


@pytest.mark.parametrize("missing", BACKENDS)
@pytest.mark.parametrize("lacking", VIEWS)
def test_a_backend_missing_in_one_view_leaves_the_other_view_whole(
    missing: Backend, lacking: View
) -> None:
    complete = Situation().compare()
    found = Situation(unavailable_in={(missing, lacking): REFUSED}).compare()
    whole = {view.view: view for view in complete.views()}
    for view in found.views():
        if view.view != lacking:
            assert view == whole[view.view]
            continue
        assert view.unavailable == {missing: REFUSED}
        assert (view.winner.outcome, view.passes[missing]) == ("deferred", [])
        (there,) = (b for b in BACKENDS if b != missing)
        assert view.passes[there] == whole[lacking].passes[there]
    assert found.unavailable == {(missing, lacking): REFUSED}
    assert draw_all(found), "every figure can be drawn"


def test_the_report_says_which_view_lacks_what_and_what_completes_it() -> None:
    found = Situation(unavailable_in={("jax", "portable"): REFUSED}).compare()
    assert answer(found.views()) == (
        f"In the portable view, there is no answer yet: JAX is unavailable ({REFUSED}), and PyTorch"
        " alone reaches 2.00 items/s; in the best-native view, JAX is faster with 2.00x PyTorch's"
        " items/s."
    )
    pages = render_all(found)
    for name, page in pages.items():
        assert "PARTIAL" in page.splitlines()[0], name
        assert (
            f"JAX is unavailable in the portable view: {REFUSED}. Where it can run, two commands"
            " complete the report: make doctor CLEAR=1 BACKEND=jax, then make repro"
        ) in page, name
        assert "no timed pass succeeded" not in page, name
    report = pages["report.md"]
    assert "Portable view: no cell was compared: JAX is unavailable." in report
    assert "JAX is unavailable in the portable view, so no scores were compared there." in report
    assert (
        "In the portable view, everything: without JAX there is nothing to compare with." in report
    )
    assert f"JAX, portable view first of all: it could not be measured ({REFUSED})." in report
    assert "Best-native view: 3 of 3 JAX cells pass" in report
    assert "No timed pass of JAX compiled anything." in report
    card = first_screen(found)
    assert [view.sentence.split(":")[0] for view in card.views][1] == "Winner deferred"


@pytest.mark.parametrize(
    ("lacking", "words"),
    [
        (
            {("jax", "portable"): REFUSED, ("pytorch", "best_native"): "a quota of 0"},
            "JAX is unavailable in the portable view"
            " and PyTorch is unavailable in the best-native view",
        ),
        (
            {("pytorch", "portable"): REFUSED, ("jax", "best_native"): "a quota of 0"},
            "JAX is unavailable in the best-native view"
            " and PyTorch is unavailable in the portable view",
        ),
    ],
)
def test_each_view_may_lack_another_backend(
    lacking: dict[tuple[Backend, View], str], words: str
) -> None:
    found = Situation(unavailable_in=lacking).compare()
    said = answer(found.views())
    assert said.count("there is no answer yet") == 2
    assert words in render_all(found)["report.md"]
    assert draw_all(found), "every figure can be drawn"


def test_both_views_by_their_own_keys_read_as_the_whole_backend() -> None:
    reason = "a quota of 0 TPUs"
    apart = Situation(unavailable_in={("jax", view): reason for view in VIEWS}).compare()
    assert apart == Situation(unavailable={"jax": reason}).compare()


def test_an_unmeasured_backend_is_not_called_failing() -> None:
    found = Situation(unavailable={"pytorch": "a quota of 0"}).compare()
    source = next(s for s in found.sources if s.backend == "pytorch")
    assert (source.planned_passes, source.good_passes, source.unavailable) == (0, 0, "a quota of 0")
    report = render_all(found)["report.md"]
    assert "30 of 30 timed passes succeeded" in report  # JAX's 15 in each view


@pytest.mark.parametrize(
    ("situation", "flags"),
    [
        (Situation(), []),
        (Situation(hosts={"jax": "a", "pytorch": "b"}), [Flag(code="hosts_without_cost")]),
        (Situation(trained=False), [Flag(code="untrained_model")]),
        (SINGLE, [Flag(code="single_pass", backend=b, chunk_size=2) for b in BACKENDS]),
    ],
)
def test_what_lowers_the_confidence_is_named(situation: Situation, flags: list[Flag]) -> None:
    assert situation.compare().portable.winner.flags == flags


def test_a_speed_that_is_not_the_backends_own_decides_nothing_with_confidence() -> None:
    found = Situation(stand_in=[("pytorch", "portable")]).compare()
    flag = Flag(code="stand_in", backend="pytorch")
    assert found.portable.winner.flags == [flag]
    assert found.portable.winner.confidence == "low"
    assert (found.best_native.winner.flags, found.best_native.winner.confidence) == ([], "high")
    # The scores count all the same.
    gates = [found.portable.cell("jax", chunk).gate for chunk in CHUNKS]
    assert {gate.verdict for gate in gates if gate} == {"pass"}
    report = render_all(found)["report.md"]
    assert "PyTorch's speed in the portable view is not to be quoted" in report
    assert worded(flag, PAIR) in report


def test_a_winner_that_left_its_mode_is_named_by_the_one_it_used_and_flagged() -> None:
    # Of all chunk sizes, so that whichever leads has left it. The portable settings ask for
    # separate, the best-native ones for cached.
    found = Situation(left={chunk: ["cached"] * RUNS for chunk in CHUNKS}).compare()
    winner = found.portable.winner
    flag = Flag(
        code="other_mode", backend="jax", chunk_size=winner.chunk_size, modes=["separate", "cached"]
    )
    assert (winner.outcome, winner.confidence, winner.flags) == ("jax", "low", [flag])
    assert (found.best_native.winner.flags, found.best_native.winner.confidence) == ([], "high")
    report = render_all(found)["report.md"]
    assert "items scored: JAX cached, PyTorch separate" in report
    assert worded(flag, PAIR) in report


def test_cells_of_mixed_modes_never_win() -> None:
    mixed: list[PassMode] = ["separate"] * (RUNS - 1) + ["mixed"]
    found = Situation(left=dict.fromkeys(CHUNKS, mixed)).compare()
    for chunk in CHUNKS:
        cell = found.portable.cell("jax", chunk)
        assert [one.code for one in cell.reasons] == ["mixed_modes"]
        assert cell.items_per_s is not None  # the gate and the figures stand, the choice does not
    assert found.portable.winner.outcome == "pytorch"
    report = render_all(found)["report.md"]
    assert "the server scored items in more than one way, so there is no one figure" in report


# Four prompts of 128 + 8 tokens: a pass can share three queries with itself, and 8 tokens of its
# salt with another pass.
SHARED = 3 * 128 + 8


@pytest.mark.parametrize(
    ("view", "tokens", "above"),
    [
        ("portable", 0, False),
        ("portable", 1, True),
        ("best_native", SHARED, False),
        ("best_native", SHARED + 1, True),
    ],
)
def test_a_winner_that_took_more_from_its_cache_than_its_view_allows_is_not_trusted(
    view: View, tokens: int, above: bool
) -> None:
    found = Situation(cached={("jax", view): tokens}).compare()
    of = next(v for v in found.views() if v.view == view)
    flag = Flag(code="prefix_cache", backend="jax", chunk_size=2, passes=5)
    assert of.winner.outcome == "jax"
    assert of.winner.flags == ([flag] if above else [])
    assert of.winner.confidence == ("low" if above else "high")
    assert all(of.cell("jax", c).eligible for c in CHUNKS), "flagged, not barred"
    assert {of.cell("jax", c).excess_passes for c in CHUNKS} == {5 if above else 0}
    assert of.prefix_cache["jax"].excess_passes == (15 if above else 0)
    assert of.prefix_cache["pytorch"].excess_passes == 0
    report = render_all(found)["report.md"]
    excess = "chunk sizes 1 to 4: took more from its prefix cache than allowed in 15 timed passes."
    assert report.count(excess) == (1 if above else 0)
    assert ("†" in report) is above


@pytest.mark.parametrize("view", VIEWS)
def test_a_server_that_does_not_report_its_cache_lowers_no_confidence(view: View) -> None:
    found = Situation(cached={("jax", view): None}).compare()
    of = next(v for v in found.views() if v.view == view)
    assert (of.winner.flags, of.winner.confidence) == ([], "high")
    assert {of.cell("jax", c).excess_passes for c in CHUNKS} == {None}


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize(
    ("view", "repeated", "lowers"),
    [
        ("best_native", True, True),
        ("best_native", None, True),
        ("best_native", False, False),
        ("portable", True, False),
        ("portable", None, False),
    ],
)
def test_a_server_that_may_have_answered_from_an_earlier_measurement_is_not_trusted(
    backend: Backend, view: View, repeated: bool | None, lowers: bool
) -> None:
    found = Situation(at_url={(backend, view): repeated}).compare()
    of = next(v for v in found.views() if v.view == view)
    flag = Flag(code="requests_repeated" if repeated else "repetition_unknown", backend=backend)
    assert of.winner.outcome == "jax"
    assert of.winner.flags == ([flag] if lowers else [])
    assert of.winner.confidence == ("low" if lowers else "high")
    (other,) = (v for v in found.views() if v.view != view)
    assert (other.winner.flags, other.winner.confidence) == ([], "high")
    report = render_all(found)["report.md"]
    assert (worded(flag, PAIR) in report) is lowers
    (row,) = [line for line in report.splitlines() if line.startswith("| Requests sent twice |")]
    said = {True: " yes ", None: " not known ", False: " no "}[repeated]
    assert row.count(said) == (4 if repeated is False else 1)
    assert row.count(" no ") == (4 if repeated is False else 3)


def test_the_nonce_stands_beside_the_hash_of_the_workload() -> None:
    found = Situation().compare()
    assert found.scope.nonce == NONCE
    report = render_all(found)["report.md"]
    assert f"| Workload SHA-256 | {'e' * 64} |\n| Run nonce | {NONCE} |\n" in report


def test_a_single_pass_makes_no_backend_better_or_worse() -> None:
    report = render_all(SINGLE.compare())["report.md"]
    findings = report[report.index("## Key findings") : report.index("**Correctness summary:**")]
    assert "not told apart, JAX scores 2.00x PyTorch's items/s" in findings
    assert ": JAX scores" not in findings


@pytest.mark.parametrize(
    ("mended", "verdict"), [(True, "It does not hold for this run"), (False, "It holds for this")]
)
def test_what_the_contract_says_of_the_commit_reaches_the_report(
    mended: bool, verdict: str
) -> None:
    found = Situation(checkout=Source(commit="ab" * 20, segment_mask_mended=mended)).compare()
    report = render_all(found)["report.md"]
    section = report[report.index("## Known TPU") : report.index("## Workload contract")]
    assert verdict in section
    assert "commit abababababab of sglang-jax" in section


def test_each_view_says_how_its_servers_scored_the_items() -> None:
    """As the matrices record it, and nothing of a backend that was not measured."""
    found = Situation(unavailable={"jax": "a quota of 0"}).compare()
    assert found.portable.scoring["jax"] is None
    assert found.best_native.scoring["pytorch"] == scored("cached")
    whole = Situation().compare()
    assert whole.portable.scoring == {"jax": scored("separate"), "pytorch": scored("separate")}


def test_a_commit_is_not_credited_with_code_it_does_not_hold() -> None:
    found = Situation(changed_code={"jax": True}).compare()
    cells = re.findall(r"fedcba987654[^|]*", render_all(found)["report.md"])
    changed = "fedcba987654 with uncommitted changes"
    assert [cell.strip() for cell in cells] == [changed, "fedcba987654"] * len(VIEWS)
    assert measured(comparison_set(found)).endswith(
        ", at commits fedcba9 and fedcba9 with uncommitted changes"
    )
    assert all_metrics(comparison_set(found))["uncommitted_changes"] is True


def test_unknown_changes_are_null_and_not_false() -> None:
    found = Situation(changed_code={"jax": None}).compare()
    assert "fedcba987654, uncommitted changes not known" in render_all(found)["report.md"]
    assert all_metrics(comparison_set(found))["uncommitted_changes"] is None


def test_what_was_not_measured_has_no_code_to_be_changed() -> None:
    found = Situation(changed_code={"jax": True}, unavailable={"jax": "a quota of 0"}).compare()
    assert all_metrics(comparison_set(found))["uncommitted_changes"] is False
    assert "uncommitted" not in measured(comparison_set(found))


def test_every_fact_of_a_run_reaches_the_report_as_the_matrix_has_it() -> None:
    situation = Situation()
    found = {(source.backend, source.view): source.run for source in situation.compare().sources}
    assert found == {
        (backend, view): situation.matrix(backend, view).provenance.run
        for view in VIEWS
        for backend in BACKENDS
    }


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_backend_whose_starts_differ_is_not_eligible_and_the_other_one_is(
    backend: Backend,
) -> None:
    offsets = {(backend, view): [0.0, 0.38, 0.1] for view in VIEWS}
    result = Situation(probe_starts=3, start_differences=offsets).compare()
    (other,) = set(BACKENDS) - {backend}
    words = (
        "scores depend on the server's start: 2 of 3 extra starts answered otherwise (item 1 by"
        " 0.380, limit 1.00e-04)"
    )
    for view in result.views():
        assert {b: one.verdict for b, one in view.starts.items()} == {
            backend: "differ",
            other: "agree",
        }
        assert view.winner.outcome == other
        assert [flag.code for flag in view.winner.flags] == ["no_rival"]
        for cell in view.cells:
            assert [one.code for one in cell.reasons] == ["starts_differ"] * (
                cell.backend == backend
            )
        # Its scores stand as they were measured: what is wrong is that they need not.
        assert view.oracle_sides_with == "both"
        assert all(one.verdict == "isolated" for one in view.isolation.values())
    page = " ".join(render_all(result)["report.md"].split())
    title = result.pair.title(backend)
    assert f"- {title}, portable view, chunk sizes 1 to 4: {words}." in page
    assert f"| Extra starts, {title} | **differ**: {words}; most: alone in a request" in page
    assert "| Extra starts of each server | 3, with the probes only |" in page
    assert first_screen(result).against == 2


def test_starts_that_agree_bar_nothing_and_are_told() -> None:
    result = Situation(
        probe_starts=2, start_differences={("jax", "portable"): [0.0, 2**-16]}
    ).compare()
    for view in result.views():
        assert {one.verdict for one in view.starts.values()} == {"agree"}
        assert view.winner.outcome == "jax"
        assert all(cell.eligible for cell in view.cells)
    page = " ".join(render_all(result)["report.md"].split())
    assert (
        "Extra starts of the servers gave the same scores (JAX, portable view: 2 extra starts:"
        " answers differ from the measured session's by at most 1.53e-05, limit 1.00e-04)." in page
    )
    assert first_screen(result).against == 0


@pytest.mark.parametrize(
    ("situation", "words"),
    [
        (
            Situation(probe_starts=2, start_differences={("jax", "portable"): [None, 0.0]}),
            "JAX, portable view: extra start 1 of 2 did not answer every probe (server\\_died:"
            " ended while starting).",
        ),
        (
            Situation(probe_starts=2, start_differences={("jax", "portable"): [None, None]}),
            "JAX, portable view: extra starts 1 and 2 of 2 did not answer every probe (the first:"
            " server\\_died: ended while starting).",
        ),
        (
            Situation(probe_starts=2, at_url={("jax", "portable"): False}),
            "JAX, portable view: the server was started elsewhere, so it was not started again.",
        ),
    ],
)
def test_starts_that_were_not_probed_bar_nothing_and_lower_the_confidence(
    situation: Situation, words: str
) -> None:
    result = situation.compare()
    view = result.portable
    assert view.starts["jax"].verdict == "not_probed"
    assert all(cell.eligible for cell in view.cells)
    flags = [one for one in view.winner.flags if one.code == "starts_not_probed"]
    assert [one.backend for one in flags] == ["jax"]
    assert view.winner.confidence == "low"
    assert worded(flags[0], PAIR) == (
        "whether JAX's scores depend on its server's start is not known"
    )
    page = " ".join(render_all(result)["report.md"].split())
    assert f"- {words}" in page
    assert not [one for one in result.best_native.winner.flags if one.code == "starts_not_probed"]


def test_where_no_start_was_asked_for_the_report_says_nothing_of_any() -> None:
    result = Situation().compare()
    assert [view.starts for view in result.views()] == [{}, {}]
    assert "xtra start" not in "".join(render_all(result).values())


def test_a_backend_that_cannot_run_has_no_starts() -> None:
    result = Situation(probe_starts=2, unavailable={"jax": "a quota of 0"}).compare()
    assert [set(view.starts) for view in result.views()] == [{"pytorch"}] * 2
    assert (
        "| Extra starts, JAX | **unavailable**: a quota of 0 |" in render_all(result)["report.md"]
    )
