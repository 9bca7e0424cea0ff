"""What `dvc metrics diff` and `dvc plots diff` show, with the real dvc."""

from __future__ import annotations

import io
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import comparisons as made
import polars as pl
import pytest
from contracts import BACKENDS, WORKLOAD
from results_in_git import run, two_versions

from stages.compare.exports import metrics, plot_table
from stages.contract import VIEWS
from stages.documents.comparison import Comparison, ViewComparison

JAX = {1: 40.0, 8: 123.456789}
PYTORCH = {1: 50.0, 8: 400.0}


def steady() -> ViewComparison:
    return made.speeds("portable", JAX, PYTORCH)


def whole(portable: ViewComparison) -> Comparison:
    return made.comparison(portable, made.speeds("best_native", JAX, PYTORCH))


def names(figures: Mapping[str, Any], before: str = "") -> dict[str, Any]:
    """Dotted names, as dvc flattens them."""
    flat: dict[str, Any] = {}
    for name, value in figures.items():
        if isinstance(value, dict):
            flat |= names(value, f"{before}{name}.")
        else:
            flat[before + name] = value
    return flat


def portable(view: ViewComparison) -> dict[str, Any]:
    return names(metrics(whole(view))["portable"])


def test_a_view_shows_winner_selected_cells_noise_ratio_and_gate() -> None:
    # Intervals of the hand-built cells: 4/5 to 5/4 of the figure; p95 = 32 items / (items/s).
    assert portable(steady()) == {
        "winner": "pytorch",
        "winner_confidence": "high",
        "jax.scoring": "separate",
        "jax.chunk_size": 8,
        "jax.items_per_s": 123.5,
        "jax.items_per_s_low": 98.77,
        "jax.items_per_s_high": 154.3,
        "jax.p95_ms": 259.2,
        "jax.success_rate": 1.0,
        "pytorch.scoring": "separate",
        "pytorch.chunk_size": 8,
        "pytorch.items_per_s": 400.0,
        "pytorch.items_per_s_low": 320.0,
        "pytorch.items_per_s_high": 500.0,
        "pytorch.p95_ms": 80.0,
        "pytorch.success_rate": 1.0,
        "candidate_over_reference": 0.3086,
        "gate.passed_cells": 2,
        "gate.cells": 2,
        # The largest difference 1e-6 of 0.02, the mean 1e-7 of 0.01.
        "gate.max_abs_diff_pct_of_limit": 0.005,
        "gate.mean_abs_diff_pct_of_limit": 0.001,
        "ranking.kept_cells": 2,
        "ranking.cells": 2,
        "ranking.smallest_tau": 1.0,
        "ranking.most_flipped_pairs": 0,
    }


def test_names_are_the_same_when_a_backend_has_no_figures() -> None:
    down = made.replaced(
        steady(), *(made.failed("jax", "portable", size, "timeout") for size in JAX)
    )
    found = portable(down)
    assert list(found) == list(portable(steady()))
    for name in ("chunk_size", "items_per_s", "items_per_s_low", "p95_ms", "success_rate"):
        assert found[f"jax.{name}"] is None
    assert found["candidate_over_reference"] is None
    assert found["gate.max_abs_diff_pct_of_limit"] is None
    assert (found["gate.passed_cells"], found["gate.cells"]) == (0, 2)
    assert (found["ranking.kept_cells"], found["ranking.cells"]) == (0, 2)
    assert found["ranking.smallest_tau"] is found["ranking.most_flipped_pairs"] is None


def test_an_interval_without_an_upper_end_leaves_only_that_end_out() -> None:
    wide = made.interval(90.0, 1.0).model_copy(update={"high": None})
    cell = made.cell("jax", "portable", 8, JAX[8], items_per_s_interval=wide)
    found = portable(made.replaced(steady(), cell))
    assert found["jax.items_per_s_low"] == 90.0
    assert found["jax.items_per_s_high"] is None


