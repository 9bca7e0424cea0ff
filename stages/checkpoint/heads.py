"""Converts attention heads: from GGUF's order to transformers', and to wider heads.

A rotary embedding turns each pair of a head's numbers by position x base^(-2j/D), j being the
pair's number and D the head's size. transformers pairs j with j + D/2; the converter to GGUF
puts a pair's two numbers side by side.

Wider heads give the same scores. In a head of kD numbers the pair kj turns at
base^(-2kj/(kD)) = base^(-2j/D): the same. So pair j becomes pair kj and the others are zero,
which adds nothing to any product of a query and a key. A server divides that product by
sqrt(kD) instead of sqrt(D), so the queries are multiplied by sqrt(k). Values are padded with zeros,
and so is the output projection. Only the rounding of the queries changes.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

type Tensor = npt.NDArray[np.float32]


def unpermute(weight: Tensor, heads: int) -> Tensor:
    """Rows of a query or key projection in transformers' order, from the file's."""
    rows, columns = weight.shape
    pairs = weight.reshape(heads, rows // heads // 2, 2, columns)
    return pairs.swapaxes(1, 2).reshape(rows, columns)


def widen_rotary(weight: Tensor, heads: int, factor: int) -> Tensor:
    """Rows of a query or key projection, each head ``factor`` times as wide."""
    rows, columns = weight.shape
    half = rows // heads // 2
    wide = np.zeros((heads, 2, half * factor, columns), np.float32)
    wide[:, :, ::factor] = weight.reshape(heads, 2, half, columns)
    return wide.reshape(rows * factor, columns)


def widen_queries(weight: Tensor, heads: int, factor: int) -> Tensor:
    """Rows of the query projection, scaled for the larger divisor."""
    return widen_rotary(weight * np.sqrt(np.float32(factor)), heads, factor)


def widen_values(weight: Tensor, heads: int, factor: int) -> Tensor:
    """Rows of the value projection, zeros behind each head."""
    rows, columns = weight.shape
    head = rows // heads
    wide = np.zeros((heads, head * factor, columns), np.float32)
    wide[:, :head] = weight.reshape(heads, head, columns)
    return wide.reshape(rows * factor, columns)


def widen_output(weight: Tensor, heads: int, factor: int) -> Tensor:
    """Columns of the output projection, zeros behind each head."""
    return widen_values(np.ascontiguousarray(weight.T), heads, factor).T.copy()
