"""Server flags that follow from the contract are computed."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from stages.backends.declared import Flags, Shape
from stages.backends.registry import declared, declared_backends

shapes = st.builds(
    Shape,
    prompt_tokens=st.integers(10, 2100),
    item_tokens=st.integers(1, 40),
    largest_chunk=st.integers(1, 500),
    attention_heads=st.sampled_from([4, 9, 16, 32]),
    prefix_cache=st.booleans(),
    probe_tokens=st.integers(0, 2130),
)


@given(shapes)
def test_every_prompt_and_every_full_batch_fits_the_jax_server(shape: Shape) -> None:
    flags = declared("jax").derived_flags(shape, "cpu")
    running = flags["max-running-requests"]
    tokens, batches = flags["precompile-token-paddings"], flags["precompile-bs-paddings"]
    assert isinstance(running, int)
    assert isinstance(tokens, list)
    assert isinstance(batches, list)
    # The generated token needs a place behind the prompt.
    assert flags["context-length"] > shape.longest_tokens
    assert max(batches) == running
    assert max(tokens) >= running * shape.prompt_tokens
    assert max(tokens) == flags["max-prefill-tokens"]
    assert max(tokens) >= shape.longest_tokens
    # The next batch is placed before the last one is freed.
    assert flags["max-total-tokens"] >= 2 * running * (shape.longest_tokens + 1)
    # A single prompt must not be padded to a whole batch.
    assert min(tokens) < shape.prompt_tokens + 16
    assert tokens == sorted(set(tokens))


@given(shapes)
def test_attention_scores_of_a_jax_batch_stay_within_memory(shape: Shape) -> None:
    flags = declared("jax").derived_flags(shape, "cpu")
    running, context = flags["max-running-requests"], flags["context-length"]
    assert isinstance(running, int)
    assert isinstance(context, int)
    scores = 4 * shape.attention_heads * (running * context) ** 2
    assert running == 1 or scores <= 1 << 30


@given(shapes, st.integers(1, 20_000))
def test_packed_items_fit_the_pytorch_server_as_one_sequence(shape: Shape, tokens: int) -> None:
    flags = declared("pytorch").derived_flags(replace(shape, packed_tokens=tokens), "cpu")
    assert flags["context-length"] > tokens
    assert flags["max-total-tokens"] >= 2 * (tokens + 1)
    # Whole prompts are not sent, so none makes the context longer.
    assert flags["context-length"] <= tokens + 8 + 31


@given(shapes)
def test_the_largest_prompt_fits_the_pytorch_server(shape: Shape) -> None:
    flags = declared("pytorch").derived_flags(shape, "cpu")
    assert flags["context-length"] > shape.longest_tokens
    assert flags["max-total-tokens"] >= shape.longest_tokens + 1


def test_the_quick_contract_by_hand() -> None:
    shape = Shape(136, 8, 32, attention_heads=4, prefix_cache=False, probe_tokens=0)
    flags = declared("jax").derived_flags(shape, "cpu")
    assert flags["context-length"] == 160
    assert flags["max-running-requests"] == 8
    assert flags["precompile-token-paddings"] == [144, 288, 576, 1152]
    assert flags["precompile-bs-paddings"] == [1, 2, 4, 8]


def test_longer_probes_make_room_for_themselves_and_no_prompt_of_a_pass_more_expensive() -> None:
    def flags(probe_tokens: int, chunk: int = 32) -> Flags:
        shape = Shape(136, 8, chunk, 4, prefix_cache=True, probe_tokens=probe_tokens)
        return declared("jax").derived_flags(shape, "cpu")

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


def test_small_chunks_need_small_batches() -> None:
    shape = Shape(136, 8, 1, attention_heads=4, prefix_cache=False, probe_tokens=0)
    assert declared("jax").derived_flags(shape, "cpu")["max-running-requests"] == 1
    shape = Shape(136, 8, 3, attention_heads=4, prefix_cache=False, probe_tokens=0)
    assert declared("jax").derived_flags(shape, "cpu")["max-running-requests"] == 4


QUICK = Shape(136, 8, 32, attention_heads=4, prefix_cache=True, probe_tokens=158)
EXTENDS: Flags = {
    "multi-item-enable-prefill-extend": True,
    "multi-item-extend-batch-size": 8,
    "enable-scoring-cache": True,
}
STEPS = "multi-item-score-from-cache-v2-items-per-step"


def jax_flags(flags: Flags, shape: Shape = QUICK) -> Flags:
    return declared("jax").derived_flags(replace(shape, flags=flags), "cpu")


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
        assert driver.derived_flags(shape, "tpu") == {}


def test_only_the_cpu_launcher_counts_as_repaired() -> None:
    assert declared("jax").repaired(["backends/jax/launch_cpu.py"])
    assert not declared("jax").repaired(["-m", "sgl_jax.launch_server"])
    assert not declared("pytorch").repaired(["-m", "sglang.launch_server"])
