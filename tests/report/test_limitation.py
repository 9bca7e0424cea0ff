"""The known TPU limitation: the report says whether it held for the run."""

from __future__ import annotations

from typing import Any

import comparisons as build
import pytest
from elsewhere import account
from matrices import with_facts
from report_words import plain_comparison

from stages.contract import VIEWS
from stages.documents.comparison import MatrixSource
from stages.report.limitation import holds
from stages.report.render import render_all

COMMIT = "0c2836898fd0b9c0fd53213fd9e0c5a032e94c77"
DENSE = ["--multi-item-mask-impl", "dense", "--multi-item-segment-fallback-threshold", "0"]


def of_jax(*argv: str, **changes: Any) -> list[MatrixSource]:
    """Both views of JAX with ``changes`` on a TPU, unless a test says otherwise; PyTorch's."""
    fields: dict[str, Any] = {"devices": ["tpu"], "argv": ["python", "-m", "server", *argv]}
    jax = [build.source("jax", view, **{**fields, **changes}) for view in VIEWS]
    return [*jax, *(build.source("pytorch", view, devices=["cuda"]) for view in VIEWS)]


def said(sources: list[MatrixSource]) -> str:
    """What the section says of the run, as the report has it."""
    comparison = plain_comparison(sources=sources)
    page = render_all(comparison)["report.md"]
    section = page[page.index("## Known TPU limitation") : page.index("## Workload contract")]
    assert "ValueError: Cannot do int indexing on TPU during kernel lowering" in section
    assert section.rstrip().endswith(holds(comparison).replace("_", "\\_"))
    return holds(comparison)


@pytest.mark.parametrize("target", ["cpu", "tpu_vs_gpu"])
@pytest.mark.parametrize(("device", "told"), [("cpu", "a CPU"), ("cuda", "cuda")])
def test_it_does_not_apply_where_jax_was_on_no_tpu(target: str, device: str, told: str) -> None:
    comparison = plain_comparison(sources=of_jax(devices=[device]), target=target)

    assert holds(comparison) == f"It does not apply to this run: JAX ran on {told}."


def test_a_tpu_is_a_tpu_whatever_the_target_is_called() -> None:
    comparison = plain_comparison(sources=of_jax(*DENSE), target="cpu")

    assert holds(comparison).startswith("It holds for this run")


def test_without_the_fix_it_holds_and_names_the_commit() -> None:
    assert said(of_jax(*DENSE, backend_commit=COMMIT)) == (
        "It holds for this run: the contract does not say that commit 0c2836898fd0 of sglang-jax"
        " contains the fix. JAX ran with these masks: dense."
    )


def test_with_the_fix_it_does_not_hold_and_the_masks_are_told() -> None:
    sources = of_jax("--multi-item-mask-impl", "segment", backend_commit=COMMIT)
    sources[1] = with_facts(sources[1], {"argv": ["python", "--multi-item-mask-impl=auto"]})
    sources = [
        s.model_copy(update={"segment_mask_mended": True}) if s.backend == "jax" else s
        for s in sources
    ]

    assert said(sources) == (
        "It does not hold for this run: by the contract, commit 0c2836898fd0 of sglang-jax contains"
        " the fix. JAX ran with these masks: segment in the portable view and auto in the"
        " best-native view."
    )


def test_a_server_elsewhere_is_told_with_the_mask_that_it_reports() -> None:
    told = account(settings={"device": "tpu", "multi_item_mask_impl": "dense"})
    sources = of_jax(argv=[], base_url="http://192.0.2.1:1", elsewhere=told)

    assert said(sources) == (
        "It holds for this run: the contract does not say that the build of sglang-jax contains"
        " the fix. JAX ran with these masks: dense."
    )


def test_a_server_that_was_given_no_mask_has_its_own() -> None:
    assert said(of_jax()).endswith("JAX ran with these masks: the server's default.")


def test_where_jax_could_not_run_nothing_is_claimed() -> None:
    sources = of_jax(unavailable="a quota of 0 TPUs", devices=[], argv=[])

    assert holds(plain_comparison(sources=sources)) == "JAX was not measured in this run."
