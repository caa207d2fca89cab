# SPDX-License-Identifier: MIT
"""A listening socket that is shut down under the server: accept(2) fails for ever, on each backend
and on each of the ways in which one accepts."""

import time

import pytest

import attackers
import wire

# (backend and variant, options): io_uring polls its listeners near the limit of connections, and libev
# has other pollers.
WAYS = {"epoll": [("epoll", ())],
        "io_uring": [("io_uring", ()), ("io_uring", ("--max-connections", "100"))],
        "libev": [("libev", ()), ("libev:poll", ())]}
LOOK_S = 1
# 125 ms, 250, 500, ... between two tries.
TRIES_MAX = 8
# Those tries, the signal that asks for the counters, and some to spare; a loop that spins makes
# thousands.
ITERATIONS_MAX = 100


def test_a_listener_that_is_shut_down(backend):
    for spec, options in WAYS.get(backend, [(backend, ())]):
        with wire.Server(spec, *options, workers=1, listen=("127.0.0.1:0", "127.0.0.1:0")) as server:
            die_and_recover(server)


def die_and_recover(server):
    dead, alive = server.addresses
    with server.connect(addr=dead) as c:
        assert c.get("/pipeline").body == b"ok"
    try:
        listener = attackers.shut_down_listener(server.workers()[0], dead[1])
    except PermissionError:
        pytest.skip("a server that is not dumpable is closed to its own user")
    wire.wait_until("the server to see it", lambda: server.stats()["accept_errors"] >= 1)

    before = server.stats()
    time.sleep(LOOK_S)
    after = server.stats()
    with server.connect(addr=alive) as c:
        assert c.get("/pipeline").body == b"ok", "the other listener suffers"
    assert after["iterations"] - before["iterations"] <= ITERATIONS_MAX, "it spins"
    assert 1 < after["accept_errors"] <= TRIES_MAX, "it is not tried, or too often"
    assert after["accept_pauses"] == after["accept_errors"]
    assert after["accept_aborted"] == 0, "taken for an error of the client's"
    said = [line for line in server.log().splitlines() if "accepting pauses there" in line]
    assert len(said) == 1 and "%s:%d: accept: Invalid argument" % dead[1] in said[0], said

    # It recovers when the socket does, with another port, as the kernel chose the first.
    listener.listen(100)
    again = (listener.family, listener.getsockname())
    listener.close()
    with server.connect(addr=again) as c:
        assert c.get("/pipeline").body == b"ok"
