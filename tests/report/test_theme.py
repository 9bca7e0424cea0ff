"""The figures' colours, and a figure as the HTML page inlines it."""

from __future__ import annotations

import re
from xml.etree import ElementTree

import pytest

from stages.report.figures.theme import DARK, LIGHT, themed

TEXT = ("--ink", "--muted")
SERIES = ("--candidate", "--reference", "--sky", "--green", "--amber", "--purple", "--grey")

DRAWING = b"""<?xml version="1.0" encoding="utf-8"?>
<svg xmlns:xlink="http://www.w3.org/1999/xlink" width="9pt" height="6pt" viewBox="0 0 9 6"
 xmlns="http://www.w3.org/2000/svg" version="1.1">
 <defs><style type="text/css">*{stroke-linecap: butt}</style></defs>
 <g id="figure_1">
  <defs><path id="m1" d="M 0 0 L 1 1" style="stroke: #0072b2"/></defs>
  <g clip-path="url(#p1)"><use xlink:href="#m1" style="fill: #0072B2; stroke: #222222"/></g>
  <path d="M 0 0" style="fill: url(#h1)"/>
  <text style="fill: #222222">a &lt; b  &amp; 0.5</text>
 </g>
 <defs><clipPath id="p1"><rect x="0"/></clipPath>
 <pattern id="h1"><rect fill="#ffffff"/></pattern></defs>
</svg>"""


def luminance(colour: str) -> float:
    """Relative luminance, as WCAG 2.2 defines it."""
    shares = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [s / 12.92 if s <= 0.04045 else ((s + 0.055) / 1.055) ** 2.4 for s in shares]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(one: str, other: str) -> float:
    darker, lighter = sorted((luminance(one), luminance(other)))
    return (lighter + 0.05) / (darker + 0.05)


def test_contrast_is_that_of_wcag() -> None:
    assert contrast("#000000", "#ffffff") == pytest.approx(21)
    # The grey WCAG's own techniques name as just enough for text on white.
    assert contrast("#767676", "#ffffff") == pytest.approx(4.54, abs=0.005)


def test_both_themes_name_the_same_colours_on_the_pages_they_are_for() -> None:
    assert set(LIGHT) == set(DARK) == {"--page", "--grid", "--band", *TEXT, *SERIES}
    assert (LIGHT["--page"], DARK["--page"]) == ("#ffffff", "#14171a")
    assert len(set(LIGHT.values())) == len(LIGHT)


@pytest.mark.parametrize("theme", [LIGHT, DARK], ids=["light", "dark"])
def test_text_and_series_stand_out_from_the_page(theme: dict[str, str]) -> None:
    for name in TEXT:
        assert contrast(theme[name], theme["--page"]) >= 4.5, name
    for name in SERIES:
        assert contrast(theme[name], theme["--page"]) >= 3.0, name


def test_every_colour_becomes_its_variable_with_the_light_colour_behind_it() -> None:
    inlined = themed(DRAWING, "f", "T")

    assert 'style="stroke: var(--candidate, #0072b2)"' in inlined
    assert "fill: var(--candidate, #0072b2); stroke: var(--ink, #222222)" in inlined
    assert '<rect fill="var(--page, #ffffff)" />' in inlined
    assert not re.search(r"#[0-9a-f]{6}", re.sub(r"var\(--\w+, #[0-9a-f]{6}\)", "", inlined))


def test_a_colour_outside_the_palette_is_refused() -> None:
    with pytest.raises(ValueError, match="#ff0000 is not"):
        themed(DRAWING.replace(b"#222222", b"#ff0000"), "f", "T")


def test_ids_and_all_that_refers_to_them_carry_the_prefix() -> None:
    inlined = themed(DRAWING, "one", "T")

    assert set(re.findall(r'id="([^"]+)"', inlined)) == {"one-m1", "one-p1", "one-h1"}
    assert 'href="#one-m1"' in inlined
    assert 'clip-path="url(#one-p1)"' in inlined
    assert "fill: url(#one-h1)" in inlined


@pytest.mark.parametrize("prefix", ["", "1a", 'a"', "a b"])
def test_a_prefix_that_cannot_begin_an_id_is_refused(prefix: str) -> None:
    with pytest.raises(ValueError, match="cannot begin an id"):
        themed(DRAWING, prefix, "T")


def test_what_is_inlined_is_one_element_that_scales_and_says_what_it_shows() -> None:
    inlined = themed(DRAWING, "f", 'p95 < 3 & "more"')
    root = ElementTree.fromstring(inlined)

    assert inlined.startswith("<svg ")
    assert root.get("role") == "img"
    assert root.get("aria-label") == root.findtext("title") == 'p95 < 3 & "more"'
    assert root.get("viewBox") == "0 0 9 6"
    assert "width" not in root.attrib
    assert "height" not in root.attrib
    assert root.findtext(".//text") == "a < b  & 0.5"
    # A style sheet inside would reach the whole page; a name space is an address.
    assert "<style" not in inlined
    assert "http" not in inlined
