"""What lowers the confidence in a winner."""

from __future__ import annotations

from stages.documents.comparison import BUSY, Flag, FlagCode, Pair
from stages.report import format as f
from stages.report.prose.oracle import with_delimiter
from stages.report.prose.reasons import instability

# What the words in braces stand for: see `flag`.
_WORDS: dict[FlagCode, str] = {
    "single_pass": "a single pass shows no noise, and that is all there is of {cell}",
    "lead_includes_one": "the interval of the lead includes 1 ({low} to {high})",
    "no_rival": "the other backend has no eligible cell",
    "untrained_model": "the model is small and untrained",
    "hosts_without_cost": "the backends ran on different hosts and no cost is given for both",
    "other_work": "other work took {cpu} of the machine's CPU time while {name} was timed",
    "client_elsewhere": "the client was not on {name}'s machine: {round_trip}",
    "compiles_hidden": "whether {name} compiled inside a timed pass could not be seen",
    "requests_repeated": (
        "{name}'s server was sent requests twice, and its prefix cache may have answered them"
    ),
    "repetition_unknown": (
        "whether {name}'s server was sent its requests before is not known, and its prefix cache"
        " may have answered them"
    ),
    "oracle_differs": "{name} differs from the oracle by up to {difference}",
    "other_prompt": "{name} scores another prompt: {prompt}",
    "oracle_not_compared": "the oracle has nothing to compare {name} with",
    "noise": "{name}'s answers to one identical request differ by up to {difference}",
    "unstable": "{cell} is unstable: {instability}",
    "compiled": "{cell} compiled in {passes}",
    "prefix_cache": "{cell} took more from its prefix cache than allowed in {passes}",
    "gate_untested": "nothing could test the gate's power for {cell}: there is {only}",
}


def flag(of: Flag, pair: Pair) -> str:
    """One flag with its figures."""
    name = pair.title(of.backend) if of.backend else ""
    return _WORDS[of.code].format(
        name=name,
        cell=f"{name} at chunk {of.chunk_size}",
        cpu=f.percent(of.share, BUSY),
        round_trip=_round_trip(of),
        difference=f.difference(of.difference),
        prompt=f.ABSENT if of.delimiter is None else with_delimiter(of.delimiter),
        passes=f.count(of.passes or 0, "timed pass", "timed passes"),
        low=f.ABSENT if of.low is None else f.factor(of.low),
        high="any" if of.high is None else f.factor(of.high),
        instability=instability(of.instability),
        only=" and ".join(f"one {what}" for what in of.only),
    )


def _round_trip(of: Flag) -> str:
    if of.round_trip_s is None:
        return "what a round trip took is not known"
    took = f"a round trip took {f.milliseconds(of.round_trip_s)} ms"
    if of.share is None:
        return took
    return (
        f"{took}, which over its calls is {f.percent(of.share)} of the median pass"
        f" at chunk {of.chunk_size}"
    )
