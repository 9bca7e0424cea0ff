"""What a log shows of a pass: the lines of both real servers, and when they are written."""

from __future__ import annotations

import pytest
from contracts import BACKENDS
from hypothesis import given
from hypothesis import strategies as st

from stages.backends.registry import declared
from stages.contract import Backend
from stages.measure.servers.log import (
    Prefilled,
    ServerLog,
    cached_tokens,
    count_compiles,
    count_fallbacks,
    count_prefilled,
    scored_as,
)

# Of sglang-jax 0.0.2 and sglang 0.5.23, 4 items of 8 tokens behind a query of 128.
LOGS: dict[Backend, str] = {
    "jax": """\
[2026-11-27 18:23:14] Prefill batch. #new-seq: 2, #new-token: 272, #cached-token: 0, token usage: \
0.00, #running-req: 0, #queue-req: 0, \n\
[2026-11-27 18:23:13] Prefill batch. #bid: 69, #cache_miss: 1
[2026-11-27 18:22:21] Decode batch. #running-req: 4, #token: 0, token usage: 0.00, gen throughput \
(token/s): 61.43, #queue-req: 0, #cache_miss: 0
[2026-11-27 18:23:14] Prefill batch. #new-seq: 2, #new-token: 16, #cached-token: 256, token usage:\
 0.05, #running-req: 2, #queue-req: 0, \n\
[2026-11-27 18:23:14] INFO:     127.0.0.1:42126 - "POST /v1/score HTTP/1.1" 200 OK
""",
    "pytorch": """\
[2026-11-27 18:25:01] Prefill batch, #new-seq: 2, #new-token: 272, #cached-token: 0, token usage: \
0.00, #running-req: 0, #queue-req: 0, #pending-token: 0, cpu graph: False, input throughput \
(token/s): 1029.64
[2026-11-27 18:25:01] INFO:     127.0.0.1:57546 - "POST /v1/score HTTP/1.1" 200 OK
[2026-11-27 18:25:01 TP0] Prefill batch, #new-seq: 2, #new-token: 16, #cached-token: 256, token \
usage: 0.00, #running-req: 0, #queue-req: 0, #pending-token: 0, cpu graph: False, input \
throughput (token/s): 1334.89
""",
}


# Four prompts of 136 tokens: the query is computed twice, and found twice.
PROMPT_TOKENS = 4 * 136
TOLD = Prefilled(computed=288, cached=256)


def counted(backend: Backend, log: str, prompt_tokens: int = PROMPT_TOKENS) -> Prefilled | None:
    pattern = declared(backend).prefill_pattern
    assert pattern is not None
    return count_prefilled(log, pattern, prompt_tokens)


@pytest.mark.parametrize("backend", BACKENDS)
def test_the_lines_of_both_servers_account_for_every_prompt_token(backend: Backend) -> None:
    assert counted(backend, LOGS[backend]) == TOLD
    assert cached_tokens(TOLD, PROMPT_TOKENS) == 256
    assert counted(backend, 'INFO: "POST /v1/score HTTP/1.1" 200 OK\n') is None


@pytest.mark.parametrize("times", [2, 3])
@pytest.mark.parametrize("backend", BACKENDS)
def test_a_log_that_has_every_line_more_than_once_counts_each_once(
    backend: Backend, times: int
) -> None:
    copied = "".join(times * line for line in LOGS[backend].splitlines(keepends=True))
    assert counted(backend, copied) == TOLD


def test_a_batch_that_two_loggers_write_in_forms_of_their_own_counts_once() -> None:
    # Score from cache v2 at chunk size 1: 32 calls, the query computed once, then but for its end
    # from the cache. The items are in no line, so the lines hold fewer tokens than the prompts.
    first = WARM.replace("#new-token: 1, #cached-token: 127", "#new-token: 128, #cached-token: 0")
    told = Prefilled(computed=128 + 31, cached=31 * 127)
    assert counted("jax", first + 31 * WARM, 32 * 136) == told
    assert cached_tokens(told, 32 * 136) == 31 * 127
    # Where there is no other form, that one counts.
    only = "".join(line for line in (first + 31 * WARM).splitlines(True) if line[:4] == "INFO")
    assert counted("jax", only, 32 * 136) == told


