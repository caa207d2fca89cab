# SPDX-License-Identifier: MIT
"""Clients that ask for much and read nothing: what they cost in memory of the server and of the kernel,
and the others in time.  BIVALVE_GREEDY is their number; 1800 is the trial that the limits were made for:

    BIVALVE_GREEDY=1800 tests/run tests/hostile/hostile.suite -s -k greedy"""

import os
import time

import attackers
import observe
import wire
from attackers import Attack

MIB = 1 << 20
N = int(os.environ.get("BIVALVE_GREEDY", "300"))
BUFFERS = 32 * MIB * N // 1800
# What a worker may have beyond --max-buffer-bytes: the backend's own, slots, pages cut up.
MORE = 8 * MIB
# Of the kernel, a client: --max-unsent-bytes, the block of a send that passes it, and what the socket
# holds in advance.
SOCKET_EACH = 400 * MIB // 1800
ANSWER_S = 0.5
SECONDS = 3


def watch(server, seconds, memory_of):
    """New clients, one after the other; the longest that one waited, and the most memory: of the
    server, of its sockets, and of all TCP sockets here."""
    pid = server.workers()[0]
    longest = memory = sockets = tcp = 0
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        with observe.Wait([pid]) as wait:
            with server.connect() as c:
                assert c.get("/pipeline").body == b"ok"
        longest = max(longest, wait.seconds)
        memory = max(memory, memory_of())
        sockets = max(sockets, observe.socket_memory(server.addr[1][1]))
        tcp = max(tcp, observe.tcp_memory())
        time.sleep(0.02)
    return longest, memory, sockets, tcp


def test_greedy_clients(backend):
    options = ["--max-buffer-bytes", BUFFERS, "--idle-timeout", 600, "--drain-timeout", 10]
    with wire.Server(backend, *options, workers=1) as server:
        # Shadow memory would be in every figure; a server that is not dumpable is closed to all but root.
        measurable = server.readable() and not wire.sanitized()
        memory_of = server.memory if measurable else lambda: 0
        with server.connect() as c:
            for _ in range(100):
                assert c.get("/json/50").status == 200
        wire.wait_until("that one to be gone", lambda: server.stats()["slots_used"] == 0)
        before, fds, tcp_before = memory_of(), server.fds(), observe.tcp_memory()
        with Attack(attackers.greedy, server.addr, N) as attack:
            longest, memory, sockets, tcp = watch(server, SECONDS, memory_of)
            attack.tell()
            ended, _ = attack.result()
        wire.wait_until("every slot to be free", lambda: server.stats()["slots_used"] == 0)
        wire.wait_until("memory to be given back: %d KiB before, %d in the load" % (
            before >> 10, memory >> 10), lambda: memory_of() - before < MIB)
        stats = server.stats()
        print("%s: %d greedy clients, --max-buffer-bytes %d: memory %+d KiB, afterwards %+d; sockets %d KiB, "
              "all of TCP %+d; let go %d (%d for room); a new client waited %.3f s" % (
                  backend, N, BUFFERS, (memory - before) >> 10, (memory_of() - before) >> 10, sockets >> 10,
                  (tcp - tcp_before) >> 10, ended, stats["limit_buffers"], longest))
        assert stats["limit_buffers"] > 0, "they did not come near the limit"
        assert memory - before <= BUFFERS + MORE
        assert sockets <= N * SOCKET_EACH
        assert longest <= ANSWER_S
        assert stats["accepted"] == stats["closed"] and stats["blocks_used"] == 0
        assert server.fds() == fds
