#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""User instructions per request of bivalve, and of bivalve-load (instructions_load.py), counted by valgrind's callgrind and compared with figures kept in
the source tree.

    instructions.py --bivalve ./bivalve --dataset FILE [--load ./bivalve-load] [--backends 'NAME...'] [--functions N]
    ... --check FILE    and compare with FILE: exit status 1 above the limit, with the functions that grew
    ... --write FILE    and keep the figures there

A count does not depend on how busy the machine is, but it does on the compiler, its options and the C library:
FILE keeps figures for each such build by its own name, and a build that it has none for is not compared (exit
status 77, the reason on the last line).

How it is counted: one server with one worker runs under callgrind, which writes out and zeroes its counts
whenever the server is told to log its statistics (SIGUSR1). A window is what is served between two such
signals, on connections that have been warmed up; an empty window is taken off. No system call is counted
inside, and io_uring does not run under valgrind.
"""
import argparse
import contextlib
import json
import os
import platform
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time

import instructions_load

LIMIT = 1.02  # of the kept figure
LIMIT_FUNCTION = 0.5  # instructions per request by which a function must have grown to be named
KEEP_FUNCTION = 0.05  # those that cost less are not kept
TIMEOUT_S = 60
REPORT = "server_report"  # what SIGUSR1 comes to: src/server/server_log.c; LTO adds to the name
HOST = b" HTTP/1.1\r\nHost: localhost:8080\r\n"

SKIP = 77


class Failed(Exception):
    """There will be no figures."""


class Profile:
    """`rounds` times: on each of `connections`, `pipeline` times `requests` in turn are sent in one piece, all
    of it before the server runs, and all answers are read."""

    def __init__(self, name, *requests, rounds, connections=1, pipeline=1):
        self.name, self.rounds = name, rounds
        self.connections, self.pipeline = connections, pipeline
        self.data = b"".join(requests[i % len(requests)] for i in range(pipeline))

    def requests(self):
        return self.rounds * self.connections * self.pipeline


def get(target, host=b"x", fields=b""):
    return b"GET " + target + b" HTTP/1.1\r\nHost: " + host + b"\r\n" + fields + b"\r\n"


SUM = b"/baseline11?a=13&b=42"
CHUNKED = (
    b"POST %s HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n20\r\n0\r\n\r\n" % SUM
)
# What a browser sends, and nobody here reads.
BROWSER = b"""\
Connection: keep-alive
User-Agent: Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0
Accept: text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,*/*;q=0.8
Accept-Language: en-US,en;q=0.5
Accept-Encoding: gzip, deflate, br, zstd
Upgrade-Insecure-Requests: 1
Sec-Fetch-Dest: document
Sec-Fetch-Mode: navigate
Sec-Fetch-Site: none
""".replace(b"\n", b"\r\n")


def cookie(size):
    """A request with a head of `size` bytes."""
    text = b"id=0123456789abcdef; " * (size // 21 + 1)
    bare = get(b"/pipeline", fields=b"Cookie: \r\n")
    return get(b"/pipeline", fields=b"Cookie: %s\r\n" % text[: size - len(bare)])


PROFILES = [
    Profile("get", get(b"/pipeline"), rounds=1000),
    Profile("get-64", get(b"/pipeline"), rounds=40, connections=64),
    Profile("pipelined-16", get(b"/pipeline"), rounds=200, pipeline=16),
    # No header section is like the one before: none is known from it.
    Profile(
        "pipelined-new",
        *(get(b"/pipeline", b"host-%d.example" % i) for i in range(16)),
        rounds=200,
        pipeline=16,
    ),
    Profile("get-sum", get(SUM, b"localhost:8080"), rounds=1000),
    Profile("get-browser", get(SUM, b"localhost:8080", BROWSER), rounds=1000),
    # The same, but all of it parsed: pipelined, with hosts that differ.
    Profile(
        "browser-new",
        *(get(SUM, b"host-%d.example" % i, BROWSER) for i in range(8)),
        rounds=50,
        pipeline=8,
    ),
    # Heads of so many bytes: most of it is a cookie.
    Profile("cookie-1k", cookie(1024), rounds=300),
    Profile("cookie-4k", cookie(4096), rounds=300),
    Profile("cookie-16k", cookie(16000), rounds=100),
    Profile("chunked-post", CHUNKED, rounds=1000),
    Profile("json-50", get(b"/json/50?m=1"), rounds=300),
]


def read_answers(sock, count):
    """Exactly so many answers, each 200 and with Content-Length."""
    data = b""
    while count:
        end = data.find(b"\r\n\r\n")
        if end >= 0:
            length = re.search(rb"\r\nContent-Length: (\d+)\r\n", data[: end + 2])
            if not data.startswith(b"HTTP/1.1 200 ") or not length:
                raise Failed(f"not the answer that was expected: {data[:end]!r}")
            whole = end + 4 + int(length.group(1))
            if len(data) >= whole:
                data = data[whole:]
                count -= 1
                continue
        more = sock.recv(1 << 18)
        if not more:
            raise Failed("the server closed a connection")
        data += more
    if data:
        raise Failed("more answers than requests")


class Server:
    """bivalve under callgrind, whose files go to `folder`."""

    def __init__(self, bivalve, dataset, backend, folder):
        self.folder, self.dumps = folder, 0
        self.err = open(os.path.join(folder, "log"), "w+", encoding="utf-8", errors="replace")
        self.child = subprocess.Popen(
            ["valgrind", "--tool=callgrind", f"--callgrind-out-file={folder}/out.%p"]
            + [f"--dump-before={REPORT}*", "--compress-strings=no", "--compress-pos=no"]
            + [bivalve, "--backend", backend, "--workers", "0", "--no-pin", "--allow-root"]
            + ["--listen", "127.0.0.1:0", "--dataset", dataset],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=self.err,
        )
        self.port = int(self._wait_log(r"listening on 127\.0\.0\.1:(\d+)", 1)[0])

    def _wait_log(self, pattern, count):
        """What `pattern` has found in the log, when it has so often."""
        due = time.monotonic() + TIMEOUT_S
        while True:
            with open(self.err.name, encoding="utf-8", errors="replace") as f:
                text = f.read()
            found = re.findall(pattern, text)
            if len(found) >= count:
                return found
            if self.child.poll() is not None or time.monotonic() > due:
                raise Failed(f"the server under valgrind did not come so far: {text[-2000:]}")
            time.sleep(0.02)

    def stop(self):
        if self.child.poll() is None:
            self.child.terminate()
            try:
                self.child.wait(TIMEOUT_S)
            except subprocess.TimeoutExpired:
                self.child.kill()
                self.child.wait()
        self.err.close()

    def dump(self):
        """The instructions of each function since the dump before: {function: count}."""
        self.dumps += 1
        self.child.send_signal(signal.SIGUSR1)
        path = f"{self.folder}/out.{self.child.pid}.{self.dumps}"
        due = time.monotonic() + TIMEOUT_S
        # The file is whole when its last line is.
        while not os.path.exists(path) or not re.search(
            rb"^totals: \d+\s*\Z", tail(path), re.MULTILINE
        ):
            if self.child.poll() is not None or time.monotonic() > due:
                raise Failed(f"callgrind wrote no {path}: is SIGUSR1 still {REPORT}()?")
            time.sleep(0.01)
        with open(path, encoding="utf-8", errors="replace") as f:
            counts = parse_dump(f)
        os.unlink(path)
        return counts

    @contextlib.contextmanager
    def stopped(self):
        """The process does not run meanwhile, so that all that is sent is ready at once."""
        self.child.send_signal(signal.SIGSTOP)
        try:
            while self._state() not in "tT":
                time.sleep(0.0005)
            yield
        finally:
            self.child.send_signal(signal.SIGCONT)

    def _state(self):
        with open(f"/proc/{self.child.pid}/stat", encoding="utf-8") as f:
            return f.read().rpartition(")")[2].split()[0]

    def connect(self, count):
        socks = [socket.create_connection(("127.0.0.1", self.port), TIMEOUT_S) for _ in range(count)]
        for s in socks:
            s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return socks

    def serve(self, profile, socks, rounds):
        for _ in range(rounds):
            with contextlib.nullcontext() if len(socks) == 1 else self.stopped():
                for s in socks:
                    s.sendall(profile.data)
            for s in socks:
                read_answers(s, profile.pipeline)

    def count(self, profile):
        """{function: instructions per request}."""
        socks = self.connect(profile.connections)
        try:
            self.serve(profile, socks, 5)
            self.dump()
            idle = self.dump()
            self.serve(profile, socks, profile.rounds)
            busy = self.dump()
        finally:
            for s in socks:
                s.close()
        n = profile.requests()
        return {f: (busy[f] - idle.get(f, 0)) / n for f in busy}


def tail(path):
    with open(path, "rb") as f:
        f.seek(max(0, os.path.getsize(path) - 200))
        return f.read()


def parse_dump(lines):
    """callgrind's format: fn= begins a function, a line of numbers is a position and its cost; the one behind
    calls= is of the callee, and not to be counted twice."""
    out, function, skip = {}, None, False
    for line in lines:
        if line.startswith("fn="):
            function = line[3:].strip().split("'")[0]  # of recursion's levels one
            out.setdefault(function, 0)
        elif line.startswith("calls="):
            skip = True
        elif function and (line[0].isdigit() or line[0] in "+-*"):
            if not skip:
                out[function] += int(line.split()[1])
            skip = False
    return out


def build_name(options):
    """What the counts depend on besides the source."""
    compiler = "an unknown compiler"
    if options.cc:
        run = subprocess.run(
            options.cc.split() + ["--version"], capture_output=True, text=True, check=False
        )
        compiler = run.stdout.partition("\n")[0].strip() or compiler
    libc = " ".join(platform.libc_ver()).strip() or "unknown C library"
    with open("/proc/cpuinfo", encoding="utf-8") as f:  # the C library chooses its functions by it
        wide = ["avx2"] if re.search(r"^flags\s*:.*\bavx2\b", f.read(), re.M) else []
    options_text = " ".join(options.cflags.split()) or "no options"
    return ", ".join([compiler, options_text, platform.machine()] + wide + [libc])


def measure(options, backend):
    """{profile: {"total": n, "functions": {...}}}, or None with the reason where it cannot run."""
    with tempfile.TemporaryDirectory(prefix="bivalve-instructions-") as folder:
        server = None
        try:
            server = Server(options.bivalve, options.dataset, backend, folder)
            return {p.name: figure(server.count(p)) for p in PROFILES}
        finally:
            if server:
                server.stop()


def figure(functions):
    """Of {function: instructions per request}, what is shown and kept."""
    return {
        "total": round(sum(functions.values()), 1),
        "functions": {
            f: round(n, 1)
            for f, n in sorted(functions.items(), key=lambda x: -x[1])
            if n >= KEEP_FUNCTION
        },
    }


def measure_load(options, backend):
    """The same as measure() of bivalve-load."""
    counts = instructions_load.measure(options.load, backend, parse_dump)
    if isinstance(counts, str):
        raise Failed(counts)
    return {name: figure(functions) for name, functions in counts.items()}


def show(backend, figures, functions):
    for name, f in figures.items():
        print(f"{backend:8} {name:18} {f['total']:9.1f}")
        for function, n in list(f["functions"].items())[:functions]:
            print(f"{'':25} {n:7.1f}  {function}")
    sys.stdout.flush()


def compare(backend, kept, now):
    """Lines on what has grown too much; those that only inform begin with a blank."""
    bad = []
    for name, f in now.items():
        if name not in kept:
            continue
        was, total = kept[name]["total"], f["total"]
        if total <= was * LIMIT:
            if total < was / LIMIT:
                print(f"{backend} {name}: {total} instead of {was}: --write keeps the better figure")
            continue
        bad.append(f"{backend} {name}: {total} instructions per request, {100 * (total / was - 1):+.1f} % ({was})")
        before = kept[name]["functions"]
        grown = {g: n - before.get(g, 0) for g, n in f["functions"].items()}
        for g, more in sorted(grown.items(), key=lambda x: -x[1]):
            if more >= LIMIT_FUNCTION:
                bad.append(f"    {more:+9.1f}  {g} ({before.get(g, 0)})")
    return bad


def options_of(argv):
    p = argparse.ArgumentParser(description="User instructions per request, by callgrind.")
    p.add_argument("--bivalve", required=True, help="the program")
    p.add_argument("--load", help="bivalve-load, to be counted as well")
    p.add_argument("--dataset", required=True, help="its dataset.json")
    p.add_argument("--backends", default="epoll libev", help="those that are built (epoll libev)")
    p.add_argument("--functions", type=int, default=0, metavar="N", help="show the N dearest functions")
    p.add_argument("--cc", default="", help="the compiler that made it, for the build's name")
    p.add_argument("--cflags", default="", help="and its options")
    p.add_argument("--check", metavar="FILE", help="compare with FILE; exit status 1 above +2 %%")
    p.add_argument("--write", metavar="FILE", help="keep the figures in FILE")
    return p.parse_args(argv)


def load(path):
    try:
        with open(path, encoding="utf-8") as f:
            return json.load(f)
    except FileNotFoundError:
        return {}


def backends_of(options):
    """Those that are built, and run under valgrind."""
    said = subprocess.run(
        [options.bivalve, "--version"], capture_output=True, text=True, check=True
    ).stdout
    built = [b for b in ("epoll", "libev") if re.search(rf"^{b}: ", said, re.M)]
    return [b for b in built if b in options.backends.split()]


def main(argv):
    options = options_of(argv)
    if not shutil.which("valgrind"):
        print("not compared: valgrind was not found (Debian: apt install valgrind)")
        return SKIP
    build = build_name(options)
    print(f"build: {build}")
    kept = load(options.check).get(build) if options.check else None
    bad, all_now = [], {}
    try:
        for backend in backends_of(options):
            now = all_now[backend] = measure(options, backend)
            if options.load:
                now.update(measure_load(options, backend))
            show(backend, now, options.functions)
            if kept:
                bad += compare(backend, kept.get(backend, {}), now)
    except Failed as e:
        print(e)
        return 1
    if options.write:
        figures = load(options.write)
        figures.setdefault(build, {}).update(all_now)
        with open(options.write, "w", encoding="utf-8") as f:
            json.dump(figures, f, indent=1)
            f.write("\n")
    if options.check and not kept:
        print(
            f"not compared: {os.path.basename(options.check)} has no figures for this build"
            " (make bench-instructions-write keeps them)"
        )
        return SKIP
    print("\n".join(bad), end="\n" if bad else "")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
