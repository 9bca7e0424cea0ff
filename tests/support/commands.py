"""The commands that the documentation and the messages of this project tell a reader to type."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from contracts import ROOT
from markdown_it import MarkdownIt

PAGES = [
    *(ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "deploy" / "README.md"),
    *sorted((ROOT / "docs").glob("*.md")),
]
_PARSER = MarkdownIt("commonmark").enable("table")
_PROGRAMS = ("make", "dvc", "python", ".venv/bin/python")
_SPOKEN = re.compile(rf"(?:{'|'.join(map(re.escape, _PROGRAMS))}) (?:-m )?[a-z]\S*.*", re.DOTALL)


@dataclass(frozen=True)
class Command:
    """One command line, as it stands there; and where."""

    where: str
    text: str

    @property
    def program(self) -> str:
        """What is started; ``python -m`` counts as one however the Python is named."""
        return Path(self.text.split()[0]).name


def documented() -> list[Command]:
    """Every command of the pages: in blocks, and in code within sentences and tables."""
    found = []
    for page in PAGES:
        where = str(page.relative_to(ROOT))
        for text in _code(page.read_text()):
            found += [Command(where, command) for command in _commands(text)]
    return list(dict.fromkeys(found))


def _code(markdown: str) -> Iterator[str]:
    for token in _PARSER.parse(markdown):
        if token.type in ("code_block", "fence"):
            yield token.content
        for child in token.children or []:
            if child.type == "code_inline":
                yield child.content


def told() -> list[Command]:
    """Every command within backquotes in a message of the stages and the tools."""
    found = []
    rooms = (ROOT / "stages", ROOT / "tools")
    for path in sorted(path for room in rooms for path in room.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            where = f"{path.relative_to(ROOT)}"
            for quoted in re.findall(r"(?<!`)`([^`]+)`(?!`)", _text(node)):
                found += [Command(where, command) for command in _commands(quoted)]
    return list(dict.fromkeys(found))


def _text(node: ast.AST) -> str:
    """A string's text; what is filled in reads ``X``."""
    if isinstance(node, ast.JoinedStr):
        return "".join(_text(part) for part in node.values)
    if isinstance(node, ast.FormattedValue):
        return "X"
    return node.value if isinstance(node, ast.Constant) and isinstance(node.value, str) else ""


def _commands(text: str) -> Iterator[str]:
    """The command lines in a piece of code; a line that ends in a backslash goes on."""
    for line in re.split(r"(?<!\\)\n", text):
        for part in line.split(" && "):
            # Variables before a command are the shell's.
            command = re.sub(r"^(?:[A-Z_]+=\S* +)*", "", part.strip())
            if _SPOKEN.fullmatch(command):
                yield re.sub(r" +#.*$", "", command)
