"""Stage ``workload``: draw or tokenize the query and the items of every workload.

Writes ``data/workload/canonical_workload.json``, which depends on the parameters alone, and
``provenance.json`` beside it, with the time and the commit.
"""

from __future__ import annotations

import datetime
import json
from itertools import islice, pairwise
from pathlib import Path
from typing import Protocol

import click

from stages.common.errors import ContractError, one_line_errors
from stages.common.files import sha256, write_whole
from stages.common.git import code_version
from stages.contract import (
    SALT_TOKENS,
    Contract,
    DrawnWorkload,
    PackagedTokenizer,
    TextWorkload,
    Vocabulary,
    load_contract,
    ordinary_ids,
)
from stages.documents.matrix import WORKLOAD_FILE
from stages.documents.workload import CanonicalWorkload, CanonicalWorkloads, draw_ids
from stages.packaged.fetch import fetch_gguf
from stages.packaged.gguf_file import GgufFile
from stages.packaged.tokenizer import TextTokenizer, tokenizer_json


class Tokenizer(Protocol):
    """The part of a tokenizer that a text workload needs."""

    def encode(self, text: str) -> list[int]:
        """The token ids of a text."""
        ...

    def decode(self, ids: list[int]) -> str:
        """The text of token ids."""
        ...


def build_workloads(contract: Contract) -> CanonicalWorkloads:
    """Every workload of the contract; depends on its parameters alone.

    Raises:
        ContractError: see :func:`tokenize_workload` and :func:`read_tokenizer`.
        UserError: a tokenizer cannot be downloaded or read.
    """
    built = []
    for name, parameters in contract.workloads.items():
        if isinstance(parameters, DrawnWorkload):
            built.append(build_workload(name, parameters, contract.vocabulary))
        else:
            tokenizer = read_tokenizer(f"workloads.{name}.tokenizer", parameters.tokenizer)
            built.append(tokenize_workload(name, parameters, contract.vocabulary, tokenizer))
    return CanonicalWorkloads.of(built)


def build_workload(
    name: str, parameters: DrawnWorkload, vocabulary: Vocabulary
) -> CanonicalWorkload:
    """The workload that ``parameters`` draw; depends on the arguments alone."""
    pool = _ranges(ordinary_ids(vocabulary, parameters.label_token_ids))
    return CanonicalWorkload(
        name=name,
        seed=parameters.seed,
        query=_query(parameters, pool),
        items=_items(parameters, pool),
        label_token_ids=parameters.label_token_ids,
        apply_softmax=parameters.apply_softmax,
        item_first=parameters.item_first,
        pool=pool,
    )


def tokenize_workload(
    name: str, parameters: TextWorkload, vocabulary: Vocabulary, tokenizer: Tokenizer
) -> CanonicalWorkload:
    """The workload of the texts in ``parameters``; depends on the arguments alone.

    The query follows 8 ids that every pass replaces by its salt. Query and items are tokenized
    separately, like a server tokenizes them.

    Raises:
        ContractError: a label is not the text of its id, or a text needs other than ordinary
            ids.
    """
    key, labels = f"workloads.{name}", parameters.label_token_ids
    for i, (text, label) in enumerate(zip(parameters.label_texts, labels, strict=True)):
        if (ids := tokenizer.encode(text)) != [label]:
            allowed = f"the text of {key}.label_token_ids[{i}] = {label}; this one is {ids}"
            raise ContractError(f"{key}.label_texts[{i}]", text, allowed)
    query = _text_ids(f"{key}.query_text", parameters.query_text, vocabulary, tokenizer)
    pool = _ranges(ordinary_ids(vocabulary, labels))
    salt = list(islice(draw_ids(f"query/{parameters.seed}", pool), SALT_TOKENS))
    # The texts are distinct and tokenized without loss, so the items are distinct, too.
    items = [
        _text_ids(f"{key}.item_texts[{i}]", text, vocabulary, tokenizer)
        for i, text in enumerate(parameters.item_texts)
    ]
    return CanonicalWorkload(
        name=name,
        seed=parameters.seed,
        query=salt + query,
        items=items,
        label_token_ids=labels,
        apply_softmax=parameters.apply_softmax,
        item_first=parameters.item_first,
        pool=pool,
    )


