"""PyTorch sglang packs items on a CPU, and its packed scores are those of separate prompts."""

from __future__ import annotations

import pytest
from bench import inside
from measuring import Measuring
from patience import PATIENCE_S
from pipelines import Pipeline

from stages.compare.oracle import against_oracle
from stages.compare.passes import passes_of
from stages.compare.probes import isolation
from stages.contract import Contract, load_contract
from stages.documents.oracle import ORACLE_FILE, read_oracle
from stages.documents.probes import PROBES_FILE, read_probes

pytestmark = pytest.mark.servers

# Two float32 attentions add in another order.
SAME = 1e-5


def packed(pipeline: Pipeline) -> Contract:
    """The portable view packs, and the oracle scores every item of every sweep pass by itself."""
    view = "backends.pytorch.portable"
    flags = {"disable-radix-cache": True, "chunked-prefill-size": -1, "disable-cuda-graph": True}
    pipeline.set_param(f"{view}.flags", {**flags, "mem-fraction-static": 0.3})
    pipeline.set_param(f"{view}.multi_item", {"delimiter_token_id": 9999})
    pipeline.set_param("oracle.samples_per_chunk", 10_000)
    pipeline.set_param("limits.start_timeout_s", PATIENCE_S)
    pipeline.run("dvc", "repro", "oracle")
    with inside(pipeline.folder):
        return load_contract()


@pytest.mark.parametrize("title", ["pytorch-portable"], indirect=True)
def test_packed_scores_of_the_real_server_are_those_of_separate_prompts(
    measuring: Measuring, title: str
) -> None:
    contract = packed(measuring.pipeline)
    process = measuring.start()
    said, _ = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 0, said
    matrix = measuring.matrix
    scoring = matrix.provenance.run.scoring
    assert scoring is not None
    assert (scoring.mode, scoring.stand_in) == ("packed", True)

    passes = passes_of(matrix.calls)
    assert set(passes["status"]) == {"ok"}
    assert passes["scores"].list.explode().n_unique() > 16, "the scores of items and passes differ"
    oracle = read_oracle(measuring.pipeline.folder / ORACLE_FILE)
    found = against_oracle(
        passes, oracle.frame, len(contract.workload.label_token_ids), contract.gate
    )
    # Chunk sizes 2 and 4, two sweep passes each, four items.
    assert (found.compared, found.missing) == (2 * 2 * 4, 0)
    assert found.max_abs_diff is not None
    assert found.max_abs_diff < SAME

    # Neighbours of other lengths, more of them and in another order: nothing changes.
    probes = read_probes(measuring.output / PROBES_FILE)
    told = isolation(probes.frame, probes.provenance.targets, matrix.provenance.items, SAME)
    assert told.verdict == "isolated", told
