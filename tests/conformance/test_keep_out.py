# SPDX-License-Identifier: MIT
"""Privileges: who may serve, what is given up, the system call filter; and what a service manager is told."""

import os
import pwd
import re
import signal
import socket
import subprocess

import pytest

import wire

root_only = pytest.mark.skipif(os.geteuid() != 0, reason="only root has privileges to give up")


def status(pid):
    with open("/proc/%d/status" % pid) as f:
        return {k: v.split() for k, v in (line.split(":", 1) for line in f)}


def nobody():
    try:
        return pwd.getpwnam("nobody")
    except KeyError:
        pytest.skip("no user nobody on this machine")


def has_filter():
    """Whether workers are filtered unless told otherwise: compiled in, and no sanitizer, which wants to ptrace."""
    with open(wire.binary(), "rb") as f:
        sanitized = b"__asan_init" in f.read()
    return not sanitized and not re.search(r"seccomp filter: none", wire.run("--version").stdout)


def refuse(*args):
    """A start that must fail with status 1: what it said, one line."""
    done = subprocess.run([wire.binary(), "--listen", "127.0.0.1:0", *args], stdin=subprocess.DEVNULL,
                          stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=wire.HANG_S, text=True)
    assert done.returncode == 1, (done.returncode, done.stderr)
    assert done.stdout == ""
    lines = done.stderr.splitlines()
    assert len(lines) == 1, done.stderr
    return lines[0]


DATASET = [a for a in wire.ALWAYS if a != "--allow-root"]


@root_only
def test_root_is_refused():
    said = refuse(*DATASET)
    assert "--user" in said and "--allow-root" in said


@root_only
def test_user_root_is_root():
    assert "--allow-root" in refuse("--user", "root", *DATASET)


def test_a_user_that_is_none():
    said = refuse("--user", "no-such-user", *wire.ALWAYS)
    assert "no-such-user" in said


def test_a_group_that_is_none():
    said = refuse("--group", "no-such-group", *wire.ALWAYS)
    assert "no-such-group" in said


@pytest.mark.skipif(os.geteuid() == 0, reason="root can become another user")
def test_only_root_changes_users():
    said = refuse("--user", "root", *wire.ALWAYS)
    assert "root" in said


@root_only
def test_privileges_are_given_up(start):
    """On a port that only root may bind; a worker that dies is back on it all the same."""
    who = nobody()
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", 241))
        except OSError as e:
            pytest.skip("port 241: %s" % e)
    s = start("--user", "nobody", listen=("127.0.0.1:241",))
    for pid in s.processes():
        of = status(pid)
        assert of["Uid"] == [str(who.pw_uid)] * 4 and of["Gid"] == [str(who.pw_gid)] * 4, of
        assert set(of["Groups"]) <= set(str(g) for g in os.getgrouplist("nobody", who.pw_gid)), of
        for field in ("CapInh", "CapPrm", "CapEff", "CapAmb"):
            assert int(of[field][0], 16) == 0, of
        assert of["NoNewPrivs"] == ["1"]
    victim = s.workers()[0]
    os.kill(victim, signal.SIGKILL)
    wire.wait_until("the worker to be back", lambda: len(s.workers()) == 2 and victim not in s.workers())
    for _ in range(30):
        with s.connect() as c:
            assert c.get("/pipeline").body == b"ok"


@root_only
def test_a_number_with_a_group_is_a_user(start):
    s = start("--user", "54321", "--group", "54322", workers=1)
    for pid in s.processes():
        of = status(pid)
        assert of["Uid"] == ["54321"] * 4 and of["Gid"] == ["54322"] * 4 and of["Groups"] == [], of


def test_nobody_gains_privileges(start):
    s = start()
    assert all(status(pid)["NoNewPrivs"] == ["1"] for pid in s.processes())


def test_workers_are_filtered(start):
    if not has_filter():
        pytest.skip("built without a seccomp filter, or with a sanitizer")
    s = start("--seccomp")
    assert all(status(pid)["Seccomp"] == ["2"] for pid in s.workers())
    assert status(s.pid)["Seccomp"] == status(os.getpid())["Seccomp"]
    with s.connect() as c:
        assert c.get("/json/50").status == 200


def test_workers_are_not_filtered_when_told(start):
    s = start("--no-seccomp")
    mine = status(os.getpid())["Seccomp"]
    assert all(status(pid)["Seccomp"] == mine for pid in s.processes())


def sockets_of(pid):
    count = 0
    for fd in os.listdir("/proc/%d/fd" % pid):
        try:
            count += os.readlink("/proc/%d/fd/%s" % (pid, fd)).startswith("socket:")
        except FileNotFoundError:
            pass
    return count


def test_the_service_manager_is_told(backend, tmp_path):
    path = str(tmp_path / "notify")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(path)
        manager.settimeout(wire.HANG_S)
        for workers in (2, 0):
            with wire.Server(backend, workers=workers, env=dict(os.environ, NOTIFY_SOCKET=path)) as s:
                assert manager.recv(100) == b"READY=1"
                for pid in s.workers() if workers else []:
                    # Its listener alone, once it has closed its line to the supervisor.
                    wire.wait_until("a worker that holds one socket", lambda: sockets_of(pid) == 1)
            assert manager.recv(100) == b"STOPPING=1"


@pytest.mark.parametrize("workers", [2, 0])
def test_status_after_a_second_signal(backend, workers):
    with wire.Server(backend, "--drain-timeout", 300, "--header-timeout", 300, workers=workers) as s:
        with s.connect() as stuck:
            stuck.send(b"GET /")
            wire.wait_until("the connection", lambda: s.stats().get("slots_used") == 1)
            s.signal(signal.SIGTERM)
            wire.wait_until("connections to be refused", lambda: connect_is_refused(s))
            s.signal(signal.SIGINT)
            assert s.wait() == 0
            assert "second signal" in s.log()
            s.kill()


def connect_is_refused(s):
    try:
        s.connect().close()
        return False
    except ConnectionRefusedError:
        return True
    except ConnectionResetError:        # just when the listener was closed
        return False
