"""Settings for every test."""

from __future__ import annotations

import signal

from contracts import ROOT
from hypothesis import HealthCheck, settings
from hypothesis.configuration import set_hypothesis_home_dir

# Beside the other tools' caches, where git and a reader's eye do not meet it.
set_hypothesis_home_dir(ROOT / ".venv" / ".cache" / "hypothesis")

# No example database: a test run leaves nothing behind. No deadline: speed is not tested here.
settings.register_profile(
    "project", database=None, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("project")

# A shell that starts a test run in the background makes it ignore both, and every process that
# the tests start and interrupt would inherit that.
for number, usual in (
    (signal.SIGINT, signal.default_int_handler),
    (signal.SIGQUIT, signal.SIG_DFL),
):
    if signal.getsignal(number) is signal.SIG_IGN:
        signal.signal(number, usual)
