"""What lowers the confidence where a server was started elsewhere. Pure."""

from __future__ import annotations

import urllib.parse
from collections.abc import Sequence

from stages.common.numbers import milliseconds, percent
from stages.contract import BACKEND_NAMES
from stages.documents.comparison import Cell
from stages.documents.matrix import Provenance


def server_host(source: Provenance) -> str:
    """The host its server ran on, by the name that is known here."""
    base_url, elsewhere = source.contract.base_url, source.elsewhere
    if base_url is None or elsewhere is None or elsewhere.same_machine:
        return source.host.name
    return urllib.parse.urlsplit(base_url).hostname or base_url


def elsewhere_flags(sources: Sequence[Provenance], cells: Sequence[Cell]) -> list[str]:
    """A client far from its server, unseen compilations, answers that may come from a cache."""
    flags = []
    for source in sources:
        name, elsewhere = BACKEND_NAMES[source.backend], source.elsewhere
        if elsewhere is None:
            continue
        if not elsewhere.same_machine:
            mine = [cell for cell in cells if cell.backend == source.backend]
            flags.append(f"the client was not on {name}'s machine: {_round_trip(source, mine)}")
        if elsewhere.compiles_hidden:
            flags.append(f"whether {name} compiled inside a timed pass could not be seen")
        if source.requests_repeated and source.contract.allows_prefix_cache:
            flags.append(
                f"{name}'s server was sent requests twice, and its prefix cache may have answered"
                " them"
            )
    return flags


def _round_trip(source: Provenance, mine: Sequence[Cell]) -> str:
    if source.round_trip is None:
        return "what a round trip took is not known"
    took = f"a round trip took {milliseconds(source.round_trip.largest_s)} ms"
    cell = min(mine, key=lambda cell: cell.chunk_size)
    if cell.round_trip_share is None:
        return took
    return (
        f"{took}, which over its calls is {percent(cell.round_trip_share)} of the median pass"
        f" at chunk {cell.chunk_size}"
    )
