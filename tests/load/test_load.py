# SPDX-License-Identifier: MIT
"""How much is sent, when, from where and what is printed about it."""

import json
import os
import re
import signal
import socket
import threading
import time

import pytest
from conftest import HERE, OK, answering, load, program, start

DATA = os.path.join(HERE, "..", "..", "data", "dataset.json")


def test_bivalve_answers(server, backend):
    """Each backend loads a server on each: closed, pipelined, limited, two processes."""
    url = "http://127.0.0.1:%d/pipeline" % server.addr[1][1]
    for more in ([], ["-p16"], ["-k3"], ["-t2"], ["-p7", "-k10", "-t2"]):
        run = load("-n2000", "-c10", "--expect-body=ok", "--backend", backend, *more, url)
        assert run.status == 0 and run["requests"] == 2000, run.err
        assert run["latency_us"]["count"] == 2000 and run["generator"]["backend"] in backend
        if "-k3" in more:
            assert run["connections"]["opened"] >= 667


@pytest.mark.parametrize("count, processes, connections", [(1, 2, 5), (7, 3, 3), (1000, 2, 9)])
def test_exactly_so_many(serve, count, processes, connections):
    server = serve(answering(OK))
    run = load("-n", count, "-t", processes, "-c", connections, "-p2", server.url)
    assert run.status == 0 and run["requests"] == count
    assert run["load"]["processes"] == min(processes, connections)


def test_connections_are_closed_after_so_many(serve, backend):
    seen = {}

    def answer(client, request):
        seen[client.number] = seen.get(client.number, 0) + 1
        return OK

    run = load("-n70", "-c2", "-k10", "-p3", "--backend", backend, serve(answering(answer)).url)
    assert run.status == 0 and run["requests"] == 70
    assert sum(seen.values()) == 70 and max(seen.values()) == 10


def test_open_loop_rate(server, backend):
    url = "http://127.0.0.1:%d/pipeline" % server.addr[1][1]
    for kind in ("uniform", "poisson"):
        argv = ("-R2000", "-d500ms", "--arrivals", kind, "-c8", "--backend", backend, url)
        run = load(*argv)
        assert run.status == 0 and run["errors"] == {}, run.err
        # Regular arrivals are counted exactly; the others by the seed, the same every time.
        assert abs(run["rate"]["wanted"] - 2000) <= (2 if kind == "uniform" else 250)
        assert run["lag_us"]["count"] > 0
        again = load(*argv)
        assert again["rate"]["wanted"] == run["rate"]["wanted"]


TURN_MS, TURNS = 25, 8
LATE_MS = 75  # a busy machine's delay: with it a turn is half of a round


def out_of_turn(times, turn):
    """How many of the CLOCK_MONOTONIC times were neither in that turn nor little after it, in percent."""
    at = [(t * 1000 - TURN_MS * turn) % (TURN_MS * TURNS) for t in times]
    return 100 * sum(t >= TURN_MS + LATE_MS for t in at) / len(at)


@pytest.mark.parametrize("argv", [[], ["-k3"], ["-p4"], ["-R600", "--arrivals=uniform"]], ids=" ".join)
def test_turns(serve, backend, argv):
    """In the second of eight turns. Without --turns half of the requests would be out of turn."""
    times = []

    def answer(client, request):
        times.append(time.monotonic())
        time.sleep(0.002)
        return OK

    run = load("-d600ms", "-c2", "--turns=%dms:2/%d" % (TURN_MS, TURNS), "--backend", backend, *argv,
               serve(answering(answer)).url)
    assert run.status == 0 and run["errors"] == {}, run.err
    assert run["requests"] >= 6
    assert out_of_turn(times, 1) <= 25, sorted(times)
    # 600 ms are three rounds: of each a turn, in the open loop without its gap.
    assert 0.6 <= run["seconds"] < 0.61
    if "-R600" in argv:
        assert run["own_seconds"] == pytest.approx(3 * TURN_MS / 1000 * 7 / 8, abs=1e-5)
        assert run["rate"]["wanted"] == pytest.approx(600, rel=0.05)
    else:
        assert 0 < run["own_seconds"] < 0.3
    assert run["rps"] == pytest.approx(run["answered"] / run["own_seconds"])


def test_turns_of_all_processes(server, backend):
    """Exactly so many, in two processes that rest at the same time; and a whole turn for oneself."""
    url = "http://127.0.0.1:%d/pipeline" % server.addr[1][1]
    for turns in ("5ms:1/2", "5ms:1/1"):
        run = load("-n3000", "-c8", "-t2", "--turns", turns, "--backend", backend, url)
        assert run.status == 0 and run["requests"] == 3000, run.err


