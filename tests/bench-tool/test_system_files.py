# SPDX-License-Identifier: MIT
"""/proc and control groups: recorded files, read, and the live ones of this process."""
import os
import socket
import subprocess
import sys
import time
import types

import pytest
from conftest import recorded

from bench import cgroup, children, counts, machine, procfs, sampler, slicerun
from bench.errors import BenchError
from bench.load import Load


def test_stat_of_a_process():
    p = procfs.parse_stat(recorded("proc-pid-stat.txt"))
    assert (p["pid"], p["comm"], p["state"], p["ppid"], p["session"]) == (
        25891,
        "nginx",
        "S",
        25873,
        4451,
    )
    assert p["user_ns"] == 142 * procfs.TICK_NS and p["system_ns"] == 396 * procfs.TICK_NS
    odd = recorded("proc-pid-stat.txt").replace("(nginx)", "(a) b (c)")
    assert procfs.parse_stat(odd)["comm"] == "a) b (c" and procfs.parse_stat(odd)["ppid"] == 25873


def test_schedstat_agrees_with_the_ticks():
    ns = procfs.parse_schedstat(recorded("schedstat.txt"))
    p = procfs.parse_stat(recorded("proc-pid-stat.txt"))
    assert ns == 5387176079 and abs(ns - p["user_ns"] - p["system_ns"]) < 2 * procfs.TICK_NS


def test_who_listens():
    text = (
        "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid\n"
        "   0: 0100007F:46A0 00000000:0000 0A 00000000:00000000 00:00000000 00000000  0  0 4711 1 0\n"
        "  10: 0100007F:46A0 0100007F:9999 01 00000000:00000000 00:00000000 00000000  0  0 4712 1 0\n"
        "  11: 00000000:46A1 00000000:0000 0A 00000000:00000000 00:00000000 00000000 33  0 4713 1 0\n"
    )
    assert procfs.parse_listeners(text, 0x46A0) == {4711}
    assert procfs.parse_listeners(text, 0x46A1) == {4713}
    assert procfs.parse_listeners(text, 80) == set()

    other = subprocess.Popen(["sleep", "60"])
    try:
        with socket.create_server(("127.0.0.1", 0)) as s:
            port = s.getsockname()[1]
            assert procfs.listens([other.pid, os.getpid()], port) is True
            assert procfs.listens([other.pid], port) is False
        with socket.create_server(("127.0.0.1", 0), reuse_port=True) as s:
            port = s.getsockname()[1]
            code = f"import socket, time; s = socket.create_server(('127.0.0.1', {port}), reuse_port=True)"
            code += "; print(1, flush=True); time.sleep(60)"
            shares = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE)
            try:
                assert shares.stdout.readline()
                assert procfs.listens([os.getpid()], port) is False
                assert procfs.listens([os.getpid(), shares.pid], port) is True
            finally:
                shares.kill()
                shares.communicate()
        assert procfs.listens([other.pid, os.getpid()], port) is None
    finally:
        other.kill()
        other.wait()


def test_switches_and_memory():
    v, n = procfs.parse_switches(recorded("status.txt"))
    assert v > 0 and n > 0
    assert procfs.parse_pss(recorded("smaps_rollup.txt")) % 1024 == 0
    assert procfs.parse_pss("") is None


def test_cpus():
    cpus = procfs.parse_cpus(recorded("stat.txt"))
    assert sorted(cpus) == [0, 1] and all(b > 0 for b, _ in cpus.values())
    assert procfs.parse_cpus("cpu3 1 2 4 1000 8 16 32 64 0 0\n") == {
        3: ((1 + 2 + 4 + 16 + 32) * procfs.TICK_NS, 64 * procfs.TICK_NS)
    }


def test_network_files():
    assert procfs.parse_active_opens(recorded("snmp.txt")) > 0
    assert procfs.parse_active_opens("") is None


def test_cpu_lists():
    assert procfs.parse_cpu_list("0-2,5") == {0, 1, 2, 5}
    assert machine.cpu_text({0, 1, 2, 5}) == "0-2,5"
    for bad in ("", "0", "x:1", "2-1:0", ":1"):
        with pytest.raises(BenchError):
            machine.parse_split(bad)
    with pytest.raises(BenchError, match="may not be used"):
        machine.parse_split("0:99999")


def test_default_split_keeps_hardware_threads_on_one_side():
    assert machine.split_cpus([[0], [1]])[:2] == ({0}, {1})
    assert machine.split_cpus([[0, 4], [1, 5], [2, 6], [3, 7]])[:2] == ({0}, {1, 5, 2, 6, 3, 7})
    server, load, note = machine.split_cpus([[0]])
    assert server == load == {0} and note


