"""The oracle agrees with a second implementation that shares nothing with it."""

from __future__ import annotations

import json
import random
import shutil
import sys
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import yaml
from contracts import ROOT, WORKLOAD, contract, raw_contract, raw_several, run_stage, start_stage
from safetensors.numpy import load_file, save_file

from stages.checkpoint.synthetic import build_config, build_weights
from stages.common.errors import UserError
from stages.contract import SyntheticModel
from stages.documents.nonce import NONCE_FILE, read_nonce
from stages.documents.oracle import read_oracle
from stages.environments.build import ensure_environment
from stages.oracle.command import SCORER, run_scorer
from stages.oracle.sample import SampledItem, prompt_of, sample_items
from stages.oracle.score import Answer, Job, Question

type Array = npt.NDArray[np.float64]

LABELS = [9454, 2753]


# A forward pass of Qwen3, written from its definition: numpy, float64, no library model.


def rms_norm(x: Array, weight: Array, epsilon: float) -> Array:
    return x / np.sqrt((x**2).mean(axis=-1, keepdims=True) + epsilon) * weight


def rotate(x: Array, theta: float) -> Array:
    """Rotary embedding: the pair (i, i + d/2) of position p turns by p / theta^(2i/d)."""
    positions, half = x.shape[0], x.shape[-1] // 2
    turns = np.arange(positions)[:, None] / theta ** (np.arange(half) / half)
    cosine, sine = np.cos(turns)[:, None, :], np.sin(turns)[:, None, :]
    a, b = x[..., :half], x[..., half:]
    return np.concatenate([a * cosine - b * sine, b * cosine + a * sine], axis=-1)


def attention(x: Array, w: dict[str, Array], config: dict[str, Any]) -> Array:
    """One query position and head at a time: slow, and hard to get wrong."""
    length, d = x.shape[0], config["head_dim"]
    heads, groups = config["num_attention_heads"], config["num_key_value_heads"]
    epsilon, theta = config["rms_norm_eps"], config["rope_theta"]
    q = (x @ w["self_attn.q_proj"].T).reshape(length, heads, d)
    k = (x @ w["self_attn.k_proj"].T).reshape(length, groups, d)
    v = (x @ w["self_attn.v_proj"].T).reshape(length, groups, d)
    q = rotate(rms_norm(q, w["self_attn.q_norm"], epsilon), theta)
    k = rotate(rms_norm(k, w["self_attn.k_norm"], epsilon), theta)
    mixed = np.empty((length, heads, d))
    for head in range(heads):
        group = head // (heads // groups)
        for at in range(length):
            weights = k[: at + 1, group] @ q[at, head] / np.sqrt(d)
            weights = np.exp(weights - weights.max())
            mixed[at, head] = weights / weights.sum() @ v[: at + 1, group]
    return mixed.reshape(length, heads * d) @ w["self_attn.o_proj"].T


def feed_forward(x: Array, w: dict[str, Array]) -> Array:
    gate = x @ w["mlp.gate_proj"].T
    return (gate / (1 + np.exp(-gate)) * (x @ w["mlp.up_proj"].T)) @ w["mlp.down_proj"].T


def reference_scores(folder: Path, prompt: list[int], labels: list[int], softmax: bool) -> Array:
    config = json.loads((folder / "config.json").read_bytes())
    stored = {k: v.astype(np.float64) for k, v in load_file(folder / "model.safetensors").items()}
    epsilon = config["rms_norm_eps"]
    x = stored["model.embed_tokens.weight"][prompt]
    for layer in range(config["num_hidden_layers"]):
        prefix = f"model.layers.{layer}."
        w = {
            name.removeprefix(prefix).removesuffix(".weight"): tensor
            for name, tensor in stored.items()
            if name.startswith(prefix)
        }
        x = x + attention(rms_norm(x, w["input_layernorm"], epsilon), w, config)
        x = x + feed_forward(rms_norm(x, w["post_attention_layernorm"], epsilon), w)
    last = rms_norm(x[-1], stored["model.norm.weight"], epsilon)
    logits = stored["model.embed_tokens.weight"] @ last
    odds = np.exp(logits - logits.max())
    chosen = (odds / odds.sum())[labels]
    return chosen / chosen.sum() if softmax else chosen


