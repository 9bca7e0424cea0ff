"""What the oracle says of both backends of a view."""

from __future__ import annotations

from stages.documents.comparison import ViewComparison
from stages.report import format as f


def oracle(view: ViewComparison) -> str:
    """Which backend the oracle sides with, and how far it is from each."""
    unknown = [view.pair.title(b) for b, found in view.oracle.items() if found.agrees is None]
    if unknown:
        return f"The oracle has nothing to compare {f.join(unknown)} with."
    far = ", ".join(
        f"{view.pair.title(b)} by up to {f.difference(found.max_abs_diff)}"
        for b, found in view.oracle.items()
    )
    if view.oracle_sides_with == "both":
        return f"The oracle agrees with both backends (it differs from {far})."
    if view.oracle_sides_with in view.pair.both:
        right = view.pair.title(view.oracle_sides_with)
        return f"The oracle sides with {right}: it differs from {far}."
    return f"The oracle agrees with neither backend: it differs from {far}."
