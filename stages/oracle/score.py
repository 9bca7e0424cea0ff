"""The oracle: plain float32 forward passes, one prompt at a time.

This is a separate program that runs by file path in the backend environment with torch. It imports
neither the harness nor a serving stack, so their bugs cannot reach its scores. Standard input holds
one JSON job (:class:`Job`). Standard output gets one JSON object: ``scores`` (label scores for each
prompt of each workload) with ``torch_version`` and ``transformers_version``, or an ``error`` that
the user can correct.
"""

from __future__ import annotations

import contextlib
import json
import math
import sys
import time
from dataclasses import asdict, dataclass
from typing import Any

_SECONDS_BETWEEN_LINES = 15.0


@dataclass(frozen=True)
class Question:
    """The prompts of one workload.

    Attributes:
        prompts: token ids of every prompt.
        label_token_ids: the ids whose probability at the next position is the score.
        apply_softmax: whether the labels' probabilities are made to sum to 1.
    """

    prompts: list[list[int]]
    label_token_ids: list[int]
    apply_softmax: bool


@dataclass(frozen=True)
class Job:
    """What to score.

    Attributes:
        model: folder of a checkpoint, or a repository of the hub when ``revision`` is given.
        revision: commit of the repository.
        questions: one for each workload.
        threads: of the forward pass.
    """

    model: str
    revision: str | None
    questions: list[Question]
    threads: int


@dataclass(frozen=True)
class Answer:
    """The scores of each question, prompt by prompt, and the versions that computed them."""

    scores: list[list[list[float]]]
    torch_version: str
    transformers_version: str


class ModelError(Exception):
    """The model cannot be loaded."""


def load_model(job: Job) -> Any:  # torch and transformers are not in the harness
    """The model in float32 with eager attention, on the CPU.

    Raises:
        ModelError: it cannot be reached or read, or weights are missing.
    """
    import torch
    import transformers

    transformers.utils.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    try:
        model, info = transformers.AutoModelForCausalLM.from_pretrained(
            job.model,
            revision=job.revision or "main",
            # A missing folder must not be looked up as a hub repository.
            local_files_only=job.revision is None,
            dtype=torch.float32,
            attn_implementation="eager",
            use_safetensors=True,
            output_loading_info=True,
        )
    except Exception as error:  # OSError, ValueError, RuntimeError and safetensors' own
        cause = " ".join(str(error).split())[:200]
        raise ModelError(f"model {job.model}: cannot be loaded: {cause}") from error
    # transformers would fill missing weights with random numbers and continue.
    if missing := [*info["missing_keys"], *info["mismatched_keys"]]:
        raise ModelError(f"model {job.model}: {len(missing)} weights are missing or misshapen")
    return model.eval()


def score_prompt(model: Any, prompt: list[int], question: Question) -> list[float]:
    """The label scores of one prompt, without batching, cache or state."""
    import torch

    with torch.no_grad():
        ids = torch.tensor([prompt], dtype=torch.long)
        logits = model(input_ids=ids, use_cache=False, logits_to_keep=1).logits[0, -1]
        # Normalising in double adds no error to the float32 forward pass.
        logprobs = torch.log_softmax(logits.double(), dim=-1)[question.label_token_ids]
    if question.apply_softmax:
        logprobs = torch.log_softmax(logprobs, dim=-1)
    return [math.exp(logprob) for logprob in logprobs.tolist()]


def score(job: Job) -> Answer:
    """Score every prompt of the job.

    Raises:
        ModelError: see :func:`load_model`.
    """
    import torch
    import transformers

    torch.use_deterministic_algorithms(True)
    torch.set_float32_matmul_precision("highest")
    torch.set_num_threads(job.threads)
    model = load_model(job)
    scores: list[list[list[float]]] = [[] for _ in job.questions]
    done, total = 0, sum(len(question.prompts) for question in job.questions)
    last_line = time.monotonic()
    for mine, question in zip(scores, job.questions, strict=True):
        for prompt in question.prompts:
            if time.monotonic() - last_line > _SECONDS_BETWEEN_LINES:
                last_line = time.monotonic()
                print(f"oracle: {done} of {total} prompts", file=sys.stderr, flush=True)
            mine.append(score_prompt(model, prompt, question))
            done += 1
    return Answer(scores, torch.__version__, transformers.__version__)


def main() -> int:
    """Answer the job on standard input."""
    asked = json.load(sys.stdin)
    job = Job(**{**asked, "questions": [Question(**one) for one in asked["questions"]]})
    try:
        # Nothing that a library prints may mix with the answer.
        with contextlib.redirect_stdout(sys.stderr):
            answer = score(job)
    except ModelError as error:
        json.dump({"error": str(error)}, sys.stdout)
        return 1
    json.dump(asdict(answer), sys.stdout)
    return 0


if __name__ == "__main__":
    sys.exit(main())
