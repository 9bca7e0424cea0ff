"""When requests arrive under load: a Poisson process that follows from a seed."""

from __future__ import annotations

import math
import random
from itertools import accumulate


def poisson_arrivals(seed: int, count: int) -> list[float]:
    """Arrival times of ``count`` requests at one request per second on average.

    The gaps are independent and exponential. Divided by a rate, the times are arrivals at that rate
    and in the same pattern, so two backends under the same seed see identical arrivals, whichever
    rates they are offered.

    Args:
        seed: the same seed gives the same times in every Python and on every machine.
        count: of requests.

    Returns:
        Seconds from the beginning, rising. The first is not 0: a Poisson process begins with a gap.
    """
    # The generator's stream of `random()` is the same in every version of Python.
    draw = random.Random(seed)  # noqa: S311  arrivals are no secret
    return list(accumulate(-math.log1p(-draw.random()) for _ in range(count)))
