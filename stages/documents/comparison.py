"""The result of the ``compare`` stage, from which the report is written.

Every number in the report is in this document. Units are in the field names (``_s`` seconds,
``_per_s`` per second). Absent figures are ``None``, never zero.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Any, Literal, Self

import pydantic
from pydantic import BaseModel, ConfigDict, Field

from stages.backends.declared import PassMode, ScoringMode
from stages.backends.registry import TITLE
from stages.common.errors import UserError
from stages.contract import VIEWS, Backend, Gate, Identity, Selection, View
from stages.documents.cell import CellKey, MatrixKey
from stages.documents.matrix import (
    COMPARISON_FILE,
    CoverFailure,
    Model,
    Phase,
    Run,
    Scoring,
    Status,
)

COMPARISON_VERSION = 11

BUSY = 0.10
"""Share of the machine's CPU time in other processes from which figures are flagged."""
NOISY = 0.5
"""Share of the gate's largest difference above which a noise floor is flagged."""
SURE = 0.95
"""Share of resamples in which one backend must lead; below it the result is a tie."""
VERY_SURE = 0.99
"""Share of resamples from which the confidence is high."""

NO_WINNER = ("tie", "none", "deferred")
"""Outcomes that name no backend."""

type Verdict = Literal["pass", "fail", "inconclusive", "not_compared"]
type ControlName = Literal["items_rotated", "labels_swapped", "mean_score"]
type IsolationVerdict = Literal[
    "isolated", "leaks", "not_probed", "lengths_not_probed", "no_neighbours"
]
type StartsVerdict = Literal["agree", "differ", "not_probed"]
type Role = Literal["candidate", "reference"]
type OracleVerdict = Literal["agrees", "other_prompt", "wrong", "not_compared"]
type OracleSide = Backend | Literal["both", "neither"]
type Outcome = Backend | Literal["tie", "none", "deferred"]
type Confidence = Literal["high", "medium", "low", "none"]
type Only = Literal["item", "label"]
type SizeAxis = Literal["total_tokens", "items"]
type UnsteadyCode = Literal["deviation", "fastest", "slowest"]
type ReasonCode = Literal[
    "unavailable",
    "failed_passes",
    "no_figures",
    "not_finite",
    "gate_failed",
    "not_compared",
    "gate_inconclusive",
    "not_probed",
    "lengths_not_probed",
    "leaks",
    "starts_differ",
    "mixed_modes",
    "ranking_failed",
    "ranking_unknown",
]
type FlagCode = Literal[
    "single_pass",
    "lead_includes_one",
    "no_rival",
    "untrained_model",
    "stand_in",
    "hosts_without_cost",
    "other_work",
    "client_elsewhere",
    "compiles_hidden",
    "requests_repeated",
    "repetition_unknown",
    "oracle_differs",
    "other_prompt",
    "oracle_not_compared",
    "noise",
    "starts_not_probed",
    "unstable",
    "compiled",
    "prefix_cache",
    "gate_untested",
    "other_mode",
]


class Part(BaseModel):
    """A part of the comparison: immutable, and an unknown field is an error."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Named(Part):
    """A backend of the comparison, with what the report needs to name it.

    Attributes:
        key: of its section in the contract.
        title: its name in sentences, tables and figures; short enough for the figures.
        package: the Python distribution that is measured.
        tpu_mask_flag: the flag that chooses the mask between packed items, where a TPU serves
            only some masks; ``None`` where the backend has no such flag.
    """

    key: Backend
    title: Annotated[str, Field(pattern=TITLE)]
    package: str
    tpu_mask_flag: Annotated[str, Field(pattern=r"^[a-z][a-z0-9-]*$")] | None = None


class Pair(Part):
    """The backends that are compared.

    Attributes:
        candidate: the gate judges its scores.
        reference: the frozen baseline that the gate compares them with.
    """

    candidate: Named
    reference: Named

    @property
    def both(self) -> tuple[Backend, Backend]:
        """The keys: the candidate's, then the reference's."""
        return (self.candidate.key, self.reference.key)

    def role(self, backend: Backend) -> Role:
        """Which of the two it is."""
        return "candidate" if backend == self.candidate.key else "reference"

    def title(self, backend: Backend) -> str:
        """Its title."""
        return self._of(backend).title

    def other(self, backend: Backend) -> Backend:
        """The one that ``backend`` is compared with."""
        return next(key for key in self.both if key != backend)

    def titles(self, some: Iterable[Backend]) -> list[str]:
        """The titles of ``some``, the candidate's first."""
        wanted = set(some)
        return [self.title(key) for key in self.both if key in wanted]

    def check(self, named: Iterable[Backend | None]) -> None:
        """Refuse any backend that is not of the pair.

        Raises:
            ValueError: names it.
        """
        for backend in named:
            if backend is not None and backend not in self.both:
                raise ValueError(
                    f"{backend[:60]!r} is none of the backends {' and '.join(self.both)}"
                )

    def _of(self, backend: Backend) -> Named:
        return self.candidate if backend == self.candidate.key else self.reference


