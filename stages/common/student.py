"""Student's t and Welch's comparison, for stages and tools that judge noise."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from scipy import special

type Array = npt.NDArray[np.float64]


def student_quantile(probability: float, freedom: Array | int) -> Array:
    """The value below which Student's t lies with ``probability``; ``freedom`` of any shape."""
    return np.asarray(special.stdtrit(freedom, probability), dtype=np.float64)


def student_p(value: float, freedom: int) -> float:
    """Probability that Student's t is at least ``value`` (not negative) from zero, either way."""
    return float(2 * special.stdtr(freedom, -value))


def relative_error(seconds: Array) -> Array:
    """Standard error of the mean over the mean, along the last axis of ``seconds``.

    To first order it is the standard error of the mean's logarithm.
    """
    error = seconds.std(axis=-1, ddof=1) / math.sqrt(seconds.shape[-1])
    return np.asarray(error / seconds.mean(axis=-1))


def welch(one: Array, other: Array, of_one: int, of_other: int) -> tuple[Array, Array]:
    """Error of the difference of two estimates, and its degrees of freedom as whole numbers.

    Args:
        one: standard error of the one estimate.
        other: of the other.
        of_one: degrees of freedom of ``one``.
        of_other: of ``other``.

    Source: Welch, Biometrika 29 (1938), 350-362; rounded down, which widens the interval.
    """
    return pooled([one, other], [of_one, of_other])


def pooled(errors: Sequence[Array], freedoms: Sequence[int]) -> tuple[Array, Array]:
    """Error of a sum of independent estimates, and its degrees of freedom as whole numbers.

    Args:
        errors: standard error of each estimate.
        freedoms: degrees of freedom of each.

    Source: Satterthwaite, Biometrics Bulletin 2 (1946), 110-114; rounded down, which widens the
    interval.
    """
    variance = sum((error**2 for error in errors), np.zeros(()))
    parts = sum((e**4 / of for e, of in zip(errors, freedoms, strict=True)), np.zeros(()))
    known = parts > 0
    # Without any spread the error is zero, and the quantile does not matter.
    freedom = np.where(known, variance**2 / np.where(known, parts, 1.0), sum(freedoms))
    # The small addend keeps a whole number from being rounded down to the one below.
    return np.sqrt(variance), np.floor(np.maximum(freedom, min(freedoms)) + 1e-9)
