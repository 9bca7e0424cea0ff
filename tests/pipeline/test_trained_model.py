"""Real, trained weights from a real package: the model knows what it knew, on both servers."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml
from bench import inside
from click.testing import CliRunner
from contracts import ROOT
from dvc.utils.hydra import compose_and_dump
from hypothesis import given
from hypothesis import strategies as st
from pipelines import Pipeline, copy_work_tree

from stages.compare.gate import judge
from stages.compare.oracle import against_oracle
from stages.compare.passes import passes_of
from stages.compare.probes import change_limit, isolation, noise_floor
from stages.contract import Contract, TextWorkload, parse_contract
from stages.documents.matrix import Matrix, read_matrix
from stages.documents.model import read_model
from stages.documents.oracle import read_oracle
from stages.documents.probes import OTHER_LENGTHS, read_probes
from stages.documents.workload import read_workloads
from stages.oracle import command as oracle
from stages.oracle.command import run_scorer
from stages.oracle.score import Answer, Job, Question
from stages.packaged.tokenizer import TextTokenizer

pytestmark = pytest.mark.servers

CHECKPOINT = "data/checkpoint"
REVIEWS = "reviews"
REDUCED = [
    "target=smollm2_cpu",
    "chunk_sizes=[1]",
    "passes.warmup_limit=3",
    "passes.sweep=1",
    "passes.confirm=1",
    "probes.targets=1",
    "probes.repeats=2",
    "oracle.samples_per_chunk=2",
]


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Pipeline:
    """The work tree with the reduced contract, its model and its workload."""
    folder = tmp_path_factory.mktemp("trained") / "scoreparity"
    folder.mkdir()
    copy_work_tree(folder)
    compose_and_dump(
        folder / "params.yaml", str(folder / "conf"), None, "config", None, list(REDUCED)
    )
    made = Pipeline(folder)
    composed = yaml.safe_load((folder / "params.yaml").read_text())
    texts = composed["workloads"][REVIEWS]["item_texts"]
    made.set_param(f"workloads.{REVIEWS}.item_texts", texts[:2])
    # Every token costs two servers on a CPU much time.
    made.set_param(f"workloads.{REVIEWS}.query_text", "Is the review positive?\n\n")
    for stage in ("workload", "nonce", "checkpoint", "delimiters"):
        made.run(sys.executable, "-m", f"stages.{stage}")
    return made


@pytest.fixture(scope="module")
def contract(tree: Pipeline) -> Contract:
    return parse_contract(yaml.safe_load((tree.folder / "params.yaml").read_text()))


@pytest.fixture(scope="module")
def tokenizer(tree: Pipeline) -> TextTokenizer:
    return TextTokenizer((tree.folder / CHECKPOINT / "tokenizer.json").read_bytes())


def test_the_target_brings_its_contract_along_and_another_can_be_asked_for(tmp_path: Path) -> None:
    def composed(*overrides: str) -> Any:
        path = tmp_path / "params.yaml"
        compose_and_dump(path, str(ROOT / "conf"), None, "config", None, list(overrides))
        return yaml.safe_load(path.read_text())

    trained = composed("target=smollm2_cpu")
    assert trained["identity"] == {"target": "smollm2_cpu", "contract": "smollm2"}
    assert trained["backends"] == composed()["backends"], "the servers run as on the CPU target"
    assert composed("target=smollm2_cpu", "contract=quick")["model"] == composed()["model"]


def test_the_tokenizer_is_the_models_own(tokenizer: TextTokenizer) -> None:
    assert tokenizer.encode("Yes") == [10539]
    assert tokenizer.encode("No") == [5230]
    assert tokenizer.encode("The capital of France is") == [504, 3575, 282, 4649, 314]
    assert tokenizer.encode("<|im_start|>user\n") == [1, 4093, 198]
    assert len(tokenizer.encode("2026")) == 4, "digits stand alone"


# The model was trained without a token for a few control characters and for planes 4 to 11 of
# Unicode, which hold nothing; a workload of texts refuses what the tokenizer would lose. Half a
# surrogate pair is no text.
WRITTEN = st.characters(
    min_codepoint=0x20, max_codepoint=0x3FFFF, exclude_categories=["Cs"]
) | st.just("\n")


@given(text=st.text(WRITTEN))
def test_the_real_tokenizer_loses_no_text(tokenizer: TextTokenizer, text: str) -> None:
    assert tokenizer.decode(tokenizer.encode(text)) == text


def test_the_workload_reads_as_the_contract_says(
    tree: Pipeline, contract: Contract, tokenizer: TextTokenizer
) -> None:
    found = read_workloads(tree.folder / "data/workload/canonical_workload.json")
    workload, asked = found.by_name[REVIEWS], contract.workloads[REVIEWS]
    assert isinstance(asked, TextWorkload)
    assert tokenizer.decode(workload.query[8:]) == asked.query_text
    assert [tokenizer.decode(i) for i in workload.items] == asked.item_texts
    assert [tokenizer.decode([i]) for i in workload.label_token_ids] == [" Yes", " No"]


@pytest.fixture(scope="module")
def next_token(tree: Pipeline, tokenizer: TextTokenizer) -> list[float]:
    """The probability of every token after "The capital of France is".

    Asked in the stage ``oracle``, as one question more, because the scorer takes long to start.
    """
    more = Question(
        prompts=[tokenizer.encode("The capital of France is")],
        label_token_ids=list(range(49152)),
        apply_softmax=False,
    )
    found: list[list[float]] = []

    def asked_more(python: Path, job: Job) -> Answer:
        answer = run_scorer(python, replace(job, questions=[*job.questions, more]))
        *rest, (scores,) = answer.scores
        found.append(scores)
        return replace(answer, scores=rest)

    with inside(tree.folder), pytest.MonkeyPatch.context() as patch:
        patch.setattr(oracle, "run_scorer", asked_more)
        done = CliRunner().invoke(oracle.main, catch_exceptions=False)
    assert done.exit_code == 0, done.output
    (scores,) = found
    return scores


def test_the_weights_know_the_capital_of_france(
    next_token: list[float], tokenizer: TextTokenizer
) -> None:
    assert tokenizer.decode([next_token.index(max(next_token))]) == " Paris"


@pytest.mark.usefixtures("next_token")
def test_both_servers_and_the_oracle_agree_on_the_trained_model(
    tree: Pipeline, contract: Contract
) -> None:
    matrices: dict[str, Matrix] = {}
    for backend in ("pytorch", "jax"):
        tree.run(sys.executable, "-m", "stages.measure", backend, "portable")
        matrices[backend] = read_matrix(
            tree.folder / f"data/measure/{backend}-portable/matrix.parquet"
        )
    passes = {backend: passes_of(matrix.calls) for backend, matrix in matrices.items()}
    gate = judge(passes["jax"], passes["pytorch"], contract.gate, labels=2)
    assert gate.verdict == "pass"
    assert gate.max_abs_diff < 1e-4
    assert gate.compared_passes >= 2
    assert all(control.caught for control in gate.controls)
    sample = read_oracle(tree.folder / "data/oracle/oracle.parquet").frame
    for backend, matrix in matrices.items():
        assert matrix.provenance.model == read_model(tree.folder / CHECKPOINT / "model.json")
        assert matrix.provenance.model.trained
        found = against_oracle(passes[backend], sample, 2, contract.gate)
        # Two of each chunk size: 1, and both items in one request.
        assert (found.compared, found.missing) == (4, 0)
        assert found.max_abs_diff < 1e-4
        probes = read_probes(tree.folder / f"data/measure/{backend}-portable/probes.parquet")
        dtype = matrix.provenance.contract.launch.dtype
        limit = change_limit(noise_floor(probes.frame), contract.gate, dtype)
        isolated = isolation(probes.frame, probes.provenance.targets[REVIEWS], 2, limit)
        assert isolated.verdict == "isolated"
        assert set(OTHER_LENGTHS) <= isolated.changes.keys()
