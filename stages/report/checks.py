"""What each check of the scores says in one view. A comparison's parts in, text out.

Rules:

* An answer is a verdict in a word or two and the figures behind it. A view's gate takes the
  worst verdict of its cells.
* An answer that is not the good one adds a sentence to what stands against the scores (against the
  times: prefix cache, other work), unless the reasons of the ineligible cells say the same (gate,
  power, leaking or unprobed items).
* The wrong answer closest to passing is the one that exceeds a limit by the smallest factor.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from stages.contract import Backend, Gate
from stages.documents.comparison import (
    BUSY,
    NOISY,
    ControlResult,
    GateResult,
    Isolation,
    MatrixSource,
    OracleResult,
    OracleSide,
    OracleVerdict,
    PrefixCache,
    Verdict,
    ViewComparison,
)
from stages.report import format as f
from stages.report.prose import scores, server
from stages.report.prose.oracle import oracle, other_prompt, with_delimiter
from stages.report.prose.reasons import failed_alone, leak

_WORST_FIRST: tuple[Verdict, ...] = ("fail", "inconclusive", "not_compared")
_SIDES: dict[OracleSide | None, str] = {
    "both": "both agree",
    "neither": "neither agrees",
    None: "not known",
}
# By whether the prompt with a delimiter was scored too: without it, who differs may have scored it.
_ORACLE_WORDS: dict[tuple[OracleVerdict, bool], str] = {
    ("agrees", False): "agrees",
    ("agrees", True): "agrees",
    ("other_prompt", True): "scores another prompt",
    ("wrong", False): "differs",
    ("wrong", True): "wrong",
}


@dataclass(frozen=True, slots=True)
class Answer:
    """What one check says in one view.

    Attributes:
        word: the verdict.
        figure: what it stands on.
        against: sentences on what stands against what is checked, beyond the cells' reasons.
    """

    word: str
    figure: str
    against: list[str] = field(default_factory=list)


type _Gated = list[tuple[int, GateResult]]


def _gated(view: ViewComparison) -> _Gated:
    found = [(cell.chunk_size, cell.gate) for cell in view.cells if cell.gate]
    return sorted(found, key=lambda one: one[0])


def _at(of: _Gated, every: _Gated) -> str:
    return f.chunk_sizes([size for size, _ in of], [size for size, _ in every])


def gate_answer(view: ViewComparison, limits: Gate) -> Answer:
    """How many cells of the candidate pass, which do not, and the largest differences."""
    gated, mine = _gated(view), view.pair.candidate
    if not gated:
        return Answer("not compared", f"no {mine.title} cell was measured")
    by = {v: [one for one in gated if one[1].verdict == v] for v in _WORST_FIRST}
    passed = len(gated) - sum(map(len, by.values()))
    of = f.count(len(gated), f"{mine.title} cell")
    text = f"{passed} of {of} {'passes' if passed == 1 else 'pass'}"
    text += "".join(
        f"; {scores.verdict(v)} at {_at(some, gated)}" for v, some in by.items() if some
    )
    lost = [one for one in gated if one[1].uncompared_passes]
    missing = f.count(sum(g.uncompared_passes for _, g in lost), "pass", "passes")
    against = (
        f"{f.backend_view(mine.key, view.view, view.pair)}, {_at(lost, gated)}: {missing} could"
        " not be compared, because the reference's counterpart is missing."
    )
    return Answer(
        next((scores.verdict(v) for v, some in by.items() if some), "pass"),
        text + _differences(gated, limits) + (f"; {missing} not compared" if lost else ""),
        [against] if lost else [],
    )


def _differences(gated: _Gated, limits: Gate) -> str:
    largest = [g.max_abs_diff for _, g in gated if g.max_abs_diff is not None]
    means = [g.mean_abs_diff for _, g in gated if g.mean_abs_diff is not None]
    if not largest or not means:
        return ""
    # A score that is not a number has no difference; a maximum over the others would hide it.
    odd = [one for one in gated if one[1].verdict == "fail" and one[1].max_abs_diff is None]
    none_at = f"; {scores.against_limits(None, None, limits)} at {_at(odd, gated)}" if odd else ""
    return f" ({scores.against_limits(max(largest), max(means), limits)}{none_at})"


def power_answer(view: ViewComparison, limits: Gate) -> Answer:
    """Whether the gate catches every wrong answer, and which comes closest to passing."""
    gated = _gated(view)
    tried = [(size, control) for size, gate in gated for control in gate.controls]
    left_out = scores.left_out_controls([gate for _, gate in gated])
    if not tried and left_out:
        return _no_control(view, left_out)
    if not tried:
        return Answer("not tried", "no pass was compared, so no wrong answer could be made")
    untried = [one for one in gated if not one[1].controls]
    rest = f"; none could be made at {_at(untried, gated)}" if untried else ""
    rest += f"; left out, for they would change nothing: {left_out}" if left_out else ""
    missed = [(size, control) for size, control in tried if not control.caught]
    if missed:
        named = "; ".join(_passing(missed, gated))
        verb = "passes" if len(missed) == 1 else "pass"
        count = f"{len(missed)} of {f.count(len(tried), 'wrong answer')}"
        text = f"{count} {verb} the gate, so a pass there means nothing: {named}{rest}"
        return barring(view, view.pair.candidate.key, "not all caught", text)
    size, closest = min(tried, key=lambda one: _over(one[1], limits)[0])
    text = f"{f.count(len(tried), 'wrong answer')} (the closest to passing: "
    return Answer(
        "all caught", f"{text}{_wrong(size, closest)}, {_over(closest, limits)[1]}){rest}"
    )


def _no_control(view: ViewComparison, left_out: str) -> Answer:
    """The scores agree, but no wrong answer shows that the gate would notice a difference."""
    where = f.backend_view(view.pair.candidate.key, view.view, view.pair)
    against = f"{where}: {scores.UNTESTED}, so its pass is worth less."
    return Answer("could not be tested", f"{scores.NO_CONTROL}: {left_out}", [against])


def _wrong(size: int, control: ControlResult) -> str:
    return f.cell(f.CONTROL_NAMES[control.name], size)


def _passing(missed: list[tuple[int, ControlResult]], gated: _Gated) -> Iterator[str]:
    """Each kind of wrong answer that passes the gate, with its largest differences."""
    for name, words in f.CONTROL_NAMES.items():
        mine = [(size, control) for size, control in missed if control.name == name]
        if mine:
            where = f.chunk_sizes([size for size, _ in mine], [size for size, _ in gated])
            largest = f.difference(max(c.max_abs_diff or 0.0 for _, c in mine))
            mean = f.difference(max(c.mean_abs_diff or 0.0 for _, c in mine))
            yield f"{words} at {where} (largest difference {largest}, mean {mean})"


def _over(control: ControlResult, limits: Gate) -> tuple[float, str]:
    """By which factor a control exceeds the limit that catches it, and that figure in words."""
    largest = _factor(control.max_abs_diff, limits.max_abs_diff)
    mean = _factor(control.mean_abs_diff, limits.mean_abs_diff)
    if largest >= mean:
        figure, limit, of = control.max_abs_diff, limits.max_abs_diff, ""
    else:
        figure, limit, of = control.mean_abs_diff, limits.mean_abs_diff, "mean "
    return max(largest, mean), f"{of}{f.difference(figure)} against the limit {f.plain(limit)}"


def _factor(difference: float | None, limit: float) -> float:
    if difference is None:
        return float("inf")
    return difference / limit if limit else float("inf" if difference else 0)


def noise_answer(view: ViewComparison, backend: Backend, limits: Gate) -> Answer:
    """How far one backend's answers to the same request differ."""
    floor, where = view.noise[backend], f.backend_view(backend, view.view, view.pair)
    answers, limit = f.count(floor.repeats, "answer"), f.plain(limits.max_abs_diff)
    if floor.max_abs_diff is None:
        against = [f"{where}: {scores.NOISE_UNKNOWN}."]
        return Answer("not known", f"{answers} to the same request, too few", against)
    text = scores.noise(answers, floor.max_abs_diff)
    if floor.max_abs_diff <= NOISY * limits.max_abs_diff:
        return Answer("small" if floor.max_abs_diff else "none", text)
    against = [
        f"{where}: {scores.noise('answers', floor.max_abs_diff)},"
        f" more than {f.percent(NOISY)} of the limit of {limit}."
    ]
    return Answer("large", f"{text} (the gate's limit is {limit})", against)


