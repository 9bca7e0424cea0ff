"""What lowers the confidence where a server was started elsewhere. Pure."""

from __future__ import annotations

import urllib.parse
from collections.abc import Sequence

from stages.documents.comparison import Cell, Flag
from stages.documents.matrix import Provenance


def server_host(source: Provenance) -> str:
    """The host its server ran on, by the name that is known here."""
    base_url, elsewhere = source.contract.base_url, source.elsewhere
    if base_url is None or elsewhere is None or elsewhere.same_machine:
        return source.host.name
    return urllib.parse.urlsplit(base_url).hostname or base_url


def elsewhere_flags(sources: Sequence[Provenance], cells: Sequence[Cell]) -> list[Flag]:
    """A client far from its server, and compilations that nobody could see."""
    flags = []
    for source in sources:
        if source.elsewhere is None:
            continue
        if not source.elsewhere.same_machine:
            mine = [cell for cell in cells if cell.backend == source.backend]
            flags.append(_far(source, min(mine, key=lambda cell: cell.chunk_size)))
        if source.elsewhere.compiles_hidden:
            flags.append(Flag(code="compiles_hidden", backend=source.backend))
    return flags


def _far(source: Provenance, cell: Cell) -> Flag:
    """A cell of the smallest chunk size makes the most round trips."""
    return Flag(
        code="client_elsewhere",
        backend=source.backend,
        chunk_size=cell.chunk_size,
        round_trip_s=source.round_trip.largest_s if source.round_trip else None,
        share=cell.round_trip_share,
    )
