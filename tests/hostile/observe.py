# SPDX-License-Identifier: MIT
"""What the kernel says of a server, without asking the server: memory of its sockets, and for how
long it was ready to run and had no CPU.  The latter tells a slow server from a busy machine."""

import os
import socket
import struct
import time

SOCK_DIAG_BY_FAMILY = 20    # linux/sock_diag.h
NLM_F_REQUEST_DUMP = 0x301
NLMSG_ERROR, NLMSG_DONE = 2, 3
INET_DIAG_SKMEMINFO = 7     # linux/inet_diag.h
# struct sk_meminfo's SK_MEMINFO_*: bytes that have arrived, that are queued to be sent, and that the
# socket holds in advance
RMEM_ALLOC, FWD_ALLOC, WMEM_QUEUED = 0, 4, 5


def align4(n):
    return (n + 3) & ~3


def netlink_messages(s):
    """The (type, payload) of a dump, up to its end."""
    while True:
        data = s.recv(1 << 20)
        while data:
            length, kind = struct.unpack_from("=IH", data)
            if kind == NLMSG_DONE:
                return
            if kind == NLMSG_ERROR:
                raise OSError(-struct.unpack_from("=i", data, 16)[0], "sock_diag")
            yield kind, data[16:length]
            data = data[align4(length):]


def attribute(data, wanted):
    while len(data) >= 4:
        length, kind = struct.unpack_from("=HH", data)
        if kind == wanted:
            return data[4:length]
        data = data[align4(length):]
    return None


def socket_memory(port):
    """Bytes that the kernel holds for the TCP sockets (IPv4) whose local port is this: those that a
    server listening there has accepted, and not their clients'."""
    total = 0
    body = struct.pack("=BBBxI", socket.AF_INET, socket.IPPROTO_TCP, 1 << (INET_DIAG_SKMEMINFO - 1),
                       0xffffffff)
    body += struct.pack("!HH", port, 0) + bytes(44)    # struct inet_diag_sockid
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 4) as s:
        s.send(struct.pack("=IHHII", 16 + len(body), SOCK_DIAG_BY_FAMILY, NLM_F_REQUEST_DUMP, 1, 0) + body)
        for _, data in netlink_messages(s):
            if struct.unpack_from("!H", data, 4)[0] != port:
                continue
            memory = attribute(data[72:], INET_DIAG_SKMEMINFO)
            if memory:
                words = struct.unpack("=%dI" % (len(memory) // 4), memory)
                total += words[RMEM_ALLOC] + words[WMEM_QUEUED] + words[FWD_ALLOC]
    return total


def tcp_memory():
    """Bytes of all TCP sockets of this machine, by /proc/net/sockstat."""
    with open("/proc/net/sockstat") as f:
        words = next(line for line in f if line.startswith("TCP:")).split()
    return int(words[words.index("mem") + 1]) * 4096


def starved_seconds(pid):
    """Seconds that a process (one thread) was ready to run and another had the CPU; see
    Documentation/scheduler/sched-stats.rst.  0 where the kernel does not count them."""
    try:
        with open("/proc/%d/schedstat" % pid) as f:
            return int(f.read().split()[1]) / 1e9
    except (OSError, IndexError):
        return 0.0


def stolen_seconds():
    """Seconds, of all CPUs together, that the hypervisor gave to other machines."""
    with open("/proc/stat") as f:
        return int(f.readline().split()[8]) / 100.0


class Wait:
    """`with Wait(pids) as w:` then w.seconds: how long that took, less the time for which this process,
    or the one of those that had the least luck, was ready to run and did not."""

    def __init__(self, pids):
        self._pids = pids

    def _now(self):
        return (time.monotonic(), stolen_seconds(), starved_seconds(os.getpid()),
                [starved_seconds(pid) for pid in self._pids])

    def __enter__(self):
        self._before = self._now()
        return self

    def __exit__(self, *_):
        began, stolen, mine, theirs = self._before
        now, stolen_now, mine_now, theirs_now = self._now()
        self.wall = now - began
        excused = (stolen_now - stolen + mine_now - mine +
                   max(b - a for a, b in zip(theirs, theirs_now)))
        self.seconds = max(0.0, self.wall - excused)
