"""Heads are put back in order exactly, and made wider without changing what attention gives."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from packages import converters_permutation

from stages.checkpoint.heads import (
    unpermute,
    widen_output,
    widen_queries,
    widen_rotary,
    widen_values,
)


def rotated(x: np.ndarray, base: float) -> np.ndarray:
    """Rotary embedding of (positions, heads, head) as transformers has it."""
    positions, _, head = x.shape
    frequencies = base ** (-np.arange(0, head, 2) / head)
    angles = np.arange(positions)[:, None] * frequencies
    angles = np.concatenate([angles, angles], axis=1)[:, None]
    turned = np.concatenate([-x[..., head // 2 :], x[..., : head // 2]], axis=-1)
    return x * np.cos(angles) + turned * np.sin(angles)


def attention(
    x: np.ndarray, q: np.ndarray, k: np.ndarray, v: np.ndarray, o: np.ndarray, heads: tuple, base
) -> np.ndarray:
    """Causal grouped-query attention in double precision, straight from its definition."""
    count, kv_count = heads
    x, q, k, v, o = (a.astype(np.float64) for a in (x, q, k, v, o))
    length, head = len(x), len(q) // count
    queries = rotated((x @ q.T).reshape(length, count, head), base)
    keys = rotated((x @ k.T).reshape(length, kv_count, head), base)
    values = (x @ v.T).reshape(length, kv_count, head)
    out = np.zeros((length, count, head))
    for h in range(count):
        g = h // (count // kv_count)
        scores = queries[:, h] @ keys[:, g].T / np.sqrt(head)
        scores[np.triu_indices(length, 1)] = -np.inf
        weights = np.exp(scores - scores.max(axis=1, keepdims=True))
        out[:, h] = weights / weights.sum(axis=1, keepdims=True) @ values[:, g]
    return out.reshape(length, -1) @ o.T


@given(
    heads=st.integers(1, 5), half=st.integers(1, 8), columns=st.integers(1, 9), seed=st.integers(0)
)
def test_unpermute_undoes_the_converter(heads: int, half: int, columns: int, seed: int) -> None:
    shape = (heads * 2 * half, columns)
    weight = np.random.default_rng(seed).standard_normal(shape).astype(np.float32)
    stored = converters_permutation(weight, heads)
    np.testing.assert_array_equal(unpermute(stored, heads), weight)


@given(
    kv_heads=st.integers(1, 3),
    group=st.integers(1, 3),
    half=st.integers(1, 6),
    factor=st.integers(1, 4),
    base=st.sampled_from([100.0, 1e4, 1e6]),
    seed=st.integers(0),
)
def test_wider_heads_give_the_same_attention(
    kv_heads: int, group: int, half: int, factor: int, base: float, seed: int
) -> None:
    heads, head, hidden = kv_heads * group, 2 * half, 7
    random = np.random.default_rng(seed)

    def drawn(rows: int, columns: int) -> np.ndarray:
        return random.standard_normal((rows, columns)).astype(np.float32)

    x = drawn(6, hidden)
    q, k, v = (drawn(n * head, hidden) for n in (heads, kv_heads, kv_heads))
    o = drawn(hidden, heads * head)
    wide = (
        widen_queries(q, heads, factor),
        widen_rotary(k, kv_heads, factor),
        widen_values(v, kv_heads, factor),
        widen_output(o, heads, factor),
    )
    for narrow, widened in zip((q, k, v, o.T), (*wide[:3], wide[3].T), strict=True):
        assert widened.dtype == np.float32
        assert widened.shape == (narrow.shape[0] * factor, narrow.shape[1])
    before = attention(x, q, k, v, o, (heads, kv_heads), base)
    after = attention(x, *wide, (heads, kv_heads), base)
    # Only the queries are rounded anew, each to within 2**-24 of itself.
    np.testing.assert_allclose(after, before, atol=1e-4)
