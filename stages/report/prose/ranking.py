"""The candidate's order of the items against the reference's, in words."""

from __future__ import annotations

from stages.documents.comparison import FlippedPair, Ranking, Reason
from stages.report import format as f

UNTOLD = "no two items' scores can be told apart"
OTHER_ORDER = "the items are not in the reference's order"
ONE_ITEM = "the workload has one item, which has only one order"


def changed(found: Ranking) -> str:
    """How far the order of a cell is from the reference's; each figure from its worst pass."""
    widest = "" if found.widest_flip is None else f" (the widest: {flip(found.widest_flip)})"
    ten = "" if found.top_10 in (None, 10) else f", {found.top_10} of the first 10 the same"
    first = ", another item first" if found.top_1 is False else ""
    return f"{tau(found)}, {flipped(found)}{widest}{ten}{first}"


def tau(found: Ranking) -> str:
    """``Kendall's tau-b 0.994``."""
    return f"Kendall's tau-b {f.correlation(found.tau)}"


def flipped(found: Ranking) -> str:
    """``3 flipped pairs of 496``."""
    return f"{f.count(found.flipped_pairs or 0, 'flipped pair')} of {found.pairs or 0:,}"


def flip(of: FlippedPair) -> str:
    """Which two items, and how far apart the reference scores them."""
    return f"{f.items(of.items)}, {f.difference(of.difference)} apart"


def tied(noise: float | None) -> str:
    """Which pairs of items count as tied."""
    if noise is None:
        return "the noise floor is not known, so every difference counts"
    if not noise:
        return "the noise floor is 0, so every difference counts"
    return f"items up to the noise floor of {f.difference(noise)} apart are tied"


def failed(of: Reason) -> str:
    """That a cell fails the gate of the ranking, with both limits."""
    pairs = f.count(of.flips or 0, "flipped pair")
    return (
        f"{OTHER_ORDER}: Kendall's tau-b {f.correlation(of.tau, of.min_tau)} (at least"
        f" {f.plain(of.min_tau or 0.0)} allowed), {pairs} (at most {of.max_flips:,} allowed)"
    )
