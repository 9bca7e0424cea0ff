"""A server that was started elsewhere: the flags that lower the confidence, with their figures."""

from __future__ import annotations

from typing import Any

import pytest
from contracts import WORKLOAD
from elsewhere import account, at_url
from matrices import ITEMS, matrix, passes, with_facts

from stages.compare.cells import build_cell
from stages.compare.elsewhere import elsewhere_flags, server_host
from stages.compare.passes import passes_of
from stages.documents.comparison import Cell, Flag, Isolation
from stages.documents.matrix import Matrix

ISOLATED = Isolation(
    verdict="isolated",
    limit=1e-4,
    targets=[0],
    changes={},
    largest_change=0.0,
    worst_target=None,
    worst_layout=None,
    leaking_targets=[],
    failed_probes=0,
)


def remote(round_trip_s: float = 0.012, **changes: Any) -> Matrix:
    """PyTorch, portable: passes of 0.16 s at chunk 1 and of 0.1 s at chunk 2."""
    made = matrix("pytorch", "portable", passes({1: 0.16, 2: 0.1}), chunk_sizes=(1, 2))
    found = at_url(made.provenance, "http://192.0.2.1:1", account(**changes), round_trip_s)
    return Matrix(made.calls, found)


def cells(made: Matrix) -> list[Cell]:
    every = passes_of(made.calls)
    return [
        build_cell(
            every.filter(every["chunk_size"] == chunk),
            made.of(WORKLOAD),
            chunk,
            None,
            ISOLATED,
            None,
            0,
        )
        for chunk in (1, 2)
    ]


def test_the_share_of_the_way_is_a_round_trip_for_each_call_over_the_median_pass() -> None:
    first, second = cells(remote())
    assert ITEMS == 4
    assert first.round_trip_share == pytest.approx(4 * 0.012 / 0.16)
    assert second.round_trip_share == pytest.approx(2 * 0.012 / 0.1)


def test_a_client_far_from_the_server_is_flagged_with_its_round_trip() -> None:
    made = remote()
    (flag,) = elsewhere_flags([made.provenance], cells(made))
    assert (flag.code, flag.backend, flag.chunk_size) == ("client_elsewhere", "pytorch", 1)
    assert flag.round_trip_s == pytest.approx(0.012)
    assert flag.share == pytest.approx(0.3)


def test_a_server_at_a_url_of_this_machine_costs_nothing_by_itself() -> None:
    made = remote(same_machine=True)
    assert elsewhere_flags([made.provenance], cells(made)) == []


def test_hidden_compilations_are_flagged() -> None:
    made = remote(same_machine=True, compiles_hidden=True)
    (flag,) = elsewhere_flags([made.provenance], cells(made))
    assert flag == Flag(code="compiles_hidden", backend="pytorch")


def test_a_far_server_without_a_known_round_trip_is_still_flagged() -> None:
    made = remote()
    unknown = with_facts(made.provenance, {"round_trip": None})
    made = Matrix(made.calls, unknown)
    (flag,) = elsewhere_flags([made.provenance], cells(made))
    assert (flag.code, flag.round_trip_s, flag.share) == ("client_elsewhere", None, None)
    assert cells(made)[0].round_trip_share is None


def test_a_far_servers_host_is_not_the_clients() -> None:
    launched = matrix("pytorch", "portable", []).provenance
    assert server_host(launched) == "h"
    assert server_host(remote(same_machine=True).provenance) == "h"
    assert server_host(remote().provenance) == "192.0.2.1"
