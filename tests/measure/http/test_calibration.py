"""The client's own cost, and the instant server that it is measured with."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time

import pytest
from misbehaving import closes, http, misbehaving, says
from patience import PATIENCE_S, wait_for

from stages.common.errors import UserError
from stages.documents.cell import Series
from stages.measure.http.calibration import CalibrationPass, calibrate, instant_server, time_pass
from stages.measure.http.client import CallFailed, ScoreConnection, encode_call
from stages.measure.http.decode import decode_scores
from stages.measure.http.exchange import ScoreRequest
from stages.measure.http.instant import ITEMS_HEADER
from stages.measure.servers.launched import is_listening

QUERY = list(range(1000, 1200))
ITEMS = [[i, i + 1, i + 2] for i in range(2000, 2010)]


def pass_of(chunk_size: int, labels: list[int]) -> CalibrationPass:
    chunks = [ITEMS[at : at + chunk_size] for at in range(0, len(ITEMS), chunk_size)]
    return CalibrationPass(
        series=Series("w", chunk_size),
        requests=[
            ScoreRequest(
                encode_call(QUERY, chunk, labels, True, False), len(chunk), len(labels), True
            )
            for chunk in chunks
        ],
    )


@pytest.mark.parametrize("labels", [[7, 8], [7, 8, 9]])
def test_every_chunk_size_gets_its_cost_even_where_the_last_call_holds_fewer_items(labels):
    passes = [pass_of(size, labels) for size in (1, 4, 10)]
    began = time.monotonic()
    costs = calibrate(passes, labels=len(labels), repetitions=2)
    took_s = time.monotonic() - began
    assert list(costs) == [Series("w", size) for size in (1, 4, 10)]
    # Medians of two timed rounds each, so that all of it lies within the call.
    assert all(seconds > 0 for seconds in costs.values())
    assert 2 * sum(costs.values()) < took_s


@pytest.mark.parametrize(
    "behaviour",
    [closes, says(http(b"busy", 503)), says(http(b'{"scores": [[0.5, 0.5]]}'))],
    ids=["no answer", "refused", "scores for fewer items"],
)
def test_only_calls_a_measurement_would_count_are_timed(behaviour):
    with (
        misbehaving(behaviour) as server,
        ScoreConnection(server.url, PATIENCE_S) as connection,
        pytest.raises(UserError, match="client's own cost"),
    ):
        time_pass(connection, pass_of(4, [7, 8]))


@pytest.mark.parametrize(("items", "labels"), [(1, 1), (1, 2), (3, 5), (500, 2)])
def test_the_instant_server_answers_with_scores_of_the_right_shape(items, labels):
    with instant_server(labels) as url, ScoreConnection(url, PATIENCE_S) as connection:
        for _ in range(2):
            reply = connection.send(connection.prepare(b"{}", {ITEMS_HEADER: str(items)}))
            decoded = decode_scores(reply.status, reply.body, items, labels, True)
            assert (decoded.status, len(decoded.scores or [])) == ("ok", items * labels)


def test_the_instant_server_serves_two_connections_at_once():
    with (
        instant_server(2) as url,
        ScoreConnection(url, PATIENCE_S) as one,
        ScoreConnection(url, PATIENCE_S) as other,
    ):
        for connection in (one, other, one):
            call = connection.prepare(b"{}", {ITEMS_HEADER: "1"})
            assert connection.send(call).status == 200


def test_the_instant_server_is_gone_after_the_block():
    with instant_server(2) as url:
        pass
    with ScoreConnection(url, PATIENCE_S) as connection, pytest.raises(CallFailed) as failed:
        connection.send(connection.prepare(b"{}"))
    assert failed.value.kind == "connection_error"


def test_the_instant_server_ends_when_whoever_started_it_is_killed():
    program = (
        "import time\n"
        "from stages.measure.http.calibration import instant_server\n"
        "with instant_server(2) as url:\n"
        "    print(url, flush=True)\n"
        "    time.sleep(6000)\n"
    )
    parent = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE)
    assert parent.stdout is not None
    with parent.stdout:
        port = int(parent.stdout.readline().decode().rsplit(":", 1)[1])
        socket.create_connection(("127.0.0.1", port), PATIENCE_S).close()
        os.kill(parent.pid, signal.SIGKILL)
        parent.wait()
    wait_for(lambda: not is_listening(port), "the server outlived the process that started it")
