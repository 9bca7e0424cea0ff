"""A server's life: started, healthy, and gone with all its processes, whatever happens."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import textwrap
import threading
import uuid
from pathlib import Path

import psutil
import pytest
from contracts import ROOT
from patience import PATIENCE_S, wait_for

from stages.common.errors import UserError
from stages.measure.servers.launched import (
    PortTakenError,
    Server,
    ServerDiedError,
    is_listening,
    kernel_oom_kills,
    last_useful_lines,
    server_environment,
)

# A server with a child of its own that left the process group, as real schedulers do, and
# that is deaf to signals, daemonises a helper or forks without end on request.
PROGRAM = """
    import http.server, os, signal, subprocess, sys, time
    arguments = dict(zip(sys.argv[1::2], sys.argv[2::2]))
    if arguments.get("--deaf"):
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, signal.SIG_IGN)
    if arguments.get("--daemon") and os.fork() == 0:
        os.setsid()
        if os.fork():
            os._exit(0)
        time.sleep(6000)
    if arguments.get("--forks") and os.fork() == 0:
        while True:  # one process at a time, a new one every moment
            if os.fork():
                os._exit(0)
            if arguments["--forks"] == "sessions":
                os.setsid()
            time.sleep(0.002)
    sleeper = "import signal, time; signal.signal(signal.SIGINT, signal.SIG_IGN); time.sleep(6000)"
    child = subprocess.Popen([sys.executable, "-c", sleeper], start_new_session=True)
    print("child", child.pid, flush=True)
    if arguments.get("--crash"):
        print("Traceback (most recent call last):\\n  File x\\nMemoryError: no room", flush=True)
        sys.exit(3)
    if arguments.get("--silent"):
        time.sleep(6000)
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


def child_of(server: Server) -> int:
    wait_for(lambda: "child" in server.log.read_text())
    return int(server.log.read_text().split()[1])


@pytest.mark.parametrize("deaf", [[], ["--deaf", "yes"]])
def test_after_the_measurement_no_process_and_no_port_is_left(program, tmp_path, deaf) -> None:
    with make(program, tmp_path, *deaf) as server:
        assert server.wait_until_healthy(lambda: None, PATIENCE_S) > 0
        child = child_of(server)
        assert psutil.pid_exists(child)
    assert not psutil.pid_exists(child)
    assert not is_listening(server.port)


def test_a_failing_measurement_stops_its_server_too(program, tmp_path) -> None:
    with pytest.raises(RuntimeError, match="measurement"), make(program, tmp_path) as server:
        server.wait_until_healthy(lambda: None, PATIENCE_S)
        child = child_of(server)
        raise RuntimeError("measurement")
    assert not psutil.pid_exists(child)
    assert not is_listening(server.port)


HARNESS = """
    import sys, time
    from pathlib import Path
    from stages.measure.servers.launched import Server, server_environment
    log, mark, *command = sys.argv[1:]
    server = Server([sys.executable, *command], server_environment({"MARK": mark}, {}), Path(log))
    server.__enter__()
    server.wait_until_healthy(lambda: None, 600)
    print(server.port, flush=True)
    time.sleep(6000)
"""


