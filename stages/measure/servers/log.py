"""Reads a server's log pass by pass: compilations, tokens from the prefix cache, scoring modes.

The log is read before the clock of a pass starts and after it stops.
"""

from __future__ import annotations

import re
import time
from collections import Counter, defaultdict
from dataclasses import dataclass
from typing import Protocol

from stages.backends.declared import DeclaredBackend, PassMode

_NOTICE_S = 0.5
"""A server may log a batch after its answer: 12 ms later on a busy machine."""

_POLL_S = 0.002

# Python's own form of a log line. A server that also logs in a form of its own writes each line in
# both, once a library has set Python's up.
_BASIC_FORM = re.compile(r"[A-Z]+:[\w.]+:")
_NUMBER = re.compile(r"\d+")


class Logging(Protocol):
    """A server with a log."""

    def new_log(self) -> str | None:
        """What it logged since the last call; ``None`` where its log cannot be read."""
        ...


@dataclass(frozen=True, slots=True)
class Logged:
    """What the log reports of a pass; ``None`` for what it does not report.

    Attributes:
        compiles: compilations.
        cached_tokens: prompt tokens of the pass from the server's prefix cache.
        mode: how all its requests were scored; ``mixed`` where not all in one way.
        fallbacks: requests that were scored in another way than the server's flags ask for.
    """

    compiles: int | None
    cached_tokens: int | None
    mode: PassMode | None
    fallbacks: int | None


@dataclass(frozen=True, slots=True)
class Prefilled:
    """Prompt tokens in a part of a log: computed, and from the prefix cache."""

    computed: int
    cached: int

    @property
    def tokens(self) -> int:
        """Both."""
        return self.computed + self.cached


class ServerLog:
    """The log of one server session, read pass by pass.

    Args:
        server: a running server.
        driver: its backend's declaration, which holds the log patterns.
    """

    def __init__(self, server: Logging, driver: DeclaredBackend) -> None:
        self._server = server
        self._driver = driver
        self._reports_tokens = False
        self._reports_each = False

    def start_pass(self) -> None:
        """Skip what was logged between two passes: it belongs to neither."""
        self._note(self._server.new_log())

    def end_pass(self, prompt_tokens: int, requests: int, *, whole: bool) -> Logged:
        """What was logged since the pass started.

        A server that logs prompt tokens gets a moment to log all those of the pass. The pass's
        clock has stopped by then.

        Args:
            prompt_tokens: of the requests that were sent, the query once for each item.
            requests: how many were sent.
            whole: whether all of them were answered; only then it waits.
        """
        text = self._server.new_log()
        if text is None:
            return Logged(None, None, None, None)
        self._note(text)
        deadline = time.monotonic() + _NOTICE_S
        while whole and self._awaits(text, prompt_tokens) and time.monotonic() < deadline:
            time.sleep(_POLL_S)
            text += self._server.new_log() or ""
        prefilled = self._prefilled(text, prompt_tokens)
        fallbacks = count_fallbacks(text, self._driver, requests)
        return Logged(
            compiles=count_compiles(text, self._driver, each_reported=self._reports_each),
            cached_tokens=None if prefilled is None else cached_tokens(prefilled, prompt_tokens),
            mode=scored_as(text, self._driver, requests),
            fallbacks=fallbacks,
        )

    def _note(self, text: str | None) -> None:
        self._reports_tokens |= self._prefilled(text or "", 0) is not None
        # Every start compiles, so the first text already decides.
        self._reports_each |= bool(_compilations(text or "", self._driver))

    def _awaits(self, text: str, prompt_tokens: int) -> bool:
        prefilled = self._prefilled(text, prompt_tokens)
        logged = 0 if prefilled is None else prefilled.tokens
        return self._reports_tokens and logged < prompt_tokens

    def _prefilled(self, text: str, prompt_tokens: int) -> Prefilled | None:
        pattern = self._driver.prefill_pattern
        return None if pattern is None else count_prefilled(text, pattern, prompt_tokens)


