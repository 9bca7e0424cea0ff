"""What sglang's multi-item scoring asks of an attention: who sees whom, and who stands where.

sglang packs a request as ``query D item D item D``, where D is a delimiter. Its flashinfer
attention lets a token of the query or of an item see the query and, of its own item, itself and
what precedes it: no delimiter and no other item. An item's first token stands where it would stand
alone, behind the query, so packed scores equal separate ones. The score of an item is read at its
last token.
"""

from __future__ import annotations

import torch


def visible(delimiters: torch.Tensor, length: int) -> torch.Tensor:
    """Which tokens each token of one packed sequence sees.

    Args:
        delimiters: their indices in the sequence, ascending, at least one. Shape ``(items + 1,)``.
        length: of the sequence.

    Returns:
        Truth values of shape ``(length, length)``: row i is what token i sees. A delimiter sees
        what the query's last token sees, or itself where there is no query, so that every row
        has a number; nothing reads it.
    """
    index = torch.arange(length)
    query = int(delimiters[0])
    is_delimiter = torch.zeros(length, dtype=torch.bool)
    is_delimiter[delimiters] = True
    item = is_delimiter.cumsum(0)  # 0 in the query, k in item k and at the delimiter before it
    causal = index[:, None] >= index[None, :]
    own_item = (item[:, None] == item[None, :]) & ~is_delimiter[None, :]
    seen = causal & ((index < query)[None, :] | own_item)
    if query == 0:
        seen[delimiters, delimiters] = True
    return seen


def positions(delimiters: torch.Tensor, length: int) -> torch.Tensor:
    """The position of every token: the first of each item follows the query's last.

    Args:
        delimiters: as of :func:`visible`.
        length: of the sequence.

    Returns:
        Whole numbers of shape ``(length,)``. A delimiter stands where the query ends, as in
        sglang; nothing sees it.
    """
    index = torch.arange(length)
    query = int(delimiters[0])
    last_delimiter = torch.searchsorted(delimiters, index, right=True) - 1
    since_delimiter = index - delimiters[last_delimiter.clamp(min=0)]
    # Without a query its end is -1, which no table of rotary embeddings has.
    return torch.where(index < query, index, (query - 1 + since_delimiter).clamp(min=0))
