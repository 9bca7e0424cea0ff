"""What `dvc plots` draws of several workloads, with the real dvc."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import comparisons as made
import pytest
from results_in_git import run, two_versions

from stages.contract import VIEWS
from stages.documents.comparison import Comparison, ComparisonSet

PLOTS = {
    "Items per second, portable view",
    "p95 pass latency, portable view",
    "Items per second, best-native view",
    "p95 pass latency, best-native view",
}


def of(name: str, tokens: int, jax: dict[int, float]) -> Comparison:
    views = (made.speeds(view, jax, dict.fromkeys(jax, 50.0)) for view in VIEWS)
    return made.comparison(*views, workload=name, total_tokens=tokens)


def both(many: float) -> ComparisonSet:
    """Two workloads of other chunk sizes, of which the larger one has this rate of JAX at 32."""
    few, larger = {1: 40.0, 8: 90.0}, {1: 30.0, 8: 80.0, 32: many}
    return made.comparison_set(of("few", 128, few), of("more", 384, larger))


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A repository with this project's plots, and two versions of the figures."""
    folder = tmp_path_factory.mktemp("plots") / "repository"
    folder.mkdir()
    two_versions(folder, both(300.0), both(500.0))
    return folder


def drawn(folder: Path, *command: str) -> dict[str, dict[str, Any]]:
    """The Vega-Lite documents, by title."""
    found = json.loads(run(folder, "dvc", "plots", *command, "--json"))
    assert not found.get("errors")
    documents = {title: [one["content"] for one in made] for title, made in found["data"].items()}
    return {title: one for title, (one,) in documents.items()}


def points(document: dict[str, Any], field: str) -> list[tuple[str, str, str, str]]:
    """Revision, workload, chunk size and figure of every point of one line's field."""
    y = "dvc_inferred_y_value"
    return [
        (row["rev"], row["workload"], row["chunk_size"], row[y])
        for row in document["data"]["values"]
        if row["field"] == field
    ]


def test_every_workload_has_a_plot_of_its_own_in_each_picture(repository: Path) -> None:
    documents = drawn(repository, "show")
    assert set(documents) == PLOTS
    for document in documents.values():
        assert "<DVC_METRIC" not in json.dumps(document)
        # Without it, the lines of two workloads would be one zigzag.
        facet = document["encoding"]["facet"]
        assert facet["field"] == "workload"
        assert facet["sort"] is None, "in the order of the table: by rising total tokens"
        made_here = [step["as"] for step in document["transform"]]
        assert made_here == ["y", "x", "workload"]
    speeds = documents["Items per second, portable view"]
    assert points(speeds, "candidate_items_per_s") == [
        ("workspace", "few", "1", "40.0"),
        ("workspace", "few", "8", "90.0"),
        ("workspace", "more", "1", "30.0"),
        ("workspace", "more", "8", "80.0"),
        ("workspace", "more", "32", "500.0"),
    ]


def test_two_revisions_are_drawn_in_the_plot_of_the_same_workload(repository: Path) -> None:
    documents = drawn(repository, "diff", "HEAD")
    assert set(documents) == PLOTS
    speeds = documents["Items per second, portable view"]
    at_32 = [
        (rev, workload, rate)
        for rev, workload, size, rate in points(speeds, "candidate_items_per_s")
        if size == "32"
    ]
    assert sorted(at_32) == [("HEAD", "more", "300.0"), ("workspace", "more", "500.0")]
    assert set(speeds["encoding"]["color"]["scale"]["domain"]) == {"HEAD", "workspace"}
