# SPDX-License-Identifier: MIT
"""HTTPS on every backend, with Python's ssl, curl and openssl s_client: what is offered and refused,
tickets, both ends of a connection, handshakes that are slow or many, back-pressure, and the start."""

import os
import re
import shutil
import signal
import socket
import ssl
import subprocess
import time

import pytest

import admin
import wire
import wire_tls

LISTEN = ("127.0.0.1:0,tls",)
GET = wire.request("GET /baseline11?a=13&b=42 HTTP/1.1")


@pytest.fixture
def tls(servers, backend, certificates):
    """A server with two workers and TLS alone."""
    return servers.get(backend, *certificates.options, listen=LISTEN)


def connect(server, certificates, context=None, session=None, host="localhost", addr=None, **more):
    context = context or certificates.context()
    return server.connect(
        wrap=lambda s: wire_tls.TlsSocket(s, context, session=session, host=host), addr=addr, **more)


def raw(server):
    s = socket.create_connection(server.addr[1], timeout=wire.HANG_S)
    s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return s


def hello(context, host="localhost"):
    """A ClientHello, as bytes."""
    out = ssl.MemoryBIO()
    tls = context.wrap_bio(ssl.MemoryBIO(), out, server_hostname=host)
    with pytest.raises(ssl.SSLWantReadError):
        tls.do_handshake()
    return out.read()


def read_all(sock):
    """What comes until the end; a reset counts as one."""
    got = b""
    while True:
        try:
            data = sock.recv(65536)
        except ConnectionResetError:
            return got
        if not data:
            return got
        got += data


def rises(server, **wanted):
    """Wait until the counters have risen by so much since `before` (a Counters)."""
    before = wanted.pop("before")

    def there():
        now = server.stats()
        return all(now[k] - before[k] >= n for k, n in wanted.items())

    wire.wait_until("%s" % wanted, there, step=0.1)


# ---- clients --------------------------------------------------------------------------------------

@pytest.mark.parametrize("version", ["TLSv1_2", "TLSv1_3"])
def test_versions(tls, certificates, version):
    v = getattr(ssl.TLSVersion, version)
    with connect(tls, certificates,
                 certificates.context(minimum_version=v, maximum_version=v)) as c:
        assert c.request(GET).body == b"55"
        assert c.sock.tls.version().replace(".", "_") == version
        assert c.sock.tls.cipher()[0].find("GCM") >= 0 or c.sock.tls.cipher()[0].find("CHACHA") >= 0
        assert c.get("/json/20").status == 200


@pytest.mark.filterwarnings("ignore:ssl.TLSVersion")
def test_old_versions_are_refused(tls, certificates):
    context = certificates.context()
    context.set_ciphers("ALL:@SECLEVEL=0")
    context.minimum_version = ssl.TLSVersion.TLSv1
    context.maximum_version = ssl.TLSVersion.TLSv1_1
    with pytest.raises(ssl.SSLError, match="(?i)protocol.version"):
        connect(tls, certificates, context)


@pytest.mark.parametrize("offer,chosen", [
    (["http/1.1"], "http/1.1"), (["h2", "http/1.1"], "http/1.1"), (None, None)])
def test_alpn(tls, certificates, offer, chosen):
    context = certificates.context()
    if offer:
        context.set_alpn_protocols(offer)
    with connect(tls, certificates, context) as c:
        assert c.sock.tls.selected_alpn_protocol() == chosen
        assert c.request(GET).body == b"55"


def test_alpn_without_ours(tls, certificates):
    context = certificates.context()
    context.set_alpn_protocols(["h2"])
    with pytest.raises(ssl.SSLError, match="(?i)no.application.protocol"):
        connect(tls, certificates, context)


