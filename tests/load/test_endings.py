# SPDX-License-Identifier: MIT
"""However a run ends and whatever the server does, each request that was due is accounted for once:
answered, or one failure. And no ending takes longer than it must, or spins."""

import os
import random
import shutil
import signal
import subprocess
import threading
import time

import pytest
import wire
from conftest import HERE, OK, Run, answering, load, program, start

CLOSE = OK.replace(b"Content", b"Connection: close\r\nContent")


def accounted(run):
    """Requests and failures together; only where none of these failures is a connection's own."""
    errors = run.errors()
    return run["requests"] + sum(n for kind, n in errors.items() if kind != "connect")


def answer_with(data):
    """Answers as many requests as arrive together, as fast as it can."""

    def behave(client):
        while client.request() is not None:
            if not client.send(data):
                return

    return behave


def test_slow_arrivals_are_waited_for(serve, backend):
    """-n with a rate: time between requests is not a server that has gone."""
    run = load(
        "-n4", "-R4", "--arrivals=uniform", "--timeout=150ms", "-c1", "--backend", backend,
        serve(answering(OK)).url,
    )
    assert accounted(run) == 4 and run["seconds"] >= 0.7, run.json


def test_the_last_request_has_its_whole_timeout(serve, backend):
    """... also when the answer before it is older than that."""
    gate = {"n": 0}

    def answer(client, request):
        gate["n"] += 1
        if gate["n"] == 2:
            time.sleep(0.4)
        return OK

    run = load(
        "-n2", "-R1", "--arrivals=uniform", "--timeout=800ms", "-c1", "--backend", backend,
        serve(answering(answer)).url,
    )
    assert run.errors() == {} and run["requests"] == 2, run.json


def test_requests_behind_an_end_whose_server_goes(serve, backend):
    """What is to be sent again, and cannot be, has failed when the timeout is over."""
    server = None

    def behave(client):
        server.close()
        client.request()
        client.send(CLOSE)

    server = serve(behave)
    begun = time.monotonic()
    run = load("-n50", "-p5", "-c1", "--timeout=300ms", "--backend", backend, server.url, timeout=30)
    assert run["requests"] == 1 and run.errors()["timeout"] == 4 and run.status == 1, run.json
    assert time.monotonic() - begun < 20


@pytest.mark.parametrize("after", [1, 30])
def test_a_generator_that_is_kept_from_running(serve, backend, after):
    """It is not the server's fault, and no reason to give up: whatever was to come has come meanwhile."""
    if not shutil.which("strace") or wire.sanitized():
        pytest.skip("strace is missing" if not wire.sanitized() else "sanitizers trace by themselves")
    call = "io_uring_enter" if backend == "io_uring" else "epoll_wait,epoll_pwait,epoll_pwait2"
    server = serve(answer_with(CLOSE))  # between two connections nothing is in flight
    done = subprocess.run(
        ["strace", "-f", "-qq", "-e", "inject=%s:delay_enter=600000:when=%d" % (call, after), program(), "-q",
         "--json=-", "-n40", "-c1", "--timeout=150ms", "--backend", backend, server.url],
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, check=False,
    )
    if "ptrace" in done.stderr and not done.stdout:
        pytest.skip("strace may not trace here")
    run = Run(done)
    # One that was in flight just then has waited for too long; on a busy machine some more.
    assert accounted(run) == 40 and run["requests"] > 20, run.json


MESSES = {
    "close": lambda client: None,
    "reset": lambda client: client.reset(),
    "half": lambda client: client.send(OK[:-1]),
    "nonsense": lambda client: client.send(b"nonsense"),
    "announced": lambda client: client.send(CLOSE),
    "too-much": lambda client: client.send(OK + OK),
    "wrong": lambda client: client.send(OK.replace(b"200", b"500")),
    "slow": lambda client: time.sleep(0.3),
}


def messy(seed):
    """A server of which nothing is to be relied upon, but the same every time."""
    dice = random.Random(seed)

    def behave(client):
        for _ in range(dice.randrange(12)):
            if client.request() is None or not client.send(OK):
                return
        if client.request() is not None:
            MESSES[dice.choice(sorted(MESSES))](client)

    return behave


