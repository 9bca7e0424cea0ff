"""The stream that carries a call's bytes, over real sockets, and that TLS has another one."""

from __future__ import annotations

import contextlib
import datetime
import ipaddress
import socket
import ssl
import struct
import threading

import certifi
import httpcore
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from misbehaving import http
from patience import PATIENCE_S

from stages.measure.http.client import CallFailed, ScoreConnection
from stages.measure.http.stream import TcpStream

SHORT_S = 0.05


@pytest.fixture
def pair():
    """A stream and the other end of its TCP connection."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        here = socket.create_connection(listener.getsockname())
        there, _ = listener.accept()
    stream = TcpStream(here)
    with there:
        there.settimeout(PATIENCE_S)
        yield stream, there
        stream.close()


def test_bytes_go_both_ways(pair) -> None:
    stream, there = pair
    stream.write(b"there", PATIENCE_S)
    assert there.recv(100) == b"there"
    there.sendall(b"and back")
    assert stream.read(3, PATIENCE_S) == b"and"
    assert stream.read(100, None) == b" back"
    stream.write(b"", PATIENCE_S)


def test_more_than_the_kernel_takes_at_once_is_sent_whole(pair) -> None:
    stream, there = pair
    data = bytes(range(256)) * (32 << 12)
    received = bytearray()

    def read_all() -> None:
        while len(received) < len(data):
            received.extend(there.recv(1 << 16))

    reading = threading.Thread(target=read_all)
    reading.start()
    stream.write(data, PATIENCE_S)
    reading.join()
    assert received == data


def test_silence_is_a_timeout_and_the_stream_lives_on(pair) -> None:
    stream, there = pair
    with pytest.raises(httpcore.ReadTimeout):
        stream.read(100, SHORT_S)
    there.sendall(b"late")
    assert stream.read(100, PATIENCE_S) == b"late"


def test_a_peer_that_reads_nothing_is_a_timeout(pair) -> None:
    stream, _ = pair
    with pytest.raises(httpcore.WriteTimeout):
        stream.write(b"x" * (64 << 20), SHORT_S)


def test_a_closed_connection_ends_in_no_bytes(pair) -> None:
    stream, there = pair
    there.close()
    assert stream.read(100, PATIENCE_S) == b""


def test_a_reset_connection_is_an_error_of_either_direction(pair) -> None:
    stream, there = pair
    there.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    there.close()
    with pytest.raises(httpcore.ReadError, match="reset by peer"):
        stream.read(100, PATIENCE_S)
    with pytest.raises(httpcore.WriteError):
        stream.write(b"x", PATIENCE_S)


def test_it_says_whether_something_can_be_read(pair) -> None:
    stream, there = pair
    assert stream.get_extra_info("is_readable") is False
    there.sendall(b"x")
    stream._readable.poll()
    assert stream.get_extra_info("is_readable") is True
    assert stream.read(100, PATIENCE_S) == b"x"
    assert stream.get_extra_info("is_readable") is False
    there.close()
    stream._readable.poll()
    assert stream.get_extra_info("is_readable") is True
    assert stream.get_extra_info("ssl_object") is None


def test_a_report_of_bytes_that_are_not_there_is_waited_out() -> None:
    class DropsOne(socket.socket):
        dropped = 0

        def recv(self, *args) -> bytes:
            if not self.dropped:
                self.dropped += 1
                raise BlockingIOError
            return super().recv(*args)

    one, there = socket.socketpair()
    with there, DropsOne(fileno=one.detach()) as here:
        there.sendall(b"x")
        assert TcpStream(here).read(100, PATIENCE_S) == b"x"
        assert here.dropped == 1


@pytest.fixture
def certified(tmp_path, monkeypatch) -> ssl.SSLContext:
    """A server's TLS, with a certificate for 127.0.0.1 that the client trusts."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "test")])
    began = datetime.datetime.now(datetime.UTC) - datetime.timedelta(days=1)
    certificate = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(began)
        .not_valid_after(began + datetime.timedelta(days=9))
        .add_extension(
            x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), False
        )
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), True)
        .sign(key, hashes.SHA256())
    )
    pem = serialization.Encoding.PEM
    public, both = tmp_path / "public.pem", tmp_path / "both.pem"
    public.write_bytes(certificate.public_bytes(pem))
    private = key.private_bytes(
        pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    both.write_bytes(private + public.read_bytes())
    monkeypatch.setattr(certifi, "where", lambda: str(public))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(both)
    return context


def serve_over_tls(listener: socket.socket, context: ssl.SSLContext, answers: list[bytes]) -> None:
    sock, _ = listener.accept()
    with context.wrap_socket(sock, server_side=True) as secured:
        for answer in answers:
            received = b""
            while not received.endswith(b"{}"):
                received += secured.recv(1 << 16)
            secured.sendall(answer)
        with contextlib.suppress(OSError):
            secured.recv(1)  # until the client closes


def test_calls_over_tls_get_their_answers_on_one_connection(certified) -> None:
    # The last one takes several records, of which TLS may hold some that the socket does not show.
    bodies = [b"first", b"", b"x" * 300_000]
    with socket.create_server(("127.0.0.1", 0)) as listener:
        answering = threading.Thread(
            target=serve_over_tls, args=(listener, certified, [http(body) for body in bodies])
        )
        answering.start()
        url = f"https://127.0.0.1:{listener.getsockname()[1]}"
        with ScoreConnection(url, PATIENCE_S) as connection:
            call = connection.prepare(b"{}")
            assert [connection.send(call).body for _ in bodies] == bodies
        answering.join()


def test_an_answer_over_tls_that_does_not_come_is_a_timeout(certified) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        answering = threading.Thread(
            target=serve_over_tls, args=(listener, certified, [http(b"ok"), http(b"x", length=9)])
        )
        answering.start()
        url = f"https://127.0.0.1:{listener.getsockname()[1]}"
        with ScoreConnection(url, PATIENCE_S) as connection:
            call = connection.prepare(b"{}")
            assert connection.send(call).body == b"ok"
            connection._timeout_s = 1.0
            with pytest.raises(CallFailed) as failed:
                connection.send(call)
        answering.join()
    assert failed.value.kind == "timeout"