def isolation_answer(view: ViewComparison, backend: Backend) -> Answer:
    """Whether one backend's scores depend on neighbouring items, and where most."""
    found, where = view.isolation[backend], f.backend_view(backend, view.view, view.pair)
    failed, worst, limit = _failed(found), _worst(found), f.plain(found.limit)
    also = f"; {failed}" if failed else ""
    if found.verdict == "no_neighbours":
        return Answer("nothing to probe", "the workload has one item, which has no neighbours")
    if found.verdict == "leaks":
        place = _worst_place(found)
        most = f"; most: {place}" if place else ""
        return barring(view, backend, "leaks", f"{leak(found)}{most}{also}")
    if found.verdict == "not_probed":
        seen = f"; the others move a score by at most {worst}" if worst else ""
        why = f"{failed_alone(found.alone)}; " if found.alone else ""
        figure = f"{why}{failed or 'no complete probe'}{seen}"
        return barring(view, backend, "not probed", figure)
    moved = f"move by at most {worst}, limit {limit}" if found.largest_change else "do not move"
    text = f"scores of {f.count(len(found.targets), 'probed item')} {moved}"
    if found.verdict == "lengths_not_probed":
        text = f"among items of the same lengths, {text}{also or '; none of others was probed'}"
        return barring(view, backend, "not probed with other lengths", text)
    against = [f"{where}: {_failed(found, ' of the isolation check')}."] if failed else []
    return Answer("isolated", f"{text}{also}{_left_out(found)}", against)