@pytest.mark.parametrize(
    "argv",
    [
        ["-n400", "-c7"],
        ["-n400", "-c5", "-p6"],
        ["-n400", "-c3", "-p4", "-k7"],
        ["-n400", "-c5", "-p3", "-R2000"],
        ["-n400", "-c4", "-R1000", "--arrivals=uniform", "-k3"],
        ["-n150", "-c3", "-b", "x" * 40000],
    ],
    ids=" ".join,
)
def test_each_request_once(serve, backend, argv):
    count = int(argv[0][2:])
    run = load(*argv, "--timeout=200ms", "--backend", backend, serve(messy(len(argv))).url)
    # Without "nobody asked for", which is no request's: a second answer to the last request.
    extra = run.errors().get("malformed", 0)
    assert count <= accounted(run) <= count + extra, run.json
    assert run["latency_us"]["count"] == run["requests"] + run.errors().get("timeout", 0)


@pytest.mark.parametrize("argv", [["-c3"], ["-c3", "-p4"], ["-c3", "-R800", "--arrivals=uniform"]], ids=" ".join)
def test_a_server_that_stalls_over_the_end(serve, backend, argv):
    """By time: those in flight at the end fail, and those that were due and never sent."""

    def behave(client):
        # Few, so that a busy machine has come to the stall, too, long before the time is over.
        for _ in range(5):
            if client.request() is None:
                return
            client.send(OK)
        while client.request() is not None:
            pass

    run = load("-d1s", "--timeout=700ms", *argv, "--backend", backend, serve(behave).url)
    assert set(run.errors()) == {"timeout"} and run.status == 1
    if "-R800" in argv:
        assert abs(accounted(run) - 800) <= 2 and accounted(run) == round(run["rate"]["wanted"])
    assert run["latency_us"]["count"] == accounted(run)


def test_interrupted_with_a_server_that_hangs(serve, backend):
    """Answers are waited for no longer than a second then, not for --timeout."""
    gate = threading.Event()

    def answer(client, request):
        gate.set()
        time.sleep(20)

    for more in ([], ["--warmup=30s"], ["-R1000"]):
        gate.clear()
        proc = start("-d60s", "-c2", "-q", "--timeout=30s", *more, "--backend", backend, serve(answering(answer)).url)
        assert gate.wait(30)
        time.sleep(0.1)
        before = os.times()
        proc.send_signal(signal.SIGINT)
        out, err = proc.communicate(timeout=15)
        after = os.times()
        assert proc.returncode == 1 and "interrupted" in out, err
        used = after.children_user + after.children_system - before.children_user - before.children_system
        assert used < 0.7, "it has spun for %s s" % used


# ---- servers that are away, in one way or another: not as fast as can be ----


@pytest.mark.parametrize("rate", [[], ["-R20", "--arrivals=uniform"]], ids=["closed", "open"])
@pytest.mark.parametrize("how", ["close", "reset"])
def test_a_server_that_closes_at_once(serve, backend, rate, how):
    """After it has answered once, too: the tries become rare."""

    def behave(client):
        if client.number == 1:
            client.request()
            client.send(CLOSE)
        elif how == "reset":
            client.reset()

    server = serve(behave)
    run = load("-d1s", "-c4", "--timeout=500ms", *rate, "--backend", backend, server.url)
    assert run["requests"] <= 1 and run.status == 1
    assert server.count < 250, server.count


def test_reconnecting_is_not_held_up(serve, backend):
    """One connection of many that comes to nothing is no reason to wait."""

    def behave(client):
        if client.number % 10 and client.request():
            client.send(CLOSE)

    run = load("-n1000", "-c8", "--backend", backend, serve(behave).url, timeout=60)
    assert accounted(run) == 1000 and run["requests"] >= 850