class ControlResult(Part):
    """A wrong answer made from the reference's scores, put through the same gate.

    Attributes:
        name: items rotated by one, labels rotated by one, or the mean score for every item.
        caught: whether the gate fails it, as it should.
        max_abs_diff, mean_abs_diff: as in :class:`GateResult`.
    """

    name: ControlName
    caught: bool
    max_abs_diff: float | None
    mean_abs_diff: float | None


class FailedAlone(Part):
    """A failed probe request that held one item alone, to which the others are compared.

    Attributes:
        item: index in the workload.
        status: the failure kind; ``detail`` says what went wrong, in words of client and server.
    """

    item: int
    status: Status
    detail: str


class Isolation(Part):
    """Whether the score of an item depends on its neighbours in the request.

    Attributes:
        verdict: ``leaks`` if other neighbours changed a score by more than ``limit``;
            ``not_probed`` if no probe of some target succeeded; ``lengths_not_probed`` if none
            with neighbours of other lengths did; ``no_neighbours`` in a workload of one item.
        limit: the largest change that does not count as a leak; see
            :func:`stages.compare.probes.change_limit`.
        targets: the items whose neighbours were changed.
        changes: layout -> largest change of any target's score from its score alone in a
            request.
        largest_change: the largest of them; ``worst_target`` and ``worst_layout`` say where.
        leaking_targets: targets whose score changed by more than ``limit``.
        failed_probes: number of failed probe requests; ``failed_layouts`` are their layouts.
        left_out: layouts that some target cannot have. Items of one token have no shorter ones.
        alone: the first failed request of an item alone; ``None`` where each was answered.
    """

    verdict: IsolationVerdict
    limit: float
    targets: list[int]
    changes: dict[str, float]
    largest_change: float | None
    worst_target: int | None
    worst_layout: str | None
    leaking_targets: list[int]
    failed_probes: int
    failed_layouts: list[str] = []
    left_out: list[str] = []
    alone: FailedAlone | None = None


class NoiseFloor(Part):
    """The largest difference between answers to one identical request.

    Attributes:
        repeats: answers compared.
        max_abs_diff: over all items and labels; ``None`` with fewer than two answers.
    """

    repeats: int
    max_abs_diff: float | None


class FailedStart(Part):
    """A further start of a server that did not answer every probe that the measured one answered.

    Attributes:
        start: its number, from 1.
        status: the kind of its first failure; ``detail`` says what went wrong, in words of client
            and server.
    """

    start: int
    status: Status
    detail: str


class Starts(Part):
    """Whether further starts of a server answer the probes as its measured session did.

    Attributes:
        verdict: ``differ`` if an answer of some start was further than ``limit`` from the measured
            session's answer to the same request; ``not_probed`` if none was, but some start did
            not answer every request that the measured session answered; else ``agree``.
        limit: the isolation probe's.
        planned: number of further starts that the contract asks for.
        differing: the starts with such an answer, from 1.
        largest_difference: of an answer; ``worst_start``, ``worst_item`` and ``worst_layout`` say
            where. ``None`` where nothing could be compared.
        failed: the starts that did not answer every probe.
        missing: why nothing was compared: the server was started ``elsewhere``, or the measured
            session left every probe ``unanswered``; else ``None``.
    """

    verdict: StartsVerdict
    limit: float
    planned: int
    differing: list[int] = []
    largest_difference: float | None = None
    worst_start: int | None = None
    worst_item: int | None = None
    worst_layout: str | None = None
    failed: list[FailedStart] = []
    missing: Literal["elsewhere", "unanswered"] | None = None


class DelimitedResult(Part):
    """One backend against the independent scorer's scores of query + delimiter + item.

    Attributes:
        delimiter: the token that its server puts between items.
        max_abs_diff, mean_abs_diff: from the backend's scores, over all pairs that are compared
            and all labels.
        prompts_max_abs_diff, prompts_mean_abs_diff: between the scorer's own scores of that
            prompt and of the one without the delimiter.
        agrees: the backend's scores are within the gate's limits, and the gate tells the two
            prompts apart.
    """

    delimiter: int
    max_abs_diff: float
    mean_abs_diff: float
    prompts_max_abs_diff: float
    prompts_mean_abs_diff: float
    agrees: bool


