"""Each flag, with every figure that it has."""

from __future__ import annotations

from typing import get_args

import comparisons as build
import pytest

from stages.documents.comparison import Flag, FlagCode
from stages.report.prose.flags import flag

FAR = Flag(code="client_elsewhere", backend="pytorch", chunk_size=1, round_trip_s=0.012, share=0.3)
UNSTEADY = [build.unsteady(0.11), build.unsteady(0.6, "slowest")]
WORDS: dict[str, Flag] = {
    "JAX's server was sent requests twice, and its prefix cache may have answered them": Flag(
        code="requests_repeated", backend="jax"
    ),
    "a single pass shows no noise, and that is all there is of JAX at chunk size 2": Flag(
        code="single_pass", backend="jax", chunk_size=2
    ),
    "the interval of the lead includes 1 (0.90x to 1.30x)": Flag(
        code="lead_includes_one", low=0.9, high=1.3
    ),
    "the interval of the lead includes 1 (0.90x to any)": Flag(code="lead_includes_one", low=0.9),
    "the other backend has no eligible cell": Flag(code="no_rival"),
    "a part of PyTorch's server was code of this project, so its speed is not to be quoted": Flag(
        code="stand_in", backend="pytorch"
    ),
    "the model is small and untrained": Flag(code="untrained_model"),
    "the backends ran on different hosts and no cost is given for both": Flag(
        code="hosts_without_cost"
    ),
    # 10% is the limit from which a machine is busy, and so is what is a little more.
    "other work took 10.01% of the machine's CPU time while JAX was timed": Flag(
        code="other_work", backend="jax", share=0.1001
    ),
    "the client was not on the server's machine (PyTorch): the longest round trip took 12.0 ms, and"
    " one for each call is at most 30% of the median pass of PyTorch at chunk size 1": FAR,
    "the client was not on the server's machine (PyTorch): the longest round trip took 12.0"
    " ms": FAR.model_copy(update={"share": None}),
    "the client was not on the server's machine (PyTorch): how long a round trip takes is not"
    " known": Flag(code="client_elsewhere", backend="pytorch", chunk_size=1),
    "whether PyTorch's server compiled in a timed pass could not be seen": Flag(
        code="compiles_hidden", backend="pytorch"
    ),
    "PyTorch's server was sent requests twice, and its prefix cache may have answered them": Flag(
        code="requests_repeated", backend="pytorch"
    ),
    "whether PyTorch's server was sent its requests before is not known, and its prefix cache may"
    " have answered them": Flag(code="repetition_unknown", backend="pytorch"),
    "JAX differs from the oracle by up to 0.400": Flag(
        code="oracle_differs", backend="jax", difference=0.4
    ),
    "JAX scores another prompt: query + delimiter 9999 + item": Flag(
        code="other_prompt", backend="jax", delimiter=9999
    ),
    "the oracle has nothing to compare JAX with": Flag(code="oracle_not_compared", backend="jax"),
    "whether JAX's scores depend on its server's start is not known": Flag(
        code="starts_not_probed", backend="jax"
    ),
    "JAX's answers to the same request differ by up to 0.0180": Flag(
        code="noise", backend="jax", difference=0.018
    ),
    "JAX at chunk size 2 is unstable: standard deviation 11% of the mean, slowest pass 60% from the"
    " mean": Flag(code="unstable", backend="jax", chunk_size=2, instability=UNSTEADY),
    "JAX at chunk size 2 compiled in 1 timed pass": Flag(
        code="compiled", backend="jax", chunk_size=2, passes=1
    ),
    "JAX at chunk size 2 took more from its prefix cache than allowed in 5 timed passes": Flag(
        code="prefix_cache", backend="jax", chunk_size=2, passes=5
    ),
    "JAX at chunk size 2 was scored prefill_extend, while its server's settings ask for"
    " score_from_cache": Flag(
        code="other_mode",
        backend="jax",
        chunk_size=2,
        modes=["score_from_cache", "prefill_extend"],
    ),
    "nothing could test the gate's power for JAX at chunk size 1: there is one item and one"
    " label": Flag(code="gate_untested", backend="jax", chunk_size=1, only=["item", "label"]),
}


@pytest.mark.parametrize("words", WORDS)
def test_a_flag_is_told_with_its_figures(words: str) -> None:
    assert flag(WORDS[words], build.PAIR) == words


def test_every_flag_is_worded() -> None:
    assert {one.code for one in WORDS.values()} == {*get_args(FlagCode.__value__)}