def test_cgroup_v2_as_httparena_counts():
    got = cgroup.usage_v2("14680064\n", recorded("memory-stat-v2.txt"))
    assert got == {
        "used": 14680064 - 3014656,
        "anon": 5611520,
        "sock": 262144,
        "slab": 1562656,
        "kernel": 1826816,
    }


def test_cgroup_v1_adds_sockets():
    got = cgroup.usage_v1("13225984\n", recorded("memory-stat-v1.txt"), "131072\n", "4096\n")
    assert (
        got["used"] == 13225984 - 0 + 4096 and got["anon"] == 12025856 and got["kernel"] == 131072
    )
    assert got["slab"] is None


def test_where_the_group_would_be():
    v1 = "4:memory:/a/b\n0::/\n"
    mounts = (
        "cgroup /sys/fs/cgroup/memory cgroup rw,relatime,memory 0 0\ncgroup2 /sys/fs/cgroup/unified"
        " cgroup2 rw 0 0\n"
    )
    assert cgroup.find_own(v1, mounts) == [
        (1, "/sys/fs/cgroup/memory", "/a/b"),
        (2, "/sys/fs/cgroup/unified", "/"),
    ]
    assert cgroup.find_own("0::/user.slice\n", "cgroup2 /sys/fs/cgroup cgroup2 rw 0 0\n") == [
        (2, "/sys/fs/cgroup", "/user.slice")
    ]


def test_counts_of_system_calls():
    got = counts.parse_strace(recorded("strace.txt"))
    assert got == {
        "epoll_wait": 12,
        "writev": 4,
        "close": 4,
        "accept4": 4,
        "recvfrom": 8,
        "setsockopt": 4,
        "epoll_ctl": 4,
    }
    with_errors = " 10.00    0.000010           1         9         3 read\n"
    assert counts.parse_strace(with_errors) == {"read": 9}
    perf = "# started on x\n"
    for calls, name in ((0, "getpid"), (7, "writev")):
        perf += f"{calls},,syscalls:sys_enter_{name},482623,100.00,,\n"
    assert counts.parse_perf_stat(perf + recorded("perf-stat.txt")) == {"writev": 7}
    assert counts.per_request({"read": 1000, "close": 1, "open": 2}, 10000) == pytest.approx(
        {"read": 0.1, "others": 0.0003}
    )


def test_instructions_of_all_processes():
    assert counts.parse_callgrind(recorded("callgrind.txt")) == 21480417 + 1203311
    assert counts.parse_callgrind("") is None


def test_a_series_is_read_between_its_samples():
    s = sampler.Series()
    for t, v in ((1.0, 0.0), (2.0, 10.0), (4.0, 50.0)):
        s.add(t, v)
    assert (
        s.at(0.0) == (0.0,) and s.at(1.5) == (5.0,) and s.at(3.0) == (30.0,) and s.at(9) == (50.0,)
    )
    assert s.delta(1.5, 3.0) == (25.0,)


def test_the_cpu_clock_counts_a_busy_child():
    busy = subprocess.Popen([sys.executable, "-c", "while True: pass"])
    clock = procfs.CpuClock(busy.pid)
    try:
        before, t0 = clock.read_ns(), time.monotonic()
        time.sleep(0.5)
        used, elapsed = clock.read_ns() - before, time.monotonic() - t0
    finally:
        clock.close()
        busy.kill()
        busy.wait()
    assert 0 < used <= (elapsed + 0.05) * 1e9
    assert clock.exact == os.path.exists("/proc/self/schedstat")


def test_own_figures_can_be_read():
    me = os.getpid()
    assert me in procfs.tree(me) and procfs.pss_bytes([me]) > 1 << 20
    before = procfs.open_fds([me])
    with open(os.devnull, encoding="ascii"):
        assert procfs.open_fds([me]) == before + 1
    assert sum(procfs.switches([me])) > 0 and sum(procfs.user_system_ns([me])) >= 0


def flat(t, *rates):
    """A Series that grows by so much a second, up to second `t`."""
    series = sampler.Series()
    for at in range(t + 1):
        series.add(float(at), *(at * r for r in rates))
    return series


