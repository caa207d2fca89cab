# SPDX-License-Identifier: MIT
"""The access log: a line for each request and nothing but whole lines, whatever clients send and
whoever does not read it; rotation loses none."""

import ctypes
import json
import os
import re
import ssl
import signal
import socket
import tempfile
import time

import pytest

import wire

COMBINED = re.compile(
    r'(\S+) - - \[\d\d/[A-Z][a-z]{2}/\d{4}:\d\d:\d\d:\d\d \+0000\] '
    r'"([^"]*)" (\d{3}) (\d+) "([^"]*)" "([^"]*)"\n\Z')
PIPELINE = wire.request("GET /pipeline HTTP/1.1")


@pytest.fixture
def folder():
    with tempfile.TemporaryDirectory(prefix="bivalve-access-", dir=wire.TMP) as path:
        yield path


def lines(path, count):
    """So many lines, once they are there; what is there is whole lines at any time."""
    def read():
        with open(path, "rb") as f:
            text = f.read()
        assert not text or text.endswith(b"\n")
        found = text.decode("ascii").splitlines(True)
        return found if len(found) >= count else None
    return wire.wait_until("%d lines" % count, read)


def parsed(line):
    match = COMBINED.match(line)
    assert match, "not combined: %r" % line
    return match.groups()


def test_combined(start, folder):
    path = os.path.join(folder, "access")
    server = start("--access-log", path)
    with server.connect() as c:
        c.get("/pipeline", "User-Agent: one", "Referer:  http://there/ ")
        c.get("/json/50")
        c.get("/json/50", method="HEAD")
        c.request(wire.request("POST /baseline11?a=1 HTTP/1.1", "Transfer-Encoding: chunked",
                               body=b"1\r\n4\r\n0\r\n\r\n"))
        c.get("/nothing", "x-user-agent: no", "REFERER: r", "user-agent:")
    got = [parsed(l) for l in lines(path, 5)]
    assert [g[0] for g in got] == ["127.0.0.1"] * 5
    assert got[0][1:] == ("GET /pipeline HTTP/1.1", "200", "2", "http://there/", "one")
    assert got[1][1:3] == ("GET /json/50 HTTP/1.1", "200") and int(got[1][3]) > 5000
    assert got[2][1:] == ("HEAD /json/50 HTTP/1.1", "200", "0", "-", "-")
    assert got[3][1:] == ("POST /baseline11?a=1 HTTP/1.1", "200", "1", "-", "-")
    assert got[4][1:] == ("GET /nothing HTTP/1.1", "404", "17", "r", "-")
    assert os.stat(path).st_mode & 0o007 == 0


