"""On what the servers ran decides what may be concluded, and is told."""

from __future__ import annotations

from typing import Any

import comparisons as build
import pytest
from elsewhere import account
from matrices import with_facts
from report_words import plain_comparison

from stages.documents.comparison import MatrixSource
from stages.report.conclusion import conclude
from stages.report.render import render_all


def caveat(sources: list[MatrixSource], model: Any = build.TRAINED) -> str | None:
    return conclude(plain_comparison(sources=sources, model=model)).caveat


@pytest.mark.parametrize(
    ("jax", "pytorch", "words"),
    [
        ("cpu", "cpu", "a trained model on a CPU, where neither backend would be deployed"),
        (
            "tpu",
            "cpu",
            "a trained model on tpu (JAX) and on a CPU (PyTorch), where PyTorch would not be"
            " deployed",
        ),
        (
            "cpu:0",
            "cuda:0",
            "a trained model on a CPU (JAX) and on cuda:0 (PyTorch), where JAX would not be"
            " deployed",
        ),
    ],
)
def test_a_cpu_in_either_half_is_named_with_the_backend(jax: str, pytorch: str, words: str) -> None:
    assert caveat(build.on(jax, pytorch)) == words


def test_an_untrained_model_is_told_with_the_devices_and_not_with_the_target() -> None:
    assert caveat(build.on("cpu", "cpu"), build.UNTRAINED) == "an untrained small model on a CPU"
    assert caveat(build.on("tpu", "cuda"), build.UNTRAINED) == (
        "an untrained small model on tpu (JAX) and on cuda (PyTorch)"
    )


def test_one_view_on_a_cpu_is_enough_and_is_named() -> None:
    sources = build.on("tpu", "cuda")
    sources[0] = build.source("jax", "portable", devices=["cpu"])

    assert caveat(sources) == (
        "a trained model on a CPU (JAX, portable view), on tpu (JAX, best-native view) and on cuda"
        " (PyTorch), where JAX would not be deployed"
    )


def test_the_device_that_a_server_elsewhere_reports_counts() -> None:
    told = account(settings={"device": "cpu"})
    sources = build.on("tpu", "cuda")
    sources[0] = build.source(
        "jax", "portable", devices=["tpu"], base_url="http://192.0.2.1:1", elsewhere=told
    )

    assert "on a CPU (JAX, portable view)" in str(caveat(sources))


def test_devices_that_nobody_recorded_decide_nothing() -> None:
    sources = [with_facts(s, {"devices": []}) for s in build.on("tpu", "cuda")]

    assert caveat(sources) == (
        "a trained model on devices that are not known, so nothing says that either backend would"
        " be deployed there"
    )


def test_a_backend_that_could_not_run_has_no_device_to_judge() -> None:
    sources = [
        with_facts(s, {"devices": [], "unavailable": "a quota of 0 TPUs"})
        if s.backend == "jax"
        else s
        for s in build.on("tpu", "cuda")
    ]
    assert caveat(sources) is None

    on_a_laptop = [
        with_facts(s, {"devices": ["cpu"]}) if s.backend == "pytorch" else s for s in sources
    ]
    assert caveat(on_a_laptop) == ("a trained model on a CPU, where PyTorch would not be deployed")


def test_a_laptop_is_told_to_deploy_nothing() -> None:
    comparison = plain_comparison(target="smollm2_cpu", model=build.TRAINED)
    for name, page in render_all(comparison).items():
        assert "not a deployment decision" in page, name
        assert "Stay with" not in page, name
        assert "Deploy " not in page, name
