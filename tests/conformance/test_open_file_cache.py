# SPDX-License-Identifier: MIT
"""--open-file-cache: what is kept open, what is noticed and when, and what it never costs. That every answer
is the one without it is test_static.py's to show, which runs with a cache, too."""

import os
import random
import resource

import pytest

import wire
from test_reload import only, reload
from wire import request

LARGE = 3 << 20  # more than a socket holds


def content(size, seed=1):
    return random.Random(seed).randbytes(size)


@pytest.fixture
def root(tmp_path):
    for path in [tmp_path, *tmp_path.parents][:3]:  # the server may be another user
        path.chmod(0o755)
    (tmp_path / "root").mkdir()
    return tmp_path / "root"


def get(c, path, *fields):
    r = c.get("/static/" + path, *fields)
    return r.body if r.status == 200 else r.status


def counted(s):
    stats = s.stats()
    return tuple(stats["file_cache_" + name] for name in ("hits", "misses", "evictions"))


def test_counters(start, root):
    for name in "abc":
        (root / name).write_bytes(name.encode())
    s = start("--static", str(root), "--open-file-cache", "2", "--open-file-cache-valid", "1000", workers=1)
    with s.connect() as c:
        for name in ("a", "a", "b", "a", "nowhere", "c", "a", "b"):
            assert get(c, name) == (404 if name == "nowhere" else name.encode())
        wire.wait_until("the counters", lambda: counted(s) == (3, 4, 2))
        assert s.stats()["files_open"] == 2
        # What is done to a file is seen by the next request, however long a name is valid.
        (root / "b").write_bytes(b"B, longer")
        assert get(c, "b") == b"B, longer"
        (root / "new").write_bytes(b"replaced")
        (root / "new").rename(root / "b")
        assert get(c, "b") == b"replaced"
        (root / "b").unlink()
        assert get(c, "b") == 404


def test_the_way_to_a_file_is_seen_in_time(start, root):
    """Another directory behind a symlink, and a sibling that was not there."""
    for name in ("one", "two"):
        (root / name).mkdir()
        (root / name / "page.css").write_bytes(name.encode())
    (root / "now").symlink_to("one")
    s = start("--static", str(root), "--open-file-cache", "10", "--open-file-cache-valid", "0.3", workers=1)
    if "no openat2(2)" in s.log():
        pytest.skip("symlinks are not followed here")
    with s.connect() as c:
        assert get(c, "now/page.css", "Accept-Encoding: gzip") == b"one"
        (root / "next").symlink_to("two")
        (root / "next").rename(root / "now")
        (root / "two" / "page.css.gz").write_bytes(b"sibling of two")
        wire.wait_until("the other directory", lambda: get(c, "now/page.css") == b"two")
        wire.wait_until("the sibling",
                        lambda: get(c, "now/page.css", "Accept-Encoding: gzip") == b"sibling of two")


def test_what_is_being_sent_stays_open(start, backend, root):
    """Answers under way while their file is driven out, replaced and removed: each is whole."""
    for i in range(4):
        (root / ("large%d" % i)).write_bytes(content(LARGE, i))
    s = start("--static", str(root), "--open-file-cache", "1", "--open-file-cache-valid", "0.2", workers=1)
    slow = []
    for i in (0, 1, 2, 3, 0, 1):
        slow.append((i, s.connect(rcvbuf=4096)))
        slow[-1][1].send(request("GET /static/large%d HTTP/1.1" % i))
        slow[-1][1].recv_some()
    for i in range(4):
        (root / "new").write_bytes(b"short")
        (root / "new").rename(root / ("large%d" % i))
    with s.connect() as c:
        for i in range(4):
            assert get(c, "large%d" % i) == b"short"
        for i in range(4):
            (root / ("large%d" % i)).unlink()
    wire.wait_until("the cache is empty", lambda: s.stats()["files_open"] == 0)
    for i, c in slow:
        r = c.response()
        assert r.status == 200 and r.body == content(LARGE, i)
        c.close()
    if s.readable():
        wire.wait_until("all are closed", lambda: not open_below(s, root))


def open_below(s, root):
    names = []
    for pid in s.workers():
        for fd in os.listdir("/proc/%d/fd" % pid):
            try:
                names.append(os.readlink("/proc/%d/fd/%s" % (pid, fd)))
            except FileNotFoundError:  # closed meanwhile
                pass
    return [name for name in names if name.startswith(str(root) + "/")]


def test_a_reload_begins_with_none(start, root, tmp_path):
    """Another number of files, and the old worker's are closed with it."""
    (root / "a").write_bytes(b"a")
    config = tmp_path / "conf"
    config.write_text("static %s\nopen-file-cache 5\nopen-file-cache-valid 1000\n" % root)
    s = start("--config", str(config), workers=1)
    with s.connect() as c:
        assert get(c, "a") == b"a"
    wire.wait_until("one is open", lambda: s.stats()["files_open"] == 1)
    config.write_text("static %s\n" % root)
    reload(s)
    only(s, 1)
    with s.connect() as c:
        assert get(c, "a") == b"a"
    assert counted(s)[0] == 0 and s.stats()["files_open"] == 0


def test_no_more_than_half_of_the_fds(root):
    def few():
        resource.setrlimit(resource.RLIMIT_NOFILE, (1000, 1000))

    for test in ((), ("--test",)):
        done = wire.run("--static", str(root), "--open-file-cache", "65536", *test, preexec_fn=few)
        assert done.returncode == 1
        assert "--open-file-cache: 65536 is more than half of the limit of open files, 1000" in done.stderr
        assert "LimitNOFILE" in done.stderr
