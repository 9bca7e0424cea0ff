"""Draws the seconds of simulated cells from noise with a known mean and median.

Four kinds of noise count. Their mean is one second, and so is their median, except for lognormal
noise. The standard deviation of a pass is 10 %:

- normal;
- lognormal, skewed towards slow passes (the median is below the mean);
- bimodal: a fast and a slow mode, equally likely, each with a spread of 3 %;
- drift: a linear trend over the passes, plus normal noise of the same variance.

Two more kinds show a limit and do not count: a slow mode with a share of 3 or of 1 in 10 passes. A
cell whose few passes are all fast contains no sign of the slow mode.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np

from stages.compare.intervals import Array

VARIATION = 0.10
WITHIN_MODE = 0.03
SEED = 11

type Side = Literal["numerator", "denominator"]


@dataclass(frozen=True, slots=True)
class Noise:
    """A kind of noise with known truth.

    Attributes:
        draw: (generator, cells, passes) -> seconds, shape ``(cells, passes)``.
        mean, median: the true values, in seconds.
    """

    draw: Callable[[np.random.Generator, int, int], Array]
    mean: float
    median: float


def _normal(random: np.random.Generator, cells: int, passes: int) -> Array:
    return 1 + VARIATION * random.standard_normal((cells, passes))


_LOG_VARIANCE = math.log(1 + VARIATION**2)


def _lognormal(random: np.random.Generator, cells: int, passes: int) -> Array:
    logs = random.standard_normal((cells, passes)) * math.sqrt(_LOG_VARIANCE)
    return np.exp(logs - _LOG_VARIANCE / 2)


def _drift(random: np.random.Generator, cells: int, passes: int) -> Array:
    line = np.linspace(-1, 1, passes)
    line /= line.std()
    noise = random.standard_normal((cells, passes))
    return 1 + VARIATION * math.sqrt(0.5) * (line + noise)


def _modes(slow_share: float) -> Callable[[np.random.Generator, int, int], Array]:
    gap = math.sqrt((VARIATION**2 - WITHIN_MODE**2) / (slow_share * (1 - slow_share)))

    def draw(random: np.random.Generator, cells: int, passes: int) -> Array:
        slow = random.random((cells, passes)) < slow_share
        noise = random.standard_normal((cells, passes))
        return 1 + gap * (slow - slow_share) + WITHIN_MODE * noise

    return draw


NOISES: Mapping[str, Noise] = {
    "normal": Noise(_normal, 1.0, 1.0),
    "lognormal": Noise(_lognormal, 1.0, math.exp(-_LOG_VARIANCE / 2)),
    "bimodal": Noise(_modes(0.5), 1.0, 1.0),
    "drift": Noise(_drift, 1.0, 1.0),
}
LIMITS: Mapping[str, Noise] = {
    "slow 3 of 10": Noise(_modes(0.3), 1.0, math.nan),
    "slow 1 of 10": Noise(_modes(0.1), 1.0, math.nan),
}


@functools.lru_cache(maxsize=16)
def cells_of(name: str, passes: int, draws: int, side: Side = "numerator") -> Array:
    """``draws`` cells of one kind of noise, the same on every call. Do not write to the array.

    The cells of the two sides of a ratio are independent.
    """
    every = {**NOISES, **LIMITS}
    seed = [SEED, list(every).index(name), passes, *([1] if side == "denominator" else [])]
    return every[name].draw(np.random.Generator(np.random.PCG64(seed)), draws, passes)


def spread(seconds: Array, share: float) -> Array:
    """The same noise around one second with its spread multiplied by ``share``."""
    return seconds if share == 1 else 1 + share * (seconds - 1)
