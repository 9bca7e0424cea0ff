"""Records in the cache folder which nonces were sent to a server at a URL.

Two measurements with one nonce send the same requests. A server that keeps running may answer the
second from its prefix cache, so the second measurement prints and records the repetition.

A server is identified by its URL and its reported settings. One that was restarted with the same
settings looks like one that kept running, although its cache is empty.
"""

from __future__ import annotations

import json
import urllib.parse
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

import pydantic

from stages.common.errors import UserError
from stages.common.files import sha256, write_whole
from stages.contract import Backend
from stages.documents.tables import Record
from stages.environments.build import cache_root

MOST_ENTRIES = 200
"""A record keeps the newest ones: years of measurements in at most 60 kB."""

_FOLDER = "asked"


class _Entry(Record):
    """One measurement that sent its requests, in either view.

    Attributes:
        settings_sha256: of the server, as it reported them.
        measurement: its id, the same after every interruption.
        first_at: the time just before its first pass was sent.
    """

    nonce: str
    settings_sha256: str
    measurement: str
    first_at: pydantic.AwareDatetime


class _Document(Record):
    version: Literal[1] = 1
    url: str
    backend: Backend
    asked: list[_Entry]


@dataclass(frozen=True, slots=True)
class AskedRecord:
    """The record of one server that was started elsewhere.

    Both views share it: their requests are the same.

    Attributes:
        url: where it is.
        settings_sha256: of the settings that it reports now.
    """

    url: str
    backend: Backend
    settings_sha256: str

    @property
    def path(self) -> Path:
        """The file, the same for every copy of the work tree."""
        key = json.dumps([self._url, self.backend]).encode()
        return cache_root() / _FOLDER / f"{sha256(key)[:32]}.json"

    @property
    def _url(self) -> str:
        """The same for each spelling that names the same host, port and path."""
        parts = urllib.parse.urlsplit(self.url)
        port = parts.port or (443 if parts.scheme == "https" else 80)
        host = parts.hostname or ""
        shown = f"[{host}]" if ":" in host else host
        return f"{parts.scheme}://{shown}:{port}{parts.path.rstrip('/')}"

    def earlier(self, nonce: str, measurement: str) -> datetime | None:
        """When another measurement first sent the requests of this nonce; ``None`` if none did.

        Raises:
            UserError: the record is damaged.
        """
        times = [
            entry.first_at.astimezone(UTC)
            for entry in self._read()
            if (entry.nonce, entry.settings_sha256) == (nonce, self.settings_sha256)
            and entry.measurement != measurement
        ]
        return min(times, default=None)

    def note(self, nonce: str, measurement: str, now: datetime) -> None:
        """Record that a measurement is about to send its first pass. Repeated calls change nothing.

        Raises:
            UserError: the record cannot be written.
        """
        try:
            entries = self._read()
        except UserError:
            entries = []
        new = _Entry(
            nonce=nonce,
            settings_sha256=self.settings_sha256,
            measurement=measurement,
            first_at=now.astimezone(UTC),
        )
        if any(entry.model_copy(update={"first_at": new.first_at}) == new for entry in entries):
            return
        kept = [*entries, new][-MOST_ENTRIES:]
        document = _Document(url=self._url, backend=self.backend, asked=kept)
        write_whole(self.path, document.model_dump_json().encode() + b"\n")

    def _read(self) -> list[_Entry]:
        try:
            return _Document.model_validate_json(self.path.read_bytes()).asked
        except FileNotFoundError:
            return []
        except OSError as error:
            raise UserError(f"{self.path}: {error.strerror}") from error
        except pydantic.ValidationError as error:
            raise UserError(f"{self.path}: damaged: {error.errors()[0]['msg']}") from error
