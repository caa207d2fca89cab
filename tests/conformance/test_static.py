# SPDX-License-Identifier: MIT
"""Files below /static/: what is served, what is not, conditions, ranges, codings, and files that
change while they are served."""

import email.utils
import gzip
import os
import random
import socket
import time

import pytest

import wire
from wire import Exchange, drive, request

SIZES = (0, 1, 1000, 16384, 16385, 65536, 300001)
OLD = 1_000_000_000  # a time long ago


def content(size, seed=1):
    return random.Random(seed).randbytes(size)


class Tree:
    """A directory to serve, with what must not be served in it and beside it."""

    def __init__(self, base):
        self.secret = base / "secret.txt"
        self.secret.write_bytes(b"secret")
        self.root = root = base / "root"
        (root / "sub" / "deep").mkdir(parents=True)
        for size in SIZES:
            self.write("%d.bin" % size, content(size))
        self.write("page.html", b"<p>page</p>")
        self.write("sub/deep/ä b+c.TXT", b"odd name")
        self.write(".hidden", b"hidden")
        self.write("style.css", b"plain", OLD)
        for suffix in ("gz", "br", "zst"):
            self.write("style.css." + suffix, b"made by " + suffix.encode(), OLD)
        self.write("only.css", b"plain", OLD)
        self.write("only.css.gz", gzip.compress(b"plain"), OLD)
        self.write("newer.css", b"plain", OLD + 10)
        self.write("newer.css.gz", b"made of an older one", OLD)
        (root / "dir.css.gz").mkdir()
        self.write("dir.css", b"plain")
        (root / "inside").symlink_to("sub/deep/../../page.html")
        (root / "outside").symlink_to("../secret.txt")
        (root / "absolute").symlink_to(str(self.root / "page.html"))
        (root / "updir").symlink_to("..")
        (root / "magic").symlink_to("/proc/self/root" + str(self.secret))
        (root / "loop").symlink_to("loop")
        (root / "dangling").symlink_to("nowhere")
        os.mkfifo(root / "fifo")
        sock = socket.socket(socket.AF_UNIX)
        here = os.getcwd()
        os.chdir(root)  # the name of a socket is short
        sock.bind("socket")
        os.chdir(here)
        sock.close()
        try:
            os.mknod(root / "device", 0o20666, os.makedev(1, 3))
        except PermissionError:
            pass

    def write(self, name, data, when=OLD):
        path = self.root / name
        path.write_bytes(data)
        os.utime(path, (when, when))
        return path


@pytest.fixture(scope="session")
def tree(tmp_path_factory):
    base = tmp_path_factory.mktemp("static")
    for path in [base, *base.parents][:3]:  # the server may be another user
        path.chmod(0o755)
    return Tree(base)


# With a cache smaller than what is asked for; whatever it keeps, nobody sees a difference.
CACHE = ("--open-file-cache", "3", "--open-file-cache-valid", "1")


@pytest.fixture(params=[(), CACHE], ids=["opened", "cached"])
def files(request, servers, backend, tree):
    return servers.get(backend, "--static", str(tree.root), *request.param)


def get(server, path, *fields, method="GET"):
    with server.connect() as c:
        return c.get("/static/" + path, *fields, method=method)


# -- what is served -----------------------------------------------------------------------------