class OracleResult(Part):
    """One backend against the independent scorer.

    Attributes:
        compared: number of sampled (pass, item) pairs that were compared.
        missing: number of sampled pairs whose pass did not succeed.
        max_abs_diff, mean_abs_diff: over the compared pairs and all labels.
        agrees: both within the gate's limits; ``None`` with nothing compared.
        delimited: the same against the prompt with the delimiter; ``None`` where the server packs
            no items, or with nothing compared.
        verdict: ``agrees``; else ``other_prompt`` where the scores are those of the prompt with
            the delimiter and none was found to depend on neighbouring items; else ``wrong``.
            ``not_compared`` with nothing compared.
    """

    compared: int
    missing: int
    max_abs_diff: float | None
    mean_abs_diff: float | None
    agrees: bool | None
    delimited: DelimitedResult | None = None
    verdict: OracleVerdict


class PrefixCache(Part):
    """How much one backend's server took from its prefix cache in one view, by its own report.

    Attributes:
        kept: whether the view lets the server take tokens from a prefix cache.
        prompt_tokens: tokens of all prompts of one pass, the query in each.
        allowed_tokens: how many of them may come from the cache: what the prompts of one pass
            share, or 0 where the view has no prefix cache.
        timed_passes: number of timed passes; the server reports cached tokens for
            ``told_passes`` of them.
        most_tokens: the most tokens from the cache in one pass; ``None`` where none is reported.
        excess_passes: number of passes with more tokens from the cache than allowed.
    """

    kept: bool
    prompt_tokens: int
    allowed_tokens: int
    timed_passes: int
    told_passes: int
    most_tokens: int | None
    excess_passes: int


class GateResult(Part):
    """The candidate's scores compared with the reference's for identical requests.

    Attributes:
        verdict: ``pass``; ``fail``; ``not_compared`` if no pass had a counterpart; or
            ``inconclusive`` if the gate would pass a control too, so that passing it shows
            nothing.
        compared_passes: number of timed passes that were compared.
        uncompared_passes: number of successful timed passes without a counterpart.
        max_abs_diff: largest difference of one score, over all compared passes.
        mean_abs_diff: mean difference of the pass where it is largest.
        worst_pass: phase and run of the pass with the largest difference.
        controls: wrong answers that the gate must fail; empty if nothing was compared, or if
            all of them are left out.
        left_out: controls that cannot change anything -> the reason: only one item, or only
            one label.
    """

    verdict: Verdict
    compared_passes: int
    uncompared_passes: int
    max_abs_diff: float | None
    mean_abs_diff: float | None
    worst_pass: str | None
    controls: list[ControlResult]
    left_out: dict[ControlName, Only] = {}


class FlippedPair(Part):
    """Two items that the candidate scores the other way round than the reference.

    Attributes:
        items: their indices in the workload, the one that the reference scores higher first.
        difference: between their reference scores.
    """

    items: Annotated[list[int], Field(min_length=2, max_length=2)]
    difference: float


class Ranking(Part):
    """The candidate's order of the items against the reference's, for identical requests.

    Items are sorted by the score of their first label. Two of them are *told apart* where their
    reference scores differ by more than ``noise``. Each figure is that of the pass where it is
    worst. All are ``None`` where no pass was compared.

    Attributes:
        items: of a pass.
        compared_passes: number of timed passes whose orders were compared.
        noise: the largest known noise floor of both servers; ``None`` where none is known, and
            then every difference tells two items apart.
        tau: the smallest Kendall's tau-b over the pairs of items that are told apart; 0 where the
            candidate gives the items of each such pair the same score, ``None`` where no two items
            are told apart.
        top_1: whether the candidate's first item is the reference's; ``None`` with one item.
        top_10: the fewest of the candidate's first 10 items that are among the reference's;
            ``None`` with 10 items or fewer.
        flipped_pairs: the most pairs told apart that the candidate scores the other way round.
        pairs: number of pairs told apart in that pass.
        worst_pass: phase and run of that pass; of several the one with the lowest tau.
        widest_flip: of all flipped pairs the one whose reference scores are furthest apart.
    """

    items: int | None
    compared_passes: int
    noise: float | None
    tau: float | None
    top_1: bool | None
    top_10: int | None
    pairs: int | None
    flipped_pairs: int | None
    worst_pass: str | None
    widest_flip: FlippedPair | None

    @property
    def kept(self) -> bool | None:
        """Whether each pair told apart is in the reference's order; ``None`` without such pairs."""
        return None if self.tau is None else self.tau == 1


