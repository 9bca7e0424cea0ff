"""Whether the known limitation of segment masks on a TPU held for the run."""

from __future__ import annotations

from stages.documents.comparison import Comparison, MatrixSource, Named, Pair
from stages.report import format as f
from stages.report.devices import measured, on_tpu, ran_on


def masked(pair: Pair) -> Named | None:
    """The backend that has such masks, if one of the pair has."""
    return next((one for one in (pair.candidate, pair.reference) if one.tpu_mask_flag), None)


def holds(comparison: Comparison) -> str:
    """Whether it held, in sentences; empty where no backend has such masks."""
    its = masked(comparison.pair)
    if its is None:
        return ""
    sources = [source for source in measured(comparison) if source.backend == its.key]
    if not sources:
        return f"{its.title} was not measured in this run."
    there = [source for source in sources if on_tpu(source)]
    if not there:
        return f"It does not apply to this run: {its.title} ran {ran_on(sources, comparison.pair)}."
    # The launch is the same in both views.
    build = _build(there[0], its)
    verdict = (
        f"It does not hold for this run: by the contract, {build} contains the fix."
        if all(source.segment_mask_mended for source in there)
        else f"It holds for this run: the contract does not say that {build} contains the fix."
    )
    return f"{verdict} {its.title} ran with these masks: {_masks(there, its)}."


def _build(source: MatrixSource, its: Named) -> str:
    if source.backend_commit is None:
        return f"the build of {its.package}"
    return f"commit {source.backend_commit[:12]} of {its.package}"


def _masks(sources: list[MatrixSource], its: Named) -> str:
    masks = [(source, _mask(source, f"--{its.tpu_mask_flag}")) for source in sources]
    if len({mask for _, mask in masks}) == 1:
        return masks[0][1]
    return f.join([f"{mask} in the {f.VIEW_NAMES[s.view]} view" for s, mask in masks])


def _mask(source: MatrixSource, flag: str) -> str:
    if source.run.elsewhere is not None:
        return str(source.run.elsewhere.settings.get(flag[2:].replace("-", "_")) or "not known")
    for word, following in zip(source.run.argv, [*source.run.argv[1:], ""], strict=True):
        if word == flag:
            return following
        if word.startswith(f"{flag}="):
            return word.partition("=")[2]
    return "the server's default"
