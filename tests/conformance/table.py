# SPDX-License-Identifier: MIT
"""The conformance table: what RFC 9110 and RFC 9112 ask of an origin server for HTTP/1.x, and the
choices bivalve makes where they leave room (README and doc/ say which).  One entry, one case.

An entry is a stream of bytes for one connection and what must come of it:

  section, level   the RFC and section, MUST or SHOULD (or OURS: a promise of this server alone)
  name             unique, what is tried
  data             the bytes
  want             the statuses of the final responses in order; a set where several are right; a
                   tuple `Either` of such lists where even their number may differ
  close            KEEP: the connection stays and the very next bytes are read as a request
                   CLOSE: announced with `Connection: close`, done, without a reset, and whatever
                   follows on the connection is never answered
                   ANY: either, so long as what the response announces is what happens
  body             what the last answer's body must be (bytes), None: not looked at
  half             the client sends FIN behind its last byte
  allow            methods that Allow must name
  heads            indexes of the answers that answer a HEAD
  interim          the 1xx that may precede: () none, (100,) at most one

Every case runs whole, byte by byte, and (where it ends in a close) followed by a valid request in
the same segment, on every backend.
"""

KEEP, CLOSE, ANY = "keep", "close", "any"
MUST, SHOULD, OURS = "MUST", "SHOULD", "OURS"


class Either(tuple):
    """Alternatives of whole lists of statuses."""


class Case:
    def __init__(self, section, level, name, data, want, close=KEEP, body=None, half=False,
                 allow=(), heads=(), interim=()):
        self.section = section
        self.level = level
        self.name = name
        self.data = data.encode("latin-1") if isinstance(data, str) else data
        if isinstance(want, Either):
            self.want = [[_set(s) for s in alternative] for alternative in want]
        elif isinstance(want, list):
            self.want = [[_set(s) for s in want]]
        else:
            self.want = [[_set(want)]]
        self.close = close
        self.body = body
        self.half = half
        self.allow = frozenset(allow)
        self.heads = tuple(heads)
        self.interim = tuple(interim)

    @property
    def id(self):
        return "%s-%s" % (self.section, self.name)

    @property
    def responses(self):
        return max(len(w) for w in self.want)


def _set(s):
    return frozenset(s) if isinstance(s, (set, frozenset)) else frozenset([s])


CASES = []
H = "Host: localhost\r\n"


def case(section, level, name, data, want, close=KEEP, **more):
    CASES.append(Case(section, level, name, data, want, close, **more))


def get(target="/pipeline", fields="", version="HTTP/1.1", host=H, method="GET"):
    return "%s %s %s\r\n%s%s\r\n" % (method, target, version, host, fields)


def post(fields, body="", target="/baseline11?a=13&b=42", version="HTTP/1.1", host=H):
    return "POST %s %s\r\n%s%s\r\n%s" % (target, version, host, fields, body)


def chunked(body, fields="Transfer-Encoding: chunked\r\n", **more):
    return post(fields, body, **more)


def slug(text):
    out = "".join(c if c.isalnum() or c in "-._" else "x%02x" % ord(c) for c in text)
    return out[:40]


# -- 9112 2.1, 2.2: message format, line ends --------------------------------------------------

case("9112-2.1", MUST, "plain-get", get(), 200, body=b"ok")
case("9112-2.2", SHOULD, "one-empty-line-first", "\r\n" + get(), 200, body=b"ok")
case("9112-2.2", SHOULD, "two-empty-lines-first", "\r\n\r\n" + get(), {200, 400}, ANY)
case("9112-2.2", SHOULD, "empty-line-between-requests", get() + "\r\n" + get(), [200, 200])
case("9112-2.2", SHOULD, "empty-line-behind-body",
     post("Content-Length: 2\r\n", "20") + "\r\n" + get(), [200, 200], body=b"ok")
case("9112-2.2", SHOULD, "empty-line-behind-chunked-body",
     chunked("2\r\n20\r\n0\r\n\r\n") + "\r\n" + get(), [200, 200], body=b"ok")
case("9112-2.2", MUST, "bare-lf-request-line",
     "GET /pipeline HTTP/1.1\n" + H + "\r\n", 400, CLOSE)
case("9112-2.2", MUST, "bare-lf-field-line",
     "GET /pipeline HTTP/1.1\r\nHost: localhost\nX: y\r\n\r\n", 400, CLOSE)
case("9112-2.2", MUST, "bare-lf-last-field-line",
     "GET /pipeline HTTP/1.1\r\nHost: localhost\n\r\n", 400, CLOSE)
case("9112-2.2", MUST, "bare-lf-ends-head",
     "GET /pipeline HTTP/1.1\r\nHost: localhost\r\n\n", 400, CLOSE)
case("9112-2.2", MUST, "bare-lf-everywhere",
     "GET /pipeline HTTP/1.1\nHost: localhost\n\n", 400, CLOSE)
case("9112-2.2", MUST, "bare-lf-before-request", "\n" + get(), 400, CLOSE)
case("9112-2.2", MUST, "bare-cr-before-request", "\r" + get(), 400, CLOSE)
case("9112-2.2", MUST, "bare-cr-ends-request-line",
     "GET /pipeline HTTP/1.1\r" + H + "\r\n", 400, CLOSE)
case("9112-2.2", MUST, "bare-cr-in-request-line",
     "GET /pipe\rline HTTP/1.1\r\n" + H + "\r\n", 400, CLOSE)
case("9112-2.2", MUST, "bare-cr-behind-method",
     "GET\r /pipeline HTTP/1.1\r\n" + H + "\r\n", 400, CLOSE)
case("9112-2.2", MUST, "bare-cr-in-value", get(fields="X: a\rb\r\n"), 400, CLOSE)
case("9112-2.2", MUST, "bare-cr-in-name", get(fields="X\rY: a\r\n"), 400, CLOSE)
case("9112-2.2", MUST, "cr-cr-lf", get(fields="X: a\r\r\n"), 400, CLOSE)
case("9112-2.2", MUST, "bare-cr-starts-field-line", get(fields="\rX: a\r\n"), 400, CLOSE)
case("9112-2.2", MUST, "bare-cr-ends-head",
     "GET /pipeline HTTP/1.1\r\n" + H + "\r\rX", 400, CLOSE)
case("9112-2.2", MUST, "bare-cr-hides-request-in-value",
     get(fields="X: a\rGET /pipeline HTTP/1.1\r\n"), 400, CLOSE)
case("9112-2.2", MUST, "space-before-first-field",
     "GET /pipeline HTTP/1.1\r\n " + H + "\r\n", 400, CLOSE)
case("9112-2.2", MUST, "tab-before-first-field",
     "GET /pipeline HTTP/1.1\r\n\t" + H + "\r\n", 400, CLOSE)
case("9112-2.2", MUST, "blank-line-before-first-field",
     "GET /pipeline HTTP/1.1\r\n \r\n" + H + "\r\n", 400, CLOSE)
case("9112-2.2", MUST, "smuggling-by-space-before-first-field",
     "GET /pipeline HTTP/1.1\r\n X: y\r\n" + H + "\r\n", 400, CLOSE)
case("9112-2.2", SHOULD, "binary-garbage", bytes(range(128, 256)) + b"\r\n\r\n", 400, CLOSE)
case("9112-2.2", SHOULD, "tls-client-hello",
     b"\x16\x03\x01\x00\xa5\x01\x00\x00\xa1\x03\x03" + bytes(range(64)) + b"\r\n\r\n", 400, CLOSE)
case("9112-2.2", SHOULD, "blank-request-line", "   \r\n\r\n", 400, CLOSE)

# -- 9112 2.3: version -------------------------------------------------------------------------

for version in ("HTTP/1", "HTTP/01.01", "HTTP/1.10", "http/1.1", "Http/1.1", "HTTP/1.1x",
                "HTTP/ 1.1", "HTTP/.1", "HTTP/1.", "HTTP/1,1", "HTTP1.1", "HTTP/-1.1", "HTTP/1.-1",
                "XTTP/1.1", "HTTPS/1.1", "HTTP/11.1", "HTTP//1.1", "HTTP/1.1.1", "HTTP/a.b", "HTTP/",
                "HTTP", "H", "HTTP/1.1\t", "HTTP/+1.1", "HTTP\\1.1", "HTTP/0x1.1", "HTTP/1.A",
                "HTTP/257.1", "HTTP/4294967297.1", "HTTP/....1.1", "HTTP/\r\r1.1", "HTTPX/1.1", "XHTTP/1.1",
                "ICE/1.0", "RTSP/1.0"):
    case("9112-2.3", MUST, "malformed-version-" + slug(version), get(version=version), 400, CLOSE)
for version in ("HTTP/2.0", "HTTP/2.1", "HTTP/3.0", "HTTP/9.9"):
    case("9112-2.3", SHOULD, "major-version-" + version[5:], get(version=version), 505, CLOSE)
case("9112-2.3", SHOULD, "major-version-0.9", get(version="HTTP/0.9"), {400, 505}, CLOSE)
case("9112-2.3", SHOULD, "major-version-0.0", get(version="HTTP/0.0"), {400, 505}, CLOSE)
case("9110-2.5", SHOULD, "minor-version-1.2", get(version="HTTP/1.2"), 200, body=b"ok")
case("9110-2.5", SHOULD, "minor-version-1.9", get(version="HTTP/1.9"), 200, body=b"ok")
case("9110-2.5", MUST, "minor-version-1.2-chunked",
     chunked("2\r\n20\r\n0\r\n\r\n", version="HTTP/1.2"), 200, body=b"75")
