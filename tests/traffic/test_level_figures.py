"""The figures of a level, from requests whose times are known."""

from __future__ import annotations

import math

import pytest

from stages.traffic.levels import TimedRequest, level_figures, misses


def every(
    gap_s: float, count: int, latency_s: float, delay_s: float = 0.0, status: str = "ok"
) -> list[TimedRequest]:
    """Requests that are due one after the other, all the same."""
    return [
        TimedRequest(n * gap_s, n * gap_s + delay_s, n * gap_s + latency_s, status)
        for n in range(count)
    ]


def test_rates_are_of_arrivals_and_of_answers() -> None:
    # Ten come a second; the server answers one in 0.2 s.
    requests = [TimedRequest(n / 10, n / 10, (n + 1) / 5, "ok") for n in range(101)]
    found = level_figures(requests, saturated=False)
    assert found is not None
    assert found.offered_per_s == pytest.approx(10)
    assert found.answered_per_s == pytest.approx(5)
    assert found.requests == 101


def test_latency_counts_from_when_a_request_was_due() -> None:
    found = level_figures(every(0.1, 100, latency_s=0.5, delay_s=0.4), saturated=False)
    assert found is not None
    p95 = found.percentiles[95.0]
    assert p95 is not None
    assert p95.seconds == pytest.approx(0.5)
    assert found.percentiles[99.0] is None


@pytest.mark.parametrize(("delay_s", "bound"), [(0.0, False), (0.024, False), (0.026, True)])
def test_a_client_that_is_late_by_a_twentieth_of_the_latency_is_named(
    delay_s: float, bound: bool
) -> None:
    found = level_figures(every(0.1, 500, 0.5, delay_s), saturated=False)
    assert found is not None
    assert found.client_bound is bound


def test_failures_keep_their_kind_and_are_no_answers() -> None:
    requests = [
        *every(0.1, 90, 0.2),
        *every(0.1, 6, 0.001, status="http_5xx"),
        *every(0.1, 4, 9.0, status="timeout"),
    ]
    found = level_figures(requests, saturated=True)
    assert found is not None
    assert found.saturated
    assert found.statuses == {"ok": 90, "http_5xx": 6, "timeout": 4}
    p95 = found.percentiles[95.0]
    assert p95 is not None
    # A refusal that came at once is no fast answer.
    assert p95.seconds == math.inf
    assert misses(requests, 0.2 + 1e-9, due=100) == 10
    assert misses(requests, 0.1, due=100) == 100


def test_a_request_that_was_not_sent_any_more_missed_the_bound() -> None:
    assert misses(every(0.1, 40, 0.2), 1.0, due=100) == 60


def test_a_late_client_is_named_whatever_fails_besides() -> None:
    late = [*every(0.1, 98, 5.1, delay_s=5.0), *every(0.1, 2, 6.0, 5.0, status="timeout")]
    found = level_figures(late, saturated=False)
    assert found is not None
    assert found.client_bound


def test_a_level_that_sent_nothing_has_no_figures() -> None:
    assert level_figures([], saturated=True) is None


def test_one_request_has_no_rate() -> None:
    found = level_figures(every(1.0, 1, 0.2), saturated=False)
    assert found is not None
    assert (found.offered_per_s, found.answered_per_s) == (None, None)
