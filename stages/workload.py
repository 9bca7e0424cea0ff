"""Stage ``workload``: draw the query and the items, and write the canonical workload.

Writes ``data/workload/canonical_workload.json``, which depends on the parameters alone,
and ``provenance.json`` beside it, which says when and from which commit.
"""

from __future__ import annotations

import datetime
import json
from itertools import islice, pairwise
from pathlib import Path

import click

from stages.canonical import WORKLOAD_VERSION, CanonicalWorkload, draw_ids
from stages.contract import Vocabulary, Workload, load_contract, ordinary_ids
from stages.errors import one_line_errors
from stages.files import sha256, write_whole
from stages.schema import WORKLOAD_FILE, git_state


def build_workload(parameters: Workload, vocabulary: Vocabulary) -> CanonicalWorkload:
    """The workload of ``parameters``; a pure function of its arguments."""
    pool = _ranges(ordinary_ids(vocabulary, parameters.label_token_ids))
    return CanonicalWorkload(
        version=WORKLOAD_VERSION,
        seed=parameters.seed,
        query=_query(parameters, pool),
        items=_items(parameters, pool),
        label_token_ids=parameters.label_token_ids,
        apply_softmax=parameters.apply_softmax,
        item_first=parameters.item_first,
        pool=pool,
    )


def smallest_period(tokens: list[int]) -> int:
    """Smallest p such that ``tokens`` repeats every p positions (its length if it does not)."""
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


def _query(parameters: Workload, pool: list[tuple[int, int]]) -> list[int]:
    draws = draw_ids(f"query/{parameters.seed}", pool)
    while True:
        query = list(islice(draws, parameters.query_tokens))
        # A repeated period would let a backend that mixes up positions look right.
        if smallest_period(query) > len(query) // 2:
            return query


def _items(parameters: Workload, pool: list[tuple[int, int]]) -> list[list[int]]:
    draws = draw_ids(f"items/{parameters.seed}", pool)
    # Distinct items, or a result shifted by the repeat would look perfect.
    items: dict[tuple[int, ...], None] = {}
    while len(items) < parameters.items:
        items[tuple(islice(draws, parameters.item_tokens))] = None
    return [list(item) for item in items]


@click.command()
@click.option("--output", type=click.Path(path_type=Path), default=WORKLOAD_FILE)
@one_line_errors
def main(output: Path) -> None:
    """Write the canonical workload."""
    contract = load_contract()
    data = build_workload(contract.workload, contract.vocabulary).canonical_bytes()
    write_whole(output, data)
    commit, dirty = git_state()
    provenance = {
        "workload_sha256": sha256(data),
        "written_at": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "git_commit": commit,
        "git_dirty": dirty,
    }
    write_whole(
        output.with_name("provenance.json"), (json.dumps(provenance, indent=2) + "\n").encode()
    )
    click.echo(
        f"workload: 1 query of {contract.workload.query_tokens} tokens,"
        f" {contract.workload.items} items of {contract.workload.item_tokens},"
        f" sha256 {sha256(data)[:12]}"
    )


if __name__ == "__main__":
    main()
