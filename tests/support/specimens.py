"""Pages to look at: a plain result, one with failures, hostile words, and the seed contract."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import get_args

import comparisons as build
from contracts import BACKENDS
from report_pages import html_of
from report_words import HOSTILE, everywhere, talkative

from stages.contract import Backend, View
from stages.documents.comparison import (
    Cell,
    Comparison,
    ComparisonSet,
    Flag,
    Isolation,
    ItemDifference,
    PassTime,
    ViewComparison,
)
from stages.documents.probes import Layout
from stages.report.figures import draw_by_workload, draw_set
from stages.report.html import render_html
from stages.report.render_set import render_set

QUICK = (1, 2, 4, 8, 16, 32)
SEED = (1, 2, 4, 8, 16, 32, 64, 128, 256, 500)
UNSTEADY = [build.unsteady(0.11)]
FLAGS = [
    Flag(code="untrained_model"),
    Flag(code="compiled", backend="jax", chunk_size=8, passes=2),
    Flag(code="unstable", backend="pytorch", chunk_size=16, instability=UNSTEADY),
]
ARGV = [
    "/home/someone/.cache/scoreparity/environments/0123456789abcdef/bin/python",
    "-m",
    "sglang.launch_server",
    "--model-path",
    "data/checkpoint/model",
    "--multi-item-scoring-delimiter=151643",
    "--chunked-prefill-size=-1",
    "--disable-radix-cache",
    "--mem-fraction-static=0.25",
    "--served-model-name=" + "untrained-" * 12,
]


@functools.cache
def page(name: str) -> str:
    """The page of one of ``COMPARISONS``."""
    found = COMPARISONS[name]()
    if isinstance(found, Comparison):
        return html_of(found)
    return render_html(found, render_set(found), _drawn(found))


def _drawn(found: ComparisonSet) -> dict[str, bytes]:
    """Every figure; but for the second one, the workloads of ``several`` have the first one's."""
    first, _, *others = [one.scope.workload for one in found.workloads]
    few = draw_set(found.model_copy(update={"workloads": found.workloads[:2]}))
    own = {name: drawing for name, drawing in few.items() if name.startswith(f"{first}/")}
    return {
        **few,
        "figures/by_workload.svg": draw_by_workload(found),
        **{
            name.replace(first, other, 1): drawing
            for other in others
            for name, drawing in own.items()
        },
    }


def normal() -> Comparison:
    """PyTorch is ahead in both views, with reservations."""
    jax = dict(zip(QUICK, (34.1, 48.9, 70.2, 83.3, 81.0, 78.8), strict=True))
    pytorch = dict(zip(QUICK, (96.4, 171.0, 248.3, 310.6, 370.9, 366.2), strict=True))
    views = [
        _flagged(build.speeds("portable", jax, pytorch)),
        _flagged(build.speeds("best_native", jax, {size: 1.2 * v for size, v in pytorch.items()})),
    ]
    model = build.UNTRAINED.model_copy(
        update={"title": "untrained Qwen3, 2 layers, hidden 64, seed 20260211"}
    )
    return build.comparison(
        *views,
        model=model,
        sources=[
            build.source(b, v, argv=ARGV, backend_version={"jax": "0.0.2", "pytorch": "0.5.15"}[b])
            for v in ("portable", "best_native")
            for b in BACKENDS
        ],
    )


def _flagged(view: ViewComparison) -> ViewComparison:
    flagged = view.winner.model_copy(update={"flags": FLAGS, "confidence": "low"})
    return view.model_copy(update={"winner": flagged})


def partial() -> Comparison:
    """JAX could not run in the best-native view, and failed here and there in the portable one."""
    whole = normal()
    wrong = build.gate("fail", 0.31, 0.02)
    portable = build.replaced(
        whole.portable,
        build.failed("jax", "portable", 1, "timeout"),
        build.failed("pytorch", "portable", 32, "oom"),
        build.cell(
            "jax",
            "portable",
            8,
            83.3,
            gate=wrong,
            eligible=False,
            reasons=[build.reason("gate_failed")],
        ),
        build.cell(
            "jax", "portable", 16, 81.0, compiled_passes=2, instability=[build.unsteady(0.11)]
        ),
    )
    native = whole.best_native
    dead = build.replaced(
        native, *(build.failed("jax", "best_native", size, "server_died") for size in QUICK)
    )
    deferred = dead.model_copy(
        update={
            "winner": build.no_winner(outcome="deferred"),
            "item_differences": [],
            "unavailable": {"jax": "quota 0 of 8 chips in the zone"},
        }
    )
    return whole.model_copy(update={"portable": portable, "best_native": deferred})


