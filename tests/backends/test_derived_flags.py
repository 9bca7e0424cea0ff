"""Server flags that follow from the contract are computed."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from stages.backends.declared import Flags, Shape
from stages.backends.registry import declared, declared_backends

type Shapes = list[Shape]

shapes = st.builds(
    Shape,
    prompt_tokens=st.integers(10, 2100),
    item_tokens=st.integers(1, 40),
    largest_chunk=st.integers(1, 500),
    attention_heads=st.sampled_from([4, 9, 16, 32]),
    prefix_cache=st.booleans(),
    probe_tokens=st.integers(0, 2130),
)


def _of_one_server(every: Shapes) -> Shapes:
    """The model and the prefix cache are the server's, the same for all workloads."""
    first = every[0]
    common = {"attention_heads": first.attention_heads, "prefix_cache": first.prefix_cache}
    return [replace(shape, **common) for shape in every]


several = st.lists(shapes, min_size=1, max_size=6).map(_of_one_server)
"""The sizes of the workloads that one server is asked for."""


@given(several)
def test_every_prompt_and_every_full_batch_of_each_workload_fits_the_jax_server(
    every: Shapes,
) -> None:
    flags = declared("jax").derived_flags(every, "cpu")
    running = flags["max-running-requests"]
    tokens, batches = flags["precompile-token-paddings"], flags["precompile-bs-paddings"]
    assert isinstance(running, int)
    assert isinstance(tokens, list)
    assert isinstance(batches, list)
    assert max(batches) == running
    assert max(tokens) == flags["max-prefill-tokens"]
    assert tokens == sorted(set(tokens))
    for shape in every:
        # The generated token needs a place behind the prompt.
        assert flags["context-length"] > shape.longest_tokens
        assert max(tokens) >= min(running, shape.largest_chunk) * shape.prompt_tokens
        assert max(tokens) >= shape.longest_tokens
        # The next batch is placed before the last one is freed.
        assert flags["max-total-tokens"] >= 2 * running * (shape.longest_tokens + 1)
        # A single prompt must not be padded to a whole batch, of whichever workload.
        own = [size for size in tokens if size >= shape.prompt_tokens]
        assert min(own) < shape.prompt_tokens + 16


