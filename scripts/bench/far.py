# SPDX-License-Identifier: MIT
"""The other end of side.py: a Side reached by a prefix such as "ssh host", and children, ports and
control groups over there that look like those here.

The prefix runs sh(1), which is told on its standard input to become a Python that is sent this
package: no word passes another shell, so nothing needs quoting, and nothing has to be installed over
there but Python. When this process ends, however it does, that input ends, and so does all over
there.
"""
import base64
import io
import json
import os
import select
import shlex
import shutil
import signal
import subprocess
import time
import zipfile

from . import procfs, side
from .errors import BenchError

START_LIMIT_S = 60.0
ANSWER_LIMIT_S = 120.0
END_LIMIT_S = 15.0
NOISE_MAX = 100  # lines of a login's greetings
PINGS = 9
LOADER = (
    "import sys,os,tempfile;"
    'print("waiting",flush=True);'
    "n=int(sys.stdin.buffer.readline());d=sys.stdin.buffer.read(n);"
    "len(d)==n or sys.exit(1);"
    'p=tempfile.mkdtemp(prefix="bivalve-bench-");'
    'f=open(p+"/bench.zip","wb");f.write(d);f.close();'
    'sys.path.insert(0,p+"/bench.zip");'
    "from bench import side;sys.exit(side.main(p))"
)


def package():
    """This package as a zip file's bytes."""
    here = os.path.dirname(os.path.abspath(__file__))
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as z:
        for name in sorted(os.listdir(here)):
            if name.endswith(".py"):
                z.write(os.path.join(here, name), "bench/" + name)
    return out.getvalue()


class Near:
    """A Side in this process."""

    offset = 0.0
    prefix = None

    def __init__(self, folder):
        self.side = side.Side(folder)

    def call(self, name, *args):
        return getattr(self.side, name)(*args)

    def sync(self):
        pass

    def close(self):
        self.side.close()


