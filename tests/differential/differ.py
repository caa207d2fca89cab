# SPDX-License-Identifier: MIT
"""Differential test: the same byte streams to every pair of backends, each split at random in its own
way; the bytes that come back (Date aside) and the way the connection ends must be the same.

Streams are generated from a seed and a number, so a report names all that is needed to see it again:
    differ.py --seed 7 --only 1234
Where only one backend runs here it is compared with itself, which still says that no split matters.
A backend is compared with itself over TLS, too: then the splits are those of the records.
"""

import argparse
import itertools
import multiprocessing
import os
import random
import re
import select
import socket
import sys
import time

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "conformance"))
import table  # noqa: E402
import wire  # noqa: E402
import wire_tls  # noqa: E402

DATE = re.compile(rb"\r\n[Dd]ate: [^\r\n]*")
CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
PARALLEL = 48
STREAMS = int(os.environ.get("BIVALVE_STREAMS", "3000"))
SEED = int(os.environ.get("BIVALVE_SEED", "1"))

# Valid beginnings, whole requests of the conformance table (short ones), and pieces to build from.
CORPUS = sorted({c.data for c in table.CASES if len(c.data) < 1500})
METHODS = ["GET"] * 24 + ["POST"] * 20 + ["HEAD", "OPTIONS", "PUT", "DELETE", "TRACE", "CONNECT", "FOO", "get"]
TARGETS = ["/pipeline", "/baseline11?a=13&b=42", "/baseline11", "/json/3?m=2", "/json/7"] * 6 + [
           "/pipeline", "/baseline11?a=13&b=42", "/baseline11", "/baseline11?a=x", "/json/3?m=2", "/json/0",
           "/json/50", "/json/51", "/nosuch", "*", "http://h/pipeline", "/%70ipeline", "/baseline11?a=-5&b=%31",
           "/baseline11?a=9223372036854775807&b=1", "/pipeline#x", "//", "/json/5?m=9223372036854775807"]
VERSIONS = ["HTTP/1.1"] * 60 + ["HTTP/1.0", "HTTP/1.0", "HTTP/1.2", "HTTP/2.0", "HTTP/1", "http/1.1"]
FIELDS = ["Connection: close", "Connection: keep-alive", "Connection: foo, close", "X: y", "X:", "X : y",
          "Accept: */*", "Expect: 100-continue", "Host: second", "Content-Length: 2", "Content-Length: 0",
          "Content-Length: 5, 5", "Transfer-Encoding: chunked", "Transfer-Encoding: gzip, chunked",
          "Transfer-Encoding: identity", "X: " + "y" * 300, " folded", "X: \x01", "no colon",
          "Upgrade: websocket", "Content-Length: 18446744073709551617"]
BODIES = ["20", "-7", "", " 20\r\n", "x", "9223372036854775807", "0", "GET /pipeline HTTP/1.1\r\nHost: a\r\n\r\n",
          " " * 500 + "3"]
CHUNK_SIZES = ["%x", "%X", "0%x", "%x;a=b", "%x;a=\"b c\"", "%x ;x", "%x "]


def one_request(rng):
    """A request, mostly right."""
    if rng.random() < 0.08:
        return rng.choice(CORPUS)
    method = rng.choice(METHODS)
    lines = ["%s %s %s" % (method, rng.choice(TARGETS), rng.choice(VERSIONS))]
    if rng.random() < 0.99:
        lines.append("Host: localhost")
    for _ in range(rng.choice([0, 0, 0, 1, 1, 2, 5])):
        if rng.random() < 0.15:
            lines.append(rng.choice(FIELDS))
        else:
            lines.append("X-%d: %s" % (rng.randrange(100), "v" * rng.randrange(40)))
    body = b""
    if method == "POST" or rng.random() < 0.1:
        text = rng.choice(BODIES)
        if rng.random() < 0.5:
            lines.append("Content-Length: %d" % len(text))
            body = text.encode()
        else:
            lines.append("Transfer-Encoding: chunked")
            out = []
            while text:
                n = rng.randint(1, len(text))
                size = rng.choice(CHUNK_SIZES[:2] if rng.random() < 0.95 else CHUNK_SIZES) % n
                out.append("%s\r\n%s\r\n" % (size, text[:n]))
                text = text[n:]
            out.append("0\r\n" + ("T: z\r\n" if rng.random() < 0.2 else "") + "\r\n")
            body = "".join(out).encode()
    return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1") + body