def test_equal_lines_of_different_calls_count_one_by_one() -> None:
    # Chunk size 1, a fast server: both calls in one second.
    line = "[2026-11-27 18:23:11] Prefill batch. #new-seq: 1, #new-token: 8, #cached-token: 128, \n"
    assert counted("jax", 2 * line, 2 * 136) == Prefilled(16, 256)
    # Twice as much as was asked for, but not every line twice: nothing is taken for a copy.
    first = line.replace("8, #cached-token: 128", "136, #cached-token: 0")
    assert counted("jax", first + 3 * line, 2 * 136) == Prefilled(160, 384)


@given(st.integers(0, 500), st.integers(0, 500), st.integers(0, 900))
def test_requests_that_are_started_again_take_nothing_from_the_cache(
    computed: int, cached: int, again: int
) -> None:
    told = Prefilled(computed, cached + again)
    assert cached_tokens(told, computed + cached) == cached


def test_a_query_that_is_computed_by_itself_is_no_part_of_any_prompt() -> None:
    # 2 calls of 2 items of 8 tokens: the query of 128 alone in each, the second time from the
    # cache, and 4 items that continue it. Of 4 x 136 prompt tokens 128 + 4 x 8 are computed.
    told = Prefilled(computed=128 + 4 * 8, cached=128 + 4 * 128)
    assert cached_tokens(told, 4 * 136) == 4 * 136 - 128 - 4 * 8 == 3 * 128


def test_pages_that_are_filled_up_take_nothing_from_the_cache() -> None:
    # Pages of 64: 128 + 8 tokens count as 192, 8 behind a cached 128 as 64.
    assert cached_tokens(Prefilled(computed=192 + 64, cached=128), 2 * 136) <= 128
    assert cached_tokens(Prefilled(computed=2 * 192, cached=0), 2 * 136) == 0


def test_a_request_of_another_pass_adds_nothing() -> None:
    # This pass computed all it has; the line of a request that timed out before it came late.
    assert cached_tokens(Prefilled(computed=2 * 136 + 8, cached=128), 2 * 136) == 0


@given(st.integers(0, 10**6), st.integers(0, 10**6), st.integers(0, 10**6))
def test_never_more_comes_from_the_cache_than_the_prompts_hold_or_the_log_tells(
    computed: int, cached: int, prompt_tokens: int
) -> None:
    found = cached_tokens(Prefilled(computed, cached), prompt_tokens)
    assert 0 <= found <= min(cached, prompt_tokens)


# Of a pass at chunk size 8 with JAX_LOG_COMPILES=1, the first of its kind, of the score from cache
# v2: three loggers, two programs, no #cache_miss.
COMPILED_UNTOLD = """\
WARNING:2026-11-28 02:40:13,827:jax._src.dispatch:208: Finished tracing + transforming \
jitted_run_model for pjit in 1.322193384 sec
WARNING:jax._src.dispatch:Finished tracing + transforming jitted_run_model for pjit in 1.322193384 \
sec
[2026-11-28 02:40:13] Finished tracing + transforming jitted_run_model for pjit in 1.322193384 sec
WARNING:2026-11-28 02:40:13,869:jax._src.interpreters.pxla:1960: Compiling jit(jitted_run_model) \
with global shapes and types (ShapedArray(float32[16384@tensor,64]), ShapedArray(float32[64]))
WARNING:2026-11-28 02:40:14,422:jax._src.dispatch:208: Finished jaxpr to MLIR module conversion \
jit(jitted_run_model) in 0.551012278 sec
WARNING:2026-11-28 02:40:24,532:jax._src.dispatch:208: Finished XLA compilation of \
jit(jitted_run_model) in 10.108250380 sec
WARNING:jax._src.dispatch:Finished XLA compilation of jit(jitted_run_model) in 10.108250380 sec
[2026-11-28 02:40:24] Finished XLA compilation of jit(jitted_run_model) in 10.108250380 sec
WARNING:2026-11-28 02:40:33,224:jax._src.dispatch:208: Finished XLA compilation of \
jit(jitted_sampler) in 7.047534466 sec
WARNING:jax._src.dispatch:Finished XLA compilation of jit(jitted_sampler) in 7.047534466 sec
[2026-11-28 02:40:33] Finished XLA compilation of jit(jitted_sampler) in 7.047534466 sec
[2026-11-28 02:40:33] INFO:     127.0.0.1:34802 - "POST /v1/score HTTP/1.1" 200 OK
"""