def test_ramp_and_reconnects(serve, backend):
    """The ramp opens connections one by one; those that are opened anew do not wait for it."""
    server = serve(answer_with(CLOSE))
    run = load("-d900ms", "--ramp=800ms", "-c2", "--backend", backend, server.url)
    # The second begins after 400 ms; the first has not waited for that.
    assert run.status == 0 and run["connections"]["opened"] > 20
    run = load("-n30", "--ramp=60s", "-c2", "--backend", backend, serve(answer_with(CLOSE)).url)
    assert run.status == 0 and run["requests"] == 30 and run["seconds"] < 25


# ---- answers ----


def test_only_the_date_may_differ(serve, backend):
    """... wherever it is: behind an interim answer, its place is another."""
    state = {"n": 0}

    def answer(client, request):
        state["n"] += 1
        word = b"x" if state["n"] != 20 else b"z"
        return (
            b"HTTP/1.1 103 Early Hints\r\nLink: aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa%s\r\n\r\n"
            b"HTTP/1.1 %s OK\r\nDate: Sun, 06 Nov 1994 08:49:%02d GMT\r\nContent-Length: 2\r\n\r\nok"
            % (word, b"200" if state["n"] != 30 else b"500", state["n"] % 60)
        )

    run = load("-n60", "-c1", "--backend", backend, serve(answering(answer)).url)
    assert run.errors() == {"status": 1} and run["requests"] == 59, run.json


def test_answers_before_the_request_is_whole_like_those_before(serve, backend, tmp_path):
    """A known answer that comes too early is no less too early: what follows needs a connection of
    its own."""
    (tmp_path / "body").write_bytes(b"x" * (4 << 20))

    def behave(client):
        number = 0
        while True:
            number += 1
            if number % 3:
                request = client.request()
            else:  # the answer first, and the rest of the request never
                client.more()
                client.send(OK)
                request = client.request()
            if request is None or not request.startswith(b"POST / ") or len(request) < (4 << 20):
                return
            if number % 3 and not client.send(OK):
                return

    run = load(
        "-n12", "-c1", "-b", "@%s" % (tmp_path / "body"), "--timeout=20s", "--backend", backend,
        serve(behave).url,
    )
    assert run.status == 0 and run["requests"] == 12, run.json


# ---- source ports ----


def namespace(ports, argv):
    """Run in a network namespace of its own, whose source ports are few."""
    script = (
        'ip link set lo up && echo "%s" >/proc/sys/net/ipv4/ip_local_port_range && exec "$@"' % ports
    )
    return ["unshare", "-n", "sh", "-c", script, "sh", *argv]


def can_unshare():
    if os.geteuid() != 0:
        return "a network namespace of one's own takes root"
    done = subprocess.run(
        namespace("40000 40015", ["true"]), stderr=subprocess.PIPE, text=True, check=False
    )
    return done.stderr.strip() or "unshare -n fails" if done.returncode else None


@pytest.mark.parametrize("argv", [["-c64", "-k1", "-n1500"], ["-c40", "-n400"]], ids=" ".join)
def test_source_ports_that_are_used_up(backend, tmp_path, argv):
    why = can_unshare()
    if why:
        pytest.skip(why)
    server = [
        os.environ["BIVALVE"], "-l", "127.0.0.1:8080", "--workers=1", "--allow-root",
        "--dataset", os.path.join(HERE, "..", "..", "data", "dataset.json"),
    ]
    script = (
        '"$@" >/dev/null 2>"$0" & pid=$!; i=0; '
        'until grep -q 127.0.0.1:8080 "$0" || [ $i -gt 200 ]; do sleep 0.05; i=$((i+1)); done; '
        '%s --quiet --json=- --backend %s %s http://127.0.0.1:8080/pipeline; status=$?; '
        "kill $pid; wait $pid; exit $status" % (program(), backend, " ".join(argv))
    )
    done = subprocess.run(
        namespace("40000 40031", ["sh", "-c", script, str(tmp_path / "log"), *server]),
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, timeout=60, check=False,
    )
    run = Run(done)
    assert run.status == 0 and run.errors() == {}, (run.err, run.json)
    assert run["requests"] == int(argv[-1][2:]) and run["connections"]["ports_used_up"] > 0
