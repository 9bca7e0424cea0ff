"""What the report says of further starts of a server, where the contract asks for any."""

from __future__ import annotations

from collections.abc import Iterator

from stages.contract import Backend
from stages.documents.comparison import Comparison, Starts, ViewComparison
from stages.report import format as f
from stages.report.checks import Answer, barring
from stages.report.prose import starts as say

NAME = "Extra starts"
PROVES = (
    "scores must not depend on the start of the server. Each further start is sent the probes, and"
    " must answer as the measured session did, to within the limit of the isolation check."
)


def starts_answer(view: ViewComparison, backend: Backend) -> Answer:
    """Whether further starts of one backend's server gave the measured session's scores."""
    found = view.starts.get(backend)
    if found is None:
        return Answer("not asked for", "the contract asks for no extra start")
    if found.verdict == "agree":
        return Answer("agree", say.agree(found))
    if found.verdict == "not_probed":
        where, why = f.backend_view(backend, view.view, view.pair), say.not_probed(found)
        return Answer("not probed", why, [f"{where}: {why}."])
    also = _also_failed(found)
    most = f"; most: {f.layout(found.worst_layout or '')}, in extra start {found.worst_start}"
    return barring(view, backend, "differ", f"{say.differ(found)}{most}{also}")


def starts_sentences(comparison: Comparison) -> Iterator[str]:
    """What further starts say in each view; nothing where none was asked for."""
    every = [
        (view.starts[b], f.backend_view(b, view.view, comparison.pair))
        for view in comparison.views()
        for b in comparison.pair.both
        if b in view.starts and b not in view.unavailable
    ]
    for found, where in every:
        if found.verdict == "differ":
            yield f"{where}: {say.differ(found)}{_also_failed(found)}."
    for found, where in every:
        if found.verdict == "not_probed":
            yield f"{where}: {say.not_probed(found)}."
    if every and all(found.verdict == "agree" for found, _ in every):
        found, where = max(every, key=lambda one: one[0].largest_difference or 0.0)
        yield f"Extra starts of the servers gave the same scores ({where}: {say.agree(found)})."


def _also_failed(found: Starts) -> str:
    """Which starts neither agree nor differ; may be empty."""
    return f"; {say.failed(found)}" if found.failed else ""
