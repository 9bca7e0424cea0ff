"""Every lie gets the right verdict for the right reason, and no check is decoration.

The backends are real HTTP servers that answer correctly except for one lie at a time.
They are measured and compared by the code that measures and compares the real ones.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import polars as pl
import pytest
from lying_backends import CHUNKS, DELIMITERS, WORKLOAD, Bench
from scoring_server import nearest

import stages.compare.assemble as assemble
import stages.compare.gate as gate
import stages.compare.oracle as oracle
import stages.compare.prefix_cache as prefix_cache
import stages.compare.probes as probes
import stages.compare.ranking as ranking
import stages.measure.http.decode as decode
from stages.contract import Backend
from stages.documents.comparison import (
    Comparison,
    Isolation,
    NoiseFloor,
    OracleResult,
    OracleVerdict,
    Verdict,
    ViewComparison,
)
from stages.documents.oracle import Delimited
from stages.documents.probes import OTHER_LENGTHS
from stages.report.prose.flags import flag
from stages.report.prose.reasons import reason

pytestmark = pytest.mark.servers


@dataclass(frozen=True)
class Lie:
    """A lie and what must be said about it.

    Attributes:
        told: what each backend lies about.
        verdicts: the gate's verdict on JAX at each chunk size.
        winner: who may still win the view, or ``none``.
        isolation: backends that are said to leak.
        cached: backends that are said to take more from their prefix cache than is allowed.
        sides_with: whose side the oracle takes.
        oracle: what the oracle says of a backend, where it is not ``agrees`` of whom it sides with
            and ``wrong`` of whom it does not.
        flips: the most flipped pairs in a pass of each of JAX's cells, where the lie is about them.
        words: what the reasons or flags must say, in one place or another.
        only_confirm: tell it only in confirm passes.
        only_starts: tell it only in these starts of a server, of which 0 is measured.
        probe_starts: further starts of each server.
        unlike: how many of them are said to answer otherwise, for each backend that has any.
    """

    told: dict[Backend, str]
    verdicts: dict[int, Verdict]
    winner: tuple[str, ...]
    isolation: tuple[Backend, ...] = ()
    cached: tuple[Backend, ...] = ()
    sides_with: str | None = "both"
    flips: int | None = None
    words: tuple[str, ...] = ()
    only_confirm: bool = False
    silent: tuple[str, ...] = field(default=())
    oracle: dict[Backend, OracleVerdict] = field(default_factory=dict)
    only_starts: str = ""
    probe_starts: int = 0
    unlike: dict[Backend, int] = field(default_factory=dict)


def everywhere(verdict: Verdict) -> dict[int, Verdict]:
    return dict.fromkeys(CHUNKS, verdict)


def but(verdict: Verdict, **chunks: Verdict) -> dict[int, Verdict]:
    return everywhere(verdict) | {int(c[1:]): v for c, v in chunks.items()}


FAILS = "fail the correctness gate"
LIES = {
    "no lie at all": Lie({}, everywhere("pass"), ("jax", "pytorch", "tie"), flips=0),
    "items shifted by one": Lie(
        {"jax": "shift:1"},
        but("fail", c1="pass"),
        ("pytorch",),
        isolation=("jax",),
        sides_with="pytorch",
        words=(FAILS,),
    ),
    "items shifted by 21": Lie(
        {"jax": "shift:21"},
        but("fail", c1="pass"),
        ("pytorch",),
        isolation=("jax",),
        sides_with="pytorch",
        words=(FAILS,),
    ),
    "neighbours leak": Lie(
        {"jax": "leak"},
        but("fail", c1="pass"),
        ("pytorch",),
        isolation=("jax",),
        sides_with="pytorch",
        words=("scores depend on neighbouring items",),
    ),
    "neighbours leak in both backends alike": Lie(
        {"jax": "leak", "pytorch": "leak"},
        everywhere("pass"),
        ("none",),
        isolation=("jax", "pytorch"),
        sides_with="neither",
        words=("scores depend on neighbouring items",),
    ),
    "only the last item of each call wrong": Lie(
        {"jax": "last"},
        everywhere("fail"),
        ("pytorch",),
        isolation=("jax",),
        sides_with="pytorch",
        words=(FAILS,),
    ),
    "labels swapped": Lie(
        {"jax": "swap"}, everywhere("fail"), ("pytorch",), sides_with="pytorch", words=(FAILS,)
    ),
    "a constant": Lie(
        {"jax": "constant"}, everywhere("fail"), ("pytorch",), sides_with="pytorch", words=(FAILS,)
    ),
    "the same constant from both backends": Lie(
        {"jax": "constant", "pytorch": "constant"},
        everywhere("inconclusive"),
        ("pytorch",),
        sides_with="neither",
        words=("so flat that it would also pass items rotated by one",),
    ),
    "scores of the previous pass": Lie(
        {"jax": "stale"}, everywhere("fail"), ("pytorch",), sides_with="pytorch", words=(FAILS,)
    ),
    "right in the sweep and wrong in the confirm": Lie(
        {"jax": "swap"},
        but("fail", c30="pass"),
        ("jax", "pytorch", "tie"),
        words=(FAILS,),
        only_confirm=True,
    ),
    "NaN in one item": Lie(
        {"jax": "nan"},
        everywhere("not_compared"),
        ("pytorch",),
        sides_with=None,
        words=("only 0 of", "bad_score"),
    ),
    "label scores that do not sum to one": Lie(
        {"jax": "unnormalised"},
        everywhere("not_compared"),
        ("pytorch",),
        sides_with=None,
        words=("only 0 of", "bad_score"),
    ),
    "rounded to two decimals": Lie(
        {"jax": "round"}, everywhere("pass"), ("jax", "pytorch", "tie"), silent=(FAILS,)
    ),
    "drift just inside the mean": Lie(
        {"jax": "drift:0.0099"}, everywhere("pass"), ("jax", "pytorch", "tie"), silent=(FAILS,)
    ),
    "drift just outside the mean": Lie(
        {"jax": "drift:0.0101"},
        everywhere("fail"),
        ("pytorch",),
        sides_with="pytorch",
        words=(FAILS,),
    ),
    "one item just inside the maximum": Lie(
        {"jax": "one:0.0199"}, everywhere("pass"), ("jax", "pytorch", "tie"), silent=(FAILS,)
    ),
    "one item just outside the maximum": Lie(
        {"jax": "one:0.0201"},
        everywhere("fail"),
        ("pytorch",),
        sides_with="pytorch",
        words=(FAILS,),
    ),
    "right but only at chunk 1": Lie(
        {"jax": "batched"},
        but("fail", c1="pass"),
        ("pytorch",),
        isolation=("jax",),
        sides_with="pytorch",
        words=(FAILS,),
    ),
    "the reference lies": Lie(
        {"pytorch": "swap"},
        everywhere("fail"),
        ("pytorch",),
        sides_with="jax",
        words=("PyTorch differs from the oracle",),
    ),
    "both backends drift alike": Lie(
        {"jax": "drift:0.05", "pytorch": "drift:0.05"},
        everywhere("pass"),
        ("jax", "pytorch", "tie"),
        sides_with="neither",
        words=("JAX differs from the oracle", "PyTorch differs from the oracle"),
    ),
    "neighbours of other lengths leak, inside the gate": Lie(
        {"jax": "lengths:0.0117"},
        everywhere("pass"),
        ("pytorch",),
        isolation=("jax",),
        words=("scores depend on neighbouring items", "moved by up to 0.0118 (limit 1.00e-04)"),
        silent=(FAILS,),
    ),
    "batches of another shape round differently": Lie(
        {"jax": "batches:1e-6"},
        everywhere("pass"),
        ("jax", "pytorch", "tie"),
        silent=("scores depend on neighbouring items",),
    ),
    "answers that jitter inside the gate": Lie(
        {"jax": "jitter:0.009"},
        everywhere("pass"),
        ("jax", "pytorch", "tie"),
        flips=0,
        words=("JAX's answers to the same request differ by up to 0.018",),
    ),
    "no answer to a single item": Lie(
        {"jax": "single"},
        but("pass", c1="not_compared"),
        ("pytorch",),
        sides_with="both",
        words=(
            "only 0 of",
            "isolation between items could not be probed: the request with item",
            "alone failed (http_5xx: ",
        ),
    ),
    "right, and from a cache where the view has none": Lie(
        {"jax": "cache"}, everywhere("pass"), ("jax", "pytorch", "tie"), cached=("jax",)
    ),
    "another prompt, with the delimiter": Lie(
        {"jax": "delimiter:2"},
        everywhere("fail"),
        ("pytorch",),
        sides_with="pytorch",
        words=(FAILS, "JAX scores another prompt: query + delimiter 2 + item"),
        silent=("differs from the oracle",),
        oracle={"jax": "other_prompt"},
    ),
    "the reference scores another prompt, with the delimiter": Lie(
        {"pytorch": "delimiter:9999"},
        everywhere("fail"),
        ("pytorch",),
        sides_with="jax",
        words=(FAILS, "PyTorch scores another prompt: query + delimiter 9999 + item"),
        silent=("differs from the oracle",),
        oracle={"pytorch": "other_prompt"},
    ),
    "each another prompt, with its own delimiter": Lie(
        {"jax": "delimiter:2", "pytorch": "delimiter:9999"},
        everywhere("fail"),
        ("pytorch",),
        sides_with="neither",
        words=(FAILS, "JAX scores another prompt", "PyTorch scores another prompt"),
        oracle={"jax": "other_prompt", "pytorch": "other_prompt"},
    ),
    "a prompt with a delimiter that is not the server's": Lie(
        {"jax": "delimiter:9999"},
        everywhere("fail"),
        ("pytorch",),
        sides_with="pytorch",
        words=(FAILS, "JAX differs from the oracle"),
        silent=("another prompt",),
    ),
    "another prompt, and neighbours of other lengths leak": Lie(
        {"jax": "mixed:2"},
        everywhere("fail"),
        ("pytorch",),
        isolation=("jax",),
        sides_with="pytorch",
        words=("scores depend on neighbouring items", "JAX differs from the oracle"),
        silent=("another prompt",),
    ),
    "the two items with the nearest scores swapped": Lie(
        {"jax": "nearest"}, everywhere("pass"), ("jax", "pytorch", "tie"), flips=1
    ),
    "scores bent, in the right order": Lie(
        {"jax": "bent"},
        everywhere("fail"),
        ("pytorch",),
        sides_with="pytorch",
        flips=0,
        words=(FAILS,),
    ),
    "right in the start that is measured, and no other is asked for": Lie(
        {"jax": "batched"}, everywhere("pass"), ("jax", "pytorch", "tie"), only_starts="1,2"
    ),
    "right in the start that is measured, and wrong in another": Lie(
        {"jax": "batched"},
        everywhere("pass"),
        ("pytorch",),
        words=("scores depend on the server's start: 1 of 2 extra starts answered otherwise",),
        silent=(FAILS, "neighbouring items"),
        only_starts="2",
        probe_starts=2,
        unlike={"jax": 1},
    ),
    "wrong in the start that is measured, and right in every other": Lie(
        {"jax": "batched"},
        but("fail", c1="pass"),
        ("pytorch",),
        isolation=("jax",),
        sides_with="pytorch",
        words=(FAILS, "scores depend on the server's start: 2 of 2 extra starts"),
        only_starts="0",
        probe_starts=2,
        unlike={"jax": 2},
    ),
    "the reference is right in the start that is measured alone": Lie(
        {"pytorch": "batched"},
        everywhere("pass"),
        ("jax",),
        words=("scores depend on the server's start: 2 of 2 extra starts answered otherwise",),
        only_starts="1,2",
        probe_starts=2,
        unlike={"pytorch": 2},
    ),
    "packed without a mask": Lie(
        {"jax": "unmasked:2"},
        everywhere("fail"),
        ("pytorch",),
        isolation=("jax",),
        sides_with="pytorch",
        words=("scores depend on neighbouring items", "JAX differs from the oracle"),
        silent=("another prompt",),
    ),
}

CONFIRM_SALTS = [WORKLOAD.salt("confirm", chunk, run) for chunk in CHUNKS for run in range(2)]


def complaints(name: str, result: Comparison) -> list[str]:
    """What of the expected verdict on a lie is not so; empty when all is as it must be."""
    lie, view = LIES[name], result.portable
    wrong = []
    verdicts = {c.chunk_size: c.gate.verdict for c in view.cells if c.gate is not None}
    if verdicts != lie.verdicts:
        wrong.append(f"gate: {verdicts}, not {lie.verdicts}")
    leaking = tuple(b for b, found in view.isolation.items() if found.verdict == "leaks")
    if leaking != lie.isolation:
        wrong.append(f"isolation: {leaking}, not {lie.isolation}")
    wrong += start_complaints(lie, view)
    wrong += cache_complaints(lie, view)
    wrong += ranking_complaints(lie, view)
    if view.oracle_sides_with != lie.sides_with:
        wrong.append(f"oracle: {view.oracle_sides_with}, not {lie.sides_with}")
    verdicts_of_oracle = {b: found.verdict for b, found in view.oracle.items()}
    if verdicts_of_oracle != oracle_verdicts(lie):
        wrong.append(f"oracle: {verdicts_of_oracle}, not {oracle_verdicts(lie)}")
    if view.winner.outcome not in lie.winner:
        wrong.append(f"winner: {view.winner}, not one of {lie.winner}")
    if leader := view.winner.leader:
        chosen = view.cell(leader, view.winner.chunk_size or 0)
        if chosen.gate is not None and chosen.gate.verdict != "pass":
            wrong.append("the winner failed the gate")
        if leader in leaking:
            wrong.append("the winner leaks")
    said = " ".join(
        [
            *(flag(one, view.pair) for one in view.winner.flags),
            *(one for c in view.cells for one in [*map(reason, c.reasons), *c.failures]),
        ]
    )
    wrong += [f"not said: {words}" for words in lie.words if words not in said]
    wrong += [f"said: {words}" for words in lie.silent if words in said]
    # The honest view of the same run stays clean.
    wrong += [f"best-native: {c.reasons}" for c in result.best_native.cells if c.reasons]
    return wrong


def oracle_verdicts(lie: Lie) -> dict[Backend, OracleVerdict]:
    """What the oracle must say of each backend."""
    if lie.sides_with is None:
        # All of JAX's passes fail in these lies.
        return {"jax": "not_compared", "pytorch": "agrees"}
    found: dict[Backend, OracleVerdict] = {
        b: "agrees" if lie.sides_with in (b, "both") else "wrong" for b in ("jax", "pytorch")
    }
    return {**found, **lie.oracle}


def ranking_complaints(lie: Lie, view: ViewComparison) -> list[str]:
    """The same of the order of the items."""
    flips = {c.chunk_size: c.ranking.flipped_pairs for c in view.cells if c.ranking is not None}
    if lie.flips is None or flips == dict.fromkeys(CHUNKS, lie.flips):
        return []
    return [f"flipped pairs: {flips}, not {lie.flips} each"]


def start_complaints(lie: Lie, view: ViewComparison) -> list[str]:
    """The same of the starts of the servers; one with other scores in some start never wins."""
    unlike = {b: len(one.differing) for b, one in view.starts.items() if one.differing}
    wrong = [] if unlike == lie.unlike else [f"starts: {unlike}, not {lie.unlike}"]
    return [*wrong, *(["the winner's starts differ"] if view.winner.leader in unlike else [])]


def cache_complaints(lie: Lie, view: ViewComparison) -> list[str]:
    """The same of the prefix cache; a cell that stands on one lowers the winner's confidence."""
    wrong = []
    cached = tuple(b for b, found in view.prefix_cache.items() if found.excess_passes)
    if cached != lie.cached:
        wrong.append(f"prefix cache: {cached}, not {lie.cached}")
    winner = view.winner
    stands_on_it = {winner.leader, winner.other} & set(lie.cached)
    if stands_on_it and not any(one.code == "prefix_cache" for one in winner.flags):
        wrong.append(f"prefix cache: no flag among {winner.flags}")
    return wrong


