"""PyTorch sglang packs items on a CPU, and its packed scores are those of separate prompts."""

from __future__ import annotations

from pathlib import Path

import pytest
from measuring import Measuring, calls_by_pass
from patience import PATIENCE_S
from pipelines import Pipeline

from stages.compare.probes import isolation
from stages.documents.matrix import Matrix
from stages.documents.probes import PROBES_FILE, read_probes

pytestmark = pytest.mark.servers

# Two float32 attentions add in another order.
SAME = 1e-5


@pytest.fixture
def title() -> str:
    return "pytorch-portable"


def measured(measuring: Measuring) -> Matrix:
    process = measuring.start()
    said, _ = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 0, said
    return measuring.matrix


def packed_where_portable(pipeline: Pipeline) -> None:
    """Packed items in the portable view, separate prompts in the other one."""
    plain = {"disable-cuda-graph": True, "mem-fraction-static": 0.3, "chunked-prefill-size": -1}
    separate = {**plain, "attention-backend": "torch_native", "disable-radix-cache": True}
    view = "backends.pytorch.portable"
    pipeline.set_param(f"{view}.flags", {**plain, "disable-radix-cache": True})
    pipeline.set_param(f"{view}.multi_item", {"delimiter_token_id": 9999})
    pipeline.set_param("backends.pytorch.best_native.flags", separate)
    pipeline.set_param("workload.item_tokens", 5)


def test_packed_scores_of_the_real_server_are_those_of_separate_prompts(
    measuring: Measuring, cache: Path
) -> None:
    packed_where_portable(measuring.pipeline)
    measuring.pipeline.run("dvc", "repro", "workload", "checkpoint", "nonce")
    packed = measured(measuring)
    separate = measured(Measuring(measuring.pipeline, cache, "pytorch-best_native"))

    scoring = packed.provenance.run.scoring
    assert scoring is not None
    assert (scoring.mode, scoring.stand_in) == ("packed", True)
    other = separate.provenance.run.scoring
    assert other is not None
    assert (other.mode, other.stand_in) == ("separate", False)

    theirs, found = calls_by_pass(separate), []
    for name, calls in calls_by_pass(packed).items():
        for call, its in zip(calls, theirs[name], strict=True):
            assert (call["status"], its["status"]) == ("ok", "ok")
            found += [
                (a, b)
                for row, twin in zip(call["scores"], its["scores"], strict=True)
                for a, b in zip(row, twin, strict=True)
            ]
    assert len({a for a, _ in found}) > 16, "the scores of different items and passes differ"
    assert max(abs(a - b) for a, b in found) < SAME

    # Neighbours of other lengths, more of them and in another order: nothing changes.
    probes = read_probes(measuring.output / PROBES_FILE)
    told = isolation(probes.frame, probes.provenance.targets, packed.provenance.items, SAME)
    assert told.verdict == "isolated", told
