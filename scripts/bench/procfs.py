# SPDX-License-Identifier: MIT
"""What /proc tells: CPU time, context switches and memory of processes, busy time of CPUs. See
proc(5).

The parse_* functions take the text of a file and are tested on recorded ones; the rest read the
live files and treat a process that has gone as having nothing more to say.
"""
import os
import re

TICK_NS = 1_000_000_000 // os.sysconf("SC_CLK_TCK")


def read_text(path):
    """The file's text, or "" where it is gone or forbidden."""
    try:
        with open(path, encoding="utf-8", errors="replace") as f:
            return f.read()
    except OSError:
        return ""


def parse_stat(text):
    """The fields of /proc/PID/stat that are used; the command may hold spaces and parentheses."""
    left, right = text.index("("), text.rindex(")")
    f = text[right + 2 :].split()
    return {
        "pid": int(text[:left]),
        "comm": text[left + 1 : right],
        "state": f[0],
        "ppid": int(f[1]),
        "session": int(f[3]),
        "user_ns": int(f[11]) * TICK_NS,
        "system_ns": int(f[12]) * TICK_NS,
    }


def parse_schedstat(text):
    """Nanoseconds on a CPU, the first field of /proc/PID/task/TID/schedstat."""
    return int(text.split()[0])


def parse_switches(text):
    """(voluntary, involuntary) context switches from /proc/PID/task/TID/status."""
    found = dict(re.findall(r"^(voluntary|nonvoluntary)_ctxt_switches:\s*(\d+)", text, re.M))
    return int(found.get("voluntary", 0)), int(found.get("nonvoluntary", 0))


def parse_pss(text):
    """Bytes of PSS from /proc/PID/smaps_rollup, None where there is none."""
    m = re.search(r"^Pss:\s+(\d+) kB", text, re.M)
    return int(m.group(1)) * 1024 if m else None


def parse_cpus(text):
    """{cpu: (busy_ns, steal_ns)} from /proc/stat. Busy is user, nice, system, irq, softirq: guest
    is within user."""
    out = {}
    for m in re.finditer(r"^cpu(\d+)((?: \d+)+)", text, re.M):
        f = [int(x) for x in m.group(2).split()] + [0] * 8
        out[int(m.group(1))] = ((f[0] + f[1] + f[2] + f[5] + f[6]) * TICK_NS, f[7] * TICK_NS)
    return out


def parse_active_opens(text):
    """TCP connections opened by this network namespace so far, from /proc/net/snmp; None where not
    told."""
    rows = [line.split() for line in text.splitlines() if line.startswith("Tcp:")]
    if len(rows) < 2 or "ActiveOpens" not in rows[0]:
        return None
    return int(rows[1][rows[0].index("ActiveOpens")])


def parse_listeners(text, port):
    """Inodes of the sockets that listen on the port, from /proc/net/tcp or tcp6."""
    found = re.findall(
        r"^ *\d+: [0-9A-F]+:([0-9A-F]{4}) [0-9A-F:]+ 0A(?: +\S+){5} +(\d+)", text, re.M
    )
    return {int(inode) for number, inode in found if int(number, 16) == port}


def parse_cpu_list(text):
    """{0, 1, 2, 5} from "0-2,5"."""
    out = set()
    for part in text.strip().split(","):
        if not part:
            continue
        low, _, high = part.partition("-")
        low, high = int(low), int(high or low)
        if high < low:
            raise ValueError(f"backward range {part}")
        out.update(range(low, high + 1))
    return out


def list_pids():
    return [int(d) for d in os.listdir("/proc") if d.isdigit()]


def process(pid):
    """parse_stat() of a live process, None when it is gone."""
    text = read_text(f"/proc/{pid}/stat")
    try:
        return parse_stat(text) if text else None
    except (ValueError, IndexError):
        return None


def tasks(pid):
    """Thread ids of a process."""
    try:
        return [int(t) for t in os.listdir(f"/proc/{pid}/task")]
    except OSError:
        return []


def tree(root):
    """The process and all its living descendants."""
    if not os.path.exists("/proc/self/task/%d/children" % os.getpid()):
        return _tree_by_parent(root)
    out, todo = [], [root]
    while todo:
        pid = todo.pop()
        out.append(pid)
        for tid in tasks(pid):
            todo += [int(c) for c in read_text(f"/proc/{pid}/task/{tid}/children").split()]
    return out


