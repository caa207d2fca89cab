# SPDX-License-Identifier: MIT
"""/json in the codings that a client takes, and requests that come in one."""

import ctypes
import json
import re
import subprocess
import zlib

import pytest

import wire
from wire import Exchange, drive, request

ROOM = 32 << 20


def _library(*names):
    for name in names:
        try:
            return ctypes.CDLL(name)
        except OSError:
            pass
    return None


BROTLI = _library("libbrotlidec.so.1", "libbrotlidec.so")
ZSTD = _library("libzstd.so.1", "libzstd.so")


def ungzip(data):
    d = zlib.decompressobj(31)
    out = d.decompress(data) + d.flush()
    assert d.eof and not d.unused_data, "one member, whole"
    return out


def unbr(data):
    out, size = ctypes.create_string_buffer(ROOM), ctypes.c_size_t(ROOM)
    assert BROTLI.BrotliDecoderDecompress(ctypes.c_size_t(len(data)), data, ctypes.byref(size), out) == 1
    return out.raw[:size.value]


def unzstd(data):
    out = ctypes.create_string_buffer(ROOM)
    ZSTD.ZSTD_decompressStream.restype = ZSTD.ZSTD_DCtx_reset.restype = ctypes.c_size_t
    ZSTD.ZSTD_createDCtx.restype = ctypes.c_void_p

    class Buffer(ctypes.Structure):
        _fields_ = [("data", ctypes.c_void_p), ("size", ctypes.c_size_t), ("pos", ctypes.c_size_t)]
    o = Buffer(ctypes.cast(out, ctypes.c_void_p), ROOM, 0)
    i = Buffer(ctypes.cast(ctypes.c_char_p(data), ctypes.c_void_p), len(data), 0)
    context = ctypes.c_void_p(ZSTD.ZSTD_createDCtx())
    while i.pos < i.size:
        left = ZSTD.ZSTD_decompressStream(context, ctypes.byref(o), ctypes.byref(i))
        assert left < 1 << 40, "malformed"
    assert left == 0, "a whole frame"
    ZSTD.ZSTD_freeDCtx(context)
    return out.raw[:o.pos]


DECODERS = {None: bytes, "gzip": ungzip, "br": BROTLI and unbr, "zstd": ZSTD and unzstd}


def built():
    """The codings that this server has."""
    said = subprocess.run([wire.binary(), "--version"], stdout=subprocess.PIPE, text=True).stdout
    line = re.search(r"compression: (.*)", said).group(1)
    return [coding for coding, library in (("br", "brotli"), ("zstd", "zstd"), ("gzip", "zlib"))
            if library in line]


CODINGS = built()
needs_gzip = pytest.mark.skipif("gzip" not in CODINGS, reason="built without zlib")


@pytest.fixture(scope="module")
def large(tmp_path_factory):
    """Some megabytes that do not compress away to nothing."""
    path = tmp_path_factory.mktemp("large") / "large.json"
    records = [{"id": i, "name": "%032x" % (i * 0x9e3779b97f4a7c15f39cc0605cedc835 % (1 << 128)), "category": "c%d" % (i % 7),
                "price": i * 7919 % 10007, "quantity": i % 100, "active": i % 3 == 0,
                "tags": ["t%d" % (i * k % 97) for k in range(4)], "rating": {"score": i % 50, "count": i}}
               for i in range(16000)]
    path.write_text(json.dumps(records))
    return str(path)


def check(r, coding):
    """The answer is in this coding, says so, and is what one without is."""
    assert (r.status, r.get("content-encoding")) == (200, coding)
    assert r.tokens("vary") == ["accept-encoding"] and r.get("content-type") == "application/json"
    return DECODERS[coding](r.body) if DECODERS[coding] else None


def test_codings(server):
    with server.connect() as c:
        for path in ("/json/0", "/json/1", "/json/50?m=3"):
            plain = check(c.get(path), None)
            for coding in CODINGS:
                r = c.get(path, "Accept-Encoding: " + coding)
                assert check(r, coding) in (plain, None)
                assert r.length == len(r.body), "a short answer states its length"
                head = c.get(path, "Accept-Encoding: " + coding, method="HEAD")
                assert (head.status, head.get("content-encoding"), head.body) == (200, coding, b"")
        assert c.get("/pipeline", "Accept-Encoding: gzip").get("content-encoding") is None


def test_weights(server):
    best = CODINGS[0] if CODINGS else None
    has = {c: c if c in CODINGS else None for c in ("br", "zstd", "gzip")}
    for accept, coding in [
            ("", None), ("identity", None), ("deflate", None), ("*", None), ("br, zstd, gzip", best),
            ("gzip;q=0", None), ("gzip;q=0.0", None), ("gzip;q=0.5, identity", None),
            ("gzip;q=0.001", has["gzip"]), ("GZIP", has["gzip"]), ("x-gzip", has["gzip"]),
            ("*;q=0.5, identity;q=0.1", best), ("gzip;q=x", None), ("gzip;q=2", None)]:
        with server.connect() as c:
            check(c.get("/json/5", "Accept-Encoding: " + accept), coding)
    with server.connect() as c:  # over several lines, too
        check(c.get("/json/5", "Accept-Encoding: gzip;q=0", "accept-encoding: identity;q=0.5"), None)
        for accept in ("identity;q=0", "*;q=0", "deflate, identity;q=0", "gzip;q=0, br;q=0, zstd;q=0, identity;q=0"):
            assert c.get("/json/5", "Accept-Encoding: " + accept).status == 406
        if CODINGS:
            check(c.get("/json/5", "Accept-Encoding: %s, identity;q=0" % best), best)
            check(c.get("/json/5", "Accept-Encoding: *, identity;q=0"), best)


