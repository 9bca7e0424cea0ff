"""The interval methods that were compared, by name and vectorized over cells.

A method takes seconds of shape ``(cells, passes)`` and returns the lower and the upper ends of the
intervals, each of shape ``(cells,)``. A method for ratios takes the seconds of the numerator and of
the denominator.

The methods that the pipeline uses call its own functions. The bootstrap methods draw from a fixed
seed and use the same resamples for every cell, so results are reproducible bit for bit on one
machine.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from statistics import NormalDist

import numpy as np

from stages.common.student import student_quantile, welch
from stages.compare.intervals import (
    NOMINAL,
    TARGET,
    Array,
    order_bounds,
    ratio_bounds,
    student_bounds,
)

RESAMPLES = 999
SEED = 20260211

type Bounds = tuple[Array, Array]
type Method = Callable[[Array], Bounds]
type PairMethod = Callable[[Array, Array], Bounds]

_TAIL = (1 - TARGET) / 2
_phi = np.vectorize(NormalDist().cdf, otypes=[np.float64])
_phi_inverse = np.vectorize(NormalDist().inv_cdf, otypes=[np.float64])


def student(seconds: Array) -> Bounds:
    """Student's t on the seconds, at the 95 % quantile."""
    return student_bounds(seconds, TARGET)


def student_widened(seconds: Array) -> Bounds:
    """The same at its 97 % quantile."""
    return student_bounds(seconds, NOMINAL)


def student_on_logs(seconds: Array) -> Bounds:
    """Student's t on the logarithms; strictly an interval of the geometric mean."""
    low, high = student_bounds(np.log(seconds), TARGET)
    return np.exp(low), np.exp(high)


def student_on_logs_corrected(seconds: Array) -> Bounds:
    """Cox's interval of a lognormal mean: on the logarithms, plus half the variance.

    Source: Zhou and Gao, Statistics in Medicine 16 (1997), 783-790, with Student's quantile.
    """
    logs = np.log(seconds)
    passes = seconds.shape[-1]
    variance = logs.var(axis=-1, ddof=1)
    error = np.sqrt(variance / passes + variance**2 / (2 * (passes - 1)))
    half = student_quantile(1 - _TAIL, passes - 1) * error
    middle = logs.mean(axis=-1) + variance / 2
    return np.exp(middle - half), np.exp(middle + half)


def bootstrap_percentile(seconds: Array) -> Bounds:
    """Percentiles of the resampled means."""
    mean, off = _centred(seconds)
    resampled = off @ _weights(seconds.shape[-1]).T
    low, high = np.quantile(resampled, [_TAIL, 1 - _TAIL], axis=-1, method="inverted_cdf")
    return mean + low, mean + high


def bootstrap_t(seconds: Array) -> Bounds:
    """Percentiles of the resampled t statistics, infinite for a resample of one value."""
    mean, off = _centred(seconds)
    weights = _weights(seconds.shape[-1])
    resampled = off @ weights.T
    spread = np.sqrt(np.maximum(off**2 @ weights.T - resampled**2, 0))
    # Differences by rounding count as none.
    spread[spread < 1e-7 * np.abs(off).max(axis=-1, keepdims=True)] = 0
    with np.errstate(divide="ignore"):
        statistics = resampled / spread
    low, high = np.quantile(statistics, [_TAIL, 1 - _TAIL], axis=-1, method="inverted_cdf")
    own = seconds.std(axis=-1)
    return mean - high * own, mean - low * own


def bootstrap_bca(seconds: Array) -> Bounds:
    """Percentiles of the resampled means, corrected for bias and acceleration.

    Source: Efron, Journal of the American Statistical Association 82 (1987), 171-185.
    """
    mean, off = _centred(seconds)
    resampled = np.sort(off @ _weights(seconds.shape[-1]).T, axis=-1)
    below = ((resampled < 0).mean(axis=-1) + (resampled <= 0).mean(axis=-1)) / 2
    bias = _phi_inverse(np.clip(below, 1 / RESAMPLES, 1 - 1 / RESAMPLES))
    acceleration = (off**3).sum(axis=-1) / (6 * (off**2).sum(axis=-1) ** 1.5)
    ends = []
    for tail in (_TAIL, 1 - _TAIL):
        shifted = bias + NormalDist().inv_cdf(tail)
        share = _phi(bias + shifted / (1 - acceleration * shifted))
        rank = np.clip(np.ceil(share * RESAMPLES).astype(int) - 1, 0, RESAMPLES - 1)
        ends.append(mean + np.take_along_axis(resampled, rank[:, None], axis=-1)[:, 0])
    return ends[0], ends[1]


def bootstrap_median(seconds: Array) -> Bounds:
    """Percentiles of the resampled medians."""
    resampled = np.median(seconds[:, _picks(seconds.shape[-1])], axis=-1)
    low, high = np.quantile(resampled, [_TAIL, 1 - _TAIL], axis=-1, method="inverted_cdf")
    return low, high


