# SPDX-License-Identifier: MIT
"""The view inside, as its tests look at it: where it is, and what it says."""

import json
import os
import re

import wire

SAMPLE = re.compile(r'(bivalve_[a-z0-9_]+)(?:\{((?:[a-z_]+="[^"\\]*",?)+)\})? (\S+)\Z')


def address(server):
    """Where the server said that its view is."""
    return wire.parse_address(re.search(r"the view inside is on (\S+)", server.log()).group(1))


def get(addr, path, method="GET"):
    family, where = addr
    with wire.socket.socket(family, wire.socket.SOCK_STREAM) as s:
        s.settimeout(wire.HANG_S)
        s.connect(where)
        return wire.Client(s).get(path, method=method)


def status(server):
    answer = get(address(server), "/status")
    assert answer.status == 200 and answer.get("content-type") == "application/json"
    return json.loads(answer.body)


def workers(server):
    """The pids of the workers: the server has another child when there is a view."""
    return [w["pid"] for w in status(server)["workers"] if w["serving"]]


def metrics(server):
    """{(name, labels): value} of /metrics; every line is held to the format."""
    answer = get(address(server), "/metrics")
    assert answer.status == 200
    assert answer.get("content-type") == "text/plain; version=0.0.4; charset=utf-8"
    text = answer.body.decode()
    assert text.endswith("\n")
    out, types, helped = {}, {}, set()
    for line in text.splitlines():
        if line.startswith("# HELP "):
            name = line.split(" ")[2]
            assert name not in helped, "HELP twice: " + line
            helped.add(name)
        elif line.startswith("# TYPE "):
            _, _, name, kind = line.split(" ")
            assert name in helped and name not in types, line
            types[name] = kind
        else:
            match = SAMPLE.match(line)
            assert match, "no sample: %r" % line
            name, labels, value = match.groups()
            family = name if name in types else re.sub(r"_(bucket|sum|count)\Z", "", name)
            assert list(types)[-1] == family, "not under its heading: " + line
            assert types[family] != "counter" or name.endswith("_total"), line
            assert (name, labels) not in out, "twice: " + line
            out[name, labels] = float(value)
    return out


def processes_gone(pids):
    return all(not os.path.exists("/proc/%d" % p) or not wire.alive(p) for p in pids)