# Of a warm pass of the same server.
WARM = """\
INFO:sgl_jax.srt.managers.scheduler_metrics_mixin:Prefill batch. #new-seq: 1, #new-token: 1, \
#cached-token: 127, token usage: 0.00, #running-req: 0, #queue-req: 1, \n\
[2026-11-28 02:40:33] Prefill batch. #new-seq: 1, #new-token: 1, #cached-token: 127, token usage: \
0.00, #running-req: 0, #queue-req: 1, \n\
[2026-11-28 02:40:33] INFO:     127.0.0.1:47128 - "POST /v1/score HTTP/1.1" 200 OK
"""

# Of the same server's start: it scores its first request in another way.
MISSES = """\
INFO:sgl_jax.srt.managers.scheduler_output_processor_mixin:Prefill batch. #bid: 2, #cache_miss: 1
[2026-11-28 02:39:21] Prefill batch. #bid: 2, #cache_miss: 1
"""


@pytest.mark.parametrize(
    ("log", "count"),
    [(COMPILED_UNTOLD, 2), (COMPILED_UNTOLD + WARM, 2), (WARM, 0), ("", 0)],
)
def test_every_program_that_jax_compiles_counts_once(log: str, count: int) -> None:
    assert count_compiles(log, declared("jax")) == count


def test_a_program_that_is_compiled_for_two_shapes_counts_twice() -> None:
    line = "[2026-11-28 02:40:33] Finished XLA compilation of jit(jitted_sampler) in 7.{} sec\n"
    assert count_compiles(line.format("047534466") + line.format("047534467"), declared("jax")) == 2


@pytest.mark.parametrize(
    ("log", "count"),
    [
        (MISSES, 1),
        (LOGS["jax"], 1),
        ("Prefill batch. #bid: 1, #cache_miss: 12\n", 12),
        ("Decode batch. #queue-req: 0, #cache_miss: 0\n", 0),
        ("#cache_miss: 1\nnoise 5\n#cache_miss: 10\n", 11),
        ("Prefill batch. #bid: 1, #cache_miss: 1\nPrefill batch. #bid: 2, #cache_miss: 1\n", 2),
        ("Prefill batch. #new-seq: 1, #new-token: 136\n", 0),
    ],
)
def test_where_jax_logs_no_compilation_the_servers_cache_misses_count_each_batch_once(
    log: str, count: int
) -> None:
    assert count_compiles(log, declared("jax")) == count


@pytest.mark.parametrize("log", [COMPILED_UNTOLD + MISSES, MISSES + COMPILED_UNTOLD])
def test_a_compilation_that_is_logged_in_both_ways_counts_once(log: str) -> None:
    assert count_compiles(log, declared("jax")) == 2


# Of a server with a cache of compiled programs (sglang-jax 0.0.2, jax 0.8.3), one new shape.
LOADED = """\
WARNING:2026-11-28 02:45:58,067:jax._src.compiler:102: Persistent compilation cache hit for \
'jit_jitted_run_model' with key 'jit_jitted_run_model-24049f64e03e37b6'
[2026-11-28 02:45:58] Persistent compilation cache hit for 'jit_jitted_run_model' with key \
'jit_jitted_run_model-24049f64e03e37b6'
WARNING:2026-11-28 02:45:58,068:jax._src.dispatch:207: Finished XLA compilation of \
jit(jitted_run_model) in 0.475482464 sec
[2026-11-28 02:45:58] Finished XLA compilation of jit(jitted_run_model) in 0.475482464 sec
"""
ITS_MISS = "[2026-11-28 02:45:59] Prefill batch. #bid: 175, #cache_miss: 1\n"


def test_a_program_that_is_loaded_from_the_cache_folder_counts_as_before() -> None:
    assert count_compiles(LOADED, declared("jax")) == 1
    assert count_compiles(LOADED + ITS_MISS, declared("jax")) == 1


class Replay:
    """A server that logs one text after another."""

    def __init__(self, *texts: str) -> None:
        self._texts = list(texts)

    def new_log(self) -> str:
        return self._texts.pop(0)


