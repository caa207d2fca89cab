# SPDX-License-Identifier: MIT
"""Opening, looking at, reading and sending a file fails: each call in turn, in each of its ways.

A client gets the file, or an error's status, or the end of its connection; the next request for the same
file has all of it, and no file stays open.
"""

import os
import random
from concurrent.futures import ThreadPoolExecutor

import pytest

import wire
from shims import environment, fired
from test_faults import GONE, PARALLEL, preload  # noqa: F401
from wire import request

# One that is copied, and one that is sent by the backend.
FILES = {"/static/small.txt": random.Random(1).randbytes(3000),
         "/static/large.bin": random.Random(2).randbytes(400001)}
CODED = b"of a sibling"
# As tests/faults/shim.c has them; how often each is called below, at most.
CALLS = {"openat2": (7, 8), "fstat": (2, 6), "preadv2": (5, 6), "sendfile": (5, 4)}
REFUSALS = (403, 500, 503)


@pytest.fixture(scope="module")
def tree(tmp_path_factory):
    base = tmp_path_factory.mktemp("faults")
    for path in [base, *base.parents][:3]:
        path.chmod(0o755)
    for name, data in FILES.items():
        (base / os.path.basename(name)).write_bytes(data)
    (base / "small.txt.gz").write_bytes(CODED)
    return base


def whole(s, path, *fields):
    """What comes for one request: status and body; None: no whole answer."""
    with s.connect() as c:
        try:
            r = c.get(path, *fields)
        except EOFError:
            return None, c.reader.partial and bytes(c.reader._current.body if c.reader._current else b"")
        except OSError as e:
            if e.errno not in GONE:
                raise
            return None, b""
        return r.status, r.body


def ask(s, path, *fields):
    status, body = whole(s, path, *fields)
    right = FILES[path]
    if status is None:
        assert right.startswith(body or b""), "wrong bytes before the end"
    elif status == 200:
        assert body in ([right, CODED] if fields else [right]), "wrong bytes"
    else:
        assert status in REFUSALS, "status %d" % status
    return status


def open_files(pid):
    names = []
    for fd in os.listdir("/proc/%d/fd" % pid):
        try:
            names.append(os.readlink("/proc/%d/fd/%s" % (pid, fd)))
        except FileNotFoundError:  # closed meanwhile
            pass
    return [n for n in names if n.endswith((".txt", ".bin", ".gz"))]


def run_one(backend, tree, env, *options):
    s = wire.Server(backend, "--static", str(tree), *options, workers=1, env=env)
    try:
        for path in FILES:
            ask(s, path)
            ask(s, path, "Accept-Encoding: gzip")
            if options:  # what was kept open
                ask(s, path)
                ask(s, path, "Accept-Encoding: gzip")
        # One fault costs one answer at most: of two tries the second is whole where the first is not.
        for path in FILES:
            assert 200 in [ask(s, path) for _ in range(2)], "it does not recover"
        if s.readable():
            wire.wait_until("all files closed", lambda: not any(map(open_files, s.workers())))
        s.stop()
    finally:
        s.kill()


def run_all(cases, backend, tree, preload, tmp_path, *options):  # noqa: F811
    """The calls that failed somewhere."""
    def attempt(case):
        call, at, kind = case
        log = str(tmp_path / ("%s-%d-%d" % case))
        try:
            run_one(backend, tree, environment(preload, log, at=at, kind=kind, calls=call), *options)
        except Exception as e:
            return case, fired(log), "%s: %s" % (type(e).__name__, e)
        return case, fired(log), None

    with ThreadPoolExecutor(PARALLEL) as pool:
        results = list(pool.map(attempt, cases))
    problems = [r for r in results if r[2]]
    assert not problems, "\n".join("%s %d %d (%s): %s" % (*case, "; ".join(f), why)
                                   for case, f, why in problems[:10])
    return {case[0] for case, faults, _ in results if faults}


def test_each_call_fails_in_each_way(backend, tree, preload, tmp_path):  # noqa: F811
    cases = [(call, at, kind) for call, (kinds, count) in CALLS.items()
             for at in range(1, count + 1) for kind in ({at % kinds, (at + 3) % kinds})]
    called = run_all(cases, backend, tree, preload, tmp_path)
    assert {"openat2", "fstat", "preadv2"} <= called, "the shim is not in place: %s" % called


def test_calls_fail_of_files_that_are_kept_open(backend, tree, preload, tmp_path):  # noqa: F811
    """The closing in run_one() shows that none of them is kept for ever."""
    cases = [("openat2", at, at - 1) for at in range(1, 5)] + [("fstat", at, at % 2) for at in range(1, 13)]
    cases += [("preadv2", at, at % 5) for at in (1, 4)] + [("sendfile", at, at % 5) for at in (1, 4)]
    called = run_all(cases, backend, tree, preload, tmp_path, "--open-file-cache", "2",
                     "--open-file-cache-valid", "1")
    assert {"openat2", "fstat"} <= called, "the shim is not in place: %s" % called
