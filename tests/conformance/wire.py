# SPDX-License-Identifier: MIT
"""What every test over the wire stands on: a server to start and stop, a strict reader of HTTP/1.1
responses, and a driver that runs many connections at once and delivers bytes in any pieces.

Nothing here knows how the server works inside; it knows the command line, the start line, the
signals and the RFCs.  "Strict" means that a response a tolerant client would let pass is an error.
"""

import errno
import os
import re
import resource
import select
import signal
import socket
import subprocess
import tempfile
import time

HANG_S = float(os.environ.get("WIRE_HANG_S", "20"))   # a bound on hangs, not a measure of speed
TMP = os.environ.get("TMPDIR", "/tmp")
TOKEN = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+\Z")
STATUS_LINE = re.compile(rb"HTTP/1\.1 ([1-5][0-9][0-9]) ([\t\x20-\x7e]*)\Z")
IMF_FIXDATE = re.compile(
    r"(Mon|Tue|Wed|Thu|Fri|Sat|Sun), [0-9]{2} "
    r"(Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sep|Oct|Nov|Dec) [0-9]{4} "
    r"[0-9]{2}:[0-9]{2}:[0-9]{2} GMT\Z")
PROBE = b"GET /pipeline HTTP/1.1\r\nHost: probe\r\nConnection: close\r\n\r\n"
TROUBLE = re.compile(
    r"AddressSanitizer|UndefinedBehavior|runtime error:|LeakSanitizer|Assertion|assertion|"
    r"stack smashing|core dumped|killed by signal (6|11)\b")


class ProtocolError(Exception):
    """The peer sent something that no HTTP/1.1 response may be."""


class Response:
    """One response: status, fields in order as (lower-case name, value), body."""

    def __init__(self, status, reason, fields, head_only):
        self.status = status
        self.reason = reason
        self.fields = fields
        self.head_only = head_only
        self.body = b""

    def all(self, name):
        return [v for n, v in self.fields if n == name]

    def get(self, name):
        values = self.all(name)
        return values[0] if values else None

    def tokens(self, name):
        """The members of a list-valued field, in lower case."""
        members = ",".join(self.all(name)).split(",")
        return [m.strip().lower() for m in members if m.strip()]

    @property
    def closes(self):
        return "close" in self.tokens("connection")

    @property
    def length(self):
        value = self.get("content-length")
        return None if value is None else int(value)

    def __repr__(self):
        return "%d %s %r %r" % (self.status, self.reason, self.fields, self.body[:80])


