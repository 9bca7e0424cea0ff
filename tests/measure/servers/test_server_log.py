"""What a log shows of a pass: the lines of both real servers, and when they are written."""

from __future__ import annotations

import pytest
from contracts import BACKENDS
from hypothesis import given
from hypothesis import strategies as st

from stages.backends.registry import declared
from stages.contract import Backend
from stages.measure.servers.log import Prefilled, cached_tokens, count_compiles, count_prefilled

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
    pattern = declared("jax").compile_pattern
    assert pattern is not None
    assert count_compiles(log, pattern) == count
