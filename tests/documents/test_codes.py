"""A reason or a flag without a figure that its sentence needs is damaged."""

from __future__ import annotations

from typing import Any, get_args

import pydantic
import pytest

from stages.documents.comparison import Flag, FlagCode, Reason, ReasonCode

FLAGS: list[dict[str, Any]] = [
    {"code": "single_pass", "backend": "jax", "chunk_size": 1},
    {"code": "lead_includes_one", "low": 0.9},
    {"code": "stand_in", "backend": "jax"},
    {"code": "other_work", "backend": "jax", "share": 0.2},
    {"code": "client_elsewhere", "backend": "jax", "chunk_size": 1},
    {"code": "compiles_hidden", "backend": "jax"},
    {"code": "requests_repeated", "backend": "jax"},
    {"code": "repetition_unknown", "backend": "jax"},
    {"code": "oracle_differs", "backend": "jax", "difference": 0.1},
    {"code": "other_prompt", "backend": "jax", "delimiter": 9999},
    {"code": "oracle_not_compared", "backend": "jax"},
    {"code": "noise", "backend": "jax", "difference": 0.1},
    {"code": "starts_not_probed", "backend": "jax"},
    {
        "code": "unstable",
        "backend": "jax",
        "chunk_size": 1,
        "instability": [{"code": "deviation", "share": 0.2}],
    },
    {"code": "compiled", "backend": "jax", "chunk_size": 1, "passes": 1},
    {"code": "prefix_cache", "backend": "jax", "chunk_size": 1, "passes": 1},
    {"code": "gate_untested", "backend": "jax", "chunk_size": 1, "only": ["item"]},
    {"code": "other_mode", "backend": "jax", "chunk_size": 1, "modes": ["packed", "cached"]},
]
WITHOUT_FIGURES = {"no_rival", "untrained_model", "hosts_without_cost"}
REASONS: list[dict[str, Any]] = [
    {"code": "unavailable", "detail": "a quota of 0"},
    {"code": "failed_passes", "good": 0, "planned": 5},
    {"code": "gate_inconclusive", "controls": ["items_rotated"]},
    {"code": "mixed_modes", "modes": {"packed": 4, "cached": 1}},
    {"code": "leaks", "items": [1], "change": 0.1, "limit": 0.01},
    {
        "code": "starts_differ",
        "starts": 1,
        "of_starts": 3,
        "items": [1],
        "change": 0.1,
        "limit": 0.01,
    },
    {"code": "ranking_failed", "tau": 0.5, "min_tau": 0.9, "flips": 3, "max_flips": 0},
]
CASES = [(Flag, one) for one in FLAGS] + [(Reason, one) for one in REASONS]


@pytest.mark.parametrize(("kind", "whole"), CASES, ids=[one["code"] for _, one in CASES])
def test_a_figure_that_is_missing_is_named(kind: type[Flag | Reason], whole: Any) -> None:
    kind.model_validate(whole)
    for name in whole.keys() - {"code"}:
        part = {key: value for key, value in whole.items() if key != name}
        with pytest.raises(pydantic.ValidationError, match=f"{whole['code']} has no {name}"):
            kind.model_validate(part)


def test_every_code_has_its_case() -> None:
    assert {one["code"] for one in FLAGS} | WITHOUT_FIGURES == {*get_args(FlagCode.__value__)}
    assert {one["code"] for one in REASONS} < {*get_args(ReasonCode.__value__)}
