"""Aggregates the calls of a matrix into passes."""

from __future__ import annotations

import polars as pl

from stages.documents.cell import PASS_COLUMNS


def passes_of(calls: pl.DataFrame) -> pl.DataFrame:
    """One row per pass, in measuring order.

    Args:
        calls: of a matrix, one row per call.

    Returns:
        ``workload, phase, chunk_size, run, position, session, salt``, and
        ``status``: ``ok`` or the kind of the pass's failed call;
        ``started_ns``: monotonic clock before the first byte, null if none was sent;
        ``seconds``: first byte sent to last answer validated, null unless ``ok``;
        ``compiles``: compilations logged during the pass, null where not reported;
        ``cached_tokens``: prompt tokens from the server's prefix cache, null where not reported;
        ``mode``: how its requests were scored by the server's log, null where it does not tell;
        ``fallbacks``: its requests that fell back to another mode, null where no log can tell;
        ``scores``: all scores of the pass, item by item, empty unless ``ok``.
    """
    ok = (pl.col("status") == "ok").all()
    return (
        calls.sort("position", "call")
        .group_by(*PASS_COLUMNS, maintain_order=True)
        .agg(
            pl.col("position", "session", "salt").first(),
            pl.when(ok)
            .then(pl.lit("ok"))
            .otherwise(pl.col("status").filter(pl.col("status") != "ok").first())
            .alias("status"),
            pl.col("start_ns").min().alias("started_ns"),
            pl.when(ok)
            .then((pl.col("end_ns").max() - pl.col("start_ns").min()) / 1e9)
            .alias("seconds"),
            pl.col("compiles", "cached_tokens", "fallbacks").max(),
            pl.col("mode").first(),
            pl.col("scores").list.explode().drop_nulls(),
        )
        .sort("position")
    )