@dataclass(frozen=True)
class Scored:
    """One run of the real scorer, with its answer."""

    folder: Path
    job: Job
    answer: Answer


def write_checkpoint(folder: Path, *, plain_norms: bool) -> Path:
    made = contract()
    assert isinstance(made.model, SyntheticModel)
    weights = build_weights(made.model, made.vocabulary)
    if not plain_norms:
        # The checkpoint's norms are all 1, which a forward pass that forgets them survives.
        drawn = np.random.Generator(np.random.PCG64(5))
        for name, tensor in weights.items():
            if "norm" in name:
                weights[name] = drawn.uniform(0.5, 1.5, tensor.shape).astype(np.float32)
    folder.mkdir(parents=True)
    (folder / "config.json").write_text(json.dumps(build_config(made.model, made.vocabulary)))
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    return folder


def prompts() -> list[list[int]]:
    """Several lengths; the last two differ in their first token alone."""
    drawn = random.Random(1)
    made = [[drawn.randrange(256, 16384) for _ in range(n)] for n in (1, 2, 17, 64, 136)]
    return [*made, [made[-1][0] + 1, *made[-1][1:]]]


# Runs the scorer on several jobs in one process, because it takes seconds to import torch, and
# keeps what it prints. The first answer is printed, too. In the end it tells what was imported.
SEVERAL = """\
import contextlib, io, json, pathlib, runpy, sys
folder = pathlib.Path({folder!r})
for path in sorted(folder.glob("*.job")):
    sys.stdin, printed = io.StringIO(path.read_text()), io.StringIO()
    with contextlib.redirect_stdout(printed), contextlib.suppress(SystemExit):
        runpy.run_path({scorer!r}, run_name="__main__")
    path.with_suffix(".answer").write_text(printed.getvalue())
print((folder / "0.answer").read_text())
(folder / "modules").write_text(" ".join(sys.modules))
"""


@dataclass(frozen=True)
class Scorings:
    """Several runs of the real scorer."""

    folder: Path
    jobs: list[Job]

    def run(self) -> None:
        for number, job in enumerate(self.jobs):
            (self.folder / f"{number}.job").write_text(json.dumps(asdict(job)))
        program = self.folder / "several.py"
        program.write_text(SEVERAL.format(folder=str(self.folder), scorer=str(SCORER)))
        first = run_scorer(ensure_environment("sglang_pytorch"), self.jobs[0], program)
        assert first == self.answer(0)

    def answer(self, number: int) -> Answer:
        """What the stage makes of what the scorer printed."""
        program = self.folder / f"{number}.py"
        program.write_text(f"print(open({str(self.folder / f'{number}.answer')!r}).read())")
        return run_scorer(Path(sys.executable), self.jobs[number], program)

    def scored(self, number: int) -> Scored:
        job = self.jobs[number]
        return Scored(Path(job.model), job, self.answer(number))


# Other prompts are around each prompt.
ORDER = [4, 2, 5, 0, 3]
OTHER_NORMS, AS_BUILT, AGAIN, LACKING, NOWHERE = range(5)


@pytest.fixture(scope="module")
def scorings(tmp_path_factory: pytest.TempPathFactory) -> Scorings:
    folder = tmp_path_factory.mktemp("scorings")
    norms = write_checkpoint(folder / "norms", plain_norms=False)
    built = write_checkpoint(folder / "built", plain_norms=True)
    lacking = folder / "lacking"
    shutil.copytree(built, lacking)
    weights = load_file(lacking / "model.safetensors")
    del weights["model.layers.1.mlp.up_proj.weight"]
    save_file(weights, lacking / "model.safetensors", metadata={"format": "pt"})
    asked = Question(prompts(), LABELS, apply_softmax=True)
    others = [asked.prompts[at] for at in ORDER]
    swapped = replace(asked, prompts=others, label_token_ids=LABELS[::-1])
    plain = replace(asked, apply_softmax=False)
    first = Job(str(norms), None, [asked], threads=2)
    made = Scorings(
        folder,
        [
            first,
            replace(first, model=str(built), questions=[plain]),
            replace(first, questions=[swapped, replace(plain, prompts=plain.prompts[:2])]),
            replace(first, model=str(lacking)),
            replace(first, model="data/nowhere"),
        ],
    )
    made.run()
    return made


