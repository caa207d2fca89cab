# SPDX-License-Identifier: MIT
"""Fixtures: which backends are tested, and one server per backend and set of options, reused by all
tests that ask for the same and stopped (and checked for leaks) when the session ends."""

import os
import sys

import pytest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
sys.dont_write_bytecode = True
import wire  # noqa: E402
import wire_tls  # noqa: E402

_backends = None


def backend_list():
    global _backends
    if _backends is None:
        _backends = wire.backends()
    return _backends


def pytest_configure(config):
    if not os.environ.get("BIVALVE"):
        raise pytest.UsageError("set BIVALVE to the path of the server to test")


def pytest_generate_tests(metafunc):
    if "backend" in metafunc.fixturenames:
        metafunc.parametrize("backend", backend_list()[0], scope="session")


class Servers:
    """Servers by (backend, options); `get` starts one or hands out the one that runs."""

    def __init__(self):
        self._running = {}
        self._failed = {}

    def get(self, backend, *options, **kwargs):
        key = (backend, options, tuple(sorted(kwargs.items())))
        server = self._running.get(key)
        if server is None or server.proc.poll() is not None:
            if key in self._failed:
                raise self._failed[key]
            try:
                server = self._running[key] = wire.Server(backend, *options, **kwargs)
            except wire.StartError as e:
                self._failed[key] = e
                raise
        return server

    def stop_all(self):
        problems = []
        for key, server in self._running.items():
            try:
                server.stop()
            except AssertionError as e:
                problems.append("%s %s: %s" % (key[0], " ".join(key[1]), e))
                server.kill()
        self._running.clear()
        assert not problems, "\n".join(problems)


@pytest.fixture(scope="session")
def servers():
    pool = Servers()
    yield pool
    pool.stop_all()


@pytest.fixture(scope="session")
def certificates():
    if not wire_tls.available():
        pytest.skip("built without OpenSSL")
    made = wire_tls.Certificates()
    yield made
    made.close()


@pytest.fixture
def server(servers, backend):
    """The ordinary server: two workers, every option at its default."""
    return servers.get(backend)


@pytest.fixture
def start(backend):
    """start(*options, **more) starts a server for this test alone; stopped and checked at its end,
    unless the test ended it itself."""
    mine = []

    def starter(*options, **kwargs):
        s = wire.Server(backend, *options, **kwargs)
        mine.append(s)
        return s

    yield starter
    problems = []
    for s in mine:
        try:
            s.stop()
        except AssertionError as e:
            problems.append(str(e))
            s.kill()
    assert not problems, "\n".join(problems)
