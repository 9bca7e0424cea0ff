"""What lowers the confidence where a server was started elsewhere."""

from __future__ import annotations

import urllib.parse
from collections.abc import Sequence

from stages.documents.comparison import Cell, Flag, FlagCode
from stages.documents.matrix import Provenance


def server_host(source: Provenance) -> str:
    """The host its server ran on, by the name that is known here."""
    base_url, elsewhere = source.contract.base_url, source.run.elsewhere
    if base_url is None or elsewhere is None or elsewhere.same_machine:
        return source.run.host.name
    return urllib.parse.urlsplit(base_url).hostname or base_url


def elsewhere_flags(sources: Sequence[Provenance], cells: Sequence[Cell]) -> list[Flag]:
    """A client far from its server, unseen compilations, answers that may come from a cache."""
    flags = []
    for source in sources:
        if source.run.elsewhere is None:
            continue
        if not source.run.elsewhere.same_machine:
            mine = [cell for cell in cells if cell.backend == source.backend]
            flags.append(_far(source, min(mine, key=lambda cell: cell.chunk_size)))
        if source.run.elsewhere.compiles_hidden:
            flags.append(Flag(code="compiles_hidden", backend=source.backend))
        repeated = source.run.requests_repeated
        if repeated is not False and source.contract.allows_prefix_cache:
            code: FlagCode = "requests_repeated" if repeated else "repetition_unknown"
            flags.append(Flag(code=code, backend=source.backend))
    return flags


def _far(source: Provenance, cell: Cell) -> Flag:
    """A cell of the smallest chunk size makes the most round trips."""
    return Flag(
        code="client_elsewhere",
        backend=source.backend,
        chunk_size=cell.chunk_size,
        round_trip_s=source.run.round_trip.largest_s if source.run.round_trip else None,
        share=cell.round_trip_share,
    )