class Harness:
    """A harness in a process of its own, with a healthy server that carries a mark."""

    def __init__(self, program: Path, tmp_path: Path, *arguments: str) -> None:
        self.mark = f"mark-{uuid.uuid4()}"
        log = str(tmp_path / "server.log")
        self.process = subprocess.Popen(
            [sys.executable, "-c", textwrap.dedent(HARNESS), log, self.mark, program, *arguments],
            cwd=ROOT,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        assert self.process.stdout is not None
        self.port = int(self.process.stdout.readline())

    def end(self, number: int) -> None:
        self.process.send_signal(number)
        self.process.wait()
        assert self.process.stdout is not None
        self.process.stdout.close()


def marked(mark: str) -> list[psutil.Process]:
    """Every process, guards included, that was started with this mark in its environment."""
    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            if process.environ().get("MARK") == mark and process.status() != "zombie":
                found.append(process)
    return found


def guards_of(server: Server) -> list[int]:
    """The outer and the inner guard."""
    assert server._guard is not None
    (inner,) = psutil.Process(server._guard.pid).children()
    return [server._guard.pid, inner.pid]


def program_of(server: Server) -> int:
    (found,) = psutil.Process(guards_of(server)[1]).children()
    return found.pid


@pytest.mark.parametrize(
    "number",
    [
        signal.SIGKILL,
        signal.SIGTERM,
        signal.SIGINT,
        signal.SIGHUP,
        signal.SIGQUIT,
        signal.SIGABRT,
        signal.SIGSEGV,
    ],
)
def test_when_the_harness_dies_by_any_signal_its_server_goes_too(program, tmp_path, number) -> None:
    harness = Harness(program, tmp_path)
    assert len(marked(harness.mark)) == 4, "two guards, the server and its child"
    harness.end(number)
    wait_for(lambda: not is_listening(harness.port) and not marked(harness.mark))


@pytest.mark.parametrize(
    "arguments",
    [
        ["--deaf", "yes"],
        ["--daemon", "yes"],
        ["--forks", "on"],
        ["--forks", "sessions"],
    ],
    ids=["deaf to signals", "daemonised", "forks continually", "forks into new sessions"],
)
def test_when_the_harness_is_killed_an_unruly_server_goes_too(program, tmp_path, arguments) -> None:
    harness = Harness(program, tmp_path, *arguments)
    assert len(marked(harness.mark)) >= 4
    harness.end(signal.SIGKILL)
    wait_for(lambda: not is_listening(harness.port) and not marked(harness.mark))


def test_when_the_harness_is_killed_a_stopped_server_goes_too(program, tmp_path) -> None:
    harness = Harness(program, tmp_path)
    for process in marked(harness.mark):
        if "program.py" in process.cmdline()[1]:
            process.suspend()
    harness.end(signal.SIGKILL)
    wait_for(lambda: not is_listening(harness.port) and not marked(harness.mark))


@pytest.mark.parametrize("which", [0, 1], ids=["outer", "inner"])
def test_when_a_guard_is_killed_the_server_ends_and_nothing_is_left(
    program, tmp_path, which
) -> None:
    mark = f"mark-{uuid.uuid4()}"
    environ = server_environment({"MARK": mark}, {})
    command = [sys.executable, str(program), "--daemon", "yes"]
    with Server(command, environ, tmp_path / "server.log") as server:
        server.wait_until_healthy(lambda: None, PATIENCE_S)
        os.kill(guards_of(server)[which], signal.SIGKILL)
        wait_for(lambda: not is_listening(server.port) and not marked(mark))
        assert server.died_within(PATIENCE_S) == "killed by signal 9"


def test_a_server_whose_child_is_killed_runs_on_and_is_stopped_as_ever(program, tmp_path) -> None:
    with make(program, tmp_path) as server:
        server.wait_until_healthy(lambda: None, PATIENCE_S)
        os.kill(child_of(server), signal.SIGKILL)
        assert server.died_within(0.5) is None
        assert is_listening(server.port)
    assert not is_listening(server.port)


def test_a_server_that_makes_itself_a_daemon_counts_as_ended_and_is_gone(tmp_path) -> None:
    mark = f"mark-{uuid.uuid4()}"
    daemon = "import os, time\nif os.fork(): os._exit(0)\nos.setsid()\ntime.sleep(6000)"
    environ = server_environment({"MARK": mark}, {})
    with Server([sys.executable, "-c", daemon], environ, tmp_path / "log") as server:
        with pytest.raises(ServerDiedError, match="exit code 0 while starting"):
            server.wait_until_healthy(lambda: None, PATIENCE_S)
        assert not marked(mark)


@pytest.mark.parametrize("arguments", [["--silent", "yes"], []], ids=["not yet bound", "refused"])
def test_another_server_on_the_port_is_reported_and_never_measured(
    program, tmp_path, arguments
) -> None:
    server = make(program, tmp_path, *arguments)
    with socket.create_server(("127.0.0.1", server.port)), server:
        asked: list[str] = []
        with pytest.raises(PortTakenError) as caught:
            server.wait_until_healthy(lambda: asked.append("probe"), PATIENCE_S)
        assert f"port {server.port} was taken by another process" in caught.value.detail
        assert caught.value.detail.isprintable()
        assert not asked, "whatever a stranger answers counts for nothing"
    # Another server has another port, and is well.
    with make(program, tmp_path) as other:
        assert other.wait_until_healthy(lambda: None, PATIENCE_S) > 0


def test_a_server_that_starts_slowly_is_waited_for(program, tmp_path) -> None:
    slow = program.with_name("slow.py")
    may_go_on = tmp_path / "may-go-on"
    waits = f"while not os.path.exists({str(may_go_on)!r}): time.sleep(0.05)\n"
    slow.write_text(f"import os, time\n{waits}{program.read_text()}")
    with make(slow, tmp_path) as server:
        assert not is_listening(server.port)
        threading.Timer(3, may_go_on.touch).start()
        server.wait_until_healthy(lambda: None, PATIENCE_S)
        assert is_listening(server.port)


def test_a_log_that_cannot_be_written_is_one_line(program, tmp_path) -> None:
    (tmp_path / "file").write_text("")
    environ = server_environment({}, {})
    with (
        pytest.raises(UserError, match=r"^\S+server.log: Not a directory; nothing was written$"),
        Server([sys.executable, str(program)], environ, tmp_path / "file" / "server.log"),
    ):
        pass


def test_a_log_is_never_written_through_a_link(program, tmp_path) -> None:
    precious = tmp_path / "precious"
    precious.write_text("kept")
    (tmp_path / "server.log").symlink_to(precious)
    with pytest.raises(UserError, match="it is a link"), make(program, tmp_path):
        pass
    assert precious.read_text() == "kept"


def test_a_log_that_vanishes_is_an_empty_one(program, tmp_path) -> None:
    with make(program, tmp_path) as server:
        child_of(server)
        server.log.unlink()
        assert server.new_log() == ""
        assert last_useful_lines(server.log) == []


def test_a_server_that_logs_that_memory_ran_out_died_of_it(tmp_path) -> None:
    log = tmp_path / "server.log"
    log.write_text("RuntimeError: CUDA out of memory of an earlier server\n")
    for says, out in [("RuntimeError: no kernel", False), ("RuntimeError: std::bad_alloc", True)]:
        may_die = tmp_path / f"may-die-{out}"
        program = (
            f"import os, time\nwhile not os.path.exists({str(may_die)!r}): time.sleep(0.05)\n"
            f"raise {says.replace(': ', '(' + chr(34))}{chr(34)})"
        )
        with Server([sys.executable, "-c", program], server_environment({}, {}), log) as server:
            assert not server.died_out_of_memory(), "it runs"
            may_die.touch()
            assert server.died_within(PATIENCE_S) == "ended with exit code 1"
            assert server.died_out_of_memory() is out
        assert last_useful_lines(log)[-1] == says


def limited_group(tmp_path: Path) -> Path:
    """A control group that may take 64 MiB, or the test is skipped."""
    group = Path("/sys/fs/cgroup/memory") / f"scoreparity-{uuid.uuid4()}"
    try:
        group.mkdir()
        (group / "memory.limit_in_bytes").write_text(str(64 << 20))
    except OSError as error:
        group = Path("/sys/fs/cgroup") / f"scoreparity-{uuid.uuid4()}"
        try:
            group.mkdir()
            (group / "memory.max").write_text(str(64 << 20))
        except OSError:
            pytest.skip(f"no control group can be made here: {error}")
    return group


def test_a_server_that_the_kernel_kills_for_its_memory_died_of_it(tmp_path) -> None:
    if kernel_oom_kills() is None:
        pytest.skip("this kernel does not count its memory kills")
    group = limited_group(tmp_path)
    program = (
        "import os, sys, time\n"
        f"open({str(group / 'cgroup.procs')!r}, 'w').write(str(os.getpid()))\n"
        "hoard = [b'x' * (1 << 20) * n for n in range(1, 64)]\n"
        "time.sleep(6000)\n"
    )
    try:
        environ = server_environment({}, {})
        with Server([sys.executable, "-c", program], environ, tmp_path / "log") as server:
            assert server.died_within(PATIENCE_S) == "killed by signal 9, probably out of memory"
    finally:
        group.rmdir()


def test_a_crash_at_start_is_reported_at_once_with_its_exit_code(program, tmp_path) -> None:
    with make(program, tmp_path, "--crash", "yes") as server:
        with pytest.raises(ServerDiedError, match="exit code 3 while starting"):
            server.wait_until_healthy(lambda: None, PATIENCE_S)
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
        server.wait_until_healthy(probe, PATIENCE_S)
        assert asked == ["http_5xx: not yet", "bad_json: still not", None]
        with pytest.raises(ServerDiedError, match="http_5xx: no"):
            server.wait_until_healthy(lambda: "http_5xx: no", 1)


def test_a_server_killed_from_outside_is_noticed_with_the_signal(program, tmp_path) -> None:
    with make(program, tmp_path) as server:
        server.wait_until_healthy(lambda: None, PATIENCE_S)
        assert server.death() is None
        os.kill(program_of(server), signal.SIGKILL)
        assert server.died_within(PATIENCE_S) == "killed by signal 9"


def test_a_dead_server_whose_guard_is_slow_to_say_so_is_waited_for(program, tmp_path) -> None:
    with make(program, tmp_path) as server:
        server.wait_until_healthy(lambda: None, PATIENCE_S)
        guards = [psutil.Process(pid) for pid in guards_of(server)]
        for guard in guards:
            # As on a machine so busy that neither gets a turn.
            guard.suspend()
        os.kill(program_of(server), signal.SIGKILL)
        threading.Timer(3, lambda: [guard.resume() for guard in guards]).start()
        assert server.died_within(0.5) == "killed by signal 9"


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


def test_something_left_on_the_port_is_reported(program, tmp_path) -> None:
    squatter = make(program, tmp_path)
    with squatter:
        squatter.wait_until_healthy(lambda: None, PATIENCE_S)
        other = make(program, tmp_path, "--silent", "yes")
        other.port = squatter.port
        other.__enter__()
        with pytest.raises(UserError, match=f"port {squatter.port} is still in use"):
            other.stop()