@pytest.mark.servers
@pytest.mark.parametrize("run", [AS_BUILT, OTHER_NORMS], ids=["as_built", "other_norms"])
def test_it_agrees_with_a_forward_pass_written_from_the_definition(
    scorings: Scorings, run: int
) -> None:
    made = scorings.scored(run)
    (asked,), (answered,) = made.job.questions, made.answer.scores
    assert len(answered) == len(asked.prompts)
    for prompt, scores in zip(asked.prompts, answered, strict=True):
        expected = reference_scores(made.folder, prompt, LABELS, asked.apply_softmax)
        np.testing.assert_allclose(scores, expected, rtol=1e-3, atol=0)
        assert np.abs(np.array(scores) - expected).max() < 1e-5


@pytest.mark.servers
def test_one_changed_token_far_from_the_end_changes_the_scores(scorings: Scorings) -> None:
    *_, one, other = scorings.answer(OTHER_NORMS).scores[0]
    assert max(abs(a - b) for a, b in zip(one, other, strict=True)) > 1e-4


@pytest.mark.servers
def test_swapped_labels_swap_the_scores_and_no_score_depends_on_the_prompts_around_it(
    scorings: Scorings,
) -> None:
    first = [scorings.answer(OTHER_NORMS).scores[0][at] for at in ORDER]
    assert scorings.answer(AGAIN).scores[0] == [row[::-1] for row in first], "to the last bit"
    assert max(abs(row[0] - row[1]) for row in first) > 0.1, "so swapping them shows"


@pytest.mark.servers
def test_every_question_has_its_own_prompts_labels_and_softmax(scorings: Scorings) -> None:
    made = scorings.scored(AGAIN)
    swapped, plain = made.job.questions
    assert len(made.answer.scores) == 2
    assert (swapped.apply_softmax, plain.apply_softmax) == (True, False)
    for asked, answered in zip(made.job.questions, made.answer.scores, strict=True):
        assert len(answered) == len(asked.prompts)
        for prompt, scores in zip(asked.prompts, answered, strict=True):
            labels, softmax = asked.label_token_ids, asked.apply_softmax
            expected = reference_scores(made.folder, prompt, labels, softmax)
            np.testing.assert_allclose(scores, expected, rtol=1e-3, atol=0)


@pytest.mark.servers
def test_no_serving_stack_and_nothing_of_the_harness_is_imported(scorings: Scorings) -> None:
    modules = (scorings.folder / "modules").read_text().split()
    loaded = {name.partition(".")[0] for name in modules}
    assert {"torch", "transformers"} <= loaded
    assert not {"sglang", "sgl_kernel", "sgl_jax", "jax", "stages"} & loaded


@pytest.mark.servers
def test_a_checkpoint_that_lacks_a_weight_is_refused(scorings: Scorings) -> None:
    with pytest.raises(UserError, match="1 weights are missing or misshapen"):
        scorings.answer(LACKING)


@pytest.mark.servers
def test_a_folder_that_is_not_there_is_not_looked_up_on_the_hub(scorings: Scorings) -> None:
    with pytest.raises(UserError, match="model data/nowhere: cannot be loaded") as caught:
        scorings.answer(NOWHERE)
    assert "\n" not in str(caught.value)


def fake_scorer(tmp_path: Path, program: str) -> Answer:
    path = tmp_path / "fake.py"
    path.write_text(program)
    job = Job("m", None, [Question([[1]], LABELS, apply_softmax=True)], threads=1)
    return run_scorer(Path(sys.executable), job, path)


