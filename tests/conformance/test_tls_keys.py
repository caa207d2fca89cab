# SPDX-License-Identifier: MIT
"""Keys and certificates of a server that runs: taken up anew by SIGHUP, which clients' tickets outlive,
and nowhere but in the processes that need them."""

import os
import re
import shutil
import signal
import ssl
import subprocess
import types

import pytest

import wire
from test_reload import reload
from test_tls import CLOSE, GET, LISTEN, connect, ocsp_response, s_client


class Pair:
    """A pair that changes: files of its own, with the contents of others."""

    def __init__(self, directory, certificates):
        self.cert, self.key = str(directory / "cert"), str(directory / "key")
        self.options = ("--tls-cert", self.cert, "--tls-key", self.key)
        self.take(certificates.cert, certificates.key)

    def take(self, cert=None, key=None):
        """By a rename, as certbot does it."""
        for path, to in ((cert, self.cert), (key, self.key)):
            if path:
                shutil.copy(path, to + ".new")
                os.chmod(to + ".new", 0o600)
                os.rename(to + ".new", to)


@pytest.fixture
def pair(tmp_path, certificates):
    return Pair(tmp_path, certificates)


def any_context(certificates):
    context = certificates.context(check_hostname=False)
    context.verify_mode = ssl.CERT_NONE
    return context


def served(server, certificates):
    """The certificate that clients get, DER."""
    with connect(server, certificates, any_context(certificates)) as c:
        assert c.request(GET).body == b"55"
        return c.sock.tls.getpeercert(True)


def serves(server, certificates, path):
    """Clients get this certificate, as soon as the workers of before accept none any more."""
    with open(path) as f:
        want = ssl.PEM_cert_to_DER_cert(f.read())
    wire.wait_until(path, lambda: served(server, certificates) == want)


def test_reload(start, certificates, pair):
    """A new pair is taken up; who is connected stays. A pair that is none leaves the old one."""
    server = start(*pair.options, listen=LISTEN)
    other = certificates.make("reload", "DNS:localhost")
    serves(server, certificates, certificates.cert)
    with connect(server, certificates) as old:
        pair.take(*other)
        reload(server)
        assert old.request(GET).body == b"55"
    serves(server, certificates, other[0])
    for broken in ({"key": certificates.key}, {"cert": certificates.cert, "key": __file__},
                   {"cert": __file__}):
        pair.take(*other)
        pair.take(**broken)
        reload(server, "reload failed: --tls-")
        serves(server, certificates, other[0])
    pair.take(certificates.cert, certificates.key)
    reload(server)
    serves(server, certificates, certificates.cert)


def test_reload_of_an_ocsp_response(start, certificates, tmp_path):
    """A new one is stapled after a reload; one that is none leaves the old one."""
    out = ocsp_response(certificates, tmp_path)
    server = start(*certificates.options, "--tls-ocsp", out, listen=LISTEN)

    def stapled(status):
        wire.wait_until(status, lambda: "Cert Status: " + status in s_client(server, "-status", data=CLOSE))

    stapled("good")
    ocsp_response(certificates, tmp_path, "R\t351231235959Z\t251231235959Z")
    reload(server)
    stapled("revoked")
    with open(out, "w") as f:
        f.write("<html>404 Not Found</html>")
    reload(server, "reload failed: --tls-ocsp")
    stapled("revoked")
    assert "the certificate has been revoked" in server.log()
    ocsp_response(certificates, tmp_path, None)
    reload(server)
    wire.wait_until("nothing stapled", lambda: "no response sent" in s_client(server, "-status", data=CLOSE))
    assert "the authority does not know the certificate" in server.log()


def test_ocsp_response_about_another_certificate(start, certificates, tmp_path):
    """As after a renewal, until there is a new one: served, with a warning, and nothing is stapled."""
    out = ocsp_response(certificates, tmp_path, serial="4711")
    server = start(*certificates.options, "--tls-ocsp", out, listen=LISTEN)
    assert "the response is about another certificate" in server.log()
    assert "OCSP response: no response sent" in s_client(server, "-status", data=CLOSE)
    ocsp_response(certificates, tmp_path)
    reload(server)
    wire.wait_until("it to be stapled", lambda: "Cert Status: good" in s_client(server, "-status", data=CLOSE))


def test_ocsp_response_of_another_authority(start, certificates, tmp_path):
    """It has a certificate with our serial number: that is not ours."""
    out = ocsp_response(certificates, tmp_path, issuer=certificates.make("authority")[0])
    server = start(*certificates.options, "--tls-ocsp", out, listen=LISTEN)
    assert "the response is about another certificate" in server.log()
    assert "OCSP response: no response sent" in s_client(server, "-status", data=CLOSE)


