# SPDX-License-Identifier: MIT
"""Starting processes and ending them, all of them, however the tool itself ends.

Every child leads a session of its own, so that Ctrl-C reaches the tool alone. A watchdog process,
forked first, holds the read end of a pipe whose write end only the tool has: when the tool is
killed outright the pipe closes and the watchdog kills every session that is still on its list. The
tool also adopts orphans of its children (subreaper), so that a server which forks and leaves can
still be found: by a mark in the environment, that all have from the child that they come from.
"""
import ctypes
import itertools
import os
import signal
import subprocess
import time

from . import procfs

PR_SET_CHILD_SUBREAPER = 36
GRACE_S = 5.0
MARK = "BIVALVE_BENCH_CHILD"
numbers = itertools.count(1)


class Child:
    """A started process: `popen`, the path of what it writes on stdout and stderr, and its control
    group."""

    def __init__(self, popen, stdout_path, stderr_path, group=None, mark=None):
        self.popen = popen
        self.mark = mark
        self.pid = popen.pid
        self.stdout_path = stdout_path
        self.stderr_path = stderr_path
        self.group = group
        self.rusage = None

    def running(self):
        return self.popen.poll() is None

    def stdout(self):
        return procfs.read_text(self.stdout_path)

    def stderr(self):
        return procfs.read_text(self.stderr_path)

    def forget_output(self):
        """What it wrote is not wanted any more."""
        for path in (self.stdout_path, self.stderr_path):
            try:
                os.unlink(path)
            except FileNotFoundError:
                pass

    def listens(self, port):
        """procfs.listens() of it and its descendants."""
        return procfs.listens(procfs.tree(self.pid), port)

    def pss(self):
        """Bytes of PSS of it and its descendants, or None."""
        return procfs.pss_bytes(procfs.tree(self.pid))

    def tail(self, lines=6):
        """The last lines of stderr (or stdout), for a message."""
        text = self.stderr().strip() or self.stdout().strip()
        return "\n".join("    " + line[:200] for line in text.splitlines()[-lines:])


class Nursery:
    """All children of the tool."""

    def __init__(self):
        self.living = {}
        try:
            ctypes.CDLL(None, use_errno=True).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
        except (OSError, AttributeError):
            pass  # without it orphans of a server are found by their session only
        self.pipe, self.watchdog = start_watchdog()

    def spawn(self, argv, log_base, cpus=None, group=None, env=None, stderr_to_stdout=False):
        """Start argv on these CPUs, output to LOG_BASE.out and .err. Raises OSError when it cannot
        be executed."""
        before = os.sched_getaffinity(0)
        mark = f"{os.getpid()}.{next(numbers)}"
        out_path, err_path = log_base + ".out", log_base + ".err"
        if group:
            argv = ["sh", "-c", 'echo $$ >"$1" && shift && exec "$@"', "sh", group.procs] + list(
                argv
            )
        with open(out_path, "wb") as out, open(err_path, "wb") as err:
            try:
                if cpus:
                    os.sched_setaffinity(0, cpus)  # inherited by the child, undone below
                popen = subprocess.Popen(
                    argv,
                    stdin=subprocess.DEVNULL,
                    stdout=out,
                    stderr=subprocess.STDOUT if stderr_to_stdout else err,
                    env=dict(os.environ if env is None else env, **{MARK: mark}),
                    start_new_session=True,
                )
            finally:
                if cpus:
                    os.sched_setaffinity(0, before)
        self._tell("+", popen.pid)
        child = Child(popen, out_path, err_path, group, mark)
        self.living[popen.pid] = child
        return child

    def _tell(self, sign, pid):
        try:
            os.write(self.pipe, b"%s%d\n" % (sign.encode(), pid))
        except OSError:
            pass  # the watchdog is gone: the tool's own clean-up still works

    def stop(self, child, grace_s=GRACE_S):
        """End the child, its descendants and its session; returns its exit status (negative: a
        signal)."""
        members = set(procfs.tree(child.pid)) if child.running() else set()
        if child.running():
            _kill([child.pid], signal.SIGTERM)
            try:
                child.popen.wait(grace_s)
            except subprocess.TimeoutExpired:
                pass
        deadline = time.monotonic() + 2 * GRACE_S
        while True:
            left = {
                p for p in members if procfs.process(p) and procfs.process(p)["state"] not in "ZX"
            }
            left.discard(child.pid if not child.running() else -1)
            left |= set(procfs.session_members({child.pid})) | adopted(child)
            if not left or time.monotonic() > deadline:
                break
            for pid in left:
                members.update(procfs.tree(pid))
            _kill(left, signal.SIGKILL)
            child.popen.poll()
            reap_orphans(self.living)
            time.sleep(0.01)
        status = child.popen.wait()
        self.living.pop(child.pid, None)
        self._tell("-", child.pid)
        if child.group:
            for _ in range(100):
                if child.group.remove():
                    break
                time.sleep(0.01)
        return status

    def finished(self, child):
        """The child has ended by itself: see to what it may have left behind."""
        return self.stop(child)

    def stop_all(self):
        for child in list(self.living.values()):
            self.stop(child, grace_s=1.0)

    def close(self):
        self.stop_all()
        os.close(self.pipe)
        try:
            os.waitpid(self.watchdog, 0)
        except ChildProcessError:
            pass