def count_prefilled(log: str, pattern: re.Pattern[str], prompt_tokens: int) -> Prefilled | None:
    """Count the prompt tokens in a part of a log; ``None`` where no line reports any.

    Where lines in the server's own form are there, those in Python's do not count. Where every line
    is there twice and the sum is twice the prompt tokens, each counts once.
    """
    every = [line for line in log.splitlines() if pattern.search(line)]
    lines = Counter([line for line in every if not _BASIC_FORM.match(line)] or every)
    if not lines:
        return None
    counts = [(pattern.findall(line)[0], times) for line, times in lines.items()]
    total = Prefilled(
        computed=sum(int(new) * times for (new, _), times in counts),
        cached=sum(int(cached) * times for (_, cached), times in counts),
    )
    copies = total.tokens // prompt_tokens if prompt_tokens else 1
    if copies > 1 and all(times % copies == 0 for times in lines.values()):
        return Prefilled(total.computed // copies, total.cached // copies)
    return total


def cached_tokens(prefilled: Prefilled, prompt_tokens: int) -> int:
    """Those of ``prompt_tokens`` from the cache: at most as many as were not computed.

    A server may log more tokens than the prompts hold: it computed the query separately, started a
    request twice, or was still busy with one that timed out. Those tokens are not from the cache.
    """
    return max(0, min(prefilled.cached, prompt_tokens - prefilled.computed))


def count_compiles(log: str, driver: DeclaredBackend, *, each_reported: bool = False) -> int | None:
    """Compilations reported in a part of a server's log; ``None`` for a backend that reports none.

    A server may report a compilation by itself and again in the number of a batch, which it logs
    after the answer, hence perhaps in the next pass. It may also log every line more than once. So
    only one kind of report counts, and of equal reports one.

    Args:
        log: the part.
        driver: of the server.
        each_reported: whether another part of its log reports a compilation by itself.
    """
    if driver.compile_pattern is None:
        return None
    each = _compilations(log, driver)
    if each or each_reported or driver.compile_count_pattern is None:
        return len(each)
    counts = {match[0]: int(match[1]) for match in driver.compile_count_pattern.finditer(log)}
    return sum(counts.values())


def _compilations(log: str, driver: DeclaredBackend) -> set[str]:
    pattern = driver.compile_pattern
    return set() if pattern is None else {match[0] for match in pattern.finditer(log)}


def scored_as(log: str, driver: DeclaredBackend, requests: int) -> PassMode | None:
    """How the requests in a part of a log were scored; ``None`` where it does not tell of them all.

    Where the server does not name the way of each request, but says of all of them that they fell
    back, that tells it too.

    Args:
        log: the part.
        driver: of the server.
        requests: how many were sent.
    """
    paths = _by_request(log, driver.path_pattern, requests)
    modes = {driver.path_modes.get(name) for name in paths}
    if len(modes) > 1:
        return "mixed"
    if paths and paths.total() == requests:
        return modes.pop()
    fallen = count_fallbacks(log, driver, requests)
    if not fallen:
        return None
    return driver.fallback_mode if fallen == requests else "mixed"


def count_fallbacks(log: str, driver: DeclaredBackend, requests: int) -> int | None:
    """Requests that fell back to another way of scoring; ``None`` where no log tells that.

    Args:
        log: the part of the log in which ``requests`` were sent.
        driver: of the server.
        requests: how many.
    """
    if driver.fallback_pattern is None:
        return None
    return _by_request(log, driver.fallback_pattern, requests).total()


def _by_request(log: str, pattern: re.Pattern[str] | None, requests: int) -> Counter[str]:
    """What ``pattern`` captures, or else matches, and of how many requests.

    Lines of different requests may be equal, and every logger may write each in a form of its own.
    So the form with the most lines counts. Where that has each line more than once, each counts
    once.
    """
    if pattern is None:
        return Counter()
    forms: defaultdict[str, Counter[str]] = defaultdict(Counter)
    for line in log.splitlines():
        if match := pattern.search(line):
            forms[_NUMBER.sub("0", line[: match.start()])][match[match.re.groups]] += 1
    told = max(forms.values(), key=Counter.total, default=Counter[str]())
    copies = told.total() // requests if requests else 1
    if copies > 1 and all(times % copies == 0 for times in told.values()):
        return Counter({name: times // copies for name, times in told.items()})
    return told