def test_long_answers_are_streamed(servers, backend, large):
    """Chunked, in step with the client, and whole; several at once, in order with others."""
    s = servers.get(backend, "--dataset", large)
    with s.connect() as c:
        plain = check(c.get("/json/16000?m=2"), None)
    assert len(plain) > 2 << 20
    for coding in CODINGS:
        with s.connect(rcvbuf=4096) as c:
            c.send((request("GET /json/16000?m=2 HTTP/1.1", "Accept-Encoding: " + coding) +
                    request("GET /pipeline HTTP/1.1")) * 2)
            for _ in range(2):
                r = c.response()
                assert r.tokens("transfer-encoding") == ["chunked"] and len(r.body) < len(plain) / 2
                assert check(r, coding) in (plain, None)
                assert c.response().body == b"ok"
        with s.connect() as c:  # HTTP/1.0 has no chunks: the end of the connection is the body's
            c.send(request("GET /json/16000?m=2 HTTP/1.0", "Accept-Encoding: " + coding, "Connection: keep-alive"))
            got = b"".join(iter(lambda: c.sock.recv(1 << 20), b""))
            head, _, body = got.partition(b"\r\n\r\n")
            assert b"Connection: close" in head and b"Content-Length" not in head and b"chunked" not in head
            assert not DECODERS[coding] or DECODERS[coding](body) == plain


@needs_gzip
def test_too_many_at_once(start, large):
    """Clients that do not read hold compressors: others get it as it is; nobody waits, all come back."""
    s = start("--dataset", large, workers=1)
    ask = request("GET /json/16000 HTTP/1.1", "Accept-Encoding: gzip")
    slow = [s.connect(rcvbuf=4096) for _ in range(40)]
    for c in slow:
        c.send(ask)
    wire.wait_until("all are at work", lambda: s.stats()["compressed"] >= 32 and
                    s.stats()["compressed"] + s.stats()["limit_compress"] == 40)
    with s.connect() as c:
        assert c.get("/json/5", "Accept-Encoding: gzip, identity;q=0").status == 503
        check(c.get("/json/5", "Accept-Encoding: gzip"), None)
    for c in slow[:20]:
        c.reset()
    answers = [c.response() for c in slow[20:]]
    assert len({DECODERS[r.get("content-encoding")](r.body) for r in answers}) == 1
    for c in slow[20:]:
        c.close()
    with s.connect() as c:
        wire.wait_until("they come back",
                        lambda: c.get("/json/5", "Accept-Encoding: gzip").get("content-encoding") == "gzip")


@needs_gzip
def test_levels(start, large):
    sizes = []
    for level in (1, 9):
        s = start("--dataset", large, "--compress-level", level, workers=1)
        with s.connect() as c:
            sizes.append(len(c.get("/json/16000", "Accept-Encoding: gzip").body))
    assert sizes[1] < sizes[0]
    s = start("--compress-level", 0)
    with s.connect() as c:
        r = c.get("/json/5", "Accept-Encoding: gzip")
        assert r.get("content-encoding") is None and r.get("vary") is None
        assert c.get("/json/5", "Accept-Encoding: identity;q=0, gzip").status == 406


@needs_gzip
def test_range_errors_and_the_filter(start):
    wire.need_filter()
    try:
        s = start("--seccomp")
    except wire.StartError as e:
        pytest.skip(str(e))
    with s.connect() as c:
        for coding in CODINGS:
            r = c.get("/json/5?m=9223372036854775807", "Accept-Encoding: " + coding)
            assert r.status == 400 and r.get("content-encoding") is None
            check(c.get("/json/50", "Accept-Encoding: " + coding), coding)


def test_requests_in_a_coding_are_415(server):
    exchanges = []
    for coding, status in [("gzip", 415), ("br", 415), ("gzip, identity", 415), ("x", 415), ("identity", 200),
                           ("IDENTITY", 200), ("", 200)]:
        for body in (("Content-Length: 2", b"20"), ("Transfer-Encoding: chunked", b"2\r\n20\r\n0\r\n\r\n")):
            exchanges.append(Exchange(request("POST /baseline11?a=1 HTTP/1.1", "Content-Encoding: " + coding, body[0],
                                              body=body[1]), tag=status))
    exchanges.append(Exchange(request("GET /pipeline HTTP/1.1", "Content-Encoding: gzip"), tag=200))
    drive(server.addr, exchanges)
    for e in exchanges:
        assert not e.error and [r.status for r in e.finals] == [e.tag], e.story()
        # what would have been taken, RFC 9110 section 15.5.16
        assert e.finals[0].get("accept-encoding") == ("identity" if e.tag == 415 else None), e.story()
