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

# Three groups of files in which the real servers start, again and again: they take longest.
# What goes on from one measured pipeline must run where it was measured.
WITH_SERVERS = {
    SERVERS / "test_pipeline.py": "measured once",
    SERVERS / "test_two_machines.py": "measured once",
    SERVERS / "test_real_elsewhere.py": "broken and measured again",
    SERVERS / "test_real_faults.py": "broken and measured again",
    SERVERS / "test_real_kills.py": "killed, and other models and commits",
    SERVERS / "test_multi_item_on_a_cpu.py": "killed, and other models and commits",
    SERVERS / "test_trained_model.py": "killed, and other models and commits",
}

# They measure each lying backend once for all files.
LYING = PurePosixPath("tests/adversarial")

# The longest of the rest, the longest first: a worker that begins one of them last would still run
# when all others are done.
LONG = [
    PurePosixPath("tests") / name
    for name in (
        "pipeline/test_queue.py",
        "deploy/test_job_script.py",
        "tools/combine/test_half.py",
        "pipeline/test_remeasure.py",
        "test_advice.py",
        "oracle/test_score.py",
        "browser/test_report_page.py",
        "common/test_git.py",
        "adversarial/test_lies.py",
        "measure/record/test_resume.py",
        "common/test_shell.py",
    )
]

# It has somebody killed for want of memory.
KILLS = "test_a_server_that_the_kernel_kills_for_its_memory_died_of_it"


def file_of(nodeid: str) -> PurePosixPath:
    """The file a test stands in."""
    return PurePosixPath(nodeid.partition("::")[0])


def turn_of(nodeid: str) -> int:
    """When a test's turn comes: 0 with the real servers, then the long files, then all others."""
    path = file_of(nodeid)
    if path in WITH_SERVERS:
        return 0
    return 1 + LONG.index(path) if path in LONG else 1 + len(LONG)


def group_of(nodeid: str) -> str:
    """Tests of one group run one after another, in one process.

    A file is a group, so that what its tests share is made once. Some files share it, too.
    """
    path = file_of(nodeid)
    return WITH_SERVERS.get(path, str(path.parent if path.parent == LYING else path))


class Scheduling(LoadScopeScheduling):
    """Three groups of tests on real servers, the files of all other tests behind them."""

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