def _tree_by_parent(root):
    kids = {}
    for pid in list_pids():
        p = process(pid)
        if p:
            kids.setdefault(p["ppid"], []).append(pid)
    out, todo = [], [root]
    while todo:
        pid = todo.pop()
        out.append(pid)
        todo += kids.get(pid, [])
    return out


def session_members(sessions):
    """Living processes (no zombies) whose session is one of these."""
    out = []
    for pid in list_pids():
        p = process(pid)
        if p and p["session"] in sessions and p["state"] not in "ZX":
            out.append(pid)
    return out


class CpuClock:
    """CPU time of a process tree in nanoseconds, cheap enough to be read a hundred times a second.

    Reads /proc/PID/task/TID/schedstat of every thread through files kept open. A thread that ends
    keeps the last value seen. Where the kernel has no schedstat, the 10 ms ticks of /proc/PID/stat
    stand in, and `exact` is False.
    """

    def __init__(self, root):
        self.root = root
        self.exact = os.path.exists("/proc/self/schedstat")
        self.files = {}
        self.last = {}
        self.refresh()

    def refresh(self):
        """Look for new processes and threads."""
        for pid in tree(self.root):
            if not self.exact:
                self.files.setdefault((pid, 0), None)
                continue
            for tid in tasks(pid):
                if (pid, tid) in self.files:
                    continue
                try:
                    self.files[pid, tid] = os.open(
                        f"/proc/{pid}/task/{tid}/schedstat", os.O_RDONLY | os.O_CLOEXEC
                    )
                except OSError:
                    continue

    def pids(self):
        return sorted({pid for pid, _ in self.files})

    def threads(self):
        return len(self.files)

    def read_ns(self):
        for key, fd in self.files.items():
            try:
                if self.exact:
                    self.last[key] = parse_schedstat(os.pread(fd, 128, 0).decode())
                else:
                    p = process(key[0])
                    if p:
                        self.last[key] = p["user_ns"] + p["system_ns"]
            except (OSError, ValueError, IndexError):
                continue
        return sum(self.last.values())

    def close(self):
        for fd in self.files.values():
            if fd is not None:
                os.close(fd)
        self.files = {}


def user_system_ns(pids):
    """(user, system) nanoseconds, in 10 ms ticks, of the processes."""
    user = system = 0
    for pid in pids:
        p = process(pid)
        if p:
            user += p["user_ns"]
            system += p["system_ns"]
    return user, system


def switches(pids):
    """(voluntary, involuntary) context switches of all threads of the processes."""
    v = n = 0
    for pid in pids:
        for tid in tasks(pid):
            a, b = parse_switches(read_text(f"/proc/{pid}/task/{tid}/status"))
            v += a
            n += b
    return v, n


def open_fds(pids):
    """Open file descriptors of the processes: the size of /proc/PID/fd since Linux 6.2, else its
    entries."""
    total = 0
    for pid in pids:
        folder = f"/proc/{pid}/fd"
        try:
            total += os.stat(folder).st_size or len(os.listdir(folder))
        except OSError:
            continue
    return total


def listens(pids, port):
    """Do the processes listen on the TCP port, and nobody else? None where that cannot be seen."""
    wanted = set()
    for name in ("tcp", "tcp6"):
        wanted |= parse_listeners(read_text(f"/proc/net/{name}"), port)
    links = {f"socket:[{inode}]" for inode in wanted}
    if not links:
        return None
    held = set()
    for pid in pids:
        folder = f"/proc/{pid}/fd"
        try:
            names = os.listdir(folder)
        except FileNotFoundError:
            continue  # a process that is gone
        except OSError:
            return None
        for name in names:
            try:
                held.add(os.readlink(os.path.join(folder, name)))
            except OSError:
                continue  # a descriptor that is gone
    return links <= held


def pss_bytes(pids):
    """PSS of the processes together, None where none of them tells."""
    got = [parse_pss(read_text(f"/proc/{pid}/smaps_rollup")) for pid in pids]
    got = [g for g in got if g is not None]
    return sum(got) if got else None