def _failed(found: Isolation, of: str = "") -> str:
    """How many probe requests failed, and in which layouts if not in all."""
    if not found.failed_probes:
        return ""
    text = f"{f.count(found.failed_probes, 'probe request')}{of} failed"
    if found.verdict == "not_probed" or not found.failed_layouts:
        return text
    return f"{text} ({f.join([f.layout(name) for name in found.failed_layouts])})"


def _left_out(found: Isolation) -> str:
    """The layouts that this workload does not allow."""
    if "shorter" in found.left_out:
        return "; not tried with shorter items where all others have one token"
    return ""


def barring(view: ViewComparison, backend: Backend, word: str, figure: str) -> Answer:
    """A bad answer. It stands against the scores itself where no ineligible cell names it."""
    named = any(not cell.eligible for cell in view.cells if cell.backend == backend)
    sentence = f"{f.backend_view(backend, view.view, view.pair)}: {word}, {figure}."
    return Answer(word, figure, [] if named else [sentence])


def _worst(found: Isolation) -> str:
    if found.largest_change is None:
        return ""
    size, place = f.difference(found.largest_change), _worst_place(found)
    return f"{size} ({place})" if place else size


def _worst_place(found: Isolation) -> str:
    if found.worst_target is None or found.worst_layout is None:
        return ""
    return f"item {found.worst_target} {f.layout(found.worst_layout)}"


def oracle_answer(view: ViewComparison, backend: Backend, limits: Gate) -> Answer:
    """How far one backend is from the independent scorer."""
    found = view.oracle[backend]
    missing = f.count(found.missing, "sampled item")
    if found.agrees is None:
        text = f"no answer to {missing}" if found.missing else "nothing was sampled"
        return Answer("not compared", text)
    return Answer(
        _ORACLE_WORDS[found.verdict, found.delimited is not None],
        f"{f.count(found.compared, 'sampled item')}"
        f" ({scores.against_limits(found.max_abs_diff, found.mean_abs_diff, limits)})"
        + _delimited(found, limits)
        + (f"; no answer to {missing} more" if found.missing else ""),
    )


