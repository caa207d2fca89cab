# SPDX-License-Identifier: MIT
"""While attackers are at work ordinary requests are answered as ever, the attackers are let go, and
when all is over every slot, block and descriptor has come back."""

import json
import os
import time

import pytest

import attackers
import wire
from attackers import Attack
from wire import request

N = int(os.environ.get("BIVALVE_ATTACKERS", "600"))
LIMITS = ["--header-timeout", "2", "--body-timeout", "2", "--idle-timeout", "3", "--write-timeout", "2",
          "--drain-timeout", "10"]


@pytest.fixture
def victim(servers, backend):
    return servers.get(backend, *LIMITS)


def ordinary(server, attack):
    """Ordinary clients, new and kept, for as long as the attack lasts; each call has the generous
    time of a socket's timeout.  Returns how many were answered."""
    kept = server.connect()
    count = 0
    while True:
        over = not attack.running()
        with server.connect() as c:
            assert c.get("/pipeline").body == b"ok"
            r = c.request(request("POST /baseline11?a=1 HTTP/1.1", "Content-Length: 2", body="20"))
            assert r.body == b"21"
        assert json.loads(kept.get("/json/50?m=2").body)["count"] == 50
        count += 3
        if over:
            kept.close()
            return count
        time.sleep(0.005)


def settled(server, fds):
    """Everything has come back."""
    wire.wait_until("every slot to be free", lambda: server.stats().get("slots_used", 0) == 0)
    stats = server.stats()
    assert stats["accepted"] == stats["closed"] + stats.get("rejected", 0), stats
    assert stats.get("blocks_used", 0) == 0, stats
    assert stats.get("stale", 0) == 0, stats
    # Fewer: a worker that had just started closed what it had heard of its start by.
    assert server.fds() <= fds, "descriptors: %d before, %d after" % (fds, server.fds())
    return stats


@pytest.mark.parametrize("kind", attackers.KINDS)
def test_attack(victim, kind):
    workers = victim.workers()
    settled(victim, victim.fds())
    fds = victim.fds()
    with Attack(attackers.misbehave, kind, victim.addr, N) as attack:
        answered = ordinary(victim, attack)
        ended, left = attack.result()
    assert (ended, left) == (N, 0), "%d of %d attackers were never let go" % (left, N)
    print("%s: %d ordinary requests beside %d attackers" % (kind, answered, N))
    settled(victim, fds)
    assert victim.workers() == workers, "a worker died"


def test_readers_that_do_not_read(victim):
    workers, fds = victim.workers(), victim.fds()
    with Attack(attackers.do_not_read, victim.addr, 20) as attack:
        ordinary(victim, attack)
        ended, left = attack.result()
    assert left == 0, "%d readers that do not read were never let go" % left
    stats = settled(victim, fds)
    assert stats.get("timeout_write", 0) >= 20, stats
    assert victim.workers() == workers


@pytest.mark.parametrize("seed", [1, 2])
def test_storm_of_resets(victim, seed):
    workers, fds = victim.workers(), victim.fds()
    with Attack(lambda addr, n, pipe: attackers.storm(addr, n, pipe, seed), victim.addr, 4000) as attack:
        ordinary(victim, attack)
        attack.result()
    settled(victim, fds)
    assert victim.workers() == workers, "a worker died"


def test_everything_at_once(victim):
    workers, fds = victim.workers(), victim.fds()
    with Attack(attackers.storm, victim.addr, 4000) as a, \
            Attack(attackers.misbehave, "slow-head", victim.addr, 200) as b, \
            Attack(attackers.misbehave, "slow-body", victim.addr, 200) as c, \
            Attack(attackers.misbehave, "idle-after-a-request", victim.addr, 200) as d, \
            Attack(attackers.do_not_read, victim.addr, 5) as e:
        ordinary(victim, b)
        for attack in (a, b, c, d, e):
            assert attack.result()[1] == 0
    settled(victim, fds)
    assert victim.workers() == workers, "a worker died"


def test_the_drain_in_the_middle_of_it(backend):
    """SIGTERM while attackers hold on: within the drain timeout, status 0, everything returned."""
    s = wire.Server(backend, "--header-timeout", "60", "--body-timeout", "60", "--idle-timeout", "60",
                    "--write-timeout", "60", "--drain-timeout", "2")
    with Attack(attackers.misbehave, "slow-head", s.addr, 100) as a, \
            Attack(attackers.misbehave, "stalled-body", s.addr, 100) as b, \
            Attack(attackers.misbehave, "idle-after-a-request", s.addr, 100) as c, \
            Attack(attackers.do_not_read, s.addr, 5) as d:
        time.sleep(1)
        s.stop()
        for attack in (a, b, c, d):
            assert attack.result()[1] == 0, "connections survived the server"