class ResponseReader:
    """Feed it what came; `responses` grows.  `heads` holds the indexes (final responses only) that
    answer a HEAD, since nothing in a response itself says that it has no body."""

    def __init__(self, heads=()):
        self.heads = frozenset(heads)
        self.responses = []       # every response, 1xx included
        self.finals = 0
        self._buf = bytearray()
        self._current = None
        self._missing = 0
        self._chunked = False

    def feed(self, data):
        self._buf += data
        while self._step():
            pass

    @property
    def partial(self):
        return self._current is not None or bool(self._buf)

    def _step(self):
        if self._current is not None and self._chunked:
            return self._chunk()
        if self._current is not None:
            take = self._buf[:self._missing]
            del self._buf[:self._missing]
            self._current.body += bytes(take)
            self._missing -= len(take)
            if self._missing:
                return False
            self._finish()
            return True
        end = self._buf.find(b"\r\n\r\n")
        if end < 0:
            if len(self._buf) > 65536:
                raise ProtocolError("a response head of more than 64 KiB")
            if self._buf and not b"HTTP/1.1 ".startswith(bytes(self._buf[:9])):
                raise ProtocolError("not a status line: %r" % bytes(self._buf[:80]))
            return False
        head = bytes(self._buf[:end])
        del self._buf[:end + 4]
        self._begin(head)
        return True

    def _begin(self, head):
        lines = head.split(b"\r\n")
        if b"\r" in head.replace(b"\r\n", b"") or b"\n" in head.replace(b"\r\n", b""):
            raise ProtocolError("a bare CR or LF in a response head: %r" % head)
        match = STATUS_LINE.match(lines[0])
        if not match:
            raise ProtocolError("bad status line: %r" % lines[0])
        status = int(match.group(1))
        fields = []
        for line in lines[1:]:
            name, colon, value = line.partition(b":")
            if not colon or not TOKEN.match(name):
                raise ProtocolError("bad response field: %r" % line)
            value = value.strip(b" \t")
            if re.search(rb"[\x00-\x08\x0a-\x1f\x7f]", value):
                raise ProtocolError("a control in a response field: %r" % line)
            fields.append((name.decode().lower(), value.decode("latin-1")))
        interim = status < 200
        head_only = not interim and self.finals in self.heads
        response = Response(status, match.group(2).decode(), fields, head_only)
        names = [n for n, _ in fields]
        for name in set(names):
            if names.count(name) > 1:
                raise ProtocolError("response field %s is there %d times" %
                                    (name, names.count(name)))
        length = response.get("content-length")
        if length is not None and not re.match(r"[0-9]+\Z", length):
            raise ProtocolError("bad Content-Length in a response: %r" % length)
        coding = response.get("transfer-encoding")
        if coding is not None and (coding != "chunked" or length is not None):
            raise ProtocolError("Transfer-Encoding %r, Content-Length %r" % (coding, length))
        self._current = response
        self._chunked = coding is not None and not head_only
        if interim or status in (204, 304) or head_only:
            self._missing = 0
        elif self._chunked:
            pass
        elif length is None:
            raise ProtocolError("a response with a body and no Content-Length: %r" % head)
        else:
            self._missing = int(length)

    def _chunk(self):
        """A whole chunk, without extensions, or the last without trailers: ours send no other."""
        end = self._buf.find(b"\r\n", 0, 20)
        if end < 0 and len(self._buf) < 20:
            return False
        if not re.match(rb"[0-9a-f]+\Z", bytes(self._buf[:max(end, 0)])):
            raise ProtocolError("bad chunk size: %r" % bytes(self._buf[:20]))
        size = int(self._buf[:end], 16)
        if len(self._buf) < end + 2 + size + 2:
            return False
        if self._buf[end + 2 + size:end + 4 + size] != b"\r\n":
            raise ProtocolError("a chunk without CRLF behind it")
        self._current.body += bytes(self._buf[end + 2:end + 2 + size])
        del self._buf[:end + 4 + size]
        if not size:
            self._finish()
        return True

    def _finish(self):
        self.responses.append(self._current)
        if self._current.status >= 200:
            self.finals += 1
        self._current = None


def complaints(response, now=None):
    """What RFC 9110 and 9112 ask of any response of an origin server with a clock."""
    out = []
    status = response.status
    if status < 200:
        if response.get("content-length") is not None:
            out.append("a 1xx with Content-Length (RFC 9110 8.6)")
        return out
    date = response.get("date")
    if date is None:
        out.append("no Date (RFC 9110 6.6.1)")
    elif not IMF_FIXDATE.match(date):
        out.append("Date %r is no IMF-fixdate (RFC 9110 5.6.7)" % date)
    elif now is not None:
        import calendar
        stamp = calendar.timegm(time.strptime(date, "%a, %d %b %Y %H:%M:%S GMT"))
        if abs(stamp - now) > 30:
            out.append("Date %r is far from the clock" % date)
    if status == 204:
        if response.get("content-length") is not None:
            out.append("a 204 with Content-Length (RFC 9110 8.6)")
    elif response.get("content-length") is None and response.get("transfer-encoding") is None:
        out.append("no Content-Length")
    if response.length and response.get("content-type") is None:
        out.append("content without Content-Type (RFC 9110 8.3)")
    if status == 405 and response.get("allow") is None:
        out.append("a 405 without Allow (RFC 9110 15.5.6)")
    if status >= 400 and not response.head_only:
        text = response.body
        if text and text.rstrip(b"\n").count(b"\n"):
            out.append("the text of a %d is more than one line: %r" % (status, text))
        if not text.strip():
            out.append("a %d that does not say what was wrong (RFC 9110 15.5, 15.6)" % status)
    return out


# ---------------------------------------------------------------------------------------------
# The server under test
# ---------------------------------------------------------------------------------------------

