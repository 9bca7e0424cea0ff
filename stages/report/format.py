"""How the report writes numbers, names and lists. Pure; absent figures are never zero."""

from __future__ import annotations

import datetime
import math
from collections.abc import Sequence
from decimal import ROUND_CEILING, Decimal

from stages.comparison import Cell, ControlName, Interval, Source, Verdict
from stages.contract import BACKEND_NAMES, Backend, View

ABSENT = "—"
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


def number(value: float | None) -> str:
    """Three digits or more, without an exponent until the value is tiny: 0.43, 346.5, 1,234."""
    if value is None:
        return ABSENT
    size = abs(value)
    if 0 < size < 0.1:
        return f"{value:.2g}"
    if size < 9.995:
        return f"{value:.2f}"
    return f"{value:.1f}" if size < 999.95 else f"{value:,.0f}"


def bounded(value: float | None, interval: Interval | None, unit: str = "") -> str:
    """A figure and where it lies: both ends in brackets, or ``—`` without an interval.

    An interval without an upper end reads ``373.6 (over 361.0)``. The unit is told once.
    """
    if value is None:
        return ABSENT
    if interval is None:
        return f"{number(value)}{unit} ({ABSENT})"
    if interval.high is None:
        return f"{number(value)}{unit} (over {number(interval.low)})"
    return f"{number(value)}{unit} ({number(interval.low)}{TO}{number(interval.high)})"


def milliseconds(seconds: float | None) -> str:
    """``seconds`` in milliseconds, without the unit."""
    return number(None if seconds is None else seconds * 1e3)


def plain(value: float) -> str:
    """A number of the contract, as it was written there: 180, 0.02."""
    return f"{value:g}"


def seconds(value: float) -> str:
    """Seconds with one decimal, without the unit."""
    return f"{value:,.1f}"


def factor(value: float) -> str:
    """An x-factor: 0.43x, 2.30x, 12.3x."""
    return f"{number(value)}x"


def percent(share: float | None) -> str:
    """A share of 1 as a percentage; only a whole reads 100% and only nothing reads 0%."""
    if share is None:
        return ABSENT
    if 0 < share < 0.001:
        return "under 0.1%"
    if 0.9995 <= share < 1:
        return "over 99.9%"
    text = f"{share * 100:.1f}".removesuffix(".0")
    return f"{text}%"


def difference(value: float | None) -> str:
    """A score difference to three digits, rounded up: it never reads smaller than it is."""
    if value is None or not math.isfinite(value):
        return ABSENT
    if value == 0:
        return "0"
    # repr, not the binary value: 0.002 is not to read 0.00201.
    exact = Decimal(repr(value))
    step = Decimal(1).scaleb(exact.adjusted() - 2)
    rounded = exact.quantize(step, rounding=ROUND_CEILING)
    return f"{rounded:f}" if rounded >= Decimal("0.001") else f"{float(rounded):.2e}"


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
    """Chunk sizes ``of`` a cell or more in words, neighbours in ``every`` (rising) drawn together.

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


def backend_view(backend: Backend, view: View) -> str:
    """``JAX, portable view``."""
    return f"{BACKEND_NAMES[backend]}, {VIEW_NAMES[view]} view"


def commit(source: Source, digits: int) -> str:
    """The commit that was measured with, and whether the code was that of the commit."""
    if source.git_commit is None:
        return ABSENT
    changes = {True: " with uncommitted changes", None: ", uncommitted changes not known"}
    return source.git_commit[:digits] + changes.get(source.git_dirty, "")


def in_view(view: View, sentence: str) -> str:
    """``Portable view: the sentence.``, made from ``The sentence.``."""
    return f"{VIEW_NAMES[view].capitalize()} view: {sentence[:1].lower()}{sentence[1:]}"


def place(backend: Backend, view: View, chunk_size: int) -> str:
    """``JAX, portable view, chunk size 8``."""
    return f"{backend_view(backend, view)}, chunk size {chunk_size}"


def at(cell: Cell) -> str:
    """Where a cell is, in words."""
    return place(cell.backend, cell.view, cell.chunk_size)
