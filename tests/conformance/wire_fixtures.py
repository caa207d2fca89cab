# SPDX-License-Identifier: MIT
"""Fixtures: which engines are tested, and one server per engine and set of options, reused by all
tests that ask for the same and stopped (and checked for leaks) when the session ends."""

import os
import sys

import pytest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
sys.dont_write_bytecode = True
import wire  # noqa: E402

_engines = None


def engine_list():
    global _engines
    if _engines is None:
        _engines = wire.engines()
    return _engines


def pytest_configure(config):
    if not os.environ.get("BIVALVE"):
        raise pytest.UsageError("set BIVALVE to the path of the server to test")


def pytest_generate_tests(metafunc):
    if "engine" in metafunc.fixturenames:
        metafunc.parametrize("engine", engine_list()[0], scope="session")
    if "left_out" in metafunc.fixturenames:
        left_out = sorted(engine_list()[1].items()) or [("none", None)]
        metafunc.parametrize("left_out", left_out, ids=[name for name, _ in left_out])


def pytest_report_header(config):
    engines, skipped = engine_list()
    lines = ["bivalve: %s" % wire.binary(), "engines under test: %s" % (", ".join(engines) or "none")]
    lines += ["engine left out: %s (%s)" % item for item in skipped.items()]
    return lines


_verdicts = {}


def pytest_runtest_logreport(report):
    """Collect the table's verdicts: a case passes if it passes in all its modes."""
    for name, value in report.user_properties:
        if name == "conformance" and report.when == "call":
            engine, level, case = value
            _verdicts.setdefault((engine, level), {}).setdefault(case, []).append(report.passed)


def pytest_terminal_summary(terminalreporter):
    for (engine, level), cases in sorted(_verdicts.items()):
        terminalreporter.write_line("conformance: %s: %s %d of %d cases" % (
            engine, level, sum(all(v) for v in cases.values()), len(cases)))


class Servers:
    """Servers by (engine, options); `get` starts one or hands out the one that runs."""

    def __init__(self):
        self._running = {}
        self._failed = {}

    def get(self, engine, *options, **kwargs):
        key = (engine, options, tuple(sorted(kwargs.items())))
        server = self._running.get(key)
        if server is None or server.proc.poll() is not None:
            if key in self._failed:
                raise self._failed[key]
            try:
                server = self._running[key] = wire.Server(engine, *options, **kwargs)
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


@pytest.fixture
def server(servers, engine):
    """The ordinary server: two workers, every option at its default."""
    return servers.get(engine)


@pytest.fixture
def start(engine):
    """start(*options, **more) starts a server for this test alone; stopped and checked at its end,
    unless the test ended it itself."""
    mine = []

    def starter(*options, **kwargs):
        s = wire.Server(engine, *options, **kwargs)
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