# Options for every start: the dataset of the source tree, since nothing need be installed; root has
# to insist on serving as root, and may then read /proc of the server; WIRE_ARGS adds what else is
# needed where the tests run.
DATASET = os.path.join(os.environ.get("SRCDIR") or
                       os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", ".."),
                       "data", "dataset.json")
ALWAYS = ["--dataset", os.path.abspath(DATASET)]
ALWAYS += (["--allow-root"] if os.geteuid() == 0 else []) + os.environ.get("WIRE_ARGS", "").split()

def binary():
    path = os.environ.get("BIVALVE")
    if not path:
        raise RuntimeError("set BIVALVE to the path of the server to test")
    return os.path.abspath(path)


def sanitized():
    """Whether the binary was built with ASan, whose shadow memory is counted with the rest."""
    with open(binary(), "rb") as f:
        return b"__asan_init" in f.read() or "address" in os.environ.get("BIVALVE_SANITIZERS", "")


def need_filter():
    """Skip where LeakSanitizer would end in the workers: it needs calls that the filter refuses."""
    if sanitized():
        import pytest
        pytest.skip("with a sanitizer there is no seccomp filter")


def run(*args, timeout=30, always=True, **kwargs):
    """Run the server as a command; return its CompletedProcess with text output."""
    return subprocess.run([binary()] + (ALWAYS if always else []) + [str(a) for a in args], stdin=subprocess.DEVNULL,
                          stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                          errors="replace", timeout=timeout, **kwargs)


def children(pid):
    try:
        with open("/proc/%d/task/%d/children" % (pid, pid)) as f:
            return [int(p) for p in f.read().split()]
    except OSError:
        return []


def process_state(pid):
    """The state of a process as proc(5) has it, "T": stopped; "X" where there is none."""
    try:
        with open("/proc/%d/stat" % pid) as f:
            return f.read().rsplit(")", 1)[1].split()[0]
    except OSError:
        return "X"


def alive(pid):
    """Whether a process exists and is no zombie."""
    return process_state(pid) not in "ZX"


def cpu_seconds(pid):
    with open("/proc/%d/stat" % pid) as f:
        fields = f.read().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def pss_bytes(pid, *kinds):
    """Its proportional set size in bytes (proc_pid_smaps(5)): all of it, or the sum of `kinds`."""
    with open("/proc/%d/smaps_rollup" % pid) as f:
        sizes = dict(line.split()[:2] for line in f if line.startswith("Pss"))
    return sum(int(sizes[kind + ":"]) for kind in kinds or ("Pss",)) * 1024


def fd_count(pid):
    return len(os.listdir("/proc/%d/fd" % pid))


def wait_until(what, predicate, timeout=HANG_S, step=0.02):
    """Poll until `predicate` is true; `what` is what the failure says."""
    end = time.monotonic() + timeout
    while True:
        value = predicate()
        if value:
            return value
        if time.monotonic() > end:
            raise AssertionError("waited %g s for %s" % (timeout, what))
        time.sleep(step)


class StartError(Exception):
    """The server did not start; holds its exit status and what it said."""

    def __init__(self, status, said):
        super().__init__("exit status %s: %s" % (status, said.strip()))
        self.status = status
        self.said = said


