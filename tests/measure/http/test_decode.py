"""Validation of answers: every kind of failure by hand, then any bytes at all."""

from __future__ import annotations

import json
import math
from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stages.documents.matrix import Status
from stages.measure.http.decode import decode_scores, reported_cached_tokens

TWO_ITEMS = b'{"scores": [[0.25, 0.75], [1, 0]]}'


def decode(body: bytes | object, items: int = 2, labels: int = 2, softmax: bool = True):
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    return decode_scores(200, raw, items, labels, softmax)


def test_a_good_answer_gives_its_scores_item_by_item():
    decoded = decode(TWO_ITEMS)
    assert (decoded.status, decoded.detail) == ("ok", "")
    assert decoded.scores == [0.25, 0.75, 1.0, 0.0]
    assert all(type(score) is float for score in decoded.scores)


def test_fields_beside_the_scores_do_not_matter():
    body = {"scores": [[0.5, 0.5]], "usage": {"prompt_tokens": 7}, "object": "scoring"}
    assert decode(body, items=1).scores == [0.5, 0.5]


def test_without_softmax_a_row_may_sum_to_anything():
    assert decode(b'{"scores": [[0.1, 0.2]]}', items=1, softmax=False).status == "ok"


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"Internal Server Error",
        b'{"scores": [[0.5, 0.5]',
        b'{"scores": [[0.5, 0.5], [0.5, 0.5]]} trailing',
        b"\xff\xfe\x00",
        b"[[0.5, 0.5], [0.5, 0.5]]",
        b"null",
        b"[" * 100_000,
    ],
)
def test_an_answer_that_is_no_json_object_is_bad_json(body):
    decoded = decode(body)
    assert (decoded.status, decoded.scores) == ("bad_json", None)


@pytest.mark.parametrize(
    ("body", "names"),
    [
        ({}, "no scores"),
        ({"scores": None}, "no scores"),
        ({"scores": {"0": [0.5, 0.5]}}, "not a list"),
        ({"scores": []}, "0 items"),
        ({"scores": [[0.5, 0.5]]}, "1 items"),
        ({"scores": [[0.5, 0.5]] * 3}, "3 items"),
        ({"scores": [[0.5, 0.5], [1.0]]}, "item 1"),
        ({"scores": [[0.5, 0.25, 0.25], [0.5, 0.5]]}, "item 0"),
        ({"scores": [[0.5, 0.5], 0.5]}, "item 1"),
        ({"scores": [[0.5, 0.5], None]}, "item 1"),
        ({"scores": [["0.5", 0.5], [0.5, 0.5]]}, "item 0"),
        ({"scores": [[0.5, 0.5], [None, 1.0]]}, "item 1"),
        ({"scores": [[0.5, 0.5], [True, False]]}, "item 1"),
        ({"scores": [[0.5, 0.5], [[0.5], 0.5]]}, "item 1"),
    ],
)
def test_scores_of_another_shape_are_wrong_shape(body, names):
    decoded = decode(body)
    assert (decoded.status, decoded.scores) == ("wrong_shape", None)
    assert names in decoded.detail


def test_an_error_message_with_status_200_is_passed_on():
    decoded = decode({"error": {"message": "max_prefill_tokens exceeded", "code": 400}})
    assert decoded.status == "wrong_shape"
    assert "max_prefill_tokens exceeded" in decoded.detail


@pytest.mark.parametrize(
    "row",
    [
        "[NaN, 0.5]",
        "[Infinity, 0.0]",
        "[-Infinity, 1.0]",
        "[1.5, -0.5]",
        "[1, 1e-2]",
        "[0.5, 0.4989]",
        "[0.5, 0.5011]",
        f"[0, {'9' * 4000}]",
        "[0.0, 0.0]",
    ],
)
def test_a_score_that_is_no_probability_is_bad_score_and_its_item_is_named(row):
    decoded = decode(f'{{"scores": [[0.5, 0.5], {row}]}}'.encode())
    assert (decoded.status, decoded.scores) == ("bad_score", None)
    assert "item 1" in decoded.detail


