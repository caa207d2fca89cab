# SPDX-License-Identifier: MIT
"""https:// on every backend: who is trusted, sessions, and servers that break TLS in every way."""

import socket
import ssl
import struct
import threading

import pytest

import wire
from conftest import OK, answering, load

LISTEN = ("127.0.0.1:0,tls",)


@pytest.fixture
def https(servers, backend, certificates):
    """A server with TLS; its port."""
    return servers.get(backend, *certificates.options, listen=LISTEN).addr[1][1]


def test_bivalve_answers(https, backend, certificates):
    """By name and by address; closed, pipelined, limited, two processes, at a rate."""
    for host in ("localhost", "127.0.0.1"):
        for more in (["-n500"], ["-n500", "-p16"], ["-n60", "-k3"], ["-n500", "-t2"],
                     ["-R300", "--arrivals=uniform", "-d300ms"]):
            run = load("-c4", "--expect-body=ok", "--backend", backend, "--cacert",
                       certificates.cert, *more, "https://%s:%d/pipeline" % (host, https))
            assert run.status == 0 and run["requests"] > 0, run.err
            assert run["tls"]["first"].startswith("TLSv1.3, TLS_") and run["tls"]["resumed"] == 0
            # Fast ones may have answered all 500 before the last of four has shaken hands.
            assert run["tls"]["handshakes"] >= (20 if "-k3" in more else 4 if "-R300" in more else 1)


@pytest.mark.parametrize("version", ["1.2", "1.3"])
def test_sessions(https, backend, certificates, version):
    url = "https://localhost:%d/pipeline" % https
    argv = ("-n40", "-c2", "-k1", "--backend", backend, "--cacert", certificates.cert,
            "--tls-version", version)
    run = load(*argv, url)
    assert run.status == 0 and run["tls"]["resumed"] == 0
    assert run["tls"]["handshakes"] >= 40 and run["tls"]["first"].startswith("TLSv" + version)
    run = load(*argv, "--tls-resume", url)
    tls = run["tls"]
    # The first connections cannot know of one yet.
    assert run.status == 0 and 1 <= tls["handshakes"] - tls["resumed"] <= 2, tls


def test_large_bodies(https, backend, certificates, tmp_path):
    body = tmp_path / "body"
    body.write_bytes(bytes(range(256)) * 4096)
    run = load("-n6", "-c2", "-b@%s" % body, "--expect-body=@%s" % body, "--backend", backend,
               "--cacert", certificates.cert, "https://localhost:%d/echo" % https)
    assert run.status == 0 and run["requests"] == 6 and run["bytes"]["in"] > 6 << 20, run.err


def test_certificates(https, servers, backend, certificates):
    other, key = certificates.make("load-other")
    url = "https://localhost:%d/pipeline" % https

    def wrong(*argv, url=url):
        run = load("-n2", "-c2", "--timeout=300ms", "--backend", backend, *argv, url)
        assert run.status == 1 and set(run.errors()) == {"tls_certificate"}, run["errors"]
        return run.first("tls_certificate")

    assert "self-signed certificate" in wrong()  # by the system's
    assert "self-signed certificate" in wrong("--cacert", other)
    port = servers.get(backend, "--tls-cert", other, "--tls-key", key, listen=LISTEN).addr[1][1]
    trusted = ("--cacert", other)
    assert "ostname mismatch" in wrong(*trusted, url="https://localhost:%d/" % port)
    assert "IP address mismatch" in wrong(*trusted, url="https://127.0.0.1:%d/" % port)
    assert load("-n2", "--insecure", "--backend", backend, url).status == 0


def test_what_cannot_be(https, certificates, tmp_path):
    url = "https://localhost:%d/" % https
    empty = tmp_path / "empty.pem"
    empty.write_text("")
    for argv, text in (
        (["--cacert", tmp_path / "none", url], "certificates to trust"),
        (["--cacert", empty, url], "PEM is needed"),
        (["--insecure", "--cacert", certificates.cert, url], "either"),
        (["--tls-version=1.1", url], "1.2 or 1.3"),
        (["--insecure", "http://localhost:1/"], "https://"),
    ):
        run = load("-n1", *argv)
        assert run.status == 2 and text in run.err and run.err.count("\n") == 1, run.err


