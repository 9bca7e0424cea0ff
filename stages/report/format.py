"""How the report writes numbers, names and lists. Absent figures are never zero."""

from __future__ import annotations

import datetime
from collections.abc import Sequence

from stages.common.numbers import (
    ABSENT,
    about,
    between,
    correlation,
    difference,
    factor,
    milliseconds,
    number,
    number_at_least,
    percent,
    percent_at_most,
    percentage,
    plain,
    plain_percent,
    ratio,
)
from stages.contract import Backend, View
from stages.documents.comparison import (
    SURE,
    VERY_SURE,
    Cell,
    ControlName,
    Interval,
    MatrixSource,
    Pair,
    Verdict,
)

# Shared with `compare`; the report takes them from here.
__all__ = [
    "ABSENT",
    "about",
    "between",
    "correlation",
    "difference",
    "factor",
    "milliseconds",
    "number",
    "percent",
    "percent_at_most",
    "percentage",
    "plain",
    "plain_percent",
]

TO = "\N{EN DASH}"

VIEW_NAMES: dict[View, str] = {"portable": "portable", "best_native": "best-native"}
VERDICT_NAMES: dict[Verdict, str] = {
    "pass": "yes",
    "fail": "no",
    "inconclusive": "inconclusive",
    "not_compared": "not compared",
}
CONTROL_NAMES: dict[ControlName, str] = {
    "items_rotated": "items rotated by one",
    "labels_swapped": "labels swapped",
    "mean_score": "the mean score for every item",
}

LAYOUT_NAMES = {
    "alone": "alone in a request",
    "original": "among its own neighbours",
    "reversed": "with the order reversed",
    "replaced": "with all other items replaced",
    "before_all": "with all other items before it",
    "shorter": "with all other items shorter",
    "longer": "with all other items longer",
}


def layout(name: str) -> str:
    """How a probe request was built around its target, in words."""
    before = name.removeprefix("before_")
    if before.isdecimal():
        return f"with {count(int(before), 'item')} before it"
    return LAYOUT_NAMES.get(name, name)


def bounded(value: float | None, interval: Interval | None, unit: str = "") -> str:
    """A figure with the ends of its interval in brackets, or ``—`` without one.

    An interval without an upper end reads ``373.6 (over 361.0)``. The unit stands once; ``x``
    marks a ratio.
    """
    write = ratio if unit == "x" else number
    if value is None:
        return ABSENT
    figure = f"{write(value)}{unit}"
    if interval is None:
        return f"{figure} ({ABSENT})"
    if interval.high is None:
        return f"{figure} (over {number_at_least(interval.low)})"
    return f"{figure} ({write(interval.low)}{TO}{write(interval.high)})"


def seconds(value: float) -> str:
    """Seconds with one decimal, without the unit."""
    return f"{value:,.1f}"


def usd(value: float | None) -> str:
    """US dollars to three digits."""
    return ABSENT if value is None else f"{value:.3g}"


def gibibytes(count: int) -> str:
    """Bytes in GiB."""
    return f"{count / 2**30:.1f} GiB"


def instant(text: str) -> datetime.datetime:
    """An ISO 8601 time stamp in UTC; one without an offset is taken as UTC."""
    stamp = datetime.datetime.fromisoformat(text)
    if stamp.tzinfo is None:
        stamp = stamp.replace(tzinfo=datetime.UTC)
    return stamp.astimezone(datetime.UTC)


def minute(text: str) -> str:
    """An ISO 8601 time stamp to the minute, in UTC."""
    return f"{instant(text):%Y-%m-%d %H:%M} UTC"


def yes_no(answer: bool | None) -> str:
    """``yes`` or ``no``; ``not known`` for ``None``."""
    return {True: "yes", False: "no", None: "not known"}[answer]


def join(parts: Sequence[str]) -> str:
    """``a``, ``a and b``, ``a, b and c``."""
    if len(parts) < 2:
        return "".join(parts)
    return f"{', '.join(parts[:-1])} and {parts[-1]}"


def count(number_of: int, noun: str, plural: str | None = None) -> str:
    """``1 pass``, ``2 passes``, ``no passes``."""
    many = plural or f"{noun}s"
    return f"{number_of or 'no'} {noun if number_of == 1 else many}"


def items(of: Sequence[int]) -> str:
    """``item 3``, ``items 3 and 15``."""
    return f"item{'s' if len(of) > 1 else ''} {join([str(item) for item in of])}"


def chunk_sizes(of: Sequence[int], every: Sequence[int]) -> str:
    """Chunk sizes in words; those that are neighbours in ``every`` (rising) become a range.

    ``chunk size 4``, ``chunk sizes 1 and 2``, ``chunk sizes 1 to 8 and 500``.
    """
    return f"chunk size{'s' if len(of) > 1 else ''} {sizes(of, every)}"


def sizes(of: Sequence[int], every: Sequence[int]) -> str:
    """The same without the noun: ``1 to 8 and 500``."""
    runs: list[list[int]] = []
    for size in sorted(of):
        before = every.index(size) - 1
        if runs and before >= 0 and runs[-1][-1] == every[before]:
            runs[-1].append(size)
        else:
            runs.append([size])
    words: list[str] = []
    for run in runs:
        words += [f"{run[0]} to {run[-1]}"] if len(run) > 2 else [str(size) for size in run]
    return join(words)


def backend_view(backend: Backend, view: View, pair: Pair) -> str:
    """``JAX, portable view``."""
    return f"{pair.title(backend)}, {VIEW_NAMES[view]} view"


def commit(source: MatrixSource, digits: int) -> str:
    """The commit of the measurement, and whether there were uncommitted changes."""
    if source.run.git_commit is None:
        return ABSENT
    changes = {True: " with uncommitted changes", None: ", uncommitted changes not known"}
    return source.run.git_commit[:digits] + changes.get(source.run.git_dirty, "")


def sentence(text: str) -> str:
    """``The text.``, made from ``the text``."""
    return f"{text[:1].upper()}{text[1:]}."


def in_view(view: View, text: str) -> str:
    """``Portable view: the text.``, made from ``the text``."""
    return f"{VIEW_NAMES[view].capitalize()} view: {text}."


def cell(name: str, chunk_size: int | None) -> str:
    """``JAX at chunk size 8``, where the view is known."""
    return f"{name} at chunk size {chunk_size}"


def place(backend: Backend, view: View, chunk_size: int, pair: Pair) -> str:
    """``JAX, portable view, chunk size 8``."""
    return f"{backend_view(backend, view, pair)}, chunk size {chunk_size}"


def at(of: Cell, pair: Pair) -> str:
    """``JAX, portable view, chunk size 8``, of a cell."""
    return place(of.backend, of.view, of.chunk_size, pair)


def resamples(share: float | None) -> str:
    """A share of resamples, rounded so that it stays on its side of each threshold."""
    return percent(share, SURE, VERY_SURE)
