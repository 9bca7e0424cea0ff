"""A server's life: started, healthy, and gone with all its processes, whatever happens."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import psutil
import pytest
from contracts import ROOT

from stages.errors import UserError
from stages.measure.server import (
    Server,
    ServerDiedError,
    is_listening,
    last_useful_lines,
    server_environment,
)

# A server with a child of its own that left the process group, as real schedulers do, and
# that is deaf to SIGINT on request.
PROGRAM = """
    import http.server, os, signal, subprocess, sys, time
    arguments = dict(zip(sys.argv[1::2], sys.argv[2::2]))
    if arguments.get("--deaf"):
        signal.signal(signal.SIGINT, signal.SIG_IGN)
    sleeper = "import signal, time; signal.signal(signal.SIGINT, signal.SIG_IGN); time.sleep(600)"
    child = subprocess.Popen([sys.executable, "-c", sleeper], start_new_session=True)
    print("child", child.pid, flush=True)
    if arguments.get("--crash"):
        print("Traceback (most recent call last):\\n  File x\\nMemoryError: no room", flush=True)
        sys.exit(3)
    if arguments.get("--silent"):
        time.sleep(600)
    address = ("127.0.0.1", int(arguments["--port"]))
    http.server.HTTPServer(address, http.server.BaseHTTPRequestHandler).serve_forever()
"""


@pytest.fixture
def program(tmp_path: Path) -> Path:
    path = tmp_path / "program.py"
    path.write_text(textwrap.dedent(PROGRAM))
    return path


def make(program: Path, tmp_path: Path, *arguments: str) -> Server:
    environ = server_environment({}, {})
    return Server([sys.executable, str(program), *arguments], environ, tmp_path / "server.log")


def wait_for(condition, seconds: float = 20) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "not within the time a user would wait"
        time.sleep(0.05)


def child_of(server: Server) -> int:
    wait_for(lambda: "child" in server.log.read_text())
    return int(server.log.read_text().split()[1])


@pytest.mark.parametrize("deaf", [[], ["--deaf", "yes"]])
def test_after_the_measurement_no_process_and_no_port_is_left(program, tmp_path, deaf) -> None:
    with make(program, tmp_path, *deaf) as server:
        assert server.wait_until_healthy(lambda: None, 30) > 0
        child = child_of(server)
        assert psutil.pid_exists(child)
    assert not psutil.pid_exists(child)
    assert not is_listening(server.port)


def test_a_failing_measurement_stops_its_server_too(program, tmp_path) -> None:
    with pytest.raises(RuntimeError, match="measurement"), make(program, tmp_path) as server:
        server.wait_until_healthy(lambda: None, 30)
        child = child_of(server)
        raise RuntimeError("measurement")
    assert not psutil.pid_exists(child)
    assert not is_listening(server.port)


def test_when_the_harness_is_killed_its_server_goes_too(program, tmp_path) -> None:
    harness = f"""
        import sys, time
        from pathlib import Path
        from stages.measure.server import Server, server_environment
        log = Path({str(tmp_path / "server.log")!r})
        server = Server([sys.executable, {str(program)!r}], server_environment({{}}, {{}}), log)
        server.__enter__()
        server.wait_until_healthy(lambda: None, 30)
        print(server.port, flush=True)
        time.sleep(600)
    """
    process = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(harness)],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    port = int(process.stdout.readline())
    child = int((tmp_path / "server.log").read_text().split()[1])
    process.send_signal(signal.SIGKILL)
    process.wait()
    process.stdout.close()
    wait_for(lambda: not is_listening(port) and not psutil.pid_exists(child), 10)


def test_a_crash_at_start_is_told_at_once_with_its_exit_code(program, tmp_path) -> None:
    with make(program, tmp_path, "--crash", "yes") as server:
        with pytest.raises(ServerDiedError, match="exit code 3 while starting"):
            server.wait_until_healthy(lambda: None, 600)
        child = child_of(server)
        wait_for(lambda: not psutil.pid_exists(child))
    assert last_useful_lines(server.log)[-1] == "MemoryError: no room"


def test_a_server_that_never_listens_is_given_up(program, tmp_path) -> None:
    with (
        make(program, tmp_path, "--silent", "yes") as server,
        pytest.raises(ServerDiedError, match="not healthy after"),
    ):
        server.wait_until_healthy(lambda: None, 1)


def test_listening_is_not_healthy_until_the_probe_is_content(program, tmp_path) -> None:
    answers = iter(["http_5xx: not yet", "bad_json: still not", None])
    asked = []

    def probe() -> str | None:
        asked.append(next(answers))
        return asked[-1]

    with make(program, tmp_path) as server:
        server.wait_until_healthy(probe, 30)
        assert asked == ["http_5xx: not yet", "bad_json: still not", None]
        with pytest.raises(ServerDiedError, match="http_5xx: no"):
            server.wait_until_healthy(lambda: "http_5xx: no", 1)


def test_a_server_killed_from_outside_is_noticed_with_the_signal(program, tmp_path) -> None:
    with make(program, tmp_path) as server:
        server.wait_until_healthy(lambda: None, 30)
        assert server.death() is None
        guard = server._guard
        assert guard is not None
        (victim,) = psutil.Process(guard.pid).children()
        os.kill(victim.pid, signal.SIGKILL)
        assert server.died_within(10) == "killed by signal 9"


def test_the_log_is_read_once_piece_by_piece(program, tmp_path) -> None:
    with make(program, tmp_path) as server:
        child_of(server)
        assert server.new_log().startswith("child")
        assert server.new_log() == ""
        with server.log.open("a") as log:
            log.write("more\n")
        assert server.new_log() == "more\n"


def test_the_log_without_an_error_line_ends_in_its_last_lines(tmp_path) -> None:
    log = tmp_path / "log"
    log.write_text("\n".join(f"line {i}" for i in range(9)) + "\n\n")
    assert last_useful_lines(log, 2) == ["line 7", "line 8"]
    assert last_useful_lines(tmp_path / "absent") == []


def test_the_server_does_not_inherit_the_harness_python(monkeypatch, tmp_path) -> None:
    monkeypatch.setenv("VIRTUAL_ENV", "/somewhere")
    monkeypatch.setenv("PYTHONDONTWRITEBYTECODE", "1")
    environ = server_environment({"PYTHONPATH": "backends/x"}, {"CACHE": tmp_path})
    assert "VIRTUAL_ENV" not in environ
    assert "PYTHONDONTWRITEBYTECODE" not in environ
    assert environ["CACHE"] == str(tmp_path)
    assert Path(environ["PYTHONPATH"]).is_absolute()


def test_something_left_on_the_port_is_said(program, tmp_path) -> None:
    squatter = make(program, tmp_path)
    with squatter:
        squatter.wait_until_healthy(lambda: None, 30)
        other = make(program, tmp_path, "--silent", "yes")
        other.port = squatter.port
        other.__enter__()
        with pytest.raises(UserError, match=f"port {squatter.port} is still in use"):
            other.stop()