def test_open_loop_ramp(server):
    url = "http://127.0.0.1:%d/pipeline" % server.addr[1][1]
    run = load("-R200:1800", "-d1s", "--arrivals=uniform", "-c8", url)
    assert abs(run["requests"] - 1000) <= 2


def test_a_stall_shows_in_full(serve, backend):
    """Coordinated omission: in the open loop every request that was due in a stall has waited."""
    state = {}

    def answer(client, request):
        with server.lock:
            state.setdefault("begun", time.monotonic())
            if "stalled" not in state and time.monotonic() - state["begun"] > 0.3:
                state["stalled"] = True
                time.sleep(0.6)
        return OK

    server = serve(answering(answer))
    run = load("-R500", "--arrivals=uniform", "-d1500ms", "-c4", "--backend", backend, server.url)
    assert run.status == 0
    late = run["latency_us"]
    # 300 of 750 requests were due in the stall: they waited 0.3 s on average.
    assert late["p75"] > 100000 and late["max"] >= 590000, late
    # Of those that were sent, only what was in flight has seen it.
    assert run["service_us"]["p90"] < late["p90"] and run["rate"]["backlog_us_max"] > 300000
    closed = serve(answering(answer))
    state.clear()
    server.lock = closed.lock
    run = load("-d1500ms", "-c4", "--backend", backend, closed.url)
    assert run["latency_us"]["p99"] < 500000


def test_a_rate_that_cannot_be_held(serve, backend):
    def answer(client, request):
        with server.lock:
            time.sleep(0.005)
        return OK

    server = serve(answering(answer))
    run = load(
        "-R2000", "-d500ms", "-c2", "--timeout=1s", "--backend", backend, server.url
    )
    assert run["rate"]["held"] is False and run["rate"]["got"] < 500
    assert "The rate was not held" in run.err and run["errors"]["timeout"]["count"] > 0
    # Each request that was due is accounted for, once.
    due = round(run["rate"]["wanted"] * run["seconds"])
    assert run["requests"] + sum(run.errors().values()) == due


def test_find_max(serve):
    """A server that takes 2 ms for each request, one at a time: some 400 to 500 a second."""

    def answer(client, request):
        with server.lock:
            time.sleep(0.002)
        return OK

    server = serve(answering(answer))
    run = load(
        "--find-max", "--slo-p99=200ms", "-d400ms", "-c8", "--timeout=2s", server.url, timeout=120
    )
    steps = run["curve"]
    assert steps[0]["rate"] == 0 and len(steps) > 3
    held = [s for s in steps if s["held"]]
    assert run.status == 0 and held and any(s["confirms"] for s in held), run.err
    assert 0 < run["max_rate"] <= 1.05 * steps[0]["rps"] + 1
    assert all(s["p99_us"] <= 200000 and s["errors"] == 0 for s in held)


def test_limit_of_latency(serve):
    def answer(client, request):
        time.sleep(0.02)
        return OK

    url = serve(answering(answer)).url
    run = load("-n20", "-c1", "--slo-p99=5ms", url)
    assert run.status == 3 and run["slo_ok"] is False and "--slo-p99 5.00 ms" in run.err
    assert load("-n20", "-c1", "--slo-p99=30s", url).status == 0


def test_warm_up_is_not_counted(serve):
    seen = []

    def answer(client, request):
        seen.append(1)
        time.sleep(0.001)
        return OK

    run = load("-d300ms", "--warmup=400ms", "-c2", serve(answering(answer)).url)
    assert 0 < run["requests"] < len(seen) and abs(run["seconds"] - 0.3) < 1e-6
    assert run["latency_us"]["count"] == run["requests"]


def test_connections_are_opened_one_by_one(serve):
    times = []
    server = serve(lambda client: (times.append(time.monotonic()), answering(OK)(client)))
    run = load("-d800ms", "--ramp=600ms", "-c7", server.url)
    assert run.status == 0 and run["connections"]["opened"] == 7
    assert times[-1] - times[0] >= 0.4


def test_a_server_that_is_not_there(backend):
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        url = "http://127.0.0.1:%d/" % s.getsockname()[1]
        begun = time.monotonic()
        run = load("-d500ms", "-c4", "--backend", backend, url)
        assert run.status == 1 and set(run.errors()) == {"connect"} and run["requests"] == 0
        assert "Connection refused" in run.first("connect")
        # With back-off, not as fast as can be.
        assert run.errors()["connect"] < 200
        run = load("-n10", "-c4", "--timeout=300ms", "--backend", backend, url)
        assert run.status == 1 and run["requests"] == 0
        assert time.monotonic() - begun < 20


