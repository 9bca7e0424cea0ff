"""The protocol of a server under test, launched here or started elsewhere."""

from __future__ import annotations

from collections.abc import Callable
from types import TracebackType
from typing import Protocol, Self

from stages.common.errors import UserError
from stages.measure.http.client import ScoreConnection


class ServerDiedError(Exception):
    """The server ended during the measurement; ``detail`` says how, in one line."""

    def __init__(self, detail: str) -> None:
        super().__init__(detail)
        self.detail = detail


class OtherServerError(UserError):
    """Another server answers in its place and must not enter this matrix."""


class ServerUnderTest(Protocol):
    """A server; a context manager for the time it is measured."""

    @property
    def url(self) -> str:
        """Where it answers."""
        ...

    def __enter__(self) -> Self: ...

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None: ...

    def connect(self, timeout_s: float) -> ScoreConnection:
        """A connection to it that has not been opened yet."""
        ...

    def wait_until_healthy(self, probe: Callable[[], str | None], timeout_s: float) -> float:
        """Wait until ``probe`` succeeds; return the seconds it took.

        Raises:
            ServerDiedError: the server ended, or was not healthy in time.
        """
        ...

    def check_unchanged(self, connection: ScoreConnection) -> None:
        """Check that it is the server with which the measurement began.

        Raises:
            OtherServerError: it is not.
        """
        ...

    def not_healthy(self, detail: str) -> str:
        """The sentence on a server that did not become healthy, because of ``detail``."""
        ...

    def death(self) -> str | None:
        """How the server ended, or ``None`` while it runs."""
        ...

    def died_within(self, seconds: float) -> str | None:
        """Like :meth:`death`, but gives a server that is about to end ``seconds`` to do so."""
        ...

    def loss(self) -> str | None:
        """Which process it has lost since it was healthy, or ``None``."""
        ...

    def died_out_of_memory(self) -> bool:
        """Whether it ended, or lost a process, because memory ran out, as far as is visible."""
        ...

    def new_log(self) -> str | None:
        """What it logged since the last call; ``None`` where its log cannot be read."""
        ...