@pytest.fixture
def serve_tls(serve, certificates):
    """serve_tls(behave, **settings of the context): as serve(), with TLS by Python."""

    def begin(behave, **settings):
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificates.cert, certificates.key)
        for name, value in settings.items():
            setattr(context, name, value)

        def wrapped(client):
            client.sock.settimeout(wire.HANG_S)
            try:
                client.sock = context.wrap_socket(client.sock, server_side=True,
                                                  suppress_ragged_eofs=True)
            except (ssl.SSLError, OSError):
                return
            behave(client)

        server = serve(wrapped)
        server.url = server.url.replace("http://127.0.0.1", "https://localhost")
        return server

    return begin


def fails(server, backend, certificates, kind, *argv):
    """How the first request fails."""
    run = load("-n1", "-c1", "--timeout=2s", "--backend", backend, "--cacert", certificates.cert,
               *argv, server.url)
    assert run.status == 1 and set(run.errors()) == {kind}, (run["errors"], run.err)
    return run.first(kind)


def test_another_server(serve_tls, backend, certificates):
    run = load("-n200", "-c3", "-k50", "--backend", backend, "--cacert", certificates.cert,
               serve_tls(answering(OK)).url)
    assert run.status == 0 and run["requests"] == 200, run.err


@pytest.mark.filterwarnings("ignore:ssl.TLSVersion")
def test_alerts(serve_tls, backend, certificates):
    server = serve_tls(answering(OK), maximum_version=ssl.TLSVersion.TLSv1_2)
    assert "alert" in fails(server, backend, certificates, "tls_alert", "--tls-version=1.3")
    # A client's certificate is wanted, which is said behind the handshake: the request was sent.
    server = serve_tls(answering(OK), verify_mode=ssl.CERT_REQUIRED)
    assert "certificate required" in fails(server, backend, certificates, "tls_alert")


def test_no_close_notify(serve_tls, backend, certificates):
    """An end that anybody on the way could have made is none of an answer, nor of a body."""

    def ending(data, notify):
        def behave(client):
            client.request()
            client.sock.sendall(data)
            if notify:
                client.sock = client.sock.unwrap()
            else:
                client.sock = socket.socket(fileno=client.sock.detach())
                client.sock.shutdown(socket.SHUT_WR)

        return serve_tls(behave)

    body = b"HTTP/1.1 200 OK\r\n\r\nto the end"
    run = load("-n1", "-c1", "--expect-body=to the end", "--backend", backend, "--cacert",
               certificates.cert, ending(body, True).url)
    assert run.status == 0 and run["requests"] == 1, run.err
    fails(ending(body, False), backend, certificates, "tls_truncated")
    fails(ending(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nx", False), backend, certificates,
          "tls_truncated")
    fails(ending(b"", False), backend, certificates, "tls_truncated")
    fails(ending(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nx", True), backend, certificates,
          "truncated")
    fails(ending(b"", True), backend, certificates, "closed_early")


def test_no_tls(serve, backend, certificates):
    def wrong(behave, kind):
        server = serve(behave)
        server.url = server.url.replace("http://127.0.0.1", "https://localhost")
        return fails(server, backend, certificates, kind)

    assert wrong(lambda client: client.send(b"HTTP/1.1 400 Bad Request\r\n\r\n"), "tls")
    assert "closed in the handshake" in wrong(lambda client: client.sock.recv(100000), "connect")
    stop = threading.Event()
    try:
        assert "timed out" in wrong(lambda client: stop.wait(wire.HANG_S), "connect")
    finally:
        stop.set()


def test_broken_records(serve, backend, certificates):
    """What is no record, behind a handshake."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificates.cert, certificates.key)

    def behave(client):
        tls = context.wrap_socket(client.sock.dup(), server_side=True)
        tls.recv(1000)
        client.send(struct.pack(">BHH", 23, 0x0303, 32) + bytes(32))
        tls.detach()
        client.sock.recv(1000)

    server = serve(behave)
    server.url = server.url.replace("http://127.0.0.1", "https://localhost")
    assert "decryption failed" in fails(server, backend, certificates, "tls")