class Interval(Part):
    """The confidence interval of a figure.

    Attributes:
        low, high: its ends, in the figure's unit. Items/s have no upper end (``None``) where
            the interval of the mean pass reaches down to zero seconds.
        level: its coverage, 0 to 1: the lowest over the simulated kinds of noise.
        method: name of the method.
    """

    low: float
    high: float | None
    level: float
    method: str


class Unsteady(Part):
    """Why the latency of a cell counts as unstable.

    Attributes:
        code: the standard deviation, or the fastest or slowest pass.
        share: the deviation, or that pass's distance from the mean, as a share of the mean.
    """

    code: UnsteadyCode
    share: float


# The figures that the sentence of a code needs. An absent one would read as zero.
_OF_REASON: dict[ReasonCode, tuple[str, ...]] = {
    "unavailable": ("detail",),
    "failed_passes": ("good", "planned"),
    "gate_inconclusive": ("controls",),
    "leaks": ("items", "change", "limit"),
    "starts_differ": ("starts", "of_starts", "items", "change", "limit"),
    "mixed_modes": ("modes",),
    "ranking_failed": ("tau", "min_tau", "flips", "max_flips"),
}
_OF_FLAG: dict[FlagCode, tuple[str, ...]] = {
    "single_pass": ("backend", "chunk_size"),
    "lead_includes_one": ("low",),
    "stand_in": ("backend",),
    "other_work": ("backend", "share"),
    "client_elsewhere": ("backend", "chunk_size"),
    "compiles_hidden": ("backend",),
    "requests_repeated": ("backend",),
    "repetition_unknown": ("backend",),
    "oracle_differs": ("backend", "difference"),
    "other_prompt": ("backend", "delimiter"),
    "oracle_not_compared": ("backend",),
    "noise": ("backend", "difference"),
    "starts_not_probed": ("backend",),
    "unstable": ("backend", "chunk_size", "instability"),
    "compiled": ("backend", "chunk_size", "passes"),
    "prefix_cache": ("backend", "chunk_size", "passes"),
    "gate_untested": ("backend", "chunk_size", "only"),
    "other_mode": ("backend", "chunk_size", "modes"),
}


def _check_complete(code: str, part: Part, needed: tuple[str, ...]) -> None:
    missing = [name for name in needed if getattr(part, name) in (None, [], {})]
    if missing:
        raise ValueError(f"{code} has no {' and no '.join(missing)}")


class Reason(Part):
    """Why a cell may not be selected; ``stages/report/prose`` has the sentences.

    Attributes:
        code: the reason; figures that it does not use are ``None`` or empty.
        detail: why the backend is unavailable, in the words of the contract.
        good, planned: numbers of timed passes.
        controls: controls that the gate would pass, too.
        items: items that leak, by up to ``change`` where ``limit`` is allowed; or the item whose
            score differs most from start to start, by ``change``.
        starts: number of further starts with other scores, of ``of_starts``.
        modes: mode -> number of timed passes that were scored in it.
        alone: the request of one item whose failure left isolation not probed, if it did.
        tau, flips: Kendall's tau-b and the flipped pairs of the order of the items, where
            ``min_tau`` at least and ``max_flips`` at most are allowed.
    """

    code: ReasonCode
    detail: str | None = None
    good: int | None = None
    planned: int | None = None
    controls: list[ControlName] = []
    items: list[int] = []
    change: float | None = None
    limit: float | None = None
    starts: int | None = None
    of_starts: int | None = None
    modes: dict[PassMode, int] = {}
    alone: FailedAlone | None = None
    tau: float | None = None
    min_tau: float | None = None
    flips: int | None = None
    max_flips: int | None = None

    @pydantic.model_validator(mode="after")
    def _complete(self) -> Self:
        _check_complete(self.code, self, _OF_REASON.get(self.code, ()))
        return self


