"""What lowers the confidence in a winner, in words."""

from __future__ import annotations

from stages.documents.comparison import Flag, FlagCode, Pair
from stages.report import format as f
from stages.report.prose import oracle, server
from stages.report.prose.reasons import instability
from stages.report.prose.scores import UNTESTED, noise


def flag(of: Flag, pair: Pair) -> str:
    """One flag with its figures."""
    name = pair.title(of.backend) if of.backend else ""
    cell = f.cell(name, of.chunk_size)
    low = f.ABSENT if of.low is None else f.factor(of.low)
    high = "any" if of.high is None else f.factor(of.high)
    round_trip = server.longest_round_trip(of.round_trip_s, of.share, cell)
    cached = "and its prefix cache may have answered them"
    prompt = f.ABSENT if of.delimiter is None else oracle.with_delimiter(of.delimiter)
    asked, used = [*of.modes, "", ""][:2]
    words: dict[FlagCode, str] = {
        "single_pass": f"a single pass shows no noise, and that is all there is of {cell}",
        "lead_includes_one": f"the interval of the lead includes 1 ({low} to {high})",
        "no_rival": "the other backend has no eligible cell",
        "untrained_model": "the model is small and untrained",
        "stand_in": (
            f"a part of {name}'s server was code of this project, so its speed is not to be quoted"
        ),
        "hosts_without_cost": "the backends ran on different hosts and no cost is given for both",
        "other_work": server.other_work(of.share, name),
        "client_elsewhere": f"{server.client_away([name])}: {round_trip}",
        "compiles_hidden": server.compiles_hidden(name),
        "requests_repeated": f"{name}'s server was sent requests twice, {cached}",
        "repetition_unknown": (
            f"whether {name}'s server was sent its requests before is not known, {cached}"
        ),
        "oracle_differs": oracle.differs({name: of.difference}),
        "other_prompt": f"{name} scores another prompt: {prompt}",
        "oracle_not_compared": oracle.not_compared([name]),
        "noise": noise(f"{name}'s answers", of.difference),
        "starts_not_probed": f"whether {name}'s scores depend on its server's start is not known",
        "unstable": f"{cell} is unstable: {instability(of.instability)}",
        "compiled": f"{cell} {server.compiled(server.timed_passes(of.passes))}",
        "other_mode": f"{cell} was scored {used}, while its server's settings ask for {asked}",
        "prefix_cache": f"{cell} {server.cache_excess(of.passes)}",
        "gate_untested": (
            f"{UNTESTED} for {cell}: there is {f.join([f'one {what}' for what in of.only])}"
        ),
    }
    return words[of.code]
