"""How many requests per second a server answers within a latency bound, with an interval.

A *level* offers requests at one rate. Its *misses* are the requests that were later than the bound
or failed. The capacity is the rate at which the share of misses is just what the bound allows, such
as 5 % for a p95.

Near that rate, and while the share is small, its logarithm rises about linearly with the rate: in
an M/M/1 queue it does so exactly. So the capacity follows from a line through several levels. The
misses of one level come in bunches, because whoever waits makes the next ones wait, so levels
scatter more than independent misses would. The scatter of the levels around the line says by how
much.

``python -m benchmarks.capacity`` simulates the coverage on queues of known capacity. A search by
:class:`RateSearch` chooses the rates; without misses on both sides of the capacity there is no line
to fit.

Sources: the quasi-Poisson model, McCullagh and Nelder, Generalized Linear Models, 2nd edition
(1989), section 6.2; the interval, Fieller, J. R. Stat. Soc. B 16 (1954), 175-185.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from stages.common.student import student_quantile

type Array = npt.NDArray[np.float64]

CONFIDENCE = 0.95

WINDOW = 0.35
"""Levels further from the capacity than this share of it say little about it: the logarithm of the
share of misses is a line only near by."""

MANY = 8.0
"""Rates at which there are more misses than this times what is allowed are left out: a share near 1
cannot rise along the line."""

_BISECTIONS = 4
"""Levels that look for the capacity before others settle it."""

_OFFSETS = (-0.20, 0.10, -0.10, 0.20)
"""Where the levels that settle it lie around the capacity as it is known so far, in turn. Nearer
ones would leave the line's slope open, and with it the interval."""

_NEARER = 0.7
"""By which the levels move towards the capacity where one had more misses than can be used."""

_LARGEST_STEP = 0.15
"""By which the capacity as it is known so far moves from one level to the next."""

_ROUNDS, _SETTLED, _FEWEST_LEVELS = 50, 1e-9, 4


@dataclass(frozen=True, slots=True)
class LevelCount:
    """What became of the requests of one level.

    Attributes:
        rate: offered, in requests per second.
        requests: that were judged.
        misses: of these, later than the bound, failed, or not sent any more because the level was
            saturated.
    """

    rate: float
    requests: int
    misses: int


@dataclass(frozen=True, slots=True)
class Capacity:
    """The largest offered rate that meets the bound, in requests per second.

    Attributes:
        rate: the estimate.
        low, high: its interval at ``CONFIDENCE``; ``None`` where the levels do not bound it on
            both sides.
        levels: that it follows from.
        scatter: of the levels around the line: the variance over that of independent misses, at
            least 1.
    """

    rate: float
    low: float | None
    high: float | None
    levels: int
    scatter: float


@dataclass(frozen=True, slots=True)
class Line:
    """The logarithm of the share of misses over the rate: ``at_zero + slope * rate``.

    ``covariance``: of both numbers, with the levels' scatter.
    """

    at_zero: float
    slope: float
    covariance: Array
    scatter: float

    def rate_at(self, share: float) -> float:
        """The rate at which the line reaches a share of misses."""
        return (math.log(share) - self.at_zero) / self.slope


def estimate_capacity(
    levels: Sequence[LevelCount], allowed: float, about: float | None = None
) -> Capacity | None:
    """The capacity by the levels near it.

    Args:
        levels: in any order, each with at least one request.
        allowed: the share of misses that the bound allows, such as 0.05 for a p95.
        about: where the capacity is expected, in requests per second; the middle of all levels
            where it is not known.

    Returns:
        ``None`` where too few levels lie near it, where these are not on both sides of it, or where
        misses do not become more with the rate.
    """
    about = _middle(levels, allowed) if about is None else about
    if about is None or about <= 0:
        return None
    near = near_levels(levels, allowed, about)
    if len(near) < _FEWEST_LEVELS or _middle(near, allowed) is None:
        return None
    line = fit_line(near)
    if line is None or line.slope <= 0:
        return None
    rate = line.rate_at(allowed)
    rates = [level.rate for level in near]
    if not min(rates) <= rate <= max(rates):
        return None
    low, high = fieller_interval(line, allowed, errors_aside(len(near) - 2))
    return Capacity(rate, low, high, len(near), line.scatter)


def near_levels(levels: Sequence[LevelCount], allowed: float, about: float) -> list[LevelCount]:
    """The levels that say something about a capacity of ``about`` requests per second.

    Which rates have too many misses follows from all levels together. Judged by its own misses, a
    level would stay where they happened to be few, and the capacity would seem larger.
    """
    window = sorted(
        (level for level in levels if abs(level.rate / about - 1) <= WINDOW),
        key=lambda level: level.rate,
    )
    shares = _rising_shares(window)
    return [level for level, share in zip(window, shares, strict=True) if share <= MANY * allowed]


def _rising_shares(levels: Sequence[LevelCount]) -> list[float]:
    """The share of misses at each of ``levels``, by rising rate, if it never falls with the rate.

    Where it does, neighbours are taken together (pool adjacent violators).
    """
    pools: list[tuple[int, int, int]] = []  # misses, requests, levels
    for level in levels:
        pools.append((level.misses, level.requests, 1))
        while len(pools) > 1 and pools[-2][0] * pools[-1][1] >= pools[-1][0] * pools[-2][1]:
            last, before = pools.pop(), pools.pop()
            pools.append((before[0] + last[0], before[1] + last[1], before[2] + last[2]))
    return [misses / requests for misses, requests, many in pools for _ in range(many)]