def result_of(bench: Bench, name: str) -> Comparison:
    lie = LIES[name]
    return bench.result(
        lie.told,
        CONFIRM_SALTS if lie.only_confirm else None,
        probe_starts=lie.probe_starts,
        only_starts=lie.only_starts,
    )


@pytest.mark.parametrize("name", LIES)
def test_every_lie_gets_the_right_verdict_for_the_right_reason(bench: Bench, name: str) -> None:
    assert complaints(name, result_of(bench, name)) == []


def always(value: object) -> Callable[..., object]:
    return lambda *args, **kwargs: value


ISOLATED = Isolation(
    verdict="isolated",
    limit=1e-4,
    targets=[0],
    changes={},
    largest_change=0.0,
    worst_target=None,
    worst_layout=None,
    leaking_targets=[],
    failed_probes=0,
)
AGREES = OracleResult(
    compared=1, missing=0, max_abs_diff=0.0, mean_abs_diff=0.0, agrees=True, verdict="agrees"
)


def of_the_other_server(sample: pl.DataFrame) -> Delimited:
    """The prompts with the reference's delimiter, whoever is compared with them."""
    tokens = sorted(DELIMITERS.values())
    scores = pl.col("delimited_scores").list.get(tokens.index(DELIMITERS["pytorch"]))
    return Delimited(DELIMITERS["pytorch"], sample.with_columns(delimited=scores))


