"""What a server's log says of one pass: what it compiled, what came from its prefix cache.

The log is read before the clock of a pass starts and after it stopped.
"""

from __future__ import annotations

import re
import time
from collections import Counter
from dataclasses import dataclass
from typing import Protocol

from stages.backends.declared import DeclaredBackend

_NOTICE_S = 0.5
"""A server may write a batch's line after it sent the answer: 12 ms later on a busy machine."""

_POLL_S = 0.002


class Logging(Protocol):
    """A server, as far as its log goes."""

    def new_log(self) -> str | None:
        """What it logged since the last call; ``None`` where nobody here can read its log."""
        ...


@dataclass(frozen=True, slots=True)
class Logged:
    """What the log says of a pass; ``None`` for what it does not tell.

    Attributes:
        compiles: compilations.
        cached_tokens: prompt tokens of the pass that came from the server's prefix cache.
    """

    compiles: int | None
    cached_tokens: int | None


@dataclass(frozen=True, slots=True)
class Prefilled:
    """Prompt tokens that a stretch of a log accounts for: computed, and from the prefix cache."""

    computed: int
    cached: int

    @property
    def tokens(self) -> int:
        """Both."""
        return self.computed + self.cached


class ServerLog:
    """The log of one server session, read pass by pass.

    Args:
        server: that is up.
        driver: of its backend, which knows what its lines look like.
    """

    def __init__(self, server: Logging, driver: DeclaredBackend) -> None:
        self._server = server
        self._driver = driver
        self._tells_tokens = False

    def start_pass(self) -> None:
        """Leave out what was logged between two passes: it belongs to neither."""
        self._note(self._server.new_log())

    def end_pass(self, prompt_tokens: int, *, whole: bool) -> Logged:
        """What was logged since the pass started.

        A server that accounts for its prompt tokens is given a moment to account for all of
        the pass's; the clock of the pass has stopped by then.

        Args:
            prompt_tokens: of the requests that were sent, the query once for each item.
            whole: whether all of them were answered; only then is there a moment to wait.
        """
        text = self._server.new_log()
        if text is None:
            return Logged(None, None)
        self._note(text)
        deadline = time.monotonic() + _NOTICE_S
        while whole and self._awaits(text, prompt_tokens) and time.monotonic() < deadline:
            time.sleep(_POLL_S)
            text += self._server.new_log() or ""
        pattern, found = self._driver.compile_pattern, self._prefilled(text, prompt_tokens)
        return Logged(
            compiles=None if pattern is None else count_compiles(text, pattern),
            cached_tokens=None if found is None else cached_tokens(found, prompt_tokens),
        )

    def _note(self, text: str | None) -> None:
        self._tells_tokens |= self._prefilled(text or "", 0) is not None

    def _awaits(self, text: str, prompt_tokens: int) -> bool:
        found = self._prefilled(text, prompt_tokens)
        told = 0 if found is None else found.tokens
        return self._tells_tokens and told < prompt_tokens

    def _prefilled(self, text: str, prompt_tokens: int) -> Prefilled | None:
        pattern = self._driver.prefill_pattern
        return None if pattern is None else count_prefilled(text, pattern, prompt_tokens)


def count_prefilled(log: str, pattern: re.Pattern[str], prompt_tokens: int) -> Prefilled | None:
    """The prompt tokens a stretch of a log accounts for; ``None`` where no line does.

    Where every line is there twice and accounts for every prompt token twice, each counts once.
    """
    lines = Counter(line for line in log.splitlines() if pattern.search(line))
    if not lines:
        return None
    found = [(pattern.findall(line)[0], times) for line, times in lines.items()]
    told = Prefilled(
        computed=sum(int(new) * times for (new, _), times in found),
        cached=sum(int(cached) * times for (_, cached), times in found),
    )
    copies = told.tokens // prompt_tokens if prompt_tokens else 1
    if copies > 1 and all(times % copies == 0 for times in lines.values()):
        return Prefilled(told.computed // copies, told.cached // copies)
    return told


def cached_tokens(found: Prefilled, prompt_tokens: int) -> int:
    """Of ``prompt_tokens``, those that came from the cache: no more than were not computed.

    A server may account for more than the prompts hold: it computed the query by itself, started
    a request twice, or was still busy with one that timed out. That takes nothing from its cache.
    """
    return max(0, min(found.cached, prompt_tokens - found.computed))


def count_compiles(log: str, pattern: re.Pattern[str]) -> int:
    """Compilations reported in a stretch of a server's log."""
    return sum(int(match[1]) for match in pattern.finditer(log))


def count_fallbacks(log: bytes, pattern: re.Pattern[str] | None) -> int | None:
    """Requests that left the way of scoring asked for; ``None`` where there is none to leave."""
    if pattern is None:
        return None
    return sum(1 for _ in pattern.finditer(log.decode("utf-8", errors="replace")))
