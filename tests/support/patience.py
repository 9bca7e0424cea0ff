"""How long a test waits for an event.

A busy machine is slow, but not wrong. The limit only ends a hang. It is longer than a process
without processor time needs for anything that a test waits for.
"""

from __future__ import annotations

import time
from collections.abc import Callable

PATIENCE_S = 600.0


def wait_for(
    condition: Callable[[], object], why: str = "it never came", every_s: float = 0.05
) -> None:
    """Poll until ``condition`` holds."""
    deadline = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < deadline, why
        time.sleep(every_s)
