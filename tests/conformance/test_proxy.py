# SPDX-License-Identifier: MIT
"""PROXY headers: the access log shows the client that a proxy names, if it is one to believe; nobody
else gets anywhere."""

import os
import signal
import socket
import struct
import tempfile
import time

import pytest

import wire
from test_access_log import folder, lines, parsed  # noqa: F401 (a fixture)

SIGNATURE = b"\r\n\r\n\0\r\nQUIT\n"
V1 = b"PROXY TCP4 192.0.2.1 198.51.100.2 1234 80\r\n"
V2 = (SIGNATURE + b"\x21\x21" + struct.pack("!H", 36 + 7) + socket.inet_pton(socket.AF_INET6, "2001:db8::7") +
      socket.inet_pton(socket.AF_INET6, "::1") + struct.pack("!HH", 1, 2) + b"\x04\0\4abcd")
LOCAL = SIGNATURE + b"\x20\0\0\0"
GET = wire.request("GET /pipeline HTTP/1.1")


def proxied(start, folder, *options, **kwargs):
    path = os.path.join(folder, "access")
    kwargs.setdefault("listen", ("127.0.0.1:0,proxy",))
    return start("--access-log", path, *options, **kwargs), path


def test_the_client_is_named(start, folder):  # noqa: F811
    server, path = proxied(start, folder, workers=1)
    for header in (V1, V2, LOCAL, b"PROXY UNKNOWN\r\n"):
        with server.connect() as c:
            assert c.send(header + GET).response().body == b"ok"
            assert c.send(GET).response().body == b"ok"
    with server.connect() as c:  # on the same descriptor, a connection later
        assert c.send(LOCAL + GET).response().body == b"ok"
    named = [parsed(l)[0] for l in lines(path, 9)]
    assert named == ["192.0.2.1"] * 2 + ["2001:db8::7"] * 2 + ["127.0.0.1"] * 5


@pytest.mark.parametrize("header", [V1, V2], ids=["v1", "v2"])
def test_in_pieces(start, folder, header):  # noqa: F811
    server, path = proxied(start, folder, workers=1)
    stream = header + GET
    for cut in list(range(1, len(header) + 3)):
        with server.connect() as c:
            c.send(stream[:cut])
            time.sleep(0.001)
            assert c.send(stream[cut:]).response().body == b"ok"
    with server.connect() as c:
        for byte in stream:
            c.send(bytes([byte]))
        assert c.response().body == b"ok"
    got = [parsed(l)[0] for l in lines(path, len(header) + 3)]
    assert set(got) == {"192.0.2.1" if header is V1 else "2001:db8::7"}


def closed(c):
    """Without an answer; a reset is as good."""
    try:
        return c.sock.recv(100) == b""
    except ConnectionResetError:
        return True


def test_no_header_no_answer(start, folder):  # noqa: F811
    server, path = proxied(start, folder)
    refused = 0
    for stream in (GET, V1[:-2] + b"\n" + GET, b"PROXY TCP4 1 2 3 4\r\n" + GET, b"\x16\x03\x01", V1 + V1 + GET,
                   SIGNATURE + b"\x21\x11\xff\xff" + b"x" * 3000, b"x" * 200):
        with server.connect() as c:
            try:
                c.send(stream)
                if stream.startswith(V1):  # one is taken, and the second is a method that nobody knows
                    assert c.response().status == 501
                    continue
            except (BrokenPipeError, ConnectionResetError):
                pass
            assert closed(c), stream
            refused += 1
    assert server.stats()["proxy_refused"] == refused == 6
    assert len(lines(path, 1)) == 1


def test_strangers(start, folder):  # noqa: F811
    server, _ = proxied(start, folder, "--proxy-from", "192.0.2.0/24", "--proxy-from", "::1")
    with server.connect() as c:
        try:
            c.send(V1 + GET)
        except (BrokenPipeError, ConnectionResetError):
            pass
        assert closed(c)
    assert server.stats()["proxy_refused"] == 1


def test_who_is_trusted(start, folder):  # noqa: F811
    server, path = proxied(start, folder, "--proxy-from", "127.0.0.2/31")
    with server.connect(source="127.0.0.3") as c:
        assert c.send(V1 + GET).response().body == b"ok"
    with server.connect(source="127.0.0.4") as c:
        try:
            c.send(V1 + GET)
        except (BrokenPipeError, ConnectionResetError):
            pass
        assert closed(c)
    assert len(lines(path, 1)) == 1


def test_slow_and_gone(start, folder):  # noqa: F811
    server, _ = proxied(start, folder, "--header-timeout", "0.3")
    with server.connect() as c, server.connect() as d, server.connect() as e:
        d.send(V1[:20])
        e.send(V1[:20])
        e.close()
        assert closed(c) and closed(d)
    counters = server.stats()
    assert counters["timeout_header"] == 2 and counters["proxy_refused"] == 0


def test_the_end_does_not_wait_for_it(start, folder):  # noqa: F811
    server, _ = proxied(start, folder)
    with server.connect() as c, server.connect() as d:
        c.send(V1[:20])
        d.send(V1 + GET)
        d.response()
        server.signal(signal.SIGTERM)
        c.send(V1[20:] + GET)  # within the moment that is left it is served
        assert c.response().body == b"ok"
    server.stop()


def test_other_listeners_do_not_know_it(start, folder):  # noqa: F811
    with tempfile.TemporaryDirectory(dir=wire.TMP) as place:
        server, path = proxied(start, folder, listen=("127.0.0.1:0", "unix:%s/s,proxy" % place))
        with server.connect() as c:
            assert c.send(V1 + GET).response().status == 501
        with server.connect(addr=(socket.AF_UNIX, place + "/s")) as c:
            assert c.send(V1 + GET).response().body == b"ok"
        assert sorted(parsed(l)[0] for l in lines(path, 2)) == ["127.0.0.1", "192.0.2.1"]


def test_with_tls(start, folder):  # noqa: F811
    import ssl
    if "built without OpenSSL" in wire.run("--make-test-cert", os.path.join(folder, "c")).stderr:
        pytest.skip("built without OpenSSL")
    cert = os.path.join(folder, "c")
    if not os.path.exists(cert + "/cert.pem"):
        os.makedirs(cert, exist_ok=True)
        assert wire.run("--make-test-cert", cert).returncode == 0
    server, path = proxied(start, folder, "--tls-cert", cert + "/cert.pem", "--tls-key", cert + "/key.pem",
                           listen=("127.0.0.1:0,tls,proxy",))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.load_verify_locations(cert + "/cert.pem")
    with socket.create_connection(server.addr[1], timeout=wire.HANG_S) as s:
        s.sendall(V1)
        with context.wrap_socket(s, server_hostname="localhost") as t:
            c = wire.Client(t)
            assert c.send(GET).response().body == b"ok"
    assert parsed(lines(path, 1)[0])[0] == "192.0.2.1"


@pytest.mark.parametrize("args", [("--proxy-from", "nobody"), ("--proxy-from", "::1/129"),
                                  ("--proxy-from", "")])
def test_bad_options(args):
    done = wire.run(*args)
    assert done.returncode == 2 and "--proxy-from" in done.stderr