CHECKS: dict[str, tuple[object, str, object, str]] = {
    "the gate": (gate, "verdict", always("pass"), "labels swapped"),
    "the gate's maximum": (
        gate,
        "verdict",
        lambda largest, mean, g: "pass" if mean is not None and mean <= g.mean_abs_diff else "fail",
        "one item just outside the maximum",
    ),
    "the gate's mean": (
        gate,
        "verdict",
        lambda largest, mean, g: (
            "pass" if largest is not None and largest <= g.max_abs_diff else "fail"
        ),
        "drift just outside the mean",
    ),
    "the power controls": (
        gate,
        "power_controls",
        always([]),
        "the same constant from both backends",
    ),
    "the isolation probe": (
        assemble,
        "isolation",
        always(ISOLATED),
        "neighbours leak in both backends alike",
    ),
    "the isolation probe of other lengths": (
        assemble,
        "isolation",
        lambda frame, *rest: probes.isolation(
            frame.filter(~pl.col("layout").is_in(OTHER_LENGTHS)), *rest
        ),
        "neighbours of other lengths leak, inside the gate",
    ),
    "the isolation probe's own limit": (
        assemble,
        "change_limit",
        lambda noise, g, dtype: g.max_abs_diff,
        "neighbours of other lengths leak, inside the gate",
    ),
    "the oracle": (assemble, "against_oracle", always(AGREES), "both backends drift alike"),
    "the oracle's prompt with the delimiter": (
        assemble,
        "against_oracle",
        lambda passes, sample, labels, g, _, leaks: oracle.against_oracle(
            passes, sample, labels, g, None, leaks
        ),
        "another prompt, with the delimiter",
    ),
    "the delimiter is the server's own": (
        assemble,
        "against_oracle",
        lambda passes, sample, labels, g, _, leaks: oracle.against_oracle(
            passes, sample, labels, g, of_the_other_server(sample), leaks
        ),
        "a prompt with a delimiter that is not the server's",
    ),
    "a leak is no prompt's score": (
        assemble,
        "against_oracle",
        lambda passes, sample, labels, g, delimited, _: oracle.against_oracle(
            passes, sample, labels, g, delimited
        ),
        "another prompt, and neighbours of other lengths leak",
    ),
    "the untimed answers": (
        assemble,
        "judge",
        lambda candidate, reference, g, labels: gate.judge(
            candidate, reference.filter(pl.col("phase") != "answer"), g, labels
        ),
        "right in the sweep and wrong in the confirm",
    ),
    "the extra starts": (
        assemble,
        "compare_starts",
        always(None),
        "right in the start that is measured, and wrong in another",
    ),
    "noise and isolation of the measured start alone": (
        assemble,
        "measured_start",
        lambda probes: probes,
        "right in the start that is measured, and wrong in another",
    ),
    "the noise floor": (
        assemble,
        "noise_floor",
        always(NoiseFloor(repeats=4, max_abs_diff=0.0)),
        "answers that jitter inside the gate",
    ),
    "the ranking": (
        assemble,
        "rank",
        lambda candidate, reference, labels, noise: ranking.rank(
            reference, reference, labels, noise
        ),
        "the two items with the nearest scores swapped",
    ),
    "the ranking's ties by noise": (
        assemble,
        "largest_noise",
        always(0.0),
        "answers that jitter inside the gate",
    ),
    "the prefix cache": (
        assemble,
        "prefix_cache",
        lambda passes, workload, measured: prefix_cache.prefix_cache(
            passes.with_columns(cached_tokens=pl.lit(None, pl.Int64)), workload, measured
        ),
        "right, and from a cache where the view has none",
    ),
}


