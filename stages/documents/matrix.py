"""The tables between stages: Arrow schema, version, provenance, reading and writing.

A matrix holds all calls of one backend in one view, one row per call, in one Parquet file. Its
provenance is in the metadata of the file, and the reader checks it.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

import polars as pl
import pyarrow as pa
from pydantic import Field

from stages.backends.declared import PassMode, ScoringMode
from stages.backends.registry import query_keeping_flags
from stages.contract import (
    Backend,
    FlagValue,
    Launch,
    Limits,
    MultiItem,
    Passes,
    Probes,
    View,
)
from stages.documents.tables import Record, TableKind, TableProvenance

MATRIX_VERSION = 8

type Phase = Literal["warmup", "sweep", "confirm", "answer"]
"""``answer`` passes are not timed. In them the reference answers the confirm requests of chunk
sizes that only the candidate confirms."""

type Status = Literal[
    "ok",
    "timeout",
    "connection_error",
    "http_4xx",
    "http_5xx",
    "oom",
    "server_died",
    "bad_json",
    "wrong_shape",
    "bad_score",
]

TIMED_PHASES: tuple[Phase, ...] = ("sweep", "confirm")

ROW_SUM_TOLERANCE = 1e-3
"""How far a softmax row of scores may be from summing to 1; servers answer in float32."""

MATRIX_SCHEMA = pa.schema(
    [
        pa.field("session", pa.int32(), nullable=False),
        pa.field("position", pa.int32(), nullable=False),
        pa.field("workload", pa.string(), nullable=False),
        pa.field("phase", pa.string(), nullable=False),
        pa.field("chunk_size", pa.int32(), nullable=False),
        pa.field("run", pa.int32(), nullable=False),
        pa.field("call", pa.int32(), nullable=False),
        pa.field("first_item", pa.int32(), nullable=False),
        pa.field("item_count", pa.int32(), nullable=False),
        pa.field("start_ns", pa.int64()),
        pa.field("end_ns", pa.int64()),
        pa.field("status", pa.string(), nullable=False),
        pa.field("detail", pa.string(), nullable=False),
        pa.field("compiles", pa.int32()),
        pa.field("cached_tokens", pa.int64()),
        pa.field("mode", pa.string()),
        pa.field("fallbacks", pa.int32()),
        pa.field("salt", pa.list_(pa.int32()), nullable=False),
        pa.field("scores", pa.list_(pa.float64())),
    ]
)


@dataclass(frozen=True, slots=True)
class CallRecord:
    """One ``POST /v1/score``.

    Attributes:
        session: which server session of this matrix answered it, from 0.
        position: the pass's place in measuring order, from 0 (all its calls share it).
        workload: the name of the workload that is scored.
        phase: ``warmup``, ``sweep``, ``confirm`` or ``answer``.
        chunk_size: items per call asked for; the last call of a pass may hold fewer.
        run: which pass of this workload, phase and chunk size, from 0.
        call: which call of the pass, from 0.
        first_item: index of the call's first item in the workload.
        item_count: items in the call.
        start_ns: monotonic clock before the first byte was sent; ``None`` if never sent.
        end_ns: monotonic clock after the answer was decoded and validated.
        status: ``ok`` or the failure kind.
        detail: what went wrong, in one short line; empty when ``ok``.
        compiles: compilations the server logged during the pass; ``None`` where a
            server reports none.
        cached_tokens: prompt tokens of the pass that came from the server's prefix cache, by its
            answers or its log (all calls of a pass share it); ``None`` where neither tells.
        mode: how all requests of the pass were scored, by the server's log; ``mixed`` where not
            all in one way, ``None`` where the log does not tell it of every request.
        fallbacks: requests of the pass that the server scored in another way than its flags ask
            for, by its log; ``None`` where no log can tell.
        salt: the query ids redrawn for this pass.
        scores: item_count x labels, item by item; ``None`` for a failed call.
    """

    session: int
    position: int
    workload: str
    phase: Phase
    chunk_size: int
    run: int
    call: int
    first_item: int
    item_count: int
    start_ns: int | None
    end_ns: int | None
    status: Status
    detail: str
    compiles: int | None
    cached_tokens: int | None
    mode: PassMode | None
    fallbacks: int | None
    salt: list[int]
    scores: list[float] | None


class Host(Record):
    """The machine that measured."""

    name: str
    system: str
    machine: str
    processor: str
    cpus: int
    memory_bytes: int


class Model(Record):
    """The model under test, as the ``checkpoint`` stage recorded it."""

    title: str
    sha256: str
    trained: bool
    path: str
    revision: str | None


class ClientCost(Record):
    """The client's own time for one pass of a chunk size, measured with an instant server."""

    chunk_size: int
    seconds_per_pass: float


class TimeSplit(Record):
    """The wall-clock seconds of a measurement, by activity; ``warmup`` includes the cover."""

    server_start: float
    warmup: float
    sweep: float
    confirm: float
    other: float


