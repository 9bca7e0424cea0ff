"""How long a test waits for what must come.

A machine that is busy with other work is slow, not wrong: a patience only ends a hang, and is
longer than a starved process takes for anything that a test asks of it.
"""

from __future__ import annotations

import time
from collections.abc import Callable

PATIENCE_S = 600.0


def wait_for(
    condition: Callable[[], object], why: str = "it never came", every_s: float = 0.05
) -> None:
    """Look again and again until ``condition`` holds."""
    deadline = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < deadline, why
        time.sleep(every_s)
