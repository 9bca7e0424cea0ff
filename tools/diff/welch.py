"""Whether two cells differ by more than the noise of their passes.

Welch's comparison of the logarithms of two means, and Holm's correction for many of them.
Degrees of freedom are rounded down to whole numbers, which makes the test slightly conservative.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from stages.common.student import relative_error, student_p, student_quantile, welch


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
        reach = float(student_quantile(1 - level / 2, self.freedom))
        factor = math.exp(min(reach * self.error, 700.0))
        return self.ratio / factor, self.ratio * factor


def contrast(before: Sequence[float], after: Sequence[float]) -> Contrast | None:
    """Compare the seconds of two cells' passes; ``None`` with fewer than two on either side."""
    if min(len(before), len(after)) < 2:
        return None
    old, new = np.array(before), np.array(after)
    if not (np.isfinite(old).all() and np.isfinite(new).all() and old.min() > 0 < new.min()):
        return None
    ratio = float(old.mean() / new.mean())
    errors = relative_error(old), relative_error(new)
    error, freedom = (float(one) for one in welch(*errors, old.size - 1, new.size - 1))
    if error == 0:
        return Contrast(ratio, 0.0, 1, 1.0 if ratio == 1 else 0.0)
    p = student_p(abs(math.log(ratio)) / error, int(freedom))
    return Contrast(ratio, error, int(freedom), p)


def holm(p_values: Sequence[float], level: float) -> list[float]:
    """The significance level of each test, which keeps the family-wise error rate at ``level``.

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