def hostile() -> Comparison:
    """Markup and script in every field that takes words."""
    return everywhere(talkative(), HOSTILE)[0]


def seed() -> Comparison:
    """As large as the full contract makes it: 10 chunk sizes, 500 items, five sweep passes."""
    views = [_large(view) for view in ("portable", "best_native")]
    whole = build.comparison(*views, sources=build.on("tpu", "cuda"), model=build.TRAINED)
    scope = whole.scope.model_copy(
        update={"items": 500, "item_tokens": 20, "query_tokens": 2000, "chunk_sizes": list(SEED)}
    )
    return whole.model_copy(update={"scope": scope})


def _large(view: View) -> ViewComparison:
    rates = {size: 100.0 * (i + 1) for i, size in enumerate(SEED)}
    made = build.speeds(view, {size: 13.0 * rate for size, rate in rates.items()}, rates)
    return made.model_copy(
        update={
            "item_differences": [
                ItemDifference(
                    item=item,
                    chunk_size=SEED[item % len(SEED)],
                    max_abs_diff=1e-6 * (1 + item % 7),
                    mean_abs_diff=1e-7,
                )
                for item in range(500)
            ],
            "isolation": {b: _probed() for b in BACKENDS},
            "passes": {b: _passes([c for c in made.cells if c.backend == b], b) for b in BACKENDS},
        }
    )


def _probed() -> Isolation:
    layouts = [name for name in get_args(Layout.__value__) if name != "alone"]
    return build.isolation(
        targets=[0, 249, 499],
        changes={layout: 1e-7 * (i + 1) for i, layout in enumerate(layouts)},
        worst_target=499,
    )


def _passes(cells: list[Cell], backend: Backend) -> list[PassTime]:
    seconds = [(c, run, c.mean_s or 0.0) for run in range(5) for c in cells]
    return [
        PassTime(
            chunk_size=c.chunk_size,
            phase="sweep",
            run=run,
            session=0,
            started_s=float(i),
            seconds=mean * (1 + 0.04 * ((7 * i) % 5 - 2)),
            status="ok",
            compiled=run == 0 if backend == "jax" else None,
        )
        for i, (c, run, mean) in enumerate(seconds)
    ]


def several() -> ComparisonSet:
    """Six workloads with names of any length. One fails the gate, and one server was disturbed."""
    names = [
        "tiny",
        "small",
        "a_longer_name",
        "large",
        "larger",
        "a_name_as_long_as_" + 22 * "x",
    ]
    made = [_named(name, 64 * 3**i) for i, name in enumerate(names)]
    failing = build.cell(
        "jax", "portable", 4, 90.0, gate=build.gate("fail", 0.5, 0.1), **build.BARRED
    )
    made[1] = made[1].model_copy(update={"portable": build.replaced(made[1].portable, failing)})
    mixes = {"all": {name: float(i + 1) for i, name in enumerate(names)}}
    return build.comparison_set(*made, mixes=mixes)


def _named(name: str, tokens: int) -> Comparison:
    whole = normal()
    facts = {"workload": name, "total_tokens": tokens, "query_tokens": tokens // 2}
    first, *others = whole.sources
    busy = first.model_copy(update={"run": first.run.model_copy(update={"foreign_cpu": 0.25})})
    return whole.model_copy(
        update={"scope": whole.scope.model_copy(update=facts), "sources": [busy, *others]}
    )


COMPARISONS: dict[str, Callable[[], Comparison | ComparisonSet]] = {
    "normal": normal,
    "partial": partial,
    "hostile": hostile,
    "seed": seed,
    "several": several,
}
