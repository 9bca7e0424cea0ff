"""The journal of one measurement: every finished pass is on disk before the next one begins.

It lies in the cache folder, because DVC deletes a stage's outputs before it runs the stage, and may
run it in a copy of the work tree. Its folder is named by a hash of everything that must be the same
for earlier passes to count. If any of that changes, a new journal begins.

Each line is one entry with a checksum: one when a process begins, one for every finished pass. The
last line may be torn by the end of a process; it is ignored and overwritten. Any other damaged line
makes the journal unusable.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Annotated, Literal, Self

import pydantic
from pydantic import Field

from stages.common.errors import UserError
from stages.documents.matrix import CallRecord
from stages.documents.tables import Record
from stages.machine.other_work import LoadAccount
from stages.measure.faults import FaultCounts

JOURNAL_FILE = "passes.jsonl"

_HEAD = b'{"crc":"%08x","entry":'
_TAIL = b"}"
_HEAD_LENGTH = len(_HEAD % 0)


class ProcessStarted(Record):
    """A process began to measure.

    Attributes:
        started_at: in UTC.
        monotonic_ns: its monotonic clock then.
        wall_ns: the wall clock at the same moment, since the epoch.
        offset_ns: added to its monotonic clock to place its passes after earlier ones.
        compile_cache_entries: compiled programs in the cache before its server started.
        measurement: id of the whole measurement, shared by all its processes.
    """

    kind: Literal["process"] = "process"
    started_at: str
    monotonic_ns: int
    wall_ns: int
    offset_ns: int
    compile_cache_entries: int | None
    measurement: str


class PassFinished(Record):
    """A pass was measured, whether it was ok or failed.

    Attributes:
        finished_at: in UTC.
        workload_sha256: of the workload that it scored.
        calls: its calls; their times are on the timeline of the whole matrix.
        faults: counted over all processes, this pass included.
        load: of this process so far.
        seconds: of this process so far, by activity.
        elapsed_s: seconds since this process began.
    """

    kind: Literal["pass"] = "pass"
    finished_at: str
    workload_sha256: str
    calls: Annotated[list[CallRecord], Field(min_length=1)]
    faults: FaultCounts
    load: LoadAccount
    seconds: dict[str, float]
    elapsed_s: float


type Entry = ProcessStarted | PassFinished

_ENTRY: pydantic.TypeAdapter[Entry] = pydantic.TypeAdapter(
    Annotated[ProcessStarted | PassFinished, Field(discriminator="kind")]
)


class DamagedJournalError(Exception):
    """A line before the last one is damaged; ``line`` counts from 1."""

    def __init__(self, line: int) -> None:
        super().__init__(f"line {line}")
        self.line = line


def encode_entry(entry: Entry) -> bytes:
    """One line, its end included."""
    text = entry.model_dump_json().encode()
    return _HEAD % zlib.crc32(text) + text + _TAIL + b"\n"


def decode_entries(data: bytes) -> tuple[list[Entry], int]:
    """The entries of a journal, and how many bytes they take.

    Raises:
        DamagedJournalError: a line other than the last cannot be read.
    """
    entries: list[Entry] = []
    end = 0
    while end < len(data):
        newline = data.find(b"\n", end)
        entry = None if newline < 0 else _decode_line(data[end:newline])
        if entry is None:
            if 0 <= newline < len(data) - 1:
                raise DamagedJournalError(len(entries) + 1)
            break
        entries.append(entry)
        end = newline + 1
    return entries, end


def _decode_line(line: bytes) -> Entry | None:
    text = line[_HEAD_LENGTH : -len(_TAIL)]
    if line != _HEAD % zlib.crc32(text) + text + _TAIL:
        return None
    try:
        return _ENTRY.validate_json(text)
    except pydantic.ValidationError:
        return None


def clock_offset(earlier: Sequence[Entry], monotonic_ns: int, wall_ns: int) -> int:
    """What to add to this process's monotonic clock so that its passes follow the earlier ones.

    Monotonic clocks restart with the machine, so the wall clock gives the time since the first
    process. Where it was set back, this process begins where the last finished pass ended.
    """
    first = next((e for e in earlier if isinstance(e, ProcessStarted)), None)
    if first is None:
        return 0
    at = first.monotonic_ns + (wall_ns - first.wall_ns)
    ends = [
        call.end_ns
        for entry in earlier
        if isinstance(entry, PassFinished)
        for call in entry.calls
        if call.end_ns is not None
    ]
    return max([at, *ends]) - monotonic_ns


@dataclass(frozen=True, slots=True)
class History:
    """What earlier processes left in a journal.

    Attributes:
        passes: every finished pass, in measuring order.
        first: the first process.
        last: the last finished pass of every process that finished one.
    """

    passes: list[PassFinished]
    first: ProcessStarted | None
    last: list[PassFinished]


def history_of(entries: Sequence[Entry]) -> History:
    """Summarize the entries for a process that continues the measurement."""
    last: list[PassFinished] = []
    new_process = True
    for entry in entries:
        if isinstance(entry, ProcessStarted):
            new_process = True
        elif new_process:
            last.append(entry)
            new_process = False
        else:
            last[-1] = entry
    return History(
        passes=[e for e in entries if isinstance(e, PassFinished)],
        first=next((e for e in entries if isinstance(e, ProcessStarted)), None),
        last=last,
    )


class Journal:
    """A journal open for one process; a context manager.

    Args:
        folder: its own folder, made if it is not there.

    Attributes:
        folder: of the journal and of files that belong to it.
        entries: of earlier processes; empty if none finished a pass.

    Raises:
        UserError: damaged, in use by another process, or the folder cannot be written.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._path = folder / JOURNAL_FILE
        try:
            folder.mkdir(parents=True, exist_ok=True)
            self._file = os.open(self._path, os.O_RDWR | os.O_CREAT, 0o644)
            _sync_folder(folder)
        except OSError as error:
            raise UserError(f"{self._path}: {error.strerror}; nothing was measured") from error
        try:
            self.entries = self._take_over()
        except BaseException:
            os.close(self._file)
            raise
        self._holds_passes = bool(self.entries)

    def _take_over(self) -> list[Entry]:
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise UserError(
                f"{self._path}: another process measures the same; wait for it or stop it"
            ) from None
        try:
            entries, length = decode_entries(self._path.read_bytes())
        except DamagedJournalError as damage:
            raise UserError(
                f"{self._path}: line {damage.line} is damaged, so its passes cannot be used;"
                " run with --fresh (under dvc: SCOREPARITY_FRESH=1) to measure them again"
            ) from None
        if not any(isinstance(entry, PassFinished) for entry in entries):
            entries, length = [], 0
        os.ftruncate(self._file, length)
        os.lseek(self._file, length, os.SEEK_SET)
        return entries

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if not self._holds_passes:
            # Nothing to continue from. A server's log, which explains why, stays.
            with contextlib.suppress(OSError):
                self._path.unlink()
                self.folder.rmdir()
        os.close(self._file)

    def append(self, entry: Entry) -> None:
        """Put an entry on disk.

        Raises:
            UserError: it cannot be written; the entries before it are safe.
        """
        # Set before the write, because a signal may arrive directly after it.
        self._holds_passes |= isinstance(entry, PassFinished)
        try:
            line = encode_entry(entry)
            while line:
                line = line[os.write(self._file, line) :]
            os.fsync(self._file)
        except OSError as error:
            raise UserError(
                f"{self._path}: {error.strerror}; the passes before this one are saved"
            ) from error

    def count_passes(self) -> int:
        """Passes on disk now, also right after a signal interrupted :meth:`append`."""
        entries, _ = decode_entries(self._path.read_bytes())
        return sum(isinstance(entry, PassFinished) for entry in entries)

    def remove(self) -> None:
        """Delete it with its folder, once the result is written."""
        shutil.rmtree(self.folder, ignore_errors=True)


def _sync_folder(folder: Path) -> None:
    """Sync the folder, so that its entries survive a power cut like its files."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
