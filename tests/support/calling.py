"""A command of this project called in this process, where it need not be imported anew.

A process of its own costs one to three seconds of imports. What only a process shows stays one:
how a shell's variables, signals and another copy of the code change it.
"""

from __future__ import annotations

import contextlib
import importlib
import importlib.util
import os
import subprocess
import sys
import tempfile
import traceback
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TextIO
from unittest import mock

import click

from stages.backends import registry
from stages.common import errors


def call(
    folder: Path, name: str, *arguments: str, environ: Mapping[str, str] = os.environ
) -> subprocess.CompletedProcess[str]:
    """What ``python -m NAME`` does in ``folder``, on this tree's code, however it ends.

    Args:
        folder: the working directory.
        name: of the module, such as ``stages.measure``.
        arguments: of the command.
        environ: its whole environment.
    """
    command = _command(name)
    with (
        _outputs() as (out, err),
        contextlib.chdir(folder),
        _environment(environ),
        _as_in_a_new_process(),
    ):
        code = _run(command, name, arguments)
        sys.stdout.flush()
        sys.stderr.flush()
        # What a program said that it started is there too, in the order in which it was said.
        said = [_read(out), _read(err)]
    return subprocess.CompletedProcess([name, *arguments], code, *said)


def _command(name: str) -> click.Command:
    found = importlib.util.find_spec(name)
    assert found is not None, name
    if found.submodule_search_locations is not None:
        # `python -m NAME` runs it, and this does not.
        assert importlib.util.find_spec(f"{name}.__main__") is not None, name
    module = importlib.import_module(name)
    if not hasattr(module, "main"):
        module = importlib.import_module(f"{name}.command")
    main = module.main
    assert isinstance(main, click.Command), name
    return main


def _run(command: click.Command, name: str, arguments: tuple[str, ...]) -> int:
    """Its exit code, as the interpreter finds it."""
    try:
        command.main([*arguments], prog_name=f"python -m {name}")
    except SystemExit as end:
        if end.code is None or isinstance(end.code, int):
            return end.code or 0
        print(end.code, file=sys.stderr)
    except BaseException:
        traceback.print_exc()
    return 1


@contextlib.contextmanager
def _outputs() -> Iterator[tuple[TextIO, TextIO]]:
    """Two files in the place of the standard outputs, for the programs that are started too."""
    with contextlib.ExitStack() as after:
        files = []
        for number, name in ((1, "stdout"), (2, "stderr")):
            file = after.enter_context(tempfile.TemporaryFile("w+", encoding="utf-8"))
            before = os.dup(number)
            after.callback(os.close, before)
            after.callback(os.dup2, before, number)
            getattr(sys, name).flush()
            os.dup2(file.fileno(), number)
            stream = after.enter_context(open(os.dup(number), "w", encoding="utf-8"))  # noqa: PTH123
            after.enter_context(mock.patch.object(sys, name, stream))
            files.append(file)
        yield files[0], files[1]


@contextlib.contextmanager
def _as_in_a_new_process() -> Iterator[None]:
    """What this process remembers of earlier commands is forgotten, before and after."""
    with mock.patch.object(errors, "_secrets", set()):
        registry._loaded_from.cache_clear()
        yield
    registry._loaded_from.cache_clear()


@contextlib.contextmanager
def _environment(environ: Mapping[str, str]) -> Iterator[None]:
    # The folder for temporary files is looked up once in a process.
    with (
        mock.patch.dict(os.environ, dict(environ), clear=True),
        mock.patch.object(tempfile, "tempdir", None),
    ):
        yield


def _read(file: TextIO) -> str:
    file.seek(0)
    return file.read()