def test_sizes(files, tree):
    """Each size alone, by HEAD, and all of them in one pipeline with others in between."""
    data = b"".join(request("%s /static/%d.bin HTTP/1.1" % (method, size)) +
                    request("GET /pipeline HTTP/1.1")
                    for size in SIZES for method in ("GET", "HEAD"))
    heads = [4 * i + 2 for i in range(len(SIZES))]
    e = files.exchange(data, responses=4 * len(SIZES), heads=heads)
    assert not e.error, e.story()
    for i, r in enumerate(e.finals):
        if i % 2:
            assert r.body == b"ok"
            continue
        size = SIZES[i // 4]
        assert (r.status, r.length) == (200, size)
        assert r.body == (b"" if i in heads else content(size))
        assert r.get("content-type") == "application/octet-stream"
        assert r.get("accept-ranges") == "bytes" and r.get("vary") == "Accept-Encoding"
        assert r.get("last-modified") == email.utils.formatdate(OLD, usegmt=True)
        assert r.get("etag").startswith('"') and r.get("etag").endswith('"')


def test_many_pipelined_cost_one_open_file_each(files, tree):
    """A client that asks for much and reads nothing holds one file, not hundreds."""
    before = files.fds() if files.readable() else 0
    with files.connect(rcvbuf=4096) as c:
        c.send(request("GET /static/300001.bin HTTP/1.1") * 150)
        time.sleep(0.3)
        if before:
            assert files.fds() <= before + 3
        for _ in range(150):
            assert c.response().body == content(300001)


def test_names_and_types(files):
    cases = [("page.html", 200, b"<p>page</p>", "text/html"),
             ("p%61ge.html?x=%2f", 200, b"<p>page</p>", "text/html"),
             ("sub/deep/%C3%A4%20b+c.TXT", 200, b"odd name", "text/plain"),
             (".hidden", 200, b"hidden", "application/octet-stream"),
             ("inside", 200, b"<p>page</p>", "application/octet-stream")]
    for path, status, body, kind in cases:
        r = get(files, path)
        assert (r.status, r.body, r.get("content-type")) == (status, body, kind), path


HOSTILE = [
    "", "/", "//page.html", "sub", "sub/", "sub/deep", "sub//deep", "page.html/", "page.html/x", "nowhere",
    ".", "..", "../secret.txt", "sub/../../secret.txt", "sub/../page.html", "./page.html", "sub/./deep",
    "%2e%2e/secret.txt", "%2E%2E/secret.txt", ".%2e/secret.txt", "..%2fsecret.txt", "%2e%2e%2fsecret.txt",
    "..%2Fsecret.txt", "%252e%252e/secret.txt", "..%5csecret.txt", "..%c0%afsecret.txt", "%c0%ae%c0%ae/secret.txt",
    "..;/secret.txt", ".../secret.txt", "page.html%00", "page.html%00.css", "%00", "sub%2fdeep", "%2fetc/passwd",
    "outside", "absolute", "updir/secret.txt", "updir/root/page.html", "magic", "loop", "dangling", "fifo",
    "socket", "device", "x" * 256, "x/" * 1500 + "x", "%78" * 2600, "page.html%20", "page.html.", "PAGE.HTML",
]


def test_what_is_not_served(files):
    exchanges = [Exchange(request("GET /static/%s HTTP/1.1" % path), tag=path) for path in HOSTILE]
    exchanges += [Exchange(request("GET %s HTTP/1.1" % path), tag=path)
                  for path in ("/static", "/staticpage.html", "/Static/page.html", "/./static/page.html",
                               "/x/../static/page.html", "//static/page.html")]
    drive(files.addr, exchanges)
    for e in exchanges:
        assert [r.status in (400, 404) for r in e.finals] == [True], (e.tag, e.error, e.finals)
        assert b"secret" not in e.finals[0].body and e.probe is not None


def test_not_readable_is_403(files, tree):
    path = tree.write("private.txt", b"private")
    path.chmod(0)
    try:
        if os.getuid() or not os.access(path, os.R_OK):
            assert get(files, "private.txt").status == 403
    finally:
        path.unlink()


def test_methods(files):
    for method in ("POST", "PUT", "DELETE", "TRACE"):
        r = get(files, "page.html", method=method)
        assert (r.status, r.get("allow")) == (405, "GET, HEAD, OPTIONS")
    assert get(files, "page.html", method="OPTIONS").status == 204
    e = files.exchange(request("GET /static/page.html HTTP/1.1", "Content-Length: 5", body="hello") * 2,
                       responses=2)
    assert [r.body for r in e.finals] == [b"<p>page</p>"] * 2, e.story()


def test_http_1_0(files):
    e = files.exchange(request("GET /static/300001.bin HTTP/1.0"))
    assert e.finals[0].body == content(300001) and e.finals[0].closes


def test_nothing_without_the_option(server):
    assert get(server, "page.html").status == 404
    assert get(server, "page.html", method="OPTIONS").status == 404


# -- conditions and ranges ----------------------------------------------------------------------

def test_conditions(files):
    first = get(files, "page.html")
    tag, time_ = first.get("etag"), first.get("last-modified")
    for fields, status in [
            (("If-None-Match: " + tag,), 304), (("If-None-Match: W/" + tag,), 304), (("If-None-Match: *",), 304),
            (('If-None-Match: "x", ' + tag,), 304), (('If-None-Match: "x"',), 200),
            (("If-Modified-Since: " + time_,), 304), (("If-Modified-Since: Thu, 01 Jan 1970 00:00:00 GMT",), 200),
            (("If-Modified-Since: " + time_, 'If-None-Match: "x"'), 200), (("If-Modified-Since: junk",), 200),
            (("If-Match: " + tag,), 200), (('If-Match: "x"',), 412),
            (("If-Unmodified-Since: Thu, 01 Jan 1970 00:00:00 GMT",), 412)]:
        for method in ("GET", "HEAD"):
            r = get(files, "page.html", *fields, method=method)
            assert r.status == status, (fields, method, r)
            if status == 304:
                assert not r.body and r.get("etag") == tag and r.get("vary")
                assert r.get("content-type") is None


def test_ranges(files):
    whole = content(300001)
    for value, first, count in [("0-0", 0, 1), ("0-", 0, 300001), ("100-199", 100, 100), ("-1", 300000, 1),
                                ("-999999", 0, 300001), ("299999-999999", 299999, 2), ("5-200004", 5, 200000)]:
        r = get(files, "300001.bin", "Range: bytes=" + value)
        assert r.status == 206 and r.body == whole[first:first + count], value
        assert r.get("content-range") == "bytes %d-%d/300001" % (first, first + count - 1)
    for value in ("300001-", "-0", "999999999999999999999-"):
        r = get(files, "300001.bin", "Range: bytes=" + value)
        assert (r.status, r.get("content-range")) == (416, "bytes */300001")
    for field in ("bytes=0-1,3-4", "bytes=1-0", "lines=0-1", "bytes=x"):
        r = get(files, "300001.bin", "Range: " + field)
        assert r.status == 200 and len(r.body) == 300001 and r.get("content-range") is None
    r = get(files, "300001.bin", "Range: bytes=0-1", method="HEAD")
    assert (r.status, r.length) == (200, 300001)
    tag, time_ = r.get("etag"), r.get("last-modified")
    for value, status in ((tag, 206), (time_, 206), ('"x"', 200), ("W/" + tag, 200),
                          ("Thu, 01 Jan 1970 00:00:00 GMT", 200)):
        assert get(files, "300001.bin", "Range: bytes=0-1", "If-Range: " + value).status == status
    assert get(files, "300001.bin", "Range: bytes=0-1", "If-None-Match: " + tag).status == 304


# -- codings ------------------------------------------------------------------------------------

def test_siblings(files):
    tags = set()
    for accept, coding in [("gzip", "gzip"), ("br", "br"), ("zstd", "zstd"), ("gzip, br", "br"),
                           ("gzip, zstd;q=0.9", "gzip"), ("gzip;q=0", None), ("identity, gzip;q=0.5", None),
                           ("deflate", None), ("", None), ("identity;q=0, gzip", "gzip")]:
        r = get(files, "style.css", "Accept-Encoding: " + accept)
        assert (r.status, r.get("content-encoding")) == (200, coding), accept
        suffix = {"gzip": b"gz", "br": b"br", "zstd": b"zst"}.get(coding)
        assert r.body == (b"made by " + suffix if suffix else b"plain")
        assert (r.get("content-type"), r.get("vary")) == ("text/css", "Accept-Encoding")
        tags.add((coding, r.get("etag")))
    assert len(tags) == 4 and len({t for _, t in tags}) == 4, "each coding has one tag of its own"
    r = get(files, "only.css", "Accept-Encoding: br, gzip")
    assert gzip.decompress(r.body) == b"plain" and r.get("content-encoding") == "gzip"
    assert get(files, "only.css", "Accept-Encoding: br, identity;q=0").status == 406
    assert get(files, "only.css", "Accept-Encoding: *;q=0").status == 406
    for path in ("newer.css", "dir.css"):
        r = get(files, path, "Accept-Encoding: gzip")
        assert (r.body, r.get("content-encoding")) == (b"plain", None)
    r = get(files, "style.css", "Accept-Encoding: gzip", "Range: bytes=0-3")
    assert (r.status, r.body, r.get("content-encoding")) == (206, b"made", "gzip")


# -- files that change --------------------------------------------------------------------------

def test_what_is_sent_is_what_is_there(files, tree):
    """Written in place, replaced, removed: the next request sees it, and no old tag is taken for good."""
    path = tree.write("fresh.bin", b"first")
    with files.connect() as c:
        one = c.get("/static/fresh.bin")
        path.write_bytes(b"again")
        os.utime(path, (OLD, OLD))  # the same size and time
        two = c.get("/static/fresh.bin", "If-None-Match: " + one.get("etag"))
        new = tree.write("fresh.new", b"third")
        new.rename(path)
        three = c.get("/static/fresh.bin", "If-None-Match: " + two.get("etag"))
        path.unlink()
        four = c.get("/static/fresh.bin")
    assert [one.body, two.body, three.body] == [b"first", b"again", b"third"]
    assert four.status == 404


def test_replaced_while_sent_is_old_or_new(files, tree):
    size = 3 << 20
    path = tree.write("swap.bin", content(size, 7))
    with files.connect(rcvbuf=4096) as c:
        c.send(request("GET /static/swap.bin HTTP/1.1"))
        time.sleep(0.1)
        tree.write("swap.new", content(size, 8)).rename(path)
        assert c.response().body == content(size, 7)
        assert c.get("/static/swap.bin").body == content(size, 8)
    path.unlink()


def test_shrinks_while_sent_ends_the_connection(files, tree):
    path = tree.write("shrink.bin", content(24 << 20))
    with files.connect(rcvbuf=4096) as c:
        c.send(request("GET /static/shrink.bin HTTP/1.1") + request("GET /pipeline HTTP/1.1"))
        time.sleep(0.2)
        os.truncate(path, 8192)
        got = b""
        try:
            while True:
                piece = c.sock.recv(1 << 20)
                if not piece:
                    break
                got += piece
        except ConnectionResetError:
            pass
    assert len(got) < 24 << 20 and b"HTTP/1.1 200 OK" not in got[100:], "the end tells"
    path.unlink()
    assert get(files, "page.html").status == 200


def test_client_that_leaves(files, tree):
    """Its file is closed with it."""
    path = tree.write("leave.bin", content(24 << 20))
    clients = [files.connect(rcvbuf=4096) for _ in range(20)]
    for c in clients:
        c.send(request("GET /static/leave.bin HTTP/1.1"))
    for c in clients:
        c.recv_some()
        c.reset()
    path.unlink()
    if files.readable():
        def closed():
            return not any("leave.bin" in os.readlink("/proc/%d/fd/%s" % (w, fd))
                           for w in files.workers() for fd in os.listdir("/proc/%d/fd" % w)
                           if os.path.islink("/proc/%d/fd/%s" % (w, fd)))
        wire.wait_until("the file is closed", closed)


# -- the command line ---------------------------------------------------------------------------

@pytest.mark.parametrize("what, says", [("nowhere", "No such file or directory"), ("file", "Not a directory")])
def test_no_such_directory(tmp_path, what, says):
    (tmp_path / "file").write_text("x")
    for test in ((), ("--test",)):
        done = wire.run("--static", str(tmp_path / what), *test)
        assert done.returncode == 1 and "--static: cannot open the directory" in done.stderr
        assert says in done.stderr


def test_under_the_filter(start, tree):
    """The seccomp filter lets through what files need, and writes nothing."""
    wire.need_filter()
    try:
        s = start("--static", str(tree.root), "--seccomp")
    except wire.StartError as e:
        pytest.skip(str(e))
    for size in SIZES:
        assert get(s, "%d.bin" % size).body == content(size)
    assert get(s, "only.css", "Accept-Encoding: gzip").get("content-encoding") == "gzip"


def test_few_fds(start, tree):
    """Clients that read slowly hold a file each: nobody else is kept out."""
    s = start("--static", str(tree.root), workers=1, rlimit_nofile=200)
    slow = [s.connect(rcvbuf=4096) for _ in range(60)]
    for c in slow:
        c.send(request("GET /static/300001.bin HTTP/1.1") * 3)
    time.sleep(0.2)
    assert get(s, "page.html").status == 200
    for c in slow:
        c.close()