class Far:
    """A Side on another machine. `what` names it in messages, `log` takes its standard error."""

    def __init__(self, prefix, what, log):
        self.prefix, self.what, self.log = prefix, what, log
        self.offset = self.uncertainty = 0.0
        self.number = 0
        self.pending = b""
        words = shlex.split(prefix)
        if not words or not shutil.which(words[0]):
            raise BenchError(f"{what}: cannot run {prefix!r}: no such command")
        with open(log, "wb") as err:
            self.popen = subprocess.Popen(
                words + ["sh"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=err,
                start_new_session=True,  # Ctrl-C is for this process alone
            )
        try:
            self._send(f"exec python3 -B -c '{LOADER}'\n".encode())
            self._await("waiting")
            code = package()
            self._send(f"{len(code)}\n".encode() + code)
            self._await(side.READY)
        except BaseException:
            self.close()
            raise

    def _send(self, data):
        # Whole or not at all, or the next request would be lost, too.
        held = signal.pthread_sigmask(
            signal.SIG_BLOCK, (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
        )
        try:
            self.popen.stdin.write(data)
            self.popen.stdin.flush()
        except OSError:
            raise self._gone() from None
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, held)

    def _gone(self):
        try:
            status = self.popen.wait(1)
        except subprocess.TimeoutExpired:
            status = "none yet"
        words = procfs.read_text(self.log).strip().splitlines()[-6:]
        said = "\n".join("    " + w[:200] for w in words) or "    (it said nothing)"
        return BenchError(
            f"{self.what}: {self.prefix!r} ended (exit status {status}); python3 is needed over"
            f" there, and a login without a question:\n{said}"
        )

    def _line(self, limit_s):
        end = time.monotonic() + limit_s
        fd = self.popen.stdout.fileno()
        while b"\n" not in self.pending:
            left = end - time.monotonic()
            if left <= 0 or not select.select([fd], [], [], left)[0]:
                raise BenchError(f"{self.what}: no answer over {self.prefix!r} for {limit_s:.0f} s")
            data = os.read(fd, 1 << 16)
            if not data:
                raise self._gone()
            self.pending += data
        line, _, self.pending = self.pending.partition(b"\n")
        return line.decode("utf-8", "replace")

    def _await(self, word):
        for _ in range(NOISE_MAX):
            if self._line(START_LIMIT_S).strip() == word:
                return
        raise BenchError(f"{self.what}: {self.prefix!r} does not run sh: it prints other things")

    def call(self, name, *args):
        """Have the Side do it. An interruption may come between a request and its answer: the
        number tells the answers that nobody waits for any more."""
        self.number += 1
        request = {"do": name, "with": args, "number": self.number}
        self._send(json.dumps(request).encode() + b"\n")
        got = {}
        while got.get("number") != self.number:
            line = self._line(ANSWER_LIMIT_S)
            try:
                got = json.loads(line)
            except ValueError:
                raise BenchError(f"{self.what}: not an answer: {line[:200]}") from None
        if "error" in got:
            raise BenchError(f"{self.what}: {got['error']}")
        return got["ok"]

    def sync(self):
        """Learn how far that machine's CLOCK_MONOTONIC is ahead of this one's: from the quickest of
        some round trips, and so to half of what that took."""
        best = None
        for _ in range(PINGS):
            begin = time.monotonic()
            there = self.call("monotonic")
            end = time.monotonic()
            if best is None or end - begin < best:
                best, self.offset = end - begin, there - (begin + end) / 2
        self.uncertainty = best / 2

    def close(self):
        """End everything over there."""
        for stream in (self.popen.stdin, self.popen.stdout):
            try:
                stream.close()
            except OSError:
                pass
        try:
            self.popen.wait(END_LIMIT_S)
        except subprocess.TimeoutExpired:
            self.popen.kill()
            self.popen.wait()


class FarGroup:
    """A child's control group over there."""

    def __init__(self, child):
        self.child = child

    def usage(self):
        return self.child.host.call("usage", self.child.pid)


class FarChild:
    """children.Child, over there."""

    def __init__(self, host, pid, with_group, log_base):
        self.host, self.pid, self.log_base = host, pid, log_base
        self.group = FarGroup(self) if with_group else None
        self.returncode = None
        self.last_output = ["", ""]
        self.stopped = False

    @property
    def popen(self):
        return self  # for its returncode

    def running(self):
        if self.stopped:
            return False
        running, self.returncode = self.host.call("state", self.pid)
        return running

    def _output(self, which):
        if not self.stopped:
            self.last_output = self.host.call("output", self.pid)
        return self.last_output[which]

    def stdout(self):
        return self._output(0)

    def stderr(self):
        return self._output(1)

    def tail(self, lines=6):
        text = self.stderr().strip() or self.stdout().strip()
        return "\n".join("    " + line[:200] for line in text.splitlines()[-lines:])

    def listens(self, port):
        return self.host.call("listens", self.pid, port)

    def pss(self):
        return self.host.call("pss", self.pid)

    def keep_output(self):
        """What it wrote, where a child of here would have written it."""
        if not os.path.isabs(self.log_base):
            return  # of the load, which is read and thrown away
        for text, name in zip(self.last_output, (".out", ".err")):
            with open(self.log_base + name, "w", encoding="utf-8") as f:
                f.write(text)

    def forget_output(self):
        pass  # stop() has seen to it


class FarNursery:
    """children.Nursery, for the children over there."""

    def __init__(self, host):
        self.host = host
        self.count = 0

    def spawn(self, argv, log_base, cpus=None, group=None, env=None):
        self.count += 1
        tag = f"{os.path.basename(log_base)}-{self.count}"
        pid = self.host.call("spawn", list(argv), tag, sorted(cpus or ()), bool(group), env)
        return FarChild(self.host, pid, bool(group), log_base)

    def stop(self, child, grace_s=5.0):
        """As Nursery.stop(); what it wrote is fetched before its files go."""
        if child.stopped:
            return child.returncode
        child.returncode = self.host.call("stop", child.pid, grace_s)
        child.stdout()
        child.keep_output()
        child.stopped = True
        self.host.call("forget", child.pid)
        return child.returncode

    finished = stop


class FarGroups:
    """cgroup.Maker: the group itself is made over there when the child is started."""

    def __init__(self, about):
        self.version = self.parent = about["cgroup_version"]
        self.reason = about["cgroup_reason"]

    def make(self):
        return self if self.parent else None

    def remove(self):
        return True


class FarPorts:
    """servers.Ports, over there."""

    def __init__(self, host, base, address):
        self.host, self.base, self.address = host, base, address
        host.call("open_ports", base, address)

    def take(self, which):
        return self.host.call("take_port", which)

    def reserve(self, count):
        self.host.call("reserve_ports", count)

    def wait_free(self, port):
        return self.host.call("port_free", port)


def send_folder(host, folder, there):
    """Copy the plain files of a folder over there, those that are not empty."""
    files = {}
    for name in os.listdir(folder):
        with open(os.path.join(folder, name), "rb") as f:
            content = f.read()
        if content:
            files[name] = base64.b64encode(content).decode("ascii")
    host.call("put", files)
    return there
