"""The figures' colours in light and in dark, and a figure as the HTML page inlines it.

Every colour of a figure is one of ``LIGHT``. An ``.svg`` file holds those colours as they are;
inlined, each becomes the CSS variable of its name, so that one drawing follows the page's theme.
"""

from __future__ import annotations

import re
from xml.etree import ElementTree

LIGHT: dict[str, str] = {
    "--page": "#ffffff",
    "--ink": "#222222",
    "--muted": "#595959",
    "--grid": "#dddddd",
    "--band": "#f0f0f0",
    "--candidate": "#0072b2",
    "--reference": "#d55e00",
    "--sky": "#2f8ac4",
    "--green": "#009e73",
    "--amber": "#a87400",
    "--purple": "#b8558a",
    "--grey": "#767676",
}
"""CSS variable -> its colour on a light page, after Okabe and Ito's palette, darkened where a
colour of theirs is too pale for white. ``--ink`` and ``--muted`` are for text (contrast with
``--page`` at least 4.5:1), ``--grid`` and ``--band`` for lines and areas behind the rest, which
is for what is measured (at least 3:1)."""

DARK: dict[str, str] = {
    "--page": "#14171a",
    "--ink": "#e8e8e8",
    "--muted": "#b4bac0",
    "--grid": "#363c42",
    "--band": "#22272c",
    "--candidate": "#56b4e9",
    "--reference": "#ff9150",
    "--sky": "#9ad4f7",
    "--green": "#2fc79a",
    "--amber": "#f0b840",
    "--purple": "#e59ac5",
    "--grey": "#9aa3ab",
}
"""The same variables on a dark page."""

_VARIABLES = {colour: name for name, colour in LIGHT.items()}
_PREFIX = re.compile(r"[A-Za-z][A-Za-z0-9_-]*")
# A reference to an id, or a colour: both start with `#`.
_HASH = re.compile(r"url\(#(?P<id>[^)]+)\)|(?P<colour>#[0-9a-fA-F]{3,8}\b)")
# What matplotlib says in a style sheet, which inlined would reach the whole page.
_INHERITED = {"stroke-linejoin": "round", "stroke-linecap": "butt"}


def themed(svg: bytes, prefix: str, title: str) -> str:
    """A figure as an HTML page's ``<svg>``, as wide as its container and in the page's colours.

    Args:
        svg: a figure of :func:`stages.report.figures.draw_all`.
        prefix: begins every id in the figure; another one for every figure of a page.
        title: what the figure shows, for those who cannot see it.

    Raises:
        ValueError: ``prefix`` cannot begin an id, or a colour is not of ``LIGHT``.
    """
    if not _PREFIX.fullmatch(prefix):
        raise ValueError(f"{prefix!r} cannot begin an id")
    # S314: these bytes are the report's own drawing.
    root = ElementTree.fromstring(svg)  # noqa: S314
    for element in root.iter():
        for style in [child for child in element if _local(child.tag) in {"style", "metadata"}]:
            element.remove(style)
    used = _referenced(root)
    for element in root.iter():
        element.tag = _local(element.tag)
        element.attrib = dict(_attributes(element, prefix, used))
        # Blanks and line ends between the elements of a drawing mean nothing.
        element.tail = None
        if element.tag != "text":
            element.text = None
    box = root.attrib["viewBox"]
    root.attrib = {"viewBox": box, "role": "img", "aria-label": title, **_INHERITED}
    heading = ElementTree.Element("title")
    heading.text = title
    root.insert(0, heading)
    return ElementTree.tostring(root, encoding="unicode")


def _local(name: str) -> str:
    """A tag or attribute without its namespace, which HTML knows by itself."""
    return name.rpartition("}")[2]


def _referenced(root: ElementTree.Element) -> set[str]:
    """Every id that something in the figure refers to."""
    found: set[str] = set()
    for element in root.iter():
        for name, value in element.attrib.items():
            if _local(name) == "href":
                found.add(value.removeprefix("#"))
            found.update(one["id"] for one in _HASH.finditer(value) if one["id"])
    return found


def _attributes(element: ElementTree.Element, prefix: str, used: set[str]) -> list[tuple[str, str]]:
    made: list[tuple[str, str]] = []
    for full, value in element.attrib.items():
        name = _local(full)
        if name == "id":
            if value in used:
                made.append((name, f"{prefix}-{value}"))
        elif name == "href":
            made.append((name, f"#{prefix}-{value.removeprefix('#')}"))
        else:
            made.append((name, _HASH.sub(lambda one: _replaced(one, prefix), value)))
    return made


def _replaced(one: re.Match[str], prefix: str) -> str:
    if one["id"]:
        return f"url(#{prefix}-{one['id']})"
    colour = one["colour"].lower()
    if colour not in _VARIABLES:
        raise ValueError(f"{colour} is not a colour of the figures' palette")
    return f"var({_VARIABLES[colour]}, {colour})"