def test_a_difference_that_is_not_a_number_does_not_hide_behind_the_others() -> None:
    odd = made.cell(
        "jax", "portable", 1, 40.0, gate=made.gate("fail", float("nan"), 1e-7), eligible=False
    )
    found = portable(made.replaced(steady(), odd))
    assert found["gate.max_abs_diff_pct_of_limit"] is None
    assert found["gate.passed_cells"] == 1


def test_only_an_order_that_is_kept_everywhere_reads_one() -> None:
    hardly = made.reordered(tau=0.999996, flipped_pairs=1)
    cell = made.cell("jax", "portable", 1, 40.0, ranking=hardly)
    found = portable(made.replaced(steady(), cell))
    assert (found["ranking.kept_cells"], found["ranking.cells"]) == (1, 2)
    assert (found["ranking.smallest_tau"], found["ranking.most_flipped_pairs"]) == (0.9999, 1)


def test_a_failed_cell_leaves_its_fields_of_the_plot_empty() -> None:
    view = made.replaced(steady(), made.failed("jax", "portable", 1, "oom"))
    table = pl.read_csv(io.BytesIO(plot_table(made.comparison_set(whole(view)), "portable")))
    assert table.row(0, named=True) == {
        "workload": WORKLOAD,
        "chunk_size": 1,
        "candidate_items_per_s": None,
        "candidate_p95_ms": None,
        "reference_items_per_s": 50.0,
        "reference_p95_ms": 640.0,
    }
    assert table["chunk_size"].to_list() == [1, 8]


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A repository with this project's metrics and plots, and two versions of the figures."""
    folder = tmp_path_factory.mktemp("exports")
    faster = made.replaced(steady(), made.cell("jax", "portable", 8, 500.0))
    sources = [made.source(b, v, git_dirty=b == "jax") for v in VIEWS for b in BACKENDS]
    changed = whole(faster).model_copy(update={"sources": sources})
    two_versions(folder, made.comparison_set(whole(steady())), made.comparison_set(changed))
    return folder


def test_dvc_metrics_diff_shows_what_changed_and_only_that(repository: Path) -> None:
    found = json.loads(run(repository, "dvc", "metrics", "diff", "--json"))
    changed = found["data/compare/metrics.json"]
    assert {name: (row["old"], row["new"]) for name, row in changed.items()} == {
        "many.portable.winner": ("pytorch", "jax"),
        "many.portable.jax.items_per_s": (123.5, 500.0),
        "many.portable.jax.items_per_s_low": (98.77, 400.0),
        "many.portable.jax.items_per_s_high": (154.3, 625.0),
        "many.portable.jax.p95_ms": (259.2, 64.0),
        "many.portable.candidate_over_reference": (0.3086, 1.25),
        "over_all_workloads.portable.candidate_over_reference": (0.3086, 1.25),
        "over_all_workloads.portable.wins.jax": (0, 1),
        "over_all_workloads.portable.wins.pytorch": (1, 0),
        "uncommitted_changes": (False, True),
    }


def test_dvc_plots_diff_draws_both_revisions_of_both_backends(repository: Path) -> None:
    found = json.loads(run(repository, "dvc", "plots", "diff", "HEAD", "--json"))
    assert not found.get("errors")
    assert len(found["data"]) == 4
    [drawing] = found["data"]["Items per second, portable view"]
    drawn = drawing["content"]
    assert "<DVC_METRIC" not in json.dumps(drawn)
    values = {(row["rev"], row["field"]) for row in drawn["data"]["values"]}
    assert values == {
        (rev, field)
        for rev in ("HEAD", "workspace")
        for field in ("candidate_items_per_s", "reference_items_per_s")
    }
    assert set(drawn["encoding"]["color"]["scale"]["domain"]) == {"HEAD", "workspace"}
    assert drawn["encoding"]["strokeDash"]["field"] == "field"
