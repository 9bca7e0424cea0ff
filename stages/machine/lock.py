"""Allows one measurement at a time on a machine: two would slow each other down unnoticed.

The lock is the kernel's, on a file in the folder for temporary files, so it ends with its process.
The file stays and names the holder. filelock is not used, because it empties the file at each
attempt to lock.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pydantic

from stages.common.errors import UserError
from stages.documents.tables import Record
from stages.machine.host import utc_now

LOCK_NAME = "scoreparity.lock"

_POLL_S = 0.5


class Holder(Record):
    """Who holds the lock.

    Attributes:
        stage: what is measured.
        since: in UTC.
    """

    pid: int
    folder: str
    stage: str
    since: str


def lock_path() -> Path:
    """The lock's file: the same for every user and work tree, unless ``TMPDIR`` differs."""
    return Path(tempfile.gettempdir()) / LOCK_NAME


@contextlib.contextmanager
def machine_lock(stage: str, waiting: Callable[[str], None] | None = None) -> Iterator[None]:
    """Hold the machine's lock for the length of the block.

    Args:
        stage: what is measured, shown to others who want the lock.
        waiting: wait for the lock instead of refusing, and call this with a sentence that names
            the holder, once for each holder.

    Raises:
        UserError: another measurement holds it, or the file cannot be opened.
    """
    path = lock_path()
    try:
        file = _open(path)
    except OSError as error:
        raise UserError(f"{path}: {error.strerror}; it is needed to measure alone") from error
    try:
        _take(file, waiting)
        holder = Holder(pid=os.getpid(), folder=str(Path.cwd()), stage=stage, since=utc_now())
        os.ftruncate(file, 0)
        os.pwrite(file, holder.model_dump_json().encode() + b"\n", 0)
        yield
        os.ftruncate(file, 0)
    finally:
        os.close(file)


def who_measures() -> str | None:
    """The holder of the lock; ``None`` where nobody holds it.

    The lock is tried only if the file names a holder, who either holds it or was killed. A free
    lock is not touched, so that a measurement that starts at this moment is not refused.

    Raises:
        UserError: the file is not one that can be locked.
    """
    path = lock_path()
    try:
        file = os.open(path, os.O_RDONLY | os.O_NOFOLLOW)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise UserError(f"{path}: {error.strerror}; it is needed to measure alone") from error
    try:
        data = os.pread(file, 4096, 0)
        if data:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return _holder(data).removeprefix(": ") or "somebody who left no name"
    except OSError as error:
        raise UserError(f"{path}: {error.strerror}; it is needed to measure alone") from error
    finally:
        os.close(file)
    return None


def _open(path: Path) -> int:
    # In a world-writable folder Linux refuses O_CREAT on another user's file, so the first attempt
    # is without it.
    flags = os.O_RDWR | os.O_NOFOLLOW
    try:
        return os.open(path, flags)
    except FileNotFoundError:
        file = os.open(path, flags | os.O_CREAT, 0o666)
        # Other users must be able to lock it, whatever this user's umask is.
        with contextlib.suppress(PermissionError):
            os.fchmod(file, 0o666)
        return file


def _take(file: int, waiting: Callable[[str], None] | None) -> None:
    seen = announced = None
    while True:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            held = _holder(os.pread(file, 4096, 0))
        else:
            return
        if waiting is None:
            raise UserError(
                f"another measurement is running on this machine{held}; stop it, or wait for it"
                " with --wait (under dvc: SCOREPARITY_WAIT=1)"
            )
        # Announce a holder seen twice: a new one takes the lock first and then writes its name.
        if held == seen != announced:
            waiting(f"waiting for another measurement on this machine{held}")
            announced = held
        seen = held
        time.sleep(_POLL_S)


def _holder(data: bytes) -> str:
    try:
        holder = Holder.model_validate_json(data)
    except pydantic.ValidationError:
        return ""
    return f": {holder.stage} in {holder.folder}, process {holder.pid}, since {holder.since}"
