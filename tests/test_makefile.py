"""What `make` lets through of a user's shell: the real Makefile with stand-ins for programs."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest
from contracts import ROOT
from hostile import hostile, plain

from stages.common.shell import uv_environ

TELLS = """\
#!/bin/bash -p
{ printf 'ARGUMENTS=%s\\0' "$*"; env -0; } > "$TOLD"
"""


class Tree:
    """A folder with the Makefile, whose `python`, `dvc` and `uv` only tell what they got."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        shutil.copy(ROOT / "Makefile", folder)
        for name in ("requirements.txt", ".python-version"):
            (folder / name).write_text("")
        for path in (".venv/bin/python", ".venv/bin/dvc", ".uv/bin/uv"):
            program = folder / path
            program.parent.mkdir(parents=True, exist_ok=True)
            program.write_text(TELLS)
            program.chmod(0o755)
        (folder / ".venv/bin/activate").write_text(
            'export VIRTUAL_ENV="$PWD/.venv"\nPATH="$PWD/.venv/bin:$PATH"\n'
        )
        self.complete = folder / ".venv" / ".complete"
        self.complete.touch()

    def make(self, environ: dict[str, str], *arguments: str) -> dict[str, str]:
        """What the last program got: its variables, and its arguments as ``ARGUMENTS``."""
        told = self.folder / "told"
        told.unlink(missing_ok=True)
        # No uv but the tree's own.
        path = os.pathsep.join(["/usr/bin", "/bin"])
        done = subprocess.run(
            ["make", *arguments],
            cwd=self.folder,
            env=environ | {"TOLD": str(told), "PATH": path},
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        pairs = (pair.partition("=") for pair in told.read_text().split("\0") if pair)
        return {name: value for name, _, value in pairs}


@pytest.fixture
def tree(tmp_path: Path) -> Tree:
    folder = tmp_path / "tree"
    folder.mkdir()
    return Tree(folder)


def test_a_hostile_shell_reaches_no_program_of_make_s(tree: Tree, tmp_path: Path) -> None:
    rc = tmp_path / "rc"
    rc.write_text("echo from BASH_ENV; exit 7\n")
    environ = hostile(tmp_path) | {
        "BASH_ENV": str(rc),
        "BASH_FUNC_python%%": "() { exit 8; }",
        "SHELLOPTS": "noexec",
        "PYTHONPATH": "/nowhere",
        "PYTHONHOME": "/nowhere",
        "PYTHONSAFEPATH": "1",
        "PYTHONINSPECT": "1",
        "PYTHONUNBUFFERED": "1",
        "MAKEFLAGS": "j8",
    }
    got = tree.make(environ, "plan")
    assert got["ARGUMENTS"] == "-m tools.plan"
    assert {n for n in got if n.startswith("PYTHON")} == {"PYTHONHASHSEED", "PYTHONUNBUFFERED"}
    assert not {n for n in got if n.startswith(("UV_", "GIT_TRACE"))}
    elsewhere = {"GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE"}
    assert not {*elsewhere, "BASH_ENV", "CDPATH", "CONDA_PREFIX", "MPLBACKEND"} & got.keys()
    assert got["VIRTUAL_ENV"] == str(tree.folder / ".venv")
    assert got["SHELL"] == "/bin/bash", "dvc starts stages with it"
    # What a stage itself decides about passes.
    assert got["OMP_NUM_THREADS"] == environ["OMP_NUM_THREADS"]
    assert got["HTTPS_PROXY"] == environ["HTTPS_PROXY"]


def test_uv_gets_what_the_harness_lets_it_have(tree: Tree) -> None:
    names = [
        *(
            "UV_INDEX_URL",
            "UV_INDEX",
            "UV_INDEX_STRATEGY",
            "UV_DEFAULT_INDEX",
            "UV_EXTRA_INDEX_URL",
        ),
        *("UV_FIND_LINKS", "UV_NO_INDEX", "UV_KEYRING_PROVIDER", "UV_CREDENTIALS_DIR"),
        *("UV_CONFIG_FILE", "UV_NO_CONFIG", "UV_CACHE_DIR", "UV_NO_CACHE", "UV_LINK_MODE"),
        *("UV_OFFLINE", "UV_LOCK_TIMEOUT", "UV_NATIVE_TLS", "UV_SYSTEM_CERTS", "UV_INSECURE_HOST"),
        *("UV_HTTP_TIMEOUT", "UV_REQUEST_TIMEOUT", "UV_CONCURRENT_DOWNLOADS", "UV_NO_PROGRESS"),
        *("UV_STACK_SIZE", "UV_PYTHON_INSTALL_MIRROR", "UV_PYTHON_DOWNLOADS"),
        *("UV_PYTHON", "UV_SYSTEM_PYTHON", "UV_BREAK_SYSTEM_PACKAGES", "UV_PROJECT_ENVIRONMENT"),
        *("UV_TARGET", "UV_PREFIX", "UV_CONSTRAINT", "UV_OVERRIDE", "UV_EXCLUDE_NEWER"),
        *("UV_TORCH_BACKEND", "UV_WORKING_DIR", "UV_NO_BINARY", "UV_NO_BUILD", "UV_RESOLUTION"),
        *("UV_PRERELEASE", "UV_COMPILE_BYTECODE", "UV_VENV_SEED", "UV_PYTHON_PREFERENCE"),
    ]
    shell = dict.fromkeys(names, "x")
    os.utime(tree.complete, (0, 0))
    got = tree.make(
        plain() | shell | {"VIRTUAL_ENV": "/other", "CONDA_PREFIX": "/other"}, ".venv/.complete"
    )
    assert got["ARGUMENTS"].startswith("pip sync ")
    assert got["VIRTUAL_ENV"] == ".venv"
    assert "CONDA_PREFIX" not in got
    found = {name for name in got if name.startswith("UV_")}
    assert found == {name for name in uv_environ(shell) if name in names}
    assert "UV_INDEX_URL" in found
    assert "UV_PYTHON" not in found


@pytest.mark.parametrize(
    ("target", "wanted"),
    [
        ("doctor", "-m tools.doctor"),
        ("measure", "-m tools.combine.half "),
        ("params", "-m tools.compose"),
        ("diff", "-m tools.diff HEAD workspace"),
        ("combine", "-m tools.combine"),
    ],
)
def test_a_variable_of_the_shell_is_no_argument(tree: Tree, target: str, wanted: str) -> None:
    names = ("BACKEND", "RECORD", "CLEAR", "JSON", "FRESH", "TARGET", "CONTRACT", "SET", "TO")
    got = tree.make(plain() | dict.fromkeys(names, "x"), target)
    assert got["ARGUMENTS"].split() == wanted.split()


def test_what_stands_behind_make_is_one(tree: Tree) -> None:
    got = tree.make(plain(), "doctor", "BACKEND=jax", "JSON=1")
    assert got["ARGUMENTS"].split() == ["-m", "tools.doctor", "--backend", "jax", "--json"]


@pytest.mark.parametrize(
    ("base_url", "last"),
    [("null", "spent"), ("http://tpu-vm:30010", "served"), ("", "served")],
)
def test_only_with_a_base_url_does_repro_ask_which_server_answers(
    tree: Tree, base_url: str, last: str
) -> None:
    """An empty one is a URL that YAML folded onto the next line."""
    (tree.folder / "params.yaml").write_text(
        f"portable:\n  base_url: {base_url}\nbest_native:\n  base_url: null\n"
    )
    assert tree.make(dict(os.environ), "repro")["ARGUMENTS"].split()[1] == f"tools.{last}"
