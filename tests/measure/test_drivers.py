"""Server flags that follow from the contract are computed, and compiles are read off the log."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stages.measure.drivers import (
    DRIVERS,
    Shape,
    command_line,
    count_compiles,
)

shapes = st.builds(
    Shape,
    prompt_tokens=st.integers(10, 2100),
    item_tokens=st.integers(1, 40),
    largest_chunk=st.integers(1, 500),
    attention_heads=st.sampled_from([4, 9, 16, 32]),
    prefix_cache=st.booleans(),
)


@given(shapes)
def test_every_prompt_and_every_full_batch_fits_the_jax_server(shape: Shape) -> None:
    flags = DRIVERS["jax"].derived_flags(shape, "cpu")
    running = flags["max-running-requests"]
    tokens, batches = flags["precompile-token-paddings"], flags["precompile-bs-paddings"]
    assert isinstance(running, int)
    assert isinstance(tokens, list)
    assert isinstance(batches, list)
    # The generated token needs a place behind the prompt.
    assert flags["context-length"] > shape.prompt_tokens
    assert max(batches) == running
    assert max(tokens) >= running * shape.prompt_tokens
    assert max(tokens) == flags["max-prefill-tokens"]
    # The next batch is placed before the last one is freed.
    assert flags["max-total-tokens"] >= 2 * running * (shape.prompt_tokens + 1)
    # A single prompt must not be padded to a whole batch.
    assert min(tokens) < shape.prompt_tokens + 16
    assert tokens == sorted(set(tokens))


@given(shapes)
def test_attention_scores_of_a_jax_batch_stay_within_memory(shape: Shape) -> None:
    flags = DRIVERS["jax"].derived_flags(shape, "cpu")
    running, context = flags["max-running-requests"], flags["context-length"]
    assert isinstance(running, int)
    assert isinstance(context, int)
    scores = 4 * shape.attention_heads * (running * context) ** 2
    assert running == 1 or scores <= 1 << 30


@given(shapes)
def test_the_largest_prompt_fits_the_pytorch_server(shape: Shape) -> None:
    flags = DRIVERS["pytorch"].derived_flags(shape, "cpu")
    assert flags["context-length"] > shape.prompt_tokens
    assert flags["max-total-tokens"] >= shape.prompt_tokens + 1


def test_the_quick_contract_by_hand() -> None:
    shape = Shape(136, 8, 32, attention_heads=4, prefix_cache=False)
    flags = DRIVERS["jax"].derived_flags(shape, "cpu")
    assert flags["context-length"] == 160
    assert flags["max-running-requests"] == 8
    assert flags["precompile-token-paddings"] == [144, 288, 576, 1152]
    assert flags["precompile-bs-paddings"] == [1, 2, 4, 8]


def test_small_chunks_need_small_batches() -> None:
    shape = Shape(136, 8, 1, attention_heads=4, prefix_cache=False)
    assert DRIVERS["jax"].derived_flags(shape, "cpu")["max-running-requests"] == 1
    shape = Shape(136, 8, 3, attention_heads=4, prefix_cache=False)
    assert DRIVERS["jax"].derived_flags(shape, "cpu")["max-running-requests"] == 4


def test_on_an_accelerator_the_servers_own_defaults_stand() -> None:
    shape = Shape(2020, 20, 500, attention_heads=16, prefix_cache=False)
    for driver in DRIVERS.values():
        assert driver.derived_flags(shape, "tpu") == {}


def test_flags_become_arguments() -> None:
    flags = {"a": True, "b": False, "c": 3, "d": [1, 2], "e": "x", "f": 0, "g": 0.5, "h": -1}
    assert command_line(flags) == [
        *("--a", "--c", "3", "--d", "1", "2", "--e", "x", "--f", "0", "--g", "0.5", "--h", "-1")
    ]


@pytest.mark.parametrize(
    ("log", "count"),
    [
        ("Prefill batch. #bid: 1, #cache_miss: 12\n", 12),
        ("Decode batch. #queue-req: 0, #cache_miss: 0\n", 0),
        ("#cache_miss: 1\nnoise 5\n#cache_miss: 10\n", 11),
        ("Prefill batch. #new-seq: 1, #new-token: 136\n", 0),
        ("", 0),
    ],
)
def test_compiles_are_the_non_zero_cache_misses(log: str, count: int) -> None:
    pattern = DRIVERS["jax"].compile_pattern
    assert pattern is not None
    assert count_compiles(log, pattern) == count


def test_only_the_cpu_launcher_counts_as_repaired() -> None:
    assert DRIVERS["jax"].repaired(["backends/sglang_jax/launch_cpu.py"])
    assert not DRIVERS["jax"].repaired(["-m", "sgl_jax.launch_server"])
    assert not DRIVERS["pytorch"].repaired(["-m", "sglang.launch_server"])
