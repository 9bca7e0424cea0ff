"""Code that serves every backend names none of them.

What is only true of one backend stands in its own folder, `backends/KEY/`, and in `conf/`.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator

import pytest
from contracts import ROOT

NAMES = re.compile(r"\b(?:jax|pytorch|sglang_jax|sglang_pytorch|sgl_jax)\b")


def named_in(source: str) -> set[str]:
    """The backends that code names, docstrings and comments aside."""
    tree = ast.parse(source)
    prose = set(_docstrings(tree))
    words = (word for node in ast.walk(tree) if node not in prose for word in _words(node))
    return {name for word in words for name in NAMES.findall(word)}


def _docstrings(tree: ast.AST) -> Iterator[ast.AST]:
    # Text that stands alone explains what stands above it.
    for node in ast.walk(tree):
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
            yield node.value


def _words(node: ast.AST) -> Iterator[str]:
    if isinstance(node, ast.Constant) and isinstance(node.value, str | bytes):
        yield node.value if isinstance(node.value, str) else node.value.decode(errors="replace")
    for field in ("id", "attr", "arg", "name", "asname", "module"):
        value = getattr(node, field, None)
        if isinstance(value, str):
            yield value


FILES = sorted(
    path.relative_to(ROOT).as_posix()
    for room in ("stages", "tools")
    for path in ROOT.glob(f"{room}/**/*.py")
)


@pytest.mark.parametrize("path", FILES)
def test_code_for_every_backend_names_none(path: str) -> None:
    assert named_in((ROOT / path).read_text("utf-8")) == set()


@pytest.mark.parametrize(
    ("source", "names"),
    [
        ('"""Of jax."""\n# pytorch\nx = 1\n', set()),
        ("x = {'jax': 1}\n", {"jax"}),
        ("def f(jax): pass\n", {"jax"}),
        ("f(pytorch=1)\n", {"pytorch"}),
        ("x.pytorch\n", {"pytorch"}),
        ("import sgl_jax.srt\n", {"sgl_jax"}),
        ("x = f'{y} sglang_jax/requirements.txt'\n", {"sglang_jax"}),
        ("class C:\n    jax: int\n", {"jax"}),
        ("x = 'ajax, JAX'\n", set()),
    ],
)
def test_a_name_is_found_wherever_code_has_it(source: str, names: set[str]) -> None:
    assert named_in(source) == names
