# SPDX-License-Identifier: MIT
"""The view inside: --admin and --status. It tells the truth, also while workers are stuck, dead or at
their end, and the public listeners know nothing of it."""

import os
import pwd
import re
import shutil
import signal
import stat
import subprocess
import tempfile
import time

import pytest

import admin
import wire

ADMIN = ("--admin", "127.0.0.1:0")


@pytest.fixture
def seen(servers, backend):
    return servers.get(backend, *ADMIN)


def test_metrics_are_the_counters(start):
    server = start(*ADMIN)
    before = admin.metrics(server)
    assert before["bivalve_requests_total", None] == 0
    for _ in range(5):
        with server.connect() as c:
            assert c.get("/pipeline").status == 200
            assert c.get("/nothing").status == 404
    # Bytes are counted when the kernel says that it has them, behind what the client has seen.
    wire.wait_until("all connections to be closed",
                    lambda: admin.metrics(server)["bivalve_connections_closed_total", None] == 5)
    after = admin.metrics(server)
    counters = server.stats()
    assert after["bivalve_requests_total", None] == counters["requests"] == 10
    assert after["bivalve_responses_total", 'code="2xx"'] == 5
    assert after["bivalve_responses_total", 'code="4xx"'] == 5
    assert after["bivalve_sent_bytes_total", None] == counters["bytes_out"] > 0
    assert after["bivalve_connections_accepted_total", None] == 5
    by_worker = [v for (name, _), v in after.items() if name == "bivalve_worker_requests_total"]
    assert len(by_worker) == 2 and sum(by_worker) == 10
    assert after["bivalve_healthy", None] == 1
    assert [v for (name, _), v in after.items() if name == "bivalve_worker_up"] == [1, 1]
    # What it asks itself is not what clients ask.
    assert set(after) == set(before)


def histogram(samples, name):
    """[(upper bound, count of all below)], sum, count."""
    buckets = [(float(labels[4:-1]), value) for (n, labels), value in samples.items()
               if n == "bivalve_%s_bucket" % name]
    return buckets, samples["bivalve_%s_sum" % name, None], samples["bivalve_%s_count" % name, None]


def complete(server, name, wanted):
    """The same, once it has `wanted` values: an answer is counted behind its sending."""
    return wire.wait_until("%d values" % wanted, lambda: [
        h for h in [histogram(admin.metrics(server), name)] if h[2] >= wanted])[0]


def below(buckets, bound):
    return max([count for upper, count in buckets if upper <= bound], default=0)


def test_sizes(start):
    server = start(*ADMIN)
    with server.connect() as c:
        small = c.get("/pipeline", method="HEAD").length
        large = len(c.get("/json/50?m=3").body)
        for _ in range(3):
            assert len(c.get("/pipeline").body) == small == 2
    with server.connect() as c:
        c.send(wire.request("GET /pipeline HTTP/1.1") * 40 +
               wire.request("GET /json/50?m=3 HTTP/1.1") * 2)
        for _ in range(42):
            c.response()
    buckets, total, count = complete(server, "response_size_bytes", 47)
    assert count == 47 and total == 43 * small + 3 * large
    assert below(buckets, 63) == 44 and below(buckets, large - 1) == 44
    assert buckets[-1] == (float("inf"), 47)
    assert [n for _, n in buckets] == sorted(n for _, n in buckets)


def test_durations(start):
    """Of requests answered at once, one whose body is slow, one whose answer waits for its reader."""
    server = start(*ADMIN, workers=1)
    with server.connect() as c, server.connect(rcvbuf=4096) as slow:
        for _ in range(10):
            c.get("/pipeline")
        c.send(b"POST /baseline11?a=1 HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\n")
        slow.send(wire.request("GET /json/50 HTTP/1.1") * 3000)
        time.sleep(0.3)
        assert c.send(b"41").response().body.strip() == b"42"
        for _ in range(3000):
            slow.response()
    buckets, total, count = complete(server, "request_duration_seconds", 3011)
    assert count == server.stats()["requests"] == 3011
    assert total >= 0.3
    assert count - below(buckets, 0.27) >= 1


