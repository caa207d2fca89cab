#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""What a TLS connection with one request costs, against a bare loop of OpenSSL calls (tls_null), in CPU time
of the server: full and resumed handshakes, ECDSA P-256 and RSA 2048.

usage: tls_handshakes.py BIVALVE TLS_NULL [--dataset FILE] [--backends epoll,io_uring,libev] [--rounds N]
                         [--connections N] [--instructions]

Rounds of both are interleaved, so that a machine that is busy is so for both; the ratio is that of the medians.
CPU time is what the kernel has counted in nanoseconds, /proc/PID/schedstat. A busy machine has cold caches, which
are dearer for whoever uses more of them: --instructions counts those in user space instead, by valgrind's
callgrind (not of io_uring, which does not run there). make bench-tls calls it.
"""

import argparse
import re
import socket
import ssl
import statistics
import subprocess
import sys
import tempfile

REQUEST = b"GET /pipeline HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"


def cpu_ns(pid):
    with open("/proc/%d/schedstat" % pid) as f:
        return int(f.read().split()[0])


class Server:
    """A process that serves, of which one process does the work."""

    def __init__(self, name, command, port_in, worker=False):
        self.name = name
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        line = ""
        for line in self.process.stdout:
            found = re.search(port_in, line)
            if found:
                break
        else:
            sys.exit("%s does not start: %s" % (name, line))
        self.port, self.pid = int(found.group(1)), self.process.pid
        if worker:
            with open("/proc/%d/task/%d/children" % (self.pid, self.pid)) as f:
                self.pid = int(f.read().split()[0])
        self.costs = []

    def stop(self):
        self.process.terminate()
        self.process.wait()


def connection(port, context, session):
    """One request; the session to take up next."""
    raw = socket.create_connection(("127.0.0.1", port))
    with context.wrap_socket(raw, server_hostname="localhost", session=session) as s:
        s.sendall(REQUEST)
        got = b""
        while True:
            data = s.recv(65536)
            if not data:
                break
            got += data
        assert got.endswith(b"ok"), got
        if session is not None:
            assert s.session_reused
        return s.session


def instructions(command, port_in, context, resumed, connections):
    """Of a connection: between a run with few of them and one with more."""
    counts = []
    for n in (5, 5 + connections):
        with tempfile.NamedTemporaryFile() as out:
            s = Server(command[0], ["valgrind", "--tool=callgrind", "--callgrind-out-file=" + out.name] + command,
                       port_in)
            session = connection(s.port, context, None)
            for _ in range(n):
                session = connection(s.port, context, session if resumed else None)
            s.stop()
            counts.append(int(re.search(rb"^(?:summary|totals): (\d+)", out.read(), re.M).group(1)))
    return (counts[1] - counts[0]) / connections


def measure(server, context, resumed, connections):
    session = connection(server.port, context, None)
    before = cpu_ns(server.pid)
    for _ in range(connections):
        session = connection(server.port, context, session if resumed else None)
    return (cpu_ns(server.pid) - before) / connections / 1000


def cpu(commands, context, resumed, args):
    """The median of the rounds, by server."""
    servers = [Server(name, *command, worker=name != "bare loop") for name, command in commands.items()]
    for _ in range(args.rounds):
        for s in servers:
            s.costs.append(measure(s, context, resumed, args.connections))
    for s in servers:
        s.stop()
    return {s.name: statistics.median(s.costs) for s in servers}


def certificate(directory, rsa):
    cert, key = directory + ("/rsa" if rsa else "/ec"), directory + ("/rsa.key" if rsa else "/ec.key")
    kind = ["rsa:2048"] if rsa else ["ec", "-pkeyopt", "ec_paramgen_curve:P-256"]
    subprocess.run(["openssl", "req", "-x509", "-nodes", "-newkey"] + kind + ["-days", "2", "-subj", "/CN=test",
                    "-addext", "subjectAltName=DNS:localhost", "-keyout", key, "-out", cert], check=True,
                   stderr=subprocess.DEVNULL)
    return cert, key


def main():
    p = argparse.ArgumentParser()
    p.add_argument("bivalve")
    p.add_argument("null")
    p.add_argument("--dataset")
    p.add_argument("--backends", default="epoll,io_uring,libev")
    p.add_argument("--rounds", type=int, default=9)
    p.add_argument("--connections", type=int, default=200)
    p.add_argument("--instructions", action="store_true")
    args = p.parse_args()
    print("A connection with one request, %s; the ratio to the bare loop" %
          ("user instructions" if args.instructions else "µs of CPU"))
    with tempfile.TemporaryDirectory() as directory:
        for rsa in (False, True):
            cert, key = certificate(directory, rsa)
            context = ssl.create_default_context(cafile=cert)
            commands = {"bare loop": ([args.null, cert, key], r"^(\d+)$")}
            for backend in args.backends.split(","):
                commands[backend] = (
                    [args.bivalve, "--backend", backend, "--workers", "0" if args.instructions else "1",
                     "--tls-listen", "127.0.0.1:0", "--allow-root", "--tls-cert", cert, "--tls-key", key] +
                    (["--dataset", args.dataset] if args.dataset else []), r"listening on \S+?:(\d+)")
            for resumed in (False, True):
                if args.instructions:
                    costs = {name: instructions(*commands[name], context, resumed, args.connections)
                             for name in commands if name != "io_uring"}
                else:
                    costs = cpu(commands, context, resumed, args)
                print("%s, %s: " % ("RSA 2048" if rsa else "ECDSA P-256", "resumed" if resumed else "full") +
                      ", ".join("%s %.0f (%.2f)" % (name, cost, cost / costs["bare loop"])
                                for name, cost in costs.items()), flush=True)


if __name__ == "__main__":
    main()
