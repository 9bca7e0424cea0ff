"""How many passes would separate the means of two cells."""

from __future__ import annotations

import math
from statistics import NormalDist

from stages.documents.comparison import Cell

LEVEL = 0.95
POWER = 0.80


def passes_to_decide(one: Cell, other: Cell) -> int | None:
    """Passes per cell that would tell the means of two cells apart at the noise they showed.

    Welch's two-sample comparison, two-sided at ``LEVEL``, with ``POWER`` to find the
    difference if it is the measured one, by the normal approximation::

        n = (z(0.975) + z(0.80))^2 (s1^2 + s2^2) / (m1 - m2)^2

    Returns:
        ``None`` where a figure is absent or the means are equal. Also where no more passes are
        needed than were made: then something other than the means leaves the winner open.
    """
    if one.mean_s is None or other.mean_s is None or one.std_s is None or other.std_s is None:
        return None
    difference = one.mean_s - other.mean_s
    if difference == 0:
        return None
    normal = NormalDist()
    reach = normal.inv_cdf(0.5 + LEVEL / 2) + normal.inv_cdf(POWER)
    needed = reach**2 * (one.std_s**2 + other.std_s**2) / difference**2
    if not math.isfinite(needed) or needed <= min(one.good_passes, other.good_passes):
        return None
    return math.ceil(needed)
