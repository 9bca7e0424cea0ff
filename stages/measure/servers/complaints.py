"""Finds the last errors in a server's log.

A Python traceback is shown as its exception, and a chain of tracebacks also as its first
exception. Servers of several processes prefix every line, or only the first of a traceback, with
``[2026-02-11 10:00:00 TP0]``, ``[rank0]:`` or ``(Worker pid=7)``. Libraries that parse tracebacks
take those prefixes for text.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from stages.common.errors import DETAIL_CHARACTERS, one_line

_HEADER = "Traceback (most recent call last):"
_BETWEEN = (
    "The above exception was the direct cause of the following exception:",
    "During handling of the above exception, another exception occurred:",
)
_PREFIX = re.compile(r"(?:\[[^\]\n]{1,80}\]:?|\([^)\n]{0,80}\bpid=\d+\)) ?")
_TIME = re.compile(r"\d+[-:/.][-:/.\d]+")
# The margin beside the tracebacks of an exception group.
_MARGIN = re.compile(r" *[|+] ")
_EXCEPTION = re.compile(
    r"(?!(?:DEBUG|INFO|WARNING|ERROR|CRITICAL)\b)(?P<name>[A-Za-z_][\w.]*)(?::(?P<message> .*|)|)"
)
# Exceptions of a requested end. They are shown only where the log has no other error.
_ENDINGS = re.compile(r"(?:KeyboardInterrupt|SystemExit|(?:\w+\.)*CancelledError)\b")
_ERROR = re.compile(
    r"error|exception|\bfatal\b|\bkilled\b|\baborted\b|segmentation fault|core dumped|bad_alloc"
    r"|out of memory|terminate called|what\(\):|check failed|\bis dead\b|oom-kill",
    re.IGNORECASE,
)
# Lines that match but are no errors: settings, request lines, notes of JAX and of Python.
_NO_ERROR = re.compile(
    r"ServerArgs\(|\"[A-Z]+ \S+ HTTP/|^The preceding is the original exception"
    r"|^For simplicity, JAX|^Extension modules:"
)


@dataclass(frozen=True, slots=True)
class _Line:
    """A log line: its prefix, its text, and both together."""

    prefix: str
    text: str
    whole: str

    @classmethod
    def of(cls, raw: str) -> _Line:
        # A progress bar draws itself over and over in one line.
        whole = raw.rstrip().rpartition("\r")[2]
        at = 0
        while (match := _PREFIX.match(whole, at)) is not None:
            at = match.end()
        margin = _MARGIN.match(whole, at)
        text = whole[at if margin is None else margin.end() :]
        return cls(_TIME.sub("", whole[:at]).strip(" :"), text, whole[:at] + text)

    def is_error(self) -> bool:
        """Whether it reports an error."""
        return (
            not self.text.startswith("  File ")
            and _ERROR.search(self.text) is not None
            and _NO_ERROR.search(self.text) is None
        )


@dataclass
class _Chain:
    """A chain of tracebacks while it is read.

    Attributes:
        at: number of the log line in which the latest traceback began.
        prefix: of their lines.
        links: their exceptions, in order.
        frame: the last line of code shown.
        state: ``frames`` within a traceback, ``ended`` after its exception, ``between`` after the
            sentence that announces another traceback.
    """

    at: int
    prefix: str
    links: list[str] = field(default_factory=list)
    frame: str = ""
    state: str = "frames"

    def summary(self) -> str:
        """The last exception, and the one the chain began with."""
        last, first = self.links[-1], self.links[0]
        if first == last:
            return last
        room = DETAIL_CHARACTERS // 2 - 10
        return f"{one_line(last, room)} (it began with {one_line(first, room)})"

    def may_hold(self, line: _Line) -> bool:
        """Whether ``line`` may belong to it: some logs prefix only a traceback's first line."""
        return line.prefix in ("", self.prefix)

    def take(self, line: _Line) -> bool:
        """Read ``line`` if it belongs to the chain; return whether it does."""
        if line.text in _BETWEEN:
            self.state = "between"
            return True
        if self.state != "frames":
            return False
        if line.text.startswith((" ", "\t")):
            self.frame = line.text.strip(" \t^~") or self.frame
            return True
        match = _EXCEPTION.fullmatch(line.text)
        if match is None:
            return False
        # A bare AssertionError explains nothing, so the code that raised it is shown.
        bare = not (match["message"] or "").strip() and self.frame
        self.links.append(f"{match['name']}: {self.frame}" if bare else line.text)
        self.state = "ended"
        return True


def complaints(text: str, count: int = 5) -> list[str]:
    """The last errors of a log, each cleaned and short.

    Args:
        text: the log, or its end.
        count: how many lines at most.

    Returns:
        Exceptions, then as many other error lines as fit, in log order and without repetitions.
        A log without errors gives its last lines.
    """
    lines = [_Line.of(line) for line in text.split("\n") if line.strip()]
    chains, rest = _read(lines)
    raised = _each_once([(chain.at, chain.summary()) for chain in chains if chain.links])
    others = _each_once([(at, line.whole) for at, line in rest if line.is_error()])
    raised = [entry for entry in raised if not _ENDINGS.match(entry[1])] or (
        [] if others else raised
    )
    raised = raised[-count:]
    room = count - len(raised)
    useful = sorted(raised + (others[-room:] if room else []))
    return [text for _, text in useful] or [one_line(line.whole) for line in lines[-count:]]


def _each_once(lines: list[tuple[int, str]]) -> list[tuple[int, str]]:
    """Cleaned texts, each once, at its last place."""
    last = {one_line(text): at for at, text in lines}
    return sorted((at, text) for text, at in last.items() if text)


def _read(lines: list[_Line]) -> tuple[list[_Chain], list[tuple[int, _Line]]]:
    """The chains of tracebacks, and the other lines with their numbers."""
    chains: list[_Chain] = []
    rest: list[tuple[int, _Line]] = []
    for at, line in enumerate(lines):
        mine = next((chain for chain in reversed(chains) if chain.may_hold(line)), None)
        if line.text.endswith(_HEADER):
            if mine is not None and mine.state == "between":
                mine.state, mine.at = "frames", at
            else:
                chains.append(_Chain(at, line.prefix))
        elif mine is None or not mine.take(line):
            rest.append((at, line))
    return chains, rest