@pytest.mark.parametrize("row", ["[0.5, 0.4991]", "[0.5, 0.5009]"])
def test_a_softmax_row_may_miss_1_by_rounding(row):
    assert decode(f'{{"scores": [{row}]}}'.encode(), items=1).status == "ok"


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (400, "http_4xx"),
        (404, "http_4xx"),
        (429, "http_4xx"),
        (500, "http_5xx"),
        (503, "http_5xx"),
        # No kind of their own: the server did not score the request as it stands.
        (201, "http_4xx"),
        (204, "http_4xx"),
        (307, "http_4xx"),
    ],
)
def test_any_status_but_200_fails_even_with_good_scores_inside(status, kind):
    decoded = decode_scores(status, TWO_ITEMS, 2, 2, True)
    assert (decoded.status, decoded.scores) == (kind, None)
    assert str(status) in decoded.detail


@pytest.mark.parametrize(
    "body",
    [
        b'{"object":"error","message":"the queue is full","code":503}',
        b'{"error":{"message":"the queue is full"}}',
        b'{"detail":"the queue is full"}',
        b"the queue is full",
    ],
)
def test_the_message_of_a_refusing_server_is_shown(body):
    assert decode_scores(503, body, 2, 2, True).detail == "HTTP 503: the queue is full"


@pytest.mark.parametrize(
    "body",
    [
        b"CUDA out of memory. Tried to allocate 2.00 GiB",
        b'{"error":{"message":"RESOURCE_EXHAUSTED: Ran out of memory in memory space hbm"}}',
        b"torch.OutOfMemoryError",
        b"jaxlib.xla_extension.XlaRuntimeError: RESOURCE_EXHAUSTED",
        b"DefaultCPUAllocator: can't allocate memory: you tried to allocate 8 bytes",
    ],
)
@pytest.mark.parametrize("status", [400, 500, 503])
def test_a_server_out_of_memory_is_not_mixed_up_with_other_errors(status, body):
    assert decode_scores(status, body, 2, 2, True).status == "oom"


def test_a_redirect_is_no_memory_error_whatever_it_says():
    assert decode_scores(307, b"Location: /docs/out of memory", 2, 2, True).status == "http_4xx"


def test_scores_that_came_are_not_out_of_memory_whatever_else_the_answer_says():
    body = {"scores": [[0.5, 0.5]], "note": "out of memory"}
    assert decode(body, items=1).status == "ok"


def test_the_detail_is_one_short_printable_line():
    body = "Traceback:\r\n\x1b[31m  boom\x00\x07\u2028\t!\n".encode() + b"x" * 5000
    detail = decode_scores(500, body, 2, 2, True).detail
    assert detail.startswith("HTTP 500: Traceback: boom !")
    assert detail.isprintable()
    assert len(detail) <= 200


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner),
    max_leaves=12,
)
answers = (
    st.binary(max_size=200)
    | json_values.map(lambda value: json.dumps(value).encode())
    | json_values.map(lambda value: json.dumps({"scores": value}).encode())
    | json_values.map(lambda value: json.dumps({"scores": [[value, 0.5], [0.5, 0.5]]}).encode())
    | json_values.map(lambda value: json.dumps({"error": value, "message": value}).encode())
)


@given(st.integers(100, 999) | st.just(200), answers, st.integers(1, 3), st.booleans())
def test_any_bytes_end_in_one_known_status_with_a_printable_line(status, body, labels, softmax):
    decoded = decode_scores(status, body, 2, labels, softmax)
    assert decoded.status in get_args(Status.__value__)
    assert decoded.detail.isprintable()
    assert len(decoded.detail) <= 200
    assert (decoded.status == "ok") == (decoded.detail == "") == (decoded.scores is not None)
    if decoded.scores is not None:
        assert status == 200
        assert len(decoded.scores) == 2 * labels
        assert all(0 <= score <= 1 for score in decoded.scores)


@st.composite
def softmax_rows(draw):
    """Right-shaped softmax scores: any number of items and labels."""
    labels = draw(st.integers(1, 4))
    logits = st.lists(st.floats(-30, 30), min_size=labels, max_size=labels)
    rows = []
    for row in draw(st.lists(logits, min_size=1, max_size=12)):
        weights = [math.exp(logit) for logit in row]
        rows.append([weight / math.fsum(weights) for weight in weights])
    return rows


def decode_rows(rows: list[list[float]]):
    return decode({"scores": rows}, items=len(rows), labels=len(rows[0]))


