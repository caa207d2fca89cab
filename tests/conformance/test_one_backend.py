# SPDX-License-Identifier: MIT
"""One backend for all workers: io_uring that kills who tries it, in the probe; io_uring that fails in one
worker alone, after the probe went well."""

import ctypes
import os
import re
import shutil
import socket
import struct
import subprocess
import threading
import time

import pytest

import wire

IO_URING_SETUP = 425            # on every architecture
KILL, ALLOW = 0x80000000, 0x7fff0000

VERSION = wire.run("--version").stdout if os.environ.get("BIVALVE") else ""
PROBE = wire.run("--probe").stdout if os.environ.get("BIVALVE") else ""


@pytest.fixture(autouse=True)
def both_backends():
    for backend in ("libev", "io_uring"):
        if not re.search(r"^%s: " % backend, VERSION, re.M):
            pytest.skip("%s is not compiled in" % backend)
        if not re.search(r"^%s: runs here" % backend, PROBE, re.M):
            pytest.skip("%s does not run on this machine" % backend)


def take_away(action):
    """What a child does before exec: from now on io_uring_setup() is answered with `action`."""
    code = b"".join(struct.pack("HBBI", *i) for i in (
        (0x20, 0, 0, 0),                    # load the number of the call
        (0x15, 0, 1, IO_URING_SETUP),       # is it that?
        (0x06, 0, 0, action),
        (0x06, 0, 0, ALLOW)))
    libc = ctypes.CDLL(None, use_errno=True)

    def install():
        program = ctypes.create_string_buffer(code)
        header = ctypes.create_string_buffer(struct.pack("HxxxxxxP", 4, ctypes.addressof(program)))
        if libc.prctl(38, 1, 0, 0, 0) or libc.prctl(22, 2, header, 0, 0):
            raise OSError(ctypes.get_errno(), "prctl")

    return install


def test_auto_survives_a_filter_that_kills():
    with wire.Server("auto", before_exec=take_away(KILL)) as s:
        assert re.search(r"backend (epoll|libev)\b", s.start_line), s.start_line
        why = [l for l in s.log().splitlines() if "io_uring" in l]
        assert len(why) == 1 and "SIGSYS" in why[0], s.log()
        with s.connect() as c:
            assert c.get("/pipeline").body == b"ok"


def test_by_name_a_filter_that_kills_is_named():
    with pytest.raises(wire.StartError) as e:
        wire.Server("io_uring", before_exec=take_away(KILL)).kill()
    assert e.value.status == 1
    said = [l for l in e.value.said.splitlines() if "io_uring" in l]
    assert len(said) == 1 and "SIGSYS" in said[0] and "seccomp" in said[0], e.value.said


def test_probe_survives_a_filter_that_kills():
    done = wire.run("--probe", preexec_fn=take_away(KILL))
    assert done.returncode == 0, done.stderr
    assert re.search(r"^io_uring: does not run here", done.stdout, re.M) and "SIGSYS" in done.stdout
    assert re.search(r"^libev: runs here", done.stdout, re.M)


# A worker is a child of the process that was started; a probe is not, it is a grandchild.
ONE_WORKER_WITHOUT = r"""
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

static pid_t first;

__attribute__((constructor)) static void remember(void) { first = getpid(); }

int io_uring_queue_init_params(unsigned entries, void *ring, void *params)
{
    int (*real)(unsigned, void *, void *) = dlsym(RTLD_NEXT, "io_uring_queue_init_params");
    if (getppid() == first) {
        int fd = open(getenv("COUNT_FILE"), O_WRONLY | O_CREAT | O_APPEND, 0600);
        /* behind one's own byte: no two workers have the same number, however many write at once */
        if (fd >= 0 && write(fd, "x", 1) == 1 && lseek(fd, 0, SEEK_CUR) == atoi(getenv("FAIL_AT")))
            return -ENOMEM;
        close(fd);
    }
    return real(entries, ring, params);
}
"""