MULTI_ITEM_MODES: tuple[ScoringMode, ...] = ("packed", "prefill_extend", "score_from_cache")
"""The modes of multi-item scoring."""


class Scoring(Record):
    """How a server is to score the items of one request.

    Attributes:
        mode: that its settings ask for. What its log says of each pass stands with the pass.
        told_by: the source: the ``flags`` of a server launched here, or the settings that a
            ``server`` started elsewhere reports.
        detail: the variant, with its known defects; ``None`` where there is only one variant.
        fallbacks: number of requests in passes that the server scored in another mode, by its log;
            ``None`` where no log can be read, or where no request can fall back.
        stand_in: whether code of this project stood in for a part of the server, so that it runs
            on its device. The scores count, the speed is not the backend's.
        known_wrong: whether this variant is known to give wrong scores. It is measured all the
            same, because the contract asks for it.
    """

    mode: ScoringMode
    told_by: Literal["flags", "server"]
    detail: str | None
    fallbacks: int | None
    stand_in: bool = False
    known_wrong: bool = False

    @property
    def named(self) -> str:
        """The mode with its variant: ``score_from_cache (label-only logprobs)``."""
        return f"{self.mode} ({self.detail})" if self.detail else self.mode


type ModelCheck = Literal["revision", "hash", "none"]


class RemoteServerFacts(Record):
    """What a server that was started elsewhere reports of itself, and where it runs.

    Reported values are bounded and cleaned. Secrets are left out.

    Attributes:
        same_machine: whether its address belongs to the client's machine, as a tunnel's does, too.
        compiles_hidden: whether it reports compilations in its log, which cannot be read here.
        model_check: how its model was identified: by repository and ``revision``, by the
            ``hash`` of its folder, or not at all (``none``).
        settings: the settings that were checked, or that explain a speed, by attribute; lists
            as text.
        settings_sha256: of all reported settings without secrets and without those that differ
            at each start.
    """

    same_machine: bool
    compiles_hidden: bool
    model_path: str
    model_check: ModelCheck
    settings: dict[str, bool | int | float | str | None]
    settings_sha256: str


class RoundTrip(Record):
    """Median seconds of a request without work for the server, on the connection in use.

    Attributes:
        before_s: before the warm-up.
        after_s: after the last probe; ``None`` where the server was gone.
    """

    before_s: float
    after_s: float | None

    @property
    def largest_s(self) -> float:
        """The longer of the two."""
        return max(self.before_s, self.after_s or 0.0)


class CoverFailure(Record):
    """The untimed request that ended a cover; no larger one was sent after it.

    Attributes:
        workload: its name.
        size: items in it.
        status: the failure kind.
        detail: what went wrong, in one short line.
    """

    workload: str
    size: int
    status: Status
    detail: str

    @property
    def text(self) -> str:
        """The line to print."""
        items = "1 item" if self.size == 1 else f"{self.size} items"
        return f"{self.status}: {self.detail} (cover of {self.workload}, {items})"


class MeasuredWorkload(Record):
    """One workload of a matrix.

    Attributes:
        sha256: of its canonical bytes.
        items: their number.
        chunk_sizes: at which it was to be measured.
        confirm_chunk_sizes: those that were measured again.
        scoring: how its items were to be scored; ``None`` where nothing was measured.
        client_costs: the client's own time, by chunk size; empty where nothing was measured.
        uncovered: the requests of covers that failed. The server may meet larger batches for the
            first time in a timed pass.
    """

    sha256: str
    items: int
    label_token_ids: list[int]
    apply_softmax: bool
    chunk_sizes: list[int]
    confirm_chunk_sizes: list[int] = Field(default_factory=list)
    scoring: Scoring | None = None
    client_costs: list[ClientCost] = Field(default_factory=list)
    uncovered: list[CoverFailure] = Field(default_factory=list)


class Measured(Record):
    """The part of the contract that a matrix was measured under.

    Attributes:
        chunk_sizes: of the contract; a workload has those that fit, and its number of items.
    """

    chunk_sizes: list[int]
    passes: Passes
    limits: Limits
    probes: Probes
    launch: Launch
    base_url: str | None
    flags: dict[str, FlagValue]
    multi_item: MultiItem | None = None

    @property
    def allows_prefix_cache(self) -> bool:
        """Whether the server may take tokens from a prefix cache in this view.

        A server that packs a request into one sequence has no prefix cache. One that computes
        the query first and then continues it has one, with or without a delimiter.
        """
        if self.flags.get("disable-radix-cache"):
            return False
        packs = self.multi_item is not None or bool(self.flags.get("enable-mis"))
        return not packs or any(self.flags.get(name) for name in query_keeping_flags())


class ShellVariables(Record):
    """The variables of the shell that could matter to a server launched from it.

    Attributes:
        passed: variables of the machine, its driver or its scheduler, with their values.
        left_out: names of variables that would have changed how the server computes.
    """

    passed: dict[str, str]
    left_out: list[str]


_NO_TIME = TimeSplit(server_start=0, warmup=0, sweep=0, confirm=0, other=0)


