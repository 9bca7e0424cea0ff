"""What the oracle says, in words."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from stages.documents.comparison import ViewComparison
from stages.report import format as f


def not_compared(names: Sequence[str]) -> str:
    """That the oracle says nothing of these backends."""
    return f"the oracle has nothing to compare {f.join(names)} with"


def differs(distances: Mapping[str, float | None]) -> str:
    """How far each backend's scores are from the oracle's, at most."""
    (name, first), *others = distances.items()
    rest = "".join(f", {other} by up to {f.difference(far)}" for other, far in others)
    return f"{name} differs from the oracle by up to {f.difference(first)}{rest}"


def oracle(view: ViewComparison) -> str:
    """Which backend the oracle sides with, and how far it is from each."""
    unknown = [view.pair.title(b) for b, found in view.oracle.items() if found.agrees is None]
    if unknown:
        return not_compared(unknown)
    far = differs({view.pair.title(b): found.max_abs_diff for b, found in view.oracle.items()})
    side = view.oracle_sides_with
    if side == "both":
        return f"the oracle agrees with both backends ({far})"
    if side in view.pair.both:
        return f"the oracle sides with {view.pair.title(side)}: {far}"
    return f"the oracle agrees with neither backend: {far}"
