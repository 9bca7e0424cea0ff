"""Files that appear whole or not at all, and their hashes.

A symbolic link inside an output folder cannot lead a write out of it. A link in the place of an
output is replaced, not followed.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import tempfile
from pathlib import Path
from typing import BinaryIO

from stages.common.errors import UserError


def sha256(data: bytes) -> str:
    """SHA-256 of ``data`` in lower-case hex."""
    return hashlib.sha256(data).hexdigest()


def sha256_file(path: Path) -> str:
    """SHA-256 of a file in lower-case hex.

    Raises:
        UserError: the file cannot be read.
    """
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise UserError(f"{path}: {_reason(error)}") from error


def write_whole(path: Path, data: bytes) -> None:
    """Write ``data`` to ``path`` atomically: a reader sees the old file or the new one.

    Raises:
        UserError: the folder is read-only, the disk is full, a link leads out of the output
            folder, or the like. No temporary file remains.
    """
    temporary: Path | None = None
    try:
        _make_folder(path)
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name[:100]}.")
        temporary = Path(name)
        with os.fdopen(handle, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        # mkstemp makes the file private; artifacts are as readable as any other file.
        temporary.chmod(0o644)
        temporary.replace(path)
        temporary = None
    except (OSError, ValueError) as error:  # ValueError: a NUL in the path
        raise UserError(f"{path}: {_reason(error)}; nothing was written") from error
    finally:
        # Also after a Ctrl-C.
        if temporary is not None:
            with contextlib.suppress(OSError):
                temporary.unlink()


def append_to(path: Path) -> BinaryIO:
    """Open a file to append to it. Creates a missing file, refuses a link.

    Raises:
        UserError: it cannot be written, or a link leads out of the output folder.
    """
    flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
    try:
        _make_folder(path)
        file = os.fdopen(os.open(path, flags, 0o644), "ab")
    except (OSError, ValueError) as error:
        reason = "it is a link" if path.is_symlink() else _reason(error)
        raise UserError(f"{path}: {reason}; nothing was written") from error
    return file


def _make_folder(path: Path) -> None:
    """Make the folder of the output ``path``.

    The topmost folder of a relative path (``data``) may be a link, because the user chooses where
    results are kept. No link below it may lead out of it.
    """
    if not path.is_absolute() and len(path.parts) > 1:
        top = Path(path.parts[0]).resolve()
        folder = path.parent.resolve()
        if not folder.is_relative_to(top):
            raise UserError(f"{path}: a link leads out of {path.parts[0]}/; nothing was written")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except FileExistsError:
        raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR)) from None


def _reason(error: OSError | ValueError) -> str:
    return str((error.strerror if isinstance(error, OSError) else None) or error)