@given(several)
def test_the_paddings_of_a_workload_do_not_depend_on_smaller_ones_beside_it(
    every: Shapes,
) -> None:
    largest = max(every, key=lambda shape: shape.prompt_tokens)
    first = replace(largest, largest_chunk=500, probe_tokens=0)
    smaller = [
        replace(shape, prompt_tokens=first.prompt_tokens // 2, probe_tokens=0) for shape in every
    ]
    alone = declared("jax").derived_flags([first], "cpu")
    together = declared("jax").derived_flags([*smaller, first], "cpu")
    paddings = "precompile-token-paddings"
    assert set(alone[paddings]) <= set(together[paddings])  # type: ignore[arg-type]
    for flag in ("context-length", "max-running-requests", "max-total-tokens"):
        assert together[flag] == alone[flag]


@given(several, st.randoms())
def test_the_order_of_the_workloads_decides_nothing(every: Shapes, random: Any) -> None:
    shuffled = [*every]
    random.shuffle(shuffled)
    for driver in declared_backends().values():
        assert driver.derived_flags(shuffled, "cpu") == driver.derived_flags(every, "cpu")


@given(several)
def test_attention_scores_of_a_jax_batch_stay_within_memory(every: Shapes) -> None:
    flags = declared("jax").derived_flags(every, "cpu")
    running, context = flags["max-running-requests"], flags["context-length"]
    assert isinstance(running, int)
    assert isinstance(context, int)
    heads = every[0].attention_heads
    assert heads is not None
    scores = 4 * heads * (running * context) ** 2
    assert running == 1 or scores <= 1 << 30


@given(several, st.lists(st.integers(1, 20_000), min_size=6, max_size=6))
def test_packed_items_fit_the_pytorch_server_as_one_sequence(
    every: Shapes, tokens: list[int]
) -> None:
    packed = [replace(one, packed_tokens=n) for one, n in zip(every, tokens, strict=False)]
    flags = declared("pytorch").derived_flags(packed, "cpu")
    longest = max(tokens[: len(every)])
    assert flags["context-length"] > longest
    assert flags["max-total-tokens"] >= 2 * (longest + 1)
    # Whole prompts are not sent, so none makes the context longer.
    assert flags["context-length"] <= longest + 8 + 31


@given(several)
def test_the_largest_prompt_fits_the_pytorch_server(every: Shapes) -> None:
    flags = declared("pytorch").derived_flags(every, "cpu")
    for shape in every:
        assert flags["context-length"] > shape.longest_tokens
        assert flags["max-total-tokens"] >= shape.longest_tokens + 1


@given(several)
def test_the_pytorch_server_has_room_for_the_batch_of_each_workload_up_to_its_bound(
    every: Shapes,
) -> None:
    together = declared("pytorch").derived_flags(every, "cpu")
    for shape in every:
        alone = declared("pytorch").derived_flags([shape], "cpu")
        for flag in ("context-length", "max-total-tokens"):
            assert together[flag] >= alone[flag]  # type: ignore[operator]


def test_the_quick_contract_by_hand() -> None:
    few = Shape(72, 8, 8, attention_heads=4, prefix_cache=False, probe_tokens=0)
    many = Shape(136, 8, 32, attention_heads=4, prefix_cache=False, probe_tokens=0)
    together = declared("jax").derived_flags([few, many], "cpu")
    assert together["context-length"] == 160
    assert together["max-running-requests"] == 8
    # 72 tokens become 80, and 8 prompts of them 640; 136 become 144.
    assert together["precompile-token-paddings"] == [80, 144, 160, 288, 320, 576, 640, 1152]
    assert together["precompile-bs-paddings"] == [1, 2, 4, 8]
    assert together["max-total-tokens"] == 2 * 8 * 160
    flags = declared("jax").derived_flags([many], "cpu")
    assert flags["context-length"] == 160
    assert flags["max-running-requests"] == 8
    assert flags["precompile-token-paddings"] == [144, 288, 576, 1152]
    assert flags["precompile-bs-paddings"] == [1, 2, 4, 8]


def test_longer_probes_make_room_for_themselves_and_no_prompt_of_a_pass_more_expensive() -> None:
    def flags(probe_tokens: int, chunk: int = 32) -> Flags:
        shape = Shape(136, 8, chunk, 4, prefix_cache=True, probe_tokens=probe_tokens)
        return declared("jax").derived_flags([shape], "cpu")

    # The quick contract's 128 + 12 fit the sizes that its passes need.
    assert flags(140) == flags(0)
    # 128 + 30 do not: the context grows, the paddings of passes stay.
    assert flags(158)["context-length"] == 192
    assert flags(158)["max-total-tokens"] == 2 * 8 * 160
    assert flags(158)["precompile-token-paddings"] == flags(0)["precompile-token-paddings"]
    # One prompt at a time: only one more padding holds the probe.
    assert flags(0, 1)["precompile-token-paddings"] == [16, 144]
    assert flags(158, 1)["precompile-token-paddings"] == [16, 144, 160]
    assert flags(158, 1)["max-prefill-tokens"] == 160


def test_a_workload_of_few_items_gets_no_paddings_for_batches_it_cannot_fill() -> None:
    few = Shape(300, 8, 2, attention_heads=4, prefix_cache=False, probe_tokens=0)
    many = Shape(136, 8, 32, attention_heads=4, prefix_cache=False, probe_tokens=0)
    flags = declared("jax").derived_flags([few, many], "cpu")
    # 4 bytes x 4 heads x (320 keys x 8)^2 is more than 64 MiB, with 4 requests it is not.
    assert flags["max-running-requests"] == 4
    # Up to two prompts of 304 tokens, up to four of 144.
    assert flags["precompile-token-paddings"] == [144, 288, 304, 576, 608]
    assert flags["context-length"] == 320


def test_small_chunks_need_small_batches() -> None:
    shape = Shape(136, 8, 1, attention_heads=4, prefix_cache=False, probe_tokens=0)
    assert declared("jax").derived_flags([shape], "cpu")["max-running-requests"] == 1
    shape = Shape(136, 8, 3, attention_heads=4, prefix_cache=False, probe_tokens=0)
    assert declared("jax").derived_flags([shape], "cpu")["max-running-requests"] == 4


QUICK = Shape(136, 8, 32, attention_heads=4, prefix_cache=True, probe_tokens=158)
EXTENDS: Flags = {
    "multi-item-enable-prefill-extend": True,
    "multi-item-extend-batch-size": 8,
    "enable-scoring-cache": True,
}
STEPS = "multi-item-score-from-cache-v2-items-per-step"


def jax_flags(flags: Flags, shape: Shape = QUICK) -> Flags:
    return declared("jax").derived_flags([replace(shape, flags=flags)], "cpu")


@given(shapes, st.sampled_from([1, 16, 64, 128]))
def test_a_jax_context_holds_whole_pages(shape: Shape, page: int) -> None:
    flags = jax_flags({"page-size": page}, shape)
    context, total = flags["context-length"], flags["max-total-tokens"]
    assert isinstance(context, int)
    assert isinstance(total, int)
    assert context % page == 0
    running = flags["max-running-requests"]
    assert isinstance(running, int)
    assert total >= 2 * running * -(-(shape.longest_tokens + 1) // page) * page


def test_pages_of_one_token_change_nothing() -> None:
    assert jax_flags({"page-size": 1}) == jax_flags({})


@given(shapes, st.integers(1, 20_000))
def test_packed_items_fit_the_jax_server_as_one_sequence(shape: Shape, tokens: int) -> None:
    flags = jax_flags({}, replace(shape, packed_tokens=shape.prompt_tokens + tokens))
    sequence = shape.prompt_tokens + tokens
    paddings = flags["precompile-token-paddings"]
    assert isinstance(paddings, list)
    assert flags["context-length"] > sequence
    assert flags["max-total-tokens"] >= 2 * (sequence + 1)
    assert flags["max-prefill-tokens"] == max(paddings) > sequence
    # A request with few items is not padded to all of them.
    assert min(paddings) < shape.prompt_tokens + 16
    assert all(b <= 2 * a for a, b in pairwise(paddings))


def test_items_scored_from_the_cache_find_slots_for_two_steps() -> None:
    flags: Flags = {**EXTENDS, "multi-item-enable-score-from-cache-v2": True, STEPS: 8}
    assert jax_flags(flags)["max-running-requests"] == 16
    assert jax_flags(flags)["precompile-bs-paddings"] == [1, 2, 4, 8, 16]
    # What the tokens of a pass are padded to stays.
    for name in ("context-length", "max-prefill-tokens", "precompile-token-paddings"):
        assert jax_flags(flags)[name] == jax_flags({})[name]
    # A build that has no other way knows no flag for it.
    assert jax_flags({"enable-scoring-cache": True, STEPS: 4})["max-running-requests"] == 8
    assert jax_flags({"enable-scoring-cache": True, STEPS: 8})["max-running-requests"] == 16


def test_a_switch_set_to_false_needs_no_slots() -> None:
    off: Flags = {**EXTENDS, "multi-item-enable-score-from-cache-v2": False, STEPS: 8}
    assert jax_flags(off) == jax_flags(EXTENDS)


def test_items_that_continue_a_query_are_not_filled_up_to_the_servers_own_batch() -> None:
    extends: Flags = {"multi-item-enable-prefill-extend": True, "enable-scoring-cache": True}
    assert jax_flags(extends)["multi-item-extend-batch-size"] == 8
    assert STEPS not in jax_flags(extends)
    two: Flags = {**extends, "multi-item-enable-score-from-cache-v2": True}
    assert jax_flags(two)[STEPS] == 8
    assert jax_flags(two)["max-running-requests"] == 16
    # What the contract says stands.
    assert "multi-item-extend-batch-size" not in jax_flags(EXTENDS)


def test_on_an_accelerator_the_servers_own_defaults_stand() -> None:
    shape = Shape(2020, 20, 500, attention_heads=16, prefix_cache=False, probe_tokens=0)
    for driver in declared_backends().values():
        assert driver.derived_flags([shape], "tpu") == {}


def test_only_the_cpu_launcher_counts_as_repaired() -> None:
    assert declared("jax").repaired(["backends/jax/launch_cpu.py"])
    assert not declared("jax").repaired(["-m", "sgl_jax.launch_server"])
    assert not declared("pytorch").repaired(["-m", "sglang.launch_server"])
