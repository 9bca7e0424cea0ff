"""What the cluster would be given."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
from manifests import FOLDERS, Document, containers, pods, render, settings
from rules import NEWEST, RULES, on_accelerator, schema

type Rule = Callable[[list[Document]], Iterator[str]]

ACCELERATORS = {
    "overlays/jax-tpu": ("jax", "google.com/tpu"),
    "overlays/pytorch-gpu": ("pytorch", "nvidia.com/gpu"),
}


@pytest.mark.parametrize("folder", FOLDERS)
@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.__name__)
def test_what_is_rendered_keeps_every_rule(rule: Rule, folder: str) -> None:
    documents = render(folder)

    assert len(containers(documents)) == 1
    assert list(rule(documents)) == []


@pytest.mark.parametrize("folder", FOLDERS)
def test_what_is_rendered_is_known_to_the_newest_schemas_too(folder: str) -> None:
    assert list(schema(render(folder), NEWEST)) == []


@pytest.mark.parametrize("folder", ACCELERATORS)
def test_an_overlay_asks_for_its_accelerator(folder: str) -> None:
    assert list(on_accelerator(render(folder), *ACCELERATORS[folder])) == []


def test_the_tpu_is_one_chip_of_v6e() -> None:
    (pod,) = pods(render("overlays/jax-tpu"))

    assert pod["nodeSelector"] == {
        "cloud.google.com/gke-tpu-accelerator": "tpu-v6e-slice",
        "cloud.google.com/gke-tpu-topology": "1x1",
    }


def test_pytorch_shares_memory_between_its_processes() -> None:
    (pod,) = pods(render("overlays/pytorch-gpu"))
    (container,) = pod["containers"]
    (name,) = [m["name"] for m in container["volumeMounts"] if m["mountPath"] == "/dev/shm"]

    assert [v["emptyDir"]["medium"] for v in pod["volumes"] if v["name"] == name] == ["Memory"]


def test_the_halves_differ_in_nothing_that_could_sway_the_comparison() -> None:
    host = ("cpu", "memory", "ephemeral-storage")
    limits = [
        {name: c["resources"]["limits"][name] for name in host}
        for folder in ACCELERATORS
        for c in containers(render(folder))
    ]
    images = {c["image"] for folder in ACCELERATORS for c in containers(render(folder))}
    told = [s for folder in ACCELERATORS for s in settings(render(folder))]
    assert [s.pop("BACKEND") for s in told] == ["jax", "pytorch"]
    # Only its server comes from a repository, which a pod has to be told.
    assert told[0].pop("SCOREPARITY_SGLANG_JAX_SOURCE").startswith("https://")

    assert limits[0] == limits[1]
    assert len(images) == 1
    assert told[0] == told[1]


def test_both_halves_fit_into_one_namespace() -> None:
    names = [(d["kind"], d["metadata"]["name"]) for folder in ACCELERATORS for d in render(folder)]

    assert len(names) == len(set(names))
