"""Server flags that follow from the contract are computed, and compiles are read off the log."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stages.plan.drivers import (
    DRIVERS,
    Flags,
    Shape,
    command_line,
    count_compiles,
    looks_out_of_memory,
)

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
    flags = DRIVERS["jax"].derived_flags(shape, "cpu")
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
    flags = DRIVERS["jax"].derived_flags(shape, "cpu")
    running, context = flags["max-running-requests"], flags["context-length"]
    assert isinstance(running, int)
    assert isinstance(context, int)
    scores = 4 * shape.attention_heads * (running * context) ** 2
    assert running == 1 or scores <= 1 << 30


@given(shapes)
def test_the_largest_prompt_fits_the_pytorch_server(shape: Shape) -> None:
    flags = DRIVERS["pytorch"].derived_flags(shape, "cpu")
    assert flags["context-length"] > shape.longest_tokens
    assert flags["max-total-tokens"] >= shape.longest_tokens + 1


def test_the_quick_contract_by_hand() -> None:
    shape = Shape(136, 8, 32, attention_heads=4, prefix_cache=False, probe_tokens=0)
    flags = DRIVERS["jax"].derived_flags(shape, "cpu")
    assert flags["context-length"] == 160
    assert flags["max-running-requests"] == 8
    assert flags["precompile-token-paddings"] == [144, 288, 576, 1152]
    assert flags["precompile-bs-paddings"] == [1, 2, 4, 8]


def test_longer_probes_make_room_for_themselves_and_no_prompt_of_a_pass_more_expensive() -> None:
    def flags(probe_tokens: int, chunk: int = 32) -> Flags:
        shape = Shape(136, 8, chunk, 4, prefix_cache=True, probe_tokens=probe_tokens)
        return DRIVERS["jax"].derived_flags(shape, "cpu")

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
    assert DRIVERS["jax"].derived_flags(shape, "cpu")["max-running-requests"] == 1
    shape = Shape(136, 8, 3, attention_heads=4, prefix_cache=False, probe_tokens=0)
    assert DRIVERS["jax"].derived_flags(shape, "cpu")["max-running-requests"] == 4


def test_on_an_accelerator_the_servers_own_defaults_stand() -> None:
    shape = Shape(2020, 20, 500, attention_heads=16, prefix_cache=False, probe_tokens=0)
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


@pytest.mark.parametrize(
    "text",
    [
        "torch.cuda.OutOfMemoryError: CUDA out of memory. Tried to allocate 20.00 MiB. GPU 0 has a "
        "total capacity of 139.81 GiB of which 9.38 MiB is free. If reserved but unallocated "
        "memory is large try setting PYTORCH_CUDA_ALLOC_CONF=expandable_segments:True to avoid "
        "fragmentation.",
        "torch.OutOfMemoryError: HIP out of memory. Tried to allocate 2.00 GiB.",
        "RuntimeError: CUDA error: out of memory",
        "RuntimeError: Triton Error [CUDA]: out of memory",
        "cudaErrorMemoryAllocation",
        "RuntimeError: CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`",
        "jaxlib.xla_extension.XlaRuntimeError: RESOURCE_EXHAUSTED: Out of memory while trying to "
        "allocate 8589934592 bytes.",
        "jax.errors.JaxRuntimeError: RESOURCE_EXHAUSTED: Ran out of memory in memory space hbm. "
        "Used 18.53G of 15.48G hbm. Exceeded hbm capacity by 3.05G.",
        "Failed to allocate request for 2.00GiB (2147483648B) on device ordinal 0",
        "terminate called after throwing an instance of 'std::bad_alloc'\n"
        "  what():  std::bad_alloc",
        'Traceback (most recent call last):\n  File "x.py", line 1\nMemoryError',
        "numpy._core._exceptions._ArrayMemoryError: Unable to allocate 7.28 TiB for an array with "
        "shape (1000000, 1000000) and data type float64",
        "RuntimeError: [enforce fail at alloc_cpu.cpp:117] err == 0. DefaultCPUAllocator: can't "
        "allocate memory: you tried to allocate 4000000000000 bytes. Error code 12 (Cannot "
        "allocate memory)",
        "DefaultCPUAllocator: not enough memory: you tried to allocate 4000000000000 bytes.",
        "OSError: [Errno 12] Cannot allocate memory",
        "LLVM ERROR: out of memory",
        "RuntimeError: Not enough memory. Please try to increase --mem-fraction-static.",
        "RuntimeError: Prefill out of memory. Try to lower your batch size.\nTry to allocate 136",
        "RuntimeError: alloc_req_slots runs out of memory. Please set a smaller number for",
        "Out of memory even after retracting all other requests in the decode batch.",
        "Memory cgroup out of memory: Killed process 4711 (python3) total-vm:24684092kB",
        "python3 invoked oom-killer: gfp_mask=0xcc0(GFP_KERNEL), order=0, oom_score_adj=0",
        '{"object":"error","message":"CUDA out of memory. Tried to allocate 2.00 GiB","code":500}',
    ],
)
def test_what_servers_say_when_memory_runs_out_is_understood(text: str) -> None:
    assert looks_out_of_memory(text)
    assert looks_out_of_memory(f"[2026-02-11 10:00:00 TP0] started\n{text}\nmore of the log\n")


@pytest.mark.parametrize(
    "text",
    [
        "",
        "Killed",
        "KV cache pool is full. Retract requests. #retracted_reqs: 1, #new_token_ratio: 0.6 -> 0.9",
        "Decode out of memory happened. #retracted_reqs: 1, #new_token_ratio: 0.4 -> 0.7",
        "Allocator (GPU_0_bfc) ran out of memory trying to allocate 2.20GiB with freed_by_count=0. "
        "The caller indicates that this is not a failure, but this may mean that there could be "
        "performance gains if more memory were available.",
        "If you hit GPU OOM issue, please adjust the memory fraction --mem-fraction-static",
        "2. if it is an OOM problem, set --mem-fraction-static to a smaller value",
        "If you see out of memory errors, lower --max-running-requests",
        "chunked prefill is on to avoid running out of memory",
        "This may cause out of memory.",
        "If exit code is -9 (SIGKILL), a common cause is the OS OOM killer. Run `dmesg -T`",
        "max_total_num_tokens=65536, available_gpu_mem=3.42 GB, mem usage=1.02 GB",
        "grpc: RESOURCE_EXHAUSTED: Received message larger than max (5242880 vs. 4194304)",
        "429 RESOURCE_EXHAUSTED: Quota exceeded for quota metric 'Requests'",
    ],
)
def test_advice_and_shortages_lived_through_are_not_out_of_memory(text: str) -> None:
    assert not looks_out_of_memory(text)
