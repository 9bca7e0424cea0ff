"""Signals that end a measurement early, made into one exception that every block can see."""

from __future__ import annotations

import contextlib
import signal
from collections.abc import Iterator
from types import FrameType

_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Interrupted(BaseException):
    """Somebody stopped the measurement.

    Attributes:
        number: the signal's.
        saved: what is safe, as a sentence; said before the program ends.
    """

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.number = number
        self.saved = "nothing was measured yet"

    @property
    def exit_code(self) -> int:
        """As a shell gives it: 130 for Ctrl-C, 143 for SIGTERM, 129 for a closed terminal."""
        return 128 + self.number


@contextlib.contextmanager
def interruptible() -> Iterator[None]:
    """Raise :class:`Interrupted` in the block at the first signal; ignore any further one.

    Leaving takes seconds at most, and a second signal would cut the clean-up short.
    """

    def interrupt(number: int, frame: FrameType | None) -> None:  # noqa: ARG001
        for other in _SIGNALS:
            signal.signal(other, signal.SIG_IGN)
        raise Interrupted(number)

    # Under nohup a closed terminal is nothing to stop for.
    heard = [n for n in _SIGNALS if n != signal.SIGHUP or signal.getsignal(n) != signal.SIG_IGN]
    before = {number: signal.signal(number, interrupt) for number in heard}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