class Flag(Part):
    """What lowers the confidence in a winner; ``stages/report/prose`` has the sentences.

    Attributes:
        code: the flag; figures that it does not use are ``None`` or empty.
        backend, chunk_size: the backend or cell that it is about.
        share: of the CPU time that other work took, or of the median pass that round trips take.
        difference: the largest difference of scores.
        delimiter: the token that the backend scores between query and item.
        passes: number of timed passes.
        round_trip_s: duration of a round trip to the server.
        low, high: ends of the lead's interval; ``high`` is ``None`` where it has no upper end.
        instability: why the cell is unstable.
        only: ``item`` or ``label``, if there is only one of it.
        modes: the mode that the server's settings ask for, then the one that it used.
    """

    code: FlagCode
    backend: Backend | None = None
    chunk_size: int | None = None
    share: float | None = None
    difference: float | None = None
    delimiter: int | None = None
    passes: int | None = None
    round_trip_s: float | None = None
    low: float | None = None
    high: float | None = None
    instability: list[Unsteady] = []
    only: list[Only] = []
    modes: list[ScoringMode] = []

    @pydantic.model_validator(mode="after")
    def _complete(self) -> Self:
        _check_complete(self.code, self, _OF_FLAG.get(self.code, ()))
        return self


class Cell(Part):
    """The figures of one backend x view x chunk size.

    Attributes:
        phase: the passes the figures come from: ``confirm`` where there are any.
        planned_passes: number of planned passes of that phase.
        good_passes: number of those in which every call was ``ok``.
        timed_planned, timed_good: the same numbers over all timed phases of the cell.
        success_rate: ``timed_good`` / ``timed_planned``.
        failures: failure kind -> number of timed passes that failed with it.
        mean_s, p50_s, p95_s, std_s, min_s, max_s: pass latency in seconds (p95 by linear
            interpolation; descriptive at these pass counts).
        items_per_s: items / mean_s.
        mean_s_interval, p50_s_interval, items_per_s_interval: intervals of these figures;
            ``None`` with fewer than two good passes.
        first_run_penalty: first warm-up pass / median timed pass.
        warmup_passes: number of warm-up passes.
        compiled_passes: number of timed passes in which the server compiled; ``None`` where the
            server does not report compilations.
        excess_passes: number of timed passes in which more prompt tokens came from the server's
            prefix cache than the view allows; ``None`` where the server reports nothing.
        modes: mode -> number of good timed passes that were scored in it, by the server's log for
            ``told_passes`` of them, else by its settings.
        fallbacks: requests of timed passes that fell back to another mode; ``None`` where no log
            can tell.
        instability: why the figures count as unstable; empty if they do not.
        client_share: the client's own calibrated share of mean_s, 0 to 1.
        round_trip_share: one round trip for each call of a pass, over p50_s.
        gate, ranking: only for the candidate; the reference is not gated.
        eligible: whether the cell may be selected.
        reasons: why it may not be selected.
        inside_guardrail: whether its p95 is within the guardrail of its view.
        usd_per_pass, items_per_usd, usd_per_million_items: where an hourly price is given.
    """

    backend: Backend
    view: View
    chunk_size: int
    phase: Phase
    planned_passes: int
    good_passes: int
    timed_planned: int
    timed_good: int
    success_rate: float
    failures: dict[str, int]
    mean_s: float | None
    p50_s: float | None
    p95_s: float | None
    std_s: float | None
    min_s: float | None
    max_s: float | None
    items_per_s: float | None
    mean_s_interval: Interval | None
    p50_s_interval: Interval | None
    items_per_s_interval: Interval | None
    first_run_penalty: float | None
    warmup_passes: int
    compiled_passes: int | None
    excess_passes: int | None
    modes: dict[PassMode, int] = {}
    told_passes: int = 0
    fallbacks: int | None = None
    instability: list[Unsteady]
    client_share: float | None
    round_trip_share: float | None
    gate: GateResult | None
    ranking: Ranking | None = None
    eligible: bool
    reasons: list[Reason]
    inside_guardrail: bool
    usd_per_pass: float | None
    items_per_usd: float | None
    usd_per_million_items: float | None

    @property
    def key(self) -> CellKey:
        """Which cell of its view it is."""
        return CellKey(self.backend, self.chunk_size)

    @property
    def mode(self) -> ScoringMode | None:
        """The one mode of all its good timed passes; ``None`` where there is not one."""
        modes = list(self.modes)
        return modes[0] if len(modes) == 1 and modes[0] != "mixed" else None


class PassTime(Part):
    """One timed pass.

    Attributes:
        chunk_size, phase, run: which pass.
        session: the server session it ran in, from 0.
        started_s: seconds from the start of the matrix's first timed pass; ``None`` if the
            pass was never sent.
        seconds: its latency; ``None`` unless ``ok``.
        status: ``ok`` or the failure kind.
        compiled: whether the server compiled during it; ``None`` where it does not report.
    """

    chunk_size: int
    phase: Phase
    run: int
    session: int
    started_s: float | None
    seconds: float | None
    status: Status
    compiled: bool | None


