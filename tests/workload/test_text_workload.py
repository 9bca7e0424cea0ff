"""A workload of texts is the output of the model's own tokenizer, and nothing else."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml
from contracts import NONCE, WORKLOAD, contract, start_stage
from hypothesis import given
from hypothesis import strategies as st
from packages import NO, YES, tiny_package, tiny_weights, write_gguf
from text_contracts import TEXT, raw_text

from stages.common.errors import ContractError
from stages.common.files import sha256
from stages.contract import Contract, TextWorkload, ordinary_ids
from stages.documents.workload import read_workloads
from stages.packaged.gguf_file import GgufFile
from stages.packaged.tokenizer import TextTokenizer, tokenizer_json
from stages.workload import Tokenizer, tokenize_workload


def texts(**changes: Any) -> tuple[Contract, TextWorkload]:
    raw = raw_text(**changes)
    keys = ("model", "vocabulary", "workloads", "chunk_sizes")
    made = contract(**{key: raw[key] for key in keys})
    workload = made.workloads[WORKLOAD]
    assert isinstance(workload, TextWorkload)
    return made, workload


@pytest.fixture(scope="module")
def document(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    path = tmp_path_factory.mktemp("gguf") / "tiny.gguf"
    write_gguf(path, tiny_weights())
    return tokenizer_json(GgufFile(path))


@pytest.fixture(scope="module")
def tokenizer(document: bytes) -> TextTokenizer:
    return TextTokenizer(document)


def refused(tokenizer: Tokenizer, **changes: Any) -> str:
    made, parameters = texts(**changes)
    with pytest.raises(ContractError) as caught:
        tokenize_workload(WORKLOAD, parameters, made.vocabulary, tokenizer)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_the_texts_come_back_behind_eight_ids_of_salt(tokenizer: TextTokenizer) -> None:
    made, parameters = texts()
    workload = tokenize_workload(WORKLOAD, parameters, made.vocabulary, tokenizer)
    assert tokenizer.decode(workload.query[8:]) == TEXT["query_text"]
    assert [tokenizer.decode(item) for item in workload.items] == TEXT["item_texts"]
    assert workload.label_token_ids == [YES, NO]
    safe = set(ordinary_ids(made.vocabulary, [YES, NO]))
    assert safe.issuperset(workload.query[:8])
    scored = workload.in_run(NONCE)
    salted = workload.salted_query(scored.salt("sweep", 1, 0))
    assert tokenizer.decode(salted[8:]) == TEXT["query_text"]
    assert salted[:8] != workload.salted_query(scored.salt("sweep", 1, 1))[:8]
    # Items of several lengths: room is made for the longest.
    assert workload.prompt_tokens == len(workload.query) + max(map(len, workload.items))
    assert len(set(map(len, workload.items))) == 3


@given(
    query=st.text(
        st.characters(categories=["L", "N", "P", "Zs"], exclude_characters="Q"), min_size=1
    ).filter(str.isprintable),
    items=st.lists(st.text("ab c\n", min_size=1), min_size=1, unique=True),
    seed=st.integers(0, 2**63 - 1),
)
def test_any_texts_make_the_same_workload_twice_and_come_back(
    tokenizer: TextTokenizer, query: str, items: list[str], seed: int
) -> None:
    made, parameters = texts(query_text=query, item_texts=items, seed=seed)
    workload = tokenize_workload(WORKLOAD, parameters, made.vocabulary, tokenizer)
    again = tokenize_workload(WORKLOAD, parameters, made.vocabulary, tokenizer)
    assert workload.canonical_bytes() == again.canonical_bytes()
    assert tokenizer.decode(workload.query[8:]) == query
    assert [tokenizer.decode(item) for item in workload.items] == items
    assert made.workloads[WORKLOAD].items == len(items)


def test_a_label_that_is_another_token_is_refused_by_name(tokenizer: TextTokenizer) -> None:
    said = refused(tokenizer, label_texts=["Yes", " No"])
    assert said.startswith("params.yaml: workloads.many.label_texts[0]: found 'Yes'; allowed: ")
    assert str(YES) in said
    assert "label_texts[1]" in refused(tokenizer, label_texts=[" Yes", " Yes"])


@pytest.mark.parametrize(
    ("changes", "key"),
    [
        ({"query_text": "<|start|>user"}, "workloads.many.query_text"),
        ({"item_texts": ["A rose:", "The end.<|end|>"]}, "workloads.many.item_texts[1]"),
        ({"query_text": "Quick:"}, "workloads.many.query_text"),
    ],
)
def test_a_special_or_reserved_token_in_a_text_is_refused_by_name(
    tokenizer: TextTokenizer, changes: dict[str, Any], key: str
) -> None:
    assert refused(tokenizer, **changes).startswith(f"params.yaml: {key}: found ")


class Forgetful:
    """A tokenizer that leaves every é out, as one does that has no token for its bytes."""

    def __init__(self, tokenizer: TextTokenizer) -> None:
        self._tokenizer = tokenizer

    def encode(self, text: str) -> list[int]:
        return self._tokenizer.encode(text.replace("é", ""))

    def decode(self, ids: list[int]) -> str:
        return self._tokenizer.decode(ids)


@pytest.mark.parametrize(
    ("changes", "key"),
    [
        ({"query_text": "Is it rosé?"}, "workloads.many.query_text"),
        ({"item_texts": ["A rose:", "A rosé:"]}, "workloads.many.item_texts[1]"),
    ],
)
def test_a_text_the_tokenizer_would_lose_a_part_of_is_refused_by_name(
    tokenizer: TextTokenizer, changes: dict[str, Any], key: str
) -> None:
    made, parameters = texts(**changes)
    tokenize_workload(WORKLOAD, parameters, made.vocabulary, tokenizer)
    assert refused(Forgetful(tokenizer), **changes).startswith(f"params.yaml: {key}: found ")


def test_the_stage_writes_the_same_bytes_everywhere_and_checks_the_tokenizer(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, document: bytes
) -> None:
    tiny_package(monkeypatch, tmp_path)

    def stage(digest: str, hash_seed: str) -> subprocess.CompletedProcess[str]:
        raw = raw_text(tokenizer={**TEXT["tokenizer"], "sha256": digest})
        (tmp_path / "params.yaml").write_text(yaml.safe_dump(raw))
        return start_stage(tmp_path, "workload", PYTHONHASHSEED=hash_seed)

    done = stage("1" * 64, "0")
    assert done.returncode == 2
    (line,) = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
    assert line.startswith("error: params.yaml: workloads.many.tokenizer.sha256: found '1111")
    assert sha256(document) in line
    assert not (tmp_path / "data").exists()
    written = []
    for hash_seed in ("1", "2"):
        done = stage(sha256(document), hash_seed)
        assert done.returncode == 0, done.stderr
        assert "3 items of 7 to 20" in done.stdout
        path = tmp_path / "data/workload/canonical_workload.json"
        written.append(path.read_bytes())
        read_workloads(path)
    assert written[0] == written[1]