def test_metrics_name_backend_and_features(seen, backend):
    said = dict(next(re.findall(r'(\w+)="([^"]*)"', labels) for name, labels in admin.metrics(seen)
                     if name == "bivalve_backend_info"))
    assert said["backend"] == backend.split(":")[0]
    assert said["features"] and said["features"] in seen.start_line


def test_metrics_please_promtool(seen):
    if not shutil.which("promtool"):
        pytest.skip("promtool was not found (Debian: apt install prometheus)")
    text = admin.get(admin.address(seen), "/metrics").body
    done = subprocess.run(["promtool", "check", "metrics"], input=text, stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, timeout=60)
    assert done.returncode == 0 and not done.stdout.strip(), done.stdout.decode()
    # It does find something to say when there is something.
    broken = text.replace(b"# TYPE bivalve_requests_total counter", b"# TYPE bivalve_requests_total gauge")
    done = subprocess.run(["promtool", "check", "metrics"], input=broken, stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, timeout=60)
    assert done.stdout.strip()


def test_status(seen, backend):
    said = admin.status(seen)
    assert said["state"] == "serving" and said["healthy"] is True
    assert said["pid"] == seen.pid and said["backend"] == backend.split(":")[0]
    assert said["features"] in seen.start_line and said["uptime_seconds"] >= 0
    assert wire.parse_address(said["listeners"]) == seen.addr
    assert len(said["workers"]) == 2
    children = seen.workers()
    for index, worker in enumerate(said["workers"]):
        assert worker["index"] == index and worker["serving"] and worker["pid"] in children
        assert worker["resident_bytes"] > 100000 and worker["cpu_seconds"] >= 0
    for name in ("accepted", "requests", "slots_used", "bytes_in"):
        assert said["totals"][name] == sum(w["counters"][name] for w in said["workers"])


def test_nothing_else(seen):
    where = admin.address(seen)
    for path in ("/", "/pipeline", "/metrics/", "/json/1", "/status/x", "/healthzz"):
        assert admin.get(where, path).status == 404, path
    assert admin.get(where, "/metrics", method="POST").status in (405, 411)
    assert admin.get(where, "/healthz", method="HEAD").body == b""
    for path in ("/metrics", "/healthz", "/status"):
        with seen.connect() as c:
            assert c.get(path).status == 404, path


def test_stuck_workers(start):
    """It answers while no worker does, and says the same."""
    server = start(*ADMIN)
    pids = admin.workers(server)
    assert len(pids) == 2
    for pid in pids:
        os.kill(pid, signal.SIGSTOP)
    try:
        assert admin.get(admin.address(server), "/healthz").status == 200
        assert admin.metrics(server)["bivalve_workers", None] == 2
        assert [w["pid"] for w in admin.status(server)["workers"]] == pids
    finally:
        for pid in pids:
            os.kill(pid, signal.SIGCONT)


def test_restarted_workers_go_on_counting(start):
    server = start(*ADMIN, workers=1)
    with server.connect() as c:
        for _ in range(7):
            assert c.get("/pipeline").status == 200
    where = admin.address(server)
    # The delay before a restart doubles: after a few there is time to see that nobody serves.
    for deaths in range(1, 7):
        os.kill(wire.wait_until("the worker", lambda: admin.workers(server))[0], signal.SIGKILL)
        wire.wait_until("its death to be seen", lambda: server.log().count("killed by signal 9") == deaths)
    answer = admin.get(where, "/healthz")
    assert answer.status == 503 and answer.body == b"no worker serves\n"
    assert admin.metrics(server)["bivalve_healthy", None] == 0
    wire.wait_until("the restart", lambda: admin.get(where, "/healthz").status == 200)
    said = admin.metrics(server)
    assert said["bivalve_requests_total", None] == 7
    assert said["bivalve_worker_restarts_total", None] == 6


def test_draining(start):
    server = start(*ADMIN)
    where = admin.address(server)
    with server.connect() as c:
        c.send(b"POST /baseline11?a=1 HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\n1")
        wire.wait_until("the request", lambda: admin.status(server)["totals"]["slots_used"] == 1)
        server.signal(signal.SIGTERM)
        answer = wire.wait_until(
            "a 503", lambda: [a for a in [admin.get(where, "/healthz")] if a.status == 503])[0]
        assert answer.body == b"draining\n"
        assert admin.status(server)["state"] == "draining"
        assert c.send(b"2").response().body.strip() == b"13"
    assert server.wait() == 0


