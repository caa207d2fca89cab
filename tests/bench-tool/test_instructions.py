# SPDX-License-Identifier: MIT
"""tests/bench/instructions.py: what it reads, and when it complains."""
import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "bench"))
import instructions  # noqa: E402

DUMP = """\
version: 1
events: Ir

ob=/usr/sbin/bivalve
fl=loop.c
fn=loop_iterate
260 7
+3 2
cfn=epoll_wait
calls=40 10
263 4000
fe=stream.h
12 5
fn=loop_iterate'2
260 1
fn=epoll_wait
10 4000

totals: 4015
"""


def test_a_callee_is_not_counted_twice():
    assert instructions.parse_dump(DUMP.splitlines(True)) == {
        "loop_iterate": 15,
        "epoll_wait": 4000,
    }


def figures(total, **functions):
    return {"get": {"total": total, "functions": functions}}


def test_what_has_grown_is_named():
    kept = figures(1000.0, parse=600.0, send=400.0)
    assert instructions.compare("epoll", kept, figures(1019.0, parse=619.0, send=400.0)) == []
    bad = instructions.compare("epoll", kept, figures(1030.0, parse=580.0, send=400.0, new=50.0))
    assert len(bad) == 2
    assert bad[0].startswith("epoll get: 1030.0 instructions per request, +3.0 %")
    assert bad[1].split() == ["+50.0", "new", "(0)"]


def test_a_profile_that_is_new_is_not_compared():
    assert instructions.compare("epoll", {}, figures(1000.0)) == []
