"""Code that serves every backend names none of them.

What is only true of one backend stands in its own folder, `backends/NAME/`, and in `conf/`.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator

import pytest
from contracts import ROOT

NAMES = re.compile(r"\b(?:jax|pytorch|sglang_jax|sglang_pytorch|sgl_jax)\b")

# The pair is still called by its names here; it becomes a candidate and a reference. The list
# only gets shorter: an entry that names nobody any more fails.
PAIR = {
    "stages/compare": "the gate compares one with the other",
    "stages/report": "sentences, tables and figures of the pair",
    "stages/documents/comparison.py": "columns of the pair",
    "tools/diff": "tables of the pair",
}
KEYS = {
    "stages/contract/basics.py": "the keys of both sections, and which is the reference",
    "tools/plan/rough.py": "the keys of both in rough_rates",
    "stages/contract/measuring.py": "the keys of both in prices_usd_per_hour",
    "stages/contract/serving.py": "the sections of both in backends",
}
ALLOWED = PAIR | KEYS


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


def _allowed(path: str) -> str | None:
    return next((one for one in ALLOWED if path == one or path.startswith(f"{one}/")), None)


FILES = sorted(
    path.relative_to(ROOT).as_posix()
    for room in ("stages", "tools")
    for path in ROOT.glob(f"{room}/**/*.py")
)


@pytest.mark.parametrize("path", [path for path in FILES if _allowed(path) is None])
def test_code_for_every_backend_names_none(path: str) -> None:
    assert named_in((ROOT / path).read_text("utf-8")) == set()


@pytest.mark.parametrize("entry", ALLOWED)
def test_what_may_name_backends_does(entry: str) -> None:
    files = [path for path in FILES if _allowed(path) == entry]
    assert any(named_in((ROOT / path).read_text("utf-8")) for path in files)


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