def _middle(levels: Sequence[LevelCount], allowed: float) -> float | None:
    """Between the highest rate with few misses and the lowest with many, if both are there."""
    few = [level.rate for level in levels if level.misses <= allowed * level.requests]
    many = [level.rate for level in levels if level.misses > allowed * level.requests]
    return (max(few) + min(many)) / 2 if few and many else None


def fit_line(levels: Sequence[LevelCount]) -> Line | None:
    """The likeliest line, by iteratively reweighted least squares; ``None`` where it finds none."""
    rates = np.array([level.rate for level in levels])
    requests = np.array([level.requests for level in levels], dtype=np.float64)
    misses = np.array([level.misses for level in levels], dtype=np.float64)
    design = np.stack([np.ones_like(rates), rates], axis=1)
    # A level without a miss has no logarithm; half a miss begins near it.
    logs = np.log((misses + 0.5) / (requests + 1))
    line = np.linalg.lstsq(design, logs, rcond=None)[0]
    for _ in range(_ROUNDS):
        # A share is at most 1.
        logs = np.clip(design @ line, -30.0, -1e-6)
        expected = requests * np.exp(logs)
        information = design.T @ (expected[:, None] * design)
        if not np.isfinite(np.linalg.cond(information)):
            return None
        before, line = (
            line,
            np.linalg.solve(information, design.T @ (expected * logs + misses - expected)),
        )
        if np.abs(line - before).max() < _SETTLED:
            break
    squares = ((misses - expected) ** 2 / expected).sum() / max(len(levels) - 2, 1)
    scatter = max(1.0, float(squares))
    return Line(float(line[0]), float(line[1]), np.linalg.inv(information) * scatter, scatter)


def errors_aside(freedom: int) -> float:
    """How many standard errors an interval at ``CONFIDENCE`` extends to either side."""
    return float(student_quantile((1 + CONFIDENCE) / 2, freedom))


def fieller_interval(line: Line, allowed: float, times: float) -> tuple[float | None, float | None]:
    """The rates at which the line may reach ``allowed``; they need not lie evenly around it.

    Args:
        line: fitted.
        allowed: the share of misses that the bound allows.
        times: standard errors on either side, a quantile.

    Returns:
        Lowest and highest; ``None`` twice where no interval of positive rates holds them.
    """
    (at_zero, both), (_, slope) = (line.covariance * times**2).tolist()
    away = line.at_zero - math.log(allowed)
    a, b, c = line.slope**2 - slope, away * line.slope - both, away**2 - at_zero
    inside = b * b - a * c
    # The slope itself may be 0.
    if a <= 0 or inside < 0:
        return None, None
    root = math.sqrt(inside)
    low, high = (-b - root) / a, (-b + root) / a
    return (low, high) if low > 0 else (None, None)


class RateSearch:
    """Chooses the rate of each level, so that the levels bound the capacity.

    Bisection finds about where it is. Further levels lie around it on both sides, as the estimate
    moves.

    Args:
        ceiling: a rate above which the server cannot answer, such as its throughput in a closed
            loop; requests per second, above 0.
        allowed: the share of misses that the bound allows.

    Raises:
        ValueError: the ceiling is not above 0.
    """

    def __init__(self, ceiling: float, allowed: float) -> None:
        if ceiling <= 0:
            raise ValueError(f"a server answers at some rate, not at {ceiling} requests per second")
        self.levels: list[LevelCount] = []
        self._ceiling, self._allowed = ceiling, allowed
        self._below, self._above = 0.0, ceiling
        self._about = ceiling
        self._reach = 1.0

    def next_rate(self) -> float:
        """The rate to offer next, in requests per second."""
        settling = len(self.levels) - _BISECTIONS
        if settling < 0:
            return (self._below + self._above) / 2
        offset = _OFFSETS[settling % len(_OFFSETS)] * self._reach
        return min(self._about * (1 + offset), self._ceiling)

    def record(self, level: LevelCount) -> None:
        """Take in what became of the level that was offered."""
        self.levels.append(level)
        if len(self.levels) > _BISECTIONS:
            if level.misses > MANY * self._allowed * level.requests:
                self._reach *= _NEARER
            self._move()
            return
        if level.misses > self._allowed * level.requests:
            self._above = level.rate
        else:
            self._below = level.rate
        self._about = (self._below + self._above) / 2

    def capacity(self) -> Capacity | None:
        """The estimate by all levels so far; ``None`` where they do not give one."""
        return estimate_capacity(self.levels, self._allowed, self._about)

    def near(self) -> list[LevelCount]:
        """The levels that the estimate follows from."""
        return near_levels(self.levels, self._allowed, self._about)

    def _move(self) -> None:
        """Take the estimate for where the capacity is, if it is not far from where it was."""
        found = self.capacity()
        if found is not None:
            step = min(max(found.rate / self._about, 1 - _LARGEST_STEP), 1 + _LARGEST_STEP)
            self._about = min(self._about * step, self._ceiling)
