"""Turns the signals that end a measurement into one exception."""

from __future__ import annotations

import contextlib
import signal
from collections.abc import Iterator
from types import FrameType

_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Interrupted(BaseException):
    """A signal stopped the measurement.

    Attributes:
        number: of the signal.
        saved: what is on disk, as a sentence that is printed before the program ends.
    """

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.number = number
        self.saved = "nothing was measured yet"

    @property
    def exit_code(self) -> int:
        """The shell's code: 130 for Ctrl-C, 143 for SIGTERM, 129 for a closed terminal."""
        return 128 + self.number


@contextlib.contextmanager
def interruptible() -> Iterator[None]:
    """Raise :class:`Interrupted` in the block at the first signal; ignore further ones.

    The clean-up takes only seconds, and a second signal would interrupt it.
    """

    def interrupt(number: int, frame: FrameType | None) -> None:  # noqa: ARG001
        for other in _SIGNALS:
            signal.signal(other, signal.SIG_IGN)
        raise Interrupted(number)

    # Under nohup a closed terminal must not stop the measurement.
    handled = [n for n in _SIGNALS if n != signal.SIGHUP or signal.getsignal(n) != signal.SIG_IGN]
    before = {number: signal.signal(number, interrupt) for number in handled}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