def passes(*texts: str) -> list[int | None]:
    """The compilations of each pass; before each there is a text that belongs to none."""
    log = ServerLog(Replay(*texts), declared("jax"))
    found = []
    for _ in range(len(texts) // 2):
        log.start_pass()
        found.append(log.end_pass(PROMPT_TOKENS, 1, whole=False).compiles)
    return found


def test_what_is_compiled_between_passes_belongs_to_none() -> None:
    assert passes(COMPILED_UNTOLD, WARM, LOADED, WARM, "", LOADED) == [0, 0, 1]


def test_a_batch_that_is_logged_after_its_pass_does_not_count_its_compilation_again() -> None:
    assert passes(COMPILED_UNTOLD, LOADED, "", ITS_MISS) == [1, 0]
    assert passes("", LOADED, "", ITS_MISS) == [1, 0]


def test_a_server_that_does_not_log_compilations_has_its_cache_misses_counted_in_every_pass() -> (
    None
):
    assert passes(MISSES, MISSES, "", WARM, "", ITS_MISS) == [1, 0, 1]


def test_a_backend_without_a_pattern_reports_no_compilations() -> None:
    assert count_compiles(COMPILED_UNTOLD + MISSES, declared("pytorch")) is None


# Of a request of the same server with --multi-item-score-fastpath-log-metrics.
FROM_CACHE = """\
INFO:sgl_jax.srt.managers.tokenizer_manager:ScorePathMetrics path=score_from_cache_v2 items=1 \
dispatches=1 lifecycle_sent=2 lifecycle_recv=2 queue_wait_s=0.000107 device_compute_s=0.036687 \
host_orchestration_s=0.000985 fastpath_attempted=True fastpath_succeeded=True \
fastpath_fallback_reason=None
[2026-11-28 03:31:14] ScorePathMetrics path=score_from_cache_v2 items=1 dispatches=1 \
lifecycle_sent=2 lifecycle_recv=2 queue_wait_s=0.000107 device_compute_s=0.036687 \
host_orchestration_s=0.000985 fastpath_attempted=True fastpath_succeeded=True \
fastpath_fallback_reason=None
"""
# After its source: no request of that server fell back. A third logger has been seen elsewhere.
FELL_BACK = """\
[2026-11-28 03:10:02] Fastpath v2 falling back to baseline: reason=unsupported_shape error=None
WARNING:sgl_jax.srt.managers.tokenizer_manager:Fastpath v2 falling back to baseline: \
reason=unsupported_shape error=None
WARNING:2026-11-28 03:10:02,123:sgl_jax.srt.managers.tokenizer_manager:2026: Fastpath v2 falling \
back to baseline: reason=unsupported_shape error=None
"""
BASELINE = """\
[2026-11-28 03:10:02] ScorePathMetrics path=prefill_extend_baseline items=8 dispatches=1
INFO:sgl_jax.srt.managers.tokenizer_manager:ScorePathMetrics path=prefill_extend_baseline items=8
"""


@pytest.mark.parametrize(
    ("log", "requests", "mode", "fallbacks"),
    [
        (FROM_CACHE, 1, "score_from_cache", 0),
        (4 * FROM_CACHE, 4, "score_from_cache", 0),
        (FELL_BACK + BASELINE, 1, "prefill_extend", 1),
        (4 * (FELL_BACK + BASELINE), 4, "prefill_extend", 4),
        (3 * FROM_CACHE + FELL_BACK + BASELINE, 4, "mixed", 1),
        # One request says nothing of itself.
        (3 * FROM_CACHE, 4, None, 0),
        (WARM, 1, None, 0),
        # Without the flag the server logs what fell back, and nothing else.
        (4 * FELL_BACK, 4, "prefill_extend", 4),
        (3 * FELL_BACK, 4, "mixed", 3),
        ("", 0, None, 0),
        # A way of which nothing is known.
        (FROM_CACHE.replace("score_from_cache_v2", "score_from_cache_v3"), 1, None, 0),
    ],
)
def test_how_a_pass_was_scored_is_what_its_server_says_of_every_request(
    log: str, requests: int, mode: str | None, fallbacks: int
) -> None:
    assert scored_as(log, declared("jax"), requests) == mode
    assert count_fallbacks(log, declared("jax"), requests) == fallbacks
    # Several loggers may write the same form.
    copied = "".join(3 * line for line in log.splitlines(keepends=True))
    assert scored_as(copied, declared("jax"), requests) == (mode if requests else None)
    if fallbacks in (0, requests):
        assert count_fallbacks(copied, declared("jax"), requests) == fallbacks


def test_a_backend_whose_log_tells_no_mode_has_none() -> None:
    assert scored_as(4 * FROM_CACHE, declared("pytorch"), 4) is None
    assert count_fallbacks(4 * FELL_BACK, declared("pytorch"), 4) is None
