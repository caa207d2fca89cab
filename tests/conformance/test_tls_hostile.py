# SPDX-License-Identifier: MIT
"""HTTPS and what a scanner, a broken client or a proxy does to it: what is offered and what is not, alerts
in every state, certificates that are long, and what the log says of all that."""

import os
import re
import shutil
import socket
import ssl
import struct
import subprocess

import pytest

import wire
from test_tls import CLOSE, GET, LISTEN, connect, hello, raw, read_all, rises, s_client


@pytest.fixture
def tls(servers, backend, certificates):
    return servers.get(backend, *certificates.options, listen=LISTEN)


# ---- what a scanner looks for ------------------------------------------------------------------------

REFUSED = ("NULL", "aNULL", "EXPORT", "RC4", "3DES", "CBC", "kRSA", "DHE", "PSK", "CAMELLIA", "ARIA",
           "AESCCM", "SEED", "IDEA", "MD5", "SHA1")


def ciphers(name):
    """Those of TLS 1.2 that the client's library has under this name."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    try:
        context.set_ciphers(name + ":@SECLEVEL=0")
    except ssl.SSLError:
        return set()
    return {c["name"] for c in context.get_ciphers() if c["protocol"] != "TLSv1.3"}


def accepts(server, certificates, names):
    """The cipher that is chosen of these; None: the handshake is refused."""
    context = certificates.context(maximum_version=ssl.TLSVersion.TLSv1_2)
    context.set_ciphers(":".join(sorted(names)) + ":@SECLEVEL=0")
    try:
        with connect(server, certificates, context) as c:
            return c.sock.tls.cipher()[0]
    except (ssl.SSLError, wire.ProtocolError, ConnectionResetError):
        return None


def test_ciphers_that_are_refused(tls, certificates):
    """All at once, and not one by one, since no cipher at all is chosen."""
    offered = set(re.findall(r"ECDHE-\S+", "ECDHE-ECDSA-AES128-GCM-SHA256 ECDHE-RSA-AES128-GCM-SHA256 "
                             "ECDHE-ECDSA-AES256-GCM-SHA384 ECDHE-RSA-AES256-GCM-SHA384 "
                             "ECDHE-ECDSA-CHACHA20-POLY1305 ECDHE-RSA-CHACHA20-POLY1305"))
    bad = set().union(*(ciphers(name) for name in REFUSED), ciphers("ALL:COMPLEMENTOFALL")) - offered
    assert len(bad) > 20 and accepts(tls, certificates, bad) is None, bad
    assert accepts(tls, certificates, offered) == "ECDHE-ECDSA-AES128-GCM-SHA256"


@pytest.mark.parametrize("args,there,absent", [
    (("-tls1_2",), ("Secure Renegotiation IS supported", "Compression: NONE",
                    "Extended master secret: yes", "TLS session ticket lifetime hint: 3600"),
     ("Secure Renegotiation IS NOT",)),
    (("-tls1_3", "-status"), ("Compression: NONE", "Max Early Data: 0", "OCSP response: no response"),
     ()),
    (("-tls1_3", "-groups", "P-384:X25519"), ("Temp Key: ECDH, secp384r1",), ()),
    (("-tls1_2", "-legacy_renegotiation"), ("Secure Renegotiation IS supported",), ()),
    (("-tls1_3", "-groups", "ffdhe2048"), ("handshake failure",), ("200 OK",)),
    (("-tls1_2", "-cipher", "ALL:@SECLEVEL=0", "-sigalgs", "ECDSA+SHA1"), ("alert",), ("200 OK",)),
    (("-tls1_2", "-no_ticket"), ("200 OK",), ("session ticket lifetime",)),
], ids=range(7))
def test_scanner(tls, args, there, absent):
    said = s_client(tls, *args, data=CLOSE)
    for words in there:
        assert words in said, said
    for words in absent:
        assert words not in said, said


# ---- other programs as clients -----------------------------------------------------------------------

def test_h2load(tls):
    if not shutil.which("h2load"):
        pytest.skip("no h2load")
    done = subprocess.run(["h2load", "--h1", "-n", "200", "-c", "8", "-m", "1",
                           "https://127.0.0.1:%d/pipeline" % tls.addr[1][1]],
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=60)
    assert "200 succeeded, 0 failed" in done.stdout, done.stdout


NGINX = """daemon off; master_process off; pid %(dir)s/pid; error_log %(dir)s/error;
events { worker_connections 64; }
http { access_log off;
  client_body_temp_path %(dir)s/b; proxy_temp_path %(dir)s/p; fastcgi_temp_path %(dir)s/f;
  uwsgi_temp_path %(dir)s/u; scgi_temp_path %(dir)s/s;
  upstream bivalve { server 127.0.0.1:%(port)d; keepalive 4; }
  server { listen unix:%(dir)s/sock;
    location / { proxy_pass https://bivalve; proxy_http_version 1.1; proxy_set_header Connection "";
      proxy_ssl_verify on; proxy_ssl_trusted_certificate %(cert)s; proxy_ssl_name localhost;
      proxy_ssl_server_name on; proxy_ssl_protocols TLSv1.2 TLSv1.3; } } }