class Server:
    """A running server.  `addr` is (family, address) of its first listener."""

    def __init__(self, backend, *options, listen=("127.0.0.1:0",), workers=2, rlimit_nofile=None,
                 env=None, before_exec=None, program=None, pass_fds=()):
        self.backend = backend
        argv = [str(a) for a in program or [binary()]]
        if backend:
            argv += ["--backend", backend]
        for where in listen:
            argv += ["--listen", where]
        if workers is not None:
            argv += ["--workers", str(workers)]
        argv += ALWAYS + [str(o) for o in options]
        self.argv = argv
        self._log = tempfile.NamedTemporaryFile(prefix="bivalve-log-", dir=TMP, delete=False)
        self.log_path = self._log.name

        def limits():
            if rlimit_nofile:
                resource.setrlimit(resource.RLIMIT_NOFILE, (rlimit_nofile, rlimit_nofile))
            if before_exec:
                before_exec()

        self.proc = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=self._log,
                                     stderr=self._log, preexec_fn=limits, env=env,
                                     start_new_session=True, pass_fds=pass_fds)
        self.pid = self.proc.pid
        self._stopped = False
        self._told = False        # to end; a second time would mean: at once
        try:
            self._await_start()
        except BaseException:
            self.kill()
            raise

    def _await_start(self):
        end = time.monotonic() + HANG_S
        pattern = re.compile(r"listening on (.*?)(?:, workers\b|\s+workers\b|;|$)", re.M)
        while True:
            said = self.log()
            match = pattern.search(said)
            if match and said.endswith("\n"):
                break
            if self.proc.poll() is not None:
                said = self.log()
                raise StartError(self.proc.returncode, said)
            if time.monotonic() > end:
                raise StartError(None, "no start line within %g s: %s" % (HANG_S, said))
            time.sleep(0.01)
        self.start_line = next(l for l in said.splitlines() if "listening on" in l)
        self.addresses = [parse_address(a) for a in re.split(r"[,\s]+", match.group(1).strip())
                          if a and ("unix:" in a or re.search(r":\d+$", a))]
        if not self.addresses:
            raise StartError(None, "no address in the start line: %s" % self.start_line)
        self.addr = self.addresses[0]
        workers = re.search(r"workers[ =](\d+)", self.start_line)
        if workers and int(workers.group(1)) > 0:
            count = int(workers.group(1))
            wait_until("%d workers" % count, lambda: len(self.workers()) >= count)

    # -- looking at it ------------------------------------------------------------------------

    def log(self):
        with open(self.log_path, errors="replace") as f:
            return f.read()

    def workers(self):
        """The worker processes (the process itself under --workers 0)."""
        return [p for p in children(self.pid) if alive(p)]

    def processes(self):
        return [self.pid] + self.workers()

    def memory(self):
        """Bytes of memory that its processes wrote to. Not the whole PSS: the pages of its program
        and libraries are shared with every other server and Python that runs, and its share of them
        grows by megabytes when those end."""
        return sum(pss_bytes(p, "Pss_Anon", "Pss_Shmem") for p in self.processes())

    def readable(self):
        """Whether the kernel lets us look at the server's memory and descriptors: a server that is
        not dumpable (any not started by root) is closed to its own user too."""
        try:
            for p in self.processes():
                pss_bytes(p)
                fd_count(p)
        except PermissionError:
            return False
        return True

    def fds(self):
        """Open descriptors of all its processes; -1 where they may not be counted."""
        try:
            return sum(fd_count(p) for p in self.processes())
        except PermissionError:
            return -1

    def cpu(self):
        return sum(cpu_seconds(p) for p in self.processes())

    def stats(self):
        """SIGUSR1 and the counters of `worker=all` (a dict of integers where they are that)."""
        before = len(self.log())
        os.kill(self.pid, signal.SIGUSR1)

        def line():
            for text in self.log()[before:].splitlines(True):
                if re.search(r"stats\b.*\bworker=all\b", text) and text.endswith("\n"):
                    return text
            return None

        text = wait_until("the stats line after SIGUSR1", line)
        return stats_of(text)

    # -- ending it ----------------------------------------------------------------------------

    def signal(self, number):
        self._told = self._told or number in (signal.SIGTERM, signal.SIGINT)
        os.kill(self.pid, number)

    def wait(self, timeout=HANG_S * 2):
        try:
            return self.proc.wait(timeout)
        except subprocess.TimeoutExpired:
            raise AssertionError("still running %g s after it should have gone; log:\n%s" %
                                 (timeout, self.log()[-3000:]))

    def stop(self):
        """SIGTERM; the exit status must be 0, the log free of trouble, all counters balanced."""
        if self._stopped:
            return self.log()
        self._stopped = True
        try:
            if self.proc.poll() is None and not self._told:
                self.signal(signal.SIGTERM)
            status = self.wait()
        except BaseException:
            self.kill()
            raise
        said = self.log()
        self._cleanup()
        problem = TROUBLE.search(said)
        assert not problem, "the log says %r:\n%s" % (problem.group(0), said[-4000:])
        assert status == 0, "exit status %d after SIGTERM; log:\n%s" % (status, said[-3000:])
        drained = [stats_of(l) for l in said.splitlines() if "drained:" in l]
        assert drained, "no `drained:` line in the log:\n" + said[-3000:]
        for counters in drained:
            for key in ("slots_used", "blocks_used"):
                assert counters.get(key) == 0, "at drain %s=%s: %s" % (
                    key, counters.get(key), said[-2000:])
        return said

    def kill(self):
        """Leave nothing behind, whatever state it is in."""
        self._stopped = True
        for pid in self.workers() + [self.pid]:
            try:
                os.kill(pid, signal.SIGKILL)
            except OSError:
                pass
        try:
            self.proc.wait(10)
        except subprocess.TimeoutExpired:
            pass
        self._cleanup()

    def _cleanup(self):
        try:
            self._log.close()
            if not os.environ.get("WIRE_KEEP_LOGS"):
                # The text is read by stop() before; later readers get the last copy.
                self._text = self.log()
                os.unlink(self.log_path)
                self.log = lambda: self._text
        except OSError:
            pass

    def __enter__(self):
        return self

    def __exit__(self, kind, value, trace):
        if kind is None:
            self.stop()
        else:
            self.kill()

    # -- talking to it ------------------------------------------------------------------------

    def connect(self, timeout=HANG_S, rcvbuf=None, addr=None, source=None, wrap=None):
        family, where = addr or self.addr
        s = socket.socket(family, socket.SOCK_STREAM)
        if rcvbuf:
            s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, rcvbuf)
        s.settimeout(timeout)
        if source:
            s.bind((source, 0))
        s.connect(where)
        if family != socket.AF_UNIX:
            s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return Client(s if wrap is None else wrap(s))

    def exchange(self, data, split=None, responses=1, heads=(), half=False):
        """One connection, one stream of bytes; see Exchange.  Returns the finished Exchange."""
        e = Exchange(data, split=split, responses=responses, heads=heads, half=half)
        drive(self.addr, [e])
        return e


