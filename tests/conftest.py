"""Settings for every test."""

from __future__ import annotations

import signal
from pathlib import PurePosixPath

import pytest
from contracts import ROOT
from hypothesis import HealthCheck, settings
from hypothesis.configuration import set_hypothesis_home_dir
from xdist.remote import Producer
from xdist.scheduler import LoadScopeScheduling

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


SERVERS = PurePosixPath("tests/pipeline")
# Both start from what one `dvc repro` measured: a pipeline for each would take minutes more.
TOGETHER = {SERVERS / "test_pipeline.py", SERVERS / "test_two_machines.py"}


class Scheduling(LoadScopeScheduling):
    """Side by side, except for what shares a measurement of the real servers."""

    def _split_scope(self, nodeid: str) -> str:
        path = PurePosixPath(nodeid.partition("::")[0])
        if path in TOGETHER:
            return "one pipeline"
        return str(path) if path.parent == SERVERS else nodeid


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer) -> Scheduling:
    return Scheduling(config, log)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    # What takes longest first, or one processor is left alone with it at the end.
    items.sort(key=lambda item: PurePosixPath(item.nodeid.partition("::")[0]).parent != SERVERS)