def adopted(child):
    """Living orphans of it, which are ours by now: a process may have forked after its descendants were
    looked at, and then ended."""
    mark = f"{MARK}={child.mark}"
    return {
        p["pid"]
        for p in map(procfs.process, procfs.list_pids())
        if p
        and p["ppid"] == os.getpid()
        and p["pid"] != child.pid
        and p["state"] not in "ZX"
        and mark in procfs.read_text(f"/proc/{p['pid']}/environ").split("\0")
    }


def _kill(pids, sig):
    for pid in pids:
        try:
            os.kill(pid, sig)
        except (ProcessLookupError, PermissionError):
            continue


def reap_orphans(living):
    """Collect adopted zombies; the children that Popen waits for are left to it."""
    for pid in list(procfs.tree(os.getpid()))[1:]:
        p = procfs.process(pid)
        if p and p["state"] == "Z" and p["ppid"] == os.getpid() and pid not in living:
            try:
                os.waitpid(pid, os.WNOHANG)
            except ChildProcessError:
                continue


def start_watchdog():
    """(write end of the pipe, pid of the watchdog)."""
    read_end, write_end = os.pipe()
    pid = os.fork()
    if pid:
        os.close(read_end)
        return write_end, pid
    try:
        os.close(write_end)
        os.setsid()
        for sig in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT):
            signal.signal(sig, signal.SIG_IGN)
        # What it inherited would stay open as long as it lives: other pipes whose end means the end.
        for fd in os.listdir("/proc/self/fd"):
            if int(fd) > 2 and int(fd) != read_end:
                close_quietly(int(fd))
        null = os.open(os.devnull, os.O_RDWR)
        for fd in (0, 1, 2):
            os.dup2(null, fd)
        watch(read_end)
    finally:
        os._exit(0)


def close_quietly(fd):
    try:
        os.close(fd)
    except OSError:
        pass  # the one that listed them


def watch(read_end):
    """Keep the list of sessions until the pipe closes, then kill what is left of them."""
    sessions = set()
    with os.fdopen(read_end, "rb") as lines:
        for line in lines:
            pid = int(line[1:])
            (sessions.add if line[:1] == b"+" else sessions.discard)(pid)
    deadline = time.monotonic() + GRACE_S
    while sessions and time.monotonic() < deadline:
        left = procfs.session_members(sessions)
        if not left:
            return
        for pid in left:
            _kill(procfs.tree(pid), signal.SIGKILL)
        time.sleep(0.02)