# Every backend opens one eventfd, in the worker alone.
HANGING_RESTART = r"""
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

int eventfd(unsigned count, int flags)
{
    int (*real)(unsigned, int) = dlsym(RTLD_NEXT, "eventfd");
    int fd = open(getenv("COUNT_FILE"), O_WRONLY | O_CREAT | O_APPEND, 0600);
    if (fd >= 0 && write(fd, "x", 1) == 1 && lseek(fd, 0, SEEK_CUR) == atoi(getenv("FAIL_AT")))
        for (;;)
            pause();
    close(fd);
    return real(count, flags);
}
"""


def preloading(tmp_path, code):
    """preloading(...)(n): an environment with a library of this code, and n in FAIL_AT."""
    with open(wire.binary(), "rb") as f:
        if b"__asan_init" in f.read():
            pytest.skip("AddressSanitizer wants to be the first library loaded")
    cc = shutil.which("cc") or shutil.which("gcc") or shutil.which("clang")
    if not cc:
        pytest.skip("no C compiler to make a library with")
    source, library = tmp_path / "fail.c", tmp_path / "fail.so"
    source.write_text(code)
    subprocess.run([cc, "-shared", "-fPIC", "-o", str(library), str(source), "-ldl"], check=True)
    return lambda n: dict(os.environ, LD_PRELOAD=str(library), COUNT_FILE=str(tmp_path / "count"), FAIL_AT=str(n))


@pytest.fixture
def failing(tmp_path):
    """failing(n): an environment in which the n-th worker's ring cannot be made."""
    return preloading(tmp_path, ONE_WORKER_WITHOUT)


@pytest.mark.parametrize("which", [1, 2, 3])
def test_backends_are_never_mixed(failing, which):
    with wire.Server("auto", workers=3, env=failing(which)) as s:
        assert re.search(r"backend (epoll|libev)\b", s.start_line), s.start_line
        assert re.search(r"all workers use (epoll|libev)", s.log())
        for pid in s.workers():
            held = [os.readlink("/proc/%d/fd/%s" % (pid, fd)) for fd in os.listdir("/proc/%d/fd" % pid)]
            assert "anon_inode:[eventpoll]" in held and "anon_inode:[io_uring]" not in held, held
        for _ in range(20):
            with s.connect() as c:
                assert c.get("/pipeline").body == b"ok"


# What befalls the second worker instead of an error, and what the log says of it.
LATE = {
    "killed": ("kill(getpid(), SIGKILL);", r"worker \d+ \[\d+\] killed by signal 9"),
    "exits": ("_exit(3);", r"worker \d+ \[\d+\] exited with status 3"),
    "cannot-wait": ("broken = 1;", r"the io_uring backend cannot wait: Operation not permitted"),
}

# The ring can be made, and entering it fails: as under a filter that was written with half the calls in mind.
BROKEN_RING = r"""
#include <signal.h>

static int broken;

#define SUBMIT(name, params, args)                            \
    int name params                                           \
    {                                                         \
        int (*real) params = dlsym(RTLD_NEXT, #name);         \
        return broken ? -EPERM : real args;                   \
    }
SUBMIT(io_uring_submit, (void *ring), (ring))
SUBMIT(io_uring_submit_and_get_events, (void *ring), (ring))
SUBMIT(io_uring_submit_and_wait_timeout, (void *ring, void *cqe, unsigned n, void *ts, void *set),
       (ring, cqe, n, ts, set))
"""


@pytest.mark.parametrize("how", LATE)
def test_whatever_befalls_a_worker_at_the_start(how, tmp_path):
    """Under auto all take the next backend; by name the start fails, and says why."""
    does, said = LATE[how]
    head, function = ONE_WORKER_WITHOUT.split("static pid_t first;")
    code = head + BROKEN_RING + "static pid_t first;" + function.replace("return -ENOMEM;", does)
    env = preloading(tmp_path, code)
    with wire.Server("auto", workers=3, env=env(2)) as s:
        assert re.search(said + r".*all workers use (epoll|libev)", s.log()), s.log()
        assert re.search(r"backend (epoll|libev)\b", s.start_line), s.start_line
        with s.connect() as c:
            assert c.get("/pipeline").body == b"ok"
    (tmp_path / "count").unlink()
    with pytest.raises(wire.StartError) as e:
        wire.Server("io_uring", workers=3, env=env(2)).kill()
    assert e.value.status == 1 and re.search(said, e.value.said), e.value


