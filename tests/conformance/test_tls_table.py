# SPDX-License-Identifier: MIT
"""The table of test_table.py over TLS: whole, and with a record for each byte. Each backend has its
third of the cases, since handshakes take their time; with TLS_TABLE=all in the environment, all."""

import os

import pytest

import wire
import wire_tls
from table import CASES
from test_table import verdict

MODES = ("whole", "bytes")

_results = {}


def cases_of(backend):
    if os.environ.get("TLS_TABLE") == "all":
        return CASES
    return CASES[sorted(("epoll", "io_uring", "libev", backend)).index(backend) % 3::3]


def results(servers, backend, mode, certificates):
    key = (backend, mode)
    if key not in _results:
        # many connections of a client that is slower than it
        server = servers.get(backend, *certificates.options, "--header-timeout", "120",
                             listen=("127.0.0.1:0,tls",))
        context = certificates.context()
        exchanges = []
        for c in cases_of(backend):
            e = wire_tls.Exchange(c.data, split=1 if mode == "bytes" else None,
                                  responses=c.responses, heads=c.heads, half=c.half, tag=c)
            e.wrapper = lambda sock: wire_tls.TlsSocket(sock, context)
            exchanges.append(e)
        wire.drive(server.addr, exchanges)
        _results[key] = {e.tag.id: e for e in exchanges}
    return _results[key]


@pytest.mark.parametrize("mode", MODES)
def test_table(servers, backend, mode, certificates):
    bad = []
    cases = cases_of(backend)
    for c in cases:
        e = results(servers, backend, mode, certificates)[c.id]
        problems = verdict(c, e, mode)
        if problems:
            bad.append("%s %s\n%s\n%s" % (c.section, c.name,
                                          "\n".join("- " + p for p in problems), e.story()))
    assert not bad, "%d of %d cases:\n%s" % (len(bad), len(cases), "\n".join(bad[:5]))
