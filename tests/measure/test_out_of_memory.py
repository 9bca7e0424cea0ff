"""Messages that memory ran out are separated from advice against it."""

from __future__ import annotations

import pytest

from stages.measure.out_of_memory import looks_out_of_memory


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