def welch_on_logs(numerator: Array, denominator: Array) -> Bounds:
    """Welch's t on the logarithms of the means, at its 95 % quantile."""
    return ratio_bounds(numerator, denominator, TARGET)


def welch_on_logs_widened(numerator: Array, denominator: Array) -> Bounds:
    """The same at its 97 % quantile."""
    return ratio_bounds(numerator, denominator, NOMINAL)


def fieller(numerator: Array, denominator: Array) -> Bounds:
    """Every ratio r for which numerator - r * denominator is zero within its Welch error.

    It is unbounded where the denominator may be zero.

    Source: Fieller, Journal of the Royal Statistical Society B 16 (1954), 175-185.
    """
    return _fieller(numerator, denominator, TARGET)


def fieller_widened(numerator: Array, denominator: Array) -> Bounds:
    """The same at its 97 % quantile."""
    return _fieller(numerator, denominator, NOMINAL)


def _fieller(numerator: Array, denominator: Array, nominal: float) -> Bounds:
    (above, of_above), (below, of_below) = (
        (side.mean(axis=-1), side.std(axis=-1, ddof=1) / math.sqrt(side.shape[-1]))
        for side in (numerator, denominator)
    )
    freedoms = (numerator.shape[-1] - 1, denominator.shape[-1] - 1)
    _, freedom = welch(of_above / above, of_below / below, *freedoms)
    reach = student_quantile(0.5 + nominal / 2, freedom) ** 2
    # Both ends r solve a r^2 - 2 b r + c = 0.
    a, b, c = below**2 - reach * of_below**2, above * below, above**2 - reach * of_above**2
    root = np.sqrt(np.maximum(b**2 - a * c, 0))
    with np.errstate(divide="ignore", invalid="ignore"):
        low, high = (b - root) / a, (b + root) / a
    return np.where(a > 0, low, -np.inf), np.where(a > 0, high, np.inf)


def ends_divided(numerator: Array, denominator: Array) -> Bounds:
    """The quotients of the ends of both means' intervals, as a reader might compute them."""
    low, high = student_bounds(numerator, NOMINAL)
    lower, upper = student_bounds(denominator, NOMINAL)
    with np.errstate(divide="ignore"):
        return np.maximum(low, 0) / upper, np.where(lower > 0, high / lower, np.inf)


def bootstrap_ratio(numerator: Array, denominator: Array) -> Bounds:
    """Percentiles of the ratios of resampled means."""
    above = numerator @ _weights(numerator.shape[-1]).T
    below = denominator @ _weights(denominator.shape[-1], SEED + 1).T
    low, high = np.quantile(
        above / below, [_TAIL, 1 - _TAIL], axis=-1, method="inverted_cdf", overwrite_input=True
    )
    return low, high


MEAN_METHODS: Mapping[str, Method] = {
    "Student's t": student,
    "Student's t, 97 % quantile": student_widened,
    "Student's t on logs": student_on_logs,
    "Student's t on logs, Cox": student_on_logs_corrected,
    "bootstrap, percentile": bootstrap_percentile,
    "bootstrap-t": bootstrap_t,
    "bootstrap, BCa": bootstrap_bca,
}
MEDIAN_METHODS: Mapping[str, Method] = {
    "order statistics": order_bounds,
    "bootstrap, percentile": bootstrap_median,
}
RATIO_METHODS: Mapping[str, PairMethod] = {
    "Welch's t on logs": welch_on_logs,
    "Welch's t on logs, 97 % quantile": welch_on_logs_widened,
    "Fieller": fieller,
    "Fieller, 97 % quantile": fieller_widened,
    "ends of the means' intervals divided": ends_divided,
    "bootstrap, percentile": bootstrap_ratio,
}
CHOSEN_MEAN = "Student's t, 97 % quantile"
CHOSEN_MEDIAN = "order statistics"
CHOSEN_RATIO = "Welch's t on logs, 97 % quantile"


def _centred(seconds: Array) -> tuple[Array, Array]:
    mean = seconds.mean(axis=-1)
    return mean, seconds - mean[:, None]


def _picks(passes: int, seed: int = SEED) -> np.ndarray[tuple[int, ...], np.dtype[np.int64]]:
    random = np.random.Generator(np.random.PCG64([seed, passes]))
    return random.integers(0, passes, (RESAMPLES, passes))


def _weights(passes: int, seed: int = SEED) -> Array:
    """The share of each pass in each resample, so that a matrix product gives all means."""
    picks = _picks(passes, seed)
    return np.stack([(picks == own).sum(axis=1) for own in range(passes)], axis=1) / float(passes)


def half_width(bounds: Bounds) -> float:
    """The median half-width over all cells."""
    low, high = bounds
    width = float(np.median(high - low)) / 2
    return width if math.isfinite(width) else math.inf