def test_unix_sockets(serve, tmp_path, backend):
    for name in (str(tmp_path / "s"), "\0bivalve-load-test-%d" % os.getpid()):
        server = serve(answering(OK), family=socket.AF_UNIX, address=name)
        shown = name.replace("\0", "@")
        run = load("-n20", "-c2", "--backend", backend, "unix:%s:/x" % shown)
        assert run.status == 0 and run["requests"] == 20, run.err
        run = load("-n20", "-c2", "--backend", backend, "--unix", shown, "http://name.invalid/x")
        assert run.status == 0 and run["requests"] == 20
        server.close()


def test_ipv6(serve, backend):
    try:
        server = serve(answering(OK), family=socket.AF_INET6)
    except OSError as e:
        pytest.skip("no IPv6 here: %s" % e)
    assert load("-n20", "-c2", "--backend", backend, server.url).status == 0


def test_source_addresses(serve, backend):
    seen = set()

    def behave(client):
        seen.add(client.sock.getpeername()[0])
        answering(OK)(client)

    run = load(
        "-n40", "-c4", "--source=127.0.0.2,127.0.0.3", "--backend", backend, serve(behave).url
    )
    assert run.status == 0 and seen == {"127.0.0.2", "127.0.0.3"}


def requests_of(serve, *argv):
    """What goes on the wire."""
    seen = []
    run = load(*argv, serve(answering(lambda c, r: (seen.append(r), OK)[1])).url + "/p?q=1#f")
    assert run.status == 0, run.err
    return seen


def test_what_is_sent(serve):
    (head,) = requests_of(serve, "-n1", "-c1", "-H", "A: b", "-H", "C:d")
    assert re.fullmatch(rb"GET /p\?q=1 HTTP/1.1\r\nHost: 127.0.0.1:\d+\r\nA: b\r\nC:d\r\n\r\n", head)
    (head,) = requests_of(serve, "-n1", "-c1", "-H", "host: me", "-XDELETE")
    assert head == b"DELETE /p?q=1 HTTP/1.1\r\nhost: me\r\n\r\n"
    (post,) = requests_of(serve, "-n1", "-c1", "-b", "abc")
    assert post.startswith(b"POST ") and post.endswith(b"Content-Length: 3\r\n\r\nabc")


def test_chunked(serve):
    seen = []

    def behave(client):
        while not client.data.endswith(b"\r\n0\r\n\r\n"):
            client.more()
        seen.append(client.data)
        client.send(OK)

    assert load("-n1", "-c1", "-b", "abc", "--chunked", serve(behave).url).status == 0
    assert seen[0].endswith(b"Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n")


def test_raw_requests_in_turn(serve, tmp_path):
    (tmp_path / "a").write_bytes(b"GET /1 HTTP/1.1\r\nHost: x\r\n\r\nGET /2 HTTP/1.1\r\nHost: x\r\n\r\n")
    (tmp_path / "b").write_bytes(b"POST /3 HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\nab")
    seen = requests_of(
        serve, "-n6", "-c1", "--raw", tmp_path / "a", "--raw", tmp_path / "b"
    )
    assert [s.split()[1] for s in seen] == [b"/1", b"/2", b"/3"] * 2 and seen[2].endswith(b"ab")


@pytest.mark.parametrize(
    "data, why",
    [
        (b"", "the file is empty"),
        (b"GET / HTTP/1.1\r\nHost: x\r\n", "cut off"),
        (b"GET / HTTP/1.1\r\nHost: x\r\n\r\nnonsense\r\n\r\n", "at byte 27"),
        (b"GET / HTTP/1.1\r\nHost: x\r\nHost: y\r\n\r\n", "repeated Host"),
    ],
)
def test_raw_requests_that_are_none(tmp_path, data, why):
    (tmp_path / "bad").write_bytes(data)
    run = load("-n1", "--raw", tmp_path / "bad", "http://127.0.0.1:1/")
    assert run.status == 2 and why in run.err and "bad" in run.err


def test_random_numbers(serve):
    seen = []

    def answer(client, request):
        seen.append(request.split()[1].decode())
        return OK

    url = serve(answering(answer)).url + "/{{x}/{rand:5:9}?q={rand:0:18446744073709551615}"
    run = load("-n300", "-c1", "--random-query", url)
    assert run.status == 0 and run["matched"] == 0
    numbers = [re.fullmatch(r"/\{x\}/(\d+)\?q=(\d+)", s).groups() for s in seen]
    assert {int(a) for a, _ in numbers} == {5, 6, 7, 8, 9}
    assert len({b for _, b in numbers}) == 300 and all(int(b) < 2**64 for _, b in numbers)
    first, seen[:] = list(seen), []
    load("-n300", "-c1", "--random-query", url)
    assert seen == first
    seen.clear()
    load("-n300", "-c1", "--random-query", "--seed=2", url)
    assert seen != first


