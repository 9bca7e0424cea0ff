"""Whether overlap changes scores: each loaded answer against its unloaded twin.

The twin is the same request, sent to the same server session with nothing else in flight.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Answered:
    """The scores of one request under load and of its twin.

    Attributes:
        loaded, alone: label scores, item by item; ``None`` where the request failed.
    """

    loaded: Sequence[float] | None
    alone: Sequence[float] | None


@dataclass(frozen=True, slots=True)
class Parity:
    """How far loaded answers are from their twins.

    Attributes:
        compared: requests that were answered both times.
        not_compared: requests that failed once or twice.
        changed: of those compared, how many differ by more than the limit in some score.
        max_abs_diff: the largest difference of a score, infinite where one is not a number or has
            no counterpart; ``None`` where nothing was compared.
        worst: which of the answers handed in has that difference, from 0.
    """

    compared: int
    not_compared: int
    changed: int
    max_abs_diff: float | None
    worst: int | None


def parity(answers: Sequence[Answered], limit: float) -> Parity:
    """Compare every request with its twin.

    Args:
        answers: of a level or of several, in order.
        limit: on the difference of a score, the gate's.
    """
    found = [
        (_difference(one.loaded, one.alone), place)
        for place, one in enumerate(answers)
        if one.loaded is not None and one.alone is not None
    ]
    largest, worst = max(found, key=lambda one: one[0], default=(None, None))
    return Parity(
        compared=len(found),
        not_compared=len(answers) - len(found),
        changed=sum(difference > limit for difference, _ in found),
        max_abs_diff=largest,
        worst=worst,
    )


def _difference(loaded: Sequence[float], alone: Sequence[float]) -> float:
    if len(loaded) != len(alone):
        return math.inf
    differences = [abs(one - other) for one, other in zip(loaded, alone, strict=True)]
    # A NaN would lose every comparison.
    return max((d if d == d else math.inf for d in differences), default=0.0)
