"""What further starts of a server say about its scores, in words."""

from __future__ import annotations

from stages.documents.comparison import Reason, Starts
from stages.report import format as f


def otherwise(of: Reason) -> str:
    """How many further starts gave other scores, and the item that differs most."""
    item = of.items[0] if of.items else None
    return _otherwise(of.starts, of.of_starts, item, of.change, of.limit)


def differ(found: Starts) -> str:
    """The same, of a verdict."""
    return _otherwise(
        len(found.differing),
        found.planned,
        found.worst_item,
        found.largest_difference,
        found.limit,
    )


def _otherwise(
    number: int | None,
    planned: int | None,
    item: int | None,
    change: float | None,
    limit: float | None,
) -> str:
    return (
        f"scores depend on the server's start: {number} of {f.count(planned or 0, 'extra start')}"
        f" answered otherwise (item {item} by {f.difference(change)}, limit {f.difference(limit)})"
    )


def agree(found: Starts) -> str:
    """How near the answers of further starts are to those of the measured session."""
    of = f.count(found.planned, "extra start")
    if not found.largest_difference:
        return f"{of} gave the measured session's answers"
    return (
        f"{of}: answers differ from the measured session's by at most"
        f" {f.difference(found.largest_difference)}, limit {f.difference(found.limit)}"
    )


def not_probed(found: Starts) -> str:
    """Why it is not known whether the scores depend on the start."""
    if found.missing == "elsewhere":
        return "the server was started elsewhere, so it was not started again"
    if found.missing == "unanswered":
        return "the measured session answered no probe"
    return failed(found)


def failed(found: Starts) -> str:
    """Which starts did not answer every probe, and why the first of them did not; may be empty."""
    if not found.failed:
        return ""
    first, numbers = found.failed[0], [str(one.start) for one in found.failed]
    starts = f"extra start{'s' if len(numbers) > 1 else ''} {f.join(numbers)} of {found.planned}"
    why = f"{first.status}: {first.detail}" if first.detail else first.status
    of_first = "the first: " if len(numbers) > 1 else ""
    return f"{starts} did not answer every probe ({of_first}{why})"