def test_by_name_a_worker_without_stops_the_start(failing):
    with pytest.raises(wire.StartError) as e:
        wire.Server("io_uring", workers=3, env=failing(2)).kill()
    assert e.value.status == 1 and "memory" in e.value.said, e.value


def test_a_restarted_worker_keeps_its_backend(failing):
    """Its ring fails when it is restarted: it is restarted again, with io_uring, however the backend was chosen."""
    with wire.Server("auto", workers=2, env=failing(3)) as s:
        assert re.search(r"backend io_uring\b", s.start_line), s.start_line
        victim = s.workers()[0]
        os.kill(victim, 9)
        wire.wait_until("two new lives", lambda: s.stats().get("restarts") == 2 and len(s.workers()) == 2)
        wire.wait_until("it to serve", lambda: "serves again" in s.log())
        for pid in s.workers():
            held = [os.readlink("/proc/%d/fd/%s" % (pid, fd)) for fd in os.listdir("/proc/%d/fd" % pid)]
            assert "anon_inode:[io_uring]" in held, held
        with s.connect() as c:
            assert c.get("/pipeline").body == b"ok"


def test_a_worker_that_hangs_is_not_waited_for(tmp_path):
    """A worker that is started again and never reports is killed after 30 s, and the next one serves."""
    with wire.Server("auto", workers=1, env=preloading(tmp_path, HANGING_RESTART)(2)) as s:
        os.kill(s.workers()[0], 9)
        wire.wait_until("it to be killed", lambda: "does not report within" in s.log(), timeout=90, step=0.2)
        wire.wait_until("another to serve", lambda: "serves again" in s.log())
        with s.connect() as c:
            assert c.get("/pipeline").body == b"ok"


# The second worker's ring fails, and not before the others have had their time.
LATE_FAILURE = r"""
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

static pid_t first;

__attribute__((constructor)) static void remember(void) { first = getpid(); }

int io_uring_queue_init_params(unsigned entries, void *ring, void *params)
{
    int (*real)(unsigned, void *, void *) = dlsym(RTLD_NEXT, "io_uring_queue_init_params");
    if (getppid() == first) {
        int fd = open(getenv("COUNT_FILE"), O_WRONLY | O_CREAT | O_APPEND, 0600);
        if (fd >= 0 && write(fd, "x", 1) == 1 && lseek(fd, 0, SEEK_CUR) == atoi(getenv("FAIL_AT"))) {
            sleep(1);
            return -ENOMEM;
        }
        close(fd);
    }
    return real(entries, ring, params);
}
"""


def early_client(address, started, answers):
    """Connect as soon as somebody listens, begin a request, end it when all have started, and note the answer,
    or what came instead of it."""
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        try:
            with socket.create_connection(address, timeout=20) as c:
                c.sendall(b"GET /pipeline HTTP/1.1\r\nHost: x\r\n")
                started.wait(20)
                c.sendall(b"Connection: close\r\n\r\n")
                answers.append(b"".join(iter(lambda: c.recv(4096), b"")).split(b"\r\n", 1)[0])
                return
        except ConnectionRefusedError:
            time.sleep(0.01)
        except OSError as e:
            answers.append(repr(e))
            return
    answers.append("nobody listens")


def test_clients_that_come_during_the_start(tmp_path):
    """Nobody is accepted by a backend that will not serve: those who come before it is known wait."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        address = probe.getsockname()
    answers, started = [], threading.Event()
    clients = [threading.Thread(target=early_client, args=(address, started, answers)) for _ in range(12)]
    for c in clients:
        c.start()
    with wire.Server("auto", workers=2, listen=["127.0.0.1:%d" % address[1]],
                     env=preloading(tmp_path, LATE_FAILURE)(2)) as s:
        started.set()
        assert re.search(r"all workers use (epoll|libev)", s.log())
        for c in clients:
            c.join()
    assert answers == [b"HTTP/1.1 200 OK"] * len(clients), answers
