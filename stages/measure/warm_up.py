"""Decides when a chunk size is warm: its passes no longer compile anything."""

from __future__ import annotations

from collections.abc import Sequence

from stages.documents.matrix import CallRecord
from stages.measure.passes import pass_seconds

STEADY = 1.25
"""How much two warm-up passes in a row may differ, where compilations are hidden."""


def is_warm(calls: Sequence[CallRecord], least: int, *, compiles_hidden: bool) -> bool:
    """Whether the next pass of a chunk size may be timed.

    A pass was timed already, or there were ``least`` warm-up passes and the last one compiled
    nothing. Where compilations are hidden, the last two must have taken about as long instead:
    a pass that compiles takes many times as long as one that does not.

    Args:
        calls: of this workload and chunk size in this server session, in measuring order.
        least: warm-up passes at least.
        compiles_hidden: whether the server compiles, but its log cannot be read.
    """
    if any(call.phase != "warmup" for call in calls):
        return True
    runs = list(dict.fromkeys(call.run for call in calls))
    if len(runs) < least:
        return False
    last, *before = ([call for call in calls if call.run == run] for run in runs[:-3:-1])
    if any(call.status != "ok" for call in last):
        return False
    if not compiles_hidden:
        return not last[-1].compiles
    seconds = [s for s in map(pass_seconds, (last, *before)) if s is not None]
    return len(seconds) == 2 and max(seconds) <= STEADY * min(seconds)
