"""A packaged model's checkpoint holds the package's weights, or it is refused by name."""

from __future__ import annotations

import hashlib
import json
import re
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from contracts import raw_contract, run_stage
from packages import HEAD, PACKAGE, TOKENS, VERSION, tiny_package, tiny_weights
from safetensors.numpy import load_file

from stages.checkpoint.packaged import write_packaged
from stages.common.errors import ContractError, UserError
from stages.contract import PackagedModel, Vocabulary
from stages.documents.model import read_model

UNKNOWN = "0" * 64


def model(**changes: Any) -> PackagedModel:
    described = {"package": PACKAGE, "version": VERSION, "head_dim": HEAD, "sha256": UNKNOWN}
    return PackagedModel(kind="packaged", **{**described, **changes})


def vocabulary(size: int = len(TOKENS)) -> Vocabulary:
    return Vocabulary(size=size, first_ordinary=3, end_ordinary=size, reserved_token_ids=[0, 1, 2])


def digest_of(head_dim: int = HEAD) -> str:
    """The hash of the checkpoint, from the line that refuses another one."""
    with pytest.raises(ContractError, match=r"model\.sha256: found '0{64}'") as caught:
        write_packaged(model(head_dim=head_dim), vocabulary(), Path("refused"))
    assert not Path("refused").exists(), "nothing is written of a checkpoint that is refused"
    found = re.search(r"allowed: ([0-9a-f]{64})", str(caught.value))
    assert found
    return found[1]


def test_the_weights_are_the_packages(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    tiny_package(monkeypatch, tmp_path)
    made = write_packaged(model(sha256=digest_of()), vocabulary(), tmp_path / "out")
    assert made.trained
    assert made.title == f"Tiny.Q4_1 ({PACKAGE} {VERSION})"
    found, expected = load_file(tmp_path / "out/model.safetensors"), tiny_weights()
    assert found.keys() == expected.keys()
    for name, tensor in expected.items():
        np.testing.assert_array_equal(found[name], tensor, err_msg=name)
    config = json.loads((tmp_path / "out/config.json").read_bytes())
    assert config["rms_norm_eps"] == 1e-5, "not what single precision makes of it"
    assert config["rope_theta"] == 100000
    assert config["tie_word_embeddings"] is True


def test_the_hash_is_that_of_the_files(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    tiny_package(monkeypatch, tmp_path)
    made = write_packaged(model(sha256=digest_of()), vocabulary(), tmp_path / "out")
    names = ("config.json", "model.safetensors", "tokenizer.json")
    data = b"".join((tmp_path / "out" / name).read_bytes() for name in names)
    assert made.sha256 == hashlib.sha256(data).hexdigest()
    assert digest_of(2 * HEAD) != made.sha256, "other heads are another checkpoint"


def test_an_output_layer_of_its_own_is_kept(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    weights = tiny_weights()
    weights["output.weight"] = tiny_weights(seed=1)["model.embed_tokens.weight"]
    tiny_package(monkeypatch, tmp_path, weights=weights)
    write_packaged(model(sha256=digest_of()), vocabulary(), tmp_path / "out")
    found = load_file(tmp_path / "out/model.safetensors")
    np.testing.assert_array_equal(found["lm_head.weight"], weights["output.weight"])
    assert not json.loads((tmp_path / "out/config.json").read_bytes())["tie_word_embeddings"]


def test_what_does_not_fit_the_model_is_refused_by_name(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    tiny_package(monkeypatch, tmp_path)
    out = tmp_path / "out"
    with pytest.raises(ContractError, match=rf"vocabulary\.size: found 300; .*{len(TOKENS)}, "):
        write_packaged(model(), vocabulary(300), out)
    for head_dim in (HEAD // 2, HEAD + 2):
        with pytest.raises(ContractError, match=rf"model\.head_dim: found {head_dim}; .*of {HEAD}"):
            write_packaged(model(head_dim=head_dim), vocabulary(), out)
    assert not out.exists()


@pytest.mark.parametrize(
    ("options", "line"),
    [
        ({"architecture": "gpt2"}, "its architecture is gpt2; known: llama"),
        (
            {"weights": {**tiny_weights(), "blk.0.attn_q.bias": np.ones(32, np.float32)}},
            r"no plain Llama: it has a tensor blk\.0\.attn_q\.bias",
        ),
        (
            {"weights": {n: t for n, t in tiny_weights().items() if "1.mlp.up" not in n}},
            r"it has no tensor blk\.1\.ffn_up\.weight",
        ),
    ],
)
def test_another_kind_of_model_is_refused(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, options: dict[str, Any], line: str
) -> None:
    tiny_package(monkeypatch, tmp_path, **options)
    with pytest.raises(UserError, match=line):
        write_packaged(model(), vocabulary(), tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_the_stage_writes_it_or_ends_in_one_line(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    tiny_package(monkeypatch, tmp_path)

    def stage(digest: str) -> subprocess.CompletedProcess[str]:
        raw = raw_contract(
            model=model(sha256=digest).model_dump(),
            vocabulary=vocabulary().model_dump(),
            workload__label_token_ids=[5, 6],
        )
        (tmp_path / "params.yaml").write_text(yaml.safe_dump(raw))
        return run_stage(tmp_path, "checkpoint")

    refused = stage(UNKNOWN)
    assert refused.returncode == 2
    assert refused.stderr.splitlines()[-1].startswith("error: params.yaml: model.sha256: found")
    assert not (tmp_path / "data").exists()
    digest = re.findall(r"allowed: ([0-9a-f]{64})", refused.stderr)[0]
    assert stage(digest).returncode == 0
    assert read_model(tmp_path / "data/checkpoint/model.json").sha256 == digest