class ItemDifference(Part):
    """The score differences of one item from the reference, over all compared passes.

    Attributes:
        item: index in the workload.
        max_abs_diff: the largest over labels, passes and chunk sizes; it is at ``chunk_size``.
        mean_abs_diff: over all of them.
    """

    item: int
    chunk_size: int
    max_abs_diff: float
    mean_abs_diff: float


class Ratio(Part):
    """Candidate / reference at one chunk size; ``None`` where either figure is absent.

    Attributes:
        items_per_s: above 1 the candidate scores more items per second.
        items_per_s_interval: of that ratio.
        p95_s: below 1 the candidate is faster; descriptive, like p95 itself.
    """

    chunk_size: int
    items_per_s: float | None
    items_per_s_interval: Interval | None
    p95_s: float | None


class Alternative(Part):
    """The cell that would lead under another rule.

    Attributes:
        backend, chunk_size, items_per_s: of that cell.
        guardrail: the end, nearest to the guardrail in force, of the range of guardrails in
            which it would lead; ``None`` for another rule.
        guardrail_end: the other end. A wider guardrail must be below it, a narrower one at
            least that; ``None`` where the range has no other end.
    """

    backend: Backend
    chunk_size: int
    items_per_s: float
    guardrail: float | None
    guardrail_end: float | None = None


class Turning(Part):
    """Which cell would lead under other rules; ``None`` where the same backend would lead.

    Attributes:
        guardrail: with another guardrail.
        eligibility: if every cell with figures were eligible (correct scores, no failures).
    """

    guardrail: Alternative | None
    eligibility: Alternative | None


class Winner(Part):
    """The winner of one view, or why there is none.

    Attributes:
        outcome: the winning backend, ``tie``, ``none``, or ``deferred`` while a backend is
            unavailable in this view.
        leader: the backend with the highest items/s, also in a tie.
        chunk_size, items_per_s: of the leading cell.
        other, other_chunk_size, other_items_per_s: the best cell of the other backend.
        ratio: items_per_s / other_items_per_s; ``None`` where the other cell has more items/s
            but is outside the guardrail.
        ratio_interval: of the ratio.
        same_backend_share: share of resamples in which the same backend leads.
        same_cell_share: share in which the same backend and chunk size lead.
        passes_to_decide: for a tie, how many passes per cell would separate the means of both
            backends' leading cells at their noise; ``None`` if there is no tie, if the means
            are equal, or if something other than the means leaves the winner open.
        confidence: ``high``, ``medium`` or ``low``; ``none`` where there is no winner.
        flags: what lowers the confidence.
    """

    outcome: Outcome
    leader: Backend | None
    chunk_size: int | None
    items_per_s: float | None
    other: Backend | None
    other_chunk_size: int | None
    other_items_per_s: float | None
    ratio: float | None
    ratio_interval: Interval | None
    same_backend_share: float | None
    same_cell_share: float | None
    passes_to_decide: int | None
    confidence: Confidence
    flags: list[Flag]


class MatrixSource(Part):
    """The origin of one matrix, with what the report shows of it.

    Attributes:
        unavailable: why the backend could not run in this view; the matrix is then empty.
            ``None`` if it ran.
        backend_commit, segment_mask_mended: from the contract: the commit of the checkout that
            the backend is installed from, and whether that commit serves segment masks on a TPU.
        base_url: of a server that was started elsewhere.
        planned_passes, good_passes: numbers of timed passes.
        uncovered: untimed requests that failed, which were to show the server its batches before.
        run: the facts of its run.
    """

    backend: Backend
    view: View
    unavailable: str | None
    backend_commit: str | None
    segment_mask_mended: bool
    dtype: str
    base_url: str | None
    planned_passes: int
    good_passes: int
    uncovered: list[CoverFailure] = []
    run: Run


