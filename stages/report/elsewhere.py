"""Where a server ran, launched here or started elsewhere, in words.

What a server started elsewhere reports of itself is printed as it is, and cannot be verified.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterator

from stages.common.errors import one_line
from stages.documents.comparison import Comparison, MatrixSource
from stages.documents.matrix import ModelCheck
from stages.report import format as f
from stages.report.prose.server import client_away, compiles_hidden, longest_round_trip
from stages.report.ratios import cells

_MODEL_CHECKS: dict[ModelCheck, str] = {
    "revision": "by repository and revision",
    "hash": "by the hash of its folder",
    "none": "not verified: only its scores show which model it is",
}


def where(source: MatrixSource) -> str:
    """Where the server was."""
    if source.base_url is None:
        return "launched here"
    return f"started elsewhere, at {source.base_url}"


def client_at(source: MatrixSource) -> str:
    """Where the client was, seen from the server."""
    if source.run.elsewhere is None:
        return "on the server's machine" if source.base_url is None else f.ABSENT
    here = source.run.elsewhere.same_machine
    return "on the server's machine, by its address" if here else "on another machine"


def model_checked(source: MatrixSource) -> str:
    """How the server's model was verified."""
    if source.run.elsewhere is None:
        return "given at launch" if source.base_url is None else f.ABSENT
    return _MODEL_CHECKS[source.run.elsewhere.model_check]


def round_trip(source: MatrixSource) -> str:
    """What a round trip took before and after the passes."""
    if source.run.round_trip is None:
        return "not known"
    after = source.run.round_trip.after_s
    before = f"{f.milliseconds(source.run.round_trip.before_s)} ms before the passes"
    return before if after is None else f"{before}, {f.milliseconds(after)} ms after"


def command(source: MatrixSource) -> str:
    """The command line of a server launched here; the settings one started elsewhere reports."""
    if source.base_url is None:
        return shlex.join(source.run.argv)
    if source.run.elsewhere is None:
        return f"not asked: {source.base_url}"
    reported = source.run.elsewhere
    lines = [f"{name}: {_value(value)}" for name, value in reported.settings.items()]
    return "\n".join(
        [
            f"Started elsewhere, at {source.base_url}. Of its settings it reports:",
            f"model_path: {_value(reported.model_path)}",
            *lines,
            f"SHA-256 of all settings, keys left out: {reported.settings_sha256}",
        ]
    )


def _value(value: bool | int | float | str | None) -> str:
    return "not set" if value is None else one_line(str(value))


def frozen(comparison: Comparison) -> str:
    """In which sense the baseline is frozen."""
    name = comparison.pair.reference.title
    said = f"The {name} baseline is frozen: its version and every dependency are pinned by hash,"
    said += " and its scoring code is not changed."
    foreign = [
        s
        for s in comparison.sources
        if s.backend == comparison.pair.reference.key and s.base_url is not None
    ]
    if not foreign:
        return said
    names = f.join([f"{f.VIEW_NAMES[source.view]} view" for source in foreign])
    versions = f.join(sorted({source.run.backend_version or "not known" for source in foreign}))
    return (
        f"The {name} baseline was started elsewhere in the {names}: it reports version"
        f" {versions}; its dependencies, and whether its code was changed, are not known here."
    )


def hides_compiles(source: MatrixSource) -> bool:
    """Whether its compilations could not be seen."""
    return source.run.elsewhere is not None and source.run.elsewhere.compiles_hidden


def hidden_compiles(comparison: Comparison) -> Iterator[str]:
    """A sentence for each backend whose compilations could not be seen."""
    for backend in comparison.pair.both:
        views = [
            f"{f.VIEW_NAMES[s.view]} view"
            for s in comparison.sources
            if s.backend == backend and hides_compiles(s)
        ]
        if views:
            hidden = compiles_hidden(comparison.pair.title(backend))
            yield f.sentence(f"{hidden} in the {f.join(views)}: its log is on its own machine")


def round_trips(comparison: Comparison) -> str:
    """The largest share of a pass that round trips take."""
    known = [c for c in cells(comparison) if c.round_trip_share is not None]
    took = [s.run.round_trip.largest_s for s in comparison.sources if s.run.round_trip is not None]
    if not known:
        return f.sentence(longest_round_trip(None, None, ""))
    most = max(known, key=lambda cell: cell.round_trip_share or 0)
    longest = longest_round_trip(max(took), most.round_trip_share, f.at(most, comparison.pair))
    far = [
        f.backend_view(s.backend, s.view, comparison.pair)
        for s in comparison.sources
        if s.run.elsewhere is not None and not s.run.elsewhere.same_machine
    ]
    client = f" {f.sentence(client_away(far))}" if far else ""
    return f"{f.sentence(longest)}{client}"