class Counters(dict):
    """The counters of a log line.  Those that are zero may be left out of it."""

    def __missing__(self, key):
        return 0


def stats_of(line):
    out = Counters()
    for key, value in re.findall(r"([A-Za-z_][\w.]*)=(\S+)", line):
        out[key] = int(value) if re.match(r"-?\d+\Z", value) else value
    return out


def parse_address(text):
    text = text.strip().rstrip(",;.")
    if text.startswith("unix:"):
        return (socket.AF_UNIX, text[5:])
    host, _, port = text.rpartition(":")
    if host.startswith("["):
        return (socket.AF_INET6, (host[1:-1], int(port)))
    return (socket.AF_INET, (host, int(port)))


class Client:
    """A blocking connection, for conversations that depend on what came back."""

    def __init__(self, sock):
        self.sock = sock
        self.reader = ResponseReader()
        self._taken = 0
        self.eof = False

    def send(self, data):
        self.sock.sendall(data)
        return self

    def expect_head(self):
        """The next final response answers a HEAD."""
        self.reader.heads = self.reader.heads | {self.reader.finals}

    def recv_some(self, limit=65536):
        data = self.sock.recv(limit)
        if not data:
            self.eof = True
        self.reader.feed(data)
        return data

    def response(self):
        """The next response, 1xx included; EOF before it is an error."""
        while len(self.reader.responses) <= self._taken:
            if self.eof or not self.recv_some():
                raise EOFError("closed without the response (%d before it)" % self._taken)
        self._taken += 1
        return self.reader.responses[self._taken - 1]

    def request(self, data):
        self.send(data)
        return self.response()

    def get(self, path, *fields, method="GET"):
        if method == "HEAD":
            self.expect_head()
        return self.request(request("%s %s HTTP/1.1" % (method, path), *fields))

    def expect_eof(self):
        """The peer closes without another byte and without a reset."""
        while not self.eof:
            data = self.recv_some()
            assert not data, "bytes where the end was due: %r" % data[:200]
        assert not self.reader.partial

    def quiet(self, seconds):
        """Nothing comes for so long; true if so."""
        poller = select.poll()
        poller.register(self.sock, select.POLLIN)
        return not poller.poll(seconds * 1000)

    def close(self):
        self.sock.close()

    def reset(self):
        """Close with a reset."""
        import struct
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.sock.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