class ViewComparison(Part):
    """Both backends in one view.

    Attributes:
        pair: of the comparison; not repeated in the view's JSON.
        unavailable: backend -> why it could not run in this view.
        cells: every cell, by backend, then chunk size as the contract lists them.
        scoring: backend -> how its settings ask it to score a request's items, while each cell
            has the modes that were used; ``None`` where it was not measured.
        selected: backend -> the chunk size it would be deployed with, if any is eligible.
        passed_over: backend -> the chunk size of its fastest cell, if that cell is ineligible.
        isolation, noise, oracle, prefix_cache: of each backend, in this view.
        starts: of each backend whose server the contract has started again; else empty.
        oracle_sides_with: which backend agrees with the oracle within the gate's limits; ``None``
            where a backend could not be compared.
        ratios: candidate / reference, by rising chunk size.
        passes: backend -> every timed pass, in measuring order.
        item_differences: one for each item; empty if nothing was compared.
        turning: which cell would lead under other rules.
    """

    pair: Annotated[Pair, Field(exclude=True)]
    view: View
    unavailable: dict[Backend, str]
    cells: list[Cell]
    scoring: dict[Backend, Scoring | None]
    selected: dict[Backend, int | None]
    passed_over: dict[Backend, int]
    isolation: dict[Backend, Isolation]
    noise: dict[Backend, NoiseFloor]
    starts: dict[Backend, Starts] = {}
    oracle: dict[Backend, OracleResult]
    oracle_sides_with: OracleSide | None
    prefix_cache: dict[Backend, PrefixCache]
    winner: Winner
    ratios: list[Ratio]
    passes: dict[Backend, list[PassTime]]
    item_differences: list[ItemDifference]
    turning: Turning

    @pydantic.model_validator(mode="after")
    def _names_the_pair_alone(self) -> Self:
        winner, turning = self.winner, self.turning
        led = [one.backend for one in (turning.guardrail, turning.eligibility) if one is not None]
        by_backend = (
            *(self.scoring, self.selected, self.passed_over, self.isolation, self.noise),
            *(self.oracle, self.prefix_cache, self.passes, self.unavailable, self.starts),
        )
        self.pair.check(cell.backend for cell in self.cells)
        self.pair.check(backend for one in by_backend for backend in one)
        self.pair.check(flag.backend for flag in winner.flags)
        self.pair.check([winner.leader, winner.other, *led])
        if winner.outcome not in NO_WINNER:
            self.pair.check([winner.outcome])
        if self.oracle_sides_with not in ("both", "neither"):
            self.pair.check([self.oracle_sides_with])
        return self

    def cell(self, backend: Backend, chunk_size: int) -> Cell:
        """The cell of ``backend`` at ``chunk_size``."""
        return next(c for c in self.cells if c.backend == backend and c.chunk_size == chunk_size)

    def selected_cell(self, backend: Backend) -> Cell | None:
        """The cell ``backend`` would be deployed with, if any is eligible."""
        chunk = self.selected[backend]
        return None if chunk is None else self.cell(backend, chunk)


class Scope(Part):
    """The workload, the model and the planned passes.

    Attributes:
        workload: its name.
        workload_sha256: of its canonical bytes.
        total_tokens: of the query, once, and of all items.
        nonce: part of the salt of every request, drawn anew for each comparison.
        item_tokens: tokens of the longest item.
        probe_items: the most items in one probe request; ``None`` for any number.
        probe_starts: further starts of each server that get the probes only.
    """

    identity: Identity
    model: Model
    workload: str
    workload_sha256: str
    nonce: str
    query_tokens: int
    items: int
    item_tokens: int
    total_tokens: int
    label_token_ids: list[int]
    chunk_sizes: list[int]
    warmup_passes: int
    sweep_passes: int
    confirm_passes: int
    call_timeout_s: float
    probe_items: int | None = None
    probe_starts: int = 0


class Comparison(Part):
    """The result of one workload.

    Attributes:
        pair: the backends that are compared.
        sources: of the matrices. Their passes are those of this workload, their runs are whole.
    """

    pair: Pair
    scope: Scope
    gate: Gate
    selection: Selection
    sources: list[MatrixSource]
    portable: ViewComparison
    best_native: ViewComparison

    @pydantic.model_validator(mode="before")
    @classmethod
    def _views_know_the_pair(cls, data: Any) -> Any:
        if not isinstance(data, dict) or "pair" not in data:
            return data
        views = {name: data.get(name) for name in VIEWS}
        paired = {n: {**v, "pair": data["pair"]} for n, v in views.items() if isinstance(v, dict)}
        return {**data, **paired}

    @pydantic.model_validator(mode="after")
    def _names_the_pair_alone(self) -> Self:
        self.pair.check(source.backend for source in self.sources)
        return self

    def views(self) -> tuple[ViewComparison, ViewComparison]:
        """The portable view, then the best-native view."""
        return (self.portable, self.best_native)

    def view(self, name: View) -> ViewComparison:
        """The view of this name."""
        return self.portable if name == "portable" else self.best_native

    @property
    def unavailable(self) -> dict[MatrixKey, str]:
        """What could not be measured, by backend, with the reasons."""
        return {
            MatrixKey(backend, view.view): view.unavailable[backend]
            for backend in self.pair.both
            for view in self.views()
            if backend in view.unavailable
        }