def test_the_scorer_gets_the_job_and_sees_no_gpu(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setenv("PYTHONPATH", "/nowhere")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0")
    answer = fake_scorer(
        tmp_path,
        "import json, os, sys\n"
        "job = json.load(sys.stdin)\n"
        "assert job['questions'][0]['prompts'] == [[1]]\n"
        "assert os.environ['CUDA_VISIBLE_DEVICES'] == ''\n"
        "assert 'PYTHONPATH' not in os.environ\n"
        "assert not os.path.exists(os.path.join(sys.path[0], 'fake.py'))\n"
        'print(\'{"scores": [[[0.5, NaN]]], "torch_version": "1",'
        ' "transformers_version": "2"}\')\n',
    )
    assert answer.torch_version == "1"
    assert str(answer.scores) == "[[[0.5, nan]]]"


@pytest.mark.parametrize(
    ("program", "why"),
    [
        ("raise SystemExit(3)", "ended with exit code 3 and no answer"),
        ("print('loading...')", "ended with exit code 0 and no answer"),
        ('print(\'{"scores": "none"}\')', "ended with exit code 0 and no answer"),
        ("import os; os.kill(os.getpid(), 9)", "ended with exit code -9 and no answer"),
        ('print(\'{"error": "the hub is away"}\')', "^the hub is away$"),
    ],
)
def test_a_scorer_without_an_answer_is_one_line(tmp_path: Path, program: str, why: str) -> None:
    with pytest.raises(UserError, match=why) as caught:
        fake_scorer(tmp_path, program)
    assert "\n" not in str(caught.value)


def tiny(folder: Path, few: dict[str, Any] | None = None, **changes: Any) -> None:
    """A tiny contract; ``few`` is what a second workload has in other ways than the one."""
    one: dict[str, Any] = {"query_tokens": 24, "items": 4, "item_tokens": 4}
    raw = raw_several(
        {WORKLOAD: one} if few is None else {WORKLOAD: one, "few": {**one, **few}},
        chunk_sizes=[2, 4],
        passes__sweep=2,
        oracle__samples_per_chunk=3,
        **changes,
    )
    (folder / "params.yaml").write_text(yaml.safe_dump(raw))
    (folder / "backends").symlink_to(ROOT / "backends")


PREPARED = ["workload", "nonce", "checkpoint", "delimiters"]


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which everything before the oracle has run."""
    folder = tmp_path_factory.mktemp("prepared")
    tiny(folder)
    for stage in PREPARED:
        assert run_stage(folder, stage).returncode == 0
    return folder


@pytest.mark.parametrize("missing", PREPARED)
def test_without_its_inputs_the_stage_ends_in_one_line(
    prepared: Path, tmp_path: Path, missing: str
) -> None:
    folder = tmp_path / "folder"
    shutil.copytree(prepared, folder, symlinks=True)
    shutil.rmtree(folder / "data" / missing)
    done = run_stage(folder, "oracle")
    assert done.returncode == 1
    assert done.stderr.startswith(f"error: data/{missing}/")
    assert len(done.stderr.splitlines()) == 1
    assert not (folder / "data/oracle").exists()


def test_a_wrong_contract_ends_in_one_line_and_exit_code_2(tmp_path: Path) -> None:
    raw = raw_contract()
    raw["oracle"]["sample_per_chunk"] = raw["oracle"].pop("samples_per_chunk")
    (tmp_path / "params.yaml").write_text(yaml.safe_dump(raw))
    done = start_stage(tmp_path, "oracle")
    assert done.returncode == 2
    assert done.stderr.startswith("error: params.yaml: oracle.sample_per_chunk: ")
    assert "did you mean 'samples_per_chunk'?" in done.stderr
    assert {p.name for p in tmp_path.iterdir()} == {"params.yaml", "backends"}


@pytest.mark.servers
def test_the_stage_scores_its_sample_end_to_end_and_repeats_itself(tmp_path: Path) -> None:
    from stages.documents.model import read_model
    from stages.documents.workload import read_workloads
    from stages.environments.build import requirements_sha256

    few = {"query_tokens": 16, "items": 2, "label_token_ids": [300, 301, 302]}
    tiny(tmp_path, few={**few, "apply_softmax": False}, workload__item_first=True)
    for stage in PREPARED:
        assert run_stage(tmp_path, stage).returncode == 0
    done = start_stage(tmp_path, "oracle")
    assert (done.returncode, done.stdout) == (0, "oracle: 9 prompts scored\n"), done.stderr
    path = tmp_path / "data/oracle/oracle.parquet"
    first = path.read_bytes()
    table = read_oracle(path)

    canonical = read_workloads(tmp_path / "data/workload/canonical_workload.json")
    workloads = canonical.in_run(read_nonce(tmp_path / NONCE_FILE)).by_name
    sizes = {"few": [2], WORKLOAD: [2, 4]}
    sample = [
        sampled
        for name in workloads
        for sampled in sample_items(
            name,
            chunk_sizes=sizes[name],
            runs=2,
            items=len(workloads[name].items),
            samples_per_chunk=3,
            seed=table.provenance.sample_seed,
        )
    ]
    for sampled, row in zip(sample, table.frame.iter_rows(named=True), strict=True):
        scores = row.pop("scores")
        assert row.pop("delimited_scores") is None, "no server packs items"
        assert row == {
            "workload": sampled.workload,
            "phase": sampled.phase,
            "chunk_size": sampled.chunk_size,
            "run": sampled.run,
            "item": sampled.item,
        }
        workload = workloads[sampled.workload]
        prompt, item = prompt_of(workload, sampled), workload.items[sampled.item]
        of_many = sampled.workload == WORKLOAD
        assert (prompt[:4] if of_many else prompt[-4:]) == item
        labels = LABELS if of_many else [300, 301, 302]
        expected = reference_scores(tmp_path / "data/checkpoint", prompt, labels, softmax=of_many)
        assert np.abs(np.array(scores) - expected).max() < 1e-5
    assert {s.workload for s in sample} == set(sizes)

    said = table.provenance
    assert said.delimiters == {}
    assert said.nonce == read_nonce(tmp_path / NONCE_FILE)
    assert said.workload_sha256 == canonical.sha256
    assert said.model_sha256 == read_model(tmp_path / "data/checkpoint/model.json").sha256
    assert said.environment_sha256 == requirements_sha256("sglang_pytorch")
    assert said.samples_per_chunk == 3
    assert said.torch_version.startswith("2.")
    assert said.transformers_version.startswith("5.")

    path.unlink()
    assert run_stage(tmp_path, "oracle").returncode == 0
    assert path.read_bytes() == first, "the same contract on the same machine, the same bytes"


@pytest.mark.servers
def test_where_servers_pack_items_the_prompts_with_their_delimiters_are_scored_too(
    tmp_path: Path,
) -> None:
    from stages.documents.workload import read_workloads

    tiny(
        tmp_path,
        backends__jax__portable__multi_item={"delimiter_token_id": 2, "mask_ignored": True},
        backends__jax__best_native__multi_item={"delimiter_token_id": 2, "mask_ignored": True},
        backends__pytorch__portable__multi_item={"delimiter_token_id": 1},
    )
    for stage in PREPARED:
        assert run_stage(tmp_path, stage).returncode == 0
    done = run_stage(tmp_path, "oracle")
    told = "oracle: 6 prompts scored, and again with delimiter 2 and 9999\n"
    assert (done.returncode, done.stdout) == (0, told), done.stderr
    table = read_oracle(tmp_path / "data/oracle/oracle.parquet")
    assert table.provenance.delimiters == {
        "jax-portable": 2,
        "jax-best_native": 2,
        # Its version has a delimiter of its own, whatever the contract names.
        "pytorch-portable": 9999,
    }
    canonical = read_workloads(tmp_path / "data/workload/canonical_workload.json")
    workload = canonical.in_run(read_nonce(tmp_path / NONCE_FILE)).by_name[WORKLOAD]
    for row in table.frame.iter_rows(named=True):
        names = ("workload", "phase", "chunk_size", "run", "item")
        sampled = SampledItem(*(row[name] for name in names))
        query, item = (prompt_of(workload, sampled)[at] for at in (slice(24), slice(24, None)))
        found = [row["scores"], *row["delimited_scores"]]
        prompts = [query + item, [*query, 2, *item], [*query, 9999, *item]]
        for scores, prompt in zip(found, prompts, strict=True):
            expected = reference_scores(tmp_path / "data/checkpoint", prompt, LABELS, softmax=True)
            assert np.abs(np.array(scores) - expected).max() < 1e-5
