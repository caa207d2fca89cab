# SPDX-License-Identifier: MIT
"""Every entry of table.py, on every backend: whole, byte by byte, and (where the connection is to be
closed) followed by a valid request in the same segment, which must not be answered.

All cases of one backend and mode run over parallel connections in one go, the first time one of them
is asked for; each test then looks at its own result.
"""

import pytest

import wire
from table import CASES, CLOSE, KEEP

FOLLOWER = b"GET /baseline11?a=777 HTTP/1.1\r\nHost: follower\r\n\r\n"
# A thousand clients that send a byte at a time may take longer than one of them has by default.
PATIENT = ("--header-timeout", "120", "--body-timeout", "120")
MODES = ("whole", "bytes", "followed")

_results = {}


def cases_of(mode):
    if mode == "followed":
        return [c for c in CASES if c.close == CLOSE and not c.half]
    return CASES


def results(servers, backend, mode):
    key = (backend, mode)
    if key not in _results:
        server = servers.get(backend, *PATIENT)
        workers = server.workers()
        exchanges = []
        for c in cases_of(mode):
            data = c.data + (FOLLOWER if mode == "followed" else b"")
            exchanges.append(wire.Exchange(data, split=1 if mode == "bytes" else None,
                                           responses=c.responses, heads=c.heads, half=c.half, tag=c))
        wire.drive(server.addr, exchanges)
        _results[key] = {e.tag.id: e for e in exchanges}
        _results[key]["workers"] = (workers, server.workers())
    return _results[key]


@pytest.mark.parametrize("mode", MODES)
def test_no_worker_died(servers, backend, mode):
    before, after = results(servers, backend, mode)["workers"]
    assert before == after, "workers died while the cases ran: %s, then %s" % (before, after)


def verdict(c, e, mode):
    """What is wrong with what came back, as a list of sentences."""
    out = []
    if e.hung:
        out.append("no answer, no close")
    if e.error:
        out.append(e.error)
    if e.reset:
        out.append("the connection was reset: an answer may be lost")
    got = [r.status for r in e.finals]
    right = [w for w in c.want if len(w) == len(got) and all(g in s for g, s in zip(got, w))]
    if not right:
        out.append("statuses %s, wanted %s" % (got, " or ".join(
            str([sorted(s) for s in w]) for w in c.want)))
    if e.surplus:
        out.append("answers to what was no request: %r" % e.surplus)
    if [i for i in e.interims if i not in c.interim] or len(e.interims) > 1:
        out.append("interim responses %s" % e.interims)
    for r in e.reader.responses:
        out += wire.complaints(r, e.ended)
    for i, r in enumerate(e.finals):
        if r.closes and i + 1 < len(e.finals):
            out.append("an answer behind the one that says Connection: close")
    if e.finals and not e.half:
        last = e.finals[-1]
        if c.close == CLOSE and not last.closes:
            out.append("no Connection: close")
        if c.close == KEEP and last.closes:
            out.append("Connection: close, where the connection should stay")
        if not last.closes and not e.hung:
            probe = e.probe
            if probe is None or probe.status != 200 or probe.body != b"ok":
                out.append("the next request on the connection got %r" % (probe,))
        if c.close == KEEP and c.data.find(b"HTTP/1.0\r\n") >= 0:
            if "keep-alive" not in last.tokens("connection"):
                out.append("HTTP/1.0 and kept, but no Connection: keep-alive")
    if not e.eof and not e.reset:
        out.append("never closed")
    if c.body is not None and e.finals and e.finals[-1].body != c.body:
        out.append("body %r, wanted %r" % (e.finals[-1].body[:200], c.body))
    if e.finals and e.finals[-1].status in (200, 204, 405):
        allowed = set(t.upper() for t in e.finals[-1].tokens("allow"))
        if c.allow - allowed:
            out.append("Allow %s lacks %s" % (sorted(allowed), sorted(c.allow - allowed)))
        if allowed & {"TRACE", "CONNECT"}:
            out.append("Allow names a method that is refused: %s" % sorted(allowed))
    if mode == "bytes" and c.close == KEEP and e.early_finals >= len(e.finals) and got == [200]:
        out.append("answered before the request was complete")
    return out


@pytest.mark.parametrize("mode,case", [pytest.param(m, c, id="%s-%s" % (m, c.id))
                                       for m in MODES for c in cases_of(m)])
def test_case(servers, backend, mode, case, record_property):
    record_property("conformance", (backend, case.level, case.id))
    e = results(servers, backend, mode)[case.id]
    problems = verdict(case, e, mode)
    assert not problems, "\n%s %s (%s, %s)\n%s\n%s" % (
        case.section, case.name, case.level, mode, "\n".join("- " + p for p in problems), e.story())