def test_json(start, folder):
    path = os.path.join(folder, "access")
    server = start("--access-log", path, "--access-log-format", "json")
    with server.connect() as c:
        c.get("/pipeline?a=%22", "User-Agent: \"\\\t\xe9\x80")
        c.send(b"POST /baseline11?a=1 HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\n")
        time.sleep(0.2)
        assert c.send(b"41").response().body.strip() == b"42"
        c.send(b"nonsense\r\n\r\n").response()
    got = [json.loads(l) for l in lines(path, 3)]
    assert got[0]["user_agent"] == "\"\\\t\xe9\x80" and got[0]["referer"] is None
    assert (got[0]["method"], got[0]["target"], got[0]["protocol"]) == \
        ("GET", "/pipeline?a=%22", "HTTP/1.1")
    assert (got[0]["status"], got[0]["bytes"], got[0]["client"]) == (200, 2, "127.0.0.1")
    assert re.match(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ\Z", got[0]["time"])
    assert got[1]["duration_us"] >= 150000 > got[0]["duration_us"] >= 0
    assert got[2]["status"] == 400 and got[2]["method"] is None and got[2]["target"] is None


@pytest.mark.parametrize("form", ["combined-tls", "json"])
def test_tls(start, folder, certificates, form):
    """Version and cipher, also of a resumed connection; a plain one has none."""
    path = os.path.join(folder, "access")
    server = start("--access-log", path, "--access-log-format", form, *certificates.options,
                   listen=("127.0.0.1:0", "127.0.0.1:0,tls"), workers=1)
    want = []
    for version in (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3):
        context, session = certificates.context(maximum_version=version), None
        for _ in range(2):
            wrap = lambda s: context.wrap_socket(s, server_hostname="localhost", session=session)
            with server.connect(addr=server.addresses[1], wrap=wrap) as c:
                assert c.get("/pipeline").body == b"ok"
                session = c.sock.session
                want.append([c.sock.version(), c.sock.cipher()[0]])
    with server.connect() as c:
        assert c.get("/pipeline").body == b"ok"
    got = lines(path, 5)
    if form == "json":
        members = [json.loads(l) for l in got]
        assert [[m["tls_protocol"], m["tls_cipher"]] for m in members[:4]] == want
        assert "tls_protocol" not in members[4]
    else:
        assert [l.split()[-2:] for l in got] == want + [["-", "-"]]


@pytest.mark.parametrize("form", ["combined", "json"])
def test_nothing_a_client_sends_makes_a_line(start, folder, form):
    path = os.path.join(folder, "access")
    server = start("--access-log", path, "--access-log-format", form, "--max-uri-bytes", "32k",
                   "--max-header-bytes", "32k", workers=1)
    everything = "".join(chr(c) for c in range(0x20, 0x100) if c != 0x7f)
    sent = [
        wire.request("GET /pipeline HTTP/1.1", "User-Agent: " + everything, "Referer: " + everything),
        wire.request("GET /pipeline?%0a%0d%22%5c HTTP/1.1", "User-Agent: a\" 200 0 \"b\\"),
        wire.request("GET /pipeline?" + "x" * 30000 + " HTTP/1.1"),
        wire.request("GET /pipeline HTTP/1.1", "User-Agent: " + "\\" * 15000,
                     "Referer: " + "\xff" * 15000),
    ]
    for split in (None, 1):
        server.exchange(b"".join(sent), split=split, responses=len(sent))
    got = lines(path, 10)
    assert len(got) == 10  # each exchange asks once more, to see that all has been read
    for line in got:
        assert len(line) <= 4096
        assert all(0x20 <= ord(c) < 0x7f for c in line[:-1])
        if form == "json":
            one = json.loads(line)
            assert one["status"] == 200 and one["target"].startswith("/p")
        else:
            assert parsed(line)[2] == "200"
    if form == "json":
        assert json.loads(got[0])["user_agent"] == json.loads(got[5])["user_agent"] == everything.strip()
        assert json.loads(got[1])["user_agent"] == "a\" 200 0 \"b\\"
    else:
        assert r'"a\x22 200 0 \x22b\x5c"' in got[1]
    assert "..." in got[2] and "..." in got[3]
    # In pieces or whole, it is the same.
    when = re.compile(r'\[[^]]*\]|"time":"[^"]*"|"duration_us":\d+')
    assert [when.sub("", l) for l in got[:5]] == [when.sub("", l) for l in got[5:]]


def test_requests_without_an_answer(start, folder):
    path = os.path.join(folder, "access")
    server = start("--access-log", path, "--header-timeout", "0.3", "--max-body-bytes", "100",
                   workers=1)
    with server.connect() as c:  # leaves in the middle of its body
        c.send(b"POST /baseline11?a=1 HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\n1")
        wire.wait_until("its head", lambda: server.stats()["bytes_in"] > 0)
        c.reset()
    assert parsed(lines(path, 1)[0])[1:3] == ("POST /baseline11?a=1 HTTP/1.1", "499")
    with server.connect() as c:  # too slow
        assert c.send(b"GET /pip").response().status == 408
    with server.connect() as c:  # too large
        assert c.request(wire.request("POST /baseline11 HTTP/1.1", "Content-Length: 101")).status == 413
    with server.connect() as c:  # wrong in the middle
        assert c.request(wire.request("POST /baseline11 HTTP/1.1", "Transfer-Encoding: chunked",
                                      body=b"1\r\n4\r\nwrong\r\n")).status == 400
    got = [parsed(l)[1:3] for l in lines(path, 4)]
    assert got[1] == ("-", "408") and got[2][1] == "413"
    assert got[3] == ("POST /baseline11 HTTP/1.1", "400")
    assert len(got) == 4


def test_rotation_loses_nothing(start, folder):
    path = os.path.join(folder, "access")
    server = start("--access-log", path)
    sent = rotated = 0
    with server.connect() as a, server.connect() as b:
        for turn in range(40):
            for c in (a, b):
                c.send(PIPELINE * 16)
                sent += 16
            if turn % 10 == 5:
                os.rename(path, "%s.%d" % (path, turn))
                rotated += 1
                server.signal(signal.SIGUSR1)
            for c in (a, b):
                for _ in range(16):
                    c.response()
        wire.wait_until("a new file", lambda: os.path.exists(path))
    server.stop()
    files = os.listdir(folder)
    assert len(files) == rotated + 1
    total = 0
    for name in files:
        with open(os.path.join(folder, name)) as f:
            got = f.readlines()
        total += len(got)
        for line in got:
            parsed(line)
    assert total == sent


def test_a_file_that_cannot_be_opened_again(start, folder):
    path = os.path.join(folder, "access")
    server = start("--access-log", path)
    os.rename(path, path + ".1")
    os.mkdir(path)
    server.signal(signal.SIGUSR1)
    wire.wait_until("a complaint", lambda: "cannot be opened again" in server.log())
    with server.connect() as c:
        c.get("/pipeline")
    lines(path + ".1", 1)


def test_nobody_reads_it(start, folder):
    """A pipe that is full: clients are served, lines are dropped and counted, and the end comes."""
    path = os.path.join(folder, "pipe")
    os.mkfifo(path)
    reader = os.open(path, os.O_RDWR | os.O_NONBLOCK)
    try:
        server = start("--access-log", path, workers=1)
        rounds = 200
        with server.connect() as c:
            for _ in range(rounds):
                c.send(wire.request("GET /pipeline HTTP/1.1", "User-Agent: " + "x" * 200) * 50)
                for _ in range(50):
                    c.response()
        counters = server.stats()
        assert counters["requests"] == 50 * rounds
        assert counters["log_lines"] + counters["log_dropped"] == 50 * rounds
        assert counters["log_dropped"] > 0 and counters["log_lines"] > 1000
        text = b""
        while True:  # what there is of it is whole lines
            try:
                text += os.read(reader, 1 << 20)
            except BlockingIOError:
                break
        for line in text.decode().splitlines(True):
            parsed(line)
        server.stop()
    finally:
        os.close(reader)


def test_a_full_disk(start):
    server = start("--access-log", "/dev/full")
    with server.connect() as c:
        assert c.get("/pipeline").status == 200
        wire.wait_until("a complaint", lambda: "access log cannot be written to" in server.log())
        assert c.get("/pipeline").status == 200


def test_standard_output(start):
    server = start("--access-log", "-")
    with server.connect() as c:
        c.get("/pipeline")
    wire.wait_until("the line", lambda: '"GET /pipeline HTTP/1.1" 200 2' in server.log())


def test_one_process(start, folder):
    path = os.path.join(folder, "access")
    server = start("--access-log", path, workers=0)
    with server.connect() as c:
        c.get("/pipeline")
        lines(path, 1)
        os.rename(path, path + ".1")
        server.signal(signal.SIGUSR1)
        wire.wait_until("a new file", lambda: os.path.exists(path))
        c.get("/json/1")
    others = wire.children(server.pid)
    server.stop()
    assert "/json/1" in lines(path, 1)[0]
    assert len(others) == 1 and not wire.alive(others[0])


def test_its_process_comes_back(start, folder):
    """... and writes to the file that is there then; lines wait meanwhile."""
    path = os.path.join(folder, "access")
    server = start("--access-log", path)

    def writer():
        for pid in server.workers():
            with open("/proc/%d/comm" % pid) as f:
                if f.read() == "bivalve-log\n":
                    return pid
        return None

    os.rename(path, path + ".1")
    os.kill(wire.wait_until("the process that writes", writer), signal.SIGKILL)
    with server.connect() as c:
        c.get("/pipeline")
    assert len(lines(path, 1) if wire.wait_until("the file", lambda: os.path.exists(path)) else []) == 1


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may mount a /dev of its own")
def test_syslog(start):
    def namespace():
        libc = ctypes.CDLL(None, use_errno=True)
        if libc.unshare(0x00020000) != 0:  # CLONE_NEWNS
            os._exit(77)
        if libc.mount(b"none", b"/", None, 1 << 18 | 1 << 14, None) != 0 or \
                libc.mount(b"tmpfs", b"/dev", b"tmpfs", 0, None) != 0:
            os._exit(77)
        os.mknod("/dev/null", 0o666 | 0o020000, os.makedev(1, 3))
        os.mknod("/dev/urandom", 0o666 | 0o020000, os.makedev(1, 9))
        receiver.bind("/dev/log")

    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as receiver:
        receiver.settimeout(wire.HANG_S)
        try:
            server = start("--access-log", "syslog", before_exec=namespace)
        except wire.StartError as e:
            if e.status == 77:
                pytest.skip("no mount namespace to be had here")
            raise
        with server.connect() as c:
            c.get("/pipeline", "User-Agent: it's me")
        text = receiver.recv(65536).decode()
    match = re.match(r"<30>bivalve\[%d\]: (.*)\Z" % server.pid, text)
    assert match, text
    assert parsed(match.group(1) + "\n")[5] == "it's me"


@pytest.mark.parametrize("where", ["/nonexistent/access", "/"])
def test_it_cannot_be_opened(where):
    done = wire.run("--listen", "127.0.0.1:0", "--access-log", where)
    assert done.returncode == 1 and "--access-log " + where in done.stderr