def test_unix_socket(start):
    with tempfile.TemporaryDirectory(dir=wire.TMP) as folder:
        path = os.path.join(folder, "admin")
        server = start("--admin", "unix:" + path)
        assert stat.S_ISSOCK(os.stat(path).st_mode)
        assert admin.get(admin.address(server), "/healthz").status == 200
        server.stop()
        assert not os.path.exists(path)


def test_one_process(start):
    """--workers 0: still a process of its own, which goes with the one that serves."""
    server = start(*ADMIN, workers=0)
    assert admin.workers(server) == [server.pid]
    with server.connect() as c:
        assert c.get("/pipeline").status == 200
    assert admin.metrics(server)["bivalve_requests_total", None] == 1
    others = wire.children(server.pid)
    server.stop()
    assert len(others) == 1 and admin.processes_gone(others)


def test_it_comes_back(start):
    server = start(*ADMIN)
    where = admin.address(server)
    mine = set(server.workers()) - set(admin.workers(server))
    assert len(mine) == 1
    os.kill(mine.pop(), signal.SIGKILL)
    assert admin.get(where, "/healthz").status == 200  # the listener is the supervisor's: it waits
    assert len(server.workers()) == 3


def test_its_clients_do_not_hold_up_the_end(start):
    server = start(*ADMIN)
    family, where = admin.address(server)
    with wire.socket.socket(family) as idle, wire.socket.socket(family) as half:
        idle.connect(where)
        half.connect(where)
        half.sendall(b"GET /metr")
        assert admin.get((family, where), "/healthz").status == 200
        server.stop()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else")
def test_privileges(start):
    """It runs as whoever the workers run as."""
    nobody = pwd.getpwnam("nobody")
    server = start(*ADMIN, "--user", "nobody")
    mine = set(server.workers()) - set(admin.workers(server))
    with open("/proc/%d/status" % mine.pop()) as f:
        uid = next(l for l in f if l.startswith("Uid:"))
    assert uid.split()[1:] == [str(nobody.pw_uid)] * 4
    assert admin.status(server)["workers"][0]["resident_bytes"] > 0


def test_status_for_a_person(seen):
    """--watch prints it again; the first report is all that there is without it."""
    family, (host, port) = admin.address(seen)
    argv = [wire.binary(), "--status", "--watch", "--admin", "%s:%d" % (host, port)]
    said = ""
    with subprocess.Popen(argv, stdout=subprocess.PIPE, text=True) as watch:
        for line in watch.stdout:
            said += line
            if said.count("\nversion ") == 1:
                break
        watch.kill()
    assert re.search(r"^version +\S+, pid %d, serving for " % seen.pid, said)
    assert re.search(r"^connections +\d+ open", said, re.M)
    rows = re.findall(r"^ +(\d+) +(\d+) serving ", said, re.M)
    assert [int(pid) for _, pid in rows] == admin.workers(seen)


def test_status_without_a_server():
    done = wire.run("--status", "--admin", "unix:/nonexistent/admin")
    assert done.returncode == 1 and done.stdout == ""
    assert "unix:/nonexistent/admin" in done.stderr and "--admin" in done.stderr


@pytest.mark.parametrize("where", ["0.0.0.0:0", "[::]:0", "192.0.2.1:9"])
def test_others_must_be_insisted_on(where):
    done = wire.run("--admin", where)
    assert done.returncode == 2 and "--admin-remote" in done.stderr and done.stdout == ""


def test_insisting(start):
    server = start("--admin", "0.0.0.0:0", "--admin-remote")
    family, (_, port) = admin.address(server)
    assert admin.get((family, ("127.0.0.1", port)), "/healthz").status == 200


def test_an_address_in_use(seen, backend):
    family, (host, port) = admin.address(seen)
    done = wire.run("--listen", "127.0.0.1:0", "--admin", "%s:%d" % (host, port))
    assert done.returncode == 1 and "--admin" in done.stderr and str(port) in done.stderr