class Run(Record):
    """The facts of one run, beyond its plan.

    ``measure`` records them, the matrix keeps them, and ``compare`` copies them whole. The
    defaults are those of a run that started nothing.

    Attributes:
        backend_version: ``None`` where nothing was measured.
        environment_sha256, repaired: ``None`` for a server that was started elsewhere.
        argv, environ: the command that launched the server, with its Python as ``python``, and
            the variables of the contract and of the backend; empty for a server that was
            started elsewhere.
        shell: the shell's variables that it got, and those that it did not; ``None`` where
            nothing was launched.
        elsewhere: what a server started elsewhere reports; ``None`` for one launched here.
        round_trip: between client and server; ``None`` where nothing was measured.
        devices: on which the server ran.
        compile_cache_entries: compiled programs in the cache before the first server started;
            ``None`` where the backend has no such cache.
        restarts: how often a dead or hanging server was started again or, elsewhere, waited for.
        sessions: number of server sessions that have rows.
        interruptions: how often the harness was stopped and continued later.
        requests_repeated: whether a server started elsewhere received requests of this
            measurement twice: all of them in another measurement with this nonce, or those of
            the pass in flight when the harness was stopped. ``False`` for a server launched
            here, whose prefix cache is empty at each start. ``None`` where the record of sent
            requests could not be read.
        foreign_cpu: share of the machine's CPU time that other processes took while passes
            were timed, over all sessions; ``None`` where no pass was timed, or where a server
            started elsewhere runs on this machine, because its work cannot be separated.
        seconds: over all interrupted runs together, each up to its last finished pass.
        started_at: when the first of them began, in UTC.
        git_commit: checked out when the last of them began; ``None`` where the commit of the
            code is not known.
        git_dirty: whether the code differed from that commit; ``None`` if that is not known.
    """

    backend_version: str | None = None
    environment_sha256: str | None
    repaired: bool | None
    argv: list[str]
    environ: dict[str, str]
    shell: ShellVariables | None = None
    elsewhere: RemoteServerFacts | None = None
    round_trip: RoundTrip | None = None
    devices: list[str] = Field(default_factory=list)
    host: Host
    compile_cache_entries: int | None = None
    restarts: int = 0
    sessions: int = 0
    interruptions: int = 0
    requests_repeated: bool | None = False
    foreign_cpu: float | None = None
    seconds: TimeSplit = _NO_TIME
    started_at: str
    finished_at: str
    git_commit: str | None
    git_dirty: bool | None


class Provenance(TableProvenance):
    """What identifies a matrix, so that one that does not belong can be refused.

    Attributes:
        workloads: by name, as in the file of the canonical workloads.
        nonce: of the comparison; all salts of both backends follow from it.
        unavailable: why nothing was measured; the matrix then has no rows.
        run: the facts of the run.
    """

    backend: Backend
    view: View
    workloads: dict[str, MeasuredWorkload]
    nonce: str
    model: Model
    contract: Measured
    unavailable: str | None
    run: Run


@dataclass(frozen=True, slots=True)
class Matrix:
    """All calls of one backend in one view, and their provenance."""

    calls: pl.DataFrame
    provenance: Provenance

    def of(self, workload: str) -> WorkloadMatrix:
        """The calls of one workload."""
        mine = self.calls.filter(pl.col("workload") == workload)
        return WorkloadMatrix(mine, self.provenance, self.provenance.workloads[workload])


@dataclass(frozen=True, slots=True)
class WorkloadMatrix:
    """The calls of one workload in a matrix, with the provenance of the whole matrix."""

    calls: pl.DataFrame
    provenance: Provenance
    workload: MeasuredWorkload


def records_to_table(records: Iterable[CallRecord]) -> pa.Table:
    """The Arrow table of ``records``, one row per call."""
    return pa.Table.from_pylist([asdict(record) for record in records], schema=MATRIX_SCHEMA)


MATRIX_TABLE = TableKind(
    name="matrix",
    version=MATRIX_VERSION,
    schema=MATRIX_SCHEMA,
    provenance=Provenance,
    remedy="measure it with `dvc repro`",
)


def read_matrix(path: Path) -> Matrix:
    """Read a matrix and check that it is whole and of this schema version.

    Raises:
        UserError: missing, truncated, of another schema version, or changed since it
            was written.
    """
    return Matrix(*MATRIX_TABLE.read(path))


def folder_of(backend: Backend, view: View) -> Path:
    """The folder of one matrix and its server's log."""
    return Path("data") / "measure" / f"{backend}-{view}"


MATRIX_FILE = "matrix.parquet"
SERVER_LOG_FILE = "server.log"
WORKLOAD_FILE = Path("data") / "workload" / "canonical_workload.json"
CHECKPOINT_FOLDER = Path("data") / "checkpoint"
MODEL_FILE = CHECKPOINT_FOLDER / "model.json"
COMPARISON_FILE = Path("data") / "compare" / "comparison.json"
