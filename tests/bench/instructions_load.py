# SPDX-License-Identifier: MIT
"""The part of instructions.py that counts bivalve-load's user instructions per request.

It runs under callgrind twice against a server that answers as soon as a whole round of requests is there, so
that the load always finds the same in one piece: once for few requests and once for many. The difference is
what those between cost; the start, the end and the connecting are not in it. The process that has the
connections is counted, not the one that watches it.
"""
import os
import re
import socket
import subprocess
import tempfile
import threading

FEW, MANY = 640, 3200
TIMEOUT_S = 120
WORKS = "client_input"  # a function of the process that has the connections
HEAD = b"HTTP/1.1 200 OK\r\nServer: x\r\nDate: Mon, 01 Jan 2024 00:00:00 GMT\r\nContent-Length: 2\r\n\r\n"


class Profile:
    """`pipeline` requests in flight on one connection; the answers are all the same, or each is another."""

    def __init__(self, name, pipeline=1, same=True):
        self.name, self.pipeline, self.same = name, pipeline, same

    def answer(self, number):
        return HEAD + (b"ok" if self.same else b"%02d" % (number % 100))


PROFILES = [
    Profile("load-get"),
    Profile("load-pipelined-16", pipeline=16),
    Profile("load-parsed", same=False),
]


def answer_all(listener, profile):
    """Serve one connection until it ends: whole rounds of requests, each in one piece."""
    sock, _ = listener.accept()
    with sock:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        waiting, answered = b"", 0
        while True:
            data = sock.recv(1 << 16)
            if not data:
                return
            waiting += data
            count = waiting.count(b"\r\n\r\n")
            if count >= profile.pipeline:
                waiting = waiting.rpartition(b"\r\n\r\n")[2]
                sock.sendall(b"".join(profile.answer(answered + i) for i in range(count)))
                answered += count


def run(load, backend, profile, requests, parse_dump):
    """{function: instructions} of one run."""
    with tempfile.TemporaryDirectory(prefix="bivalve-instructions-") as folder:
        with socket.create_server(("127.0.0.1", 0)) as listener:
            listener.settimeout(TIMEOUT_S)
            threading.Thread(target=answer_all, args=(listener, profile), daemon=True).start()
            done = subprocess.run(
                ["valgrind", "--tool=callgrind", f"--callgrind-out-file={folder}/out.%p"]
                + ["--compress-strings=no", "--compress-pos=no", load, "--backend", backend, "-q"]
                + ["-c1", f"-n{requests}", f"-p{profile.pipeline}", "--timeout=60s"]
                + [f"http://127.0.0.1:{listener.getsockname()[1]}/pipeline"],
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                timeout=TIMEOUT_S,
                check=False,
            )
        if done.returncode or not re.search(rf"^  {requests} requests in", done.stdout, re.M):
            return f"bivalve-load under valgrind failed: {(done.stdout + done.stderr)[-2000:]}"
        for name in os.listdir(folder):
            with open(os.path.join(folder, name), encoding="utf-8", errors="replace") as f:
                counts = parse_dump(f)
            if any(function.startswith(WORKS) for function in counts):
                return counts
    return f"callgrind has seen no {WORKS}() in bivalve-load"


def measure(load, backend, parse_dump):
    """{profile: {function: instructions per request}}, or text: why there is none."""
    out = {}
    for profile in PROFILES:
        runs = [run(load, backend, profile, n, parse_dump) for n in (FEW, MANY)]
        for got in runs:
            if isinstance(got, str):
                return got
        few, many = runs
        out[profile.name] = {f: (many[f] - few.get(f, 0)) / (MANY - FEW) for f in many}
    return out
