# SPDX-License-Identifier: MIT
"""A pytest plugin that prints TAP, the Test Anything Protocol (version 12), instead of prose.

One line a test with its result, the plan at the end (no later error can hide behind it), and what a
failure has to say as comments behind its line. A test is its setup, its call and its teardown: it
failed where one of them did.
"""

import sys

import pytest


class Tap:
    def __init__(self):
        self.count = 0
        self.worst = {}
        self.out = sys.stdout

    def line(self, ok, name, directive="", text=""):
        self.count += 1
        name = name.replace("#", "\\#").replace("\n", " ")
        self.out.write("%s %d - %s%s\n" % ("ok" if ok else "not ok", self.count, name, directive))
        for part in text.splitlines():
            self.out.write("# %s\n" % part)
        self.out.flush()

    def pytest_collectreport(self, report):
        if report.failed:
            self.line(False, "collecting " + report.nodeid, text=str(report.longrepr))

    def pytest_runtest_logreport(self, report):
        kept = self.worst.setdefault(report.nodeid, [])
        kept.append(report)
        if report.when != "teardown":
            return
        del self.worst[report.nodeid]
        failed = [r for r in kept if r.failed]
        skipped = [r for r in kept if r.skipped]
        if failed:
            text = "\n".join(
                [r.longreprtext for r in failed]
                + ["%s:\n%s" % s for r in failed[:1] for s in r.sections])
            self.line(False, report.nodeid, text=text)
        elif skipped:
            reason = skipped[0].longrepr
            reason = reason[2] if isinstance(reason, tuple) else str(reason)
            self.line(True, report.nodeid, " # SKIP " + reason.replace("Skipped: ", "").replace("\n", " "))
        else:
            self.line(True, report.nodeid)

    def pytest_internalerror(self, excrepr):
        self.out.write("Bail out! pytest: %s\n" % str(excrepr).replace("\n", " | "))

    def pytest_sessionfinish(self, session):
        for nodeid in self.worst:
            self.line(False, nodeid, text="it did not come to its end")
        self.out.write("1..%d\n" % self.count)
        self.out.flush()


@pytest.hookimpl(trylast=True)
def pytest_configure(config):
    config.pluginmanager.unregister(name="terminalreporter")
    config.pluginmanager.register(Tap(), "tap-lines")