"""


def test_behind_nginx(tls, certificates, tmp_path):
    """nginx speaks TLS to it, and keeps its connections and its sessions."""
    nginx = shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin")
    if not nginx:
        pytest.skip("no nginx")
    (tmp_path / "conf").write_text(NGINX % {"dir": tmp_path, "cert": certificates.cert,
                                            "port": tls.addr[1][1]})
    before = tls.stats()
    process = subprocess.Popen([nginx, "-p", str(tmp_path), "-c", str(tmp_path / "conf")],
                               stderr=subprocess.DEVNULL)
    try:
        path = str(tmp_path / "sock")
        wire.wait_until("nginx", lambda: os.path.exists(path))
        answers = []
        for i in range(20):
            s = socket.socket(socket.AF_UNIX)
            s.settimeout(wire.HANG_S)
            s.connect(path)
            s.sendall(b"POST /upload HTTP/1.0\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n" % (i * 5000) +
                      b"x" * (i * 5000))
            answers.append(read_all(s).rpartition(b"\r\n\r\n")[2])
            s.close()
        assert answers == [b"%d" % (i * 5000) for i in range(20)]
    finally:
        process.terminate()
        process.wait()
    rises(tls, before=before, requests=20, tls_handshakes=1)
    assert tls.stats()["tls_handshakes"] - before["tls_handshakes"] < 20, "nginx keeps connections"


# ---- alerts ------------------------------------------------------------------------------------------

def alert(level, number):
    return struct.pack("!BHHBB", 21, 0x0303, 2, level, number)


@pytest.mark.parametrize("data", [alert(1, 0), alert(2, 40), alert(1, 90), alert(3, 255), alert(1, 112),
                                  alert(1, 90) * 200, b"\x15\x03\x03\x00\x00",
                                  b"\x15\x03\x03\x00\x01\x01"], ids=range(8))
@pytest.mark.parametrize("state", ["first", "half a hello", "hello"])
def test_alerts(tls, certificates, state, data):
    """In the clear, before and in the handshake: it ends, at once or when the client does, and no other."""
    h = hello(certificates.context())
    s = raw(tls)
    try:
        s.sendall({"first": b"", "half a hello": h[:len(h) // 2], "hello": h}[state])
        if state == "hello":
            assert s.recv(5)[0] == 22
        s.sendall(data)
        s.shutdown(socket.SHUT_WR)
        read_all(s)
    except OSError:
        pass
    s.close()
    with connect(tls, certificates) as c:
        assert c.request(GET).body == b"55"


def test_why_is_logged(start, certificates):
    """In OpenSSL's words, and not as often as it happens."""
    server = start(*certificates.options, "--log-level", "info", listen=LISTEN, workers=1)
    stranger = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    for _ in range(60):
        with pytest.raises(ssl.SSLError):
            connect(server, certificates, stranger)
    rises(server, before=dict.fromkeys(server.stats(), 0), tls_failed=60)
    wire.wait_until("a reason", lambda: re.search(r"TLS: connection \d+ .*unknown ca", server.log()))
    assert 1 <= server.log().count("unknown ca") < 60


# ---- long certificates -------------------------------------------------------------------------------

def test_long_chain(start, certificates, tmp_path):
    """A chain that is longer than a block of output, to clients that read slowly, and never. A client that
    sends one of that length itself is refused."""
    chain = str(tmp_path / "chain")
    with open(certificates.cert) as one, open(chain, "w") as f:
        f.write(one.read() * 60)
    server = start("--tls-cert", chain, "--tls-key", certificates.key, listen=LISTEN)
    for version in ("TLSv1_2", "TLSv1_3"):
        v = getattr(ssl.TLSVersion, version)
        context = certificates.context(minimum_version=v, maximum_version=v)
        with connect(server, certificates, context, rcvbuf=2048) as c:
            assert c.request(GET).body == b"55"
    for _ in range(20):
        s = raw(server)
        s.sendall(hello(certificates.context()))
        s.close()
    s = raw(server)
    record = b"\x0b" + (200000).to_bytes(3, "big") + b"x" * 16000    # Certificate, RFC 8446 section 4.4.2
    try:
        s.sendall(hello(certificates.context()))
        for _ in range(30):
            s.sendall(b"\x16\x03\x03" + len(record).to_bytes(2, "big") + record)
    except OSError:
        pass
    s.close()
    rises(server, before=dict.fromkeys(server.stats(), 0), tls_failed=1)
    with connect(server, certificates) as c:
        assert c.request(GET).body == b"55"