def test_ocsp_response_without_the_authority(start, certificates, tmp_path):
    """Its certificate is not in the file: the serial number is compared, and a warning says so."""
    ca, ca_key = certificates.make("signer")
    leaf = types.SimpleNamespace(cert=str(tmp_path / "leaf.pem"), key=str(tmp_path / "leaf.key"))
    request = tmp_path / "request"
    subprocess.run(["openssl", "req", "-nodes", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256",
                    "-subj", "/CN=leaf", "-keyout", leaf.key, "-out", str(request)],
                   check=True, stdin=subprocess.DEVNULL)
    subprocess.run(["openssl", "x509", "-req", "-in", str(request), "-CA", ca, "-CAkey", ca_key,
                    "-set_serial", "0x4711", "-days", "2", "-out", leaf.cert], check=True)
    os.chmod(leaf.key, 0o600)
    out = ocsp_response(leaf, tmp_path, issuer=ca)
    options = ("--tls-cert", leaf.cert, "--tls-key", leaf.key, "--tls-ocsp", out)
    server = start(*options, listen=LISTEN)
    assert "by its serial number alone" in server.log()
    assert "Cert Status: good" in s_client(server, "-status", data=CLOSE)
    with open(leaf.cert, "a") as chain, open(ca) as f:
        chain.write(f.read())
    done = wire.run("--test", "--tls-listen", "127.0.0.1:0", *options)
    assert done.returncode == 0 and "--tls-ocsp" not in done.stderr, done


@pytest.mark.parametrize("version", ["TLSv1_2", "TLSv1_3"])
def test_tickets_outlive_a_reload(start, certificates, version):
    server = start(*certificates.options, listen=LISTEN)
    v = getattr(ssl.TLSVersion, version)
    context = certificates.context(minimum_version=v, maximum_version=v)
    session = None
    for _ in range(3):
        with connect(server, certificates, context, session=session) as c:
            assert c.request(GET).body == b"55"
            assert c.sock.tls.session_reused == (session is not None)
            session = c.sock.tls.session
        reload(server)


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root")
def test_reload_without_privileges(start, certificates, pair):
    """The key is root's alone and the server nobody's: it keeps the key, and takes a new certificate
    for it; a certificate for another key it cannot take."""
    os.chmod(os.path.dirname(pair.key), 0o755)
    server = start(*pair.options, "--user", "nobody", listen=LISTEN)
    new = os.path.join(certificates.dir, "renewed.pem")
    subprocess.run(["openssl", "req", "-x509", "-key", pair.key, "-days", "2", "-subj", "/CN=renewed",
                    "-addext", "subjectAltName=DNS:localhost", "-out", new], check=True)
    pair.take(cert=new)
    os.chmod(pair.cert, 0o644)
    path = os.path.dirname(pair.cert)
    while path != "/":                 # nobody may go there
        os.chmod(path, os.stat(path).st_mode | 0o111)
        path = os.path.dirname(path)
    reload(server)
    assert "the key that was read at the start is kept" in server.log()
    serves(server, certificates, new)
    pair.take(cert=certificates.make("stranger", "DNS:localhost")[0])
    os.chmod(pair.cert, 0o644)
    reload(server, "reload failed: --tls-key")
    serves(server, certificates, new)


# ---- where the key is ------------------------------------------------------------------------------

def secrets_of(key):
    """The private key, in the forms that it has in memory and in files."""
    said = subprocess.run(["openssl", "pkey", "-in", key, "-noout", "-text"], check=True,
                          stdout=subprocess.PIPE, text=True).stdout
    digits = re.search(r"priv:\n([\s0-9a-f:]+?)pub:", said).group(1)
    number = bytes.fromhex(re.sub(r"[\s:]", "", digits))[-32:].rjust(32, b"\0")
    with open(key, "rb") as f:
        lines = f.read().splitlines()
    return {"number": number, "reversed": number[::-1], "text": lines[1][:48]}


def found_in(pid, secrets):
    """Which of them lie in the memory of the process."""
    found = set()
    with open("/proc/%d/maps" % pid) as maps, open("/proc/%d/mem" % pid, "rb", 0) as mem:
        for line in maps:
            span, mode = line.split()[:2]
            if "w" not in mode:
                continue
            at, end = (int(x, 16) for x in span.split("-"))
            try:
                mem.seek(at)
                data = mem.read(min(end - at, 1 << 26))
            except OSError:
                continue
            found.update(name for name, value in secrets.items() if value in data)
    return found


def name_of(pid):
    with open("/proc/%d/comm" % pid) as f:
        return f.read().strip()


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root")
def test_where_the_key_is(start, certificates, tmp_path):
    """In the supervisor and the workers, as a number; not in the other processes, not as text, not in a
    log, and in no core of any of them."""
    server = start(*certificates.options, "--admin", "127.0.0.1:0", "--access-log",
                   str(tmp_path / "access"), "--log-level", "debug", listen=LISTEN)
    reload(server)
    for _ in range(10):
        serves(server, certificates, certificates.cert)
    wire.wait_until("the old workers to end", lambda: len(server.workers()) == 4)
    secrets = secrets_of(certificates.key)
    others = [p for p in server.workers() if name_of(p) in ("bivalve-admin", "bivalve-log")]
    workers = [p for p in server.workers() if p not in others]
    assert len(workers) == len(others) == 2
    for pid in workers + [server.pid]:
        found = found_in(pid, secrets)
        assert found & {"number", "reversed"}, "this test finds nothing"
        assert "text" not in found
        assert os.stat("/proc/%d/environ" % pid).st_uid == 0
    for pid in others:
        assert not found_in(pid, secrets), pid
    logs = server.log().encode() + (tmp_path / "access").read_bytes()
    assert not any(value in logs for value in secrets.values())
