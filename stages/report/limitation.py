"""Whether the known limitation of sglang-jax's segment masks on a TPU held for the run. Pure."""

from __future__ import annotations

from stages.documents.comparison import Comparison, Source
from stages.report import format as f
from stages.report.devices import measured, on_tpu, ran_on

_FLAG = "--multi-item-mask-impl"


def holds(comparison: Comparison) -> str:
    """Whether it held, in sentences."""
    sources = [source for source in measured(comparison) if source.backend == "jax"]
    if not sources:
        return "JAX was not measured in this run."
    there = [source for source in sources if on_tpu(source)]
    if not there:
        return f"It does not apply to this run: JAX ran {ran_on(sources)}."
    # The launch is the same in both views.
    build = _build(there[0])
    verdict = (
        f"It does not hold for this run: by the contract, {build} holds the mend."
        if all(source.segment_mask_mended for source in there)
        else f"It holds for this run: the contract does not say that {build} holds the mend."
    )
    return f"{verdict} JAX ran with these masks: {_masks(there)}."


def _build(source: Source) -> str:
    if source.backend_commit is None:
        return "the build of sglang-jax"
    return f"commit {source.backend_commit[:12]} of sglang-jax"


def _masks(sources: list[Source]) -> str:
    masks = [(source, _mask(source)) for source in sources]
    if len({mask for _, mask in masks}) == 1:
        return masks[0][1]
    return f.join([f"{mask} in the {f.VIEW_NAMES[s.view]} view" for s, mask in masks])


def _mask(source: Source) -> str:
    if source.run.elsewhere is not None:
        return str(source.run.elsewhere.settings.get("multi_item_mask_impl") or "not known")
    for word, following in zip(source.run.argv, [*source.run.argv[1:], ""], strict=True):
        if word == _FLAG:
            return following
        if word.startswith(f"{_FLAG}="):
            return word.partition("=")[2]
    return "the server's default"
