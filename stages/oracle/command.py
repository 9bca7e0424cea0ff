"""Stage ``oracle``: an independent score for a seeded sample of the prompts.

Writes ``data/oracle/oracle.parquet``. Where the backends disagree, the oracle shows which one is
wrong.
"""

from __future__ import annotations

import itertools
import json
import math
import os
import subprocess
from dataclasses import asdict
from pathlib import Path

import click
import pyarrow as pa
import pydantic

from stages.backends.registry import oracle_environment
from stages.common.errors import UserError, one_line_errors
from stages.common.shell import clean_environ
from stages.contract import load_contract
from stages.documents.delimiters import DELIMITERS_FILE, read_delimiters
from stages.documents.matrix import MODEL_FILE, WORKLOAD_FILE
from stages.documents.model import read_model
from stages.documents.nonce import NONCE_FILE, read_nonce
from stages.documents.oracle import (
    ORACLE_FILE,
    ORACLE_SCHEMA,
    ORACLE_TABLE,
    ORACLE_VERSION,
    OracleProvenance,
)
from stages.documents.tables import table_sha256
from stages.documents.workload import CanonicalWorkload, read_workloads
from stages.environments.build import (
    ensure_environment,
    requirements_sha256,
    scratch_folder,
)
from stages.oracle.sample import SampledItem, prompt_of, samples_of
from stages.oracle.score import Answer, Job, Question

SCORER = Path(__file__).with_name("score.py")
_SUM_TOLERANCE = 1e-9


class _Failure(pydantic.BaseModel):
    error: str


_ANSWER: pydantic.TypeAdapter[Answer | _Failure] = pydantic.TypeAdapter(Answer | _Failure)


def run_scorer(python: Path, job: Job, scorer: Path = SCORER) -> Answer:
    """Run the scorer on ``job`` as a child process.

    Raises:
        UserError: the model cannot be loaded, or the scorer ended without an answer.
    """
    environ = clean_environ() | {
        "CUDA_VISIBLE_DEVICES": "",
        # With fewer threads under load a library would add in another order.
        "MKL_DYNAMIC": "FALSE",
        "OMP_DYNAMIC": "FALSE",
        # Threads that spin while they wait slow a busy machine down a hundredfold.
        "OMP_WAIT_POLICY": "PASSIVE",
        "PYTHONPYCACHEPREFIX": str(scratch_folder(oracle_environment(), "bytecode")),
    }
    done = subprocess.run(
        # -P keeps this folder, which is the harness's, off the scorer's import path.
        [str(python), "-P", str(scorer)],
        input=json.dumps(asdict(job)).encode(),
        stdout=subprocess.PIPE,
        env=environ,
        check=False,
    )
    try:
        answer = _ANSWER.validate_json(done.stdout)
    except pydantic.ValidationError:
        raise UserError(
            f"the oracle's scorer ended with exit code {done.returncode} and no answer;"
            " see its message above"
        ) from None
    if isinstance(answer, _Failure):
        raise UserError(answer.error)
    return answer


def prompts_of(
    workload: CanonicalWorkload, sample: list[SampledItem], delimiters: list[int]
) -> list[list[int]]:
    """The prompts of the sample, then the same with each delimiter between query and item."""
    return [
        prompt_of(workload, sampled, between)
        for between in (None, *delimiters)
        for sampled in sample
    ]


def check_answer(answer: Answer, job: Job) -> None:
    """Check that every question of the job has its answer.

    Raises:
        UserError: there are more or fewer.
    """
    if len(answer.scores) != len(job.questions):
        found, asked = len(answer.scores), len(job.questions)
        raise UserError(f"the oracle answered {found} workloads, not {asked}")


def check_scores(sample: list[SampledItem], scores: list[list[float]], question: Question) -> None:
    """Check that every prompt of a workload has one probability for each label.

    Args:
        sample: the items of the prompts.
        scores: of the question's prompts; these are the sample's, once or several times over.
        question: that was answered.

    Raises:
        UserError: a prompt has not; names its item.
    """
    if len(scores) != len(question.prompts):
        raise UserError(f"the oracle scored {len(scores)} prompts, not {len(question.prompts)}")
    for sampled, row in zip(itertools.cycle(sample), scores, strict=False):
        where = (
            f"{sampled.workload}, chunk size {sampled.chunk_size}, run {sampled.run}, item"
            f" {sampled.item}"
        )
        if len(row) != len(question.label_token_ids):
            raise UserError(f"the oracle gave {len(row)} scores for {where}")
        # NaN fails the comparison too.
        if not all(0 <= value <= 1 for value in row):
            raise UserError(f"the oracle's scores {row} for {where} are no probabilities")
        if question.apply_softmax and abs(math.fsum(row) - 1) > _SUM_TOLERANCE:
            raise UserError(f"the oracle's scores {row} for {where} do not sum to 1")


def oracle_table(sample: list[SampledItem], scores: list[list[float]]) -> pa.Table:
    """The Arrow table of the scores, one row for each sampled item.

    Args:
        sample: the items.
        scores: of their prompts, then of those with each delimiter, as :func:`prompts_of` has them.
    """
    plain, *delimited = itertools.batched(scores, len(sample))
    rows = [
        {
            **asdict(sampled),
            "scores": plain[i],
            "delimited_scores": [block[i] for block in delimited] or None,
        }
        for i, sampled in enumerate(sample)
    ]
    return pa.Table.from_pylist(rows, schema=ORACLE_SCHEMA)


def threads() -> int:
    """The cores that this process may use: the same number in every run on one machine."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


@click.command()
@click.option("--output", type=click.Path(path_type=Path), default=ORACLE_FILE)
@one_line_errors
def main(output: Path) -> None:
    """Score a seeded sample of the prompts without any serving stack."""
    contract = load_contract()
    nonce = read_nonce(NONCE_FILE)
    workloads = read_workloads(WORKLOAD_FILE, contract.workloads).in_run(nonce)
    model = read_model(MODEL_FILE)
    samples = samples_of(contract, workloads)
    delimiters = read_delimiters(DELIMITERS_FILE)
    tokens = sorted(set(delimiters.values()))
    questions = {
        name: Question(
            prompts=prompts_of(workload, samples[name], tokens),
            label_token_ids=workload.label_token_ids,
            apply_softmax=workload.apply_softmax,
        )
        for name, workload in workloads.by_name.items()
    }
    job = Job(
        model=model.path,
        revision=model.revision,
        questions=list(questions.values()),
        threads=threads(),
    )
    answer = run_scorer(ensure_environment(oracle_environment()), job)
    check_answer(answer, job)
    scores = dict(zip(questions, answer.scores, strict=True))
    for name, question in questions.items():
        check_scores(samples[name], scores[name], question)
    table = pa.concat_tables(oracle_table(samples[name], scores[name]) for name in questions)
    provenance = OracleProvenance(
        schema_version=ORACLE_VERSION,
        workload_sha256=workloads.sha256,
        model_sha256=model.sha256,
        nonce=nonce,
        sample_seed=contract.oracle.seed,
        samples_per_chunk=contract.oracle.samples_per_chunk,
        delimiters=delimiters,
        dtype="float32",
        torch_version=answer.torch_version,
        transformers_version=answer.transformers_version,
        threads=job.threads,
        environment_sha256=requirements_sha256(oracle_environment()),
        table_sha256=table_sha256(table),
    )
    ORACLE_TABLE.write(output, table, provenance)
    also = f", and again with delimiter {' and '.join(map(str, tokens))}" if tokens else ""
    click.echo(f"oracle: {sum(map(len, samples.values()))} prompts scored{also}")
