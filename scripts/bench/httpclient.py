# SPDX-License-Identifier: MIT
"""A plain blocking HTTP/1.1 client, and the check that a server answers a profile correctly before
it is measured."""
import socket
import ssl

TIMEOUT_S = 10.0
RESPONSE_MAX = 64 << 20


class Wrong(Exception):
    """The server's answer is wrong, or there is none."""


class Response:
    """status, headers (lower-case names), body, and raw_len: all bytes of it on the wire."""

    def __init__(self, status, headers, body, raw_len):
        self.status, self.headers, self.body, self.raw_len = status, headers, body, raw_len

    def coding(self):
        return self.headers.get("content-encoding", "").lower()

    def closes(self):
        return "close" in self.headers.get("connection", "").lower()


def anyone():
    """TLS with whoever it is: the certificate was made for this measurement."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


class Client:
    """One connection."""

    def __init__(self, port, host="127.0.0.1", tls=False):
        try:
            self.sock = socket.create_connection((host, port), TIMEOUT_S)
        except OSError as e:
            raise Wrong(f"cannot connect to {host}:{port}: {e.strerror or e}") from None
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if tls:
            try:
                self.sock = anyone().wrap_socket(self.sock)
            except OSError as e:  # ssl's are
                self.sock.close()
                raise Wrong(f"no TLS on port {port}: {e}") from None
        self.buf = b""

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.sock.close()

    def send(self, data):
        try:
            self.sock.sendall(data)
        except OSError as e:
            raise Wrong(f"sending failed: {e.strerror or e}") from None

    def _more(self):
        try:
            data = self.sock.recv(1 << 16)
        except OSError as e:
            raise Wrong(f"no answer: {e.strerror or e}") from None
        if len(self.buf) > RESPONSE_MAX:
            raise Wrong("the answer does not end")
        self.buf += data
        return bool(data)

    def _need(self, n):
        while len(self.buf) < n:
            if not self._more():
                raise Wrong(f"connection closed after {len(self.buf)} bytes where {n} were due")

    def _until(self, mark, start):
        while True:
            at = self.buf.find(mark, start)
            if at >= 0:
                return at
            if not self._more():
                raise Wrong(
                    "connection closed within an answer"
                    if self.buf
                    else "connection closed without an answer"
                )

    def read(self):
        """The next Response."""
        head_end = self._until(b"\r\n\r\n", 0) + 4
        lines = self.buf[: head_end - 4].decode("latin-1").split("\r\n")
        words = lines[0].split(" ", 2)
        if len(words) < 2 or not words[0].startswith("HTTP/1.") or not words[1].isdigit():
            raise Wrong(f"not HTTP: {lines[0][:60]!r}")
        headers = {}
        for line in lines[1:]:
            name, _, value = line.partition(":")
            headers[name.lower()] = value.strip()
        body, end = self._body(int(words[1]), headers, head_end)
        self.buf = self.buf[end:]
        return Response(int(words[1]), headers, body, end)

    def _body(self, status, headers, at):
        if "chunked" in headers.get("transfer-encoding", "").lower():
            return self._chunks(at)
        if "content-length" in headers:
            n = int(headers["content-length"])
            self._need(at + n)
            return self.buf[at : at + n], at + n
        if status in (204, 304):
            return b"", at
        raise Wrong(
            "neither Content-Length nor chunked: the answer has no end that a kept connection"
            " could see"
        )

    def _chunks(self, at):
        body = b""
        while True:
            eol = self._until(b"\r\n", at)
            try:
                n = int(self.buf[at:eol].split(b";")[0], 16)
            except ValueError:
                raise Wrong(f"bad chunk size {self.buf[at:eol][:20]!r}") from None
            self._need(eol + 2 + n + 2)
            body += self.buf[eol + 2 : eol + 2 + n]
            at = eol + 2 + n + 2
            if n == 0:
                return body, at

    def at_end(self):
        """Whether the server closed."""
        if self.buf:
            return False
        try:
            return self.sock.recv(1) == b""
        except ConnectionResetError:
            return True
        except OSError:
            return False


def ask(client, request):
    """Send one request, read its answer, insist that it is right."""
    client.send(request.raw())
    response = client.read()
    fault = request.fault(response.status, response.body, response.coding())
    if fault:
        raise Wrong(f"{request.method} {request.target} ({request.name}): {fault}")
    return response


def check_profile(port, profile, server_closes, host="127.0.0.1"):
    """Insist that the server answers every request of the profile, in the way the load will ask.

    Returns {"sizes": {request name: bytes of its response}, "bytes_per_response": what an even mix
    must average}. `server_closes`: the server, not the load generator, ends connections after
    profile.per_connection requests.
    """
    sizes = {}
    with Client(port, host, profile.tls) as c:
        for request in profile.requests:
            if server_closes and len(sizes) >= profile.per_connection - 1:
                break
            sizes[request.name] = ask(c, request).raw_len
    if profile.pipeline > 1:
        check_pipeline(port, profile, host)
    per_response = sum(sizes.values()) / len(sizes)
    if profile.per_connection:
        per_response += check_limit(port, profile, sizes, server_closes, host)
    return {"sizes": sizes, "bytes_per_response": per_response}


def check_pipeline(port, profile, host):
    request = profile.requests[0]
    with Client(port, host, profile.tls) as c:
        c.send(request.raw() * profile.pipeline)
        for i in range(profile.pipeline):
            response = c.read()
            fault = request.fault(response.status, response.body, response.coding())
            if fault:
                raise Wrong(
                    f"answer {i + 1} of {profile.pipeline} pipelined {request.target}: {fault}"
                )


def check_limit(port, profile, sizes, server_closes, host):
    """A connection's worth of requests; returns what a closing answer adds, per response."""
    extra = 0
    with Client(port, host, profile.tls) as c:
        for i in range(profile.per_connection):
            request = profile.requests[i % len(profile.requests)]
            response = ask(c, request)
            extra += response.raw_len - sizes.get(request.name, response.raw_len)
            if response.closes() and i + 1 < profile.per_connection:
                raise Wrong(
                    f"the server closes after {i + 1} requests, not {profile.per_connection}"
                )
        if server_closes:
            c.sock.settimeout(2.0)
            if not response.closes() and not c.at_end():
                raise Wrong(
                    f"the server keeps a connection open after {profile.per_connection} requests;"
                    " wrk needs it closed: put {max_requests} into the server's command, or"
                    " use --generator bivalve-load, which closes by itself"
                )
    return extra / profile.per_connection