@given(softmax_rows())
def test_any_well_formed_softmax_answer_is_ok_and_in_order(rows):
    decoded = decode_rows(rows)
    assert decoded.status == "ok"
    assert decoded.scores == [score for row in rows for score in row]


@given(softmax_rows(), st.data())
def test_one_bad_number_anywhere_is_caught_and_its_item_named(rows, data):
    item = data.draw(st.integers(0, len(rows) - 1))
    label = data.draw(st.integers(0, len(rows[0]) - 1))
    bad = st.floats(allow_nan=True).filter(lambda score: not 0 <= score <= 1)
    rows[item][label] = data.draw(bad)
    decoded = decode_rows(rows)
    assert (decoded.status, decoded.scores) == ("bad_score", None)
    assert decoded.detail.startswith(f"item {item}:")


@given(softmax_rows(), st.data())
def test_one_row_that_does_not_sum_to_1_is_caught_wherever_it_is(rows, data):
    item = data.draw(st.integers(0, len(rows) - 1))
    right = rows[item][0]
    # Not within a rounding error of the tolerance, where either answer is right.
    ends = [(0.0, right - 1.002e-3), (right + 1.002e-3, 1.0)]
    wrong = [st.floats(low, high) for low, high in ends if low <= high]
    rows[item][0] = data.draw(st.one_of(wrong))
    decoded = decode_rows(rows)
    assert (decoded.status, decoded.scores) == ("bad_score", None)
    assert decoded.detail.startswith(f"item {item}:")


@given(softmax_rows(), st.data())
def test_one_item_or_label_too_few_or_too_many_is_caught(rows, data):
    items, labels = len(rows), len(rows[0])
    item = data.draw(st.integers(0, items - 1))
    fault = data.draw(st.sampled_from(["item lost", "item twice", "label lost", "label twice"]))
    match fault:
        case "item lost":
            del rows[item]
        case "item twice":
            rows.insert(item, rows[item])
        case "label lost":
            rows[item] = rows[item][1:]
        case _:
            rows[item] = [*rows[item], 0.0]
    assert decode({"scores": rows}, items, labels).status == "wrong_shape"


def told(value: object) -> bytes:
    return json.dumps({"scores": [[0.5, 0.5]], "usage": value}).encode()


def test_tokens_from_the_prefix_cache_are_summed_over_the_answers_that_report_them() -> None:
    # As sglang-jax leaves the details out where nothing came from the cache, and sglang does not.
    answers = [
        told({"prompt_tokens": 24, "prompt_tokens_details": {"cached_tokens": 16}}),
        told({"prompt_tokens": 24, "prompt_tokens_details": {"cached_tokens": 0}}),
        told({"prompt_tokens": 24, "prompt_tokens_details": None}),
        told(None),
        told({"prompt_tokens": 24, "prompt_tokens_details": {"cached_tokens": 5}}),
    ]
    assert reported_cached_tokens(answers) == 21


@pytest.mark.parametrize(
    "value",
    [
        None,
        [],
        "cached_tokens",
        {"cached_tokens": 3},
        {"prompt_tokens_details": 3},
        *(
            {"prompt_tokens_details": {"cached_tokens": n}}
            for n in (None, True, 1.5, "3", -1, 2**80)
        ),
    ],
)
def test_an_invalid_count_of_tokens_is_ignored(value: object) -> None:
    assert reported_cached_tokens([told(value)]) is None


def test_answers_without_the_field_and_answers_that_are_not_json_report_nothing() -> None:
    # What the real servers answer.
    jax = b'{"scores":[[0.8,0.2]],"model":"default","usage":null,"object":"scoring"}'
    pytorch = (
        b'{"scores":[[0.8,0.2]],"model":"default","usage":{"prompt_tokens":136,'
        b'"total_tokens":136,"completion_tokens":0,"prompt_tokens_details":null},"object":"scoring"}'
    )
    assert reported_cached_tokens([jax, pytorch, b"cached_tokens", b'"cached_tokens"', b""]) is None
    assert reported_cached_tokens([]) is None


@given(st.lists(st.binary(max_size=40).map(lambda b: b + b"cached_tokens"), max_size=3))
def test_no_bytes_raise(answers: list[bytes]) -> None:
    reported_cached_tokens(answers)
