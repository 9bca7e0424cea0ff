"""Settings for every test."""

from __future__ import annotations

import os
import signal
from pathlib import PurePosixPath

import pytest
from contracts import ROOT
from hypothesis import HealthCheck, settings
from hypothesis.configuration import set_hypothesis_home_dir
from xdist.remote import Producer
from xdist.scheduler import LoadScopeScheduling

from stages.common.shell import kind_of
from stages.measure.servers import launched as server

# Beside the other tools' caches, where git and a reader's eye do not meet it.
set_hypothesis_home_dir(ROOT / ".venv" / ".cache" / "hypothesis")

# No example database: a test run leaves nothing behind. No deadline: speed is not tested here.
# The same examples in every run: whether it passes is no matter of luck. Who looks for others says
# `--hypothesis-profile search`, with `--hypothesis-seed` to look there again.
settings.register_profile(
    "project",
    database=None,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
)
settings.register_profile("search", settings.get_profile("project"), derandomize=False)
settings.load_profile("project")

# A shell that starts a test run in the background makes it ignore the first two, nohup the third,
# and every process that the tests start and interrupt would inherit that. A handler, which none
# inherits, keeps what nohup is for.
for number, usual in (
    (signal.SIGINT, signal.default_int_handler),
    (signal.SIGQUIT, signal.SIG_DFL),
    (signal.SIGHUP, lambda number, frame: None),
):
    if signal.getsignal(number) is signal.SIG_IGN:
        signal.signal(number, usual)


# Hundreds of tests start the harness as a process: where this is set, each would compile it anew.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)

# A test that speaks to its own server on loopback, draws, or reads what a measurement says must not
# depend on the shell either.
PROXIES = {"HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY"}
for name in [*os.environ]:
    if name.upper() in PROXIES or name == "MPLBACKEND" or kind_of(name) == "computes":
        del os.environ[name]

SERVERS = PurePosixPath("tests/pipeline")
# Of those, one that starts none of the real servers, and one whose model is the slowest to serve.
QUEUE = SERVERS / "test_queue.py"
TRAINED = SERVERS / "test_trained_model.py"
# What goes on from one measured pipeline must run where it was measured.
MEASURED_ONCE = (SERVERS / "test_pipeline.py", SERVERS / "test_two_machines.py")

# It has somebody killed for want of memory.
KILLS = "test_a_server_that_the_kernel_kills_for_its_memory_died_of_it"


def file_of(nodeid: str) -> PurePosixPath:
    """The file a test stands in."""
    return PurePosixPath(nodeid.partition("::")[0])


def turn_of(nodeid: str) -> int:
    """When a test's turn comes: 0 with the real servers, which take longest and so begin.

    Who is done with all the rest goes on with the trained model.
    """
    path = file_of(nodeid)
    return {QUEUE: 1, TRAINED: 3}.get(path, 0 if path.parent == SERVERS else 2)


def group_of(nodeid: str) -> str:
    """Tests of one group run one after another, in one process."""
    path = file_of(nodeid)
    if turn_of(nodeid) == 0:
        return "measured once" if path in MEASURED_ONCE else "broken and measured again"
    return "trained" if path == TRAINED else nodeid


class Scheduling(LoadScopeScheduling):
    """Two groups of tests on real servers, all other tests beside them."""

    def _split_scope(self, nodeid: str) -> str:
        return group_of(nodeid)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers() -> int:
    """One more than there are processors: those with real servers wait much of their time."""
    return (os.cpu_count() or 1) + 1


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer) -> Scheduling:
    config.option.loadscopereorder = False
    return Scheduling(config, log)


@pytest.fixture(autouse=True)
def nobody_else_is_killed(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """The kernel counts whom it kills for want of memory for the whole machine.

    A server that dies in a test is not to be taken for one of them because of what else runs here.
    """
    if KILLS not in request.node.nodeid:
        monkeypatch.setattr(server, "kernel_oom_kills", lambda: 0)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    items.sort(key=lambda item: turn_of(item.nodeid))