def mutate(rng, data):
    """Break something."""
    data = bytearray(data)
    for _ in range(rng.choice([1, 1, 1, 2, 4])):
        if not data:
            break
        i = rng.randrange(len(data))
        kind = rng.randrange(7)
        if kind == 0:
            data[i] = rng.randrange(256)
        elif kind == 1:
            del data[i:i + rng.choice([1, 1, 2, 10])]
        elif kind == 2:
            data[i:i] = bytes([rng.choice(b"\r\n\0 \t:;,0aA\xff\x7f")])
        elif kind == 3:
            j = min(len(data), i + rng.randrange(1, 30))
            data[i:i] = data[i:j]
        elif kind == 4:
            data[i:i] = bytes(rng.randrange(256) for _ in range(rng.randrange(1, 8)))
        elif kind == 5:
            data[i] ^= 1 << rng.randrange(8)
        else:
            end = data.find(b"\r\n", i)
            if end >= 0:
                data[end:end + 2] = rng.choice([b"\n", b"\r", b"\r\n\r\n", b"\r\r\n", b"", b"\r\n "])
    return bytes(data)


def stream(seed, number):
    """Stream `number`: its bytes, and for each backend the places where it is cut."""
    rng = random.Random("%d/%d" % (seed, number))
    kind = rng.random()
    if kind < 0.03:
        data = bytes(rng.randrange(256) for _ in range(rng.randrange(0, 400)))
    else:
        data = b"".join(one_request(rng) for _ in range(rng.choice([1, 1, 1, 2, 3, 4, 8])))
        if kind < 0.35:
            data = mutate(rng, data)
        if kind > 0.95:
            data = data[:rng.randrange(len(data) + 1)]
    cuts = []
    for _ in range(2):
        how = rng.random()
        if how < 0.4 or len(data) < 2:
            cuts.append([])
        elif how < 0.95:
            cuts.append(sorted(rng.randrange(1, len(data)) for _ in range(rng.choice([1, 1, 2, 3, 6]))))
        else:
            cuts.append(list(range(1, min(len(data), 200))))
    return data, cuts


class Run:
    """One stream on its way to one backend."""

    __slots__ = ("number", "side", "pieces", "next", "sock", "got", "end", "deadline")

    def __init__(self, number, side, data, cuts, addr, context=None):
        self.number = number
        self.side = side
        edges = [0] + cuts + [len(data)]
        self.pieces = [data[a:b] for a, b in zip(edges, edges[1:]) if a < b]
        self.next = 0
        self.got = []
        self.end = None
        self.deadline = time.monotonic() + wire.HANG_S
        self.sock = socket.socket(addr[0], socket.SOCK_STREAM)
        self.sock.connect(addr[1])
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if context:
            self.sock = wire_tls.TlsSocket(self.sock, context)
        self.sock.setblocking(False)

    def push(self):
        """True while there is more to send.  The FIN follows the last byte: so a stream that ends
        within a request ends the connection too, and nothing waits for a timeout."""
        if self.next < len(self.pieces):
            piece = self.pieces[self.next]
            try:
                n = self.sock.send(piece)
            except BlockingIOError:
                return True
            except OSError:
                n = len(piece)          # closed already; reading says how
                self.next = len(self.pieces)
                return False
            if n < len(piece):
                self.pieces[self.next] = piece[n:]
            else:
                self.next += 1
            if self.next < len(self.pieces):
                return True
        if self.next == len(self.pieces):
            self.next += 1
            try:
                self.sock.shutdown(socket.SHUT_WR)
            except OSError:
                pass
        return False

    def pull(self):
        try:
            while data := self.sock.recv(262144):    # over TLS a record at a time
                self.got.append(data)
            self.end = "fin"
        except BlockingIOError:
            pass
        except ConnectionResetError:
            self.end = "reset"
        except wire.ProtocolError as e:
            self.end = str(e)

    def result(self):
        # Whether a 100 is needed depends on whether the body has come: on the split, rightly so.
        return DATE.sub(b"", b"".join(self.got)).replace(CONTINUE, b""), self.end


SAYS_CLOSE = re.compile(rb"\nconnection:[^\n]*close", re.I)


def alike(seed, number, first, second, tls=False):
    """Whether two results are the same answer to stream `number`.  A server that has been told
    `Connection: close` and has answered does not wait: a client that sends more all the same (RFC 9112
    section 9.6 forbids it) sees a reset or not, depending on how much of it had come by then.  Over TLS
    every client sends more when it is told so: its close_notify."""
    if first == second:
        return first[1] != "hang"
    return (first[0] == second[0] and {first[1], second[1]} == {"fin", "reset"}
            and SAYS_CLOSE.search(first[0] if tls else stream(seed, number)[0]) is not None)


