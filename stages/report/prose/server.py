"""What happened to the server, the machine and the client while passes were timed, in words."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence

from stages.contract import VIEWS, Backend
from stages.documents.cell import MatrixKey
from stages.documents.comparison import BUSY, Cell, Pair
from stages.report import format as f


def is_unavailable(backends: Iterable[Backend], pair: Pair) -> str:
    """``JAX is unavailable``."""
    names = pair.titles(backends)
    return f"{f.join(names)} {'is' if len(names) == 1 else 'are'} unavailable"


def is_unavailable_where(missing: Collection[MatrixKey], pair: Pair) -> str:
    """``JAX is unavailable``; in one view alone, ``JAX is unavailable in the portable view``."""
    views = {b: [v for v in VIEWS if MatrixKey(b, v) in missing] for b in pair.both}
    whole = [backend for backend, found in views.items() if len(found) == len(VIEWS)]
    said = [is_unavailable(whole, pair)] if whole else []
    for backend, found in views.items():
        if found and backend not in whole:
            where = f.join([f.VIEW_NAMES[view] for view in found])
            said.append(f"{is_unavailable([backend], pair)} in the {where} view")
    return f.join(said)


def failures(kinds: Mapping[str, int]) -> str:
    """Failed passes by kind: ``oom in 1 pass and timeout in 2 passes``; empty without any."""
    return f.join(
        [f"{kind} in {f.count(n, 'pass', 'passes')}" for kind, n in sorted(kinds.items())]
    )


def timed_passes(passes: int | None) -> str:
    """``1 timed pass``, ``2 timed passes``."""
    return f.count(passes or 0, "timed pass", "timed passes")


def compiled(*passes: str) -> str:
    """In which timed passes the server compiled: ``compiled in 1 timed pass at chunk size 2``."""
    return f"compiled in {f.join(passes)}"


def compiles_hidden(name: str) -> str:
    """That compilations of ``name``'s server could not be seen."""
    return f"whether {name}'s server compiled in a timed pass could not be seen"


def cache_excess(passes: int | None) -> str:
    """In how many timed passes the prefix cache gave more than the view allows."""
    return f"took more from its prefix cache than allowed in {timed_passes(passes)}"


def cpu_share(share: float | None) -> str:
    """The share of the CPU time that other work took, rounded so that a busy machine reads busy."""
    return "not known" if share is None else f.percent(share, BUSY)


def other_work(share: float | None, name: str) -> str:
    """How much CPU time other work took while ``name`` was timed."""
    return f"other work took {cpu_share(share)} of the machine's CPU time while {name} was timed"


def client_away(servers: Sequence[str]) -> str:
    """That the client was on another machine than these servers."""
    return f"the client was not on the server's machine ({'; '.join(servers)})"


def longest_round_trip(longest_s: float | None, share: float | None, where: str) -> str:
    """The longest round trip, and how much of the median pass ``where`` it takes.

    Args:
        longest_s: in seconds; ``None`` where none was measured.
        share: one round trip for each call over the median pass; ``None`` where not known.
        where: the cell.
    """
    if longest_s is None:
        return "how long a round trip takes is not known"
    took = f"the longest round trip took {f.milliseconds(longest_s)} ms"
    if share is None:
        return took
    return (
        f"{took}, and one for each call is at most {f.percent_at_most(share)} of the median pass"
        f" of {where}"
    )


def first_run(cell: Cell, pair: Pair) -> str:
    """The first-run penalty of ``cell``."""
    penalty = f.factor(cell.first_run_penalty or 0)
    return f"the first warm-up pass took {penalty} the median timed pass ({f.at(cell, pair)})"
