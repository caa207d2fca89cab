# SPDX-License-Identifier: MIT
"""TLS for wire.py: a socket that speaks it, and certificates.

The socket is a client's, by Python's ssl on memory, so that a test decides what goes over the wire
and when. It is strict: an end of the connection without close_notify is an error.
"""

import os
import shutil
import socket
import ssl
import subprocess
import tempfile

import wire

# More options of a server with TLS: `WIRE_TLS_OPTIONS="--tls-ktls on"`, where the kernel has it.
EXTRA = tuple(os.environ.get("WIRE_TLS_OPTIONS", "").split())
NAMES = ("localhost", "127.0.0.1")


class Truncated(wire.ProtocolError):
    """The server ended the connection without a close_notify."""


class Certificates:
    """What bivalve --make-test-cert makes; removed by close()."""

    def __init__(self):
        self.dir = tempfile.mkdtemp(prefix="bivalve-tls-", dir=wire.TMP)
        done = wire.run("--make-test-cert", self.dir)
        assert done.returncode == 0, done.stderr
        self.cert = os.path.join(self.dir, "cert.pem")
        self.key = os.path.join(self.dir, "key.pem")
        self.options = ("--tls-cert", self.cert, "--tls-key", self.key, *EXTRA)

    def make(self, name, names="DNS:other.test", rsa=False):
        """Another pair, by openssl; (certificate, key)."""
        cert, key = (os.path.join(self.dir, name + end) for end in (".pem", ".key"))
        kind = ["rsa:2048"] if rsa else ["ec", "-pkeyopt", "ec_paramgen_curve:P-256"]
        subprocess.run(["openssl", "req", "-x509", "-nodes", "-newkey"] + kind +
                       ["-days", "2", "-subj", "/CN=test", "-addext", "subjectAltName=" + names,
                        "-keyout", key, "-out", cert], check=True, stdin=subprocess.DEVNULL,
                       stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        return cert, key

    def context(self, **more):
        """A client's context that trusts ours and nobody else."""
        c = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        c.load_verify_locations(self.cert)
        for name, value in more.items():
            setattr(c, name, value)
        return c

    def close(self):
        shutil.rmtree(self.dir, ignore_errors=True)


def available():
    return "TLS: OpenSSL" in wire.run("--version").stdout


class TlsSocket:
    """What of a socket wire.Client and wire.Exchange use, with TLS in between."""

    def __init__(self, sock, context, host="localhost", session=None):
        self.raw = sock
        self.incoming, self.outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.tls = context.wrap_bio(self.incoming, self.outgoing, server_hostname=host,
                                    session=session)
        self.ended = False
        self._handshake()

    def _flush(self):
        data = self.outgoing.read()
        if data:
            blocking = self.raw.gettimeout()
            self.raw.settimeout(wire.HANG_S)
            try:
                self.raw.sendall(data)
            finally:
                self.raw.settimeout(blocking)

    def _handshake(self):
        while True:
            try:
                self.tls.do_handshake()
                self._flush()
                return
            except ssl.SSLWantReadError:
                self._flush()
                data = self.raw.recv(65536)
                if not data:
                    raise Truncated("closed in the handshake")
                self.incoming.write(data)
            except ssl.SSLError:
                try:
                    self._flush()
                except OSError:
                    pass
                raise

    def send(self, data):
        n = self.tls.write(data) if data else 0
        self._flush()
        return n

    def sendall(self, data):
        while data:
            data = data[self.send(data):]

    def recv(self, limit):
        while not self.ended:
            try:
                return self.tls.read(limit)
            except ssl.SSLZeroReturnError:
                self.ended = True
            except ssl.SSLWantReadError:
                data = self.raw.recv(262144)       # BlockingIOError goes to the caller
                if not data:
                    raise Truncated("closed without close_notify")
                self.incoming.write(data)
        # Behind the close_notify comes the end of the connection, and nothing else.
        data = self.raw.recv(262144)
        if data:
            raise wire.ProtocolError("bytes behind the close_notify")
        return b""

    def shutdown(self, how):
        assert how == socket.SHUT_WR
        try:
            self.tls.unwrap()
        except ssl.SSLError:
            pass                                    # it waits for the peer's
        self._flush()
        self.raw.shutdown(how)

    def fileno(self):
        return self.raw.fileno()

    def setblocking(self, on):
        self.raw.setblocking(on)

    def settimeout(self, seconds):
        self.raw.settimeout(seconds)

    def setsockopt(self, *args):
        self.raw.setsockopt(*args)

    def close(self):
        self.raw.close()


class Exchange(wire.Exchange):
    """An Exchange over TLS. `wrapper` makes the socket."""

    wrapper = None

    def wrap(self, sock):
        return self.wrapper(sock)

    def pull(self):
        try:
            # One record at a time is what a read gives; more of them may have come.
            while not self.done:
                before = len(self.got)
                super().pull()
                if len(self.got) == before:
                    return
        except Truncated as e:
            self.error = self.error or str(e)
            self.eof = self.done = True
        except wire.ProtocolError as e:
            self.error = self.error or str(e)
            self.done = True