def test_curl(tls, certificates):
    if not shutil.which("curl"):
        pytest.skip("no curl")
    url = "https://localhost:%d" % tls.addr[1][1]
    done = subprocess.run(["curl", "-sS", "--max-time", "20", "--cacert", certificates.cert,
                           url + "/baseline11?a=13&b=42", "-d", "5", url + "/baseline11?a=1&b=2"],
                          stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert (done.stdout, done.stderr) == (b"608", b"")


def s_client(server, *args, data=b""):
    if not shutil.which("openssl"):
        pytest.skip("no openssl")
    done = subprocess.run(["openssl", "s_client", "-connect", "127.0.0.1:%d" % server.addr[1][1],
                           "-servername", "localhost", "-ign_eof"] + list(args), input=data,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=30)
    return done.stdout.decode("latin-1")


CLOSE = b"GET /pipeline HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"


@pytest.mark.parametrize("args,words", [
    (("-tls1_3",), "TLS_AES_128_GCM_SHA256"),
    (("-tls1_2",), "ECDHE-ECDSA-AES128-GCM-SHA256"),
    (("-tls1_2", "-cipher", "ECDHE-ECDSA-CHACHA20-POLY1305:ECDHE-ECDSA-AES128-GCM-SHA256"),
     "CHACHA20"),
    (("-curves", "P-384"), "secp384r1"),
    (("-tls1_2", "-cipher", "ECDHE-ECDSA-AES128-SHA"), "handshake failure"),
    (("-curves", "P-521"), "handshake failure"),
])
def test_s_client(tls, args, words):
    said = s_client(tls, *args, data=CLOSE)
    assert words in said, said
    assert ("200 OK" in said) == ("failure" not in words)
    assert "Early data was not sent" in said or "Early data" not in said


# A line that is R renegotiates, in openssl s_client without -ign_eof.
def test_renegotiation_is_refused(tls):
    done = subprocess.run(["openssl", "s_client", "-connect", "127.0.0.1:%d" % tls.addr[1][1],
                           "-tls1_2"], input=b"R\n", stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, timeout=30)
    said = done.stdout.decode("latin-1")
    assert "RENEGOTIATING" in said and "no renegotiation" in said, said


# ---- tickets --------------------------------------------------------------------------------------

@pytest.mark.parametrize("version", ["TLSv1_2", "TLSv1_3"])
def test_resumption_across_workers(tls, certificates, version):
    v = getattr(ssl.TLSVersion, version)
    context = certificates.context(minimum_version=v, maximum_version=v)
    before = tls.stats()
    with connect(tls, certificates, context) as c:
        c.request(GET)
        session = c.sock.tls.session
        assert session.has_ticket and 0 < session.ticket_lifetime_hint <= 3600
    for _ in range(12):                        # by chance 1 in 2048 all reach one worker
        with connect(tls, certificates, context, session=session) as c:
            assert c.request(GET).body == b"55"
            assert c.sock.tls.session_reused
            session = c.sock.tls.session
    rises(tls, before=before, tls_handshakes=13, tls_resumed=12)


# ---- hosts ----------------------------------------------------------------------------------------

def test_hosts(start, certificates):
    other = certificates.make("other", "DNS:other.test,DNS:*.wild.test")
    server = start(*certificates.options, "--tls-cert", other[0], "--tls-key", other[1],
                   listen=LISTEN)
    for host, path in (("localhost", certificates.cert), ("other.test", other[0]),
                       ("x.wild.test", other[0]), ("unknown.test", certificates.cert)):
        context = certificates.context(check_hostname=False)
        context.verify_mode = ssl.CERT_NONE
        with connect(server, certificates, context, host=host) as c:
            with open(path) as f:
                want = ssl.PEM_cert_to_DER_cert(f.read())
            assert c.sock.tls.getpeercert(True) == want, host
            assert c.request(GET).body == b"55"


def ocsp_response(certificates, folder, status="V\t351231235959Z\t", serial=None, issuer=None):
    """What openssl ocsp says of the certificate: it is valid, or what `status` has, as in its index(5);
    None: that it knows none of it.
    With `serial`, hexadecimal, of another one by the same authority; with `issuer` (a file), of the one
    that this authority has given the number to."""
    if not shutil.which("openssl"):
        pytest.skip("no openssl")
    cert, index, out = certificates.cert, folder / "index", str(folder / "response")
    issuer = issuer or cert
    if not serial:
        serial = subprocess.run(["openssl", "x509", "-in", cert, "-noout", "-serial"],
                                stdout=subprocess.PIPE, check=True, text=True).stdout.strip()[7:]
    index.write_text("%s\t%s\tunknown\t/CN=x\n" % (status, serial) if status else "")
    subprocess.run(["openssl", "ocsp", "-index", str(index), "-rsigner", cert, "-rkey",
                    certificates.key, "-CA", issuer, "-issuer", issuer, "-serial", "0x" + serial,
                    "-respout", out, "-ndays", "1"], check=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    return out


def test_ocsp_response(start, certificates, tmp_path):
    """Stapled for who asks. (That an old one is not, tests/unit/test_tls_config.c has.)"""
    out = ocsp_response(certificates, tmp_path)
    server = start(*certificates.options, "--tls-ocsp", out, listen=LISTEN)
    for version in ("-tls1_2", "-tls1_3"):
        said = s_client(server, "-status", version, data=CLOSE)
        assert "OCSP Response Status: successful" in said and "Cert Status: good" in said
    assert "OCSP" not in s_client(server, data=CLOSE)


# ---- what is no TLS -------------------------------------------------------------------------------

@pytest.mark.parametrize("data", [GET, b"GET / HTTP/1.0\r\n\r\n", b"POST", b"G"])
def test_plain_http(tls, data):
    s = raw(tls)
    s.sendall(data)
    got = read_all(s)
    s.close()
    reader = wire.ResponseReader()
    reader.feed(got)
    assert [r.status for r in reader.responses] == [400]
    assert b"TLS" in reader.responses[0].body and reader.responses[0].closes
    assert not wire.complaints(reader.responses[0], time.time())


@pytest.mark.parametrize("data", [
    b"\x00", b"\x16\x03\x01\xff\xff" + b"\0" * 70000, b"\x80\x2e\x01\x03\x01" + b"\0" * 100,
    b"\x17\x03\x03\x00\x01\x00", b"\x15\x03\x01\x00\x02\x02\x28", b"\x01" + os.urandom(3000)],
    ids=range(6))
def test_garbage(tls, data):
    s = raw(tls)
    try:
        s.sendall(data)
        s.shutdown(socket.SHUT_WR)
        got = read_all(s)
    except OSError:
        got = b""
    s.close()
    assert not got or got[0] == 21, got[:40]    # an alert, if anything


def test_hello_cut_anywhere(tls, certificates):
    data = hello(certificates.context())
    before = tls.stats()
    for n in range(1, len(data), 41):
        s = raw(tls)
        s.sendall(data[:n])
        s.shutdown(socket.SHUT_WR)
        assert read_all(s) == b""
        s.close()
    rises(tls, before=before, tls_failed=len(range(1, len(data), 41)))


# ---- the ends -------------------------------------------------------------------------------------

def test_close_is_said(tls, certificates):
    """wire_tls is strict about it: an end without close_notify is an error."""
    with connect(tls, certificates) as c:
        assert c.request(wire.request("GET /pipeline HTTP/1.1", "Connection: close")).closes
        c.expect_eof()


def test_idle_end_is_said(start, certificates):
    server = start(*certificates.options, "--idle-timeout", "0.4", listen=LISTEN)
    with connect(server, certificates) as c:
        c.request(GET)
        c.expect_eof()
    with connect(server, certificates) as c:   # before the first request, too
        c.expect_eof()


def test_half_close_is_answered(tls, certificates):
    with connect(tls, certificates) as c:
        c.send(GET * 3)
        c.sock.shutdown(socket.SHUT_WR)
        for _ in range(3):
            assert c.response().body == b"55"
        c.expect_eof()


def test_truncation_is_no_end(tls, certificates):
    before = tls.stats()
    with connect(tls, certificates) as c:
        c.send(wire.request("POST /baseline11?a=1 HTTP/1.1", "Content-Length: 4", body=b"12"))
        c.sock.raw.shutdown(socket.SHUT_WR)
        with pytest.raises((wire.ProtocolError, EOFError)):
            c.response()
    rises(tls, before=before, tls_truncated=1, eof_mid_request=1)


# ---- slow, many ------------------------------------------------------------------------------------

def test_slow_handshake(start, certificates):
    server = start(*certificates.options, "--header-timeout", "0.5", listen=LISTEN)
    data = hello(certificates.context())
    silent, half = raw(server), raw(server)
    half.sendall(data[:100])
    trickle = raw(server)
    end = time.monotonic() + wire.HANG_S
    for byte in data:                          # a byte now and then does not keep it open
        try:
            trickle.sendall(bytes([byte]))
        except OSError:
            break
        assert time.monotonic() < end
        time.sleep(0.02)
    for s in (silent, half, trickle):
        read_all(s)
        s.close()
    assert server.stats()["timeout_handshake"] >= 2
    with connect(server, certificates) as c:
        time.sleep(0.8)                        # the deadline was the handshake's
        assert c.request(GET).body == b"55"


def test_many_hellos(start, certificates):
    """Handshakes that all come at once wait for each other, and nobody else for them."""
    server = start(*certificates.options, workers=1, listen=LISTEN)
    context = certificates.context()
    with connect(server, certificates, context) as c:
        socks = [raw(server) for _ in range(200)]
        data = [hello(context) for _ in socks]
        os.kill(server.workers()[0], signal.SIGSTOP)
        for s, d in zip(socks, data):
            s.sendall(d)
        c.send(GET)
        time.sleep(0.1)
        os.kill(server.workers()[0], signal.SIGCONT)
        assert c.response().body == b"55"
        for s in socks:
            assert s.recv(5)[0] == 22
            s.close()
        assert server.stats()["tls_deferred"] > 50


def test_back_pressure(tls, certificates):
    """A client that pipelines much and reads late gets all, in order."""
    with connect(tls, certificates, rcvbuf=8192) as c:
        n = 300
        requests = wire.request("GET /json/50 HTTP/1.1") * n + GET
        c.sock.settimeout(wire.HANG_S)
        c.send(requests)
        time.sleep(0.5)
        bodies = {len(c.response().body) for _ in range(n)}
        assert len(bodies) == 1
        assert c.response().body == b"55"


def test_bodies(tls, certificates):
    with connect(tls, certificates) as c:
        for size in (0, 1, 16383, 16384, 16385, 3000000):
            body = b"x" * size
            answer = c.request(wire.request("POST /upload HTTP/1.1", "Content-Length: %d" % size,
                                            body=body))
            assert answer.status == 200 and int(answer.body) == size
        assert c.request(GET).body == b"55"


def test_expect_continue(tls, certificates):
    with connect(tls, certificates) as c:
        c.send(wire.request("POST /baseline11?a=1 HTTP/1.1", "Content-Length: 1",
                            "Expect: 100-continue"))
        assert c.response().status == 100
        c.send(b"4")
        assert c.response().body == b"5"


# ---- the process -----------------------------------------------------------------------------------

def test_drain(start, certificates):
    server = start(*certificates.options, listen=LISTEN)
    idle, busy, silent = connect(server, certificates), connect(server, certificates), raw(server)
    busy.send(wire.request("POST /baseline11?a=1 HTTP/1.1", "Content-Length: 1"))
    time.sleep(0.2)
    server.signal(signal.SIGTERM)
    idle.expect_eof()
    assert read_all(silent) == b""
    busy.send(b"4")
    answer = busy.response()
    assert answer.body == b"5" and answer.closes
    busy.expect_eof()
    for c in (idle, busy, silent):
        c.close()
    server.stop()


def test_with_others(start, certificates, tmp_path):
    """TLS, plain TCP and TLS on a unix socket, one server, under the seccomp filter where there is one."""
    path = str(tmp_path / "s")
    server = start(*certificates.options, "--tls-listen", "unix:" + path,
                   listen=("127.0.0.1:0", "127.0.0.1:0,tls"))
    assert server.start_line.count("(TLS)") == 2
    plain, tls, unix = server.addresses[:3]
    with server.connect(addr=plain) as c:
        assert c.request(GET).body == b"55"
    for addr in (tls, unix):
        with connect(server, certificates, addr=addr) as c:
            assert c.request(GET).body == b"55"
    with server.connect(addr=plain) as c:      # TLS to the plain port: an error, not a hang
        c.sock.sendall(hello(certificates.context()))
        assert c.response().status == 400


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root")
def test_key_before_privileges(start, certificates):
    """The key is root's alone, the workers are nobody's, and nobody may look into them."""
    server = start(*certificates.options, "--user", "nobody", listen=LISTEN)
    assert not re.search("others may", server.log())
    with connect(server, certificates) as c:
        assert c.request(GET).body == b"55"
    for pid in server.workers():
        assert os.stat("/proc/%d/environ" % pid).st_uid == 0      # not dumpable
        with open("/proc/%d/status" % pid) as f:
            assert re.search(r"^Uid:\s+[1-9]", f.read(), re.M)


def test_status(start, certificates):
    """What a person sees of it, where there is any."""
    server = start(*certificates.options, "--admin", "127.0.0.1:0", listen=LISTEN, workers=1)
    with connect(server, certificates) as c:
        assert c.request(GET).body == b"55"
        s = raw(server)
        s.sendall(GET)
        read_all(s)
        s.close()
        done = wire.run("--status", "--admin", "%s:%d" % admin.address(server)[1][:2])
    assert re.search(r"^TLS +\d+ handshakes/s, 1 in all, 0 of them resumed; failed 0, plain 1, truncated 0$",
                     done.stdout, re.M), done
    assert re.search(r"^listening .*\(TLS\)", done.stdout, re.M)


# ---- the command line ------------------------------------------------------------------------------

def fails(words, *options, status=(1, 2)):
    done = wire.run(*options)
    assert done.returncode in status, done
    assert words in done.stderr, done.stderr
    assert len(done.stderr.strip().splitlines()) == 1, done.stderr


def test_start_errors(certificates, tmp_path):
    cert, key = certificates.cert, certificates.key
    tls = ("--tls-listen", "127.0.0.1:0")
    bad = str(tmp_path / "bad")
    with open(bad, "w") as f:
        f.write("rubbish")
    fails("--make-test-cert", *tls)
    fails("add --tls-listen", "--tls-cert", cert, "--tls-key", key)
    fails("each --tls-cert needs its --tls-key", *tls, "--tls-cert", cert, "--tls-key", key,
          "--tls-cert", cert)
    fails("is not 1.2 or 1.3", *tls, "--tls-min-version", "1.1")
    for options, words in ((("--tls-cert", "/nonexistent", "--tls-key", key), "No such file"),
                           (("--tls-cert", cert, "--tls-key", "/nonexistent"), "No such file"),
                           (("--tls-cert", bad, "--tls-key", key), "PEM is needed"),
                           (("--tls-cert", cert, "--tls-key", bad), "no private key"),
                           (certificates.options + ("--tls-ocsp", bad), "no OCSP response"),
                           (certificates.options + ("--tls-ciphers", "RC4"), "--tls-ciphers")):
        fails(words, "--test", *tls, *options)
    done = wire.run(*tls, "--tls-cert", cert, "--tls-key", bad)
    assert done.returncode == 1 and "no private key" in done.stderr
    other = certificates.make("mismatch")
    fails("it is not the key of", "--test", *tls, "--tls-cert", cert, "--tls-key", other[1])
    done = wire.run("--test", *tls, *certificates.options)
    assert done.returncode == 0, done.stderr


def test_made_certificate(certificates):
    assert os.stat(certificates.key).st_mode & 0o777 == 0o600
    fails("not replaced", "--make-test-cert", certificates.dir)


def test_open_key_is_warned_of(certificates, tmp_path):
    key = str(tmp_path / "key")
    shutil.copy(certificates.key, key)
    os.chmod(key, 0o644)
    done = wire.run("--test", "--tls-listen", "127.0.0.1:0", "--tls-cert", certificates.cert,
                    "--tls-key", key)
    assert done.returncode == 0 and "others may read the key" in done.stderr


# ---- files -----------------------------------------------------------------------------------------

def test_files(start, certificates, tmp_path):
    sizes = (1, 16384, 65537, 1500000)
    for size in sizes:
        (tmp_path / str(size)).write_bytes(os.urandom(size))
    server = start(*certificates.options, "--static", str(tmp_path), listen=LISTEN)
    with connect(server, certificates, rcvbuf=16384) as c:
        c.send(b"".join(wire.request("GET /static/%d HTTP/1.1" % size) for size in sizes) + GET)
        time.sleep(0.3)
        for size in sizes:
            assert c.response().body == (tmp_path / str(size)).read_bytes()
        assert c.response().body == b"55"
        c.send(wire.request("GET /static/1500000 HTTP/1.1", "Range: bytes=70000-1400000"))
        assert c.response().body == (tmp_path / "1500000").read_bytes()[70000:1400001]