def readable(clients, seconds=0):
    """Those of the clients that have something to read (or are closed)."""
    poller = select.poll()
    by_fd = {}
    for c in clients:
        by_fd[c.sock.fileno()] = c
        poller.register(c.sock, select.POLLIN)
    return [by_fd[fd] for fd, _ in poller.poll(seconds * 1000)]


def request(line, *fields, body=b"", host="localhost"):
    """The bytes of a request; every text is latin-1.  host=None leaves the Host field out."""
    lines = [line]
    if host is not None:
        lines.append("Host: " + host)
    lines += fields
    head = "\r\n".join(lines) + "\r\n\r\n"
    return head.encode("latin-1") + (body if isinstance(body, bytes) else body.encode("latin-1"))


# ---------------------------------------------------------------------------------------------
# Many connections at once
# ---------------------------------------------------------------------------------------------

def pieces_of(data, split):
    """The pieces in which `data` is sent.  split: None whole; 1 byte by byte; a list of cuts.
    Of a stream of more than 4 KiB only both ends go byte by byte: the middle is one field's value
    or one body, and goes in pieces of 251 bytes."""
    if split is None:
        return [data] if data else []
    if split == 1:
        if len(data) <= 4096:
            return [data[i:i + 1] for i in range(len(data))]
        head, middle, tail = data[:1024], data[1024:-1024], data[-1024:]
        return ([head[i:i + 1] for i in range(len(head))] +
                [middle[i:i + 251] for i in range(0, len(middle), 251)] +
                [tail[i:i + 1] for i in range(len(tail))])
    cuts = [0] + sorted(split) + [len(data)]
    return [data[a:b] for a, b in zip(cuts, cuts[1:]) if a < b]


class Exchange:
    """A stream of bytes for one connection and what came back.

    When `responses` final responses are there and the last does not announce the close, a probe is
    sent on the same connection: a bivalve that has read the stream to its end, no further and no
    less, answers `ok` to it and closes.  So `finals` must be the expected answers and nothing else,
    and the probe's answer stands in `probe`.
    """

    wrap = None     # makes what is connected another thing that is like a socket: wire_tls.py

    def __init__(self, data, split=None, responses=1, heads=(), half=False, probe=True, tag=None):
        self.data = data
        self.split = split
        self.expected = responses
        self.half = half
        self.want_probe = probe and not half
        self.tag = tag
        self.reader = ResponseReader(heads)
        self.pieces = None
        self.sock = None
        self.eof = self.reset = self.early = self.probed = self.hung = False
        self.early_finals = 0     # final responses seen while bytes were still to be sent
        self.error = None         # what was wrong with the responses
        self.finished = None      # the time of day
        self.got = bytearray()

    @property
    def finals(self):
        finals = [r for r in self.reader.responses if r.status >= 200]
        return finals[:self.expected] if self.probed else finals

    @property
    def interims(self):
        return [r.status for r in self.reader.responses if r.status < 200]

    @property
    def probe(self):
        finals = [r for r in self.reader.responses if r.status >= 200]
        return finals[self.expected] if self.probed and len(finals) > self.expected else None

    @property
    def surplus(self):
        """Final responses beyond those expected and the probe's."""
        finals = [r for r in self.reader.responses if r.status >= 200]
        return finals[self.expected + 1:] if self.probed else finals[self.expected:]

    def story(self):
        return "sent %r%s\ngot %r\n%s%s%s%s" % (
            self.data[:600], "..." if len(self.data) > 600 else "", bytes(self.got[:1200]),
            "reset " if self.reset else "", "eof " if self.eof else "",
            "hung " if self.hung else "", self.error or "")

    # -- driven by drive() ----------------------------------------------------------------------

    def start(self, addr):
        family, where = addr
        self.sock = socket.socket(family, socket.SOCK_STREAM)
        self.sock.connect(where)
        if self.wrap:
            self.sock = self.wrap(self.sock)
        self.sock.setblocking(False)
        if family != socket.AF_UNIX:
            self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.pieces = pieces_of(self.data, self.split)
        self.next = 0
        self.offset = 0
        self.sent_all = False
        self.deadline = time.monotonic() + HANG_S
        self.done = False

    def push(self):
        """Send the next piece, or the rest of one that was taken in part."""
        if self.sent_all or self.eof:
            return
        if self.next < len(self.pieces):
            piece = self.pieces[self.next]
            try:
                sent = self.sock.send(piece[self.offset:])
            except BlockingIOError:
                return
            except OSError as e:
                # A close that we have not read yet.  Reading decides whether it was in order.
                self.next = len(self.pieces)
                self.send_error = e.errno
                self.sent_all = True
                return
            self.offset += sent
            if self.offset == len(piece):
                self.next += 1
                self.offset = 0
        if self.next >= len(self.pieces):
            self.sent_all = True
            self.after_send()

    def after_send(self):
        if self.half:
            try:
                self.sock.shutdown(socket.SHUT_WR)
            except OSError:
                pass
        self.maybe_probe()

    def maybe_probe(self):
        if (self.want_probe and not self.probed and self.sent_all and not self.eof and
                self.reader.finals >= self.expected):
            finals = [r for r in self.reader.responses if r.status >= 200]
            if not finals or not finals[-1].closes:
                self.probed = True
                self.pieces.append(PROBE)
                self.sent_all = False
                self.push()

    def pull(self):
        try:
            data = self.sock.recv(262144)
        except BlockingIOError:
            return
        except ConnectionResetError:
            self.reset = True
            self.done = True
            return
        except OSError as e:
            self.error = "recv: %s" % errno.errorcode.get(e.errno, e.errno)
            self.done = True
            return
        if not data:
            self.eof = True
            self.done = True
            if self.reader.partial and not self.error:
                self.error = "closed in the middle of a response"
            return
        self.got += data
        if not self.error:
            try:
                self.reader.feed(data)
            except ProtocolError as e:
                self.error = str(e)
        if not self.sent_all:
            self.early_finals = self.reader.finals
        self.deadline = max(self.deadline, time.monotonic() + HANG_S)
        self.maybe_probe()