def test_a_slice_in_turns():
    """Two servers take turns over 4 s, each under load for 1.8 of them: rates are for that time, and
    what the other and its load use is nobody's disturbance."""
    lab = types.SimpleNamespace(load_cpus={1}, server_cpus={0}, workers=1, generator=None)
    watches = []
    for share in (0.4, 0.3):  # of its CPU, the server and its load each
        w = sampler.Watch()
        w.server, w.load = flat(5, share * 1e9), flat(5, share * 1e9)
        w.split, w.switches, w.own = flat(5, 1, 1), flat(5, 0, 0), flat(5, 0.02e9)
        w.busy = {0: flat(5, 0.75e9, 0.01e9), 1: flat(5, 0.72e9, 0)}
        watches.append(w)
    result = Load((1.0, 5.0), 1800, 1800, 180000, {}, {}, 0, reconnects=0, own_s=1.8)
    job = types.SimpleNamespace(profile=None, rate=None, threads=1)
    out = slicerun.figures(lab, result, watches[0], job, [watches[1]])
    assert out["window_s"] == 4 and out["own_s"] == 1.8 and out["rps"] == 1000
    assert out["cpu_us"] == pytest.approx(1.6e6 / 1800)
    assert out["server_cpus"] == out["load_cpus"] == pytest.approx(1.6 / 1.8)
    assert out["foreign_cpus"] == pytest.approx(0.75 + 0.72 - 2 * 0.4 - 2 * 0.3 - 0.02)
    assert out["steal_cpus"] == pytest.approx(0.01)
    alone = slicerun.figures(lab, result, watches[0], job)
    assert alone["foreign_cpus"] == pytest.approx(out["foreign_cpus"] + 0.6)
    with pytest.raises(slicerun.Spoilt, match="no time at all"):
        lab.generator = types.SimpleNamespace(name="x")
        slicerun.figures(lab, Load((1.0, 1.0), 1, 1, 1, {}, {}, 0), watches[0], job)


def test_bottleneck():
    assert slicerun.bottleneck(0.99, 1, 0.7, 1) == "server"
    assert slicerun.bottleneck(0.7, 1, 0.99, 1) == "generator"
    assert slicerun.bottleneck(1.9, 2, 1.98, 2) == "both"
    assert slicerun.bottleneck(0.5, 1, 0.5, 1) == "neither"


def test_bytes_are_predicted_from_the_mix():
    predicted = {"sizes": {"a": 100, "b": 200}, "bytes_per_response": 150}
    assert slicerun.predicted_bytes(predicted, None) == 150
    assert slicerun.predicted_bytes(predicted, {"a": 3, "b": 1}) == 125


def test_an_orphan_made_at_the_end_is_found(tmp_path):
    """Told to end, it starts a process in a session of its own, and leaves it behind."""
    code = (
        "import os, signal, subprocess, time\n"
        "def end(*_):\n"
        "    print(subprocess.Popen(['sleep', '300'], start_new_session=True).pid, flush=True)\n"
        "    os._exit(0)\n"
        "signal.signal(signal.SIGTERM, end)\n"
        "print('ready', flush=True)\n"
        "time.sleep(300)\n"
    )
    nursery = children.Nursery()
    try:
        child = nursery.spawn([sys.executable, "-c", code], str(tmp_path / "log"))
        end = time.monotonic() + 20
        while "ready" not in child.stdout() and time.monotonic() < end:
            time.sleep(0.02)
        assert nursery.stop(child) == 0
        orphan = int(child.stdout().split()[1])
        assert (procfs.process(orphan) or {"state": "Z"})["state"] in "ZX"
    finally:
        nursery.close()


def test_the_watchdog_ends_what_the_tool_could_not(tmp_path):
    """A tool that is killed outright leaves nothing behind."""
    code = (
        "import sys, time; sys.path.insert(0, %r)\n"
        "from bench import children\n"
        "n = children.Nursery()\n"
        "c = n.spawn(['sleep', '300'], %r)\n"
        "print(c.pid, n.watchdog, flush=True); time.sleep(300)\n"
    )
    base = str(tmp_path / "log")
    tool = subprocess.Popen(
        [sys.executable, "-c", code % (os.path.dirname(os.path.dirname(children.__file__)), base)],
        stdout=subprocess.PIPE,
        text=True,
    )
    pids = [int(w) for w in tool.stdout.readline().split()]
    assert all(procfs.process(p) for p in pids)
    tool.kill()
    tool.wait()
    end = time.monotonic() + 20
    while time.monotonic() < end and any(
        (procfs.process(p) or {"state": "Z"})["state"] != "Z" for p in pids
    ):
        time.sleep(0.05)
    assert all((procfs.process(p) or {"state": "Z"})["state"] == "Z" for p in pids)


def test_a_rotation_broken_off_is_allowed_for_and_no_more():
    assert slicerun.rotation_edge([100, 100]) == 0
    assert slicerun.rotation_edge([100, 200, 600]) == pytest.approx(
        300
    )  # after the second: 300 where 600 is the mean's