def _delimited(found: OracleResult, limits: Gate) -> str:
    """How far from the prompt with the delimiter a backend is that did not score the plain one."""
    with_it = found.delimited
    if with_it is None or found.verdict == "agrees":
        return ""
    told = (
        f"; from {with_delimiter(with_it.delimiter)}: largest difference"
        f" {f.difference(with_it.max_abs_diff)}, mean {f.difference(with_it.mean_abs_diff)}"
    )
    if found.verdict == "other_prompt":
        return told
    if with_it.agrees:
        return f"{told}, but the scores depend on neighbouring items"
    near = with_it.max_abs_diff <= limits.max_abs_diff
    if near and with_it.mean_abs_diff <= limits.mean_abs_diff:
        return f"{told}, but the gate does not tell the two prompts apart"
    return f"{told}, so they are neither prompt's scores"


def verdict_answer(view: ViewComparison) -> Answer:
    """Which backend the oracle sides with; anything but both stands against the scores."""
    side, clause, unlike = view.oracle_sides_with, oracle(view), other_prompt(view)
    against = [] if side == "both" else [clause]
    against += [] if unlike is None else [unlike]
    return Answer(
        _SIDES.get(side) or f"sides with {view.pair.title(str(side))}",
        clause if unlike is None else f"{clause}; {unlike}",
        [f.in_view(view.view, one) for one in against],
    )


def prefix_cache_answer(view: ViewComparison, backend: Backend) -> Answer:
    """How much one backend took from its prefix cache in a timed pass, against what is allowed."""
    found, where = view.prefix_cache[backend], f.backend_view(backend, view.view, view.pair)
    if found.most_tokens is None:
        return _prefix_cache_unreported(found, where)
    unreported = found.timed_passes - found.told_passes
    also = f"; not reported for {server.timed_passes(unreported)}" if unreported else ""
    figure = f"{_allowance(found)}; the most in one pass was {found.most_tokens:,}{also}"
    if not found.excess_passes:
        return Answer("as allowed", figure)
    excess = [c for c in view.cells if c.backend == backend and c.excess_passes]
    every = sorted({cell.chunk_size for cell in view.cells})
    sizes = f.chunk_sizes([cell.chunk_size for cell in excess], every)
    against = f"{where}, {sizes}: {server.cache_excess(found.excess_passes)}."
    over = f"; more than allowed in {server.timed_passes(found.excess_passes)}"
    return Answer("too much", f"{figure}{over}", [against])


def _allowance(found: PrefixCache) -> str:
    """How many of a pass's tokens may come from the cache."""
    most = f"at most {found.allowed_tokens:,}" if found.allowed_tokens else "none"
    return f"of a pass's {found.prompt_tokens:,} prompt tokens {most} may come from it"


def _prefix_cache_unreported(found: PrefixCache, where: str) -> Answer:
    figure = f"{_allowance(found)}; the server does not report how many did"
    if not found.kept:
        return Answer("not reported", figure)
    against = f"{where}: how much came from the prefix cache is not known."
    return Answer("not known", figure, [against])


def load_answer(view: ViewComparison, backend: Backend, source: MatrixSource | None) -> Answer:
    """How much of the machine other work took while one backend was timed."""
    where = f.backend_view(backend, view.view, view.pair)
    share = source.run.foreign_cpu if source else None
    if source is not None and source.run.elsewhere is not None:
        here = f"; on the client's, {server.cpu_share(share)} of the CPU time" if share else ""
        why = f"the server was started elsewhere, and its machine is not watched{here}"
        against = [f"{where}: how much other work the server's machine did is not known."]
        return Answer("not known", why, against)
    if share is None:
        why = (
            "the server was restarted" if source and source.run.restarts else "it was not measured"
        )
        against = [f"{where}: how much other work the machine did is not known."]
        return Answer("not known", why, against)
    text = f"{server.cpu_share(share)} of the machine's CPU time"
    if share < BUSY:
        return Answer("quiet", text)
    return Answer("busy", text, [f"{where}: {server.other_work(share, view.pair.title(backend))}."])
