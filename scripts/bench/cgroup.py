# SPDX-License-Identifier: MIT
"""A memory control group for each server: what the kernel charges to it, counted as HttpArena
(docker stats) does.

Version 2 charges socket buffers to memory.current. Version 1 keeps them apart, and counts them only
once a limit was set: so the limit is set to the largest possible and the two are added.
"""
import os
import re

from . import procfs

V1_NO_LIMIT = "9223372036854771712"


def parse_numbers(text):
    """{"name": value} from lines of "name value", as in memory.stat."""
    return {m.group(1): int(m.group(2)) for m in re.finditer(r"^(\w+) (\d+)$", text, re.M)}


def usage_v2(current, stat):
    """Bytes used and their split from the text of memory.current and memory.stat."""
    s = parse_numbers(stat)
    return {
        "used": int(current) - s.get("inactive_file", 0),
        "anon": s.get("anon"),
        "sock": s.get("sock"),
        "slab": s.get("slab"),
        "kernel": s.get("kernel"),
    }


def usage_v1(usage, stat, kmem, tcp):
    """The same from version 1's files, which do not tell slab apart from other kernel memory."""
    s = parse_numbers(stat)
    sock = int(tcp) if tcp.strip() else 0
    return {
        "used": int(usage) - s.get("total_inactive_file", 0) + sock,
        "anon": s.get("total_rss"),
        "sock": sock,
        "slab": None,
        "kernel": int(kmem) if kmem.strip() else None,
    }


def find_own(proc_cgroup, mounts):
    """[(version, mount point, own path)] to try, from /proc/self/cgroup and /proc/self/mounts."""
    found = []
    v1 = re.search(r"^\d+:(?:\w+,)*memory(?:,\w+)*:(/.*)$", proc_cgroup, re.M)
    v2 = re.search(r"^0::(/.*)$", proc_cgroup, re.M)
    for line in mounts.splitlines():
        f = line.split()
        if len(f) < 4:
            continue
        if f[2] == "cgroup2" and v2:
            found.append((2, f[1], v2.group(1)))
        if f[2] == "cgroup" and v1 and "memory" in f[3].split(","):
            found.append((1, f[1], v1.group(1)))
    return found


class Group:
    """One control group; its processes are those started with `procs` as their first write, and
    their children."""

    def __init__(self, version, path):
        self.version = version
        self.path = path
        self.procs = os.path.join(path, "cgroup.procs")

    def _text(self, name):
        return procfs.read_text(os.path.join(self.path, name))

    def usage(self):
        """Bytes now: {"used", "anon", "sock", "slab", "kernel"}, None once the group is gone."""
        try:
            if self.version == 2:
                return usage_v2(self._text("memory.current"), self._text("memory.stat"))
            return usage_v1(
                self._text("memory.usage_in_bytes"),
                self._text("memory.stat"),
                self._text("memory.kmem.usage_in_bytes"),
                self._text("memory.kmem.tcp.usage_in_bytes"),
            )
        except ValueError:
            return None

    def used_now(self):
        """Only the total, for the sampler."""
        u = self.usage()
        return u["used"] if u else None

    def remove(self):
        try:
            os.rmdir(self.path)
            return True
        except FileNotFoundError:
            return True
        except OSError:
            return False


class Maker:
    """Makes groups where this process may; `reason` says why not."""

    def __init__(self):
        self.parent = None
        self.version = None
        self.reason = "no memory control group is mounted"
        self.count = 0
        for version, mount, own in find_own(
            procfs.read_text("/proc/self/cgroup"), procfs.read_text("/proc/self/mounts")
        ):
            parent = self._parent_v1(mount, own) if version == 1 else self._parent_v2(mount, own)
            if parent:
                self.version, self.parent, self.reason = version, parent, ""
                return

    def _parent_v1(self, mount, own):
        for path in (mount + own, mount):
            if os.access(path, os.W_OK) and os.path.exists(
                os.path.join(path, "memory.usage_in_bytes")
            ):
                return path
        self.reason = f"{mount} is not writable: run as root"
        return None

    def _parent_v2(self, mount, own):
        """The nearest ancestor that hands the memory controller down and may be written."""
        path = own
        while True:
            full = (mount + path).rstrip("/") or "/"
            handed_down = procfs.read_text(os.path.join(full, "cgroup.subtree_control")).split()
            if "memory" in handed_down and os.access(full, os.W_OK):
                return full
            if path in ("/", ""):
                break
            path = os.path.dirname(path)
        self.reason = f"no writable parent of {own} hands the memory controller down: run as root"
        return None

    def make(self):
        """A new Group, or None."""
        if not self.parent:
            return None
        self.count += 1
        path = os.path.join(self.parent, f"bivalve-bench-{os.getpid()}-{self.count}")
        try:
            os.mkdir(path)
        except OSError as e:
            self.parent, self.reason = (
                None,
                f"cannot make a control group in {os.path.dirname(path)}: {e.strerror}",
            )
            return None
        group = Group(self.version, path)
        if self.version == 1:
            try:
                with open(
                    os.path.join(path, "memory.kmem.tcp.limit_in_bytes"), "w", encoding="ascii"
                ) as f:
                    f.write(V1_NO_LIMIT)
            except OSError:
                pass  # sockets then stay uncounted, and read 0
        if group.usage() is None:
            group.remove()
            self.parent, self.reason = None, f"{path} has no memory figures"
            return None
        return group
