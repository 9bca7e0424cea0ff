"""A server that crashes, hangs or never comes up, seen by the code that measures it."""

from __future__ import annotations

import sys
import textwrap
from pathlib import Path

import httpx
import pytest
from bench import workload_of
from contracts import ROOT, WORKLOAD, contract
from patience import PATIENCE_S, wait_for

from stages.backends.registry import declared
from stages.documents.cell import PassKey
from stages.documents.matrix import CallRecord
from stages.measure.http.client import ScoreConnection
from stages.measure.passes import run_pass
from stages.measure.servers.health import probe_server
from stages.measure.servers.launched import (
    Server,
    ServerDiedError,
    is_listening,
    last_useful_lines,
    server_environment,
)
from stages.measure.servers.log import ServerLog

MADE = contract(workload__items=4, workload__query_tokens=16, chunk_sizes=[1, 2, 4])
SCORED = workload_of(MADE)
SCORING = str(ROOT / "tests" / "support" / "scoring_server.py")


def server_of(tmp_path: Path, *command: str) -> Server:
    environ = server_environment({}, {})
    return Server([sys.executable, *command], environ, tmp_path / "server.log")


def program(tmp_path: Path, text: str) -> str:
    path = tmp_path / "program.py"
    path.write_text(textwrap.dedent(text))
    return str(path)


def start(server: Server, connection: ScoreConnection, timeout_s: float = PATIENCE_S) -> float:
    return server.wait_until_healthy(lambda: probe_server(connection, SCORED), timeout_s)


def one_pass(server: Server, connection: ScoreConnection) -> list[CallRecord]:
    """A pass of four calls, as a measurement makes it."""
    return run_pass(
        connection,
        SCORED,
        PassKey(WORKLOAD, "sweep", 1, 0),
        session=0,
        position=0,
        died_within=server.died_within,
        log=ServerLog(server, declared("jax")),
    )


def test_a_crash_in_a_pass_ends_the_call_as_server_died_with_the_signal(tmp_path) -> None:
    # The first call is the probe, the third the second of the pass.
    with (
        server_of(tmp_path, SCORING, "--crash-at", "3") as server,
        ScoreConnection(server.url, PATIENCE_S) as connection,
    ):
        start(server, connection)
        records = one_pass(server, connection)
    assert [r.status for r in records] == ["ok", "server_died"]
    assert records[1].detail == "server killed by signal 9"


HANGING = """
    import http.server, sys, time
    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        def do_GET(self):
            self.send_response(200)
            self.send_header("Content-Length", "0")
            self.end_headers()
        def do_POST(self):
            time.sleep(6000)
        def log_message(self, *_):
            pass
    port = int(sys.argv[sys.argv.index("--port") + 1])
    http.server.ThreadingHTTPServer(("127.0.0.1", port), Handler).serve_forever()
"""


def test_a_server_that_is_only_healthy_in_name_is_not_healthy(tmp_path) -> None:
    with (
        server_of(tmp_path, program(tmp_path, HANGING)) as server,
        ScoreConnection(server.url, 1) as connection,
    ):
        wait_for(lambda: is_listening(server.port))
        with pytest.raises(ServerDiedError, match=r"not healthy after \d+ s: timeout: no whole"):
            start(server, connection, 4)
        assert httpx.get(f"{server.url}/health", timeout=PATIENCE_S).status_code == 200
        # A pass on it costs one call's time, not one per call.
        (record,) = one_pass(server, connection)
        assert (record.status, record.detail) == ("timeout", "no whole answer in 1 s")


def test_a_server_that_accepts_and_never_says_a_word_is_not_healthy(tmp_path) -> None:
    mute = """
        import socket, sys, time
        port = int(sys.argv[sys.argv.index("--port") + 1])
        with socket.create_server(("127.0.0.1", port)):
            time.sleep(6000)
    """
    with (
        server_of(tmp_path, program(tmp_path, mute)) as server,
        ScoreConnection(server.url, 1) as connection,
    ):
        wait_for(lambda: is_listening(server.port))
        with pytest.raises(ServerDiedError, match="timeout: no whole answer in 1 s"):
            start(server, connection, 4)


def test_a_server_that_answers_nonsense_is_not_healthy(tmp_path) -> None:
    # What it left unread would be the next call on the connection.
    read = 'self.rfile.read(int(self.headers["Content-Length"]))'
    empty = HANGING.replace("time.sleep(6000)", f"{read}; self.do_GET()")
    with (
        server_of(tmp_path, program(tmp_path, empty)) as server,
        ScoreConnection(server.url, PATIENCE_S) as connection,
    ):
        wait_for(lambda: is_listening(server.port))
        with pytest.raises(ServerDiedError, match=r"bad_json: the answer of 0 bytes is not JSON"):
            start(server, connection, 2)


def test_a_crash_at_start_is_told_by_its_cause_not_by_its_traceback(tmp_path) -> None:
    crash = """
        def even(n):
            if n == 0:
                raise ValueError("unknown attention backend: segment")
            odd(n - 1)
        def odd(n):
            even(n - 1)
        try:
            even(200)
        except ValueError as error:
            raise RuntimeError("the scheduler could not start") from error
    """
    with (
        server_of(tmp_path, program(tmp_path, crash)) as server,
        ScoreConnection(server.url, PATIENCE_S) as connection,
        pytest.raises(ServerDiedError, match=r"^ended with exit code 1 while starting$"),
    ):
        start(server, connection)
    assert len(server.log.read_text().splitlines()) > 200
    assert last_useful_lines(server.log) == [
        "RuntimeError: the scheduler could not start"
        " (it began with ValueError: unknown attention backend: segment)"
    ]


def test_a_server_listens_on_loopback_only_whatever_it_was_told_before(tmp_path) -> None:
    with server_of(tmp_path, SCORING, "--host", "0.0.0.0") as server:
        assert server.argv[-4:] == ["--host", "127.0.0.1", "--port", str(server.port)]
        with ScoreConnection(server.url, PATIENCE_S) as connection:
            start(server, connection)
            # Every address of 127.0.0.0/8 is this machine; a server on all addresses answers.
            with ScoreConnection(f"http://127.0.0.2:{server.port}", PATIENCE_S) as other:
                said = probe_server(other, SCORED)
            assert said is not None
            assert said.startswith("connection_error")
    assert not is_listening(server.port)


def test_a_flooded_log_is_not_read_whole(tmp_path) -> None:
    flood = """
        import sys
        for i in range(300):
            sys.stdout.write(f"line {i} " + "x" * 200_000 + "\\n")
        raise RuntimeError("no room")
    """
    with server_of(tmp_path, program(tmp_path, flood)) as server:
        assert server.died_within(PATIENCE_S) == "ended with exit code 1"
        assert server.log.stat().st_size > 50_000_000
        assert len(server.new_log()) <= 32 << 20
        assert server.new_log() == ""
    assert last_useful_lines(server.log) == ["RuntimeError: no room"]