def _text_ids(key: str, text: str, vocabulary: Vocabulary, tokenizer: Tokenizer) -> list[int]:
    ids = tokenizer.encode(text)
    # A tokenizer silently drops a byte for which it has no token.
    if tokenizer.decode(ids) != text:
        raise ContractError(key, text, "text that the model's tokenizer has tokens for")
    ordinary = range(vocabulary.first_ordinary, vocabulary.end_ordinary)
    for token in ids:
        # A server would not read a special token or its delimiter as text.
        if token not in ordinary or token in vocabulary.reserved_token_ids:
            raise ContractError(key, text, f"text of ordinary tokens; id {token} is none")
    return ids


def read_tokenizer(key: str, pinned: PackagedTokenizer) -> TextTokenizer:
    """The tokenizer that a text workload pins; ``key`` is its place in the contract.

    Raises:
        ContractError: the package's tokenizer is another one.
        UserError: the package cannot be downloaded or read.
    """
    path = fetch_gguf(key, pinned.package, pinned.version)
    document = tokenizer_json(GgufFile(path))
    if (found := sha256(document)) != pinned.sha256:
        allowed = f"{found}, the tokenizer of {pinned.package} {pinned.version}"
        raise ContractError(f"{key}.sha256", pinned.sha256, allowed)
    return TextTokenizer(document)


def smallest_period(tokens: list[int]) -> int:
    """Smallest p such that ``tokens`` repeats every p positions; its length if it does not."""
    # The failure function of Knuth, Morris and Pratt: length of the longest proper border.
    border = [0] * len(tokens)
    for i in range(1, len(tokens)):
        k = border[i - 1]
        while k and tokens[i] != tokens[k]:
            k = border[k - 1]
        border[i] = k + 1 if tokens[i] == tokens[k] else 0
    return len(tokens) - border[-1]


def _ranges(ids: list[int]) -> list[tuple[int, int]]:
    breaks = [i + 1 for i, (a, b) in enumerate(pairwise(ids)) if b != a + 1]
    edges = [0, *breaks, len(ids)]
    return [(ids[start], ids[end - 1] + 1) for start, end in pairwise(edges)]


def _query(parameters: DrawnWorkload, pool: list[tuple[int, int]]) -> list[int]:
    draws = draw_ids(f"query/{parameters.seed}", pool)
    while True:
        query = list(islice(draws, parameters.query_tokens))
        # With a repeated period, a backend that mixes up positions would look right.
        if smallest_period(query) > len(query) // 2:
            return query


def _items(parameters: DrawnWorkload, pool: list[tuple[int, int]]) -> list[list[int]]:
    draws = draw_ids(f"items/{parameters.seed}", pool)
    # Items are distinct: with repeated ones, shifted results would look right.
    items: dict[tuple[int, ...], None] = {}
    while len(items) < parameters.items:
        items[tuple(islice(draws, parameters.item_tokens))] = None
    return [list(item) for item in items]


def _lengths(workload: CanonicalWorkload) -> str:
    lengths = {len(item) for item in workload.items}
    return " to ".join(map(str, sorted({min(lengths), max(lengths)})))


@click.command()
@click.option("--output", type=click.Path(path_type=Path), default=WORKLOAD_FILE)
@one_line_errors
def main(output: Path) -> None:
    """Write the canonical workloads."""
    contract, code = load_contract(), code_version()
    if code.notice:
        click.echo(f"workload: {code.notice}", err=True)
    built = build_workloads(contract)
    data = built.canonical_bytes()
    write_whole(output, data)
    provenance = {
        "workload_sha256": sha256(data),
        "written_at": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "git_commit": code.commit,
        "git_dirty": code.changed,
    }
    write_whole(
        output.with_name("provenance.json"), (json.dumps(provenance, indent=2) + "\n").encode()
    )
    for workload in built.workloads:
        click.echo(
            f"workload {workload.name}: 1 query of {len(workload.query)} tokens,"
            f" {len(workload.items)} items of {_lengths(workload)},"
            f" sha256 {built.sha256[workload.name][:12]}"
        )


if __name__ == "__main__":
    main()
