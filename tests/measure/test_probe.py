"""What the isolation probes send: only the neighbours change, and servers have room for it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from contracts import raw_contract
from hypothesis import given
from hypothesis import strategies as st
from targets import bare_folder, plans, raw_target

from stages.common.errors import ContractError
from stages.contract import Probes
from stages.documents.workload import CanonicalWorkload
from stages.plan.probe_requests import (
    ProbeRequest,
    choose_targets,
    every_layout,
    longest_probe_tokens,
    packed_probe_tokens,
    probed_part,
)

QUERY = list(range(100, 120))


def workload(*lengths: int) -> CanonicalWorkload:
    """Items of these lengths; no two of them begin alike, and none begins like a drawn one."""
    return CanonicalWorkload(
        name="w",
        seed=7,
        query=QUERY,
        items=[[1000 * (i + 1) + n for n in range(length)] for i, length in enumerate(lengths)],
        label_token_ids=[5, 6],
        apply_softmax=True,
        item_first=False,
        pool=[(200, 900)],
    )


def probes(targets: int = 3, most_items: int | None = None) -> Probes:
    return Probes(seed=1, targets=targets, repeats=2, most_items=most_items)


def sent(made: CanonicalWorkload, most: int | None = None) -> dict[tuple[int, str], ProbeRequest]:
    everyone = list(range(len(made.items)))
    return {(t, request.layout): request for t, request in every_layout(made, everyone, most)}


def lengths(request: ProbeRequest) -> list[int]:
    return [len(item) for item in request.items]


@given(st.lists(st.integers(1, 9), min_size=1, max_size=8), st.none() | st.integers(1, 8))
def test_the_target_is_what_it_was_in_every_request(of: list[int], most: int | None) -> None:
    made = workload(*of)
    for (target, _), request in sent(made, most).items():
        assert request.items[request.place] == made.items[target]


def test_neighbours_become_about_half_as_long_and_half_as_long_again() -> None:
    requests = sent(workload(8, 20, 3, 2, 1))
    assert lengths(requests[0, "shorter"]) == [8, 10, 1, 1, 1]
    assert lengths(requests[0, "longer"]) == [8, 30, 4, 3, 2]
    assert lengths(requests[4, "longer"]) == [12, 30, 4, 3, 1]
    assert requests[4, "longer"].place == 4


def test_all_other_layouts_keep_the_lengths() -> None:
    for (_, layout), request in sent(workload(8, 8, 8, 8)).items():
        assert (set(lengths(request)) == {8}) == (layout not in ("shorter", "longer"))


def test_items_of_one_token_have_no_shorter_ones_and_the_layout_is_left_out() -> None:
    requests = sent(workload(1, 1, 3))
    assert (2, "shorter") not in requests
    assert lengths(requests[0, "shorter"]) == [1, 1, 1]
    assert lengths(requests[2, "longer"]) == [2, 2, 3]


def test_around_a_single_item_there_is_nothing_to_ask() -> None:
    assert sent(workload(8)) == {}


def test_longer_items_ask_more_than_any_pass_so_they_come_last() -> None:
    order = [request.layout for _, request in every_layout(workload(8, 8, 8), [0, 1, 2])]
    assert order[-6:] == ["shorter"] * 3 + ["longer"] * 3


@given(st.integers(1, 9), st.integers(0, 7))
def test_of_a_server_that_takes_few_items_no_more_are_asked(most: int, target: int) -> None:
    made = workload(*[4] * 8)
    requests = dict(sent(made, most))
    for layout in ("shorter", "longer"):
        # One neighbour there is always, or the request would show nothing.
        assert len(requests[target, layout].items) == min(8, max(2, most))


@given(
    st.lists(st.integers(1, 40), min_size=1, max_size=8),
    st.integers(1, 4),
    st.none() | st.integers(2, 8),
)
def test_the_longest_prompt_is_that_of_a_request_and_no_more(
    of: list[int], targets: int, most_items: int | None
) -> None:
    made, asked = workload(*of), probes(targets, most_items)
    part = probed_part(made, asked)
    requests = [r for _, r in every_layout(part, choose_targets(made, asked))]
    longer = [r for r in requests if r.layout == "longer"]
    # The target keeps its length, and may still be the longest.
    others = [len(x) for r in longer for i, x in enumerate(r.items) if i != r.place]
    expected = len(QUERY) + max(others) if others else 0
    assert longest_probe_tokens(made, asked) == expected
    for request in requests:
        assert max(lengths(request)) + len(QUERY) <= max(expected, made.prompt_tokens)
        packed = len(QUERY) + sum(n + 1 for n in lengths(request))
        assert packed <= packed_probe_tokens(made, asked)


def test_servers_launched_here_have_room_for_the_longest_probe(tmp_path: Path) -> None:
    # 100 + 60 for a pass, 100 + 90 for a probe; a context is a multiple of 32.
    raw = raw_contract(workload__query_tokens=100, workload__item_tokens=60)
    for made in plans(bare_folder(tmp_path), raw).values():
        assert made.contract.flags["context-length"] == 224


def test_the_accelerators_sequences_hold_the_longest_probe(tmp_path: Path) -> None:
    made = plans(bare_folder(tmp_path), raw_target("target=tpu_vs_gpu"))["jax", "portable"]
    # The query, and 500 items of 20 and 10 more tokens with a delimiter each.
    seed = made.workloads.by_name["seed"]
    assert packed_probe_tokens(seed, made.contract.probes) == 2000 + 500 * 31
    for flag in ("max-multi-item-seq-len", "max-prefill-tokens"):
        room = made.contract.flags[flag]
        assert isinstance(room, int)
        assert room >= 17_500
    assert made.contract.flags["max-multi-item-count"] == 512


@pytest.mark.parametrize("view", ["portable", "best_native"])
def test_a_sequence_too_short_for_the_probes_is_refused_before_hours_are_spent(
    tmp_path: Path, view: str
) -> None:
    def limited(tokens: int) -> dict[str, Any]:
        raw = raw_target("target=tpu_vs_gpu")
        packs = raw["backends"]["jax"]["portable"]
        raw["backends"]["jax"][view]["multi_item"] = packs["multi_item"]
        flags = raw["backends"]["jax"][view]["flags"]
        # Where items continue a kept query, nothing is packed.
        flags |= {"multi-item-enable-prefill-extend": False}
        flags |= {"multi-item-mask-impl": "dense", "max-multi-item-seq-len": tokens}
        return raw

    folder = bare_folder(tmp_path)
    plans(folder, limited(17_500))
    with pytest.raises(ContractError) as caught:
        plans(folder, limited(17_499))
    key = f"backends.jax.{view}.flags.max-multi-item-seq-len"
    assert str(caught.value).startswith(
        f"params.yaml: {key}: found 17499; allowed: at least 17,500: probe requests of"
        " workloads.seed"
    )


def test_the_workload_with_the_longest_sequence_is_the_one_that_is_named(tmp_path: Path) -> None:
    raw = raw_target("target=tpu_vs_gpu")
    one = raw["workloads"]["seed"]
    # Fewer items, and more tokens: 3,000 of query, and 400 items of 50 + 25 with a delimiter each.
    raw["workloads"]["long"] = {**one, "query_tokens": 3000, "items": 400, "item_tokens": 50}
    flags = raw["backends"]["jax"]["portable"]["flags"]
    flags["max-multi-item-seq-len"] = 3000 + 400 * 76
    folder = bare_folder(tmp_path)
    plans(folder, raw)
    flags["max-multi-item-seq-len"] -= 1
    with pytest.raises(ContractError, match=r"at least 33,400: probe requests of workloads\.long "):
        plans(folder, raw)