def compare(seed, numbers, addrs, context=None):
    """Run the streams against both addresses, over TLS against the second if there is a context; yield (number, data, result, result) that differ."""
    poller = select.poll()
    active, halves, waiting = {}, {}, []
    numbers = iter(numbers)
    done = False
    different = []
    count = 0
    answers = {}
    while not done or active:
        while not done and len(active) < 2 * PARALLEL:
            number = next(numbers, None)
            if number is None:
                done = True
                break
            data, cuts = stream(seed, number)
            for side in (0, 1):
                r = Run(number, side, data, cuts[side], addrs[side], context if side else None)
                active[r.sock.fileno()] = r
                poller.register(r.sock, select.POLLIN)
                waiting.append(r)
        waiting = [r for r in waiting if r.end is None and r.push()]
        for fd, _ in poller.poll(0 if waiting else 20):
            active[fd].pull()
        now = time.monotonic()
        for fd, r in list(active.items()):
            if r.end is None and now > r.deadline:
                r.end = "hang"
            if r.end is None:
                continue
            poller.unregister(fd)
            del active[fd]
            r.sock.close()
            result = r.result()
            if r.number not in halves:
                halves[r.number] = (r.side, result)
                continue
            side, other = halves.pop(r.number)
            pair = (other, result) if side == 0 else (result, other)
            count += 1
            key = tuple(re.findall(rb"HTTP/1\.1 (\d\d\d)", pair[0][0])[:3])
            answers[key] = answers.get(key, 0) + 1
            if not alike(seed, r.number, *pair, tls=bool(context)):
                different.append((r.number,) + pair)
                if len(different) >= 20:
                    return different, count, answers
    return different, count, answers


def worker(seed, numbers, addrs, context, pipe):
    try:
        pipe.send(compare(seed, numbers, addrs, context))
    except BaseException as e:       # the parent must hear of it
        pipe.send(repr(e))
        raise
    finally:
        pipe.close()


def show(number, seed, first, second, names):
    data, cuts = stream(seed, number)
    print("stream %d (seed %d), %d bytes: %r" % (number, seed, len(data), data))
    for name, cut, (got, end) in zip(names, cuts, (first, second)):
        print("  %s, cut at %s: %s, %d bytes: %r" % (name, cut, end, len(got), got[:1500]))


def run_pair(names, streams, seed=1, only=None):
    """Compare two backends (by name; twice the same one says that no split matters). True: they differ."""
    servers = [wire.Server(name) for name in names]
    try:
        addrs = [s.addr for s in servers]
        if only is not None:
            different, _, _ = compare(seed, [only], addrs)
            if different:
                show(only, seed, different[0][1], different[0][2], names)
            else:
                print("stream %d: no difference: %r" % (only, stream(seed, only)[0]))
            bad = bool(different)
        else:
            bad = run_all(streams, seed, names, addrs)
        for s in servers:
            assert len(s.workers()) == 2, "a worker died"
            s.stop()
    except BaseException:
        for s in servers:
            s.kill()
        raise
    return bad


def pairs():
    """Every pair of backends that run here; one alone is compared with itself."""
    backends, _ = wire.backends()
    return list(itertools.combinations(backends, 2)) or [(b, b) for b in backends]


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--streams", type=int, default=STREAMS)
    parser.add_argument("--seed", type=int, default=SEED)
    parser.add_argument("--only", type=int, help="run this one stream and show it")
    args = parser.parse_args()
    bad = [names for names in pairs() if run_pair(names, args.streams, args.seed, args.only)]
    return 1 if bad or not pairs() else 0


def run_tls(name, certificates, streams, seed=1):
    """Compare a backend with itself over TLS. True: they differ."""
    with wire.Server(name, *certificates.options, listen=("127.0.0.1:0", "127.0.0.1:0,tls")) as server:
        bad = run_all(streams, seed, (name, name + " over TLS"), server.addresses, certificates.context())
        assert len(server.workers()) == 2, "a worker died"
    return bad


def run_all(streams, seed, names, addrs, context=None):
    began = time.monotonic()
    jobs = min(4, len(os.sched_getaffinity(0)))
    processes = []
    for j in range(jobs):
        mine, theirs = multiprocessing.Pipe(False)
        p = multiprocessing.Process(target=worker, args=(
            seed, range(j, streams, jobs), addrs, context, theirs))
        p.start()
        theirs.close()
        processes.append((p, mine))
    different, count, answers = [], 0, {}
    for p, pipe in processes:
        out = pipe.recv()
        p.join()
        if isinstance(out, str):
            raise RuntimeError("a process of the test failed: " + out)
        different += out[0]
        count += out[1]
        for key, n in out[2].items():
            answers[key] = answers.get(key, 0) + n
    for number, first, second in sorted(different)[:10]:
        show(number, seed, first, second, names)
    kinds = {}
    for key, n in answers.items():
        label = key[0].decode() if key else "none"
        kinds[label] = kinds.get(label, 0) + n
    print("differential: %s against %s, %d streams (seed %d), %d differ; first answers: %s; %.1f s" % (
        names[0], names[1], count, seed, len(different),
        ", ".join("%s x %d" % k for k in sorted(kinds.items())), time.monotonic() - began))
    if not different and count != streams:
        raise RuntimeError("ran %d streams of %d" % (count, streams))
    if not different and len(kinds) < 4 and count > 500:
        raise RuntimeError("the streams provoke too little: %s" % kinds)
    return bool(different)


if __name__ == "__main__":
    sys.exit(main())
