"""The checks of the machine that look for themselves: on real files, limits and processes."""

from __future__ import annotations

import contextlib
import os
import platform
import resource
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy
import psutil
import pytest
from bench import inside
from contracts import ROOT
from patience import wait_for
from readiness import diagnosed, question

from stages.common.errors import UserError
from stages.common.shell import server_variables
from stages.environments.build import python_of
from stages.machine.lock import lock_path, machine_lock
from tools.doctor.finding import Finding
from tools.doctor.judge import diagnose
from tools.doctor.machine_checks import (
    harness,
    left_over,
    load,
    lock,
    loopback,
    python,
    shell,
    system,
    tools,
)

REBUILD = "rm .venv/.complete && make doctor"


@pytest.fixture
def tree(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A committed work tree, on a machine on which nothing else is done."""
    monkeypatch.setenv("SCOREPARITY_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr("tempfile.tempdir", None)
    monkeypatch.delenv("SCOREPARITY_WAIT", raising=False)
    monkeypatch.setattr("os.getloadavg", lambda: (0.2, 0.2, 0.2))
    for name in server_variables({}).left_out:
        monkeypatch.delenv(name)
    folder = tmp_path / "tree"
    (folder / "stages").mkdir(parents=True)
    (folder / "stages" / "code.py").touch()
    for name in ("backends", ".python-version", "requirements.txt"):
        (folder / name).symlink_to(ROOT / name)
    with inside(folder):
        git("init", "--quiet")
        git("add", "--all")
        git("-c", "user.name=t", "-c", "user.email=t@localhost", "commit", "--quiet", "-m", "all")
        yield folder


def git(*arguments: str) -> None:
    subprocess.run(["git", *arguments], check=True)


def replace(path: Path, text: str) -> None:
    path.unlink()
    path.write_text(text)


def blocks_all(finding: Finding) -> bool:
    diagnosis = diagnosed(question(), finding)
    assert diagnosis.ready == (finding.level != "blocked")
    return {v.state for v in diagnosis.verdicts} == {"blocked"}


def test_on_a_ready_machine_every_check_is_ok_and_nothing_is_to_be_done(tree) -> None:
    found = diagnose(question())
    everything = [*found.machine, *(f for v in found.verdicts for f in v.findings)]
    assert {(f.check, f.found, f.fix) for f in everything if f.level != "ok" or f.fix} == set()
    assert found.ready
    assert [finding.check for finding in found.machine] == [
        *("contract", "Python", "platform", "harness", "git and dvc", "model", "disk", "memory"),
        *("port", "lock", "servers left over", "other work", "shell", "oracle"),
    ]


@pytest.mark.parametrize("wanted", ["3.11", platform.python_version()[:3]])
def test_another_python_blocks(tree, wanted: str) -> None:
    replace(tree / ".python-version", f"{wanted}\n")
    finding = python(question())
    assert finding.found == f"{platform.python_version()}, not {wanted}"
    assert finding.fix == REBUILD
    assert blocks_all(finding)


def test_without_the_pin_of_python_the_file_is_named(tree) -> None:
    (tree / ".python-version").unlink()
    with pytest.raises(UserError, match=r"^\.python-version: No such file"):
        python(question())


@pytest.mark.parametrize(
    ("name", "value", "level", "fix"),
    [("system", "Darwin", "blocked", "Linux"), ("machine", "aarch64", "warning", "only x86_64")],
)
def test_another_platform(monkeypatch, name: str, value: str, level: str, fix: str) -> None:
    monkeypatch.setattr(f"platform.{name}", lambda: value)
    finding = system(question())
    assert finding.level == level
    assert value in finding.found
    assert fix in finding.fix
    assert blocks_all(finding) == (level == "blocked")


def test_packages_of_the_harness_that_are_not_as_pinned_are_named(tree) -> None:
    other = f"numpy {numpy.__version__}, not 0.1"
    replace(tree / "requirements.txt", "numpy==0.1\nno-such-package==14.3\n")
    finding = harness(question())
    assert (finding.level, finding.fix) == ("warning", REBUILD)
    assert finding.found == f"{other}; no-such-package missing, not 14.3"
    assert not blocks_all(finding)
    replace(tree / "requirements.txt", "".join(f"no-such-{i}==1\n" for i in range(5)))
    assert harness(question()).found.endswith("no-such-2 missing, not 1; and 2 more")


def test_without_git_or_dvc_nothing_is_ready(tree, monkeypatch) -> None:
    with monkeypatch.context() as patched:
        patched.setattr(sys, "path", [])
        finding = tools(question())
    assert (finding.found, finding.fix) == ("there is no dvc in .venv", REBUILD)
    assert blocks_all(finding)
    monkeypatch.setenv("PATH", str(tree))
    finding = tools(question())
    assert (finding.found, finding.fix) == ("there is no git", "install git")
    assert blocks_all(finding)


def test_outside_a_repository_nothing_is_ready(tmp_path) -> None:
    asked = question()
    with inside(tmp_path):
        finding = tools(asked)
    assert finding.found == "this folder is in no git repository"
    assert "git clone" in finding.fix
    assert blocks_all(finding)


def test_a_repository_without_a_commit_is_warned_about(tmp_path) -> None:
    asked = question()
    with inside(tmp_path):
        git("init", "--quiet")
        finding = tools(asked)
    assert finding.level == "warning"
    assert "a result from here names no commit: this repository has no commit yet" in finding.found
    assert finding.fix == "git add --all && git commit"


def test_a_server_can_be_reached() -> None:
    assert loopback(question()).level == "ok"


def test_without_a_free_file_descriptor_none_can() -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with contextlib.ExitStack() as stack:
        stack.callback(resource.setrlimit, resource.RLIMIT_NOFILE, (soft, hard))
        taken = stack.enter_context(Path(os.devnull).open())
        resource.setrlimit(resource.RLIMIT_NOFILE, (taken.fileno() + 1, hard))
        finding = loopback(question())
    assert finding.found.endswith("reached on 127.0.0.1: Too many open files")
    assert "ulimit" in finding.fix
    assert blocks_all(finding)


def test_without_a_loopback_interface_none_can() -> None:
    code = "from tools.doctor.machine_checks import loopback; print(loopback(None).level)"
    command = ["unshare", "--net", sys.executable, "-c", code]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    if done.returncode != 0:
        pytest.skip(f"no network of one's own here: {done.stderr.strip()[-200:]}")
    assert done.stdout.strip() == "blocked"


@pytest.mark.parametrize(
    ("value", "level"), [(None, "blocked"), ("0", "blocked"), ("1", "warning"), ("yes", "warning")]
)
def test_another_measurement_blocks_unless_it_is_waited_for(
    tree, monkeypatch, value: str | None, level: str
) -> None:
    if value is not None:
        monkeypatch.setenv("SCOREPARITY_WAIT", value)
    with machine_lock("measure@jax-portable"):
        finding = lock(question())
    assert finding.level == level
    assert f"measure@jax-portable in {tree}, process {os.getpid()}, since " in finding.found
    assert "SCOREPARITY_WAIT" in finding.fix
    assert blocks_all(finding) == (level == "blocked")
    assert lock(question()).level == "ok"


def test_a_lock_that_is_a_link_blocks(tree) -> None:
    lock_path().symlink_to(tree)
    finding = lock(question())
    assert finding.found.startswith(f"{lock_path()}: Too many levels of symbolic links")
    assert finding.fix == "remove that file"
    assert blocks_all(finding)


def test_a_server_left_over_is_found_and_a_program_beside_it_is_not(tree) -> None:
    program = python_of("sglang_jax")
    program.parent.mkdir(parents=True)
    program.symlink_to(sys.executable)
    sleep = [str(program), "-S", "-c", "import time; time.sleep(6000)"]
    with (
        subprocess.Popen([*sleep, "--port", "1"]) as server,
        subprocess.Popen(sleep) as other,
    ):
        try:
            wait_for(lambda: psutil.Process(server.pid).cmdline()[:1] == [str(program)])
            finding = left_over(question())
            with machine_lock("measure@jax-portable"):
                measured = left_over(question())
        finally:
            server.kill()
            other.kill()
    assert (finding.level, finding.found) == ("warning", f"sglang_jax, process {server.pid}")
    assert finding.fix.endswith(f"kill {server.pid}")
    assert not blocks_all(finding)
    assert (measured.level, measured.found) == ("ok", "none"), "it belongs to the measurement"


def test_a_busy_machine_is_warned_about(monkeypatch) -> None:
    monkeypatch.setattr("os.getloadavg", lambda: (2.1, 0.0, 0.0))
    monkeypatch.setattr("os.sched_getaffinity", lambda _: {0, 1, 2, 3}, raising=False)
    finding = load(question())
    assert finding.level == "warning"
    assert finding.found == "a load of 2.1 on 4 CPUs over the last minute"
    assert "wait" in finding.fix
    assert not blocks_all(finding)
    monkeypatch.setattr("os.sched_getaffinity", lambda _: set(range(5)))
    assert load(question()).level == "ok"


def test_variables_that_no_server_gets_are_named(tree, monkeypatch) -> None:
    for name in ("XLA_FLAGS", "JAX_A", "OMP_A", "SGLANG_A"):
        monkeypatch.setenv(name, "1")
    finding = shell(question())
    assert finding.level == "ok"
    assert finding.found.startswith("JAX_A, OMP_A, SGLANG_A and 1 more: no server gets")
    assert "launch.environ" in finding.fix
