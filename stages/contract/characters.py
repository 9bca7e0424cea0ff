"""Finds characters that a text of the contract may not hold, by place, code point and name."""

from __future__ import annotations

import unicodedata

# Characters that show a text in another order than the one that is stored and scored.
_REORDERING = "\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069"

# Characters that only some programs read as line ends, and the byte order mark.
_READ_DIFFERENTLY = "\u2028\u2029\ufeff"

_NAMES = {
    "\0": "NULL",
    "\a": "BELL",
    "\b": "BACKSPACE",
    "\t": "TAB",
    "\n": "LINE FEED",
    "\v": "LINE TABULATION",
    "\f": "FORM FEED",
    "\r": "CARRIAGE RETURN",
    "\x1b": "ESCAPE",
    "\x7f": "DELETE",
    "\x85": "NEXT LINE",
}
_KINDS = {"Cc": "a control character", "Cs": "a lone surrogate", "Cn": "no character"}


def unprintable(text: str) -> str | None:
    """The first character that is not printable on one line; ``None`` where there is none."""
    for i, character in enumerate(text):
        if not character.isprintable():
            return f"character {i + 1} is {name_of(character)}"
    return None


def unfit(text: str) -> str | None:
    """The first character that no prompt may hold; ``None`` where there is none.

    Prompts are real text. They may hold tabs, line feeds, every kind of space, soft hyphens,
    joiners of emoji and scripts, direction marks, private characters and characters that are
    newer than this Python. They may not hold control characters, lone surrogates, code points
    that are not characters, or characters that make a text look like another one.
    """
    for number, line in enumerate(text.split("\n"), 1):
        for i, character in enumerate(line):
            if _is_unfit(character):
                return f"line {number}, character {i + 1} is {name_of(character)}"
    return None


def _is_unfit(character: str) -> bool:
    if character == "\t":
        return False
    point = ord(character)
    return (
        unicodedata.category(character) in ("Cc", "Cs")
        or character in _REORDERING
        or character in _READ_DIFFERENTLY
        # Unicode guarantees that these never become characters.
        or point & 0xFFFE == 0xFFFE
        or 0xFDD0 <= point <= 0xFDEF
    )


def name_of(character: str) -> str:
    """A character by its code point and its name, such as ``U+00A0 NO-BREAK SPACE``."""
    kind = _KINDS.get(unicodedata.category(character), "a character without a name")
    name = _NAMES.get(character) or unicodedata.name(character, kind)
    return f"U+{ord(character):04X} {name}"
