"""Whether two cells differ by more than their passes do by themselves. Pure.

Welch's comparison of the logarithms of two means, and Holm's correction for many of them.
Whole degrees of freedom, rounded down, keep it on the careful side and its series finite.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, slots=True)
class Contrast:
    """How much faster one cell is than another.

    Attributes:
        ratio: mean seconds before / mean seconds after: above 1 it became faster.
        error: standard error of the ratio's logarithm.
        freedom: degrees of freedom, at least 1.
        p: probability of a ratio at least this far from 1, either way, between equal cells.
    """

    ratio: float
    error: float
    freedom: int
    p: float

    def bounds(self, level: float) -> tuple[float, float]:
        """Ends of the ratio's interval, which leaves out 1 exactly where p is below ``level``."""
        factor = math.exp(min(student_critical(level, self.freedom) * self.error, 700.0))
        return self.ratio / factor, self.ratio * factor


def contrast(before: Sequence[float], after: Sequence[float]) -> Contrast | None:
    """Compare the seconds of two cells' passes; ``None`` with fewer than two on either side."""
    if min(len(before), len(after)) < 2:
        return None
    old, new = np.array(before), np.array(after)
    if not (np.isfinite(old).all() and np.isfinite(new).all() and old.min() > 0 < new.min()):
        return None
    ratio = float(old.mean() / new.mean())
    # To first order the error of a mean's logarithm is the mean's own error over the mean.
    parts = [float(s.var(ddof=1)) / s.size / float(s.mean()) ** 2 for s in (old, new)]
    variance = sum(parts)
    if variance == 0:
        return Contrast(ratio, 0.0, 1, 1.0 if ratio == 1 else 0.0)
    spread = sum(p**2 / (s.size - 1) for p, s in zip(parts, (old, new), strict=True))
    # Two equal spreads of 5 passes have 8 degrees of freedom, not 7.999….
    freedom = max(1, math.floor(variance**2 / spread * (1 + 1e-9)))
    error = math.sqrt(variance)
    return Contrast(ratio, error, freedom, student_p(abs(math.log(ratio)) / error, freedom))


def student_p(value: float, freedom: int) -> float:
    """Probability that Student's t is at least ``value`` away from zero, either way.

    The finite series for whole degrees of freedom: Abramowitz and Stegun, 26.7.3 and 26.7.4.
    """
    angle = math.atan(value / math.sqrt(freedom))
    cos, sin = math.cos(angle), math.sin(angle)
    odd = freedom % 2
    term = cos if odd else 1.0
    series = term if freedom > 1 else 0.0
    for k in range(2 + odd, freedom, 2):
        term *= cos * cos * (k - 1) / k
        series += term
    between = 2 / math.pi * (angle + sin * series) if odd else sin * series
    return max(0.0, 1 - between)


@functools.cache
def student_critical(level: float, freedom: int) -> float:
    """The ``value`` at which :func:`student_p` is ``level``, above 0 and up to 1; by bisection."""
    low, high = 0.0, 1.0
    while student_p(high, freedom) > level:
        high *= 2
    while low < (middle := (low + high) / 2) < high:
        if student_p(middle, freedom) > level:
            low = middle
        else:
            high = middle
    return high


def holm(p_values: Sequence[float], level: float) -> list[float]:
    """The level at which each is judged, so that all false alarms together stay at ``level``.

    The smallest p is judged at level / m, the next at level / (m - 1) and so on up to the
    first that is not below its level; all from there on are judged at that one's.
    A p is significant where it is at most its level. Holm (1979), Scand. J. Statist. 6, 65.
    """
    levels = [level] * len(p_values)
    judged, failed = 0.0, False
    for rank, index in enumerate(sorted(range(len(p_values)), key=p_values.__getitem__)):
        if not failed:
            judged = level / (len(p_values) - rank)
            failed = p_values[index] > judged
        levels[index] = judged
    return levels