def drive(addr, exchanges, parallel=64):
    """Run the exchanges, `parallel` at a time, one piece each in turn: so the pieces of one stream
    reach the server apart from each other."""
    waiting = list(reversed(exchanges))
    active = {}
    poller = select.poll()
    while waiting or active:
        while waiting and len(active) < parallel:
            e = waiting.pop()
            e.start(addr)
            active[e.sock.fileno()] = e
            poller.register(e.sock, select.POLLIN)
        sending = False
        for e in list(active.values()):
            if not e.sent_all and not e.eof:
                e.push()
                sending = sending or not e.sent_all
        for fd, _ in poller.poll(0 if sending else 50):
            active[fd].pull()
        now = time.monotonic()
        for fd, e in list(active.items()):
            if now > e.deadline:
                e.hung = True
                e.done = True
            if e.done:
                e.ended = time.time()
                poller.unregister(fd)
                del active[fd]
                e.sock.close()
    return exchanges


# ---------------------------------------------------------------------------------------------
# Which backends
# ---------------------------------------------------------------------------------------------

def backends():
    """(backends to test, {backend: reason why not}).  BACKENDS in the environment decides; without it
    those that the binary was built with and that its own --probe says run here."""
    asked = os.environ.get("BACKENDS", "").replace(",", " ").split()
    if asked:
        return asked, {}
    known = ["epoll", "io_uring", "libev"]
    version = run("--version").stdout
    out, skipped = [], {}
    probe = run("--probe").stdout
    for name in known:
        if not re.search(r"\b%s\b" % name, version):
            skipped[name] = "not compiled in"
            continue
        line = next((l for l in probe.splitlines() if re.match(r"\s*%s\b" % name, l)), "")
        if re.search(r"\b(no|not|unavailable|fails?|failed|cannot|missing)\b",
                     line.split(":", 1)[-1].split(";")[0]):
            skipped[name] = "does not run on this machine: " + line.strip()
        else:
            out.append(name)
    return out, skipped
