"""Formats numbers for every sentence and table.

One figure reads the same everywhere, an absent one is never zero, and rounding never moves a number
across a limit that decided something:

* ``apart`` writes a figure near a limit with as many decimals as keep it on its side.
* A bound ("at most", "or more", "below") is rounded to the side on which it stays true.
"""

from __future__ import annotations

import math
from decimal import ROUND_CEILING, ROUND_FLOOR, Decimal

ABSENT = "—"

# The decimals of a float never need more.
_MOST_PLACES = 20


def number(value: float | None) -> str:
    """Three digits or more, without an exponent until the value is tiny: 0.43, 346.5, 1,234."""
    if value is None:
        return ABSENT
    places = _places(value)
    return f"{value:.2g}" if places is None else f"{value:,.{places}f}"


def _places(value: float) -> int | None:
    """The number of decimals; ``None`` where the value is tiny."""
    size = abs(value)
    if 0 < size < 0.1:
        return None
    return 2 if size < 9.995 else 1 if size < 999.95 else 0


def number_at_least(value: float) -> str:
    """The same rounded down, for use after "over" and "at least"."""
    exact, places = _exact(value), _places(value)
    digits = 1 - exact.adjusted() if places is None else places
    rounded = exact.quantize(Decimal(1).scaleb(-digits), rounding=ROUND_FLOOR)
    return number(float(rounded))


def ratio(value: float) -> str:
    """The same for a ratio: only 1 itself reads 1.00."""
    text = number(value)
    return apart(_exact(value), (Decimal(1),), 2) if text == "1.00" else text


def factor(value: float) -> str:
    """An x-factor: 0.43x, 2.30x, 12.3x, and 1.003x where two digits would read 1.00x."""
    return f"{ratio(value)}x"


def apart(value: Decimal, limits: tuple[Decimal, ...], places: int) -> str:
    """``value`` with ``places`` decimals, or as many more as keep it on its side of each limit."""
    for digits in range(places, _MOST_PLACES):
        text = f"{value:.{digits}f}"
        shown = Decimal(text)
        if all(shown.compare(limit) == value.compare(limit) for limit in limits):
            return text
    return f"{value:f}"


def _exact(value: float) -> Decimal:
    # repr, not the binary value: 0.95 is 0.95.
    return Decimal(repr(float(value)))


def percent(share: float | None, *limits: float) -> str:
    """A share of 1 as a percentage; only a whole reads 100% and only nothing reads 0%.

    Args:
        share: the share.
        limits: shares that decide something; the text keeps its side of each.
    """
    if share is None:
        return ABSENT
    if 0 < share < 0.001:
        return "under 0.1%"
    if 0.9995 <= share < 1:
        return "over 99.9%"
    return f"{percentage(share, 1, *limits).removesuffix('.0')}%"


def percentage(share: float, places: int, *limits: float) -> str:
    """A share of 1 in percent, without the sign, on its side of each of ``limits``."""
    return apart(100 * _exact(share), tuple(100 * _exact(limit) for limit in limits), places)


def percent_at_most(share: float | None, places: int = 1) -> str:
    """A share of 1 as a percentage, rounded up, for use after "at most"."""
    if share is None:
        return ABSENT
    step = Decimal(1).scaleb(-places)
    rounded = (100 * _exact(share)).quantize(step, rounding=ROUND_CEILING)
    return f"{str(rounded).removesuffix('.0')}%"


def plain_percent(share: float) -> str:
    """A share from the contract as a percentage, as it was written: 5%, 5.25%."""
    return f"{plain(float(f'{100 * share:.12g}'))}%"


def milliseconds(seconds: float | None) -> str:
    """``seconds`` in milliseconds, without the unit."""
    return number(None if seconds is None else seconds * 1e3)


def plain(value: float) -> str:
    """A number of the contract, as it was written there: 180, 0.02."""
    text = f"{value:g}"
    return text if float(text) == value else repr(value).removesuffix(".0")


def difference(value: float | None) -> str:
    """A score difference to three digits, rounded up: it never reads smaller than it is."""
    if value is None or not math.isfinite(value):
        return ABSENT
    if value == 0:
        return "0"
    exact = _exact(value)
    step = Decimal(1).scaleb(exact.adjusted() - 2)
    rounded = exact.quantize(step, rounding=ROUND_CEILING)
    return f"{rounded:f}" if rounded >= Decimal("0.001") else f"{float(rounded):.2e}"


def correlation(value: float | None, *limits: float | None) -> str:
    """A rank correlation to three decimals; only 1 itself reads 1, and only 0 reads 0.000.

    Args:
        value: from -1 to 1.
        limits: values that decide something; the text keeps its side of each.
    """
    if value is None:
        return ABSENT
    sides = tuple(_exact(one) for one in (-1.0, 0.0, 1.0, *limits) if one is not None)
    text = apart(_exact(value), sides, 3)
    return f"{int(value)}" if abs(value) == 1 else text


def about(count: int) -> str:
    """An estimated count, to two digits and rounded up."""
    step = 10 ** max(0, len(str(count)) - 2)
    return f"{-(-count // step) * step:,}"


def between(low: float, high: float | None) -> tuple[str, str | None]:
    """A range, rounded to lie within ``low`` (included) to ``high`` (excluded; ``None``: no end).

    It has two decimals, or as many more as the range needs not to be empty.
    """
    for places in range(2, _MOST_PLACES):
        step = Decimal(1).scaleb(-places)
        up = _exact(low).quantize(step, rounding=ROUND_CEILING)
        if high is None:
            return f"{up}", None
        down = _exact(high).quantize(step, rounding=ROUND_FLOOR)
        if up < down:
            return f"{up}", f"{down}"
    raise ValueError(f"nothing lies between {low} and {high}")
