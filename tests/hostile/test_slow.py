# SPDX-License-Identifier: MIT
"""Many clients that take, and send, large bodies slowly beside one that behaves: that one is served all the
time, memory stays below its limit (which may cost slow ones their connection), and when the slow ones stop altogether
the time limits end them.
BIVALVE_SLOW is how many there are of each kind."""

import json
import os

import attackers
import wire
from attackers import Attack
from wire import request

MIB = 1 << 20
N = int(os.environ.get("BIVALVE_SLOW", "40"))
BUFFERS = MIB + MIB // 2    # less than what N clients of each kind could hold
MORE = 8 * MIB       # see test_greedy.py
ROUNDS = 40
LARGE = 4 * MIB


class Behaved:
    """The client that behaves, on a connection that it keeps and on new ones."""

    def __init__(self, server):
        self.server, self.kept, self.answered = server, server.connect(), 0

    def ask(self):
        body = b"small body" * 100
        with self.server.connect() as new:
            for c in (self.kept, new):
                assert c.get("/pipeline").body == b"ok"
                assert json.loads(c.get("/json/20?m=2").body)["count"] == 20
                assert c.get("/static/small").body == b"small"
                assert c.request(request("POST /echo HTTP/1.1", "Content-Length: %d" % len(body),
                                         body=body)).body == body
                self.answered += 4

    def close(self):
        self.kept.close()


def test_many_slow_clients(start, backend, tmp_path):
    for path in [tmp_path, *tmp_path.parents][:3]:    # the server may be another user
        path.chmod(0o755)
    (tmp_path / "large").write_bytes(os.urandom(LARGE))
    (tmp_path / "small").write_bytes(b"small")
    s = start("--static", tmp_path, "--open-file-cache", 1, "--max-buffer-bytes", BUFFERS, "--write-timeout", 2,
              "--body-timeout", 2, "--linger-timeout", 2, "--idle-timeout", 600, workers=1)
    measurable = s.readable() and not wire.sanitized()
    memory_of = s.memory if measurable else lambda: 0
    client = Behaved(s)
    client.ask()
    before, fds, most, blocks = memory_of(), s.fds(), 0, 0
    with Attack(attackers.slow, s.addr, N, "/static/large") as attack:
        wire.wait_until("them to hold something", lambda: s.stats()["blocks_used"] > N // 2)
        for i in range(ROUNDS):
            client.ask()
            most = max(most, memory_of())
            if i % 10 == 9:
                blocks = max(blocks, s.stats()["blocks_used"])
        attack.tell()
        while attack.running():    # now they do nothing at all
            client.ask()
            most = max(most, memory_of())
        ended, left = attack.result()
    print("%s: %d slow clients, %d answers beside them; memory %+d KiB, up to %d blocks in use, %d let go for room" % (
        backend, 4 * N, client.answered, (most - before) >> 10, blocks, s.stats()["limit_buffers"]))
    assert (ended, left) == (4 * N, 0), "the server did not let go of %d" % left
    wire.wait_until("nobody but the client that behaves", lambda: s.stats()["slots_used"] == 1)
    stats = s.stats()
    assert blocks > 0, "they did not come to hold anything"
    assert most - before <= BUFFERS + MORE
    assert stats["timeout_write"] > 0 and stats["timeout_body"] > 0, stats
    assert stats["responses_5xx"] == 0, stats
    client.ask()
    client.close()
    wire.wait_until("every slot to be free", lambda: s.stats()["slots_used"] == 0)
    wire.wait_until("files to be closed", lambda: s.fds() <= fds)