class WeightedRatio(Part):
    """The geometric mean of a ratio over workloads.

    Attributes:
        weights: workload to its weight; equal ones where the contract gives none.
        left_out: workloads of the mix in which a backend has no eligible cell. Nothing is known of
            the ratio there, so the mean is over the others alone.
        items_per_s: candidate / reference; ``None`` where every workload is left out.
        items_per_s_interval: of that ratio.
    """

    weights: dict[str, float]
    left_out: list[str]
    items_per_s: float | None
    items_per_s_interval: Interval | None


class AtWorkload(Part):
    """The selected cells of one workload in one view.

    Attributes:
        workload: its name; ``items`` and ``total_tokens`` are its size.
        outcome: the winner, ``tie``, ``none`` or ``deferred``.
        items_per_s: candidate / reference of the selected cells; ``None`` where a backend has no
            eligible cell.
        items_per_s_interval: of that ratio.
    """

    workload: str
    items: int
    total_tokens: int
    outcome: Outcome
    items_per_s: float | None
    items_per_s_interval: Interval | None


class Crossing(Part):
    """Where the winner changes, from one workload to the next larger one.

    Attributes:
        axis: by which size workloads are ordered.
        below, above: the sizes between which it changes.
        winner_below, winner_above: who wins there.
    """

    axis: SizeAxis
    below: int
    above: int
    winner_below: Backend
    winner_above: Backend


class ViewSummary(Part):
    """One view over all workloads.

    Attributes:
        workloads: each of them, by rising total tokens.
        wins: backend -> number of workloads that it wins.
        ties: number of workloads in which neither wins, though both have eligible cells.
        undecided: number of workloads without a winner for any other reason.
        mean: over all workloads alike.
        mixes: over those of each scenario, by the contract's weights.
        crossings: where the winner changes: one, if some size orders the workloads so that it
            changes once; every change over the total tokens otherwise. Only workloads with a
            winner count in which both backends have an eligible cell.
    """

    view: View
    workloads: list[AtWorkload]
    wins: dict[Backend, int]
    ties: int
    undecided: int
    mean: WeightedRatio
    mixes: dict[str, WeightedRatio]
    crossings: list[Crossing]


class Summary(Part):
    """Both views over all workloads."""

    portable: ViewSummary
    best_native: ViewSummary

    def views(self) -> tuple[ViewSummary, ViewSummary]:
        """The portable view, then the best-native view."""
        return (self.portable, self.best_native)


class ComparisonSet(Part):
    """The whole result.

    Attributes:
        workloads: the result of each workload, by rising total tokens.
        summary: of all of them.
    """

    version: int
    workloads: Annotated[list[Comparison], Field(min_length=1)]
    summary: Summary

    @pydantic.model_validator(mode="after")
    def _compares_the_same(self) -> Self:
        first = self.workloads[0]
        if any(one.pair != first.pair for one in self.workloads):
            raise ValueError("its workloads compare different backends")
        names = [one.scope.workload for one in self.workloads]
        for view in self.summary.views():
            if [one.workload for one in view.workloads] != names:
                raise ValueError("its summary is of other workloads")
        return self

    def of(self, workload: str) -> Comparison | None:
        """The result of one workload; ``None`` where it was not measured."""
        named = (one for one in self.workloads if one.scope.workload == workload)
        return next(named, None)


def _remedy(path: Path) -> str:
    """Only the comparison of this work tree can be made anew here."""
    if path == COMPARISON_FILE:
        return "`dvc repro compare` makes it anew, and measures first what is out of date"
    return "read it with the pipeline of the commit that wrote it"


class _Versioned(BaseModel):
    version: int


def load_comparison(path: Path) -> ComparisonSet:
    """Read ``comparison.json``.

    Raises:
        UserError: it is missing, damaged or of another version.
    """
    try:
        data = path.read_bytes()
        version = pydantic.TypeAdapter(_Versioned).validate_json(data).version
        if version != COMPARISON_VERSION:
            raise UserError(
                f"{path}: version {version}, but this pipeline reads {COMPARISON_VERSION};"
                f" {_remedy(path)}"
            )
        return ComparisonSet.model_validate_json(data)
    except OSError as error:
        raise UserError(f"{path}: {error.strerror}") from error
    except pydantic.ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise UserError(f"{path}: damaged at {where or 'its start'}: {first['msg']}") from error
