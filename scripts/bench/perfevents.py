# SPDX-License-Identifier: MIT
"""Counters of the CPU and the kernel for running processes: perf_event_open(2), user and kernel
apart.

A counter is opened for every thread that a process has, and is inherited by those it starts later.
Where the CPU has fewer registers than there are counters the kernel takes turns, and the figure is
scaled up by the share of time it was counted.
"""
import ctypes
import errno
import os
import platform
import struct

SYSCALL = {
    "x86_64": 298,
    "aarch64": 241,
    "riscv64": 241,
    "loongarch64": 241,
    "ppc64le": 319,
    "s390x": 331,
    "armv7l": 364,
    "i686": 336,
}
HARDWARE, SOFTWARE = 0, 1  # perf_event_attr.type
# name: (type, config); all but those of the kernel alone have a user and a kernel side.
EVENTS = {
    "instructions": (HARDWARE, 1),
    "cycles": (HARDWARE, 0),
    "cache misses": (HARDWARE, 3),
    "branch misses": (HARDWARE, 5),
    "page faults": (SOFTWARE, 2),
    "context switches": (SOFTWARE, 3),
}
KERNEL_ONLY = ("context switches",)
SIDES = ("user", "kernel")
ATTR_SIZE = 64  # PERF_ATTR_SIZE_VER0, which every kernel takes
READ_FORMAT = 1 | 2  # PERF_FORMAT_TOTAL_TIME_ENABLED, _RUNNING
INHERIT, EXCLUDE_USER, EXCLUDE_KERNEL, EXCLUDE_HV = (1 << n for n in (1, 4, 5, 6))
PARANOID = "/proc/sys/kernel/perf_event_paranoid"
CLOEXEC = 8  # PERF_FLAG_FD_CLOEXEC


def attributes(kind, config, side):
    """struct perf_event_attr: type, size, config, sample_period, sample_type, read_format, flags."""
    flags = INHERIT | EXCLUDE_HV
    flags |= {"user": EXCLUDE_KERNEL, "kernel": EXCLUDE_USER}[side]
    words = struct.pack("=IIQQQQQ", kind, ATTR_SIZE, config, 0, 0, READ_FORMAT, flags)
    return words.ljust(ATTR_SIZE, b"\0")


def open_event(name, side, tid):
    """A descriptor that counts; raises OSError."""
    number = SYSCALL.get(platform.machine())
    if number is None:
        raise OSError(errno.ENOSYS, "perf_event_open's number is not known here")
    libc = ctypes.CDLL(None, use_errno=True)
    attr = attributes(*EVENTS[name], side)
    fd = libc.syscall(number, attr, tid, -1, -1, CLOEXEC)
    if fd < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    return fd


def why_not(error):
    """In words, and what would help."""
    if error.errno in (errno.ENOENT, errno.EOPNOTSUPP, errno.ENODEV):
        return "this machine has no such counter (most virtual machines have none of the CPU's)"
    if error.errno in (errno.EACCES, errno.EPERM):
        try:
            with open(PARANOID, encoding="ascii") as f:
                level = f.read().strip()
        except OSError:
            return "perf_event_open is forbidden here (a container's seccomp filter?)"
        return f"forbidden: {PARANOID} is {level}; as root, or with 1 or less there, it is allowed"
    if error.errno == errno.EMFILE:
        return "too many threads for the limit on file descriptors (ulimit -n)"
    return error.strerror


def value_of(raw):
    """The scaled count of one descriptor's 24 bytes."""
    count, enabled, running = struct.unpack("=QQQ", raw)
    return count * enabled / running if running else 0.0


class Counters:
    """The counters of a set of threads; `missing` says why there are not more.

    missing: {(event, side): words}. Close it.
    """

    def __init__(self, tids, events=EVENTS):
        self.fds, self.missing = {}, {}
        for name in events:
            for side in SIDES:
                if name in KERNEL_ONLY and side == "user":
                    continue
                fds = self.fds[name, side] = []
                try:
                    for tid in tids:
                        try:
                            fds.append(open_event(name, side, tid))
                        except ProcessLookupError:
                            pass  # the thread has ended
                except OSError as e:
                    self.missing[name, side] = why_not(e)
                    for fd in self.fds.pop((name, side)):
                        os.close(fd)

    def keys(self):
        return list(self.fds)

    def read(self):
        """[count so far], in the order of keys()."""
        return [sum(value_of(os.read(fd, 24)) for fd in fds) for fds in self.fds.values()]

    def close(self):
        for fds in self.fds.values():
            for fd in fds:
                os.close(fd)
        self.fds = {}


def missing_words(missing):
    """["instructions, cycles: why"]: one sentence a reason."""
    by_reason = {}
    for (name, side), why in missing.items():
        by_reason.setdefault(why, {}).setdefault(name, []).append(side)
    out = []
    for why, names in by_reason.items():
        both = [n for n, sides in names.items() if len(sides) == len(SIDES) or n in KERNEL_ONLY]
        one = [f"{n} ({s[0]} side)" for n, s in names.items() if n not in both]
        out.append(f"{', '.join(both + one)}: {why}")
    return out