case("9112-3", MUST, "version-missing", "GET /pipeline\r\n" + H + "\r\n", 400, CLOSE)
case("9112-3", MUST, "version-missing-space", "GET /pipeline \r\n" + H + "\r\n", 400, CLOSE)
case("9112-3", MUST, "http09-simple-request", "GET /pipeline\r\n\r\n", 400, CLOSE)
case("9112-3", MUST, "http09-simple-request-of-one-line", "GET /pipeline\r\n", 400, CLOSE)
case("9112-2.3", SHOULD, "h2-preface", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", {400, 505}, CLOSE)
case("9112-2.3", SHOULD, "h2-preface-method-in-1.1", get("*", method="PRI"), {400, 501, 505}, CLOSE)

# -- 9112 3: request line ----------------------------------------------------------------------

case("9112-3", SHOULD, "two-spaces-behind-method", "GET  /pipeline HTTP/1.1\r\n" + H + "\r\n",
     400, CLOSE)
case("9112-3", SHOULD, "two-spaces-behind-target", "GET /pipeline  HTTP/1.1\r\n" + H + "\r\n",
     400, CLOSE)
case("9112-3", SHOULD, "space-behind-version", "GET /pipeline HTTP/1.1 \r\n" + H + "\r\n",
     400, CLOSE)
case("9112-3", SHOULD, "space-before-method", " GET /pipeline HTTP/1.1\r\n" + H + "\r\n",
     400, CLOSE)
case("9112-3", SHOULD, "tab-behind-method", "GET\t/pipeline HTTP/1.1\r\n" + H + "\r\n", 400, CLOSE)
case("9112-3", SHOULD, "tab-behind-target", "GET /pipeline\tHTTP/1.1\r\n" + H + "\r\n", 400, CLOSE)
for c in "\x0b\x0c\x85\xa0":
    case("9112-3", SHOULD, "other-white-space-behind-method-" + slug(c),
         "GET%s/pipeline HTTP/1.1\r\n%s\r\n" % (c, H), 400, CLOSE)
case("9112-3", MUST, "target-missing", "GET HTTP/1.1\r\n" + H + "\r\n", 400, CLOSE)
case("9112-3", MUST, "target-empty", "GET  HTTP/1.1\r\n" + H + "\r\n", 400, CLOSE)
case("9112-3", MUST, "method-only", "GET\r\n" + H + "\r\n", 400, CLOSE)
case("9112-3", MUST, "method-empty", "/pipeline HTTP/1.1\r\n" + H + "\r\n", 400, CLOSE)
case("9112-3", SHOULD, "word-before-request-line", "junk" + get(), 501, CLOSE)
case("9112-3", SHOULD, "words-before-request-line", "more junk" + get(), {400, 501},
     CLOSE)
case("9112-3", SHOULD, "bare-lf-for-a-space", "GET /pipeline\nHTTP/1.1\r\n" + H + "\r\n", 400, CLOSE)
case("9112-3", SHOULD, "four-words", "GET /pipeline x HTTP/1.1\r\n" + H + "\r\n", 400, CLOSE)
case("9112-3", SHOULD, "request-line-of-8000",
     get("/pipeline?" + "x" * (8000 - len("GET /pipeline? HTTP/1.1"))), 200, body=b"ok")
case("9112-3", OURS, "target-of-8192", get("/pipeline?" + "x" * (8192 - 10)), 200, body=b"ok")
case("9112-3", MUST, "target-of-8193", get("/pipeline?" + "x" * (8193 - 10)), 414, CLOSE)
case("9112-3", MUST, "target-of-60000", get("/pipeline?" + "x" * 60000), 414, CLOSE)
case("9112-3", MUST, "target-of-8193-absolute",
     get("http://localhost/pipeline?" + "x" * (8193 - 26)), 414, CLOSE)
case("9112-3", SHOULD, "method-of-60000", get(method="A" * 60000), {400, 501}, CLOSE)
case("9112-3", SHOULD, "target-that-never-ends", "GET /" + "a" * 20000, 414, CLOSE)
case("9112-3", SHOULD, "method-that-never-ends", "A" * 20000, {400, 501}, CLOSE)

# -- 9110 9.1: methods -------------------------------------------------------------------------

for method in ("get", "Get", "GETT", "GE", "G", "FOO", "PROPFIND", "QUERY", "GET1", "X-Y", "!#$%&",
               "*", "A.b", "POSTT", "HEADX", "OPTION", "`|~^_", "M-SEARCH", "PURGE", "0"):
    case("9110-9.1", SHOULD, "unknown-method-" + slug(method), get(method=method), 501, ANY)
case("9110-9.1", SHOULD, "unknown-method-unknown-path", get("/nosuch", method="FOO"), {404, 501}, ANY)
case("9110-9.1", SHOULD, "unknown-method-with-body",
     "FOO /pipeline HTTP/1.1\r\n" + H + "Content-Length: 5\r\n\r\nGET /", 501, ANY)
for method in ("G@T", "GE/T", "G(T", "GET,", "GET:", "\"GET\"", "G\x00T", "G\x7fT", "G\xc9T", "G[T]",
               "GET;", "G\\T", "{GET}", "G=T", "G?T", "<GET>", "\x01GET"):
    case("9110-9.1", MUST, "method-is-no-token-" + slug(method), get(method=method), 400, CLOSE)
for target in ("/pipeline", "/baseline11?a=1", "/json/5"):
    for method in ("PUT", "DELETE", "PATCH"):
        case("9110-15.5.6", MUST, "405-%s-%s" % (method, slug(target)), get(target, method=method),
             405, ANY, allow=("GET", "HEAD"))
for target in ("/pipeline", "/json/5"):
    case("9110-15.5.6", MUST, "405-POST-" + slug(target), get(target, method="POST"), 405, ANY,
         allow=("GET", "HEAD"))
case("9110-15.5.6", MUST, "405-POST-with-body",
     post("Content-Length: 5\r\n", "GET /", target="/pipeline"), 405, ANY, allow=("GET",))
case("9110-15.5.6", MUST, "405-POST-with-chunked-body",
     chunked("5\r\nGET /\r\n0\r\n\r\n", target="/pipeline"), 405, ANY, allow=("GET",))
case("9110-15.5.6", MUST, "405-names-POST-on-baseline", get("/baseline11", method="DELETE"), 405, ANY,
     allow=("GET", "HEAD", "POST", "OPTIONS"))
case("9110-9.3.8", SHOULD, "trace-refused", get(method="TRACE"), 405, ANY, allow=("GET",))
case("9110-9.3.8", SHOULD, "trace-does-not-echo",
     get(method="TRACE", fields="Cookie: secret\r\n"), 405, ANY, allow=("GET",))
case("9110-9.3.8", SHOULD, "trace-with-body",
     get(method="TRACE", fields="Content-Length: 2\r\n") + "20", {400, 405}, ANY)
case("9110-9.3.6", SHOULD, "connect-refused",
     get("localhost:80", method="CONNECT"), 405, ANY, allow=())
case("9110-9.3.6", SHOULD, "connect-origin-form", get(method="CONNECT"), {400, 405}, ANY)
case("9110-9.3.6", SHOULD, "connect-without-port", get("localhost", method="CONNECT"), {400, 405}, ANY)
case("9110-9.3.6", SHOULD, "connect-empty-port", get("localhost:", method="CONNECT"), {400, 405}, ANY)
case("9110-9.3.2", MUST, "head-pipeline", get(method="HEAD"), 200, heads=(0,))
case("9110-9.3.2", MUST, "head-baseline", get("/baseline11?a=1&b=2", method="HEAD"), 200, heads=(0,))
case("9110-9.3.2", MUST, "head-json", get("/json/50?m=3", method="HEAD"), 200, heads=(0,))
case("9110-9.3.2", MUST, "head-404", get("/nosuch", method="HEAD"), 404, ANY, heads=(0,))
case("9110-9.3.2", MUST, "head-400", get("/baseline11?a=x", method="HEAD"), 400, ANY, heads=(0,))
case("9110-9.3.2", MUST, "head-between-gets",
     get() + get("/json/3", method="HEAD") + get(), [200, 200, 200], heads=(1,), body=b"ok")
case("9110-9.3.8", SHOULD, "trace-does-not-echo-credentials",
     get(method="TRACE", fields="Authorization: Bearer secret\r\n"), 405, ANY, allow=("GET",))
case("9110-9.3.6", SHOULD, "connect-then-tunnelled-bytes",
     get("localhost:80", method="CONNECT") + "\x16\x03\x01", 405, CLOSE)
case("9110-9.3.2", SHOULD, "head-with-body-consumed",
     get(method="HEAD", fields="Content-Length: 18\r\n") + "GET /x HTTP/1.1\r\n\r", {200, 400}, ANY,
     heads=(0,))
case("9110-9.3.1", SHOULD, "get-with-body-consumed",
     get("/baseline11?a=13&b=42", fields="Content-Length: 18\r\n") + "GET /x HTTP/1.1\r\n\r",
     {200, 400}, ANY)
case("9110-9.3.1", SHOULD, "get-body-that-looks-like-a-request",
     get(fields="Content-Length: %d\r\n" % len(get("/json/1"))) + get("/json/1") +
     get("/baseline11?a=3"), Either(([200, 200], [400])), ANY)
case("9110-9.3.1", SHOULD, "get-with-chunked-body-consumed",
     get(fields="Transfer-Encoding: chunked\r\n") + "5\r\nGET /\r\n0\r\n\r\n", {200, 400}, ANY)
case("9110-9.3.7", SHOULD, "options-asterisk", get("*", method="OPTIONS"), {200, 204},
     allow=("GET", "HEAD"))
case("9110-9.3.7", SHOULD, "options-asterisk-1.0",
     get("*", method="OPTIONS", version="HTTP/1.0"), {200, 204}, CLOSE)
for target, methods in (("/pipeline", ("GET", "HEAD", "OPTIONS")),
                        ("/baseline11", ("GET", "HEAD", "POST", "OPTIONS")),
                        ("/json/5", ("GET", "HEAD", "OPTIONS"))):
    case("9110-9.3.7", SHOULD, "options-" + slug(target), get(target, method="OPTIONS"), {200, 204},
         allow=methods)
case("9110-9.3.7", SHOULD, "options-unknown", get("/nosuch", method="OPTIONS"), 404, ANY)
case("9110-9.3.7", MUST, "options-with-body-consumed",
     get(method="OPTIONS", fields="Content-Length: 18\r\n") + "GET /x HTTP/1.1\r\n\r", {200, 204, 400},
     ANY)
case("9110-9.3.7", MUST, "options-asterisk-chunked-body-consumed",
     get("*", method="OPTIONS", fields="Transfer-Encoding: chunked\r\n") + "5\r\nGET /\r\n0\r\n\r\n",
     {200, 204, 400}, ANY)

# -- 9112 3.2: the four target forms, percent-encoding -----------------------------------------

case("9112-3.2.1", MUST, "origin-form-empty-query", get("/pipeline?"), 200, body=b"ok")
case("9112-3.2.1", MUST, "origin-form-query", get("/pipeline?a=/b?c:@!$'()*+,;=-._~%20"), 200,
     body=b"ok")
case("9112-3.2.1", MUST, "origin-form-root", get("/"), 404, ANY)
case("9110-4.2.3", MUST, "path-is-case-sensitive", get("/Pipeline"), 404, ANY)
case("9110-15.5.5", MUST, "no-prefix-match", get("/pipelinex"), 404, ANY)
case("9110-15.5.5", MUST, "no-suffix-match", get("/x/pipeline"), 404, ANY)
case("9110-15.5.5", MUST, "no-trailing-slash", get("/pipeline/"), 404, ANY)
case("9110-15.5.5", MUST, "baseline-prefix", get("/baseline1"), 404, ANY)
case("9110-15.5.5", MUST, "baseline-longer", get("/baseline111?a=1"), 404, ANY)
case("9110-15.5.5", MUST, "double-slash", get("//pipeline"), 404, ANY)
case("9112-3.2", MUST, "no-target-at-all", get("!"), 400, CLOSE)
case("9112-3.2", MUST, "no-leading-slash", get("pipeline"), 400, CLOSE)
case("9112-3.2", MUST, "query-only", get("?a=1"), 400, CLOSE)
case("9112-3.2", SHOULD, "authority-form-with-get", get("localhost:80"), 400, CLOSE)
case("9112-3.2.4", MUST, "asterisk-with-get", get("*"), 400, CLOSE)
case("9112-3.2.4", MUST, "asterisk-with-post", get("*", method="POST"), 400, CLOSE)
case("9112-3.2.4", MUST, "asterisk-and-more", get("*x", method="OPTIONS"), 400, CLOSE)
case("9112-3.2.4", MUST, "slash-asterisk-is-a-path", get("/*"), 404, ANY)
case("9112-3.2.2", MUST, "absolute-form", get("http://localhost/pipeline"), 200, body=b"ok")
case("9112-3.2.2", MUST, "absolute-form-port-query",
     get("http://localhost:8080/baseline11?a=13&b=42"), 200, body=b"55")
case("9112-3.2.2", MUST, "absolute-form-ipv6", get("http://[::1]:80/pipeline"), 200, body=b"ok")
case("9112-3.2.2", MUST, "absolute-form-ipv4", get("http://127.0.0.1/pipeline"), 200, body=b"ok")
case("9112-3.2.2", MUST, "absolute-form-empty-port", get("http://localhost:/pipeline"), 200,
     body=b"ok")
case("9112-3.2.2", MUST, "absolute-form-overrides-host",
     get("http://example.com/pipeline", host="Host: other.example\r\n"), 200, body=b"ok")
case("9112-3.2.2", MUST, "absolute-form-1.0-without-host",
     get("http://localhost/pipeline", version="HTTP/1.0", host=""), 200, CLOSE, body=b"ok")
case("9112-3.2.2", MUST, "absolute-form-post",
     post("Content-Length: 2\r\n", "20", target="http://localhost/baseline11?a=13&b=42"), 200,
     body=b"75")
case("9112-3.2", MUST, "absolute-form-without-host", get("http://localhost/pipeline", host=""), 400,
     CLOSE)
case("9112-3.2", MUST, "absolute-form-invalid-host",
     get("http://localhost/pipeline", host="Host: a/b\r\n"), 400, CLOSE)
case("9112-3.2", MUST, "absolute-form-two-hosts",
     get("http://localhost/pipeline", host=H + "Host: other\r\n"), 400, CLOSE)
case("9110-4.2.3", MUST, "absolute-form-scheme-case", get("HTTP://LOCALHOST/pipeline"), 200,
     body=b"ok")
case("9110-4.2.3", SHOULD, "absolute-form-empty-path", get("http://localhost"), 404, ANY)
case("9110-4.2.3", SHOULD, "absolute-form-empty-path-query", get("http://localhost?a=1"), 404, ANY)
case("9110-4.2.1", MUST, "absolute-form-empty-host", get("http:///pipeline"), 400, CLOSE)
case("9110-4.2.1", MUST, "absolute-form-port-without-host", get("http://:80/pipeline"), 400, CLOSE)
case("9110-4.2.4", SHOULD, "absolute-form-userinfo", get("http://user:pw@localhost/pipeline"), 400,
     CLOSE)
case("9112-3.2", SHOULD, "absolute-form-bad-port", get("http://localhost:8a/pipeline"), 400, CLOSE)
case("9112-3.2", SHOULD, "absolute-form-one-slash", get("http:/localhost/pipeline"), 400, CLOSE)
case("9110-7.4", MUST, "absolute-form-https-in-the-clear", get("https://localhost/pipeline"),
     {400, 421}, ANY)
case("9110-7.4", SHOULD, "absolute-form-other-scheme", get("ftp://localhost/pipeline"),
     {400, 404, 421}, ANY)
case("9112-3.2", SHOULD, "fragment-in-target", get("/pipeline#x"), 400, CLOSE)
case("9112-3.2", SHOULD, "fragment-in-query", get("/pipeline?a#x"), 400, CLOSE)
for c in "\"<>\\^`{|}":
    case("9112-3.2", SHOULD, "no-uri-character-in-path-" + slug(c), get("/pipeline" + c), 400, CLOSE)
    case("9112-3.2", SHOULD, "no-uri-character-in-query-" + slug(c), get("/pipeline?a=" + c), 400,
         CLOSE)
for code in list(range(0x00, 0x09)) + [0x0b, 0x0c] + list(range(0x0e, 0x20)) + [0x7f]:
    case("9112-3.2", SHOULD, "control-in-target-%02x" % code, get("/pipeline%c" % code), 400, CLOSE)
for code in (0x80, 0x85, 0xa0, 0xc3, 0xe9, 0xff):
    case("9112-3.2", SHOULD, "8-bit-in-path-%02x" % code, get("/pipeline%c" % code), 400, CLOSE)
    case("9112-3.2", SHOULD, "8-bit-in-query-%02x" % code, get("/pipeline?%c" % code), 400, CLOSE)
case("9112-3.2", SHOULD, "overlong-utf8-in-target", get("/\xc0\xafpipeline"), 400, CLOSE)
for broken in ("%", "%4", "%zz", "%4g", "%g4", "%%30", "% 20", "%-1", "%0x"):
    if " " not in broken:
        case("9112-3.2", SHOULD, "broken-percent-in-path-" + slug(broken), get("/" + broken), 400, ANY)
    if broken != "% 20":
        case("9112-3.2", SHOULD, "broken-percent-in-value-" + slug(broken),
             get("/baseline11?a=" + broken), 400, ANY)
case("9110-4.2.3", SHOULD, "percent-encoded-unreserved-is-the-same", get("/%70ipeline"), 200,
     body=b"ok")
case("9110-4.2.3", SHOULD, "percent-encoded-baseline", get("/base%6Cine11?a=13&b=42"), 200,
     body=b"55")
case("9110-4.2.3", SHOULD, "percent-encoded-slash-is-not-a-slash", get("/json%2F5"), 404, ANY)
case("9110-4.2.3", SHOULD, "percent-encoded-question-mark", get("/pipeline%3Fa=1"), 404, ANY)
case("9110-4.2.3", SHOULD, "percent-nul", get("/pipeline%00"), {400, 404}, ANY)
case("9110-4.2.3", SHOULD, "percent-crlf", get("/pipeline%0d%0aX:%20y"), {400, 404}, ANY)
case("9110-4.2.3", SHOULD, "percent-decoded-once", get("/%2570ipeline"), 404, ANY)

# -- 9112 5: field syntax ----------------------------------------------------------------------

case("9112-5.1", MUST, "space-before-colon", get(fields="X : y\r\n"), 400, CLOSE)
case("9112-5.1", MUST, "tab-before-colon", get(fields="X\t: y\r\n"), 400, CLOSE)
case("9112-5.1", MUST, "space-before-colon-host", get(host="Host : localhost\r\n"), 400, CLOSE)
case("9112-5.1", MUST, "space-before-colon-length",
     post("Content-Length : 2\r\n", "20"), 400, CLOSE)
case("9112-5.1", MUST, "space-before-colon-te",
     chunked("2\r\n20\r\n0\r\n\r\n", "Transfer-Encoding : chunked\r\n"), 400, CLOSE)
case("9112-5.1", MUST, "tab-in-name-length", post("Content\tLength: 2\r\n", "20"), 400, CLOSE)
case("9112-5.2", MUST, "obs-fold-space", get(fields="X: a\r\n b\r\n"), 400, CLOSE)
case("9112-5.2", MUST, "obs-fold-tab", get(fields="X: a\r\n\tb\r\n"), 400, CLOSE)
case("9112-5.2", MUST, "obs-fold-empty", get(fields="X: a\r\n \r\n"), 400, CLOSE)
case("9112-5.2", MUST, "obs-fold-last", get(fields="X:\r\n y\r\n"), 400, CLOSE)
case("9112-5.2", MUST, "obs-fold-host", get(host="Host:\r\n localhost\r\n"), 400, CLOSE)
case("9112-5.2", MUST, "obs-fold-te",
     chunked("2\r\n20\r\n0\r\n\r\n", "Transfer-Encoding:\r\n chunked\r\n"), 400, CLOSE)
case("9112-5.2", MUST, "obs-fold-length", post("Content-Length:\r\n 2\r\n", "20"), 400, CLOSE)
case("9112-5", MUST, "name-empty", get(fields=": y\r\n"), 400, CLOSE)
case("9112-5", MUST, "name-and-value-empty", get(host=":\r\n" + H), 400, CLOSE)
case("9112-5", MUST, "name-over-two-lines",
     post("Transfer-\r\nEncoding: chunked\r\nContent-Length: 2\r\n", "20"), 400, CLOSE)
case("9112-5", MUST, "length-without-colon", post("Content-Length 2\r\n", "20"), 400, CLOSE)
case("9112-5", MUST, "name-without-colon", get(fields="Xyz\r\n"), 400, CLOSE)
case("9112-5", MUST, "line-without-colon-last", get(fields="Accept: x\r\njunk\r\n"), 400, CLOSE)
for c in "\"(),/;<=>?@[\\]{} ":
    case("9110-5.1", MUST, "name-is-no-token-" + slug(c), get(fields="X%cY: z\r\n" % c), 400, CLOSE)
for code in list(range(0x00, 0x0a)) + [0x0b, 0x0c] + list(range(0x0e, 0x20)) + [0x7f, 0x80, 0xeb, 0xff]:
    case("9110-5.1", MUST, "name-with-byte-%02x" % code, get(fields="X%cY: z\r\n" % code), 400, CLOSE)
case("9110-5.1", MUST, "name-of-every-token-character",
     get(fields="!#$%&'*+-.^_`|~09azAZ: z\r\n"), 200, body=b"ok")
for code in list(range(0x00, 0x09)) + [0x0b, 0x0c] + list(range(0x0e, 0x20)) + [0x7f]:
    level = MUST if code == 0 else SHOULD
    case("9110-5.5", level, "value-with-byte-%02x" % code, get(fields="X: a%cb\r\n" % code), 400,
         CLOSE)
case("9110-5.5", MUST, "value-with-nul-first", get(fields="X: \0\r\n"), 400, CLOSE)
case("9110-5.5", SHOULD, "value-with-obs-text",
     get(fields="X: " + "".join(map(chr, range(0x80, 0x100))) + "\r\n"), 200, body=b"ok")
case("9110-5.5", MUST, "value-of-every-visible-character",
     get(fields="X: " + "".join(map(chr, range(0x20, 0x7f))) + "\r\n"), 200, body=b"ok")
case("9112-5", MUST, "value-empty", get(fields="X:\r\n"), 200, body=b"ok")
case("9112-5", MUST, "value-white-space-only", get(fields="X: \t \r\n"), 200, body=b"ok")
case("9112-5", MUST, "value-without-space", get(host="Host:localhost\r\n"), 200, body=b"ok")
case("9112-5", MUST, "value-with-colons", get(fields="X: a:b::c\r\n"), 200, body=b"ok")
case("9112-5", MUST, "value-with-tab-inside", get(fields="X: a\tb\r\n"), 200, body=b"ok")
case("9112-5", MUST, "host-with-ows", get(host="Host: \t localhost \t \r\n"), 200, body=b"ok")
case("9112-5", MUST, "length-with-ows", post("Content-Length: \t 2 \t\r\n", "20"), 200, body=b"75")
case("9112-5", MUST, "te-with-ows",
     chunked("2\r\n20\r\n0\r\n\r\n", "Transfer-Encoding:\t chunked \t\r\n"), 200, body=b"75")
case("9112-5", MUST, "connection-with-ows", get(fields="Connection:\t close \t\r\n"), 200, CLOSE)
case("9110-5.1", MUST, "names-ignore-case",
     post("cOnTeNt-LeNgTh: 2\r\n", "20", host="hOST: localhost\r\n"), 200, body=b"75")
case("9110-5.1", MUST, "names-ignore-case-te",
     chunked("2\r\n20\r\n0\r\n\r\n", "TRANSFER-ENCODING: chunked\r\n"), 200, body=b"75")
case("9110-5.1", SHOULD, "unknown-fields-ignored",
     get(fields="Content_Length: 5\r\nX-Content-Length: 5\r\nContent-Lengt: 5\r\nContent-Lengthx: 5\r\n"
                "Transfer_Encoding: chunked\r\nXTransfer-Encoding: chunked\r\n"
                "Hostx: a\r\nHos: b\r\nConnectio: close\r\nConnectionx: close\r\n"), 200, body=b"ok")
for name, value in (("empty", ""), ("no-pair", ";;;==="), ("8-bit", "a=\xe9"), ("quotes", "a=\"b\"; c='d'"),
                    ("1000-pairs", "; ".join("k%d=%d" % (i, i) for i in range(1000)))):
    case("9110-5.1", SHOULD, "cookie-ignored-" + name, get(fields="Cookie: %s\r\n" % value), 200,
         body=b"ok")
case("9110-5.1", SHOULD, "cookie-ignored-two-lines", get(fields="Cookie: a=1\r\nCookie: a=2\r\n"), 200,
     body=b"ok")
case("9110-5.4", SHOULD, "100-fields", get(fields="X: y\r\n" * 99), 200, body=b"ok")
case("9110-5.4", MUST, "101-fields", get(fields="X: y\r\n" * 100), 431, CLOSE)
case("9110-5.4", MUST, "1000-fields", get(fields="X: y\r\n" * 1000), 431, CLOSE)
case("9110-5.4", SHOULD, "field-of-15-KiB", get(fields="X: " + "y" * 15000 + "\r\n"), 200, body=b"ok")
case("9110-5.4", MUST, "field-of-17-KiB", get(fields="X: " + "y" * 17000 + "\r\n"), 431, CLOSE)
case("9110-5.4", MUST, "name-of-17-KiB", get(fields="X" * 17000 + ": y\r\n"), 431, CLOSE)
case("9110-5.4", MUST, "field-of-60-KiB", get(fields="X: " + "y" * 60000 + "\r\n"), 431, CLOSE)
case("9110-5.4", MUST, "fields-of-20-KiB-together",
     get(fields=("X: " + "y" * 495 + "\r\n") * 40), 431, CLOSE)
case("9110-5.4", SHOULD, "field-that-never-ends",
     "GET /pipeline HTTP/1.1\r\n" + H + "X: " + "y" * 20000, 431, CLOSE)
case("9110-5.4", SHOULD, "white-space-that-never-ends",
     "GET /pipeline HTTP/1.1\r\n" + H + "X:" + " " * 20000, 431, CLOSE)

# -- 9112 3.2, 9110 7.2: Host ------------------------------------------------------------------

case("9112-3.2", MUST, "host-missing", get(host=""), 400, CLOSE)
case("9112-3.2", MUST, "host-missing-1.2", get(host="", version="HTTP/1.2"), 400, CLOSE)
case("9112-3.2", MUST, "host-missing-unknown-path", get("/nosuch", host=""), 400, CLOSE)
case("9112-3.2", MUST, "host-missing-options", get("*", host="", method="OPTIONS"), 400, CLOSE)
case("9112-3.2", MUST, "host-missing-with-body",
     post("Content-Length: 2\r\n", "20", host=""), 400, CLOSE)
case("9112-3.2", SHOULD, "host-missing-1.0", get(host="", version="HTTP/1.0"), 200, CLOSE, body=b"ok")
case("9112-3.2", MUST, "host-twice", get(host=H + "Host: other\r\n"), 400, CLOSE)
case("9112-3.2", MUST, "host-twice-same", get(host=H + H), 400, CLOSE)
case("9112-3.2", MUST, "host-twice-apart", get(fields="Accept: x\r\nhost: localhost\r\n"), 400, CLOSE)
case("9112-3.2", MUST, "host-twice-1.0", get(host=H + H, version="HTTP/1.0"), 400, CLOSE)
case("9112-3.2", MUST, "host-empty", get(host="Host:\r\n"), 400, CLOSE)
case("9112-3.2", MUST, "host-white-space", get(host="Host: \t\r\n"), 400, CLOSE)
for host in ("a b", "a/b", "user@localhost", "a,b", "a, b", "localhost:port", "localhost:80:80",
             "localhost:-1", "localhost: 80", "local\0host", "[::1", "::1]", "[::1]x", "[]",
             "http://localhost", "localhost/", "a?b", "a#b", "a%zz", "a%4", "a\\b", "a\"b", "a<b>", "a{b}", "a|b",
             "a^b", "a`b", "loc\xe4lhost", "[g::1]", ":80", "localhost\tx", "localhost;x", "localhost:80a"):
    if host == "localhost;x":
        continue          # `;` is a sub-delim: a legal reg-name
    case("9112-3.2", MUST, "host-invalid-" + slug(host), get(host="Host: %s\r\n" % host), 400, CLOSE)
case("9112-3.2", MUST, "host-invalid-1.0", get(host="Host: a/b\r\n", version="HTTP/1.0"), 400, CLOSE)
for host in ("localhost:8080", "127.0.0.1", "127.0.0.1:80", "[::1]", "[::1]:8080", "example.com.",
             "localhost:", "a_b", "a-b.c~d", "%41", "LOCALHOST", "xn--bcher-kva.example", "a!b",
             "[2001:db8::192.0.2.1]", "1"):
    case("9110-7.2", MUST, "host-valid-" + slug(host), get(host="Host: %s\r\n" % host), 200, body=b"ok")

# -- 9112 6.2, 6.3, 9110 8.6: Content-Length ---------------------------------------------------

case("9112-6.2", MUST, "length", post("Content-Length: 2\r\n", "20"), 200, body=b"75")
case("9112-6.2", MUST, "length-zero", post("Content-Length: 0\r\n"), 200, body=b"55")
case("9112-6.3", MUST, "no-length-no-body", post(""), 200, body=b"55")
case("9112-6.3", MUST, "no-length-then-request", post("") + get(), [200, 200], body=b"ok")
case("9112-6.3", MUST, "length-ends-exactly",
     post("Content-Length: 2\r\n", "20") + get("/baseline11?a=1"), [200, 200], body=b"1")
case("9112-6.3", MUST, "body-that-looks-like-a-request",
     post("Content-Length: %d\r\n" % len(get()), get()) + get("/baseline11?a=7"), [400, 200],
     ANY, body=b"7")
case("9110-8.6", SHOULD, "length-leading-zero", post("Content-Length: 02\r\n", "20"), {200, 400}, ANY)
case("9110-8.6", SHOULD, "length-leading-zeros",
     post("Content-Length: 00000000000000000000000002\r\n", "20"), {200, 400}, ANY)
case("9110-8.6", SHOULD, "length-leading-zero-is-not-octal",
     post("Content-Length: 010\r\n", "20        ") + get("/baseline11?a=1"),
     Either(([200, 200], [400])), ANY)
case("9110-8.6", SHOULD, "length-double-zero", post("Content-Length: 00\r\n"), {200, 400}, ANY)
for value in ("+2", "-2", "-0", "0x2", "0o2", "2 0", "2_0", "2.0", "2;", "2,", ",2", "\"2\"", "2e0",
              "abc", "2abc", "a2", "", " ", "2 2", "2\t2", "\xb2", "2\xa0", "0b10", "two",
              "1,2", "2,2", "2, 2", "2,2,2", "2, 3", "2\x0b", "\x0c2", "\x852", "-" + "9" * 30):
    case("9110-8.6", MUST, "length-invalid-" + (slug(value) or "empty"),
         post("Content-Length: %s\r\n" % value, "20"), 400, CLOSE)
for value in ("18446744073709551616", "18446744073709551618", "36893488147419103234",
              "99999999999999999999999999", "1" + "0" * 40, "4294967298" + "0" * 20):
    case("9110-8.6", MUST, "length-overflow-" + value[:24],
         post("Content-Length: %s\r\n" % value, "20"), 400, CLOSE)
for value in ("9223372036854775807", "9223372036854775808", "18446744073709551615", "4294967298"):
    case("9110-8.6", MUST, "length-huge-" + value, post("Content-Length: %s\r\n" % value, "20"),
         {400, 413}, CLOSE)
case("9112-6.3", MUST, "length-twice-different",
     post("Content-Length: 2\r\nContent-Length: 3\r\n", "20"), 400, CLOSE)
case("9112-6.3", MUST, "length-twice-equal",
     post("Content-Length: 2\r\nContent-Length: 2\r\n", "20"), 400, CLOSE)
case("9112-6.3", MUST, "length-twice-equal-numbers",
     post("Content-Length: 2\r\nContent-Length: 02\r\n", "20"), 400, CLOSE)
case("9112-6.3", MUST, "length-zero-then-a-stray-byte",
     post("Content-Length: 0\r\n") + "X" + get(), [200, 501], CLOSE)
case("9112-6.3", MUST, "length-decides-beside-names-like-it",
     post("Content_Length: 40\r\nContent-Length: 2\r\nContentLength: 0\r\nTransfer_Encoding: chunked\r\n"
          "TransferEncoding: chunked\r\nTransfer-Coding: chunked\r\n", "20") + get("/baseline11?a=1"),
     [200, 200], body=b"1")
case("9112-6.3", MUST, "length-twice-smuggled-get",
     post("Content-Length: 0\r\nContent-Length: %d\r\n" % len(get()), get()), 400, CLOSE)
case("9112-6.3", MUST, "length-twice-one-empty",
     post("Content-Length: 2\r\nContent-Length:\r\n", "20"), 400, CLOSE)
case("9112-6.3", MUST, "length-invalid-on-get", get(fields="Content-Length: x\r\n"), 400, CLOSE)
case("9112-6.3", MUST, "length-invalid-on-404", get("/nosuch", fields="Content-Length: x\r\n"), 400,
     CLOSE)
case("9112-6.3", MUST, "length-invalid-1.0",
     post("Content-Length: x\r\n", "20", version="HTTP/1.0"), 400, CLOSE)
case("9112-6.3", MUST, "length-1.0", post("Content-Length: 2\r\n", "20", version="HTTP/1.0"), 200,
     CLOSE, body=b"75")
case("9110-15.5.14", SHOULD, "length-over-8-MiB",
     post("Content-Length: %d\r\n" % (8 * 1024 * 1024 + 1)), 413, CLOSE)
case("9110-15.5.14", SHOULD, "length-over-8-MiB-on-get",
     get(fields="Content-Length: %d\r\n" % (1 << 40)), 413, CLOSE)

# -- 9112 6.1, 6.3: Transfer-Encoding ----------------------------------------------------------

BODY = "2\r\n20\r\n0\r\n\r\n"
case("9112-6.1", MUST, "chunked", chunked(BODY), 200, body=b"75")
case("9112-7", MUST, "chunked-coding-ignores-case",
     chunked(BODY, "Transfer-Encoding: ChUnKeD\r\n"), 200, body=b"75")
case("9112-6.3", MUST, "te-and-length",
     chunked(BODY, "Transfer-Encoding: chunked\r\nContent-Length: 2\r\n"), 400, CLOSE)
case("9112-6.3", MUST, "length-and-te",
     chunked(BODY, "Content-Length: 12\r\nTransfer-Encoding: chunked\r\n"), 400, CLOSE)
case("9112-6.3", MUST, "length-and-te-smuggled-get",
     chunked("0\r\n\r\n" + get(), "Content-Length: %d\r\nTransfer-Encoding: chunked\r\n"
             % (5 + len(get()))), 400, CLOSE)
case("9112-6.3", MUST, "te-and-length-smuggled-get",
     chunked("2e\r\n" + get() + "\r\n0\r\n\r\n",
             "Transfer-Encoding: chunked\r\nContent-Length: 4\r\n"), 400, CLOSE)
case("9112-6.3", MUST, "te-and-length-zero",
     chunked(BODY, "Transfer-Encoding: chunked\r\nContent-Length: 0\r\n"), 400, CLOSE)
case("9112-6.3", MUST, "te-mixed-case-and-length",
     chunked(BODY, "tRANSFER-eNCODING: Chunked\r\ncONTENT-lENGTH: 2\r\n"), 400, CLOSE)
# However the coding is spelt, a length beside it is an error: who reads the one and who reads the
# other would part company here.
for value in ("chunked \t", "\t chunked", ", chunked", "chunked,", "chunked;a=b", "gzip, chunked", "CHUNKED",
              "chunked, chunked", "chunked, identity", "", "cow", "\"chunked\"", "chunkedchunked"):
    for order in (0, 1):
        lines = ("Transfer-Encoding: %s\r\n" % value, "Content-Length: %d\r\n" % (5 + len(get())))
        case("9112-6.3", MUST, "te-%s-length-%s" % (("before", "behind")[order], slug(value) or "empty"),
             chunked("0\r\n\r\n" + get(), lines[order] + lines[1 - order]), 400, CLOSE)
for name, lines in (
        ("two-lines", "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n"),
        ("two-lines-last-chunked", "Transfer-Encoding: cow\r\nTransfer-Encoding: chunked\r\n"),
        ("fold", "Transfer-Encoding:\r\n chunked\r\n"),
        ("fold-behind", "Transfer-Encoding: chunked\r\n \r\n"),
        ("lf-fold", "Transfer-Encoding:\n chunked\r\n"),
        ("space-in-name", "Transfer Encoding: chunked\r\n"),
        ("cr-in-name", "Transfer\r-Encoding: chunked\r\n"),
        ("8-bit-in-name", "Transf\x82r-Encoding: chunked\r\n"),
        ("8-bit-in-value", "Transfer-Encoding: ch\x96nked\r\n"),
        ("behind-bare-cr", "X: y\rTransfer-Encoding: chunked\r\n"),
        ("behind-bare-lf", "X: y\nTransfer-Encoding: chunked\r\n"),
        ("before-bare-cr", "Transfer-Encoding: chunked\rX: y\r\n"),
        ("before-bare-lf", "Transfer-Encoding: chunked\nX: y\r\n")):
    case("9112-6.3", MUST, "te-disguised-" + name,
         chunked("0\r\n\r\n" + get(), "Content-Length: %d\r\n" % (5 + len(get())) + lines), 400,
         CLOSE)
for code in (0x01, 0x04, 0x08, 0x09, 0x0a, 0x0b, 0x0c, 0x0d, 0x1f, 0x20, 0x7f, 0x80, 0x85, 0xa0, 0xad,
             0xff):
    for name, form in (("before-name", "%cTransfer-Encoding: chunked\r\n"),
                       ("behind-name", "Transfer-Encoding%c: chunked\r\n"),
                       ("before-value", "Transfer-Encoding:%cchunked\r\n"),
                       ("behind-value", "Transfer-Encoding: chunked%c\r\n")):
        case("9112-6.3", MUST, "te-disguised-%s-%02x" % (name, code),
             chunked("0\r\n\r\n" + get(), "Content-Length: %d\r\n" % (5 + len(get())) + form % code),
             400, CLOSE)
case("9112-6.3", MUST, "te-and-length-on-options",
     get("*", method="OPTIONS", fields="Transfer-Encoding: chunked\r\nContent-Length: 5\r\n") + "0\r\n\r\n",
     400, CLOSE)
case("9112-6.3", MUST, "te-and-invalid-length",
     chunked(BODY, "Content-Length: +12\r\nTransfer-Encoding: chunked\r\n"), 400, CLOSE)
case("9112-6.3", MUST, "te-and-length-on-get",
     get(fields="Transfer-Encoding: chunked\r\nContent-Length: 0\r\n") + "0\r\n\r\n", 400, CLOSE)
case("9112-6.1", MUST, "chunked-twice", chunked(BODY, "Transfer-Encoding: chunked, chunked\r\n"), 400,
     CLOSE)
case("9112-6.1", MUST, "chunked-twice-two-lines",
     chunked(BODY, "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n"), 400, CLOSE)
for value in ("chunked, gzip", "gzip", "identity", "chunked, identity", "xchunked", "chunkedx",
              "chunked x", "x chunked", "chun ked", "\"chunked\"", "'chunked'", "chunked;",
              "", "cow", "gzip, deflate", "chunked gzip", "-chunked", "chunked-", "chunk", "trailers",
              "chunkedchunked", "ch\x96nked", "\xa0chunked", "chunked\x85"):
    case("9112-6.3", MUST, "te-last-is-not-chunked-" + (slug(value) or "empty"),
         chunked(BODY, "Transfer-Encoding: %s\r\n" % value), 400, CLOSE)
case("9112-6.3", MUST, "te-last-is-not-chunked-two-lines",
     chunked(BODY, "Transfer-Encoding: chunked\r\nTransfer-Encoding: gzip\r\n"), 400, CLOSE)
case("9112-6.3", MUST, "te-last-is-not-chunked-with-length",
     chunked("20", "Transfer-Encoding: identity\r\nContent-Length: 2\r\n"), 400, CLOSE)
case("9112-6.3", MUST, "te-xchunked-with-length",
     chunked("20", "Transfer-Encoding: xchunked\r\nContent-Length: 2\r\n"), 400, CLOSE)
for value in ("gzip, chunked", "gzip,chunked", "identity, chunked", "x-foo, chunked", "GZIP , chunked",
              "deflate, gzip, chunked", "compress,\tchunked"):
    case("9112-6.1", SHOULD, "te-unknown-coding-" + slug(value),
         chunked(BODY, "Transfer-Encoding: %s\r\n" % value), 501, CLOSE)
case("9112-6.1", SHOULD, "te-unknown-coding-two-lines",
     chunked(BODY, "Transfer-Encoding: gzip\r\nTransfer-Encoding: chunked\r\n"), 501, CLOSE)
case("9112-6.1", SHOULD, "te-unknown-coding-with-parameter",
     chunked(BODY, "Transfer-Encoding: foo;a=\"b,c\", chunked\r\n"), {400, 501}, CLOSE)
case("9112-7.1", SHOULD, "chunked-with-parameter",
     chunked(BODY, "Transfer-Encoding: chunked;q=1\r\n"), {400, 501}, CLOSE)
case("9110-5.6.1", SHOULD, "te-leading-comma",
     chunked(BODY, "Transfer-Encoding: , chunked\r\n"), {200, 400}, ANY)
case("9110-5.6.1", SHOULD, "te-trailing-comma",
     chunked(BODY, "Transfer-Encoding: chunked,\r\n"), {200, 400}, ANY)
for code in (0x00, 0x0b, 0x0c, 0x08, 0x7f):
    case("9112-6.1", MUST, "te-control-before-%02x" % code,
         chunked(BODY, "Transfer-Encoding: %cchunked\r\n" % code), 400, CLOSE)
    case("9112-6.1", MUST, "te-control-behind-%02x" % code,
         chunked(BODY, "Transfer-Encoding: chunked%c\r\n" % code), 400, CLOSE)
case("9112-6.1", MUST, "te-8-bit-behind", chunked(BODY, "Transfer-Encoding: chunked\xa0\r\n"), 400,
     CLOSE)
case("9112-6.1", MUST, "te-1.0", chunked(BODY, version="HTTP/1.0"), 400, CLOSE)
case("9112-6.1", MUST, "te-1.0-keep-alive",
     chunked(BODY, "Connection: keep-alive\r\nTransfer-Encoding: chunked\r\n", version="HTTP/1.0"),
     400, CLOSE)
case("9112-6.1", MUST, "te-1.0-with-length",
     chunked(BODY, "Transfer-Encoding: chunked\r\nContent-Length: 12\r\n", version="HTTP/1.0"), 400,
     CLOSE)
case("9112-6.1", MUST, "te-1.0-identity",
     chunked("", "Transfer-Encoding: identity\r\n", version="HTTP/1.0"), 400, CLOSE)

# -- 9112 7.1: chunked coding ------------------------------------------------------------------

for name, text, body in (
        ("two-chunks", "1\r\n2\r\n1\r\n0\r\n0\r\n\r\n", b"75"),
        ("empty", "0\r\n\r\n", b"55"),
        ("many-zeros-last", "2\r\n20\r\n0000\r\n\r\n", b"75"),
        ("size-with-leading-zeros", "0002\r\n20\r\n0\r\n\r\n", b"75"),
        ("size-upper-case", "A\r\n        20\r\n0\r\n\r\n", b"75"),
        ("size-lower-case", "a\r\n20        \r\n0\r\n\r\n", b"75"),
        ("size-two-digits", "1F\r\n20" + " " * 29 + "\r\n0\r\n\r\n", b"75"),
        ("data-that-looks-like-a-chunk", "7\r\n0\r\n\r\n \t\r\n2\r\n20\r\n0\r\n\r\n", None),
        ("3000-chunks", "1\r\n \r\n" * 2998 + "2\r\n20\r\n0\r\n\r\n", b"75"),
        ("many-chunks", "".join("1\r\n%d\r\n" % (i % 2) for i in range(18)) + "0\r\n\r\n", None)):
    case("9112-7.1", MUST, "chunked-" + name, chunked(text),
         200 if name != "data-that-looks-like-a-chunk" else {200, 400}, KEEP if body else ANY,
         body=body)
for size in ("0x2", "+2", "-2", " 2", "\t2", "2 ", "2\t", "2_0", "g", "", "2.0", "2h", "h2", "2,", "\xb2",
             "2\x00", "\x002", "2\x0b", "0x", "two", "\"2\"", "2/", "2:", "2@", "2G", "2`", "+0", "-0",
             " 0", "0_2", "2 \n ", "2\x85", "\xa02", "2these bytes are no extension"):
    case("9112-7.1", MUST, "chunk-size-invalid-" + (slug(size) or "empty"),
         chunked("%s\r\n20\r\n0\r\n\r\n" % size), 400, CLOSE)
for size in ("10000000000000000", "ffffffffffffffff1", "10000000000000002", "f" * 40,
             "1" + "0" * 63):
    case("9112-7.1", MUST, "chunk-size-overflow-" + size[:20],
         chunked("%s\r\n20\r\n0\r\n\r\n" % size), 400, CLOSE)
for size in ("ffffffffffffffff", "8000000000000000", "7fffffffffffffff", "fffffffffffffffe"):
    case("9112-7.1", MUST, "chunk-size-huge-" + size, chunked("%s\r\n20\r\n0\r\n\r\n" % size),
         {400, 413}, CLOSE)
case("9112-7.1", SHOULD, "chunk-size-20-leading-zeros",
     chunked("0" * 20 + "2\r\n20\r\n0\r\n\r\n"), {200, 400}, ANY)
case("9112-7.1", SHOULD, "chunk-size-endless-zeros", chunked("0" * 20000), {400, 413, 431}, CLOSE)
case("9110-15.5.14", SHOULD, "chunk-over-8-MiB", chunked("%x\r\n" % (8 * 1024 * 1024 + 1)), 413, CLOSE)
for name, text in (
        ("size-line-bare-lf", "2\n20\r\n0\r\n\r\n"),
        ("size-line-bare-cr", "2\r20\r\n0\r\n\r\n"),
        ("data-bare-lf", "2\r\n20\n0\r\n\r\n"),
        ("data-bare-cr", "2\r\n20\r0\r\n\r\n"),
        ("data-without-crlf", "2\r\n200\r\n\r\n"),
        ("data-too-long", "2\r\n2000\r\n0\r\n\r\n"),
        ("data-too-short", "3\r\n20\r\n0\r\n\r\n"),
        ("spill", "2\r\n20XX0\r\n\r\n"),
        ("last-line-bare-lf", "2\r\n20\r\n0\n\r\n"),
        ("end-bare-lf", "2\r\n20\r\n0\r\n\n"),
        ("end-bare-cr", "2\r\n20\r\n0\r\n\rX"),
        ("size-line-cr-cr-extension", "2\r\r;a\r\n20\r\n0\r\n\r\n"),
        ("size-line-missing", "\r\n\r\n"),
        ("last-chunk-missing", "2\r\n20\r\n\r\n"),
        ("crlf-before-last-chunk", "2\r\n20\r\n\r\n0\r\n\r\n"),
        ("data-cr-any", "2\r\n20\rX0\r\n\r\n"),
        ("data-any-lf", "2\r\n20X\n0\r\n\r\n"),
        ("size-line-cr-any", "2\rX20\r\n0\r\n\r\n"),
        ("end-cr-any", "2\r\n20\r\n0\r\n\rX"),
        ("size-line-cr-cr-lf", "2\r\r\n20\r\n0\r\n\r\n"),
        ("crlf-before-size", "\r\n2\r\n20\r\n0\r\n\r\n")):
    case("9112-7.1", MUST, "chunked-" + name, chunked(text), 400, CLOSE)
case("9112-7.1", MUST, "chunked-smuggled-behind-bad-size",
     chunked("+0\r\n\r\n" + get()), 400, CLOSE)
for name, ext in (
        ("name", ";a"), ("token", ";a=b"), ("quoted", ";a=\"b c\""), ("quoted-empty", ";a=\"\""),
        ("quoted-pair", ";a=\"b\\\"c\""), ("quoted-semicolon", ";a=\"b;c\""), ("several", ";a=b;c;d=\"e\""),
        ("quoted-8-bit", ";a=\"\xe9\""), ("quoted-tab", ";a=\"\t\"")):
    case("9112-7.1.1", MUST, "extension-ignored-" + name,
         chunked("2%s\r\n20\r\n0%s\r\n\r\n" % (ext, ext)), 200, body=b"75")
for name, ext in (("before-semicolon", " ;a=b"), ("behind-semicolon", "; a=b"), ("around-equals", ";a = b"),
                  ("tab", "\t;\ta\t=\t\"b\"")):
    case("9110-5.6.3", MUST, "extension-bws-" + name,
         chunked("2%s\r\n20\r\n0\r\n\r\n" % ext), 200, body=b"75")
for name, ext in (
        ("bare-semicolon", ";"), ("no-name", ";=b"), ("two-semicolons", ";;a"), ("no-value", ";a="),
        ("name-no-token", ";a@=b"), ("value-no-token", ";a=b@"), ("quote-not-closed", ";a=\"b"),
        ("behind-quote", ";a=\"b\"c"), ("nul", ";a\0"), ("nul-in-value", ";a=b\0"),
        ("nul-in-quoted", ";a=\"\0\""), ("control-in-quoted", ";a=\"\x01\""), ("cr", ";a\rb"),
        ("lf", ";a\nb"), ("lf-in-quoted", ";a=\"\n\""), ("cr-in-quoted", ";a=\"\r\""),
        ("nul-first", ";\0a"), ("lf-at-once", ";\n"), ("cr-at-once", ";\rX"), ("cr-cr-lf", ";a=b\r"),
        ("lf-before", "\n;a"), ("quote-closed-on-next-line", ";a=\"b\r\n\""), ("bracket-in-name", ";a[=b"),
        ("space-inside", ";a b"), ("8-bit-name", ";\xe9"), ("no-semicolon", "a=b"),
        ("no-semicolon-space", " a=b"), ("trailing-semicolon", ";a=b;"), ("lf-ends", ";a=b\n")):
    case("9112-7.1.1", MUST, "extension-invalid-" + name,
         chunked("2%s\r\n20\r\n0\r\n\r\n" % ext), 400, CLOSE)
case("9112-7.1.1", SHOULD, "extension-of-60-KiB",
     chunked("2;a=" + "b" * 60000 + "\r\n20\r\n0\r\n\r\n"), {400, 413, 431}, CLOSE)
case("9112-7.1.1", SHOULD, "extensions-without-end", chunked("2" + ";a" * 10000), {400, 413, 431},
     CLOSE)
case("9112-7.1.1", SHOULD, "extensions-on-every-chunk",
     chunked(("1;" + "x" * 200 + "\r\n \r\n") * 300), {400, 413, 431}, CLOSE)
for name, trailer in (
        ("one", "X: y\r\n"), ("two", "X: y\r\nZ:\r\n"), ("ows", "X:\t y \t\r\n"),
        ("obs-text", "X: \xe9\r\n")):
    case("9112-7.1.2", MUST, "trailer-" + name, chunked("2\r\n20\r\n0\r\n%s\r\n" % trailer), 200,
         body=b"75")
for name, trailer in (
        ("content-length", "Content-Length: 5\r\n"), ("te", "Transfer-Encoding: chunked\r\n"),
        ("host", "Host: other\r\n"), ("host-twice", "Host: a/b\r\nHost: c\r\n"),
        ("connection-close", "Connection: close\r\n"), ("expect", "Expect: 100-continue\r\n"),
        ("content-type", "Content-Type: text/html\r\n"),
        ("content-length-huge", "Content-Length: %s\r\n" % ("9" * 30)),
        ("authorization", "Authorization: Basic eDp5\r\n")):
    case("9110-6.5.1", MUST, "trailer-not-merged-" + name,
         chunked("2\r\n20\r\n0\r\n%s\r\n" % trailer) + get(), Either(([200, 200], [400])), ANY)
for name, trailer in (
        ("no-colon", "junk\r\n"), ("space-before-colon", "X : y\r\n"), ("empty-name", ": y\r\n"),
        ("fold", "X: y\r\n z\r\n"), ("leading-space", " X: y\r\n"), ("nul", "X: \0\r\n"),
        ("bare-lf", "X: y\n"), ("bare-cr", "X: a\rb\r\n"), ("name-no-token", "X[]: y\r\n"),
        ("control", "X: \x01\r\n"), ("8-bit-name", "\xe9: y\r\n"), ("cr-cr-lf", "X: y\r\r\n")):
    case("9112-7.1.2", MUST, "trailer-invalid-" + name, chunked("2\r\n20\r\n0\r\n%s\r\n" % trailer),
         400, CLOSE)
case("9112-7.1.2", SHOULD, "trailer-of-20-KiB",
     chunked("2\r\n20\r\n0\r\nX: " + "y" * 20000 + "\r\n\r\n"), {400, 413, 431}, CLOSE)
case("9112-7.1.2", SHOULD, "trailers-of-1000-fields",
     chunked("2\r\n20\r\n0\r\n" + "X: y\r\n" * 1000 + "\r\n"), {400, 413, 431}, CLOSE)
case("9112-7.1", MUST, "chunked-then-a-nul", chunked(BODY) + "\0", [200, 400], CLOSE)
case("9112-7.1", MUST, "chunked-then-request",
     chunked(BODY) + get("/baseline11?a=1"), [200, 200], body=b"1")
case("9112-7.1", MUST, "chunked-with-trailer-then-request",
     chunked("2\r\n20\r\n0\r\nX: y\r\n\r\n") + get("/baseline11?a=1"), [200, 200], body=b"1")

# -- 9112 9: connections -----------------------------------------------------------------------

case("9112-9.3", MUST, "1.1-persists", get() + get("/baseline11?a=1"), [200, 200], body=b"1")
case("9112-9.3", MUST, "1.1-keep-alive-persists", get(fields="Connection: keep-alive\r\n"), 200)
case("9112-9.3", MUST, "1.0-closes", get(version="HTTP/1.0"), 200, CLOSE, body=b"ok")
case("9112-9.3", MUST, "1.0-keep-alive-persists",
     get(version="HTTP/1.0", fields="Connection: keep-alive\r\n"), 200, KEEP, body=b"ok")
case("9112-9.3", MUST, "1.0-keep-alive-ignores-case",
     get(version="HTTP/1.0", fields="Connection: Keep-Alive\r\n"), 200, KEEP, body=b"ok")
case("9112-9.3", MUST, "1.0-keep-alive-in-list",
     get(version="HTTP/1.0", fields="Connection: foo , keep-alive,\r\n"), 200, KEEP, body=b"ok")
case("9112-9.3", MUST, "1.0-keep-alive-twice",
     get(version="HTTP/1.0", fields="Connection: keep-alive\r\n") * 2, [200, 200], KEEP)
case("9112-9.3", MUST, "1.0-not-keep-alive",
     get(version="HTTP/1.0", fields="Connection: keep-alived\r\n"), 200, CLOSE)
case("9112-9.3", MUST, "1.0-keep-alive-field-alone",
     get(version="HTTP/1.0", fields="Keep-Alive: timeout=5\r\n"), 200, CLOSE)
case("9112-9.3", MUST, "1.0-keep-alive-and-close",
     get(version="HTTP/1.0", fields="Connection: keep-alive, close\r\n"), 200, CLOSE)
case("9112-9.3", MUST, "1.0-post-keep-alive",
     post("Content-Length: 2\r\nConnection: keep-alive\r\n", "20", version="HTTP/1.0"), 200, KEEP,
     body=b"75")
for value in ("close", "Close", "CLOSE", "cLoSe", "keep-alive, close", "close, keep-alive", "close,",
              ",close", ", ,close", "foo,close,bar", "foo ,\tclose\t, bar", "close, close"):
    case("9112-9.6", MUST, "close-%s" % slug(value), get(fields="Connection: %s\r\n" % value), 200,
         CLOSE, body=b"ok")
case("9112-9.6", MUST, "close-in-second-line",
     get(fields="Connection: foo\r\nConnection: close\r\n"), 200, CLOSE)
case("9112-9.6", MUST, "close-in-first-of-two-lines",
     get(fields="Connection: close\r\nConnection: keep-alive\r\n"), 200, CLOSE)
case("9112-9.6", MUST, "close-before-host", get(host="Connection: close\r\n" + H), 200, CLOSE)
for value in ("notclose", "closed", "close-not", "x-close", "\"close\"", "close x", "clos", "",
              "close=1", "close;q=1", "upgrade", "foo"):
    case("9110-7.6.1", MUST, "not-close-%s" % (slug(value) or "empty"),
         get(fields="Connection: %s\r\n" % value), 200, KEEP, body=b"ok")
case("9112-9.6", MUST, "close-on-post",
     post("Content-Length: 2\r\nConnection: close\r\n", "20"), 200, CLOSE, body=b"75")
case("9112-9.6", MUST, "close-on-chunked-post",
     chunked(BODY, "Transfer-Encoding: chunked\r\nConnection: close\r\n"), 200, CLOSE, body=b"75")
case("9112-9.6", MUST, "close-on-404", get("/nosuch", fields="Connection: close\r\n"), 404, CLOSE)
case("9112-9.6", MUST, "close-on-405", get(method="PUT", fields="Connection: close\r\n"), 405, CLOSE)
case("9112-9.6", MUST, "close-on-head", get(method="HEAD", fields="Connection: close\r\n"), 200, CLOSE,
     heads=(0,))
case("9112-9.6", MUST, "close-on-options", get("*", method="OPTIONS", fields="Connection: close\r\n"),
     {200, 204}, CLOSE)
case("9112-9.6", MUST, "nothing-answered-behind-close",
     get(fields="Connection: close\r\n") + get() + get(), 200, CLOSE, body=b"ok")
case("9112-9.6", MUST, "nothing-answered-behind-1.0",
     get(version="HTTP/1.0") + get() + get(), 200, CLOSE, body=b"ok")
case("9112-9.6", MUST, "garbage-behind-close-is-not-looked-at",
     get(fields="Connection: close\r\n") + "\0\0\0garbage\r\n\r\n", 200, CLOSE, body=b"ok")
case("9110-7.8", MUST, "upgrade-ignored",
     get(fields="Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
                "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"), 200, body=b"ok")
case("9110-7.8", MUST, "upgrade-invalid-version",
     get(fields="Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 99\r\n"
                "Sec-WebSocket-Key: YWJjZGVmZ2hpamtsbW5vcA==\r\n"), {200, 426}, ANY)
case("9110-7.8", MUST, "upgrade-without-connection", get(fields="Upgrade: websocket\r\n"), 200, body=b"ok")
case("9110-7.8", MUST, "upgrade-then-bytes-of-another-protocol",
     get(fields="Connection: Upgrade\r\nUpgrade: websocket\r\n") + "\x81\x02hi\r\n\r\n", [200, 400], CLOSE)
case("9110-7.8", MUST, "upgrade-h2c-ignored",
     get(fields="Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: \r\n"), 200,
     body=b"ok")
case("9110-7.8", MUST, "upgrade-unknown-ignored", get(fields="Upgrade: foo/2\r\n"), 200, body=b"ok")
case("9110-7.8", MUST, "upgrade-1.0-ignored",
     get(version="HTTP/1.0", fields="Connection: Upgrade\r\nUpgrade: websocket\r\n"), 200, CLOSE)
case("9110-7.8", MUST, "upgrade-on-post-ignored",
     post("Connection: Upgrade\r\nUpgrade: websocket\r\nContent-Length: 2\r\n", "20"), 200, body=b"75")

# -- 9112 9.3.2: pipelining --------------------------------------------------------------------

for n in (2, 3, 16, 64, 300):
    case("9112-9.3.2", MUST, "pipeline-of-%d" % n,
         "".join(get("/baseline11?a=%d" % i) for i in range(n)), [200] * n, body=b"%d" % (n - 1))
case("9112-9.3.2", MUST, "pipeline-mixed",
     get() + post("Content-Length: 2\r\n", "20") + chunked(BODY) + get("/nosuch") + get("/json/2") +
     get(method="PUT") + get(method="OPTIONS") + get("/baseline11?a=9"),
     [200, 200, 200, 404, 200, 405, {200, 204}, 200], ANY, body=b"9")
case("9112-9.3.2", MUST, "pipeline-middle-is-bad",
     get() + get("/baseline11?a=1") + "GET /pipeline HTTP/1.1\r\nBad Header: x\r\n\r\n" + get() + get(),
     [200, 200, 400], CLOSE)
case("9112-9.3.2", MUST, "pipeline-middle-has-no-host", get() + get(host="") + get(), [200, 400], CLOSE)
case("9112-9.3.2", MUST, "pipeline-middle-has-bad-chunk",
     get() + chunked("2\r\n20\r\nx\r\n") + get(), [200, 400], CLOSE)
case("9112-9.3.2", MUST, "pipeline-middle-is-505",
     get() + get(version="HTTP/2.0") + get(), [200, 505], CLOSE)
case("9112-9.3.2", MUST, "pipeline-middle-is-too-long",
     get() + get("/" + "x" * 9000) + get(), [200, 414], CLOSE)
case("9112-9.3.2", MUST, "pipeline-ends-at-close",
     get() + get(fields="Connection: close\r\n") + get(), [200, 200], CLOSE)
case("9112-9.3.2", MUST, "pipeline-with-json",
     "".join(get("/json/%d?m=%d" % (i, i)) for i in range(20)), [200] * 20)
case("9112-9.3.2", MUST, "pipeline-400-bodies",
     get("/baseline11?a=x") + get("/baseline11?a=1"), Either(([400, 200], [400])), ANY)

# -- 9110 10.1.1: Expect -----------------------------------------------------------------------

EXPECT = "Expect: 100-continue\r\n"
case("9110-10.1.1", MUST, "expect-body-at-once",
     post(EXPECT + "Content-Length: 2\r\n", "20"), 200, body=b"75", interim=(100,))
case("9110-10.1.1", MUST, "expect-ignores-case",
     post("Expect: 100-CONTINUE\r\nContent-Length: 2\r\n", "20"), 200, body=b"75", interim=(100,))
case("9110-10.1.1", MUST, "expect-chunked-at-once",
     chunked(BODY, EXPECT + "Transfer-Encoding: chunked\r\n"), 200, body=b"75", interim=(100,))
case("9110-10.1.1", MUST, "expect-on-get-without-body", get(fields=EXPECT), 200, body=b"ok",
     interim=(100,))
case("9110-10.1.1", MUST, "expect-zero-length", post(EXPECT + "Content-Length: 0\r\n"), 200,
     body=b"55", interim=(100,))
case("9110-10.1.1", MUST, "expect-in-1.0-ignored",
     post(EXPECT + "Content-Length: 2\r\n", "20", version="HTTP/1.0"), 200, CLOSE, body=b"75")
case("9110-10.1.1", MUST, "expect-too-large-is-413-at-once",
     post(EXPECT + "Content-Length: %d\r\n" % (9 * 1024 * 1024)), 413, CLOSE)
case("9110-10.1.1", MUST, "expect-pipelined",
     get() + post(EXPECT + "Content-Length: 2\r\n", "20") + get(), [200, 200, 200], body=b"ok",
     interim=(100,))
case("9110-10.1.1", SHOULD, "expect-unknown",
     post("Expect: 200-maybe\r\nContent-Length: 2\r\n", "20"), {200, 417}, ANY)
case("9110-10.1.1", SHOULD, "expect-with-a-word-more",
     post("Expect: y 100-continue\r\nContent-Length: 2\r\n", "20"), {200, 417}, ANY)
case("9110-10.1.1", MUST, "expect-on-get-with-body-that-looks-like-a-request",
     get(fields=EXPECT + "Content-Length: %d\r\n" % len(get("/json/1"))) + get("/json/1") +
     get("/baseline11?a=3"), Either(([200, 200], [400], [417])), ANY, interim=(100,))
case("9110-10.1.1", MUST, "expect-with-bad-length",
     post(EXPECT + "Content-Length: x\r\n", "20"), 400, CLOSE)
case("9110-10.1.1", MUST, "expect-with-te-and-length",
     post(EXPECT + "Content-Length: 2\r\nTransfer-Encoding: chunked\r\n", "20"), 400, CLOSE)

# -- 9110: fields that do not apply -----------------------------------------------------------

case("9110-14.2", MUST, "range-on-post-ignored",
     post("Range: bytes=0-0\r\nContent-Length: 2\r\n", "20"), 200, body=b"75")
case("9110-14.2", SHOULD, "range-invalid", get(fields="Range: bytes=abc\r\n"), {200, 416}, ANY)
case("9110-14.2", SHOULD, "range-unknown-unit-ignored", get(fields="Range: lines=0-1\r\n"), 200)
case("9110-14.2", SHOULD, "range-of-1000-parts",
     get(fields="Range: bytes=" + ",".join("0-%d" % i for i in range(1000)) + "\r\n"), {200, 416}, ANY)
case("9110-12.5.1", SHOULD, "accept-nothing-of-ours", get(fields="Accept: image/nonsense\r\n"),
     {200, 406}, ANY)
case("9110-12.5.3", SHOULD, "accept-encoding", get(fields="Accept-Encoding: gzip, br\r\n"), 200,
     body=b"ok")
case("9110-8.3", SHOULD, "content-type-unknown",
     post("Content-Type: application/x-nonsense\r\nContent-Length: 2\r\n", "20"), {200, 415}, ANY)
case("9110-8.4", SHOULD, "content-encoding-unknown",
     post("Content-Encoding: x-nonsense\r\nContent-Length: 2\r\n", "20"), 415, ANY)
case("9110-5.3", SHOULD, "content-type-twice",
     post("Content-Type: text/plain\r\nContent-Type: text/html\r\nContent-Length: 2\r\n", "20"),
     {200, 400}, ANY)
case("9110-13.1", SHOULD, "conditions-ignored-without-validators",
     get(fields="If-None-Match: \"x\"\r\nIf-Modified-Since: Sat, 29 Oct 1994 19:43:31 GMT\r\n"), 200)
case("9110-7.6.2", SHOULD, "max-forwards-zero-options",
     get("*", method="OPTIONS", fields="Max-Forwards: 0\r\n"), {200, 204})
case("9110-10.1.4", SHOULD, "te-trailers-ignored",
     get(fields="TE: trailers, deflate;q=0.5\r\nConnection: TE\r\n"), 200, body=b"ok")

# -- 9112 8, 9.6: half-close and incomplete messages -------------------------------------------

case("9112-9.6", MUST, "half-close-still-answered", get(), 200, ANY, half=True, body=b"ok")
case("9112-9.6", MUST, "half-close-json-still-answered", get("/json/50?m=2"), 200, ANY, half=True)
case("9112-9.6", MUST, "half-close-post-still-answered",
     post("Content-Length: 2\r\n", "20"), 200, ANY, half=True, body=b"75")
case("9112-9.6", MUST, "half-close-pipeline-still-answered",
     "".join(get("/baseline11?a=%d" % i) for i in range(50)), [200] * 50, ANY, half=True, body=b"49")
NOTHING_OR_ERROR = Either(([], [{400, 408}]))
for name, data in (
        ("nothing", ""), ("empty-line", "\r\n"), ("letter", "G"), ("method", "GET "),
        ("target", "GET /pipeline"), ("version", "GET /pipeline HTTP/1.1"),
        ("cr", "GET /pipeline HTTP/1.1\r"), ("request-line", "GET /pipeline HTTP/1.1\r\n"),
        ("name", "GET /pipeline HTTP/1.1\r\nHos"), ("value", "GET /pipeline HTTP/1.1\r\nHost: loc"),
        ("head-but-lf", get()[:-1]), ("head-but-crlf", get()[:-2]),
        ("length-body-short", post("Content-Length: 10\r\n", "20")),
        ("length-body-missing", post("Content-Length: 10\r\n")),
        ("chunked-no-last", chunked("2\r\n20\r\n")), ("chunked-in-data", chunked("5\r\n20")),
        ("chunked-in-size", chunked("2")), ("chunked-in-trailer", chunked("2\r\n20\r\n0\r\nX: ")),
        ("chunked-no-end", chunked("2\r\n20\r\n0\r\n"))):
    case("9112-8", MUST, "incomplete-%s-then-fin" % name, data, NOTHING_OR_ERROR, ANY, half=True)
case("9112-8", MUST, "complete-and-incomplete-then-fin",
     get() + "GET /pipe", Either(([200], [200, {400, 408}])), ANY, half=True)

# -- what this server answers ------------------------------------------------------------------

BIG = 2 ** 63
for query, answer in (
        ("a=13&b=42", 55), ("", 0), ("a=1", 1), ("x=1&y=2&z=3&x=4", 10), ("a=-5", -5), ("a=007", 7),
        ("a=-0", 0), ("a=0", 0), ("a=%31%33", 13), ("a=%2D5", -5), ("a=-%35", -5), ("%61=5", 5),
        ("a=1&&b=2", 3), ("&", 0), ("&&a=1&&", 1), ("a=1&", 1), ("&a=1", 1),
        ("a=%d" % (BIG - 1), BIG - 1), ("a=-%d" % BIG, -BIG),
        ("a=%d&b=1&c=-1" % (BIG - 1), BIG - 1), ("a=%d&b=-1" % BIG, BIG - 1),
        ("a=-%d&b=-1&c=1" % BIG, -BIG), ("a=%d&b=-%d" % (10 ** 35, 10 ** 35 - 5), 5),
        ("a=" + "9" * 36 + "&b=-" + "9" * 36, 0), ("a=" + "0" * 100 + "5", 5),
        ("&".join("v%d=%d" % (i, i) for i in range(700)), sum(range(700)))):
    case("9110-4.2.2", OURS, "sum-" + (slug(query) or "of-nothing"), get("/baseline11?" + query), 200,
         body=b"%d" % answer)
case("9110-4.2.2", OURS, "sum-without-query", get("/baseline11"), 200, body=b"0")
for query in ("a", "a=", "=", "a=x", "a=1x", "a=x1", "a=+5", "a=--1", "a=-", "a=1-", "a=0x10", "a=1e3",
              "a=1.0", "a=5%20", "a=%205", "a=1=2", "a=5;b=6", "a=%EF%BC%91", "a=%00", "a=1%00",
              "a=1,2", "a=1&b", "b&a=1", "a=%2B5", "a=%", "a=1&b=%3", "a='1'", "a=1%0A", "a=1+1",
              "a=%d" % BIG, "a=-%d" % (BIG + 1), "a=%d&b=1" % (BIG - 1),
              "a=" + "9" * 36, "a=-" + "9" * 36, "a=" + "9" * 300):
    case("9110-15.5.1", OURS, "sum-400-" + slug(query), get("/baseline11?" + query), 400, ANY)
for body, answer in (("20", 75), ("-20", 35), (" 20 ", 75), ("\r\n20\r\n", 75), ("\t20", 75), ("20\n", 75),
                     ("0", 55), ("-55", 0), ("0020", 75), ("%d" % (BIG - 56), BIG - 1),
                     ("-%d" % (BIG + 55), -BIG)):
    case("9110-9.3.3", OURS, "post-" + slug(body), post("Content-Length: %d\r\n" % len(body), body), 200,
         body=b"%d" % answer)
    case("9110-9.3.3", OURS, "post-chunked-" + slug(body),
         chunked("".join("1\r\n%s\r\n" % c for c in body) + "0\r\n\r\n"), 200, body=b"%d" % answer)
for body in ("x", "20x", "x20", "2 0", "+20", "-", "--20", "20,", "1e3", "0x14", "20\0", "\0", "20\n20",
             "\xb2", "%32", "- 20", "%d" % (BIG - 55), "-%d" % (BIG + 56), "9" * 40, "9" * 5000):
    case("9110-15.5.1", OURS, "post-400-" + slug(body), post("Content-Length: %d\r\n" % len(body), body),
         400, ANY)
    case("9110-15.5.1", OURS, "post-chunked-400-" + slug(body),
         chunked("%x\r\n%s\r\n0\r\n\r\n" % (len(body), body)), 400, ANY)
case("9110-9.3.3", OURS, "post-white-space-only", post("Content-Length: 3\r\n", " \r\n"), {200, 400}, ANY)
case("9110-15.5.1", OURS, "post-bad-query-good-body",
     post("Content-Length: 2\r\n", "20", target="/baseline11?a=x"), 400, ANY)
case("9110-15.5.5", OURS, "post-404-body-not-read-as-request",
     post("Content-Length: %d\r\n" % len(get()), get(), target="/nosuch"), 404, ANY)
case("9110-15.5.5", OURS, "post-404-chunked-body-not-read-as-request",
     chunked("%x\r\n%s\r\n0\r\n\r\n" % (len(get()), get()), target="/nosuch"), 404, ANY)
case("9110-9.3.1", OURS, "pipeline-body", get("/pipeline"), 200, body=b"ok")
for path in ("/json/0", "/json/1", "/json/50", "/json/5?m=7", "/json/5?m=0", "/json/5?m=-3", "/json/5?m=%37",
             "/json/1?m=007", "/json/5?&&m=2&"):
    case("9110-9.3.1", OURS, "json-" + slug(path[6:]), get(path), 200)
for path in ("/json/51", "/json/-1", "/json/x", "/json/5x", "/json/x5", "/json/+5", "/json/5.0",
             "/json/99999999999999999999", "/json/-99999999999999999999", "/json/5?m=x", "/json/5?m=",
             "/json/5?m", "/json/5?m=1x", "/json/5?m=+1", "/json/5?m=1&m=2", "/json/5?m=1&m=1",
             "/json/5?m=9223372036854775807", "/json/5?m=-9223372036854775808",
             "/json/5?m=99999999999999999999999", "/json/5?m=1.5", "/json/5?m=%2B1"):
    case("9110-15.5.1", OURS, "json-400-" + slug(path[6:]), get(path), 400, ANY)
for path in ("/json", "/json/", "/json/5/", "/json/5/x", "/jsonx/5", "/JSON/5", "/json?m=1", "/js"):
    case("9110-15.5.5", OURS, "json-404-" + slug(path[1:]), get(path), 404, ANY)

_seen = set()
for _c in CASES:
    while _c.id in _seen:
        _c.name += "+"
    _seen.add(_c.id)