def test_interrupted_it_tells_what_it_has(serve):
    for number in (signal.SIGINT, signal.SIGTERM):
        gate = threading.Event()
        proc = start("-d60s", "-c2", "-q", "--json=-", serve(answering(lambda c, r: (gate.set(), OK)[1])).url)
        assert gate.wait(30)
        time.sleep(0.3)
        proc.send_signal(number)
        out, err = proc.communicate(timeout=30)
        got = json.loads(out)
        assert proc.returncode == 0 and got["requests"] > 0 and "interrupted" in err
        assert got["errors"] == {} and 0 < got["seconds"] < 30


def documented():
    with open(os.path.join(HERE, "..", "..", "doc", "load-results.md"), encoding="utf-8") as f:
        text = f.read()
    table = text[text.index("## One run") : text.index("## A second")]
    names = set()
    for line in table.splitlines():
        if line.startswith("| `"):
            names |= set(re.findall(r"`([^`]+)`", line.split("|")[1]))
    return names


def test_results_are_as_documented(serve, tmp_path):
    lines = tmp_path / "lines"
    run = load("-d1200ms", "-c2", "--timeseries", lines, "--hdr", tmp_path / "h", serve(answering(OK)).url)
    assert set(run.json) == documented()
    assert run["schema"] == 1 and run["bottleneck"] in ("server", "generator")
    assert run["service_us"] == run["latency_us"]
    seconds = [json.loads(line) for line in lines.read_text().splitlines()]
    assert sum(s["requests"] for s in seconds) == run["requests"]
    assert {"elapsed_s", "interval_s", "requests", "rps", "errors", "latency_us"} == set(seconds[0])
    text = (tmp_path / "h").read_text()
    assert "#[Max" in text and text.split()[0] == "Value"


def test_results_that_cannot_be_written(serve):
    server = serve(answering(OK))
    run = load("-n1", "--hdr", "/no/such/folder/x", server.url)
    assert run.status == 2 and "/no/such/folder/x" in run.err and server.count == 0
    if os.path.exists("/dev/full"):
        run = load("-n1", "-c1", "--hdr=/dev/full", server.url)
        assert run.status == 2 and "cannot write the results" in run.err


@pytest.mark.parametrize(
    "argv, why",
    [
        ([], "a URL is missing"),
        (["ftp://x/"], "begins with http://, https:// or unix:"),
        (["http://"], "names no host"),
        (["http://x:0/"], "port"),
        (["http://x:65536/"], "port"),
        (["http://u@x/"], "user name"),
        (["http://[::1/"], "brackets"),
        (["http://x/a b"], "%XX"),
        (["unix:"], "path"),
        (["http://name.invalid/"], "cannot look up"),
        (["-c0", "http://x/"], "--connections"),
        (["-d", "1h", "http://x/"], "--duration"),
        (["-R", "0", "http://x/"], "--rate"),
        (["-R", "1:x", "http://x/"], "--rate"),
        (["-n5", "-d1", "http://x/"], "either says when the end is"),
        (["--find-max", "http://x/"], "needs --slo-p99"),
        (["--turns=25ms", "http://x/"], "25ms:1/2"),
        (["--turns=25ms:1/2", "-R1:5", "http://x/"], "need all the time"),
        (["--turns=25ms:1/2", "--ramp=1s", "http://x/"], "need all the time"),
        (["--turns=1s:1/2", "--timeout=2s", "http://x/"], "shorter than --timeout"),
        (["--raw", "/x", "-X", "GET", "http://x/"], "whole requests"),
        (["--raw", "/no/such", "http://127.0.0.1/"], "cannot read /no/such"),
        (["--chunked", "http://x/"], "about a --body"),
        (["--expect-status=6xx", "http://x/"], "--expect-status"),
        (["-H", "nothing", "http://x/"], "NAME: VALUE"),
        (["--source=nowhere", "http://127.0.0.1/"], "no address to connect"),
        (["--source=::1", "http://127.0.0.1/"], "no address to connect"),
        (["--backend=nothing", "http://127.0.0.1/"], "nothing"),
        (["--random-query", "http://127.0.0.1/{rand:9:1}"], "{rand:A:B}"),
        (["--nothing", "http://x/"], "is no option"),
        (["-c"], "takes a value"),
        (["http://x/", "http://y/"], "one URL"),
    ],
)
def test_wrong_command_lines(argv, why):
    run = load(*argv)
    assert run.status == 2 and why in run.err and run.err.count("\n") == 1, run.err
    assert run.err.startswith("bivalve-load: ") and run.out == ""


def test_help_and_the_man_page_name_every_option():
    run = load("--help")
    assert run.status == 0 and program()
    with open(os.path.join(HERE, "..", "..", "man", "bivalve-load.1"), encoding="utf-8") as f:
        page = f.read()
    for name in re.findall(r" --([a-z0-9-]+)", run.out.partition("Exit status")[0]):
        if name not in ("version", "help"):
            assert "Fl -%s" % name in page or ", -%s" % name in page, name