@pytest.mark.parametrize("check", CHECKS)
def test_with_any_check_switched_off_some_lie_gets_through(
    bench: Bench, check: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    module, function, off, caught_by_it = CHECKS[check]
    assert complaints(caught_by_it, result_of(bench, caught_by_it)) == []
    monkeypatch.setattr(module, function, off)
    assert complaints(caught_by_it, result_of(bench, caught_by_it)) != []


def test_the_leak_at_other_lengths_is_caught_by_its_own_check_alone(bench: Bench) -> None:
    # Every other one is content: without the isolation probe this liar would win or tie.
    name = "neighbours of other lengths leak, inside the gate"
    view = result_of(bench, name).portable
    assert view.oracle_sides_with == "both"
    found = view.isolation["jax"]
    assert set(found.changes) - set(OTHER_LENGTHS) >= {"original", "reversed", "replaced"}
    assert {n for n, change in found.changes.items() if not change <= found.limit} == {
        *OTHER_LENGTHS
    }
    for cell in view.cells:
        only = cell.backend == "jax"
        assert [one.code for one in cell.reasons] == ["leaks"] * only


def test_two_swapped_items_are_caught_by_the_ranking_alone_and_named(bench: Bench) -> None:
    name = "the two items with the nearest scores swapped"
    view = result_of(bench, name).portable
    assert view.oracle_sides_with == "both"
    assert all(cell.eligible for cell in view.cells)
    for chunk in CHUNKS:
        found = view.cell("jax", chunk).ranking
        assert found is not None
        assert found.widest_flip is not None
        pairs = 30 * 29 // 2
        assert (found.pairs, found.tau) == (pairs, pytest.approx((pairs - 2) / pairs))
        # The flipped items are the two that were swapped, in one of the passes.
        assert tuple(found.widest_flip.items) in swapped_in_a_pass(chunk)
        assert found.widest_flip.difference < 0.02

    barred = bench.result(LIES[name].told, ranking={"min_tau": 0.9, "max_flips": 0}).portable
    for cell in barred.cells:
        only = cell.backend == "jax"
        assert [one.code for one in cell.reasons] == ["ranking_failed"] * only
    assert barred.winner.outcome == "pytorch"
    allowed = bench.result(LIES[name].told, ranking={"min_tau": 0.9, "max_flips": 1}).portable
    assert all(cell.eligible for cell in allowed.cells)


def swapped_in_a_pass(chunk: int) -> set[tuple[int, int]]:
    """Of each pass the two items with the nearest scores, the higher first."""
    found = set()
    for phase in ("sweep", "confirm"):
        for run in range(2):
            query = WORKLOAD.salted_query(WORKLOAD.salt(phase, chunk, run))
            (_, low), (_, high) = nearest(query, WORKLOAD.items)
            found.add((WORKLOAD.items.index(high), WORKLOAD.items.index(low)))
    return found


def test_bent_scores_keep_their_order_to_the_last_pair(bench: Bench) -> None:
    view = result_of(bench, "scores bent, in the right order").portable
    for chunk in CHUNKS:
        found = view.cell("jax", chunk).ranking
        assert found is not None
        assert (found.kept, found.top_1, found.top_10) == (True, True, 10)


@pytest.mark.parametrize("lie", ["nan", "unnormalised"])
def test_without_the_check_of_scores_at_the_door_the_file_is_refused(
    bench: Bench, lie: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Two doors: the client checks every answer, and whoever reads a matrix checks it again.
    from stages.common.errors import UserError

    monkeypatch.setattr(decode, "_value_fault", always(None))
    fresh = Bench(bench.folder)
    fresh.measured = {k: v for k, v in bench.measured.items() if k[2] != lie}
    with pytest.raises(UserError, match="refused: "):
        fresh.result({"jax": lie})


def test_what_only_jax_confirms_is_compared_with_an_untimed_answer(bench: Bench) -> None:
    # Chunk 5 is confirmed by JAX alone: what the reference answers untimed is all there is.
    name = "right in the sweep and wrong in the confirm"
    result = result_of(bench, name)
    found = result.portable.cell("jax", 5)
    assert found.phase == "confirm"
    assert result.portable.cell("pytorch", 5).phase == "sweep"
    assert found.gate is not None
    assert found.gate.uncompared_passes == 0
